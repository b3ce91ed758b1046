"""Evidence for the defaults of training: learning rate, batch and epochs around them, on data of every kind.

LATENTMAP_DATA=folder python -m benchmarks.sweep [--seeds 2] [--data iris,wine]

Each fit is written to benchmarks/results/sweep.json as it ends: an interrupted run continues where it stopped, and
more seeds or data add to the results. Remove the file to start again.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split

from benchmarks.common import kept, write
from latentmap import VAE
from latentmap.data.datasets import load_dataset
from latentmap.estimators import choices

COMPONENTS = 8
Rows = np.ndarray[Any, Any]


def main() -> None:
    """Run missing fits, and write test -ELBO (nats a feature) and seconds of every setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2, help="fits of each setting on each data set")
    parser.add_argument("--data", default=",".join(DATA), help="data sets, separated by commas")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of short fits, and of those that diverge
    raw = kept("sweep")
    done = {(run["data"], run["seed"], run["setting"]) for run in raw}
    for name in options.data.split(","):
        rows = DATA[name]()
        for seed in range(options.seeds):
            train, test = train_test_split(rows, test_size=0.25, random_state=seed)
            for setting, given in settings(len(train)).items():
                if (name, seed, setting) in done:
                    continue
                start = time.perf_counter()
                vae = VAE(COMPONENTS, random_state=seed, **given).fit(train)
                seconds = time.perf_counter() - start
                cost = -vae.score(test) / np.prod(rows.shape[1:])
                raw.append({"data": name, "seed": seed, "setting": setting, "elbo": cost, "seconds": seconds})
                print(json.dumps(raw[-1]), flush=True)
                write("sweep", {"components": COMPONENTS, "raw": sorted(raw, key=order)})


def settings(rows: int) -> dict[str, dict[str, Any]]:
    """Return the defaults for a number of rows, and settings with one of them changed."""
    batch = choices.choose_batch_size(rows)
    epochs, rate = choices.choose_epochs(rows, batch), choices.choose_learning_rate(batch)
    result: dict[str, dict[str, Any]] = {"defaults": {}}
    result |= {f"rate x {factor:g}": {"learning_rate": factor * rate} for factor in (0.25, 0.5, 2.0)}
    result |= {f"batch x {factor:g}": {"batch_size": round(factor * batch)} for factor in (0.5, 2.0)}
    return result | {f"epochs x {factor:g}": {"max_epochs": round(factor * epochs)} for factor in (0.5, 2.0)}


def order(run: dict[str, Any]) -> tuple[int, int]:
    """Return the place of a run: data sets in the order below, then seeds; settings stay in the order of the runs."""
    return list(DATA).index(run["data"]), run["seed"]


def table(name: str) -> Callable[[], Rows]:
    """Return a loader of a table of scikit-learn, each column by its mean and standard deviation."""

    def load() -> Rows:
        rows = getattr(datasets, f"load_{name}")().data
        standard: Rows = (rows - rows.mean(0)) / rows.std(0)
        return standard

    return load


def digits() -> Rows:
    """Return grey images of 8 x 8."""
    images: Rows = datasets.load_digits().images
    return images


def coloured() -> Rows:
    """Return colour images of 32 x 32 x 3."""
    wide = np.kron(digits()[:600], np.ones((4, 4)))[..., None] / 16 * np.linspace(1.0, 0.4, 3)
    return (255 * wide).astype(np.uint8)


def mnist() -> Rows:
    """Return 12,000 grey images of 28 x 28, as rows."""
    return load_dataset("mnist")[0][:12_000].reshape(12_000, -1)


TABLES = ("iris", "wine", "diabetes", "breast_cancer")
DATA = {name: table(name) for name in TABLES} | {
    "digits": digits,
    "digits 32x32x3": coloured,
    "mnist": mnist,
}

if __name__ == "__main__":
    main()
