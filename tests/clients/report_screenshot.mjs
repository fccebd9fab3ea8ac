// Takes docs/images/evaluation-*.png: an HTML report down to the worst mistakes, in headless Chromium. Run by hand:
//   local-model-mcp eval FILE --target-accuracy 0.8 --report report.html
//   npm install --no-save playwright-core && CHROMIUM=/usr/bin/chromium node report_screenshot.mjs report.html

import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const images = join(dirname(fileURLToPath(import.meta.url)), "../../docs/images");
const report = pathToFileURL(resolve(process.argv[2])).href;
const width = 1000;
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
try {
  for (const colorScheme of ["light", "dark"]) {
    const page = await browser.newPage({ viewport: { width, height: 760 }, colorScheme });
    await page.goto(report);
    const { y } = await page.getByRole("heading", { name: /worst mistakes/i }).boundingBox();
    const clip = { x: 0, y: 0, width, height: Math.floor(y) };
    await page.screenshot({ path: join(images, `evaluation-${colorScheme}.png`), clip, fullPage: true });
  }
} finally {
  await browser.close();
}
