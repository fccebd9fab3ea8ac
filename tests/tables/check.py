"""Classifies the files of files.py and compares inputs with outputs, as pandas, polars, DuckDB and pyarrow read them.

Every column of an input must be in the output with the same values and the same type, for every library that can read
the input. Usage: check.py EXECUTABLE
"""

import gzip
import json
import math
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

import files

MIN_COMPARISONS = 230


def rows(values):
    """Returns values for a comparison in which NaN equals NaN and 1 differs from 1.0 and True."""
    if isinstance(values, dict):
        return [(key, rows(value)) for key, value in values.items()]
    if isinstance(values, (list, tuple)):
        return [rows(value) for value in values]
    if isinstance(values, float) and math.isnan(values):
        return "NaN"
    return (type(values).__name__, repr(values))


def separator(path):
    return "\t" if ".tsv" in path.name else {"semicolon": ";", "sep": ";", "duckdb": "|"}.get(path.name.split(".")[0], ",")


def skipped(path):
    return 1 if path.name.startswith("sep.") else 0


def encoding(path):
    return "latin-1" if "latin" in path.name else "utf-8"


def by_pandas(path):
    if ".parquet" in path.name:
        return pd.read_parquet(path)
    if ".jsonl" in path.name:
        return pd.read_json(path, lines=True)
    # Without this, pandas takes a carriage return in a text for the end of a row.
    engine = {"lineterminator": "\n"} if "carriage" in path.name else {}
    return pd.read_csv(path, sep=separator(path), skiprows=skipped(path), encoding=encoding(path), **engine)


def by_polars(path):
    if ".parquet" in path.name:
        # Polars crashes on these types.
        assert not any(name in path.name for name in ("rare", "interval"))
        return pl.read_parquet(path)
    if ".jsonl" in path.name:
        return pl.read_ndjson(path)
    ends = "\r" if "mac" in path.name else "\n"
    return pl.read_csv(path, separator=separator(path), skip_lines=skipped(path), encoding=encoding(path), eol_char=ends)


def by_duckdb(path):
    with duckdb.connect() as connection:
        found = connection.execute("SELECT * FROM " + ("read_csv(?, skip=1)" if skipped(path) else "?".join(
            ("read_json_auto(", ")") if ".jsonl" in path.name else ("read_parquet(", ")") if ".parquet" in path.name else
            ("read_csv(", ", header=true)"))), [str(path)])
        return [(name, str(kind)) for name, kind, *_ in found.description], found.fetchall()


def by_arrow(path):
    if ".parquet" in path.name:
        return pq.read_table(path)
    if ".jsonl" in path.name:
        return pa_json.read_json(path)
    options = pa_csv.ReadOptions(skip_rows=skipped(path), encoding=encoding(path))
    newlines = pa_csv.ParseOptions(delimiter=separator(path), newlines_in_values=True)
    return pa_csv.read_csv(path, read_options=options, parse_options=newlines)


def by_python(path):
    """Reads JSON as it is written: numbers in their digits, and all fields, also those with one name."""
    opened = gzip.open(path, "rt") if path.name.endswith(".gz") else path.open()
    kept = {"parse_int": str, "parse_float": str, "object_pairs_hook": list}
    return [json.loads(line, **kept) for line in opened]


def same_frames(before, after):
    pd.testing.assert_frame_equal(after.iloc[:, : before.shape[1]], before, check_exact=True, check_freq=False)
    assert after.index.names == before.index.names


def same_polars(before, after):
    kept = after[:, : before.width]
    assert kept.schema == before.schema, (kept.schema, before.schema)
    assert kept.equals(before)


def same_rows(before, after):
    names, width = before[0], len(before[0])
    assert after[0][:width] == names, (after[0], names)
    assert rows([row[:width] for row in after[1]]) == rows(before[1])


def same_tables(before, after):
    kept = after.select(range(before.num_columns))
    schema = pa.schema(list(kept.schema), metadata=before.schema.metadata)
    assert schema.equals(before.schema, check_metadata=True), (schema, before.schema)
    assert all(mine.equals(theirs) or rows(mine.to_pylist()) == rows(theirs.to_pylist()) for mine, theirs in zip(kept.columns, before.columns))
    assert after.schema.metadata == before.schema.metadata


def same_lines(before, after):
    assert [mine[: len(theirs)] for mine, theirs in zip(after, before, strict=True)] == before


def same_parquet(before, after):
    """Compares what the file itself says, whatever a library makes of it."""
    kinds = [[(kind.path, kind.physical_type, str(kind.logical_type), kind.max_definition_level) for kind in
              map(read.schema.column, range(len(read.schema)))] for read in (before, after)]
    assert kinds[1][: len(kinds[0])] == kinds[0], kinds
    theirs, mine = ({key: value for key, value in (read.metadata.metadata or {}).items() if key != b"ARROW:schema"} for read in (before, after))
    assert theirs == mine, (theirs, mine)


READERS = [(by_pandas, same_frames), (by_polars, same_polars), (by_duckdb, same_rows), (by_arrow, same_tables), (by_python, same_lines),
           (pq.ParquetFile, same_parquet)]


def output_of(path):
    stem, *endings = path.name.split(".")
    return path.with_name(".".join([stem, "predicted", *endings]))


def compare(path):
    """Returns the number of comparisons, and what differs."""
    count, problems = 0, []
    for read, same in READERS:
        if read is by_python and ".jsonl" not in path.name or read is pq.ParquetFile and ".parquet" not in path.name:
            continue
        try:
            before = read(path)
        except Exception:  # This library cannot read the input.
            continue
        count += 1
        try:
            same(before, read(output_of(path)))
        except Exception as problem:
            problems.append(f"{path.name}, {read.__name__}: {type(problem).__name__}: {str(problem)[:600]}")
    if count == 0:
        problems.append(f"{path.name}: no library can read it")
    return count, problems


def classify(executable, path):
    command = [executable, "predict", "--file", path, "--text-column", "text"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return None if output_of(path).exists() else f"{path.name}: {done.stderr.strip()}"


def main():
    executable = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for write in (files.parquet, files.csv, files.jsonl):
            write(folder)
        paths = sorted(folder.iterdir())
        with ThreadPoolExecutor(2) as pool:
            problems = [problem for problem in pool.map(lambda path: classify(executable, path), paths) if problem]
        results = [compare(path) for path in paths if output_of(path).exists()]
    count = sum(count for count, _ in results)
    problems += [problem for _, found in results for problem in found]
    print(*problems, sep="\n", end="\n" if problems else "")
    assert count >= MIN_COMPARISONS, f"only {count} comparisons were possible"
    print(f"{count - len(problems)} passed, {len(problems)} failed")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
