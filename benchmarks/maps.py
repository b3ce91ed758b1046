"""Maps compared with those of the peers: two tables and images, medians over seeds, and growth with the rows.

LATENTMAP_DATA=folder python -m benchmarks.maps [--seeds 3] [--data digits,wine] [--growth 5000,20000]

Each fit is a process of its own, and is written to benchmarks/results/maps.json as it ends: a run that was interrupted
continues where it stopped, and one on another machine starts again. Methods alternate, so that other work
on the machine affects all. The tables of docs/maps.md are rewritten at the end; --table rewrites them alone.
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks.common import HERE, kept, ours, spread, write
from benchmarks.tables import between, grid

METHODS = {
    "pca": "PCA",
    "opentsne": "openTSNE",
    "umap": "UMAP",
    "pacmap": "PaCMAP",
    "autoencoder": "autoencoder",
    "vae": "VAE",
    "neighbor_vae": "neighbour VAE",
}
DATA = ("digits", "breast_cancer", "wine", "mnist", "fashion-mnist")
GROWTH = (5_000, 20_000)
GROWING = ("opentsne", "umap", "vae", "neighbor_vae")
PAGE = HERE.parent / "docs" / "maps.md"
Fit = dict[str, Any]
Columns = tuple[tuple[str, Callable[[Fit], float | None], str], ...]


def main() -> None:
    """Run missing fits; write results and tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="fits of each method on each data set")
    parser.add_argument("--data", default=",".join(DATA), help="data sets, separated by commas")
    parser.add_argument("--methods", default=",".join(METHODS), help="methods, separated by commas")
    parser.add_argument(
        "--growth", default=",".join(map(str, GROWTH)), help="rows of MNIST besides all; 240000 works too"
    )
    parser.add_argument("--table", action="store_true", help="only rewrite the tables")
    options = parser.parse_args()
    fits = kept("maps")
    if not options.table:
        fits = [fit for fit in fits if "machine" not in fit]
        methods = options.methods.split(",")
        growth = [int(rows) for rows in options.growth.split(",") if rows]
        for key in jobs(options.data.split(",") if options.data else [], methods, growth, options.seeds):
            if not any(fit["key"] == list(key) for fit in fits):
                fits.append(run(key))
                write("maps", {"threads": torch.get_num_threads(), "raw": fits})
    rewrite(fits)


def jobs(data: list[str], methods: list[str], growth: list[int], seeds: int) -> Iterator[tuple[str, int, str, int]]:
    """Yield data set, training rows (0 for all), method and seed of each fit, in order."""
    for name in data:
        yield from ((name, 0, method, seed) for seed in range(seeds) for method in methods)
    for rows in growth:
        yield from (("mnist", rows, method, seed) for seed in range(seeds) for method in methods if method in GROWING)


def run(key: tuple[str, int, str, int]) -> Fit:
    """Fit one map; a failure is noted in the results, and the next fit follows."""
    try:
        fit = {"key": list(key)} | ours("maps_fit", *map(str, key))
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or "").strip().splitlines()
        fit = {"key": list(key), "failed": lines[-1] if lines else f"exit code {error.returncode}"}
    shown = {name: fit[name] for name in ("failed", "fit_seconds", "accuracy", "mse", "peak_mb") if name in fit}
    print(*key, shown, flush=True)
    return fit


def rewrite(fits: list[Fit]) -> None:
    """Write the tables between their marks."""
    text = PAGE.read_text()
    for name in DATA:
        by_method = group(fits, name, 0)
        if by_method:
            tables = medians(by_method, QUALITY), medians(by_method, COSTS)
            text = between(text, name, "\n\n".join(tables))
    if sizes := sorted({fit["key"][1] for fit in fits if fit["key"][0] == "mnist"}):
        text = between(text, "growth", growing(fits, sizes))
    PAGE.write_text(text)


def group(fits: list[Fit], name: str, rows: int) -> dict[str, list[Fit]]:
    """Return the fits of one data set by method, in the order of METHODS."""
    mine = [fit for fit in fits if fit["key"][:2] == [name, rows] and "failed" not in fit]
    return {method: selected for method in METHODS if (selected := [fit for fit in mine if fit["key"][2] == method])}


QUALITY: Columns = (
    *((f"{k}-NN", lambda fit, k=k: fit["accuracy"][k], ".3f") for k in ("1", "5", "10")),
    *((f"trust {k}", lambda fit, k=k: fit["new"]["trustworthiness"].get(k), ".3f") for k in ("5", "15", "50")),
    *((f"continuity {k}", lambda fit, k=k: fit["new"]["continuity"].get(k), ".3f") for k in ("5", "15", "50")),
    ("recall", lambda fit: fit["new"]["neighbor_recall"], ".3f"),
    ("distances", lambda fit: fit["new"]["distance_correlation"], ".3f"),
)
COSTS: Columns = (
    ("MSE", lambda fit: fit["mse"], ".4f"),
    ("reconstruction", lambda fit: fit.get("reconstruction"), ".4f"),
    ("-ELBO", lambda fit: fit["minus_elbo"], ".1f"),
    ("fit, s", lambda fit: fit["fit_seconds"], ".1f"),
    ("embed, s", lambda fit: fit["embed_seconds"], ".3f"),
    ("peak, MB", lambda fit: fit["peak_mb"], ".0f"),
)


def medians(by_method: dict[str, list[Fit]], columns: Columns) -> str:
    """Return medians over seeds, each with its range."""
    rows = [
        [METHODS[method], *(median([of(fit) for fit in fits], form) for _, of, form in columns)]
        for method, fits in by_method.items()
    ]
    return grid(("", *(title for title, _, _ in columns)), rows)


def growing(fits: list[Fit], sizes: list[int]) -> str:
    """Return seconds and memory by training rows; 0 stands for all."""
    rows = []
    for method in GROWING:
        by_size = {size: group(fits, "mnist", size).get(method) for size in sizes}
        rows += [
            [
                f"{METHODS[method]}, {title}",
                *(median([f[key] for f in by_size[size] or []], form) for size in order(sizes)),
            ]
            for title, key, form in (("seconds to fit", "fit_seconds", ".1f"), ("peak MB", "peak_mb", ".0f"))
        ]
    return grid(("", *(f"{size or 60_000:,} rows" for size in order(sizes))), rows)


def order(sizes: list[int]) -> list[int]:
    """Return sizes in ascending order, with 0 in the place of all of MNIST's rows."""
    return sorted(sizes, key=lambda size: size or 60_000)


def median(values: list[float | None], form: str) -> str:
    """Return median and range, or the median alone if they are equal; empty without values."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    summary = spread(known)
    low, high = format(summary["low"], form), format(summary["high"], form)
    middle = format(summary["median"], form)
    return middle if low == high else f"{middle} ({low} to {high})"


if __name__ == "__main__":
    main()
