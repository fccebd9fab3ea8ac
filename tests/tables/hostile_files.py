"""Files that ask for more memory, time or disk than they are worth. Written byte by byte, since no library writes them."""

import gzip
import struct
import zlib

MB = 1 << 20
# Compact Thrift: kinds of fields.
I32, I64, BINARY, LIST, STRUCT = 5, 6, 8, 9, 12


def varint(number):
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(found + bytes([number]))


def value(kind, content):
    if kind in (I32, I64):
        return varint(content << 1 if content >= 0 else (-content << 1) - 1)
    if kind == BINARY:
        return varint(len(content)) + content
    if kind == LIST:
        element, items = content
        return bytes([0xF0 | element]) + varint(len(items)) + b"".join(items)
    return content


def fields(*found):
    """A struct. Each field is its number, its kind and its content."""
    last, parts = 0, []
    for number, kind, content in found:
        parts.append(bytes([(number - last) << 4 | kind]) + value(kind, content))
        last = number
    return b"".join(parts) + b"\0"


def node(name, children=None, kind=6, repeated=1, text=True):
    """A node of a Parquet schema: a group if it has children, else a column of byte arrays."""
    if children is not None:
        return fields((3, I32, repeated), (4, BINARY, name), (5, I32, children))
    return fields((1, I32, kind), (3, I32, repeated), (4, BINARY, name), *([(6, I32, 0)] if text else []))


def page(body, values, unpacked=None, encoding=0, dictionary=False):
    header = fields((1, I32, values), (2, I32, encoding), *([] if dictionary else [(3, I32, 3), (4, I32, 3)]))
    sizes = [(2, I32, len(body) if unpacked is None else unpacked), (3, I32, len(body))]
    return fields((1, I32, 2 if dictionary else 0), *sizes, (7 if dictionary else 5, STRUCT, header)) + body


def parquet(pages=b"", rows=16, codec=0, schema=None, path=b"text", chunks=1, groups=1, group_rows=None, repeats=1, pairs=()):
    """A file with one column, required text unless `schema` says otherwise, and `pages` in each piece of it."""
    schema = schema or [node(b"schema", 1, repeated=0), node(path, repeated=0)]
    meta = fields((1, I32, 6), (2, LIST, (I32, [varint(0)])), (3, LIST, (BINARY, [value(BINARY, path)])), (4, I32, codec),
                  (5, I64, rows), (6, I64, len(pages)), (7, I64, len(pages) * repeats), (9, I64, 4))
    chunk = fields((2, I64, 4), (3, STRUCT, meta))
    group = fields((1, LIST, (STRUCT, [chunk] * chunks)), (2, I64, len(pages)), (3, I64, rows if group_rows is None else group_rows))
    pairs = [fields((1, BINARY, key), (2, BINARY, text)) for key, text in pairs]
    footer = fields((1, I32, 1), (2, LIST, (STRUCT, schema)), (3, I64, rows * groups), (4, LIST, (STRUCT, [group] * groups)),
                    *([(5, LIST, (STRUCT, pairs))] if pairs else []))
    return b"PAR1" + pages + footer + struct.pack("<I", len(footer)) + b"PAR1"


def text(content):
    return struct.pack("<I", len(content)) + content


def packed(content):
    return gzip.compress(content, 1, mtime=0)


