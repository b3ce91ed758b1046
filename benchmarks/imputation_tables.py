"""Public tables that packages ship, of mixed columns, with cells removed at random."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets

from benchmarks.common import peers_python

MOST_ROWS = 1000
"""Rows of a table, at most, so that no method takes longer than 20 s."""


@cache
def packages() -> Path:
    """Return the folder of the packages of the environment that ships the tables."""
    return next(peers_python("imputation").parent.parent.glob("lib/python*/site-packages"))


def pydataset(name: str, *dropped: str) -> pd.DataFrame:
    """Return a table of pydataset without its row names and some columns."""
    with tarfile.open(packages() / "pydataset/resources.tar.gz") as archive:
        member = archive.extractfile(f"resources/rdata/csv/{name}.csv")
        assert member is not None
        return pd.read_csv(io.BytesIO(member.read()), index_col=0).drop(columns=list(dropped))


def csv(path: str) -> pd.DataFrame:
    """Return a table of a file in a package."""
    return pd.read_csv(packages() / path)


def cars() -> pd.DataFrame:
    """Return the cars of vega_datasets without their names and dates."""
    rows = json.loads((packages() / "vega_datasets/_data/cars.json").read_text())
    return pd.DataFrame(rows).drop(columns=["Name", "Year"])


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "wine": lambda: datasets.load_wine(as_frame=True).data,
    "breast_cancer": lambda: datasets.load_breast_cancer(as_frame=True).data,
    "diabetes": lambda: datasets.load_diabetes(as_frame=True).data,
    "penguins": lambda: csv("palmerpenguins/data/penguins.csv"),
    "fair": lambda: csv("statsmodels/datasets/fair/fair.csv"),
    "star98": lambda: csv("statsmodels/datasets/star98/star98.csv"),
    "cars": cars,
    "weather": lambda: csv("vega_datasets/_data/seattle-weather.csv").drop(columns="date"),
    "tips": lambda: pydataset("reshape2/tips"),
    "Boston": lambda: pydataset("MASS/Boston"),
    "pbc": lambda: pydataset("survival/pbc", "id"),
    "Chile": lambda: pydataset("car/Chile"),
    "SLID": lambda: pydataset("car/SLID"),
    "diamonds": lambda: pydataset("ggplot2/diamonds"),
    "Computers": lambda: pydataset("Ecdat/Computers"),
}


def load(name: str) -> pd.DataFrame:
    """Return a table: columns of numbers as float64, all others as text."""
    frame = TABLES[name]().reset_index(drop=True)
    if len(frame) > MOST_ROWS:
        frame = frame.sample(MOST_ROWS, random_state=0).reset_index(drop=True)
    frame.columns = [str(column).replace(" ", "_") for column in frame.columns]
    numbers = frame.select_dtypes("number").columns
    texts = frame.columns.difference(numbers)
    return frame.astype(dict.fromkeys(numbers, float)).astype(dict.fromkeys(texts, object))


def remove(frame: pd.DataFrame, rate: float, seed: int) -> pd.DataFrame:
    """Return a table without a fraction of its cells."""
    return frame.mask(np.random.default_rng(seed).random(frame.shape) < rate)
