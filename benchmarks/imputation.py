"""Filling missing cells: embedded tables with cells removed at random, compared with scikit-learn's imputers.

python -m benchmarks.imputation [SEEDS]

Columns are standardised for the imputers that compare them. The measure is the root mean squared error of the removed
cells, in units of the standard deviation of their column.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.common import write
from latentmap import VAE, exceptions, likelihoods, objectives

RATES = (0.1, 0.3, 0.5)
TABLES = {
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
    "iris": datasets.load_iris,
    "digits": datasets.load_digits,
}
Fill = Callable[[np.ndarray[Any, Any], int], np.ndarray[Any, Any]]


def ours(X: np.ndarray[Any, Any], seed: int) -> np.ndarray[Any, Any]:
    """Impute as documented: half as many components as columns, at most 8 for these few rows."""
    components = min(8, max(2, X.shape[1] // 2))
    parts = {"likelihood": likelihoods.Gaussian("feature"), "objective": objectives.IWAE(5), "neighbors": None}
    filled: np.ndarray[Any, Any] = VAE(components, **parts, random_state=seed).fit(X).impute(X)
    return filled


def imputer(make: Callable[[int], Any]) -> Fill:
    """Return an imputer of scikit-learn on standardised columns."""

    def fill(X: np.ndarray[Any, Any], seed: int) -> np.ndarray[Any, Any]:
        units = StandardScaler()
        filled = make_pipeline(units, make(seed)).fit_transform(X)
        given: np.ndarray[Any, Any] = units.inverse_transform(filled)
        return given

    return fill


METHODS: dict[str, Fill] = {
    "mean": imputer(lambda seed: SimpleImputer(keep_empty_features=True)),
    "k-NN": imputer(lambda seed: KNNImputer(keep_empty_features=True)),
    "iterative": imputer(lambda seed: IterativeImputer(max_iter=20, random_state=seed, keep_empty_features=True)),
    "latentmap": ours,
}


def main(seeds: int = 3) -> None:
    """Remove cells, fill them with every method, and write errors and seconds."""
    warnings.simplefilter("ignore", exceptions.DiagnosisWarning)
    warnings.filterwarnings("ignore", message=".*Early stopping criterion not reached")
    raw = []
    for table, load in TABLES.items():
        X = load().data.astype(float)
        X = X[:, X.std(0) > 0]
        for rate in RATES:
            for seed in range(seeds):
                removed = np.random.default_rng(seed).random(X.shape) < rate
                incomplete = np.where(removed, np.nan, X)
                for name, fill in METHODS.items():
                    if table == "digits" and name == "iterative" and seed:
                        continue  # minutes a run
                    start = time.perf_counter()
                    error = (fill(incomplete, seed) - X)[removed] / np.broadcast_to(X.std(0), X.shape)[removed]
                    seconds = time.perf_counter() - start
                    run = {"table": table, "rate": rate, "seed": seed, "method": name}
                    raw.append(run | {"nrmse": float(np.sqrt(np.square(error).mean())), "seconds": seconds})
                    print(json.dumps(raw[-1]), flush=True)
    write("imputation", {"raw": raw})


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
