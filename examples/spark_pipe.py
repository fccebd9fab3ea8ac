"""Classifies rows in Spark, in two ways that need only the executable on each machine.

    pip install pyspark==4.3.0 pandas==2.3.3 pyarrow==26.0.1     # and Java 17
    python spark_pipe.py                                 # 200,000 generated rows
    python spark_pipe.py --input rows.jsonl              # or your own: objects with `text`
    python spark_pipe.py --self-test                     # 40,000 rows, and a child killed in each way

`RDD.pipe` runs the filter `predict --jsonl`. `mapInPandas` starts one child per partition and returns
columns. Both results are compared with those of one process, row by row. This runs local workers; on
a cluster, omit `.master`.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import pandas
from pyspark import TaskContext
from pyspark.sql import SparkSession

COLUMNS = ["row", "prediction", "confidence", "error"]


def generated(count):
    """Distinct texts, so that no cache answers. One in 10,000 is blank, and the model rejects it."""
    opinions, things = "great awful fine slow lovely broken quick useless".split(), "delivery service screen price".split()
    for row in range(count):
        yield "" if row % 10_000 == 7 else f"{opinions[row % 8]} {things[row // 8 % 4]} {row}"


def values(answer):
    return [answer.get(name) for name in COLUMNS]


class Child:
    """One process that answers each line with one."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")

    def predict(self, rows):
        # On a thread: with both pipes full, child and caller would wait for each other.
        threading.Thread(target=self._write, args=(rows,), daemon=True).start()
        for _ in rows:
            line = self.process.stdout.readline()
            if not line.endswith("\n"):
                raise RuntimeError(f"the child exited early with status {self.process.wait()}")
            yield json.loads(line)

    def _write(self, rows):
        try:
            self.process.stdin.writelines(json.dumps(row) + "\n" for row in rows)
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass  # The reader finds the end of stdout and says so.

    def close(self):
        self.process.kill()
        self.process.communicate()


def by_pipe(lines, command, kill_once):
    # Status 1 means that some rows failed. They are in the output, so the task succeeds. Any other fails it.
    script = shlex.join(command) + " || [ $? -eq 1 ]"
    if kill_once:  # The first to make the folder kills its child. Without `<&3` a shell gives a background child no input.
        script = (f"if mkdir {shlex.quote(kill_once)} 2>/dev/null; then exec 3<&0; {shlex.join(command)} <&3 & "
                  f"sleep 0.5; kill -9 $!; wait $!; else {script}; fi")
    # Without checkCode, a partition cut short by a dead child would pass as complete.
    answers = lines.pipe(shlex.join(["sh", "-c", script]), checkCode=True)

    def tagged(partition, answers):
        attempt = TaskContext.get().attemptNumber()
        return ([partition, attempt, *values(json.loads(answer))] for answer in answers)

    return answers.mapPartitionsWithIndex(tagged).collect()


def by_pandas(frame, command, kill_once):
    def partition(batches):
        context, child = TaskContext.get(), Child(command)
        try:
            for number, batch in enumerate(batches):
                if kill_once and (context.partitionId(), context.attemptNumber(), number) == (1, 0, 2):
                    child.process.kill()
                answers = [[context.partitionId(), context.attemptNumber(), *values(answer)]
                           for answer in child.predict(batch.to_dict("records"))]
                # Of type object: a column without values would become NaN, and Spark cannot read that as strings.
                yield pandas.DataFrame(answers, columns=["partition", "attempt", *COLUMNS], dtype=object)
        finally:
            child.close()

    schema = "partition int, attempt int, row long, prediction string, confidence double, error string"
    return frame.mapInPandas(partition, schema).collect()


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--executable", default="local-model-mcp")
    options.add_argument("--input", help="JSON lines with a field `text` (default: generated rows)")
    options.add_argument("--rows", type=int, help="default: all rows of the input, or 200,000 generated ones (40,000 in a self-test)")
    options.add_argument("--partitions", type=int, default=8)
    options.add_argument("--workers", type=int, default=os.cpu_count(), help="partitions processed in parallel (default: one per processor)")
    options.add_argument("--self-test", action="store_true", help="kill one child in each way, and check that the partition is retried")
    options = options.parse_args()
    # Spark starts a piped command with an empty environment: without PATH and HOME.
    executable = os.path.abspath(shutil.which(options.executable) or sys.exit(f"no executable {options.executable}"))
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)

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
        print(f"{'one process':12} {len(rows) / alone_seconds:6.0f} rows/s with {options.workers} threads")

        # The second number is how often a task may fail. In local mode Spark does not retry without it.
        spark = SparkSession.builder.master(f"local[{options.workers},4]").config("spark.ui.enabled", False)
        spark = spark.config("spark.ui.showConsoleProgress", False)
        spark = spark.config("spark.sql.execution.arrow.maxRecordsPerBatch", 1000).getOrCreate()
        source = spark.sparkContext.parallelize(lines, options.partitions)
        frame = spark.createDataFrame(source.map(json.loads).map(lambda row: (row["row"], row["text"])), "row long, text string")
        for name, way, data in [("RDD.pipe", by_pipe, source), ("mapInPandas", by_pandas, frame)]:
            start = time.monotonic()
            got = way(data, [*command, "1"], options.self_test and os.path.join(scratch, "killed"))
            seconds = time.monotonic() - start
            # Partitions are slices of the rows, collected in order: equal lists mean each row once, in order.
            assert [list(answer[2:]) for answer in got] == alone, f"{name}: not the rows of one process"
            retried = sorted({answer[0] for answer in got if answer[1] > 0})
            assert bool(retried) == options.self_test, f"{name}: retried {retried}"
            partitions, errors = len({answer[0] for answer in got}), sum(answer[-1] is not None for answer in got)
            print(f"{name:12} {len(got) / seconds:6.0f} rows/s, {alone_seconds / seconds:.2f} of one process; {len(got)} rows once, "
                  f"in order, from {partitions} partitions; {errors} errors kept; retried partitions: {retried or 'none'}")
        spark.stop()


if __name__ == "__main__":
    main()
