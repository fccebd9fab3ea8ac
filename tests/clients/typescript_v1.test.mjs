// The official TypeScript SDK, version 1: the handshake of revision 2025-11-25 and earlier.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { essentials } from "./essentials.mjs";
import { environment, expected, server, world } from "./world.mjs";

test("typescript sdk v1", async (t) => {
  const home = world();
  const client = new Client({ name: "tests", version: "1" });
  const transport = new StdioClientTransport({ command: server, env: environment(home), cwd: home, stderr: "pipe" });
  let complaints = "";
  transport.stderr.on("data", (chunk) => (complaints += chunk));
  await client.connect(transport);
  t.after(() => client.close());
  assert.equal(client.getServerVersion().name, expected.server);
  assert.deepEqual(Object.keys(client.getServerCapabilities()).filter((name) => name !== "extensions").sort(), ["resources", "tools"]);
  assert.match(client.getInstructions(), /local_model_predict/);
  await client.ping();
  await essentials(t, {
    listTools: () => client.listTools(),
    call: (tool, options) => client.callTool({ name: tool.name, arguments: tool.arguments }, undefined, options),
  }, home, "typescript v1");
  assert.equal(complaints, "");
});
