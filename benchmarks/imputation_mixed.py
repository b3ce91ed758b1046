"""Filling missing cells of mixed columns: public tables with cells removed at random, beside four other imputers.

python -m benchmarks.imputation_mixed [SEEDS], which resumes where it stopped.

The error of a column of numbers is the root mean squared error of the removed cells, that of other columns the fraction
filled wrongly; both are divided by the error of the mean or the commonest value, and averaged over the columns of a
table. Methods other than miceforest and latentmap take standardised columns, and categories as one column each. That of
miceforest is the mean, or the commonest value, of five data sets. Coverage is the fraction of removed numbers, in
columns of more than 20 values, that lie within the 5% and 95% quantiles of 60 draws.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer

from benchmarks.common import contest, kept, peers_python, write
from benchmarks.imputation_tables import TABLES, load, remove
from latentmap import VAE, exceptions, purpose

RATE, DRAWS, MANY = 0.2, 60, 20
Fill = Callable[[pd.DataFrame, int], tuple[pd.DataFrame, list[pd.DataFrame]]]
"""A function of an incomplete table and a seed that returns the filled table, and draws of it."""


def ours(holes: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    """Impute with the parameters for this purpose."""
    vae = VAE(**purpose("impute"), random_state=seed).fit(holes)
    draws = vae.impute(holes, DRAWS)
    if isinstance(draws, np.ndarray):
        draws = [pd.DataFrame(draw, columns=holes.columns) for draw in draws]
    return vae.impute(holes), draws


def common(holes: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    """Fill with the mean or the commonest value of each column."""
    values = {c: holes[c].mean() if holes[c].dtype == float else holes[c].mode()[0] for c in holes}
    return holes.fillna(values), []


def imputer(make: Callable[[int], Any]) -> Fill:
    """Return an imputer of scikit-learn on standardised columns, and on one column for each category."""

    def fill(holes: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
        numbers = holes.select_dtypes(float).columns
        mean, deviation = holes[numbers].mean(), holes[numbers].std()
        scaled = (holes[numbers] - mean) / deviation
        parts = {c: pd.get_dummies(holes[c], dtype=float).where(holes[c].notna()) for c in holes if c not in numbers}
        wide = pd.concat([scaled, *parts.values()], axis=1)
        filled = pd.DataFrame(make(seed).fit_transform(wide.to_numpy()), index=holes.index)
        result, start = holes.copy(), len(numbers)
        result[numbers] = filled.iloc[:, :start].to_numpy() * deviation.to_numpy() + mean.to_numpy()
        for name, part in parts.items():
            width = part.shape[1]
            likeliest = filled.iloc[:, start : start + width].to_numpy().argmax(1)
            result[name] = holes[name].where(holes[name].notna(), pd.Series(part.columns[likeliest], holes.index))
            start += width
        return result, []

    return fill


def miceforest(holes: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    """Fill by chained gradient boosting, in an environment of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "holes.csv", Path(folder) / "filled.csv"
        holes.to_csv(path, index=False)
        contest(peers_python("imputation"), "imputation_miceforest", str(path), str(out), str(seed))
        return pd.read_csv(out).astype(holes.dtypes.to_dict()), []


METHODS: dict[str, Fill] = {
    "mean or mode": common,
    "k-NN": imputer(lambda seed: KNNImputer(keep_empty_features=True)),
    "iterative": imputer(lambda seed: IterativeImputer(max_iter=10, random_state=seed, keep_empty_features=True)),
    "miceforest": miceforest,
    "latentmap": ours,
}


def relative_error(frame: pd.DataFrame, holes: pd.DataFrame, filled: pd.DataFrame) -> float:
    """Return the mean over columns of the error beside that of the mean or the commonest value."""
    baseline, _ = common(holes, 0)
    return float(np.mean([_error(frame, holes, filled, c) / _error(frame, holes, baseline, c) for c in frame]))


def coverage(frame: pd.DataFrame, holes: pd.DataFrame, draws: list[pd.DataFrame]) -> list[float]:
    """Return the fraction of removed numbers that lie within the 90% interval of draws, by column."""
    fractions = []
    for name in frame.select_dtypes(float):
        removed = (holes[name].isna() & frame[name].notna()).to_numpy()
        if frame[name].nunique() > MANY:
            low, high = np.quantile([draw[name].to_numpy(float)[removed] for draw in draws], (0.05, 0.95), axis=0)
            fractions.append(float(frame[name][removed].between(low, high).mean()))
    return fractions


def _error(frame: pd.DataFrame, holes: pd.DataFrame, filled: pd.DataFrame, name: str) -> float:
    removed = holes[name].isna() & frame[name].notna()
    truth, guess = frame[name][removed], filled[name][removed]
    if frame[name].dtype == float:
        return float(np.sqrt(((guess.astype(float) - truth) ** 2).mean()))
    return max(float((guess != truth).mean()), 1 / (len(truth) + 1))


def main(seeds: int = 1) -> None:
    """Remove cells, fill them with every method, and write errors, coverage and seconds."""
    warnings.simplefilter("ignore", exceptions.DiagnosisWarning)
    warnings.simplefilter("ignore", exceptions.FewDrawsWarning)
    warnings.filterwarnings("ignore", message=".*Early stopping criterion not reached")
    raw = kept("imputation_mixed")
    done = {(run["table"], run["seed"], run["method"]) for run in raw}
    for table in TABLES:
        frame = load(table)
        for seed in range(seeds):
            holes = remove(frame, RATE, seed)
            for name, fill in METHODS.items():
                if (table, seed, name) in done:
                    continue
                start = time.perf_counter()
                try:
                    filled, draws = fill(holes, seed)
                except subprocess.CalledProcessError as error:
                    print(error.stderr, file=sys.stderr)
                    raw.append({"table": table, "seed": seed, "method": name, "failed": error.stderr.splitlines()[-1]})
                    continue
                seconds = time.perf_counter() - start
                run = {"table": table, "seed": seed, "method": name, "seconds": seconds}
                run |= {"error": relative_error(frame, holes, filled)}
                run |= {"coverage": coverage(frame, holes, draws)} if draws else {}
                raw.append(run)
                print(json.dumps(run), flush=True)
        write("imputation_mixed", {"rate": RATE, "raw": raw})


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
