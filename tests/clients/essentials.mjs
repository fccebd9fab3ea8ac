// The checks that every TypeScript client runs: tool list, each tool, a tool error, progress, cancellation.
// Both SDKs validate the answers against the tools' output schemas.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { expected, writeLong } from "./world.mjs";

/** `client` has `listTools()` and `call(tool, options)`; `t` is the parent test. */
export async function essentials(t, client, home, who) {
  await t.test("the tool list's schemas compile without a warning", async (t) => {
    const warnings = ["warn", "error"].map((level) => t.mock.method(console, level));
    const { tools } = await client.listTools();
    assert.deepEqual(tools.map((tool) => tool.name), expected.tools);
    for (const tool of tools) assert.equal(tool.outputSchema.type, "object", tool.name);
    for (const warned of warnings) assert.deepEqual(warned.mock.calls.map((call) => call.arguments), []);
  });

  for (const tool of expected.calls) {
    await t.test(tool.name, async () => {
      const { isError, structuredContent } = await client.call(tool);
      assert.ok(!isError);
      assert.partialDeepStrictEqual(structuredContent, tool.result);
    });
  }

  await t.test("a caller's mistake is a tool error, not an exception", async () => {
    const { isError, content } = await client.call(expected.mistake);
    assert.equal(isError, true);
    assert.equal(content[0].text, expected.mistake.message);
  });

  const { path, rows } = expected.long;
  const long = { name: "local_model_predict_file", arguments: { path, overwrite: true } };

  await t.test("a cancelled file job leaves no files, and the session continues", async () => {
    writeLong(home, `${who}, cancelled`);
    const before = readdirSync(home).sort();
    const cancelled = new AbortController();
    const call = client.call(long, { signal: cancelled.signal, onprogress: () => cancelled.abort(new Error("cancelled")) });
    await assert.rejects(call, /cancelled/);
    const { isError } = await client.call(expected.calls[0]);
    assert.ok(!isError);
    for (let waits = 0; waits < 100 && readdirSync(home).length > before.length; waits += 1) await pause(100);
    assert.deepEqual(readdirSync(home).sort(), before);
  });

  await t.test("a file job reports progress", async () => {
    writeLong(home, who);
    const progress = [];
    const { structuredContent } = await client.call(long, { timeout: 300_000, onprogress: (at) => progress.push(at) });
    assert.equal(structuredContent.rows, rows);
    assert.ok(progress.length >= 2, `${progress.length} notifications`);
    for (const [index, at] of progress.entries()) {
      assert.ok(index === 0 || at.progress > progress[index - 1].progress, JSON.stringify(progress));
      assert.match(at.message, /rows|writing the output/);
    }
    assert.ok(progress.some((at) => at.total === rows && /rows/.test(at.message)), JSON.stringify(progress));
  });
}
