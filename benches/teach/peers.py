#!/usr/bin/env python3
"""Measures other ways to teach a classifier on the draws of `bench-tool teach`: see README.md in this folder.

    target/release/bench-tool teach --draws-to draws.jsonl TASK...
    python peers.py draws.jsonl --encoder FOLDER logistic
    python peers.py draws.jsonl --encoder FOLDER setfit

One line a task and number of labels goes to stdout: mean accuracy in per cent, its standard deviation over the draws,
and the mean seconds of a fit.
"""

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

MAX_TOKENS = 256


class Encoder:
    """all-MiniLM-L6-v2 by ONNX Runtime: the mean of the tokens' states, of unit length."""

    def __init__(self, folder):
        import onnxruntime
        from tokenizers import Tokenizer

        self.session = onnxruntime.InferenceSession(folder / "model.onnx")
        self.names = {node.name for node in self.session.get_inputs()}
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.known = {}

    def __call__(self, texts):
        for text in texts:
            if text not in self.known:
                self.known[text] = self.vector(text)
        return np.array([self.known[text] for text in texts])

    def vector(self, text):
        ids = np.array([self.tokenizer.encode(text).ids])
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        output = self.session.run(None, {name: inputs[name] for name in self.names})[0][0]
        vector = output.mean(axis=0) if output.ndim == 2 else output
        return vector / np.linalg.norm(vector)


def logistic(encoder):
    """Logistic regression on frozen vectors, as most tutorials have it."""
    from sklearn.linear_model import LogisticRegression

    def teach(texts, labels):
        vectors = encoder(texts)
        started = time.perf_counter()
        model = LogisticRegression(max_iter=1_000).fit(vectors, labels)
        return lambda rows: model.predict(encoder(rows)), time.perf_counter() - started

    return teach


def setfit(folder):
    """SetFit with its defaults: the encoder is tuned on pairs, then logistic regression on its vectors."""
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    def teach(texts, labels):
        started = time.perf_counter()
        model = SetFitModel.from_pretrained(str(folder), labels=sorted(set(labels)))
        rows = Dataset.from_dict({"text": texts, "label": labels})
        Trainer(model=model, args=TrainingArguments(batch_size=16, num_epochs=1), train_dataset=rows).train()
        return lambda rows: np.array(model.predict(rows)), time.perf_counter() - started

    return teach


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("draws", type=Path)
    parser.add_argument("peer", choices=["logistic", "setfit"])
    parser.add_argument("--encoder", type=Path, required=True, help="model.onnx, or weights for setfit")
    parser.add_argument("--first", dest="limit", type=int, default=sys.maxsize, help="first draws of each kind only")
    parser.add_argument("--labels", type=int, action="append", help="these numbers of labels only")
    parser.add_argument("--test", type=int, default=2_000, help="test rows")
    asked = parser.parse_args()
    teach = logistic(Encoder(asked.encoder)) if asked.peer == "logistic" else setfit(asked.encoder)
    tests, results = {}, defaultdict(list)
    for line in asked.draws.open(encoding="utf-8"):
        draw = json.loads(line)
        if "test" in draw:
            tests[draw["task"]] = draw["test"][: asked.test]
            continue
        if draw["seed"] >= asked.limit or (asked.labels and draw["labels"] not in asked.labels):
            continue
        texts, labels = columns(draw["rows"])
        predict, seconds = teach(texts, labels)
        rows, gold = columns(tests[draw["task"]])
        accuracy = 100 * float(np.mean(predict(rows) == np.array(gold)))
        kind = f"{draw['labels']} {'a label' if draw['per_label'] else 'at random'}"
        results[draw["task"], kind].append((accuracy, seconds))
        print(f"{draw['task']}, {kind}, draw {draw['seed']}: {accuracy:.1f}", file=sys.stderr)
    for (task, kind), draws in results.items():
        accuracies, seconds = zip(*draws)
        deviation = statistics.stdev(accuracies) if len(draws) > 1 else 0
        print(f"| {task} | {kind} | {statistics.mean(accuracies):.1f} ± {deviation:.1f} | {statistics.mean(seconds):.2f} |")


def columns(rows):
    return [row["text"] for row in rows], [row["label"] for row in rows]


if __name__ == "__main__":
    main()