def zeros(length):
    """A gzip stream of this many zeros."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(MB)) for _ in range(length // MB)) + packer.flush()


def files():
    """Yields the name of each file, a function that makes it and, if they are not the usual ones, arguments."""
    nested = lambda levels: b"{\"a\":" * levels + b"\"x\"" + b"}" * levels
    keys = lambda count: b"{\"text\":\"a\"," + b",".join(b"\"%x\":0" % number for number in range(count)) + b"}\n"
    yield "wide header.csv", lambda: b",".join(b"c%d" % number for number in range(60_000)) + b"\n1\n"
    yield "empty names.csv", lambda: b"text" + b"," * 2_000_000 + b"\nx\n" * 500
    yield "wide row.csv", lambda: b"id,text\n" + (b"," * (15 * MB) + b"\n") * 8
    yield "wide rows packed.csv.gz", lambda: packed(b"text" + b"," * 16_000 + b"\n" + b"x\n" * 3000)
    yield "one long name.csv", lambda: b"text," + b"y" * (15 * MB) + b"\n" + b"a\n" * 300
    yield "unclosed quote.csv", lambda: b"id,text\n1,\"" + b"never closed " * (5 * MB)
    yield "unclosed quotes.csv", lambda: b"id,text\n" + b"1,\"open\n" * 3000 + b"x" * (17 * MB)
    yield "no line ends.csv", lambda: b"x" * (100 * MB)
    yield "long cells.csv", lambda: b"id,text\n" + (b"1," + b"a b " * (15 * MB // 4) + b"\n") * 12
    yield "long cells.jsonl", lambda: (b"{\"text\":\"" + b"a b " * (15 * MB // 4) + b"\"}\n") * 12
    yield "long lines.txt", lambda: (b"a b " * (15 * MB // 4) + b"\n") * 12
    yield "zeros.csv", lambda: bytes(50 * MB)
    yield "bomb.csv.gz", lambda: zeros(512 * MB), {"limit": 100 * MB}
    yield "bomb of rows.csv.gz", lambda: packed(b"id,text\n" + b"1,\n" * (30 * MB)), {"limit": 20 * MB}
    yield "cut.csv.gz", lambda: packed(b"id,text\n" + b"1,good\n" * 100_000)[:-9]
    yield "keys.jsonl", lambda: keys(150_000), {"only": "uncertain"}
    yield "most keys.jsonl", lambda: (keys(2_000_000)[: 15 * MB] + b"\":0}\n") * 4
    yield "other keys.jsonl", lambda: b"".join(keys(15_000).replace(b"\"", b"\"%d-" % row).replace(b"%d-text" % row, b"text") for row in range(150))
    yield "deep.jsonl", lambda: (nested(20_000) + b"\n") * 20, {"text_column": ".".join("a" * 20_000)}
    yield "deepest.jsonl", lambda: b"{\"text\":\"a\",\"x\":" + b"[" * (7 * MB) + b"]" * (7 * MB) + b"}\n"
    yield "column of dots.jsonl", lambda: b"{\"a\":{\"b\":1}}\n" * 1000, {"text_column": "a." + "b" * MB}

    long = page(text(b"x" * (7 * MB)), 1, dictionary=True)
    yield "one long value.parquet", lambda: parquet(long + page(b"\x01" + varint(256 << 1) + b"\0" * 2, 256, encoding=8), 256)
    yield "long values.parquet", lambda: parquet(b"".join(page(text(b"x" * (15 * MB)), 1) for _ in range(12)), 12)
    yield "large page.parquet", lambda: parquet(page(zeros(512 * MB), 16, 512 * MB), codec=2, repeats=1000)
    yield "huge page.parquet", lambda: parquet(page(b"\x28\xb5\x2f\xfd", 16, (1 << 31) - 1), codec=6)
    yield "page that lies.parquet", lambda: parquet(page(zeros(512 * MB), 16, 4096), codec=2)
    yield "entries.parquet", lambda: parquet(page(b"", (1 << 31) - 1, dictionary=True) + page(b"\0", 16, encoding=8))
    yield "lengths.parquet", lambda: parquet(page(b"\x80\x01\x04" + varint(1 << 40) + b"\0", 16, encoding=6))
    shared = b"\x80\x01\x04" + varint(256) + varint(0) + varint(2 << 23) + b"\x80\x80\x80\x80"
    yield "shared beginnings.parquet", lambda: parquet(page(shared + b"\0" * 200 + b"x" * (20 * MB), 256, encoding=7), 256)
    groups = [node(b"schema", 1, repeated=0), *[node(b"a", 1)] * 5000, node(b"a")]
    yield "deep.parquet", lambda: parquet(schema=groups)
    yield "children.parquet", lambda: parquet(schema=[node(b"schema", (1 << 31) - 1, repeated=0), node(b"text")])
    yield "columns.parquet", lambda: parquet(schema=[node(b"schema", 60_000, repeated=0), *[node(b"text")] * 60_000], chunks=60_000)
    wide = [node(b"schema", 1000, repeated=0), *[node(b"text")] * 1000]
    yield "pieces.parquet", lambda: parquet(schema=wide, chunks=1000, groups=300)
    yield "pieces within limits.parquet", lambda: parquet(page(b"", 0), 0, schema=wide, chunks=1000, groups=99)
    yield "row groups.parquet", lambda: parquet(groups=200_000)
    yield "rows.parquet", lambda: parquet(page(b"", 0), rows=1 << 40, group_rows=1 << 40)
    yield "same bytes.parquet", lambda: parquet(page(text(b"x" * (8 * MB)), 1), 1, groups=100)
    yield "pairs.parquet", lambda: parquet(pairs=[(b"ARROW:schema", b"/////" * 100)] * 60_000)
    listed = [node(b"schema", 1, repeated=0), node(b"text", 1), node(b"list", 1, repeated=2), node(b"element")]
    levels = lambda count: varint(count << 1) + b"\x01"
    many = (1 << 30) - 1
    body = struct.pack("<I", len(levels(many))) + levels(many) + struct.pack("<I", len(levels(many))) + levels(many)
    yield "long list.parquet", lambda: parquet(page(body, many), schema=listed), {"label_column": "text"}
    yield "cut.parquet", lambda: parquet(page(text(b"x" * 100), 16))[:-30]
    yield "footer.parquet", lambda: b"PAR1" + struct.pack("<I", (1 << 32) - 1) + b"PAR1"
