#!/usr/bin/env python3
"""The whole teaching loop over a real server, with an oracle in place of the assistant.

    benches/teach/loop.py DATA [--server local-model-mcp] [--rows 20000] [--seed 1] [--max-wrong 0.1]

DATA holds the task files of docs/teaching.md: banking, clinc, reviews and subjectivity, as JSON lines
with `text` and `label`. A CSV file without labels is made of them; its six labels are the kinds of text.
The script starts `serve` in an empty project, teaches until the server says that labels move nothing,
audits, classifies the file, and decides the rows marked uncertain. It prints calls, tokens of all
answers, seconds, memory, the stated sentences, and whether they are true.

Tokens are estimated as characters / 3.5 unless the package `tiktoken` is installed.
"""

import argparse
import csv
import json
import pathlib
import random
import subprocess
import tempfile
import time

KINDS = {
    "banking": lambda label: "bank question",
    "clinc": lambda label: "request to an assistant",
    "reviews": lambda label: f"{label} product review",
    "subjectivity": lambda label: "opinion on a film" if label == "subjective" else "plot of a film",
}
MEANINGS = {
    "bank question": "a customer asks a bank about a card, an account or a payment",
    "request to an assistant": "a command or question to a voice assistant",
    "positive product review": "a sentence of a product review that praises",
    "negative product review": "a sentence of a product review that complains",
    "opinion on a film": "a critic judges a film",
    "plot of a film": "what happens in a film",
}


def rows(data, count, seed):
    found = []
    for name, kind in KINDS.items():
        for part in ("train", "test"):
            for line in (data / f"{name}_{part}.jsonl").read_text().splitlines():
                row = json.loads(line)
                found.append((row["text"], kind(row["label"])))
    random.Random(seed).shuffle(found)
    return found[:count]


def count_tokens(text):
    try:
        import tiktoken
    except ImportError:
        return round(len(text) / 3.5)
    return len(tiktoken.get_encoding("o200k_base").encode(text))


class Server:
    """One session over pipes."""

    def __init__(self, command, project):
        environment = {"CLAUDE_PROJECT_DIR": str(project)}
        self.process = subprocess.Popen(
            [command, "serve"], cwd=project, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment | {key: value for key, value in __import__("os").environ.items() if key in ("HOME", "PATH")})
        self.calls = self.sent = self.received = self.progress = 0
        self.peak_mb = 0.0
        client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "loop", "version": "1"}}
        self.request("initialize", client)
        self.write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def write(self, message):
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def request(self, method, params):
        self.calls += 1
        self.write({"jsonrpc": "2.0", "id": self.calls, "method": method, "params": params})
        while True:
            answer = json.loads(self.process.stdout.readline())
            if answer.get("method") == "notifications/progress":
                self.progress += 1
            if answer.get("id") == self.calls:
                return answer

    def tool(self, name, **arguments):
        arguments_text = json.dumps(arguments)
        self.sent += count_tokens(arguments_text)
        meta = {"progressToken": self.calls}
        answer = self.request("tools/call", {"name": name, "arguments": arguments, "_meta": meta})
        result = answer.get("result") or answer
        if "error" in answer or result.get("isError"):
            raise SystemExit(f"{name} {arguments_text[:200]}: {json.dumps(result)[:400]}")
        content = result["structuredContent"]
        self.received += count_tokens(json.dumps(content))
        self.peak_mb = max(self.peak_mb, self.memory())
        return content

    def memory(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--server", default="local-model-mcp")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-wrong", type=float, default=0.1)
    parser.add_argument("--show", action="store_true", help="print every exchange, shortened")
    arguments = parser.parse_args()

    truth = rows(arguments.data, arguments.rows, arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        project = pathlib.Path(folder)
        with open(project / "texts.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "text"])
            writer.writerows((number, text) for number, (text, _) in enumerate(truth, 1))
        run(Server(arguments.server, project), project, truth, arguments)


def run(server, project, truth, arguments):
    def step(name, **call):
        started = time.monotonic()
        result = server.tool(name, **call)
        seconds.setdefault(name, []).append(time.monotonic() - started)
        if arguments.show:
            print(name, json.dumps(call)[:300], "->", json.dumps(result)[:1500], "\n")
        return result

    def answers(result):
        asked = (result.get("label_next") or []) + (result.get("read_again") or [])
        return {str(row["row"]): truth[row["row"] - 1][1] for row in asked}

    seconds, name, started = {}, f"kinds-{arguments.seed}", time.monotonic()
    result = step("local_model_teach", name=name, path="texts.csv", meanings=MEANINGS)
    first = seconds["local_model_teach"][0]
    while result.get("label_next") and "labels moved nothing" not in result["next"]:
        result = step("local_model_teach", name=name, labels=answers(result))
    labels = sum(result["examples"].values())
    audit = step("local_model_audit", name=name, max_wrong=arguments.max_wrong)
    while "left" in audit:
        audit = step("local_model_audit", name=name, max_wrong=arguments.max_wrong, labels=answers(audit))
    summary = step("local_model_predict_file", path="texts.csv", model=name)
    total = time.monotonic() - started

    with open(project / "texts.predicted.csv", newline="") as file:
        output = list(csv.DictReader(file))
    right = [row["prediction"] == label for row, (_, label) in zip(output, truth, strict=True)]
    uncertain = [row.get("uncertain") == "true" for row in output]
    differs = sum(not is_right and not is_marked for is_right, is_marked in zip(right, uncertain, strict=True))

    print(f"rows                 {len(truth)}")
    print(f"labels               {labels} taught, {result['audit_rows']} audited")
    print(f"learned              {result['learned']}")
    print(f"calls                {server.calls - 1}")
    print(f"tokens               {server.received} in answers, {server.sent} in arguments")
    print(f"seconds              {total:.1f} in all; {first:.1f} to the first rows")
    print(f"longest round        {max(seconds['local_model_teach'][1:]):.2f} s of {len(seconds['local_model_teach']) - 1}")
    print(f"file                 {seconds['local_model_predict_file'][0]:.1f} s, {summary['rows_per_second']} rows/s")
    print(f"peak memory          {server.peak_mb:.0f} MB")
    print(f"progress             {server.progress} notifications")
    for key in ("agreement", "promise", "conditions"):
        print(f"{key:<20} {audit[key]}")
    print(f"file summary         {summary['promise']}")
    print(f"truth: agreement     {sum(right) / len(right):.2%}")
    print(f"truth: marked        {sum(uncertain) / len(uncertain):.2%}, {sum(uncertain)} rows")
    print(f"truth: differs       {differs / len(right):.2%} of the finished file")


if __name__ == "__main__":
    main()
