#!/usr/bin/env node
// Starts the executable from the package of this platform. stdout carries the protocol, so all
// messages go to stderr.
"use strict";

const { spawn } = require("child_process");
const { accessSync, constants } = require("fs");
const { dirname, join } = require("path");
const own = require("./package.json");

const platform = `${process.platform}-${process.arch}`;
const scoped = `@local-model-mcp/${platform}`;
const program = process.platform === "win32" ? "local-model-mcp.exe" : "local-model-mcp";
const words = process.argv.slice(2);

function fail(message) {
  process.stderr.write(`local-model-mcp: ${message}\n`);
  process.exitCode = 2;
}

/** Returns the path of the executable, or nothing if its package is not there. */
function find() {
  try {
    const path = join(dirname(require.resolve(`${scoped}/package.json`)), program);
    accessSync(path, constants.X_OK);
    return path;
  } catch (error) {
    return undefined;
  }
}

/** Runs the executable next to this process, and ends as it ends. */
function accompany(path) {
  const child = spawn(path, words, { stdio: "inherit" });
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of signals) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => fail(`${path} cannot be started: ${error.message}`));
  child.on("exit", (status, signal) => {
    if (signal === null) process.exit(status);
    for (const each of signals) process.removeAllListeners(each);
    process.kill(process.pid, signal);
  });
}

const path = find();
if (!(scoped in own.optionalDependencies)) {
  fail(`there is no package for ${platform}; build it from source: ${own.homepage}#install`);
} else if (path === undefined) {
  const musl = process.platform === "linux" ? " (on a system with musl, there is none)" : "";
  fail(`the package ${scoped} is missing${musl}; install again without \`--omit=optional\``);
} else if (process.execve && process.platform !== "win32") {
  // Node 22.15 and later can replace itself, so that no second process stays.
  process.execve(path, [path, ...words], process.env);
} else {
  accompany(path);
}
