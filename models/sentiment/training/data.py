"""Reading, sampling and batching of the labelled texts, for training and for evaluation.

train.py and export.py use the batches.
"""
import json
import random
from pathlib import Path

LABELS = ["negative", "neutral", "positive"]
EVERYDAY = Path(__file__).parents[3] / "tests/data/everyday.tsv"
# Rows to choose by, and rows that nothing is chosen on. Sets of `POLAR` have no neutral rows.
DEVELOPMENT = {
    "film": "sst_dev.jsonl",
    "reddit": "goemotions_dev.jsonl",
    "tweets": "tweets_dev.jsonl",
    "products": "reviews_dev.jsonl",
    "everyday": EVERYDAY,
}
MEASURED = {
    "film": "sst_test.jsonl",
    "reddit": "goemotions_test.jsonl",
    "tweets": "tweets_test.jsonl",
    "products": "reviews_test.jsonl",
    "everyday": EVERYDAY,
    "shop (not trained on)": "amazon_test.jsonl",
    "restaurants (not trained on)": "yelp_test.jsonl",
}
POLAR = {"products", "shop (not trained on)", "restaurants (not trained on)"}


def read(path):
    """Returns (text, label id) pairs of a JSONL file with `text` and `label`."""
    rows = (json.loads(line) for line in Path(path).read_text(encoding="utf-8").split("\n") if line)
    return [(row["text"], LABELS.index(row["label"])) for row in rows]


def sets(folder, files):
    """Reads `DEVELOPMENT` or `MEASURED`: for each name its rows."""
    split = "measured" if files is MEASURED else "development"
    return {name: read_everyday(split) if file is EVERYDAY else read(Path(folder) / file) for name, file in files.items()}


def read_everyday(split):
    """Returns the sentences of one split of the file that the test suite shares: label, split, text."""
    rows = [line.split("\t") for line in EVERYDAY.read_text(encoding="utf-8").split("\n")[1:] if line]
    return [(text, LABELS.index(label)) for label, part, text in rows if part == split]


def training_rows(folder, neutral_phrases, seed):
    """Every polar SST phrase, a sample of the neutral ones (half of the tree nodes are neutral fragments such
    as "the") with all full sentences among them, and every GoEmotions comment."""
    phrases = read(Path(folder) / "sst_train_phrases.jsonl")
    neutral = [row for row in phrases if row[1] == 1]
    random.Random(seed).shuffle(neutral)
    neutral.sort(key=lambda row: row[0][-1:] not in ".!?")  # stable: sentences first, then a random order
    polar = [row for row in phrases if row[1] != 1]
    return polar + neutral[:neutral_phrases] + read(Path(folder) / "goemotions_train.jsonl")


def known_rows(folder, share, seed):
    """A sample of film and Reddit for adapt.py: sentences and longer phrases of SST, comments of GoEmotions."""
    rng = random.Random(seed)
    phrases = read(Path(folder) / "sst_train_phrases.jsonl")
    sentences = [row for row in phrases if row[0][-1:] in ".!?"]
    longer = [row for row in phrases if row[0][-1:] not in ".!?" and len(row[0].split()) >= 5]
    neutral, polar = [row for row in longer if row[1] == 1], [row for row in longer if row[1] != 1]
    comments = read(Path(folder) / "goemotions_train.jsonl")
    sizes = [(sentences, len(sentences)), (neutral, 3_000), (polar, 12_000), (comments, 20_000)]
    return [row for rows, size in sizes for row in rng.sample(rows, int(share * size))]


def new_rows(folder, share, seed):
    """What adapt.py adds: tweets, product reviews twice, and the sentences of written.tsv three times."""
    tweets = random.Random(seed).sample(read(Path(folder) / "tweets_train.jsonl"), int(share * 22_000))
    return tweets + 2 * read(Path(folder) / "reviews_train.jsonl") + 3 * read_tsv(Path(__file__).parent / "written.tsv")


def read_tsv(path):
    """Returns (text, label id) pairs of lines with label, tab and text."""
    rows = (line.split("\t") for line in Path(path).read_text(encoding="utf-8").split("\n") if line)
    return [(row[1], LABELS.index(row[0])) for row in rows]


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
