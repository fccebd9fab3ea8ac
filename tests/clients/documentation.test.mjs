// Compares docs/clients.md with the lock files and conformance.json, so that its versions and lists stay current.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { here } from "./world.mjs";

const read = (name) => readFileSync(join(here, name), "utf8");
const document = read("../../docs/clients.md");

test("documentation: the table has every client in its locked version", () => {
  const node = JSON.parse(read("package-lock.json")).packages;
  // This package counts tokens; it is not a client.
  const names = Object.keys(node[""].devDependencies).filter((name) => name !== "@anthropic-ai/tokenizer");
  const locked = names.map((name) => [name, node[`node_modules/${name}`].version]);
  const [, rust] = read("../../Cargo.lock").match(/name = "rmcp"\nversion = "(.*)"/);
  const [, python] = read("requirements.txt").match(/^mcp==(\S+)/m);
  const rows = document.matchAll(/^\| [^|]+ \| `([^`]+)` \| (\S+) \|/gm).map(([, name, version]) => [name, version]);
  assert.deepEqual([...rows].sort(), [...locked, ["mcp", python], ["rmcp", rust]].sort());
  // Client, package, version, protocol, what is exercised, result.
  for (const row of document.matchAll(/^\| [^|]+ \| `[^`]+` \| \d.*$/gm)) {
    assert.equal(row[0].split(" | ").length, 6, row[0]);
  }
});

test("documentation: the scenarios of the conformance suite", () => {
  const { revisions, left_out } = JSON.parse(read("conformance.json"));
  const names = (scenarios) => scenarios.map((name) => `\`${name}\``).join(", ");
  const tables = [
    ["| revision | scenarios that are run |", "|---|---|",
      ...Object.entries(revisions).map(([revision, run]) => `| ${revision} | ${names(run)} |`)],
    ["| scenarios that are not run | why |", "|---|---|", ...left_out.map(({ why, scenarios }) => `| ${names(scenarios)} | ${why} |`)],
  ];
  for (const table of tables) {
    const text = table.join("\n");
    assert.ok(document.includes(text), `docs/clients.md lacks this table:\n\n${text}\n`);
  }
});
