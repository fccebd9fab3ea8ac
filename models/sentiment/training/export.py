"""Exports a checkpoint to the default model's folder: ONNX graph in dynamic int8 with fused attention and
a last layer of one token, tokenizer, configuration.

    python export.py --checkpoint CHECKPOINT --out MODEL_FOLDER

Prints size and digest. Other files in MODEL_FOLDER stay. measure.py measures the result.
"""
import argparse
import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.onnx_model import OnnxModel
from tokenizers import Tokenizer
from transformers import BertForSequenceClassification


class Graph(torch.nn.Module):
    """The checkpoint with the inputs and the output that Hugging Face's exporters declare."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).logits


def export(checkpoint, fp32, int8):
    model = BertForSequenceClassification.from_pretrained(checkpoint, attn_implementation="eager").eval()
    names = ["input_ids", "attention_mask", "token_type_ids"]
    example = tuple(torch.ones(2, 16, dtype=torch.int64) for _ in names)
    torch.onnx.export(
        Graph(model),
        example,
        fp32,
        input_names=names,
        output_names=["logits"],
        dynamic_axes={**{name: {0: "batch", 1: "sequence"} for name in names}, "logits": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    prepared = fp32.with_suffix(".prepared.onnx")
    quant_pre_process(str(fp32), str(prepared), skip_symbolic_shape=True)
    # Signed weights with a scale per channel: the fastest variant without a measurable loss on this model.
    quantize_dynamic(str(prepared), str(int8), weight_type=QuantType.QInt8, per_channel=True)
    graph = OnnxModel(onnx.load(int8))
    fuse_attention(graph, model.config.num_attention_heads)
    leave_out_unread_tokens(graph, model.config.num_hidden_layers - 1)
    add_state(graph, model.config.hidden_size)
    # The inferred shapes are wrong for the last layer now. Without any, ONNX Runtime also keeps sums and
    # layer norms apart: its operator for both (SkipLayerNormalization, 1.31.1) takes seven times as long.
    del graph.model.graph.value_info[:]
    graph.prune_graph(allow_remove_graph_inputs=False)
    graph.topological_sort()
    onnx.checker.check_model(graph.model)
    graph.save_model_to_file(str(int8))


def fuse_attention(graph, heads):
    """Replaces each layer's scores, softmax and weighted sum by one operator.

    Without a mask, ONNX Runtime uses its flash kernel, which processes the keys in blocks and does not
    store all scores: 10 MB instead of 31 MB at 480 tokens, in 0.86 times the time. Texts are run one at a
    time without padding, so there is nothing to mask. `attention_mask` stays declared for programs that
    pass it.
    """
    for softmax in graph.get_nodes_by_op_type("Softmax"):
        layer = softmax.name.removesuffix("Softmax")
        weighted = graph.get_children(softmax)[0]
        transposed = graph.get_children(weighted)[0]
        context = graph.get_children(transposed)[0]
        assert [node.op_type for node in (weighted, transposed, context)] == ["MatMul", "Transpose", "Reshape"]
        inputs = [f"{layer}{part}/Add_output_0" for part in ["query", "key", "value"]]
        fused = onnx.helper.make_node(
            "MultiHeadAttention", inputs, context.output, f"{layer}MultiHeadAttention", domain="com.microsoft", num_heads=heads
        )
        graph.remove_node(context)
        graph.add_node(fused)


def leave_out_unread_tokens(graph, last):
    """Makes the last layer compute only the first token, the only one that the classifier reads.

    Its keys and values are those of all tokens; its query, and everything after it, has one row.
    """
    layer = f"/model/bert/encoder/layer.{last}/attention"
    for number, name in enumerate(["first", "second"]):
        graph.add_initializer(onnx.numpy_helper.from_array(np.array([number], np.int64), f"tokens.{name}"))
    for reader in ["self/query/MatMul_quant", "output/Add"]:
        node = next(node for node in graph.nodes() if node.name == f"{layer}/{reader}")
        place = next(place for place, name in enumerate(node.input) if "LayerNorm" in name)
        sliced = f"{layer}/{reader}/first"
        positions = ["tokens.first", "tokens.second", "tokens.second"]
        graph.add_node(onnx.helper.make_node("Slice", [node.input[place], *positions], [sliced], sliced))
        node.input[place] = sliced


def add_state(graph, width):
    """Adds the output `state`: the numbers from which the classifier computes its logits.

    Classifiers that are taught on few labels use them as features. The logits stay as they are.
    """
    (pooled,) = graph.get_nodes_by_op_type("Tanh")
    graph.replace_input_of_all_nodes(pooled.output[0], "state")
    pooled.output[0] = "state"
    shape = ["batch", width]
    graph.model.graph.output.append(onnx.helper.make_tensor_value_info("state", onnx.TensorProto.FLOAT, shape))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    tokenizer = Tokenizer.from_file(str(args.checkpoint / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(args.out / "tokenizer.json"), pretty=False)
    for name in ["config.json", "tokenizer_config.json"]:
        shutil.copy(args.checkpoint / name, args.out / name)

    with tempfile.TemporaryDirectory() as scratch:
        int8 = args.out / "model.onnx"
        export(args.checkpoint, Path(scratch) / "fp32.onnx", int8)
    print(json.dumps({"sha256": hashlib.sha256(int8.read_bytes()).hexdigest(), "bytes": int8.stat().st_size}))


if __name__ == "__main__":
    main()
