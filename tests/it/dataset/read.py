"""Opens an export as people do, with four programs, and prints what each finds in every column: how many values, and their sum.

usage: read.py FOLDER CACHE"""

import json
import math
import sys
from pathlib import Path

import datasets
import duckdb
import polars
import pyarrow.dataset

folder, cache = Path(sys.argv[1]), sys.argv[2]
files = sorted(str(path) for path in folder.glob("data-*.parquet"))


def flat(value):
    if value is None:
        return
    if isinstance(value, str):
        yield float(len(value.encode()))
    elif hasattr(value, "__iter__"):
        for item in value:
            yield from flat(item)
    else:
        yield float(value)


def sums(columns):
    """Exact sums, which no order of adding changes."""
    found = {}
    for name, values in columns:
        numbers = list(flat(values))
        found[name] = [len(numbers), math.fsum(numbers)]
    return found


def pyarrow_():
    table = pyarrow.dataset.dataset(files).to_table()
    return sums((name, table[name].to_pylist()) for name in table.column_names)


def polars_():
    table = polars.scan_parquet(str(folder / "data-*.parquet")).collect()
    return sums((name, table[name].to_list()) for name in table.columns)


def duckdb_():
    rows = duckdb.sql(f"SELECT * FROM read_parquet('{folder}/data-*.parquet')")
    return sums(zip(rows.columns, zip(*rows.fetchall())))


def datasets_():
    datasets.disable_progress_bars()
    table = datasets.load_dataset("parquet", data_files=files, cache_dir=cache)["train"]
    return sums((name, table[name]) for name in table.column_names)


print(json.dumps({"pyarrow": pyarrow_(), "polars": polars_(), "duckdb": duckdb_(), "datasets": datasets_()}))
