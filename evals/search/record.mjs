// Records the tools of popular MCP servers in tools.json: names and descriptions.
// Installs the servers that servers.json names without install scripts into a temporary folder, and
// starts them without an account.
//   node evals/search/record.mjs [PACKAGE…]   # Node 20 or newer, Python 3.11 or newer with pip

import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const file = join(here, "tools.json");
const read = (path) => JSON.parse(readFileSync(path, "utf8"));
const servers = read(join(here, "servers.json"));
const wanted = process.argv.slice(2);
const START_MS = 120_000;

function run(program, args, cwd) {
  const { status, stderr } = spawnSync(program, args, { cwd, encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr}`);
}

/** Installs one server and returns the path of its executable. */
function install({ registry, package: name, version, bin }, folder) {
  if (registry === "npm") {
    const quiet = ["--ignore-scripts", "--no-audit", "--no-fund"];
    run("npm", ["install", "--prefix", folder, ...quiet, `${name}@${version}`]);
    return join(folder, "node_modules/.bin", bin);
  }
  run("python3", ["-m", "venv", folder]);
  run(join(folder, "bin/python"), ["-m", "pip", "install", "--quiet", `${name}==${version}`]);
  return join(folder, "bin", bin);
}

/** Starts a server, asks for its tools page by page, and stops it. */
async function list(program, { args = [], env = {} }, cwd) {
  const options = { cwd, env: { PATH: process.env.PATH, HOME: cwd, ...env } };
  const child = spawn(program, args, { ...options, stdio: ["pipe", "pipe", "ignore"] });
  const timer = setTimeout(() => child.kill("SIGKILL"), START_MS);
  const send = (message) => child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  const clientInfo = { name: "recorder", version: "1" };
  const params = { protocolVersion: "2025-06-18", capabilities: {}, clientInfo };
  send({ id: 0, method: "initialize", params });
  const tools = [];
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      const message = line.startsWith("{") ? JSON.parse(line) : {};
      if (message.error) throw new Error(message.error.message);
      if (message.result === undefined) continue;
      if (message.id === 0) send({ method: "notifications/initialized" });
      tools.push(...(message.result.tools ?? []));
      const cursor = message.result.nextCursor;
      if (message.id > 0 && !cursor) return tools;
      send({ id: message.id + 1, method: "tools/list", params: { cursor } });
    }
    throw new Error("the server ended, or did not answer in time");
  } finally {
    clearTimeout(timer);
    child.kill("SIGKILL");
  }
}

const recorded = wanted.length > 0 ? read(file).filter((each) => !wanted.includes(each.package)) : [];
for (const server of servers) {
  if (wanted.length > 0 && !wanted.includes(server.package)) continue;
  const folder = mkdtempSync(join(tmpdir(), "record-"));
  try {
    for (const [name, content] of Object.entries(server.files ?? {})) {
      writeFileSync(join(folder, name), JSON.stringify(content));
    }
    const tools = await list(install(server, folder), server, folder);
    const { registry, package: name, version, license } = server;
    const described = tools.map(({ name, description = "" }) => ({ name, description }));
    recorded.push({ registry, package: name, version, license, tools: described });
    console.log(`${name} ${version}: ${tools.length} tools`);
  } catch (error) {
    // Listed without this server, so that the others need not be installed again.
    console.error(`${server.package}: ${error.message}`);
    process.exitCode = 1;
  } finally {
    try {
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    } catch {
      console.error(`${folder} is left: a process that the server started still writes to it`);
    }
  }
}
writeFileSync(file, `${JSON.stringify(recorded, null, 1)}\n`);
