// The release executable through real clients: MCP Inspector in both protocol eras, and Claude Code's own health check.
// What the answers must be is tested in Rust; here it counts that clients accept them.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const server = resolve(process.env.LOCAL_MODEL_MCP ?? join(here, "../../target/release/local-model-mcp"));
const home = mkdtempSync(join(tmpdir(), "local-model-mcp-"));

function run(program, args) {
  const env = { PATH: process.env.PATH, HOME: home };
  const done = spawnSync(join(here, "node_modules/.bin", program), args, { env, cwd: home, encoding: "utf8" });
  return { status: done.status, stdout: done.stdout, stderr: done.stderr };
}

function inspect(era, ...args) {
  const done = run("mcp-inspector", ["--cli", server, "--protocol-era", era, "--format", "json", ...args]);
  // Clients show whatever a server writes to stderr as an error.
  if (done.status === 0) assert.equal(done.stderr, "");
  return { status: done.status, result: done.stdout && JSON.parse(done.stdout).result, stderr: done.stderr };
}

const predict = (args) => ["--method", "tools/call", "--tool-name", "local_model_predict", "--tool-args-json", JSON.stringify(args)];

for (const era of ["legacy", "modern"]) {
  test(`inspector, ${era}: the tool list passes its strict check`, () => {
    const { status, result } = inspect(era, "--method", "tools/list", "--strict");
    assert.equal(status, 0);
    assert.deepEqual(result.tools.map((tool) => tool.name), [
      "local_model_predict", "local_model_predict_batch", "local_model_predict_file", "local_model_status",
    ]);
  });

  test(`inspector, ${era}: a prediction`, () => {
    const { status, result } = inspect(era, ...predict({ text: "I love this" }));
    assert.equal(status, 0);
    assert.equal(result.structuredContent.prediction, "positive");
  });

  test(`inspector, ${era}: a caller's mistake is a tool error`, () => {
    const { status, result } = inspect(era, ...predict({ text: " " }));
    assert.equal(status, 5);
    assert.equal(result.content[0].text, "`text` is empty or blank; send the text to classify");
  });

  test(`inspector, ${era}: a batch and a file`, () => {
    const tool = (name, args) => inspect(era, "--method", "tools/call", "--tool-name", name, "--tool-args-json", JSON.stringify(args));
    const batch = tool("local_model_predict_batch", { texts: ["I love this", " "] });
    assert.equal(batch.result.structuredContent.results[0].prediction, "positive");
    assert.match(batch.result.structuredContent.results[1].error, /empty or blank/);
    writeFileSync(join(home, `${era}.csv`), "id,text\n1,I love this\n2,I hate this\n");
    const file = tool("local_model_predict_file", { path: `${era}.csv` });
    assert.deepEqual(file.result.structuredContent.labels, { negative: 1, positive: 1 });
    assert.match(readFileSync(join(home, `${era}.predicted.csv`), "utf8"), /1,I love this,positive,/);
  });

  test(`inspector, ${era}: status`, () => {
    const { status, result } = inspect(era, "--method", "tools/call", "--tool-name", "local_model_status");
    assert.equal(status, 0);
    assert.equal(result.structuredContent.models[0].name, "sentiment");
  });

  test(`inspector, ${era}: a thousand calls, ten at a time, none lost`, () => {
    const load = ["--load", "--load-requests", "1000", "--load-concurrency", "10"];
    const { status, result } = inspect(era, ...predict({ text: "under load" }), ...load);
    assert.equal(status, 0);
    assert.equal(result.ok, 1000);
    assert.equal(result.errors, 0);
  });
}

test("claude code: added, listed, connected", () => {
  const added = run("claude", ["mcp", "add", "local-model", "--", server]);
  assert.equal(added.status, 0, added.stderr);
  const listed = run("claude", ["mcp", "list"]);
  assert.match(listed.stdout, /local-model: .*Connected/, listed.stdout + listed.stderr);
});
