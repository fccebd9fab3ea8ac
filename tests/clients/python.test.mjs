// Runs python_sdk.py, which holds the tests of the official Python SDK.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { here, run, server, world } from "./world.mjs";

test("python sdk", () => {
  const done = run(world(), process.env.CLIENTS_PYTHON, ["-W", "error", join(here, "python_sdk.py"), server]);
  assert.equal(done.status, 0, done.stderr);
  assert.match(done.stderr, /Ran 8 tests/);
});
