# /// script
# requires-python = ">=3.11"
# dependencies = ["marimo", "polars", "matplotlib"]
# ///
"""Which heads read which: a notebook of marimo, which is a program too.

    marimo edit notebooks/heads.py       to look around
    python notebooks/heads.py            to run it once

The files come from `pellucid heads --find heads,pairs --out runs/heads`, which is run if `runs/` does not have them.
"""

import marimo

__generated_with = "0.25.2"

app = marimo.App(width="medium")


@app.cell
def _():
    import os
    import subprocess
    from pathlib import Path

    import marimo as mo
    import matplotlib.pyplot as plt
    import polars as pl

    return Path, mo, os, pl, plt, subprocess


@app.cell
def _(mo):
    mo.md("""
    # Which heads read which?

    By weights alone: how far is what one head writes what the queries, keys or values of a later head read (Elhage et al. 2021)? 0 is
    what independent maps have. Beside it stands what each head looks at on random tokens that are read twice.
    """)
    return


@app.cell
def _(Path, os, subprocess):
    if not Path("runs/heads/manifest.json").exists():
        _pellucid = os.environ.get("PELLUCID", "pellucid")
        _command = [_pellucid, "heads", "--find", "heads,pairs", "--out", "runs/heads", "--quiet"]
        subprocess.run(_command, check=True, stdout=subprocess.DEVNULL)
    folder = Path("runs/heads")
    return (folder,)


@app.cell
def _(mo):
    by = mo.ui.dropdown({"queries": "q", "keys": "k", "values": "v"}, value="keys", label="composition with the")
    least = mo.ui.slider(0, 0.3, 0.01, value=0.08, label="at least", show_value=True)
    mo.hstack([by, least], justify="start")
    return by, least


@app.cell
def _(by, folder, least, pl):
    heads = pl.read_parquet(folder / "heads.parquet")
    pairs = pl.read_parquet(folder / "head_pairs.parquet").with_columns(
        reader=pl.format("{}.{}", "to_layer", "to_head"), writer=pl.format("{}.{}", "from_layer", "from_head")
    )
    strong = pairs.filter(pl.col(by.value) >= least.value).sort(by.value, descending=True).select("writer", "reader", by.value)
    strong
    return heads, pairs, strong


@app.cell
def _(by, heads, pairs, plt):
    _grid = pairs.pivot("writer", index="reader", values=by.value)
    _values = _grid.drop("reader").to_numpy()
    figure, _axes = plt.subplots(figsize=(7, 5))
    _limit = abs(pairs[by.value]).max()
    _image = _axes.imshow(_values, cmap="RdBu", vmin=-_limit, vmax=_limit)
    _kinds = {f"{row['layer']}.{row['head']}": row["kind"] or "" for row in heads.iter_rows(named=True)}
    _axes.set_xticks(range(len(_grid.columns) - 1), [f"{name} {_kinds[name]}" for name in _grid.columns[1:]], rotation=60, ha="right")
    _axes.set_yticks(range(len(_grid)), [f"{name} {_kinds[name]}" for name in _grid["reader"]])
    _axes.set(xlabel="head that writes", ylabel="head that reads", title=f"Composition with {dict(q='queries', k='keys', v='values')[by.value]}")
    figure.colorbar(_image, label="less that of independent maps")
    figure.tight_layout()
    figure
    return (figure,)


@app.cell
def _(mo):
    mo.md("""
    Induction heads are made of two heads: the keys of the second read what a previous-token head has written (Olsson et al. 2022). In this
    model the previous-token head is 0.0, and all heads of block 1 are induction heads. The weights say so before any text is read: of the 16
    compositions between blocks 0 and 1 with keys, the four of 0.0 are the strongest, and twice as strong as the next. Its compositions with
    their queries and values are near 0 or below it.

    Between later blocks compositions are stronger, and what they do cannot be read off here: `pellucid path` asks a run.
    """)
    return


@app.cell
def _(pairs, pl):
    early = pairs.filter(pl.col("to_layer") == 1).sort("k", descending=True).select("writer", "reader", "q", "k", "v")
    # What is said above, checked.
    assert set(early["writer"][:4]) == {"0.0"} and early["k"][3] > 1.5 * early["k"][4]
    assert early["q"][:4].max() < 0.03 and early["v"][:4].max() < 0.03
    early
    return (early,)


if __name__ == "__main__":
    app.run()
