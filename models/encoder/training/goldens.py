"""Prints the vectors of varied texts for the test suite: of the original in fp32 on torch, and of the exported graph.

    python goldens.py --model ENCODER_FOLDER --tokenizer TOKENIZER_JSON > ../../../tests/data/encoder_goldens.json

Vectors are little-endian fp16 in base64. Texts are cut to 256 tokens.
"""
import argparse
import base64
import json
import sys
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from measure import MAX_TOKENS, exported, original

TEXTS = [
    "", " ", "a", "?", "I love this", "I hate this", "It is a table.", "not bad at all", "  spaces   and\ttabs\n",
    "This is not what I paid for!", "THE BUILD FAILS ON MAIN AGAIN", "The build fails on main again", "[SEP] in the text [MASK]",
    "Ünïcödé café, naïve résumé", "日本語のテキスト", "这家餐厅的服务很好", "한국어 문장", "Привет, как дела?", "مرحبا بالعالم", "🙂 fine", "🙂🙃🙂",
    "Wo ist meine Rechnung? Ich warte seit drei Wochen.", "¿Dónde está mi pedido?", "Le colis est arrivé cassé.",
    "Numbers 1,234.56 and http://example.com/x?y=z", "user@example.com wrote on 2024-01-31 at 09:15", "0x7ffe 3.14e-10 1/2",
    "fn main() { println!(\"{}\", x); }", "SELECT name FROM users WHERE id = 7 ORDER BY name;", "def f(x): return x ** 2",
    "Traceback (most recent call last): KeyError: 'label'", "ERROR 503 upstream timed out while reading response header",
    "How do I reset my password?", "I forgot my password and cannot log in", "My card was charged twice", "Please cancel my subscription",
    "When will my parcel arrive?", "The app crashes when I open the settings", "Can I change the delivery address?",
    "What is the capital of France?", "Paris is the capital of France.", "The cat sat on the mat.", "A feline rested on the rug.",
    "Stock markets fell sharply on Tuesday", "The striker scored twice in the final", "Scientists find water on a distant planet",
    "The senate passed the bill by a narrow margin", "A new phone with a better camera was announced today",
    "Dear team, thank you for the quick answer. The second part still does not work, though.",
    "he resorts to smuggling , a traditional family occupation .", "long battery life , very fast recharge , great price .",
    "supercalifragilisticexpialidocious antidisestablishmentarianism", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "x" * 120, "one two three four five six seven eight nine ten " * 3, "The quick brown fox jumps over the lazy dog. " * 8,
    "A sentence about nothing in particular, followed by another. " * 20, "word " * 253 + "end", "word " * 700,
    "First about cats. " * 60 + "Then about tax law. " * 60,
]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    args = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(args.tokenizer))
    tokenizer.enable_truncation(MAX_TOKENS)
    rows = zip(TEXTS, original(TEXTS, tokenizer), exported(TEXTS, tokenizer, args.model / "model.onnx"))
    coded = lambda vector: base64.b64encode(vector.astype("<f2").tobytes()).decode()
    goldens = [{"text": text, "fp32": coded(fp32), "int8": coded(int8)} for text, fp32, int8 in rows]
    json.dump(goldens, sys.stdout, indent=1, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()
