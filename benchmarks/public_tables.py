"""Public tables that packages ship, as they are: read, fitted with the defaults, and a fifth of the cells filled again.

python -m benchmarks.public_tables [TABLE ...], which adds to the results that are there.

Each file is read as it is shipped. What a person calls each column stands in public_tables.csv, written by hand from
the documentation of the tables. Of the same file, read by pandas, 20% of the cells are removed and filled by
``VAE(**purpose("impute"), time_budget=20)``. A cell is filled better than by the mean, or the commonest value, if it is
nearer to what was removed, or right where that is wrong; cells that are as good count half.
"""

from __future__ import annotations

import csv
import io
import json
import sys
import tarfile
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.common import HERE, kept, write
from benchmarks.imputation_tables import packages, remove
from latentmap import VAE, exceptions, purpose
from latentmap.data.columns import Requested
from latentmap.data.sources import open_source

RATE, SECONDS, MOST_ROWS = 0.2, 20.0, 5000
NAMED = ("categorical", "binary", "ordinal")
PYDATASET = (
    *("ggplot2/mpg", "ggplot2/diamonds", "ggplot2/msleep", "ggplot2/midwest", "ggplot2/economics", "reshape2/tips"),
    *("MASS/Boston", "MASS/Cars93", "MASS/birthwt", "MASS/survey", "MASS/Pima.tr2", "MASS/quine", "MASS/crabs"),
    *("MASS/biopsy", "MASS/UScereal", "survival/lung", "survival/pbc", "survival/veteran", "survival/colon"),
    *("vcd/Arthritis", "vcd/Baseball", "vcd/Bundesliga", "datasets/airquality", "datasets/iris", "datasets/swiss"),
    *("datasets/ToothGrowth", "datasets/mtcars", "datasets/infert", "datasets/quakes", "datasets/warpbreaks"),
    *("car/Chile", "car/SLID", "car/Prestige", "car/Leinhardt", "Ecdat/Computers", "Ecdat/Housing", "Ecdat/Wages1"),
    *("HSAUR/Forbes2000", "HistData/Guerry", "psych/sat.act", "psych/bfi", "pscl/bioChemists", "robustbase/CrohnD"),
)
FILES = (
    *("palmerpenguins/data/penguins.csv", "palmerpenguins/data/penguins-raw.csv"),
    *("vega_datasets/_data/cars.json", "vega_datasets/_data/seattle-weather.csv", "vega_datasets/_data/airports.csv"),
    *(
        "vega_datasets/_data/barley.json",
        "statsmodels/datasets/fair/fair.csv",
        "statsmodels/datasets/star98/star98.csv",
    ),
    *("statsmodels/datasets/heart/heart.csv", "statsmodels/datasets/statecrime/statecrime.csv"),
)


@contextmanager
def shipped(name: str) -> Iterator[Path]:
    """Yield the path of a table, as its package ships it."""
    if name in FILES:
        yield packages() / name
        return
    with tempfile.TemporaryDirectory() as folder, tarfile.open(packages() / "pydataset/resources.tar.gz") as archive:
        member = archive.extractfile(f"resources/rdata/csv/{name}.csv")
        assert member is not None
        path = Path(folder) / f"{name.replace('/', '-')}.csv"
        path.write_bytes(member.read())
        yield path


def by_hand() -> dict[str, dict[str, str]]:
    """Return the kinds that a person gave, by table and column; several are separated by "or"."""
    result: dict[str, dict[str, str]] = {}
    for row in csv.DictReader(io.StringIO((HERE / "public_tables.csv").read_text())):
        result.setdefault(row["table"], {})[row["column"]] = row["kind"]
    return result


def filled_better(frame: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Return the fraction of removed cells that are filled better than by mean or mode, and the seconds of the fit."""
    holes = remove(frame, RATE, seed)
    start = time.perf_counter()
    vae = VAE(**purpose("impute"), time_budget=SECONDS, random_state=seed).fit(holes)
    seconds = time.perf_counter() - start
    filled = vae.impute(holes)
    state = vae.state_
    table = state.table or open_source(frame, columns=Requested()).table
    assert table is not None
    known = replace(table, unseen="missing")  # a category may be among the removed cells alone
    truth, holed, ours = (open_source(one, columns=known).all_rows() for one in (frame, holes, filled))
    removed = np.isnan(holed) & ~np.isnan(truth)
    points = 0.0
    for i, column in enumerate(table.columns):
        cells = removed[:, i]
        values = holed[:, i][~np.isnan(holed[:, i])]
        if column.kind in NAMED and column.kind != "ordinal":
            levels, counts = np.unique(values, return_counts=True)
            usual, mine = (np.abs(truth[cells, i] - one) > 0.5 for one in (levels[counts.argmax()], ours[cells, i]))
        else:
            usual, mine = (np.abs(truth[cells, i] - one) for one in (values.mean(), ours[cells, i]))
        points += (mine < usual).sum() + (mine == usual).sum() / 2
    return {"cells": int(removed.sum()), "better": float(points / removed.sum()), "seconds": seconds}


def measure(name: str) -> dict[str, Any]:
    """Return what became of one table."""
    with shipped(name) as path:
        table = open_source(path, columns=Requested()).table
        assert table is not None
        kinds = {name: table.kinds[name].kind if name in table.kinds else "left out" for name in table.order}
        alone = open_source(path).table is None
        frame = pd.read_json(path) if path.suffix == ".json" else pd.read_csv(path)
    if str(frame.columns[0]).startswith("Unnamed"):  # row names
        frame = frame.iloc[:, 1:]
    lost = [str(column) for column in frame if str(column) not in kinds]
    few = frame if len(frame) <= MOST_ROWS else frame.sample(MOST_ROWS, random_state=0).reset_index(drop=True)
    return {"table": name, "rows": len(frame), "kinds": kinds, "numbers": alone, "lost": lost, **filled_better(few, 0)}


def main(names: list[str]) -> None:
    """Measure the tables and write the results."""
    warnings.simplefilter("ignore", exceptions.DiagnosisWarning)
    raw = {run["table"]: run for run in kept("public_tables")}
    for name in names or [name for name in (*PYDATASET, *FILES) if name not in raw]:
        try:
            raw[name] = measure(name)
        except exceptions.LatentmapError as error:
            raw[name] = {"table": name, "refused": str(error).split(": ", 1)[-1]}
        print(json.dumps(raw[name]), flush=True)
        write("public_tables", {"rate": RATE, "budget": SECONDS, "raw": list(raw.values())})


if __name__ == "__main__":
    main(sys.argv[1:])
