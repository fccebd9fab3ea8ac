"""Files as pandas, polars, DuckDB and pyarrow write them, and some as other programs do. Each has a column `text`."""

import datetime as dt
import decimal
import gzip
import json
import uuid

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

TEXTS = ["what a lovely day", "it was awful, \"really\"", "fine;\tI think | so", "naïve café 😀"]
# The word for each type that DuckDB can write, with a value.
DUCKDB = {
    "uuid": "'00000000-0000-0000-0000-000000000001'::UUID", "json": "'{\"a\": 1}'::JSON", "time_tz": "'10:00:00+02'::TIMETZ", "time_ns": "'10:00:00.1'::TIME_NS",
    "interval": "INTERVAL '1 month 2 days'", "huge": "1::HUGEINT", "decimal": "1.50::DECIMAL(38, 3)", "bits": "'101'::BIT",
    "enum": "'a'::ENUM('a', 'b')", "geometry": "'POINT(1 2)'::GEOMETRY", "variant": "{'a': 1}::VARIANT",
    "union": "union_value(k := 1)", "map": "MAP {'a': 1}", "array": "[1, 2]::INTEGER[2]", "ns": "'2020-01-01'::TIMESTAMP_NS",
    "tz": "'9999-12-31'::TIMESTAMPTZ", "bc": "'0044-01-01 (BC)'::DATE", "nothing": "NULL", "blob": "'\\xFF'::BLOB",
    "tiny": "1::UTINYINT", "struct": "{'a': 1, 'b': {'c': 'x'}}", "lists": "[['a'], [], NULL]",
}


def arrow_columns():
    """One column for each type of Arrow that Parquet files can hold, with a missing value in most."""
    none, day, now = None, dt.date(1969, 7, 20), dt.datetime(2026, 2, 28, 23, 59, 59)
    types = {kind: [1, none, 0, 2] for kind in [
        pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(), pa.float16(),
        pa.float32(), pa.float64(), pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"), pa.duration("s"),
        pa.duration("ns"), pa.date64()]}
    types |= {pa.date32(): [day, none, day, day], pa.bool_(): [True, none, False, True], pa.null(): [none] * 4}
    types |= {pa.timestamp(unit, zone): [now, none, now, now] for unit in ["s", "ms", "us", "ns"] for zone in [none, "UTC", "Asia/Tokyo"]}
    types |= {kind: [decimal.Decimal("1.25"), none, decimal.Decimal("-0.01"), none] for kind in [
        pa.decimal32(5, 2), pa.decimal64(12, 2), pa.decimal128(30, 2), pa.decimal256(60, 2)]}
    types |= {kind: ["a", none, "", "b" * 40] for kind in [pa.string(), pa.large_string(), pa.string_view(), pa.json_()]}
    types |= {kind: [b"a", none, b"", b"\xFF\x00"] for kind in [pa.binary(), pa.large_binary(), pa.binary_view()]}
    types |= {pa.binary(2): [b"ab", none, b"cd", b"ef"], pa.uuid(): [uuid.UUID(int=1).bytes, none, uuid.UUID(int=2).bytes, none]}
    lists = [[1, none], none, [], [2, 3]]
    types |= {kind(pa.int32()): lists for kind in [pa.list_, pa.large_list, pa.list_view]}
    types |= {pa.list_(pa.int32(), 2): [[1, 2], none, [3, none], [5, 6]], pa.list_(pa.date64()): [[day], none, [], [day]]}
    types |= {pa.map_(pa.string(), pa.int8()): [[("a", 1)], none, [], [("b", none)]]}
    types |= {pa.struct([("a", pa.int8()), ("b", pa.list_(pa.struct([("c", pa.large_string())])))]):
              [{"a": 1, "b": [{"c": "x"}, none]}, none, {"a": none, "b": none}, {"a": 2, "b": []}]}
    columns = {str(kind): pa.array(values, kind) if kind not in (pa.json_(), pa.uuid()) else
               pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type)) for kind, values in types.items()}
    for kind in [pa.string(), pa.int64(), pa.bool_(), pa.date32(), pa.float64(), pa.binary(), pa.decimal128(30, 2)]:
        values = columns[str(kind)].drop_null()
        columns[f"dictionary of {kind}"] = pa.DictionaryArray.from_arrays(pa.array([0, None, 1, 0], pa.int16()), values)
    return columns


