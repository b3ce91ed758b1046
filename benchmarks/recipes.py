"""Every recipe on binarised MNIST: one network (784-400-20), one number of epochs; and pythae's of the same name.

LATENTMAP_DATA=folder python -m benchmarks.recipes [EPOCHS SEEDS [NAME ...]]

Each result is written as it ends, and a run continues where the last one stopped: an hour a seed on one core.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from benchmarks import mnist
from benchmarks.common import HERE, contest, kept, ours, peers_python, write
from latentmap.evaluation.generation import classifier_features, frechet_distance
from latentmap.evaluation.latent import active_components
from latentmap.recipes import every

PEERS = ("ae", "vae", "beta_tc", "iwae", "wae", "vamp", "vq", "rae_l2")
ACTIVE = 0.01
"""Variance over rows above which the mean of a component counts as active (Burda et al. 2016)."""

Measure = Callable[[Any], dict[str, float]]


def main(epochs: int = 6, seeds: int = 1, *names: str) -> None:
    """Run the contestants missing from benchmarks/results/recipes.json, and write it after each contestant."""
    raw, python, measure = kept("recipes"), peers_python(), measures()
    done = {(r["name"], r["who"], r["seed"], r["epochs"]) for r in raw}
    for seed in range(seeds):
        for name in names or every():
            for who in ("latentmap", "pythae") if name in PEERS else ("latentmap",):
                if (name, who, seed, epochs) in done:
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    arguments = (name, str(seed), str(epochs), folder)
                    try:
                        if who == "latentmap":
                            result = ours("recipes_ours", *arguments)
                        else:
                            result = contest(python, "recipes_pythae", *arguments)
                        result |= measure(np.load(Path(folder) / "arrays.npz"))
                    except subprocess.CalledProcessError as error:
                        print(name, who, "failed:", error.stderr[-2000:], flush=True)
                        continue
                raw.append({"name": name, "who": who, "seed": seed, "epochs": epochs} | result)
                write("recipes", {"raw": raw})
                print(json.dumps(raw[-1]), flush=True)


def measures() -> Measure:
    """Return a function of the arrays of a contestant that measures them."""
    grey, digits = mnist.images("train")[::6] / 255.0, mnist.labels("train")
    real, own = mnist.images("t10k") / 255.0, mnist.labels("t10k")
    rows = mnist.binary("t10k")
    space = classifier_features(grey, digits[::6])
    target = space.features(real)

    def measure(arrays: Any) -> dict[str, float]:
        train, test = arrays["codes_train"], arrays["codes_test"]
        nearest = KNeighborsClassifier(10).fit(train, digits)
        measured = {
            "mse": float(np.square(arrays["reconstructions"] - rows).mean()),
            "knn_accuracy": float(nearest.score(test, own)),
            "active": int(active_components(test, ACTIVE).sum()),
        }
        for name in ("samples", "later_samples"):
            if name in arrays:
                measured[f"frechet_{name}"] = float(frechet_distance(space.features(arrays[name]), target))
        return measured

    return measure


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    main(*map(int, sys.argv[1:3]), *sys.argv[3:])
