// Claude Code's own health check, in an empty home. A turn with the model needs a login, so none is made here.

import assert from "node:assert/strict";
import { test } from "node:test";
import { installed, run, server, world } from "./world.mjs";

test("claude code: added, listed, connected", () => {
  const home = world();
  const added = run(home, installed("claude"), ["mcp", "add", "local-model", "--", server]);
  assert.equal(added.status, 0, added.stderr);
  const listed = run(home, installed("claude"), ["mcp", "list"]);
  assert.match(listed.stdout, /local-model: .*Connected/, listed.stdout + listed.stderr);
});
