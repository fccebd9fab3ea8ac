"""Compares our reader of ONNX files with the onnx package.

Usage: onnx_facts.py EXECUTABLE, where EXECUTABLE is the example `facts` of crates/onnx-facts.

ONNX Runtime loads a graph after our reader has approved it, so nothing may be visible to the
runtime's parser and hidden from ours. Random models are written with every encoding that protobuf
allows (fields in any order, repeated fields, messages in parts, padded numbers), then with broken
ones. Two parsers of the onnx package read each file: upb through Python, and protobuf's C++ through
a pass that inlines no function. Our facts must equal those of each parser that accepts the file, or
we must refuse the file.
"""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx
import onnx.onnx_cpp2py_export as cpp

FILES = 4000
SEED = 11
MAX_NODES = 1 << 17
FLOAT16 = 10
DEFAULT_DOMAINS = ("", "ai.onnx")


# Writing: a message is a list of (field number, value). A value is an int, bytes, or a message. The
# singular fields that hold a message are written in parts sometimes, which parsers merge.


class Part(list):
    """A message in a field that holds only one."""


class Writer:
    def __init__(self, rng, broken):
        self.rng = rng
        self.broken = broken
        self.odd = False

    def chance(self, share):
        return self.rng.random() < share

    def varint(self, value, max_bytes=10, pad=0.1):
        """Encodes a number, sometimes with bytes that add nothing."""
        coded = []
        while value >= 0x80:
            coded.append(value & 0x7F | 0x80)
            value >>= 7
        coded.append(value)
        while self.chance(pad) and len(coded) < max_bytes:
            coded[-1] |= 0x80
            coded.append(0)
        return bytes(coded)

    def tag(self, number, wire):
        tag = number << 3 | wire
        if self.broken and self.chance(0.002):
            self.odd = True
            return self.varint(tag | self.rng.randrange(1, 8) << 32, 10)
        return self.varint(tag, 5)

    def field(self, number, value):
        if isinstance(value, int):
            return self.tag(number, 0) + self.varint(value & (1 << 64) - 1)
        content = value if isinstance(value, bytes) else self.message(value)
        if isinstance(value, Part) and len(value) > 1 and self.chance(0.3):
            cut = self.rng.randrange(1, len(value))
            return self.field(number, Part(value[:cut])) + self.field(number, Part(value[cut:]))
        return self.tag(number, 2) + self.varint(len(content), 5) + content

    def noise(self):
        """Encodes a field that no message has."""
        number = self.rng.randrange(100, 1 << 20)
        if self.broken and self.chance(0.05):
            self.odd = True
            group = self.field(13, [(1, b"location"), (2, b"../group")])
            return self.tag(number, 3) + group + self.tag(number, 4)
        wire, content = self.rng.choice([(0, b"\x07"), (1, bytes(8)), (2, b"\x02ab"), (5, bytes(4))])
        return self.tag(number, wire) + content

    def message(self, fields):
        parts = [self.field(number, value) for number, value in fields]
        if self.chance(0.05):
            parts.insert(self.rng.randrange(len(parts) + 1), self.noise())
        content = b"".join(parts)
        if self.broken and content and self.chance(0.01):
            self.odd = True
            at = self.rng.randrange(len(content))
            content = content[:at] + self.rng.randbytes(1) + content[at + 1 :]
        return content


# Random models.


