// The thread that reads and writes messages: whatever a call asks for, its work is done on other threads, so that
// a ping is answered at once. Linux alone tells the processor time of a thread.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { environment, server, world } from "./world.mjs";

// Nothing may run longer than 10 ms. The figures are sums over a whole call. A large message is read in pieces of
// 8 KB, between which other messages have their turn; its pages of memory took up to 12 ms a megabyte on a shared
// virtual machine, and 1 ms on a quiet one.
const MAX_MS = 20;
const MAX_MS_PER_MB = 25;
const MAX_CALLS = 5;
const words = "the film was a long and lovely story about love and war and nothing else mattered ";
const text = (characters) => words.repeat(Math.ceil(characters / words.length)).slice(0, characters);
const many = (count, entry) => Object.fromEntries(Array.from({ length: count }, (_, index) => entry(index)));
const list = (count, entry) => Array.from({ length: count }, (_, index) => entry(index));
const call = (tool, argument) => ["tools/call", { name: `local_model_${tool}`, arguments: argument }];

const heaviest = {
  "the list of tools": ["tools/list", {}],
  "the list of resources": ["resources/list", {}],
  "the status": call("status", {}),
  "a text of 60,000 characters": call("predict", { text: text(60_000) }),
  "a text above the limit": call("predict", { text: text(1_000_000) }),
  "256 texts of 15,000 characters": call("predict_batch", { texts: list(256, () => text(15_000)) }),
  "60,000 texts": call("predict_batch", { texts: list(60_000, (index) => `good ${index}`) }),
  "a line of 4 MB": call("predict", { text: "x".repeat(4_100_000) }),
  "32,000 arguments": call("predict", many(32_000, (index) => [`k${index}`, 0])),
  "20,000 corrections": call("predict_file", { path: "no.csv", corrections: many(20_000, (index) => [index, "positive"]) }),
  "a file": call("predict_file", { path: "rows.csv", overwrite: true }),
  "400 labels of a file": call("teach", { name: "kinds", path: "few.csv", label_column: "label" }),
  "an audit": call("audit", { name: "kinds" }),
};

test("no call occupies the thread of the protocol", { skip: process.platform !== "linux" }, async () => {
  const home = world();
  const row = (index) => `row ${index} of ${text(40)},${index % 5}`;
  for (const [name, rows] of [["few.csv", 500], ["rows.csv", 2000]]) {
    writeFileSync(join(home, name), ["text,label", ...list(rows, row)].join("\n"));
  }
  const process = spawn(server, ["serve"], { cwd: home, env: environment(home), stdio: ["pipe", "pipe", "inherit"] });
  after(() => process.kill());
  const waiting = new Map();
  createInterface({ input: process.stdout }).on("line", (line) => {
    const message = JSON.parse(line);
    waiting.get(message.id)?.(message);
  });
  let id = 0;
  const ask = (method, params) => {
    id += 1;
    const answer = new Promise((resolve) => waiting.set(id, resolve));
    process.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id, method, params })}\n`);
    return answer;
  };
  const milliseconds = () => readFileSync(`/proc/${process.pid}/task/${process.pid}/schedstat`, "utf8").split(" ")[0] / 1e6;

  await ask("initialize", { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "test", version: "1" } });
  process.stdin.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n');
  for (const [name, [method, params]] of Object.entries(heaviest)) {
    const limit = MAX_MS + (MAX_MS_PER_MB * JSON.stringify(params).length) / 1e6;
    const taken = [];
    // Other processes disturb a call; they do not disturb all.
    while (!taken.some((each) => each < limit)) {
      assert.ok(taken.length < MAX_CALLS, `${name}: ${taken.map((each) => each.toFixed(1))} ms; expected ${limit.toFixed(1)}`);
      const before = milliseconds();
      await ask(method, params);
      taken.push(milliseconds() - before);
    }
  }
});
