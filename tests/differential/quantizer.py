"""Compares our int8 graphs with those of ONNX Runtime's quantizer.

Usage: quantizer.py EXECUTABLE [FILE …], where EXECUTABLE is the example `optimize` of
crates/optimize. Without files, all fp32 graphs of the fixtures are compared.

Both must quantize the same products and tables, to the same integers, scales and zero points. Ours
leaves matrices with fewer than 16 columns in fp32, which are left out here. Both graphs must also
load, and ours must be as near to the fp32 graph's answer, for a text alone and in a padded batch.
"""

import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import onnx
import onnxruntime
from onnxruntime.quantization import QuantType, quantize_dynamic

FIXTURES = Path(__file__).parents[1] / "fixtures"
MIN_COLUMNS = 16
INTEGER = {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
# Tokens of random texts. The tiny vocabularies have more.
TOKENS = 48


def read(path):
    """Returns the products and the tables of a graph, by what they compute."""
    graph = onnx.load(path).graph
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    found = {}
    for node in graph.node:
        if node.op_type == "MatMulInteger":
            source = makers[node.input[0]].input[0]
            scales = next(n for n in graph.node if n.op_type == "Mul" and n.input[0] == makers[node.input[0]].output[1])
            weight, scale, zero = tensors[node.input[1]], tensors[scales.input[1]], tensors[node.input[3]]
            if weight.shape[1] >= MIN_COLUMNS:
                found.setdefault(("product", source), []).append((weight, scale, zero))
        elif node.op_type == "DequantizeLinear":
            table = makers[node.input[0]]
            values = tensors[table.input[0]], tensors[node.input[1]], tensors[node.input[2]]
            found.setdefault(("table", table.input[1]), []).append(values)
    return found


def answer(path, padding):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, feed(session, padding))[0]


def feed(session, padding):
    """Returns a text, or a batch with a second text that is shorter by `padding` tokens."""
    rng = numpy.random.default_rng(5)
    kinds = {"tensor(int64)": numpy.int64, "tensor(int32)": numpy.int32}
    values = {}
    for entry in session.get_inputs():
        shape = [dim if isinstance(dim, int) else size for dim, size in zip(entry.shape, (1 + (padding > 0), 12))]
        tokens = rng.integers(5, TOKENS, shape) if entry.name == "input_ids" else numpy.full(shape, "mask" in entry.name)
        if padding and "mask" in entry.name:
            tokens[1:, -padding:] = 0
        values[entry.name] = tokens.astype(kinds[entry.type])
    return values


def compare(executable, path, folder):
    ours, theirs = folder / "ours.onnx", folder / "theirs.onnx"
    run = subprocess.run([executable, path, ours], capture_output=True, text=True)
    if "NothingToQuantize" in run.stderr:
        print(f"{path}: nothing to quantize", flush=True)
        return False
    assert run.returncode == 0, f"{path}: {run.stderr}"
    # The shapes that the dynamo exporter states contradict those that the quantizer infers.
    model = onnx.load(path)
    del model.graph.value_info[:]
    onnx.save(model, theirs)
    quantize_dynamic(str(theirs), str(theirs), weight_type=QuantType.QInt8, per_channel=True)
    left, right = read(ours), read(theirs)
    assert left.keys() == right.keys(), f"{path}: {left.keys() ^ right.keys()}"
    count = 0
    for key, several in left.items():
        assert len(several) == len(right[key]), f"{path}: {key}"
        for mine, other in zip(several, right[key]):
            for name, a, b in zip(["integers", "scales", "zero points"], mine, other):
                assert a.dtype == b.dtype and a.shape == b.shape and (a == b).all(), f"{path}: {key}: {name}"
            count += 1
    line = f"{path}: {count} weights equal"
    for padding in (0, 5):
        exact = answer(path, padding)
        errors = [float(numpy.abs(answer(graph, padding) - exact).max()) for graph in (ours, theirs)]
        assert errors[0] <= 2 * errors[1] + 0.01, f"{path}: padding {padding}, error {errors[0]}, theirs {errors[1]}"
        line += f"; padding {padding}: error {errors[0]:.5f}, theirs {errors[1]:.5f}"
    print(line, flush=True)
    return True


def is_fp32(path):
    graph = onnx.load(path, load_external_data=False).graph
    kinds = {tensor.data_type for tensor in graph.initializer}
    text = any(entry.type.tensor_type.elem_type == onnx.TensorProto.STRING for entry in graph.input)
    return not text and not kinds & (INTEGER | {onnx.TensorProto.FLOAT16})


def main():
    logging.disable(logging.WARNING)
    paths = [Path(path) for path in sys.argv[2:]] or sorted(FIXTURES.glob("*/model.onnx"))
    paths = [path for path in paths if is_fp32(path)]
    with tempfile.TemporaryDirectory() as folder:
        passed = sum(compare(sys.argv[1], path, Path(folder)) for path in paths)
    assert passed, "no graph was compared"
    print(f"{passed} passed, 0 failed")


if __name__ == "__main__":
    main()
