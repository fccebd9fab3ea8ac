"""Prints the checkpoint's scores by transformers' own pipeline on torch, in fp32, for the test suite.

    python goldens.py --checkpoint CHECKPOINT > ../../../tests/data/sentiment_goldens.json
"""
import argparse
import json
import sys

from transformers import pipeline

TEXTS = [
    "I love this", "I hate this", "It is a table.", "not bad at all", "This is not what I paid for!",
    "  spaces   and\ttabs  ", "Ünïcödé café, naïve résumé", "日本語のテキスト", "🙂 fine", "a",
    "The plot is thin, but the actors save it.", "Numbers 1,234.56 and http://example.com/x?y=z",
    "word " * 700, "[SEP] in the text [MASK]", "THE BUILD FAILS ON MAIN AGAIN",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", required=True)
    args = parser.parse_args()
    classify = pipeline("text-classification", model=args.checkpoint, device="cpu")
    rows = []
    for text in TEXTS:
        scores = classify(text, top_k=None, truncation=True)
        rows.append({"text": text, "scores": {s["label"]: round(s["score"], 6) for s in scores}})
    json.dump(rows, sys.stdout, indent=1, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()
