"""Densities on maps, with ``density_weight`` and without: local radii, and accuracy of the neighbours.

LATENTMAP_DATA=folder python -m benchmarks.density [--seeds 5]

Radii are Pearson's correlation of the logarithms of mean squared distances to the 15 nearest rows, in the data and on
the map; 10-NN is the fraction of held-out rows, a fifth, whose label is the majority label of their neighbours on the
map; trust is trustworthiness(15) of these rows. Medians of the seeds with their range. The table of docs/maps.md is
rewritten at the end.

* digits: scikit-learn's, 8 x 8.
* blobs: ten Gaussian clusters of 150 rows in 20 dimensions, whose standard deviations grow from 0.1 to 2.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from benchmarks.common import HERE, write
from benchmarks.tables import between, grid
from latentmap import VAE
from latentmap.data.datasets import load_dataset

WEIGHTS = (0.0, 0.1)
NEIGHBORS = 15
PAGE = HERE.parent / "docs" / "maps.md"


def main() -> None:
    """Measure each data set with each weight; write results and table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="fits of each setting")
    seeds = parser.parse_args().seeds
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    raw = [measure(*named, weight, seed) for seed in range(seeds) for named in data() for weight in WEIGHTS]
    write("density", {"seeds": seeds, "raw": raw})
    PAGE.write_text(between(PAGE.read_text(), "density", table(raw)))


def data() -> Iterator[tuple[str, NDArray[np.float64], NDArray[np.int64]]]:
    """Yield names, rows and labels."""
    X, y = load_dataset("digits")
    yield "digits", X.reshape(len(X), -1) / 16, y
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(10), 150)
    deviation = np.geomspace(0.1, 2, 10)[labels, None]
    centres = rng.normal(size=(10, 20)) * 3
    yield "blobs", centres[labels] + deviation * rng.normal(size=(1500, 20)), labels


def measure(
    name: str, X: NDArray[np.float64], y: NDArray[np.int64], weight: float, seed: int
) -> dict[str, str | int | float]:
    """Fit a map with a weight, and measure it."""
    train, test, train_y, test_y = train_test_split(X, y, test_size=0.2, random_state=seed, stratify=y)
    vae = VAE(2, density_weight=weight, random_state=seed, device="cpu").fit(train)
    codes, new = vae.transform(train), vae.transform(test)
    found: dict[str, str | int | float] = {
        "data": name,
        "weight": weight,
        "seed": seed,
        "radii": float(np.corrcoef(log_radii(train), log_radii(codes))[0, 1]),
        "knn": float(KNeighborsClassifier(10).fit(codes, train_y).score(new, test_y)),
        "trust": float(trustworthiness(test, new, n_neighbors=NEIGHBORS)),
        "seconds": vae.fit_seconds_,
    }
    print(found, flush=True)
    return found


def log_radii(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithm of each row's mean squared distance to its nearest rows."""
    distances = NearestNeighbors(n_neighbors=NEIGHBORS).fit(X).kneighbors()[0]
    return np.asarray(np.log(np.square(distances).mean(1) + 1e-12))


def table(raw: list[dict[str, str | int | float]]) -> str:
    """Return the measures, a row for each data set and weight."""
    rows = []
    for name in dict.fromkeys(run["data"] for run in raw):
        for weight in WEIGHTS:
            mine = [run for run in raw if (run["data"], run["weight"]) == (name, weight)]
            columns = [np.array([run[key] for run in mine], dtype=float) for key in ("radii", "knn", "trust")]
            cells = [f"{np.median(c):.3f} ({c.min():.3f} to {c.max():.3f})" for c in columns]
            rows.append([str(name), f"{weight:g}", *cells])
    return grid(("data", "density_weight", "radii", "10-NN", "trust 15"), rows)


if __name__ == "__main__":
    main()
