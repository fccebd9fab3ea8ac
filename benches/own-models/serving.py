"""Serves many models, and replaces a model under load.

    python serving.py many --server local-model-mcp --model FOLDER [--count 20]
    python serving.py reload --server local-model-mcp --model FOLDER --other FOLDER

`many` starts the server with one copy of the model, with `--count` copies, and with those and `--preload`, five times
in turn. It prints medians: the time to the list of tools and to the first answer, and resident memory after it.

`reload` keeps 1,000 calls in flight, renames the other model into the place of the first, and goes on until 500
answers came from the new one. It prints how many answers equal those of the old model, of the new one, or of neither.
Linux only. Standard library only.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

IN_FLIGHT = 1000
TEXTS = [f"I wanted {number} of these and the {number % 7}th one arrived broken" for number in range(200)]


class Server:
    """A server over pipes. Answers are collected by a thread."""

    def __init__(self, executable, arguments, home):
        self.started = time.monotonic()
        environment = {**os.environ, "HOME": str(home)}
        command = [executable, "serve", *map(str, arguments)]
        self.process = subprocess.Popen(
            command, cwd=home, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.answers, self.sent, self.arrived = {}, 0, threading.Condition()
        threading.Thread(target=self.collect, daemon=True).start()
        client = {"name": "serving", "version": "1"}
        self.wait(self.send("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}))
        self.write({"method": "notifications/initialized"})

    def collect(self):
        for line in self.process.stdout:
            message = json.loads(line)
            with self.arrived:
                self.answers[message.get("id")] = message
                self.arrived.notify_all()

    def write(self, message):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.process.stdin.flush()

    def send(self, method, params):
        self.sent += 1
        self.write({"id": self.sent, "method": method, "params": params})
        return self.sent

    def predict(self, text):
        return self.send("tools/call", {"name": "local_model_predict", "arguments": {"text": text}})

    def wait(self, number, seconds=120):
        """Returns the result of a request, or None if none arrives."""
        with self.arrived:
            arrived = self.arrived.wait_for(lambda: number in self.answers, seconds)
        return self.answers[number].get("result", {}) if arrived else None

    def milliseconds(self):
        return 1000 * (time.monotonic() - self.started)

    def resident(self):
        """Returns megabytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

    def close(self):
        self.process.stdin.close()
        return self.process.wait()


def many(args, home):
    copies = [home / f"model-{number}" for number in range(args.count)]
    for copy in copies:
        shutil.copytree(args.model, copy)
    flags = [flag for copy in copies for flag in ("--model", copy)]
    cases = {"one": flags[:2], f"{args.count}": flags, f"{args.count}, --preload": [*flags, "--preload"]}
    found = {name: [] for name in cases}
    for _ in range(6):
        for name, arguments in cases.items():
            server = Server(args.server, arguments, home)
            server.wait(server.send("tools/list", {}))
            listed = server.milliseconds()
            server.wait(server.predict("good"))
            answered = server.milliseconds()
            time.sleep(3)
            found[name].append((listed, answered, server.resident()))
            server.close()
    print("| models | list of tools | first answer | resident |\n|---|--:|--:|--:|")
    for name, measured in found.items():
        # The first start fills the cache directory.
        listed, answered, resident = (statistics.median(column) for column in zip(*measured[1:]))
        print(f"| {name} | {listed:.0f} ms | {answered:.0f} ms | {resident:.0f} MB |")


def read(result):
    answer = (result or {}).get("structuredContent") or {}
    return answer.get("prediction"), answer.get("confidence")


def replace(args, home):
    place, other = home / "served", home / "other"
    expected = []
    for source, folder in [(args.model, place), (args.other, other)]:
        shutil.copytree(source, folder)
        server = Server(args.server, ["--model", folder], home)
        expected.append([read(server.wait(server.predict(text))) for text in TEXTS])
        server.close()
    assert not any(old == new for old, new in zip(*expected)), "the models answer alike"
    flags = ["--model", place, "--cache-bytes", 0, "--queue-capacity", 4000, "--deadline-ms", 120_000]
    server = Server(args.server, flags, home)
    server.wait(server.predict("good"))
    calls = [server.predict(TEXTS[number % len(TEXTS)]) for number in range(IN_FLIGHT)]
    place.rename(home / "old")
    other.rename(place)
    in_flight = len(calls) - sum(number in server.answers for number in calls)
    taken = 0
    while taken < 500 and len(calls) < 100_000:
        oldest = len(calls) - IN_FLIGHT
        taken += read(server.wait(calls[oldest])) == expected[1][oldest % len(TEXTS)]
        calls.append(server.predict(TEXTS[len(calls) % len(TEXTS)]))
    counts = Counter()
    for number, call in enumerate(calls):
        answer = read(server.wait(call))
        models = [answer == answers[number % len(TEXTS)] for answers in expected]
        counts["old" if models[0] else "new" if models[1] else "lost" if answer[0] is None else "neither"] += 1
    print(f"{len(calls)} calls, {in_flight} in flight at the renaming: {dict(counts)}, status {server.close()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measurement", choices=["many", "reload"])
    parser.add_argument("--server", required=True, type=lambda path: str(Path(path).resolve()))
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--other", type=Path)
    parser.add_argument("--count", type=int, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        {"many": many, "reload": replace}[args.measurement](args, Path(home))


if __name__ == "__main__":
    main()
