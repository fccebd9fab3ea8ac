"""Measures what fine-tuning the encoder adds, on draws of `bench-tool teach --draws-to`.

    python fine_tuning.py DRAWS.jsonl TRAIN.jsonl --server local-model-mcp [--labels 8] [--draws 3]

For each draw, a file of its labelled rows and of others from TRAIN is taught by the command line; then the
same model is fine-tuned. The test rows are classified before and after, by the model as it is served.
Rows that the audit draws are not taught, about 2 % of the labels. Prints one JSON object a draw.
"""
import argparse
import csv
import json
import random
import subprocess
import tempfile
import time
from pathlib import Path

POOL = 3000
TESTED = 1000


def write(path, rows):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("draws", type=Path)
    parser.add_argument("train", type=Path)
    parser.add_argument("--server", required=True, type=Path)
    parser.add_argument("--labels", type=int, default=8)
    parser.add_argument("--random", action="store_true", help="`labels` at random instead of for each label")
    parser.add_argument("--draws", dest="count", type=int, default=3)
    args = parser.parse_args()
    lines = [json.loads(line) for line in args.draws.open()]
    test = [(row["text"], row["label"]) for row in lines[0]["test"] if row["text"].strip()][:TESTED]
    train = [text for text in (json.loads(line)["text"] for line in args.train.open()) if text.strip()]
    for draw in lines[1:]:
        if draw["per_label"] == args.random or draw["labels"] != args.labels or draw["seed"] >= args.count:
            continue
        with tempfile.TemporaryDirectory() as folder:
            measure(args.server.resolve(), draw, train, test, Path(folder))


def measure(server, draw, train, test, folder):
    labelled = [(row["text"], row["label"]) for row in draw["rows"]]
    known = {text for text, _ in labelled}
    others = [text for text in dict.fromkeys(train) if text not in known]
    random.Random(draw["seed"]).shuffle(others)
    rows = labelled + [(text, "") for text in others[: POOL - len(labelled)]]
    random.Random(draw["seed"]).shuffle(rows)
    write(folder / "rows.csv", rows)
    write(folder / "test.csv", test)

    def run(*arguments):
        started = time.time()
        done = subprocess.run([server, *arguments], cwd=folder, capture_output=True, text=True, check=True)
        return time.time() - started, done.stdout

    def accuracy():
        run("predict", "--file", "test.csv", "--text-column", "text", "--model-name", "m", "-o", "out.csv", "--overwrite")
        with open(folder / "out.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        return sum(row["prediction"] == row["label"] for row in rows) / len(rows)

    _, taught = run("teach", "m", "rows.csv", "--text-column", "text", "--label-column", "label", "--json")
    before = accuracy()
    seconds, tuned = run("teach", "m", "--fine-tune", "--json")
    result = {
        "labels": sum(json.loads(taught)["examples"].values()),
        "seed": draw["seed"],
        "without": round(100 * before, 1),
        "with": round(100 * accuracy(), 1),
        "seconds": round(seconds),
        **json.loads(tuned)["fine_tuned"],
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
