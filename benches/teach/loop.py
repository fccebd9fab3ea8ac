#!/usr/bin/env python3
"""The whole teaching loop over a real server, with an oracle in place of the assistant.

    benches/teach/loop.py DATA [--server local-model-mcp] [--rows 20000] [--seed 1] [--max-wrong 0.1]

DATA holds the task files of docs/teaching.md: banking, clinc, reviews and subjectivity, as JSON lines
with `text` and `label`. A CSV file without labels is made of them; its six labels are the kinds of text.
The script starts `serve` in an empty project, teaches until the server says that labels move nothing,
audits, classifies the file, and decides the rows marked uncertain. It prints calls, tokens of all
answers, seconds, memory, the stated sentences, and whether they are true.

It needs the packages of tests/clients/requirements.txt. Tokens are estimated as characters / 3.5.
"""

import argparse
import csv
import json
import os
import pathlib
import random
import shutil
import tempfile
import time

import anyio
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

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
            for line in (data / f"{name}_{part}.jsonl").read_text().strip().split("\n"):
                row = json.loads(line)
                found.append((row["text"], kind(row["label"])))
    random.Random(seed).shuffle(found)
    return found[:count]


def count_tokens(text):
    return round(len(text) / 3.5)


class Session:
    """A session of the official Python SDK with the server, and counts of what went over it."""

    def __init__(self, client):
        self.client = client
        self.calls = self.sent = self.received = self.progress = 0

    async def tool(self, tool, **arguments):
        async def progress(*_):
            self.progress += 1

        arguments_text = json.dumps(arguments)
        self.calls += 1
        self.sent += count_tokens(arguments_text)
        result = await self.client.call_tool(tool, arguments, progress_callback=progress)
        if result.is_error:
            raise SystemExit(f"{tool} {arguments_text[:200]}: {result.content[0].text}")
        self.received += count_tokens(json.dumps(result.structured_content))
        return result.structured_content


def peak_mb():
    """Peak resident memory of the only child of this process, the server."""
    children = pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    status = pathlib.Path(f"/proc/{children[0]}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--server", default="local-model-mcp")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-wrong", type=float, default=0.1)
    parser.add_argument("--home", help="home of the server; a second run with it finds its prepared models")
    parser.add_argument("--show", action="store_true", help="print every exchange, shortened")
    arguments = parser.parse_args()
    # The server runs in another directory.
    arguments.server = os.path.abspath(shutil.which(arguments.server) or parser.error(f"no executable {arguments.server}"))

    truth = rows(arguments.data, arguments.rows, arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        project = pathlib.Path(folder)
        with open(project / "texts.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "text"])
            writer.writerows((number, text) for number, (text, _) in enumerate(truth, 1))
        anyio.run(run, project, truth, arguments)


async def run(project, truth, arguments):
    environment = {"HOME": os.path.abspath(arguments.home or project), "CLAUDE_PROJECT_DIR": str(project)}
    server = StdioServerParameters(command=arguments.server, env=environment, cwd=project)
    async with Client(stdio_client(server), read_timeout_seconds=3600) as client:
        await teach(Session(client), project, truth, arguments)


async def teach(server, project, truth, arguments):
    async def step(tool, **call):
        started = time.monotonic()
        result = await server.tool(tool, **call)
        peaks[tool] = peak_mb()
        seconds.setdefault(tool, []).append(time.monotonic() - started)
        if arguments.show:
            print(tool, json.dumps(call)[:300], "->", json.dumps(result)[:1500], "\n")
        return result

    def answers(result):
        asked = (result.get("label_next") or []) + (result.get("read_again") or [])
        return {str(row["row"]): truth[row["row"] - 1][1] for row in asked}

    seconds, peaks, name, started = {}, {}, f"kinds-{arguments.seed}", time.monotonic()
    result = await step("local_model_teach", name=name, path="texts.csv", meanings=MEANINGS)
    first = seconds["local_model_teach"][0]
    while result.get("label_next") and "stop here" not in result["next"]:
        result = await step("local_model_teach", name=name, labels=answers(result))
    labels = sum(result["examples"].values())
    audit = await step("local_model_audit", name=name, max_wrong=arguments.max_wrong)
    while "left" in audit:
        audit = await step("local_model_audit", name=name, max_wrong=arguments.max_wrong, labels=answers(audit))
    summary = await step("local_model_predict_file", path="texts.csv", model=name)
    total = time.monotonic() - started

    with open(project / "texts.predicted.csv", newline="") as file:
        output = list(csv.DictReader(file))
    right = [row["prediction"] == label for row, (_, label) in zip(output, truth, strict=True)]
    uncertain = [row.get("uncertain") == "true" for row in output]
    differs = sum(not is_right and not is_marked for is_right, is_marked in zip(right, uncertain, strict=True))

    print(f"rows                 {len(truth)}")
    print(f"labels               {labels} taught, {result['audit_rows']} audited")
    print(f"learned              {result['learned']}")
    print(f"calls                {server.calls}")
    print(f"tokens               {server.received} in answers, {server.sent} in arguments")
    print(f"seconds              {total:.1f} in all; {first:.1f} to the first rows")
    print(f"longest round        {max(seconds['local_model_teach'][1:]):.2f} s of {len(seconds['local_model_teach']) - 1}")
    print(f"file                 {seconds['local_model_predict_file'][0]:.1f} s, {summary['rows_per_second']} rows/s")
    print(f"longest of 200       {max(seconds['local_model_teach'][1:13]):.2f} s")
    print(f"peak memory          {', '.join(f'{peak:.0f} MB after {tool}' for tool, peak in peaks.items())}")
    print(f"progress             {server.progress} notifications")
    for key in ("agreement", "promise", "conditions"):
        print(f"{key:<20} {audit[key]}")
    print(f"file summary         {summary['promise']}")
    print(f"truth: agreement     {sum(right) / len(right):.2%}")
    print(f"truth: marked        {sum(uncertain) / len(uncertain):.2%}, {sum(uncertain)} rows")
    print(f"truth: differs       {differs / len(right):.2%} of the finished file")


if __name__ == "__main__":
    main()
