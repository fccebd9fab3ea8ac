"""Measures the exported graph against the original in fp32 on torch, and prints the tables of the model card.

    python measure.py --model ENCODER_FOLDER --tokenizer TOKENIZER_JSON --data FOLDER TASK ...

FOLDER holds TASK_train.jsonl and TASK_test.jsonl; each line is an object with `text` and `label`. The graph runs
one text at a time without padding, as local-model-mcp runs it. Heads are logistic regressions on 8 rows a label.
"""
import argparse
import json
import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from sklearn.linear_model import LogisticRegression
from tokenizers import Tokenizer
from transformers import BertModel

from export import ORIGINAL

# What sentence-transformers reads of a text with this model (sentence_bert_config.json).
MAX_TOKENS = 256
ROWS_A_LABEL = 8
DRAWS = 10


def original(texts, tokenizer):
    """Returns the vectors of the weights in fp32: mean over the tokens, length 1."""
    model = BertModel.from_pretrained(ORIGINAL, add_pooling_layer=False).eval()
    vectors = [None] * len(texts)
    rows = [row.ids for row in tokenizer.encode_batch(texts)]
    by_length = defaultdict(list)
    for number, ids in enumerate(rows):
        by_length[len(ids)].append(number)
    with torch.inference_mode():
        for numbers in by_length.values():
            for start in range(0, len(numbers), 32):
                chunk = numbers[start : start + 32]
                states = model(input_ids=torch.tensor([rows[number] for number in chunk])).last_hidden_state
                means = torch.nn.functional.normalize(states.mean(1), dim=1).numpy()
                for number, vector in zip(chunk, means):
                    vectors[number] = vector
    return np.stack(vectors)


def exported(texts, tokenizer, graph):
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    vectors = []
    for row in tokenizer.encode_batch(texts):
        feed = {"input_ids": row.ids, "attention_mask": row.attention_mask, "token_type_ids": row.type_ids}
        vectors.append(session.run(None, {name: np.array([ids], np.int64) for name, ids in feed.items()})[0][0])
    return np.stack(vectors)


def read(path):
    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
    return [row["text"] for row in rows], np.array([row["label"] for row in rows])


def draw(labels, seed):
    order = list(range(len(labels)))
    random.Random(seed).shuffle(order)
    taken = defaultdict(list)
    for number in order:
        if len(taken[labels[number]]) < ROWS_A_LABEL:
            taken[labels[number]].append(number)
    return sorted(number for numbers in taken.values() for number in numbers)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("task", nargs="+")
    args = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(args.tokenizer))
    tokenizer.enable_truncation(MAX_TOKENS)

    print("| task | rows | cosine, mean | cosine, lowest | accuracy of a head, fp32 | int8 |")
    print("|---|---|---|---|---|---|")
    for task in args.task:
        texts, labels = read(args.data / f"{task}_train.jsonl")
        test_texts, test_labels = read(args.data / f"{task}_test.jsonl")
        draws = [draw(labels, seed) for seed in range(DRAWS)]
        used = sorted({number for numbers in draws for number in numbers})
        place = {number: place for place, number in enumerate(used)}
        texts = [texts[number] for number in used] + test_texts
        both = [original(texts, tokenizer), exported(texts, tokenizer, args.model / "model.onnx")]
        cosines = (both[0] * both[1]).sum(1)
        accuracies = []
        for vectors in both:
            right = []
            for numbers in draws:
                head = LogisticRegression(C=10, max_iter=1000)
                head.fit(vectors[[place[number] for number in numbers]], labels[numbers])
                right.append(head.score(vectors[len(used) :], test_labels))
            accuracies.append(np.mean(right))
        print(
            f"| {task} | {len(texts)} | {cosines.mean():.4f} | {cosines.min():.4f}"
            f" | {accuracies[0]:.4f} | {accuracies[1]:.4f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
