// Counts the tokens that an assistant reads before its first call: names, descriptions and inputs of
// all tools, the server's instructions, and the skill's description. The tokenizer is the last one that
// Anthropic published. Newer models use others, so the count is an estimate.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { countTokens } from "@anthropic-ai/tokenizer";
import { environment, here, server, world } from "./world.mjs";

const BUDGET = 1800;
/** For the tools that are in the first prompt of Claude Code, whether they are used or not. */
const ALWAYS_LOADED = 900;

test("all that the assistant reads fits the budget", (t) => {
  const home = world();
  const _meta = { "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} };
  const request = (id, method) => JSON.stringify({ jsonrpc: "2.0", id, method, params: { _meta } });
  const input = `${request(1, "server/discover")}\n${request(2, "tools/list")}\n`;
  const { stdout } = spawnSync(server, ["serve"], { input, env: environment(home), cwd: home, encoding: "utf8" });
  const results = stdout.trim().split("\n").map((line) => JSON.parse(line));
  const result = (id) => results.find((message) => message.id === id).result;
  const skill = readFileSync(join(here, "../../skill/SKILL.md"), "utf8").split("\n").find((line) => line.startsWith("description: "));
  const count = (texts) => texts.map((text) => countTokens(text)).reduce((sum, count) => sum + count, 0);
  const read = (tool) => [tool.name, tool.description, JSON.stringify(tool.inputSchema)];
  const { tools } = result(2);
  const tokens = count([result(1).instructions, skill, ...tools.flatMap(read)]);
  assert.ok(tokens > 500 && tokens <= BUDGET, `${tokens} tokens, ${BUDGET} are allowed`);
  const always = tools.filter((tool) => tool._meta["anthropic/alwaysLoad"]);
  assert.deepEqual(always.map((tool) => tool.name), ["local_model_predict", "local_model_predict_file"]);
  const loaded = count(always.flatMap(read));
  assert.ok(loaded <= ALWAYS_LOADED, `${loaded} tokens are always loaded, ${ALWAYS_LOADED} are allowed`);
  t.diagnostic(`${tokens} tokens; ${loaded} are always loaded`);
});
