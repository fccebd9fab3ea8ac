// Takes docs/images/inspector.png: the Inspector's page calls local_model_predict in headless Chromium. Run by hand:
//   npm install --no-save playwright-core && CHROMIUM=/usr/bin/chromium node screenshot.mjs   # Node 22 or newer

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const here = dirname(fileURLToPath(import.meta.url));
const repository = join(here, "../..");
const home = mkdtempSync(join(tmpdir(), "local-model-mcp-"));
const path = [join(repository, "target/release"), process.env.PATH].join(delimiter);
const env = { PATH: path, HOME: home, MCP_AUTO_OPEN_ENABLED: "false", CLIENT_PORT: "18274" };
const inspector = spawn(process.execPath, [join(here, "node_modules/.bin/mcp-inspector"), "--web", "local-model-mcp"], { env, cwd: home });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
try {
  const address = await new Promise((found, failed) => {
    let output = "";
    inspector.on("exit", () => failed(new Error(output)));
    inspector.stdout.on("data", (chunk) => {
      output += chunk;
      const [url] = output.match(/http:\S+API_TOKEN=\w+(?=\s)/) ?? [];
      if (url) found(url);
    });
  });
  const page = await browser.newPage({ viewport: { width: 1280, height: 880 }, colorScheme: "light", deviceScaleFactor: 2 });
  page.setDefaultTimeout(60_000);
  await page.goto(address);
  await page.getByRole("switch").first().click({ force: true });
  await page.getByText("Connected", { exact: true }).waitFor();
  await page.getByText("Tools", { exact: true }).first().click();
  await page.getByText("Predict with the local model").first().click();
  await page.getByRole("textbox", { name: "text", exact: true }).fill("this library is a joy to use");
  await page.getByRole("button", { name: "Execute" }).click();
  await page.getByText("Structured Output").waitFor();
  await page.getByText(/0\.93/).first().waitFor();
  // Hides the message panel on the right, because its times depend on the machine.
  const clip = { x: 0, y: 0, width: 854, height: 740 };
  await page.screenshot({ path: join(repository, "docs/images/inspector.png"), clip });
} finally {
  await browser.close();
  inspector.kill();
  rmSync(home, { recursive: true, force: true, maxRetries: 5 });
}
