"""Writes corpora that are too long for one batch of rows, and says what Python's own readers find in each.

usage: corpus.py FOLDER"""

import csv
import gzip
import io
import json
import random
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

folder = Path(sys.argv[1])
random.seed(7)
words = ["Mary", "ran", '"quoted"', "a,b", "line\nend", "Zwölf", "日本", "\t", "{[", "]}", "\\", "🙂", "\r\n"]
rows = [
    {"id": f"d{i}", "n": i, "text": " ".join(random.choices(words, k=random.randrange(0, 40))), "more": {"k": [i]}}
    for i in range(5000)
]
lines = "".join(json.dumps(row, ensure_ascii=i % 2 == 0) + "\n" * (1 + i % 3) for i, row in enumerate(rows))
(folder / "a.jsonl").write_bytes(lines.encode())
(folder / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
(folder / "c.json").write_text(json.dumps(rows, indent=2), encoding="utf8", newline="")
for name, delimiter in [("d.csv", ","), ("e.tsv", "\t")]:
    with (folder / name).open("w", newline="", encoding="utf8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["n", "id", "text"])
        writer.writerows([row["n"], row["id"], row["text"]] for row in rows)
flat = {"n": [row["n"] for row in rows], "id": [row["id"] for row in rows], "more": [row["more"]["k"] for row in rows]}
for name, text, how in [
    ("f-groups.parquet", pa.string(), {"row_group_size": 300, "data_page_size": 500}),
    ("g-pages.parquet", pa.large_string(), {"data_page_size": 2000, "write_batch_size": 50, "use_dictionary": False}),
    ("h-one.parquet", pa.string_view(), {"compression": "zstd", "data_page_version": "2.0", "write_page_index": True}),
]:
    table = pa.table(flat | {"text": pa.array([row["text"] for row in rows], type=text)})
    pq.write_table(table, folder / name, **how)

found = {}
for path in sorted(folder.iterdir()):
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    kind = path.name.removesuffix(".gz").rsplit(".", 1)[1]
    if kind == "jsonl":
        read = [json.loads(line) for line in data.decode().split("\n") if line]
    elif kind == "json":
        read = json.loads(data)
    elif kind in ("csv", "tsv"):
        read = list(csv.DictReader(io.StringIO(data.decode(), newline=""), delimiter="," if kind == "csv" else "\t"))
    else:
        read = pq.read_table(path).to_pylist()
    found[path.name] = [[row["id"], row["text"]] for row in read]
    assert len(found[path.name]) == len(rows), path
print(json.dumps(found))
