// The official TypeScript SDK, version 2, in both of its ways to negotiate the protocol era: handshake and discovery.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { essentials } from "./essentials.mjs";
import { environment, expected, server, world } from "./world.mjs";

for (const [mode, revision] of [["legacy", "2025-11-25"], ["auto", "2026-07-28"]]) {
  test(`typescript sdk v2, ${mode}`, async (t) => {
    const home = world();
    const client = new Client({ name: "tests", version: "1" }, { versionNegotiation: { mode } });
    const transport = new StdioClientTransport({ command: server, env: environment(home), cwd: home, stderr: "pipe" });
    let complaints = "";
    transport.stderr.on("data", (chunk) => (complaints += chunk));
    await client.connect(transport);
    t.after(() => client.close());
    assert.equal(client.getNegotiatedProtocolVersion(), revision);
    assert.equal(client.getServerVersion().name, expected.server);
    assert.deepEqual(Object.keys(client.getServerCapabilities()).filter((name) => name !== "extensions").sort(), ["resources", "tools"]);
    assert.match(client.getInstructions(), /local_model_predict/);
    await essentials(t, {
      listTools: () => client.listTools(),
      call: (tool, options) => client.callTool({ name: tool.name, arguments: tool.arguments }, options),
    }, home, `typescript v2, ${mode}`);
    assert.equal(complaints, "");
  });
}
