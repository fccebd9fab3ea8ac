// Whole turns of Claude Code, with a scripted model in place of Anthropic's: what the assistant reads first, and
// what its calls come to.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { delimiter, dirname, join } from "node:path";
import { after, test } from "node:test";
import { promisify } from "node:util";
import { askingIt, endpoint, follow, textOf } from "./endpoint.mjs";
import { environment, here, installed, server, world } from "./world.mjs";

const home = world();
const path = [join(here, "node_modules/.bin"), dirname(process.execPath), process.env.PATH].join(delimiter);

/** Runs a program in the empty home. The model must answer meanwhile, so this does not block. */
async function run(program, args, more = {}) {
  const options = { cwd: home, env: { PATH: path, HOME: home, ...more }, timeout: 120_000 };
  const running = promisify(execFile)(program, args, options);
  running.child.stdin.end();
  return (await running).stdout;
}

/** One turn of the client with a model that follows a script. Returns its answer and what the model was asked. */
async function turn(script) {
  const model = await endpoint((request) => follow(script, request));
  after(model.close);
  const args = ["-p", "Go on.", "--allowedTools", "mcp__local-model", "ToolSearch"];
  const answer = await run(installed("claude"), args, { ...environment(home), ...askingIt(model.address) });
  return { answer, requests: model.requests };
}

test("claude code: the two main tools are in the first prompt, and a call is answered", async () => {
  await run(installed("claude"), ["mcp", "add", "local-model", "--", server]);
  const script = [{ calls: [["local_model_predict", { text: "I love this" }]] }, {}];
  const known = ({ tools }) => tools.map(({ name }) => name).filter((name) => name.startsWith("mcp__local-model__"));
  const first = await turn(script);
  const expected = ["mcp__local-model__local_model_predict", "mcp__local-model__local_model_predict_file"];
  assert.deepEqual(known(first.requests[0]), expected);
  assert.equal(JSON.parse(first.answer).prediction, "positive");
});

test("claude code: its search finds the deferred tools by English and Chinese words, and not by Chinese sentences", async () => {
  const queries = {
    "latency memory": ["status"],
    "guarantee": ["audit"],
    "train classifier": ["predict_batch", "status", "teach"],
    "批量": ["predict_batch"],
    "延迟 速度": ["status"],
    "抽查": ["audit"],
    "训练": ["teach"],
    "把这些评论批量分类": [],
  };
  const script = Object.keys(queries).map((query) => ({ calls: [["ToolSearch", { query, max_results: 9 }]] }));
  // The client has tools of its own to find.
  const ours = (name) => name.startsWith("mcp__local-model__");
  const names = ({ content }) => (Array.isArray(content) ? content.map(({ tool_name }) => tool_name).filter(ours) : []);
  const { requests } = await turn([...script, { say: "done" }]);
  const answers = requests.at(-1).messages.flatMap(({ role, content }) => (role === "user" ? content : []));
  const found = answers.filter(({ type }) => type === "tool_result").map(names);
  const expected = Object.values(queries).map((tools) => tools.map((name) => `mcp__local-model__local_model_${name}`));
  assert.deepEqual(found.map((tools) => tools.sort()), expected);
});
