"""The classifier of the Python peers with onnxruntime and tokenizers: text in, best label and its score out."""

import json
from functools import lru_cache
from pathlib import Path

import numpy
import onnxruntime
from tokenizers import Tokenizer

CACHED_TEXTS = 65_536


class Classifier:
    def __init__(self, folder: Path):
        labels = json.loads((folder / "config.json").read_text())["id2label"]
        self.labels = [labels[str(number)] for number in range(len(labels))]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(512)
        self.tokenizer.no_padding()
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        self.inputs = [input.name for input in self.session.get_inputs()]
        self.predict = lru_cache(CACHED_TEXTS)(self._predict)

    def _predict(self, text: str) -> tuple[str, float]:
        tokens = self.tokenizer.encode(text)
        columns = {"input_ids": tokens.ids, "attention_mask": tokens.attention_mask, "token_type_ids": tokens.type_ids}
        feed = {name: numpy.array([columns[name]], dtype=numpy.int64) for name in self.inputs}
        logits = self.session.run(["logits"], feed)[0][0]
        scores = numpy.exp(logits - logits.max())
        scores /= scores.sum()
        best = int(scores.argmax())
        return self.labels[best], float(scores[best])