class Model:
    def __init__(self, rng):
        self.rng = rng
        self.paths = 0

    def some(self, make, most=3):
        return [make() for _ in range(self.rng.randrange(most + 1))]

    def shuffled(self, *fields):
        """Orders fields. A text field sometimes comes twice, and the last one counts."""
        fields = [field for field in fields if field is not None]
        for number, value in list(fields):
            if isinstance(value, bytes) and self.rng.random() < 0.1:
                fields.append((number, b"decoy" + value))
        self.rng.shuffle(fields)
        return fields

    def external(self):
        self.paths += 1
        key = self.rng.choice([b"location", b"location", b"offset", b"checksum"])
        return self.shuffled((1, key), (2, b"../path%d" % self.paths))

    def tensor(self):
        kind = self.rng.choice([1, 1, 7, FLOAT16, FLOAT16 | 1 << 32, -1])
        entries = [(13, entry) for entry in self.some(self.external, 2)]
        return self.shuffled((1, 1), (2, kind), (8, b"w"), *entries, (14, self.rng.randrange(2)))

    def sparse(self):
        return self.shuffled((1, Part(self.tensor())), (2, Part(self.tensor())))

    def attribute(self, depth):
        kinds = [(5, lambda: Part(self.tensor())), (10, self.tensor)]
        kinds += [(22, lambda: Part(self.sparse())), (23, self.sparse)]
        if depth < 4:
            kinds += [(6, lambda: Part(self.graph(depth + 1))), (11, lambda: self.graph(depth + 1))]
        number, make = self.rng.choice(kinds)
        return self.shuffled((1, b"a"), (number, make()))

    def node(self, depth):
        domain, overload = self.rng.choice([b"", b"ai.onnx", b"f", b"g"]), self.rng.choice([b"", b"o"])
        operator = self.rng.choice([b"Add", b"MatMulInteger", b"f0", b"f1", b"f2"])
        attributes = [(5, attribute) for attribute in self.some(lambda: self.attribute(depth), 2)]
        return self.shuffled((1, b"x"), (2, b"y"), (4, operator), (7, domain), (8, overload), *attributes)

    def graph(self, depth=0):
        nodes = [(1, node) for node in self.some(lambda: self.node(depth))]
        tensors = [(5, tensor) for tensor in self.some(self.tensor, 2)]
        sparse = [(15, sparse) for sparse in self.some(self.sparse, 1)]
        return self.shuffled((2, b"g"), *nodes, *tensors, *sparse)

    def function(self, level):
        # A body calls functions of a lower level only, so that none calls itself.
        calls = [(b"f%d" % self.rng.randrange(level), self.rng.choice([b"f", b"g"])) for _ in range(2)] if level else []
        nodes = [(7, [(1, b"x"), (2, b"y"), (4, name), (7, domain)]) for name, domain in calls]
        defaults = [(11, self.attribute(3)) for _ in range(self.rng.randrange(2))]
        domain, overload = self.rng.choice([b"f", b"g"]), self.rng.choice([b"", b"o"])
        fields = [(1, b"f%d" % level), (4, b"x"), (5, b"y"), *nodes, *defaults, (10, domain), (13, overload)]
        self.rng.shuffle(fields)
        return fields

    def model(self):
        opset = lambda: self.shuffled((1, self.rng.choice([b"", b"ai.onnx", b"f"])), (2, self.rng.randrange(30)))
        opsets = [(8, opset()) for _ in range(self.rng.randrange(1, 4))]
        functions = [(25, self.function(self.rng.randrange(3))) for _ in range(self.rng.randrange(4))]
        training = [(20, [(1, Part(self.graph(3))), (2, Part(self.graph(3)))]) for _ in range(self.rng.randrange(2))]
        fields = [(1, self.rng.randrange(1, 12)), (7, Part(self.graph())), *opsets, *functions, *training]
        self.rng.shuffle(fields)
        return fields


def doubling(rng):
    """Returns functions that each call the previous one twice, among decoys with the same names."""
    levels = rng.randrange(2, 40)
    functions = []
    for level in range(levels):
        call = [(1, b"x"), (2, b"y"), (4, b"f%d" % (level - 1)), (7, b"f")]
        body = [(7, call)] * 2 if level else [(7, [(1, b"x"), (2, b"y"), (4, b"Identity")])]
        functions.append([(1, b"f%d" % level), (4, b"x"), (5, b"y"), *body, (10, b"f")])
    decoys = [[(1, b"f%d" % level), (10, b"g")] for level in range(levels)]
    decoys += [[(1, b"f%d" % level), (10, b"f"), (13, b"other")] for level in range(levels)]
    functions += rng.choice([[], decoys])
    rng.shuffle(functions)
    last = [(1, b"x"), (2, b"y"), (4, b"f%d" % (levels - 1)), (7, b"f")]
    graph = [(1, last), (2, b"g")]
    return [(1, 9), (7, Part(graph)), (8, [(2, 17)]), *((25, function) for function in functions)]


