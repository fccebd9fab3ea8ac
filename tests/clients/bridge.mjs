// Serves Streamable HTTP in front of the stdio server, because the conformance suite speaks only HTTP.
// Each session gets a process. Revision 2026-07-28 has no sessions, so its requests share one process.
// The bridge changes three things in messages: ids, because requests share a process; calls of the
// suite's reference tools, which are replaced by calls of this server's tools; and the revision in a
// handshake, because the suite asks for 2025-11-25 whichever revision it checks.

import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createInterface } from "node:readline";

/** HTTP statuses that the transport requires for some errors. Handshake revisions require none. */
const STATUS = { [-32601]: 404, [-32602]: 400, [-32020]: 400, [-32021]: 400, [-32022]: 400 };

class Process {
  #child;
  #count = 0;
  #requests = new Map();

  constructor(command, home, env) {
    const options = { cwd: home, env, stdio: ["pipe", "pipe", "inherit"] };
    this.#child = spawn(command, [], options);
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#received(JSON.parse(line)));
  }

  /** Sends a request. `deliver` gets each progress notification, then the answer with `last` set. */
  request(message, deliver) {
    this.#count += 1;
    this.#requests.set(this.#count, { id: message.id, token: message.params?._meta?.progressToken, deliver });
    this.send({ ...message, id: this.#count });
  }

  send(message) {
    this.#child.stdin.write(`${JSON.stringify(message)}\n`);
  }

  close() {
    this.#child.stdin.end();
  }

  #received(message) {
    if (message.method) {
      const { progressToken } = message.params ?? {};
      const request = [...this.#requests.values()].find(({ token }) => token !== undefined && token === progressToken);
      request?.deliver(message, false);
      return;
    }
    const request = this.#requests.get(message.id);
    this.#requests.delete(message.id);
    request?.deliver({ ...message, id: request.id }, true);
  }
}

function answer(response, status, message, headers = {}) {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(message && JSON.stringify(message));
}

/**
 * Starts a bridge to `command`, which runs in `home` with `environment`. The result has the `url`, a
 * `revision` to set for handshakes, the `negotiated` revision, and `standIns`, which maps a tool's name
 * to the `{ name, arguments }` to call instead.
 */
export async function bridge(command, { home, environment }) {
  const bridged = { revision: undefined, negotiated: undefined, standIns: {} };
  const sessions = new Map();
  let stateless;

  function route(message, request, response) {
    const session = request.headers["mcp-session-id"];
    const headers = {};
    let process = sessions.get(session);
    if (message.method === "initialize") {
      headers["mcp-session-id"] = randomUUID();
      if (message.params?.protocolVersion) message.params.protocolVersion = bridged.revision;
      process = new Process(command, home, environment);
      sessions.set(headers["mcp-session-id"], process);
    } else if (!session) {
      process = stateless ??= new Process(command, home, environment);
    } else if (!process) {
      return answer(response, 404);
    }
    if (message.id === undefined || !message.method) {
      process.send(message);
      return answer(response, 202);
    }
    const standIn = message.method === "tools/call" && bridged.standIns[message.params?.name];
    if (standIn) message.params = { ...message.params, name: standIn.name, arguments: standIn.arguments };
    process.request(message, (reply, last) => {
      if (message.method === "initialize") bridged.negotiated = reply.result?.protocolVersion;
      // Only a call that reports progress needs a stream.
      if (last && !response.headersSent) {
        const status = process === stateless ? STATUS[reply.error?.code] : undefined;
        return answer(response, status ?? 200, reply, headers);
      }
      if (!response.headersSent) response.writeHead(200, { "content-type": "text/event-stream", ...headers });
      response.write(`event: message\ndata: ${JSON.stringify(reply)}\n\n`);
      if (last) response.end();
    });
  }

  const http = createServer(async (request, response) => {
    if (request.method === "DELETE") {
      const session = request.headers["mcp-session-id"];
      sessions.get(session)?.close();
      return answer(response, sessions.delete(session) ? 200 : 404);
    }
    if (request.method !== "POST") return answer(response, 405);
    const body = Buffer.concat(await request.toArray());
    try {
      route(JSON.parse(body), request, response);
    } catch (error) {
      answer(response, 400, { jsonrpc: "2.0", id: null, error: { code: -32700, message: error.message } });
    }
  });
  await new Promise((listening) => http.listen(0, "127.0.0.1", listening));
  bridged.url = `http://127.0.0.1:${http.address().port}/mcp`;
  bridged.close = () => {
    for (const process of [...sessions.values(), stateless]) process?.close();
    http.closeAllConnections();
    http.close();
  };
  return bridged;
}
