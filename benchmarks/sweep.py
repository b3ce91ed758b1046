"""What the defaults of training rest on: learning rate, batch and epochs around them, on data of every kind.

LATENTMAP_DATA=folder python -m benchmarks.sweep [SEEDS]
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split

from benchmarks.common import write
from latentmap import VAE
from latentmap.data.datasets import load_dataset
from latentmap.estimators import choices

COMPONENTS = 8


def data() -> dict[str, np.ndarray[Any, Any]]:
    """Small and large tables, grey images as rows, colour images of 32 x 32 x 3."""
    tables = {name: getattr(datasets, f"load_{name}")().data for name in ("iris", "wine", "diabetes", "breast_cancer")}
    tables = {name: (rows - rows.mean(0)) / rows.std(0) for name, rows in tables.items()}
    digits = datasets.load_digits().images
    wide = np.kron(digits[:600], np.ones((4, 4)))[..., None] / 16 * np.linspace(1.0, 0.4, 3)
    mnist = load_dataset("mnist")[0][:12_000].reshape(12_000, -1)
    return tables | {"digits": digits, "digits 32x32x3": (255 * wide).astype(np.uint8), "mnist, 12,000": mnist}


def settings(rows: int) -> dict[str, dict[str, Any]]:
    """The defaults for so many rows, and one thing changed at a time."""
    batch = choices.choose_batch_size(rows)
    epochs, rate = choices.choose_epochs(rows, batch), choices.choose_learning_rate(batch)
    found: dict[str, dict[str, Any]] = {"defaults": {}}
    found |= {f"rate x {factor:g}": {"learning_rate": factor * rate} for factor in (0.25, 0.5, 2.0)}
    found |= {f"batch x {factor:g}": {"batch_size": round(factor * batch)} for factor in (0.5, 2.0)}
    return found | {f"epochs x {factor:g}": {"max_epochs": round(factor * epochs)} for factor in (0.5, 2.0)}


def main(seeds: int = 2) -> None:
    """Fit, and write test -ELBO (nats a feature) and seconds of every setting."""
    warnings.simplefilter("ignore")  # of short fits, and of those that diverge
    raw = []
    for name, rows in data().items():
        for seed in range(seeds):
            train, test = train_test_split(rows, test_size=0.25, random_state=seed)
            for setting, given in settings(len(train)).items():
                start = time.perf_counter()
                vae = VAE(COMPONENTS, random_state=seed, **given).fit(train)
                seconds = time.perf_counter() - start
                cost = -vae.score(test) / np.prod(rows.shape[1:])
                raw.append({"data": name, "seed": seed, "setting": setting, "elbo": cost, "seconds": seconds})
                print(json.dumps(raw[-1]), flush=True)
                write("sweep", {"components": COMPONENTS, "raw": raw})


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
