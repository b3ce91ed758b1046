"""Maps of growing data: how far old rows move, and how good the map is, with and without an anchor.

LATENTMAP_DATA=folder python -m benchmarks.growing [--seeds 5] [--data digits,wine]

A fifth of the rows is held out. A map is fitted to half of the others, and then to all of them: anew, or anchored to
the first. Or whole classes are withheld at first, and half of the others. The last case adds the other half in five
pieces by partial_fit. Each run is written to benchmarks/results/growing.json as it ends, and one that was interrupted
continues there. The table of docs/maps.md is rewritten at the end; --table rewrites it alone.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np
import torch
from sklearn import datasets

from benchmarks.common import HERE, kept, spread, write
from benchmarks.tables import between, grid
from latentmap import VAE, load_dataset
from latentmap.data.sampling import split_rows
from latentmap.evaluation.drift import drift
from latentmap.evaluation.methods import Units
from latentmap.evaluation.neighborhood import neighbor_accuracy, neighbor_ranks, row_trust

DATA = ("digits", "breast_cancer", "wine")
CASES = {"half": "half at first", "classes": "classes withheld", "stream": "half, then pieces"}
WITHHELD = {"digits": (3, 8), "breast_cancer": (1,), "wine": (2,)}
PAGE = HERE.parent / "docs" / "maps.md"
PIECES, RATE = 5, 5e-4
Run = dict[str, Any]


def main() -> None:
    """Run what is missing; write results and table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="fits of each kind on each data set")
    parser.add_argument("--data", default=",".join(DATA), help="data sets, separated by commas")
    parser.add_argument("--table", action="store_true", help="only rewrite the table")
    options = parser.parse_args()
    runs = kept("growing")
    if not options.table:
        torch.set_num_threads(1)
        runs = [run for run in runs if "machine" not in run]
        keys = [[name, seed] for seed in range(options.seeds) for name in options.data.split(",")]
        for key in keys:
            if not any(run["key"][::2] == key for run in runs):
                runs += grow(*key)
                write("growing", {"raw": runs})
    PAGE.write_text(between(PAGE.read_text(), "growing", table(runs)))


def grow(name: str, seed: int) -> list[Run]:
    """Return the runs of all cases of one data set and seed."""
    X, y = load_dataset(name) if name == "digits" else getattr(datasets, f"load_{name}")(return_X_y=True)
    X = X.reshape(len(X), -1)
    train, new = split_rows(len(X), 0.2, seed)
    half = split_rows(len(train), 0.5, seed)[0]
    early, known = train[half], ~np.isin(y, WITHHELD[name])
    units, runs = Units(X[train]), []

    def measured(case: str, earlier: VAE, first: np.ndarray, fits: dict[str, VAE]) -> None:
        before = earlier.transform(X[first])
        run: Run = {"key": [name, case, seed], "early": quality(earlier, first)}
        for kind, fit in fits.items():
            moved = np.linalg.norm(fit.transform(X[first]) - before, axis=1)
            run[kind] = quality(fit, train) | {"shift": float(np.median(moved) / np.sqrt(before.var(0).sum()))}
        run["drift"] = drift(earlier, fits["anchored"], X[train]).to_json()
        print(run, flush=True)
        runs.append(run)

    def quality(fit: VAE, rows: np.ndarray) -> dict[str, float]:
        Z, Z_new = fit.transform(X[rows]), fit.transform(X[new])
        ranks = neighbor_ranks(units(X[new]), Z_new, min(15, (len(new) - 1) // 2))
        return {
            "accuracy": neighbor_accuracy(Z, y[rows], Z_new, y[new], 10),
            "trust": float(row_trust(ranks, len(new)).mean()),
        }

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fresh = VAE(2, random_state=100 + seed).fit(X[train])
        for case, first in (("half", early), ("classes", early[known[early]])):
            earlier = VAE(2, random_state=seed).fit(X[first])
            anchored = VAE(2, anchor=earlier, random_state=200 + seed).fit(X[train])
            measured(case, earlier, first, {"fresh": fresh, "anchored": anchored})
            if case == "half":
                fits = {"fresh": None, "anchored": earlier}
                streamed = {name: VAE(2, anchor=a, learning_rate=RATE, random_state=seed) for name, a in fits.items()}
                streamed["fresh"].state_ = earlier.state_
                streamed["fresh"].n_features_in_ = X.shape[1]
                rest = np.random.default_rng(seed).permutation(np.setdiff1d(train, first))
                for fit in streamed.values():
                    for piece in np.array_split(rest, PIECES):
                        fit.partial_fit(X[piece])
                measured("stream", earlier, first, streamed)
    return runs


def table(runs: list[Run]) -> str:
    """Return medians of all runs, with the range of the shift."""
    rows = []
    for name in DATA:
        for case, title in CASES.items():
            some = [run for run in runs if run["key"][:2] == [name, case]]
            if not some:
                continue
            for kind, of in (("fresh", "without"), ("anchored", "with anchor")):
                shift = spread([run[kind]["shift"] for run in some])
                rows.append(
                    [
                        f"{name.replace('_', ' ')}, {title}",
                        of,
                        str(len(some)),
                        f"{shift['median']:.3f} ({shift['low']:.3f} to {shift['high']:.3f})",
                        *(f"{np.mean([run[kind][what] for run in some]):.3f}" for what in ("accuracy", "trust")),
                        f"{np.mean([run['drift']['unlike'] for run in some]):.2f}" if kind == "anchored" else "",
                        str([len(run["drift"]["islands"]) for run in some])[1:-1] if kind == "anchored" else "",
                    ]
                )
    return grid(("data", "anchor", "seeds", "shift", "10-NN", "trust 15", "unlike", "new islands"), rows)


if __name__ == "__main__":
    main()
