"""Classifies rows in Ray Data. Each actor owns one child process that answers each line with one.

    pip install "ray[data]==2.60.0" pyarrow==26.0.1
    python ray_actors.py                                 # 200,000 generated rows
    python ray_actors.py --input rows.jsonl              # or your own: objects with `text`
    python ray_actors.py --self-test                     # 40,000 rows; a child and an actor are killed

The result is compared with that of one process, row by row. This starts Ray on the local machine.
On a cluster, install the executable on each machine and omit the arguments of `ray.init`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import pyarrow
import ray

ANSWER = pyarrow.schema({"row": "int64", "prediction": "string", "confidence": "double", "error": "string", "process": "int64"})


def generated(count):
    """Distinct texts, so that no cache answers. One in 10,000 is blank, and the model rejects it."""
    opinions, things = "great awful fine slow lovely broken quick useless".split(), "delivery service screen price".split()
    for row in range(count):
        yield "" if row % 10_000 == 7 else f"{opinions[row % 8]} {things[row // 8 % 4]} {row}"


def values(answer):
    return [answer.get(name) for name in ANSWER.names[:4]]


class Predictor:
    """An actor whose child starts once and answers all batches."""

    def __init__(self, command, kills):
        self.command, self.kills = command, kills
        self.start()

    def start(self):
        self.child = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")

    def __call__(self, batch):
        rows, process = batch.to_pylist(), self.child.pid
        self.kill_once({row["row"] for row in rows})
        # On a thread: with both pipes full, child and caller would wait for each other.
        threading.Thread(target=self.write, args=(self.child.stdin, rows), daemon=True).start()
        answers = []
        for _ in rows:
            line = self.child.stdout.readline()
            if not line.endswith("\n"):
                status = self.child.wait()
                self.start()  # The actor lives on: the retry must find a child.
                raise RuntimeError(f"the child exited early with status {status}")
            answers.append({**json.loads(line), "process": process})
        return pyarrow.Table.from_pylist(answers, schema=ANSWER)

    @staticmethod
    def write(stdin, rows):
        try:
            stdin.writelines(json.dumps(row) + "\n" for row in rows)
            stdin.flush()
        except BrokenPipeError:
            pass  # The reader finds the end of stdout and says so.

    def kill_once(self, rows):
        for row in rows & self.kills.keys():
            try:
                os.mkdir(self.kills[row])  # Only the first to make the folder kills.
            except FileExistsError:
                continue
            if self.kills[row].endswith("child"):
                self.child.kill()
            else:
                os._exit(1)  # The actor; its child sees the end of its input and ends too.


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--executable", default="local-model-mcp")
    options.add_argument("--input", help="JSON lines with a field `text` (default: generated rows)")
    options.add_argument("--rows", type=int, help="default: all rows of the input, or 200,000 generated ones (40,000 in a self-test)")
    options.add_argument("--partitions", type=int, default=8, help="blocks of the data set")
    options.add_argument("--workers", type=int, default=os.cpu_count(), help="number of actors (default: one per processor)")
    options.add_argument("--self-test", action="store_true", help="kill one child and one actor, and check that their rows are retried")
    options = options.parse_args()
    executable = os.path.abspath(shutil.which(options.executable) or sys.exit(f"no executable {options.executable}"))

    with tempfile.TemporaryDirectory() as scratch:
        # One cache for all children: the first unpacks ONNX Runtime, the others map it.
        command = [executable, "predict", "--jsonl", "--cache-dir", os.path.join(scratch, "cache"), "--workers"]
        if options.input:
            with open(options.input, encoding="utf-8") as file:
                texts = [json.loads(line)["text"] for line in file][: options.rows]
        else:
            texts = list(generated(options.rows or (40_000 if options.self_test else 200_000)))
        rows = [{"row": row, "text": text} for row, text in enumerate(texts)]
        lines = [json.dumps(row) for row in rows]
        print(f"{len(rows)} rows, {len(set(texts))} distinct texts, {options.workers} workers")
        subprocess.run([*command, "1"], input=lines[0], stdout=subprocess.DEVNULL, encoding="utf-8")

        start = time.monotonic()
        alone = subprocess.run([*command, str(options.workers)], input="\n".join(lines), stdout=subprocess.PIPE, encoding="utf-8")
        alone_seconds = time.monotonic() - start
        alone = [values(json.loads(line)) for line in alone.stdout.rstrip("\n").split("\n")]
        assert [answer[0] for answer in alone] == list(range(len(rows))), "one process: not each row once, in order"
        print(f"one process  {len(rows) / alone_seconds:6.0f} rows/s with {options.workers} threads")

        ray.init(num_cpus=options.workers, include_dashboard=False, log_to_driver=False)
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True  # Otherwise blocks return as they finish.
        context.enable_progress_bars = False
        # Ray replaces a dead actor and repeats its block. An exception ends the job unless it is listed here.
        context.retried_map_errors, context.max_map_retries = ["the child exited early"], 3
        kills = {9: "killed-child", 13: "killed-actor"}  # After this many sixteenths of the rows.
        kills = {len(rows) * part // 16: os.path.join(scratch, name) for part, name in kills.items() if options.self_test}
        start = time.monotonic()
        got = ray.data.from_arrow(pyarrow.Table.from_pylist(rows), override_num_blocks=options.partitions).map_batches(
            Predictor, fn_constructor_args=([*command, "1"], kills),
            batch_size=1000, batch_format="pyarrow", compute=ray.data.ActorPoolStrategy(size=options.workers),
        ).take_all()
        seconds = time.monotonic() - start
        ray.shutdown()

        assert [values(answer) for answer in got] == alone, "not the rows of one process, each once and in order"
        killed = [os.path.basename(folder) for folder in kills.values() if os.path.isdir(folder)]
        assert len(killed) == len(kills), f"killed {killed}"
        errors, children = sum(answer["error"] is not None for answer in got), len({answer["process"] for answer in got})
        print(f"Ray actors   {len(got) / seconds:6.0f} rows/s, {alone_seconds / seconds:.2f} of one process; {len(got)} rows once, "
              f"in order; {errors} errors kept; {', '.join(killed) or 'none killed'}; "
              f"{children} children answered for {options.workers} actors")


if __name__ == "__main__":
    main()
