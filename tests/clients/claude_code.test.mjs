// Runs Claude Code's own health check in an empty home. Whole turns are in claude_turn.test.mjs.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, realpathSync, symlinkSync } from "node:fs";
import { delimiter, dirname, join, resolve } from "node:path";
import { test } from "node:test";
import { here, installed, run, server, world } from "./world.mjs";

const root = resolve(here, "../..");

function claude(home, ...args) {
  const done = run(home, installed("claude"), args);
  assert.equal(done.status, 0, done.stdout + done.stderr);
  return done.stdout;
}

test("claude code: added, listed, connected", () => {
  const home = world();
  claude(home, "mcp", "add", "local-model", "--", server);
  assert.match(claude(home, "mcp", "list"), /local-model: .*Connected/);
});

test("claude code: registered and unregistered by the server's own command", () => {
  const home = world();
  const path = join(here, "node_modules/.bin");
  const register = (...args) => run(home, "/usr/bin/env", [`PATH=${path}${delimiter}${dirname(process.execPath)}`, server, "register", "--apply", ...args]);
  const added = register("--deadline-ms", "20000");
  assert.equal(added.status, 0, added.stderr);
  assert.match(claude(home, "mcp", "list"), /local-model: .*--deadline-ms 20000 .*Connected/);
  const entry = () => JSON.parse(readFileSync(join(home, ".claude.json"), "utf8")).projects[realpathSync(home)].mcpServers["local-model"];
  const taken = register();
  assert.equal(taken.status, 2);
  assert.match(taken.stderr, /error: nothing was registered: `local-model` is taken; add `--replace`/);
  const replaced = register("--replace", "--deadline-ms", "30000");
  assert.match(replaced.stdout, /`local-model` was replaced/, replaced.stderr);
  assert.deepEqual(entry().args, ["--deadline-ms", "30000"]);
  assert.equal(register("--remove").status, 0);
  assert.doesNotMatch(claude(home, "mcp", "list"), /local-model/);
});

test("claude code: the plugin is valid, installs from a clone, and connects with nothing configured", () => {
  const home = world();
  claude(home, "plugin", "validate", "--strict", "--profile", "directory", join(root, "plugin"));
  claude(home, "plugin", "validate", "--strict", root);
  // `cargo install` puts the executable into a directory on the user's PATH.
  mkdirSync(join(home, "bin"));
  symlinkSync(server, join(home, "bin/local-model-mcp"));
  claude(home, "plugin", "marketplace", "add", root);
  claude(home, "plugin", "install", "local-model@local-model-mcp");
  const path = [join(home, "bin"), dirname(process.execPath), process.env.PATH].join(delimiter);
  const listed = run(home, "/usr/bin/env", [`PATH=${path}`, installed("claude"), "mcp", "list"]);
  assert.match(listed.stdout, /plugin:local-model:local-model: .*Connected/, listed.stdout + listed.stderr);
});
