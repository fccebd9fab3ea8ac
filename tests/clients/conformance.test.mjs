// Runs the official conformance suite through the bridge. Every scenario also checks each message against
// the official JSON schema of the revision. conformance.json lists the scenarios and why some are left out.

import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { bridge } from "./bridge.mjs";
import { environment, expected, here, installed, run, server, world, writeLong } from "./world.mjs";

const scenarios = JSON.parse(readFileSync(join(here, "conformance.json"), "utf8"));
const home = world();
const client = fork(join(here, "conformance_suite.mjs"), [installed("conformance")], { env: { HOME: home }, silent: true });
let bridged, output;

for (const stream of [client.stdout, client.stderr]) stream.on("data", (chunk) => (output += chunk));
before(async () => (bridged = await bridge(server, { home, environment: environment(home) })));
after(() => {
  client.kill();
  bridged.close();
});

/** Runs the suite's command line, and returns its exit status. */
async function suite(...args) {
  output = "";
  const answers = new AbortController();
  const ended = once(client, "exit", answers).then(() => assert.fail(`the suite ended: ${output}`));
  client.send(args);
  const [status] = await Promise.race([once(client, "message", answers), ended]);
  answers.abort();
  return status;
}

async function check(revision, scenario) {
  bridged.revision = revision;
  const results = mkdtempSync(join(home, "results-"));
  const status = await suite(
    "server", "--url", bridged.url, "--scenario", scenario, "--spec-version", revision, "--timeout", "300000",
    // The suite has few scenarios for the oldest revision; those of the next one apply too.
    "--force", "--expected-failures", join(here, "conformance-baseline.yml"), "--output-dir", results,
  );
  const [folder] = readdirSync(results);
  assert.ok(folder, output.slice(-2000));
  const checks = JSON.parse(readFileSync(join(results, folder, "checks.json"), "utf8"));
  const missed = checks.filter((check) => !["SUCCESS", "SKIPPED", "INFO"].includes(check.status));
  assert.equal(status, 0, `${JSON.stringify(missed, null, 1)}\n${output.slice(-1000)}`);
  // This scenario writes its requests by hand, so the suite does not check its messages.
  const checked = scenario === "server-stateless" ? undefined : "SUCCESS";
  assert.equal(checks.find(({ id }) => id === "wire-schema-valid")?.status, checked);
  if (revision < "2026") assert.equal(bridged.negotiated, revision);
}

test("conformance: each scenario that the suite has is run or left out for a reason", () => {
  const { stdout } = run(home, installed("conformance"), ["list", "--server"]);
  const known = stdout.matchAll(/^ +- (\S+)/gm).map(([, name]) => name).toArray();
  const named = [...Object.values(scenarios.revisions), ...scenarios.left_out.map((group) => group.scenarios)].flat();
  assert.deepEqual([...new Set(named)].sort(), known.sort());
});

for (const [revision, run] of Object.entries(scenarios.revisions)) {
  for (const scenario of run) {
    const calls = scenario === "tools-call-simple-text" ? expected.calls : [undefined];
    for (const call of calls) {
      test(`conformance, ${revision}: ${scenario}${call ? ` by ${call.name}` : ""}`, async () => {
        writeLong(home, `conformance, ${revision}`);
        const long = { name: "local_model_predict_file", arguments: { path: expected.long.path, overwrite: true } };
        bridged.standIns = { test_simple_text: call, test_error_handling: expected.mistake, test_tool_with_progress: long };
        await check(revision, scenario);
      });
    }
  }
}