# Reading with the onnx package. The walk follows every field of every message, so that a field
# added by a later version of ONNX is found.


def messages(message):
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                yield from messages(inner)


def facts(model):
    found = {"operators": set(), "external_files": set(), "half_weights": False, "opset": 0}
    found["ir_version"] = model.ir_version & (1 << 64) - 1
    for opset in model.opset_import:
        if opset.domain in DEFAULT_DOMAINS:
            found["opset"] = opset.version & (1 << 64) - 1
    for message in messages(model):
        if isinstance(message, onnx.NodeProto):
            found["operators"].add(message.op_type)
        elif isinstance(message, onnx.TensorProto):
            found["half_weights"] |= message.data_type == FLOAT16
            found["external_files"] |= {entry.value for entry in message.external_data if entry.key == "location"}
    return found


def inlined(model):
    """Counts the nodes with functions inlined. Among functions of one name the last counts."""
    key = lambda domain, name, overload: ("" if domain in DEFAULT_DOMAINS else domain, name, overload)
    bodies = {key(f.domain, f.name, f.overload): f for f in model.functions}
    sizes = {}

    def size(container):
        total = 0
        for node in (node for node in messages(container) if isinstance(node, onnx.NodeProto)):
            name = key(node.domain, node.op_type, node.overload)
            if name in bodies and name not in sizes:
                sizes[name] = 0
                sizes[name] = size(bodies[name])
            total += sizes.get(name, 1)
        return total

    return size(model.graph)


def parsed(read, content):
    try:
        return onnx.ModelProto.FromString(read(content))
    except Exception:  # Each parser has its own kinds of errors.
        return None


PARSERS = {
    "upb": lambda content: content,
    "C++": lambda content: cpp.inliner.inline_selected_functions(content, [], False),
}


def main():
    rng = random.Random(SEED)
    files = []
    for number in range(FILES):
        writer = Writer(rng, broken=number % 2 == 1)
        model = doubling(rng) if number % 8 < 2 else Model(rng).model()
        content = writer.message(model)
        files.append((content, writer.odd))
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{number}.onnx") for number in range(FILES)]
        for path, (content, _) in zip(paths, files):
            path.write_bytes(content)
        output = subprocess.run([sys.argv[1], *paths], check=True, capture_output=True, text=True).stdout
    ours = [json.loads(line) for line in output.splitlines()]
    assert len(ours) == FILES, len(ours)

    compared, refused, too_large = dict.fromkeys(PARSERS, 0), 0, 0
    for number, ((content, odd), our) in enumerate(zip(files, ours)):
        models = {name: parsed(read, content) for name, read in PARSERS.items()}
        models = {name: model for name, model in models.items() if model is not None}
        if any(inlined(model) > MAX_NODES for model in models.values()):
            too_large += 1
            assert "error" in our, f"file {number}: {our}"
        elif "error" in our:
            refused += 1
            # A valid file is refused only for its functions, since equal names are counted together.
            assert odd or "function" in our["error"], f"file {number}: {our}"
        else:
            our.pop("interface")
            our = {**our, **{name: set(our[name]) for name in ("operators", "external_files")}}
            for name, model in models.items():
                compared[name] += 1
                assert our == facts(model), f"file {number}: ours {our}, {name} {facts(model)}"
    print(f"{FILES} files: {compared} compared and equal, {refused} refused, {too_large} too large and refused")
    assert min(compared.values()) > FILES / 2 and refused > 100 and too_large > 100, "too few of a kind"
    print("1 passed, 0 failed")


if __name__ == "__main__":
    main()
