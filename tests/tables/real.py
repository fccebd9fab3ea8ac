"""Compares inputs with outputs for real files: every CSV, TSV, JSON lines and Parquet file below some folders.

A CSV file is also written as Parquet and as JSON lines, each time by another library, and compared again. Unpack the
packages whose data sets are wanted into the folders. Usage: real.py EXECUTABLE MODEL FOLDER...
"""

import gzip
import shutil
import sys
import tempfile
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl

import check

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".csv.gz", ".jsonl.gz")
MAX_BYTES = 3_000_000


def dialect_of(path):
    if ".parquet" in path.name or ".json" in path.name:
        return check.Dialect()
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    try:
        content.decode()
        encoding = "utf-8"
    except UnicodeDecodeError:
        encoding = "latin-1"
    header = content.split(b"\n")[0].decode("latin-1")
    line_end = "\r\n" if header.endswith("\r") else "\n"
    return check.Dialect(max(",\t;|", key=header.count), encoding, line_end=line_end)


def options_of(path, model):
    """Returns options with the first column that holds text, or nothing if none does. Which one it is does not matter here."""
    number = 1
    if ".parquet" in path.name:
        kinds = check.pq.ParquetFile(path).schema_arrow.types
        texts = [number for number, kind in enumerate(kinds, 1) if check.pa.types.is_string(kind) or check.pa.types.is_large_string(kind)]
        if not texts:
            return None
        number = texts[0]
    return ["--text-column", str(number), "--model", model]


def converted(path, number, folder):
    """Writes a CSV file again, by a library that depends on the number of the file."""
    dialect = dialect_of(path)
    try:
        frame = pd.read_csv(path, sep=dialect.separator, encoding=dialect.encoding, low_memory=False).convert_dtypes(dtype_backend="pyarrow")
        frame.columns = [str(name) for name in frame.columns]
        parquet, lines = folder / "made.parquet", folder / "made.jsonl"
        table = check.pa.Table.from_pandas(frame)
        if number % 3 == 0:
            frame.to_parquet(parquet), frame.to_json(lines, orient="records", lines=True)
        elif number % 3 == 1:
            pl.from_arrow(table).write_parquet(parquet), pl.from_arrow(table).write_ndjson(lines)
        else:
            duckdb.execute(f"COPY (FROM table) TO '{parquet}'"), duckdb.execute(f"COPY (FROM table) TO '{lines}' (FORMAT json)")
    except Exception:  # Not every table can be held by every format.
        return
    yield from (parquet, lines)


def main():
    executable, model, folders = sys.argv[1], sys.argv[2], sys.argv[3:]
    found = [path for folder in folders for path in sorted(Path(folder).rglob("*")) if path.name.endswith(ENDINGS)]
    paths = [path for path in found if 0 < path.stat().st_size <= MAX_BYTES]
    counts, comparisons, problems = {}, 0, 0

    def run(path, options, source):
        nonlocal comparisons, problems
        problem = check.classify(executable, path, *options)
        count, differences = (0, [problem]) if problem else check.compare(path, dialect_of(path))
        comparisons, problems = comparisons + count, problems + len(differences)
        for difference in differences:
            print(f"{source}: {difference}", flush=True)

    for number, source in enumerate(paths):
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / f"real{''.join(source.suffixes[-2:]) if source.suffix == '.gz' else source.suffix}"
            shutil.copy(source, copy)
            todo = [("original", copy)]
            if copy.suffix in (".csv", ".tsv"):
                todo += [("made", path) for path in converted(copy, number, Path(folder))]
            for kind, path in todo:
                options = options_of(path, model)
                if options is None:
                    continue
                key = (kind, path.suffixes[0])
                counts[key] = counts.get(key, 0) + 1
                run(path, options, f"{source.parent.name}/{source.name}")
        if number % 20 == 0:
            print(f"{number} of {len(paths)}", flush=True)
    print(*(f"{kind} {ending}: {count} files" for (kind, ending), count in sorted(counts.items())), sep="\n")
    print(f"{comparisons} comparisons, {problems} problems")


if __name__ == "__main__":
    main()