def parquet(folder):
    """Writes Parquet files with every type, from four writers, in several layouts."""
    columns = {"text": pa.array(TEXTS), **arrow_columns()}
    # Polars reads neither of these.
    rare = [name for name in columns if name.startswith(("list_view", "decimal256"))]
    rare = {"text": columns["text"], **{name: columns.pop(name) for name in rare}}
    table = pa.table(columns).replace_schema_metadata({"mine": "kept", "geo": "{\"version\": \"1.1.0\"}"})
    simple = pa.table({"text": TEXTS * 50, "id": range(200), "at": [dt.datetime(9999, 12, 31)] * 200})
    fields = [pa.field("text", pa.string(), metadata={"PARQUET:field_id": "7", "unit": "words"}), pa.field("n", pa.int8(), False)]
    noted = pa.table([pa.array(TEXTS), pa.array([1, 2, 3, 4], pa.int8())], schema=pa.schema(fields))
    layouts = {
        "all types": (table, {}), "no arrow schema": (table, {"store_schema": False}), "old": (table.drop("uint32"), {"version": "1.0"}),
        "pages 2": (table, {"data_page_version": "2.0", "compression": "zstd", "row_group_size": 3}),
        "int96": (simple, {"use_deprecated_int96_timestamps": True, "row_group_size": 70}), "noted": (noted, {}), "rare": (pa.table(rare), {}),
        "indexed": (simple, {"write_page_index": True, "write_page_checksum": True, "use_dictionary": False, "data_page_size": 100}),
        "sorted": (simple, {"sorting_columns": [pq.SortingColumn(1)], "compression": "none"}),
        "twice": (pa.Table.from_arrays([pa.array(TEXTS), pa.array([1, 2, 3, 4]), pa.array([5, 6, 7, 8])], ["text", "a", "a"]), {}),
    }
    layouts |= {codec: (simple, {"compression": codec}) for codec in ["gzip", "lz4", "brotli"]}
    for encoding in ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY", "PLAIN"]:
        options = {"use_dictionary": False, "column_encoding": {"text": encoding}, "row_group_size": 33}
        layouts |= {encoding: (simple, options), f"{encoding} 2": (simple, {**options, "data_page_version": "2.0"})}
    for name, (content, options) in layouts.items():
        pq.write_table(content, folder / f"arrow {name}.parquet", **options)

    frame = pd.DataFrame({"text": TEXTS, "big": pd.array([9007199254740993, None, 1, 2], "Int64"), "b": pd.array([True, None] * 2, "boolean"),
                          "c": pd.Categorical(["x", "y", None, "x"], ["y", "x"], ordered=True), "p": pd.period_range("2020", periods=4, freq="M")})
    zone = pd.date_range("2020", periods=4, tz="Europe/Berlin", name="when")
    pairs = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["letter", None])
    for name, index in {"range": pd.RangeIndex(10, 18, 2), "named": pd.Index([5, 6, 7, 8], name="key"), "pairs": pairs, "zone": zone}.items():
        frame.set_index(index).to_parquet(folder / f"pandas {name}.parquet")

    pl.DataFrame({
        "text": TEXTS, "category": pl.Series(["a", "b", None, "a"], dtype=pl.Categorical), "huge": pl.Series([1, None, 2**100, -1], dtype=pl.Int128),
        "enum": pl.Series(["a", "b", None, "a"], dtype=pl.Enum(["b", "a"])), "for": [dt.timedelta(days=1), None] * 2, "time": [dt.time(1), None] * 2,
        "array": pl.Series([[1, 2], None] * 2, dtype=pl.Array(pl.Int8, 2)), "decimal": pl.Series([decimal.Decimal("1.5"), None] * 2, dtype=pl.Decimal(20, 3)),
        "at": pl.Series([dt.datetime(1, 1, 1), None] * 2, dtype=pl.Datetime("us", "America/Lima")), "object": [{"a": [1]}, {"a": None}] * 2,
    }).write_parquet(folder / "polars.parquet")
    for name, value in DUCKDB.items():
        inside = "NULL" if name == "variant" else "[x]"
        rows = f"SELECT unnest(?) AS text, {value} AS x, {inside} AS xs UNION ALL SELECT 'nothing', NULL, NULL"
        duckdb.execute(f"COPY ({rows}) TO '{folder}/duckdb {name}.parquet' (PARQUET_VERSION {'V2' if len(name) % 2 else 'V1'})", [TEXTS])


