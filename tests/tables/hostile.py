"""Gives every file of hostile_files.py to a server of its own, as a tool call with a memory limit of 1 GB.

Each call must end in a result or one clear sentence, the server must answer the next call, and its memory must have stayed
below 300 MB. Linux only. Usage: hostile.py EXECUTABLE [PART OF A NAME]
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hostile_files

MAX_PEAK_MB = 300
# Of the processor's time, since a busy machine takes longer; and of all time, against a server that hangs.
MAX_CPU_SECONDS = 30
MAX_SECONDS = 600


class Server:
    def __init__(self, executable, folder, limit):
        options = ["--max-memory-bytes", "1000000000", *(["--max-file-bytes", str(limit)] if limit else [])]
        self.process = subprocess.Popen([executable, "serve", *options], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.watchdog = threading.Timer(MAX_SECONDS, self.process.kill)
        self.watchdog.start()
        self.id = 0
        self.ask("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "hostile", "version": "1"}})
        self.send({"method": "notifications/initialized"})

    def send(self, message):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()

    def ask(self, method, params):
        self.id += 1
        self.send({"id": self.id, "method": method, "params": params})
        while line := self.process.stdout.readline():
            message = json.loads(line)
            if message.get("id") == self.id:
                return message.get("result", message)
        raise ChildProcessError(f"the server ended with status {self.process.wait()}")

    def call(self, tool, **arguments):
        return self.ask("tools/call", {"name": tool, "arguments": arguments})

    def peak_mb(self):
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))

    def cpu_seconds(self):
        user, system = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def end(self):
        self.watchdog.cancel()
        self.process.kill()
        self.process.wait()


def check(executable, name, content, limit=None, **arguments):
    """Returns the outcome, the peak of memory, and what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(content)
        server = Server(executable, folder, limit)
        try:
            server.call("local_model_predict", text="good")
            result = server.call("local_model_predict_file", path=name, **arguments)
            text = result["content"][0]["text"]
            outcome = text if result.get("isError") else f"{result['structuredContent'].get('rows')} rows, failed: {result['structuredContent'].get('failed')}"
            later = server.call("local_model_predict", text="bad")
            alive = later.get("structuredContent", {}).get("prediction") == "negative"
            peak, seconds = server.peak_mb(), server.cpu_seconds()
        except Exception as problem:
            return str(problem), 0, "the server did not answer"
        finally:
            server.end()
        problems = {"memory": peak >= MAX_PEAK_MB, f"{seconds} s": seconds > MAX_CPU_SECONDS, f"no answer afterwards but {later}": not alive,
                    "no clear sentence": len(outcome) > 700 or "internal error" in outcome}
        return outcome, peak, ", ".join(name for name, found in problems.items() if found)


def main():
    executable, wanted = Path(sys.argv[1]).resolve(), sys.argv[2] if len(sys.argv) > 2 else ""

    def run(case):
        name, make, *arguments = case
        content = make()
        outcome, peak, problem = check(executable, name, content, **(arguments[0] if arguments else {}))
        print(f"{'FAILED (' + problem + ')' if problem else 'ok'}: {name} ({len(content):,} bytes), {peak} MB: {outcome[:300]}", flush=True)
        return not problem

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(run, [case for case in hostile_files.files() if wanted in case[0]]))
    failed = found.count(False)
    print(f"{found.count(True)} passed, {failed} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
