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
from typing import NamedTuple

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

import files

MIN_COMPARISONS = 330
OURS = {"prediction", "confidence", "uncertain", "error", "scores", "labels", "value", "entities"}


def rows(values):
    """Returns values for a comparison in which NaN equals NaN and 1 differs from 1.0 and True."""
    if isinstance(values, dict):
        return [(key, rows(value)) for key, value in values.items()]
    if isinstance(values, (list, tuple)):
        return [rows(value) for value in values]
    if isinstance(values, float) and math.isnan(values):
        return "NaN"
    return (type(values).__name__, repr(values))


class Dialect(NamedTuple):
    separator: str = ","
    encoding: str = "utf-8"
    skipped: int = 0
    line_end: str = "\n"


def dialect_of(path):
    """Returns the dialect of a file of files.py."""
    name, first = path.name.split(".")[0], path.read_bytes().split(b"\n")[0]
    separator = "\t" if ".tsv" in path.name else {"semicolon": ";", "sep": ";", "duckdb": "|"}.get(name, ",")
    line_end = "\r" if name == "old mac" else "\r\n" if first.endswith(b"\r") else "\n"
    return Dialect(separator, "latin-1" if name == "latin-1" else "utf-8", int(name == "sep"), line_end)


def by_pandas(path, dialect):
    if ".parquet" in path.name:
        return pd.read_parquet(path)
    if ".jsonl" in path.name:
        return pd.read_json(path, lines=True, convert_axes=False)  # Names may be numbers.
    # Without the last argument, pandas takes a carriage return in a text for the end of a row.
    options = {"lineterminator": "\n"} if dialect.line_end == "\n" else {}
    return pd.read_csv(path, sep=dialect.separator, skiprows=dialect.skipped, encoding=dialect.encoding, low_memory=False, **options)


def by_polars(path, dialect):
    if ".parquet" in path.name:
        # Polars ends the process on these types.
        assert not any(name in path.name for name in ("rare", "interval"))
        return pl.read_parquet(path)
    if ".jsonl" in path.name:
        # Polars reads types nested this deep, but cannot compare them.
        assert "nested" not in path.name
        return pl.read_ndjson(path)
    return pl.read_csv(path, separator=dialect.separator, skip_lines=dialect.skipped, encoding=dialect.encoding, eol_char=dialect.line_end[-1],
                       infer_schema_length=None)


def by_duckdb(path, dialect):
    read = "read_csv(?, header = true, sep = ?, skip = ?)"
    arguments = [str(path), dialect.separator, dialect.skipped]
    if ".csv" not in path.name and ".tsv" not in path.name:
        read, arguments = "read_parquet(?)" if ".parquet" in path.name else "read_json(?)", arguments[:1]
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT * FROM {read}", arguments)
        return [(name, str(kind)) for name, kind, *_ in found.description], found.fetchall()


def by_arrow(path, dialect):
    if ".parquet" in path.name:
        return pq.read_table(path)
    if ".jsonl" in path.name:
        return pa_json.read_json(path)
    options = pa_csv.ReadOptions(skip_rows=dialect.skipped, encoding=dialect.encoding)
    newlines = pa_csv.ParseOptions(delimiter=dialect.separator, newlines_in_values=True)
    return pa_csv.read_csv(path, read_options=options, parse_options=newlines)


def by_the_footer(path, _):
    return pq.ParquetFile(path)


def by_python(path, _):
    """Reads JSON as it is written: numbers in their digits, and all fields, also those with one name."""
    opened = gzip.open(path, "rt") if path.name.endswith(".gz") else path.open()
    kept = {"parse_int": str, "parse_float": str, "object_pairs_hook": list}
    return [json.loads(line, **kept) for line in opened]


def kept(after, before):
    """Returns the positions of the columns of an output that are not ours. Takes both lists of names."""
    ours = [name.startswith("local_model_") or name in OURS and name not in before for name in after]
    assert any(ours), f"nothing was added to {after}"
    return [position for position, mine in enumerate(ours) if not mine]


def same_frames(before, after):
    after = after.iloc[:, kept(after.columns, before.columns)]
    pd.testing.assert_frame_equal(after, before, check_exact=True, check_freq=False)
    assert after.index.names == before.index.names


def same_polars(before, after):
    after = after.select([after.columns[position] for position in kept(after.columns, before.columns)])
    assert after.schema == before.schema, (after.schema, before.schema)
    assert after.equals(before)


def same_rows(before, after):
    places = kept([name for name, _ in after[0]], [name for name, _ in before[0]])
    columns = [after[0][place] for place in places]
    assert columns == before[0], (columns, before[0])
    assert rows([[row[place] for place in places] for row in after[1]]) == rows([list(row) for row in before[1]])


def same_tables(before, after):
    assert after.schema.metadata == before.schema.metadata
    after = after.select(kept(after.column_names, before.column_names))
    assert after.schema.equals(before.schema, check_metadata=True), (after.schema, before.schema)
    assert all(mine.equals(theirs) or rows(mine.to_pylist()) == rows(theirs.to_pylist()) for mine, theirs in zip(after.columns, before.columns))


def same_lines(before, after):
    assert [mine[: len(theirs)] for mine, theirs in zip(after, before, strict=True)] == before


def same_parquet(before, after):
    """Compares what the file itself says, whatever a library makes of it."""
    kinds = [[(kind.path, kind.physical_type, str(kind.logical_type), kind.max_definition_level) for kind in
              map(read.schema.column, range(len(read.schema)))] for read in (before, after)]
    assert kinds[1][: len(kinds[0])] == kinds[0], kinds
    theirs, mine = ({key: value for key, value in (read.metadata.metadata or {}).items() if key != b"ARROW:schema"} for read in (before, after))
    assert theirs == mine, (theirs, mine)


# To the program, an empty line is a missing value in a file with one column, as polars and DuckDB write it, and nothing in
# any other file. These libraries see it otherwise.
OTHER_ROWS = {("polars one column.csv", by_pandas), ("polars one column.csv", by_arrow), ("lines.csv", by_polars)}
READERS = [(by_pandas, same_frames), (by_polars, same_polars), (by_duckdb, same_rows), (by_arrow, same_tables), (by_python, same_lines),
           (by_the_footer, same_parquet)]


def output_of(path):
    stem, *endings = path.name.split(".")
    return path.with_name(".".join([stem, "predicted", *endings]))


def compare(path, dialect=None):
    """Returns the number of comparisons, and what differs."""
    dialect = dialect or dialect_of(path)
    count, problems = 0, []
    for read, same in READERS:
        if read is by_python and ".jsonl" not in path.name or read is by_the_footer and ".parquet" not in path.name:
            continue
        if (path.name, read) in OTHER_ROWS:
            continue
        try:
            before = read(path, dialect)
        except Exception:  # This library cannot read the input.
            continue
        count += 1
        try:
            same(before, read(output_of(path), dialect))
        except Exception as problem:
            problems.append(f"{path.name}, {read.__name__}: {type(problem).__name__}: {str(problem)[:600]}")
    if count == 0:
        problems.append(f"{path.name}: no library can read it")
    return count, problems


def classify(executable, path, *options):
    command = [executable, "predict", "--file", path, *(options or ["--text-column", "text"])]
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
