"""Chooses temperature and threshold of the exported model on the development sets, and measures it on all sets.

    python measure.py --model MODEL_FOLDER --data FOLDER

The temperature is the one with the lowest calibration error of the worst domain, because the users' texts
belong to no known domain. The threshold is the lowest above which 80 % of the answers are right, every
domain with the same weight. Sets without neutral rows take no part. Prints the tables of the model card.
"""
import argparse
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

import data

BINS = 15
TARGET_ACCURACY = 0.8


def logits_of(folder, texts):
    """Runs one text at a time, as the server does."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(512)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    rows = []
    for text in texts:
        row = tokenizer.encode(text)
        feed = {"input_ids": row.ids, "attention_mask": row.attention_mask, "token_type_ids": row.type_ids}
        rows.append(session.run(["logits"], {name: np.array([ids], np.int64) for name, ids in feed.items()})[0][0])
    return np.array(rows)


def scores(logits, temperature):
    odds = np.exp((logits - logits.max(1, keepdims=True)) / temperature)
    return odds / odds.sum(1, keepdims=True)


def calibration_error(logits, gold, temperature):
    """Mean distance between confidence and accuracy over equal bins of confidence, weighted by rows."""
    found = scores(logits, temperature)
    distance = found.max(1) - (found.argmax(1) == gold)
    bins = np.minimum((found.max(1) * BINS).astype(int), BINS - 1)
    return sum(abs(distance[bins == each].sum()) for each in range(BINS)) / len(gold)


def threshold_of(sets, temperature):
    for threshold in np.arange(0.34, 1.0, 0.01).round(2):
        accuracy = []
        for logits, gold in sets:
            found = scores(logits, temperature)
            accuracy.append((found.argmax(1) == gold)[found.max(1) >= threshold].mean())
        if np.mean(accuracy) >= TARGET_ACCURACY:
            return threshold
    raise SystemExit("no threshold reaches the accuracy")


def show(sets, temperature, threshold):
    print("| set | rows | three-class accuracy | macro F1 | two-class accuracy | calibration error | answered | of those correct |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name, ((logits, gold), rows) in sets.items():
        m, found = data.measures(scores(logits, 1).tolist(), rows), scores(logits, temperature)
        answered = found.max(1) >= threshold
        three = [f"{m['accuracy']:.3f}", f"{m['macro_f1']:.3f}"]
        rest = [f"{calibration_error(logits, gold, temperature):.3f}", f"{answered.mean():.1%}"]
        rest.append(f"{(found.argmax(1) == gold)[answered].mean():.1%}")
        if name in data.POLAR:
            three, rest = ["", ""], [""] * 3
        print("|", " | ".join([name, f"{m['rows']:,}", *three, f"{m['two_class_accuracy']:.3f}", *rest]), "|", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    args = parser.parse_args()

    def run(files):
        found = {}
        for name, rows in data.sets(args.data, files).items():
            found[name] = (logits_of(args.model, [text for text, _ in rows]), np.array([label for _, label in rows])), rows
        return found

    development = run(data.DEVELOPMENT)
    chosen_by = [result for name, (result, _) in development.items() if name not in data.POLAR]
    worst = {t: max(calibration_error(*result, t) for result in chosen_by) for t in np.arange(0.8, 3.0, 0.02).round(2)}
    temperature = min(worst, key=worst.get)
    threshold = threshold_of(chosen_by, temperature)
    print(f"temperature {temperature}, threshold {threshold}; calibration error of the worst domain {worst[temperature]:.3f}\n")
    show(development, temperature, threshold)
    print()
    show(run(data.MEASURED), temperature, threshold)


if __name__ == "__main__":
    main()
