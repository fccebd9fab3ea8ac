// Runs the MCP Inspector's command line in both protocol eras. Exit status 5 is a tool error, 6 an unportable schema.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { expected, installed, run, server, world } from "./world.mjs";

const home = world();

function inspect(era, ...args) {
  const done = run(home, installed("mcp-inspector"), ["--cli", server, "--protocol-era", era, "--format", "json", ...args]);
  // Clients show a server's stderr as errors.
  if (done.status === 0) assert.equal(done.stderr, "");
  return { status: done.status, result: done.stdout && JSON.parse(done.stdout).result, stderr: done.stderr };
}

const call = (tool) => ["--method", "tools/call", "--tool-name", tool.name, "--tool-args-json", JSON.stringify(tool.arguments)];

for (const era of ["legacy", "modern"]) {
  test(`inspector, ${era}: the tool list passes its strict check`, () => {
    const { status, result, stderr } = inspect(era, "--method", "tools/list", "--strict");
    assert.equal(status, 0, stderr);
    assert.deepEqual(result.tools.map((tool) => tool.name), expected.tools);
  });

  for (const tool of expected.calls) {
    test(`inspector, ${era}: ${tool.name}`, () => {
      const { status, result, stderr } = inspect(era, ...call(tool));
      assert.equal(status, 0, stderr);
      // Each call starts its own process, so the model may still be loading when the status is read.
      const models = tool.result.models?.map(({ name }) => ({ name }));
      assert.partialDeepStrictEqual(result.structuredContent, models ? { models } : tool.result);
    });
  }

  test(`inspector, ${era}: a caller's mistake is a tool error`, () => {
    const { status, result } = inspect(era, ...call(expected.mistake));
    assert.equal(status, 5);
    assert.equal(result.isError, true);
    assert.equal(result.content[0].text, expected.mistake.message);
  });

  test(`inspector, ${era}: an unknown tool is reported as such`, () => {
    const { status, stderr } = inspect(era, ...call({ name: "local_model_train", arguments: {} }));
    assert.equal(status, 5);
    assert.match(stderr, /local_model_train/);
  });

  test(`inspector, ${era}: a thousand calls, ten at a time, none lost`, () => {
    const load = ["--load", "--load-requests", "1000", "--load-concurrency", "10"];
    const { status, result, stderr } = inspect(era, ...call({ name: "local_model_predict", arguments: { text: "under load" } }), ...load);
    assert.equal(status, 0, stderr);
    assert.equal(result.ok, 1000);
    assert.equal(result.errors, 0);
  });
}

test("inspector: the server serves the complete skill", () => {
  const skill = ["--method", "skills/list", "--verify", "--require-digests"];
  const done = run(home, installed("mcp-inspector"), ["--cli", server, "--protocol-era", "modern", "--format", "json", ...skill]);
  assert.equal(done.status, 0, done.stderr);
  const { conformance, files } = JSON.parse(done.stdout);
  assert.deepEqual(conformance, []);
  assert.deepEqual(files.map(({ status }) => status), ["verified", "verified", "verified", "verified"]);
});

test("inspector: a file job's output is on disk", () => {
  assert.match(readFileSync(join(home, "small.predicted.csv"), "utf8"), /1,I love this,positive,/);
});
