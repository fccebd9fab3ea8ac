// Finds the executable under test, and gives each client an empty home that is also the project folder.
// expected.json holds the expected answers for the clients of every language.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";

export const here = dirname(fileURLToPath(import.meta.url));
export const server = resolve(process.env.LOCAL_MODEL_MCP ?? join(here, "../../target/release/local-model-mcp"));
export const expected = JSON.parse(readFileSync(join(here, "expected.json"), "utf8"));

/** The server's environment. One worker keeps a long file slow on a large machine too. */
export const environment = (home) => ({ HOME: home, ...expected.environment });

/** Creates a folder with the files that the expected calls read. It is removed after the tests. */
export function world() {
  const home = mkdtempSync(join(tmpdir(), "local-model-mcp-"));
  after(() => rmSync(home, { recursive: true, force: true, maxRetries: 5 }));
  for (const [name, content] of Object.entries(expected.files)) writeFileSync(join(home, name), content);
  return home;
}

/**
 * Writes a file that takes seconds: long enough for three progress notifications, a quarter of a second
 * apart, and short enough for the conformance suite's limit of ten seconds. `who` makes the texts unique
 * to this caller, so that none comes from the cache.
 */
export function writeLong(home, who) {
  const { path, rows, row } = expected.long;
  const lines = Array.from({ length: rows }, (_, index) => row.replace("{who}", who).replace("{row}", index));
  writeFileSync(join(home, path), `${lines.join("\n")}\n`);
}

/** Runs a client in `home`, with the Node that runs the tests, and waits for it. */
export function run(home, program, args) {
  const path = [dirname(process.execPath), process.env.PATH].join(delimiter);
  const options = { env: { PATH: path, HOME: home }, cwd: home, encoding: "utf8", timeout: 300_000 };
  return spawnSync(program, args, options);
}

/** Returns the path of a program that npm installed. */
export const installed = (program) => join(here, "node_modules/.bin", program);
