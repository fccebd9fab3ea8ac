// The process in which conformance.test.mjs runs the official suite: once for each message, which holds the arguments of
// its command line. Node and the suite are loaded once, which takes ten times as long as most scenarios.

import { realpathSync } from "node:fs";
import { pathToFileURL } from "node:url";

const program = pathToFileURL(realpathSync(process.argv[2]));
let report;
// The suite ends its process once it has a result. Whatever it does afterwards does not count.
process.exit = (status) => {
  report?.(status);
  report = undefined;
};

process.on("message", async (args) => {
  report = (status) => process.send(status);
  process.argv = [process.execPath, program.pathname, ...args];
  // Another address makes Node run the module again.
  program.search = String(Number(program.search.slice(1)) + 1);
  await import(program);
});
