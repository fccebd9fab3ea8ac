"""Reading, sampling and batching of the labelled texts, for training and for evaluation.

train.py and export.py use the batches.
"""
import json
import random
from pathlib import Path

LABELS = ["negative", "neutral", "positive"]
SETS = {"sst": "sst_dev.jsonl", "goemotions": "goemotions_dev.jsonl"}


def read(path):
    """Returns (text, label id) pairs of a JSONL file with `text` and `label`."""
    rows = (json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [(row["text"], LABELS.index(row["label"])) for row in rows]


def training_rows(folder, neutral_phrases, seed):
    """Every polar SST phrase, a sample of the neutral ones (half of the tree nodes are neutral fragments such
    as "the") with all full sentences among them, and every GoEmotions comment."""
    phrases = read(Path(folder) / "sst_train_phrases.jsonl")
    neutral = [row for row in phrases if row[1] == 1]
    random.Random(seed).shuffle(neutral)
    neutral.sort(key=lambda row: row[0][-1:] not in ".!?")  # stable: sentences first, then a random order
    polar = [row for row in phrases if row[1] != 1]
    return polar + neutral[:neutral_phrases] + read(Path(folder) / "goemotions_train.jsonl")


def batches(lengths, size, rng):
    """Row numbers in batches of similar length, in random order: little padding, few distinct shapes."""
    order = sorted(range(len(lengths)), key=lambda i: (-(-lengths[i] // 8), rng.random()))
    chunks = [order[i : i + size] for i in range(0, len(order), size)]
    rng.shuffle(chunks)
    return chunks


def pad(ids):
    """Token ids padded with 0 to the batch's longest, rounded up to a multiple of 8, and their mask."""
    width = -(-max(map(len, ids)) // 8) * 8
    return [row + [0] * (width - len(row)) for row in ids], [[1] * len(row) + [0] * (width - len(row)) for row in ids]


def measures(scores, rows):
    """Accuracy and macro F1 over three classes, and two-class accuracy (neutral rows left out, `negative`
    and `positive` compared), from one score triple a row."""
    guess = [max(range(3), key=s.__getitem__) for s in scores]
    gold = [label for _, label in rows]
    f1 = []
    for k in range(3):
        hit = sum(g == k == w for g, w in zip(guess, gold))
        f1.append(2 * hit / max(1, guess.count(k) + gold.count(k)))
    polar = [(s, w) for s, w in zip(scores, gold) if w != 1]
    return {
        "rows": len(rows),
        "accuracy": sum(g == w for g, w in zip(guess, gold)) / len(rows),
        "macro_f1": sum(f1) / 3,
        "two_class_accuracy": sum((s[2] > s[0]) == (w == 2) for s, w in polar) / len(polar),
    }
