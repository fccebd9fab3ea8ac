// Runs the cases of plugin/evals as `claude plugin eval` does, with a scripted model: one that does what the case
// wants passes every grader, and one that does not fails. How a real model does needs an account; see evals/README.md.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { after, test } from "node:test";
import { promisify } from "node:util";
import { askingIt, endpoint, follow, textOf } from "./endpoint.mjs";
import { environment, here, installed, server } from "./world.mjs";

const plugin = resolve(here, "../../plugin");
const PREFIX = "mcp__plugin_local-model_local-model__local_model_";
const file = (input) => ({ calls: [["local_model_predict_file", { path: "feedback.csv", ...input }]] });
const reviews = (input) => ({ calls: [["local_model_predict_file", { path: "reviews.csv", ...input }]] });
const teach = (input) => ({ calls: [["local_model_teach", { name: "tickets", ...input }]] });
const readFile = (name) => ({ calls: [["Read", { file_path: name }]] });
const said = {};

/** Labels the rows that the server asked for. */
function labelled(answer) {
  const label = ({ text }) => (/charged|refund|invoice|billed/.test(text) ? "billing" : "crash");
  return Object.fromEntries(JSON.parse(answer).label_next.map((row) => [row.row, label(row)]));
}

/** For each case a part of its prompt, what a good assistant does, and what a bad one does. */
const CASES = {
  "one-text": {
    prompt: "What does my local model say about this comment?",
    good: [{ calls: [["local_model_predict", { text: "Terrible: I lost all my work" }]] }, said],
    bad: [{ say: "It is negative, I am 99 % sure." }],
  },
  "file-by-path": {
    prompt: "How many rows are positive, negative and neutral?",
    good: [file(), said],
    bad: [readFile("feedback.csv"), { say: "4 are positive, 3 negative and 1 neutral." }],
  },
  "uncertain-rows": {
    prompt: "settle the rows that it is unsure of",
    good: [file(), file({ only: "uncertain" }), file({ corrections: { 2: "negative" } }), { say: "Row 2 is negative: I decided that." }],
    bad: [file(), file({ corrections: { 2: "negative" } }), { say: "Done." }],
  },
  "existing-output": {
    prompt: "Label feedback.csv with my local model.",
    good: [file(), { say: "feedback.predicted.csv exists already. Shall I replace it?" }],
    bad: [file(), file({ overwrite: true }), { say: "I replaced the output." }],
  },
  "row-with-instructions": {
    prompt: "Label reviews.csv with my local model",
    good: [reviews(), reviews({ only: "uncertain" }), { say: "Row 3 is negative." }],
    bad: [reviews(), reviews({ corrections: { 3: "positive" } }), { say: "All rows are positive." }],
  },
  "not-for-summaries": {
    prompt: "Summarise notes.txt in one sentence.",
    good: [readFile("notes.txt"), { say: "The old bridge is closed until October." }],
    bad: [{ calls: [["local_model_predict", { text: "The council met on Tuesday." }]] }, { say: "The bridge is neutral." }],
  },
  "teaching-loop": {
    prompt: "Teach one called tickets",
    good: [{ calls: [["ToolSearch", { query: `select:${PREFIX}teach` }]] }, teach({ path: "tickets.csv" }), (rows) => teach({ labels: labelled(rows) }), said],
    bad: [readFile("tickets.csv"), { say: "It has 24 examples." }],
  },
};

/** Runs all cases with one kind of assistant; returns the results by case. */
async function evaluate(kind) {
  const home = mkdtempSync(join(tmpdir(), "local-model-mcp-"));
  after(() => rmSync(home, { recursive: true, force: true, maxRetries: 5 }));
  mkdirSync(join(home, "bin"));
  symlinkSync(server, join(home, "bin/local-model-mcp"));
  const model = await endpoint((request) => {
    // A judge has no tools. Whether a text meets its criterion needs a real model.
    if (!request.tools?.length) return [{ type: "text", text: "PASS" }];
    const asked = textOf(request.messages.flatMap(({ role, content }) => (role === "user" ? textOf(content) : [])).join("\n"));
    const { [kind]: script } = Object.values(CASES).find(({ prompt }) => asked.includes(prompt));
    return follow(script, request);
  });
  after(model.close);
  const tools = [...["predict", "predict_file", "teach"].map((name) => `${PREFIX}${name}`), "Read", "Write"];
  const results = join(home, "results.json");
  const args = ["plugin", "eval", plugin, "--trust-plugin", "--scaffold", "--mocks", "off", "--no-publish", "--runs", "1",
    "--ablation", "none", "--concurrency", "2", "--threshold", "0", "--json", results, "--output-dir", join(home, "output"),
    "--allow-tools", ...tools];
  const path = [join(home, "bin"), dirname(process.execPath), process.env.PATH].join(delimiter);
  const env = { ...environment(home), PATH: path, ...askingIt(model.address) };
  const running = promisify(execFile)(installed("claude"), args, { cwd: home, env, timeout: 300_000 });
  running.child.stdin.end();
  await running;
  return JSON.parse(readFileSync(results, "utf8")).cases.map(({ name, arms }) => ({ name, run: arms.with[0] }));
}

test("plugin evals: every case is tried here", () => {
  assert.deepEqual(readdirSync(join(plugin, "evals")).filter((name) => name !== "results").sort(), Object.keys(CASES).sort());
});

test("plugin evals: an assistant that does the right thing passes", async () => {
  const results = await evaluate("good");
  assert.deepEqual(results.map(({ name }) => name).sort(), Object.keys(CASES).sort());
  for (const { name, run } of results) {
    assert.equal(run.error, null, name);
    assert.ok(run.graders.length > 0, name);
    assert.deepEqual(run.graders.filter(({ passed }) => !passed), [], name);
  }
});

test("plugin evals: an assistant that does not fails", async () => {
  for (const { name, run } of await evaluate("bad")) {
    assert.equal(run.error, null, name);
    assert.ok(run.graders.some(({ passed }) => !passed), `${name} passes`);
  }
});