def csv(folder):
    """Writes CSV files in the dialects of several programs."""
    frame = pd.DataFrame({"id": [1, 2, 3, 4], "text": TEXTS, "zip": ["01234", "1e5", "", None], "x": [1.5, None, float("inf"), -0.0]})
    frame.to_csv(folder / "pandas.csv", index=False)
    frame.to_csv(folder / "pandas quoted.csv", quoting=1)
    frame.to_csv(folder / "pandas bom.csv", index=False, encoding="utf-8-sig", lineterminator="\r\n")
    frame.to_csv(folder / "semicolon.csv", index=False, sep=";", decimal=",")
    frame.to_csv(folder / "tabs.tsv.gz", index=False, sep="\t")
    with pa.CompressedOutputStream(folder / "packed.csv.zst", "zstd") as packed:
        frame.to_csv(packed, index=False)
    pl.from_pandas(frame).write_csv(folder / "polars.csv")
    pl.DataFrame({"text": ["good", None, "bad"]}).write_csv(folder / "polars one column.csv")
    pl.from_pandas(frame).write_csv(folder / "polars quoted.csv", quote_style="non_numeric", null_value="NA")
    pa_csv.write_csv(pa.Table.from_pandas(frame, preserve_index=False), folder / "arrow.csv")
    duckdb.from_df(frame).to_csv(str(folder / "duckdb.csv"), sep="|")
    for name, content in {
        "carriage returns.csv": "id,text,note\n1,\"one\rtwo\",\"\r\"\n2,three,\n", "old mac.csv": "id,text\r1,good\r2,\"two\rlines\"\r",
        "excel.csv": "id,text,,,\r\n1,\"good, bad\",,,\r\n2,fine,,,\r\n", "empty and missing.csv": "id,text,a,b\n1,good,\"\",\n2,bad,,\"\"\n",
        "spaces.csv": " id , text ,b \n 1 , good , x\n", "quotes.csv": "id,text\n1,5\" nails\n2,\"a \"\"b\"\"\"\n", "names.csv": "a,text,a\n1,good,2\n",
        "numbers.csv": "text,n,m\ngood,1e400,0x1F\nbad,00012345678901234567890,1_000\nfine,NaN,-0\n", "latin-1.csv": "id,text,größe\n1,good,süß\n",
        "ours.csv": "id,text,prediction,confidence\n1,good,HUMAN,high\n", "sep.csv": "sep=;\r\nid;text\r\n1;good, bad\r\n", "no end.csv": "id,text\n1,good", "lines.csv": "id,text\n1,\"a\n\nb\"\n\n2,c\n",
    }.items():
        (folder / name).write_bytes(content.encode("latin-1" if "latin" in name else "utf-8"))


def jsonl(folder):
    """Writes JSON lines with everything that a writer may do to a value."""
    rows = [{"text": text, "n": 2**70 + number, "f": 0.1 * number, "deep": {"a": [{"b": None}]}} for number, text in enumerate(TEXTS)]
    lines = {
        "escapes": ["{\"text\": \"caf\\u00e9 \\ud83d\\ude00\", \"a\\u0062\": \"\\/\" }", "{ \"text\" :\"b\",\"ab\":\"\\u0000\"}"],
        "numbers": ["{\"text\":\"a\",\"n\":1.0,\"m\":1e400,\"big\":123456789012345678901234567890}", "{\"text\":\"b\",\"n\":-0,\"m\":0.10}"],
        "same key twice": ["{\"text\":\"first\",\"id\":1,\"text\":\"last\"}"] * 2, "python": [json.dumps(row) for row in rows],
        "nested": ["{\"text\":\"a\",\"deep\":" + "[" * 500 + "]" * 500 + "}"], "mixed": ["{\"text\":\"a\",\"x\":1}", "{\"text\":\"b\",\"x\":[\"1\"],\"y\":{}}"],
    }
    for name, content in lines.items():
        (folder / f"{name}.jsonl").write_text("\n".join(content) + "\n")
    (folder / "packed.jsonl.gz").write_bytes(gzip.compress("\r\n".join(lines["python"]).encode()))
    frame = pd.DataFrame({"text": TEXTS, "at": pd.date_range("2020", periods=4), "n": [1, 2, 3, None]})
    frame.to_json(folder / "pandas.jsonl", orient="records", lines=True, date_format="iso")
    pl.from_pandas(frame).write_ndjson(folder / "polars.jsonl")
    duckdb.from_df(frame).query("t", f"COPY (SELECT *, MAP {{'k': n}} AS m FROM t) TO '{folder}/duckdb.jsonl' (FORMAT json)")
