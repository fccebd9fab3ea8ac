// Whether a search finds our tools among those of popular servers, for what people say, and leaves
// them alone otherwise. Needs the release executable, or one named in LOCAL_MODEL_MCP.
//   node --test evals/search/search.test.mjs   # SHOW=1 prints each tuned sentence that is ranked wrongly, SHOW=all also those held out

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { bm25, claudeCode, keywords, rank, regex } from "./rank.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const server = resolve(process.env.LOCAL_MODEL_MCP ?? join(here, "../../target/release/local-model-mcp"));
// A client shows about five of the tools found, and a wrong one among the first three may be called.
const FOUND_IN = 5;
const QUIET_IN = 3;
const LEAST = 0.95;

const read = (name) => readFileSync(join(here, name), "utf8");

/** The server's own tools, as it lists them. */
function ownTools() {
  const _meta = { "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} };
  const input = `${JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list", params: { _meta } })}\n`;
  const { stdout, error, stderr } = spawnSync(server, ["serve"], { input, encoding: "utf8" });
  assert.ok(stdout, `${server}: ${error ?? stderr}`);
  return JSON.parse(stdout).result.tools.map(({ name, description, _meta }) => ({
    name,
    description,
    hint: _meta["anthropic/searchHint"],
    server: "local-model",
    loaded: _meta["anthropic/alwaysLoad"],
  }));
}

const own = ownTools();
const others = JSON.parse(read("tools.json")).flatMap(({ package: name, tools }) =>
  tools.map((tool) => ({ server: name.split("/").at(-1), ...tool })),
);
// Claude Code searches the tools that it deferred, so never those that are always loaded.
const CATALOGUES = {
  deferred: [...others, ...own.filter(({ loaded }) => !loaded)],
  all: [...others, ...own],
};
const sentences = read("sentences.jsonl").trim().split("\n").map((line) => JSON.parse(line));

test("the sentences and tools are as many as promised", () => {
  const count = (counts) => sentences.filter(counts).length;
  assert.ok(others.length >= 200, `${others.length} tools of others`);
  assert.ok(sentences.length >= 120 && count(({ want }) => want.length === 0) >= 40);
  assert.ok(count(({ lang }) => lang === "zh") >= 40 && count(({ held_out }) => held_out) >= 40);
  assert.equal(new Set(sentences.map(({ say }) => say)).size, sentences.length);
  const wanted = new Set(sentences.flatMap(({ want }) => want));
  assert.deepEqual([...wanted].sort(), own.map(({ name }) => name).sort());
});

/**
 * Whether the ranking is right for a sentence, or undefined if it wants a tool that is not in the catalogue. Ties count
 * against us both ways.
 */
function isRight({ want }, scores, tools) {
  const wanted = (index) => want.includes(tools[index].name);
  if (want.length === 0) return rank(scores, (index) => index >= others.length, "own first") > QUIET_IN;
  if (!tools.some((_, index) => wanted(index))) return undefined;
  return rank(scores, wanted, "others first") <= FOUND_IN;
}

/** Judges all sentences, and prints the four counts. Returns the judged sentences, and the share of tools found. */
function judge(t, catalogue, rankingOf) {
  const tools = CATALOGUES[catalogue];
  const ranking = rankingOf(tools);
  const judged = sentences
    .map((sentence) => ({ ...sentence, right: isRight(sentence, ranking(sentence.say), tools) }))
    .filter(({ right }) => right !== undefined);
  const share = (counts) => {
    const all = judged.filter(counts);
    const right = all.filter(({ right }) => right).length;
    return { right, all: all.length, share: right / all.length };
  };
  for (const held_out of [false, true]) {
    for (const wanted of [true, false]) {
      const { right, all } = share((each) => each.held_out === held_out && each.want.length > 0 === wanted);
      t.diagnostic(`${catalogue}: ${held_out ? "held out" : "tuned on"}, ${wanted ? "ours wanted" : "not ours"}: ${right} of ${all}`);
    }
  }
  const wrong = judged.filter(({ right, held_out }) => !right && (!held_out || process.env.SHOW === "all"));
  if (process.env.SHOW) for (const { say } of wrong) t.diagnostic(`${catalogue}, wrong: ${say}`);
  return { judged, found: share(({ want }) => want.length > 0) };
}

const RANKINGS = { bm25, regex, "claude code": (tools) => (say) => claudeCode(tools)(keywords(say)) };

for (const [name, ranking] of Object.entries(RANKINGS)) {
  test(`${name}: the right tool is among the first five, and ours are not among the first three otherwise`, (t) => {
    const { judged, found } = judge(t, "deferred", ranking);
    // A client may not know `alwaysLoad`, and search all six.
    const all = judge(t, "all", ranking);
    // Claude Code weighs all keywords alike. An assistant types two or three, and a whole sentence drowns them.
    if (name !== "claude code") {
      for (const each of [found, all.found]) assert.ok(each.share >= LEAST, `found for ${each.right} of ${each.all} sentences`);
    }
    // Its keywords are all words of a sentence, so "translate this text" also finds tools by "text".
    const quiet = name === "claude code" ? judged : [...judged, ...all.judged];
    const wrong = quiet.filter(({ want, right }) => want.length === 0 && !right);
    assert.deepEqual(wrong.map(({ say }) => say), [], "ours come up for these");
  });
}
