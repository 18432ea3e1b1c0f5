"""What numpy finds in the values of an export, beside what its table of statistics says.

usage: export_stats.py FOLDER"""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.dataset
import pyarrow.parquet

folder = Path(sys.argv[1])
table = pyarrow.dataset.dataset(sorted(str(path) for path in folder.glob("data-*.parquet"))).to_table()
found = {}
for own in pyarrow.parquet.read_table(folder / "export_stats.parquet").to_pylist():
    rows = np.stack(table[own["hook"]].to_numpy(zero_copy_only=False)).astype(np.float64)
    norms = np.linalg.norm(rows, axis=1)
    centred = rows - rows.mean()
    found[own["hook"]] = own | {
        "found": {
            "rows": rows.shape[0],
            "width": rows.shape[1],
            "mean_norm": norms.mean(),
            "median_norm": np.sort(norms)[(len(norms) - 1) // 2],
            "max_abs": np.abs(rows).max(),
            "mean": rows.mean(),
            "std": rows.std(),
            "excess_kurtosis": (centred**4).mean() / (centred**2).mean() ** 2 - 3 if rows.std() > 0 else None,
            "norm_scale": np.sqrt(rows.shape[1]) / norms.mean(),
        }
    }
print(json.dumps(found))
