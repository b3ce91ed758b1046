"""One map: fitted, new rows placed, all measured, as JSON: python benchmarks/maps_fit.py DATA ROWS METHOD SEED.

DATA is digits, breast_cancer, wine, mnist or fashion-mnist; ROWS the training rows to use, 0 for all. Beyond the rows
of the data, copies are added that are shifted by a pixel.
"""

import json
import resource
import sys
import time
import warnings

import numpy as np
from sklearn import datasets

from latentmap.data.datasets import load_dataset
from latentmap.data.sampling import split_rows
from latentmap.evaluation import neighborhood
from latentmap.evaluation.methods import Estimator, Units, find_method
from latentmap.evaluation.rows import or_none, sample_rows

warnings.simplefilter("ignore")
VOTES, NEIGHBORHOODS, MAX_ROWS = (1, 5, 10), (5, 15, 50), 10_000


def load(name, rows, seed):
    """Return training and new rows with their labels: MNIST's own, or a fifth that is held out by the seed."""
    if name in ("mnist", "fashion-mnist"):
        (X, y), new = load_dataset(name, "train"), load_dataset(name, "test")
    else:
        X, y = load_dataset(name) if name == "digits" else getattr(datasets, f"load_{name}")(return_X_y=True)
        kept, held = split_rows(len(X), 0.2, seed)
        (X, y), new = (X[kept], y[kept]), (X[held], y[held])
    if rows > len(X):
        moves = [(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)][: -(-rows // len(X))]
        X, y = np.concatenate([np.roll(X, move, axis=(1, 2)) for move in moves]), np.tile(y, len(moves))
    some = sample_rows(len(X), rows or len(X), seed)
    return X[some], y[some], *new


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def shape_of(X, Z):
    """Return trustworthiness and continuity by neighbourhood, neighbour recall, and the correlation of distances."""
    measures, most, n = {}, max(NEIGHBORHOODS), len(X)
    for measure, ranks in (
        ("trustworthiness", neighborhood.neighbor_ranks(X, Z, min(most, (n - 1) // 2))),
        ("continuity", neighborhood.neighbor_ranks(Z, X, min(most, (n - 1) // 2))),
    ):
        by_size = {k: neighborhood.row_trust(ranks[:, :k], n).mean() for k in NEIGHBORHOODS if k <= ranks.shape[1]}
        measures[measure] = {str(k): float(value) for k, value in by_size.items()}
    measures["neighbor_recall"] = neighborhood.neighbor_recall(X, Z, max_rows=MAX_ROWS)
    measures["distance_correlation"] = or_none(lambda: neighborhood.distance_rank_correlation(X, Z, max_rows=3000))
    return measures


def main(name, rows, method_name, seed):
    """Fit, place, measure; memory is that of loading and fitting, before anything is measured."""
    X, y, X_new, y_new = load(name, rows, seed)
    units = Units(X)
    if method_name in ("umap", "pacmap"):  # a seed would bind UMAP to a single core; compilation is not timed
        seed, warm = None, find_method(method_name)(2, None, units)
        warm.fit_map(X[:5000])
        warm.embed(X_new[:500])
    method = find_method(method_name)(2, seed, units)
    before, start = peak_mb(), time.perf_counter()
    Z = method.fit_map(X)
    result = {"rows": len(X), "fit_seconds": time.perf_counter() - start, "peak_mb": peak_mb(), "loaded_mb": before}
    start = time.perf_counter()
    Z_new = method.embed(X_new)
    result |= {"embed_seconds": time.perf_counter() - start, "new_rows": len(X_new)}
    some = sample_rows(len(X_new), MAX_ROWS)
    result["accuracy"] = {str(k): neighborhood.neighbor_accuracy(Z, y, Z_new, y_new, k) for k in VOTES}
    result["new"] = shape_of(units(X_new[some]), Z_new[some])
    some = sample_rows(len(X), MAX_ROWS)
    result["training"] = shape_of(units(X[some]), Z[some])
    decoded = method.decode(Z_new)
    result["mse"] = None if decoded is None else float(np.square(units(decoded) - units(X_new)).mean())
    if isinstance(method, Estimator):
        reconstructed = method.estimator.reconstruct(X_new)
        result["reconstruction"] = float(np.square(units(reconstructed) - units(X_new)).mean())
    scored = isinstance(method, Estimator) and method_name != "autoencoder"
    result["minus_elbo"] = -method.estimator.score(X_new) if scored else None
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
