"""Fit the embedded digits, compare methods, write the report: what `make demo` runs.

    python examples/demo.py --out demo

The three findings that it prints are measured in this run, over several fits of each model.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from latentmap import load_dataset
from latentmap.evaluation.compare import Comparison, Scores, compare
from latentmap.evaluation.intervals import rounded
from latentmap.explorer.export_page import is_built
from latentmap.report import write_report

FITS = 3


def main(out: Path) -> None:
    """Compare on the digits, save the map's run and the autoencoder's, write the report, print the findings."""
    start = time.perf_counter()
    X, y = load_dataset("digits")
    comparison = compare(X, y, seeds=FITS, on_progress=lambda text: print(f"  {text}", flush=True))
    vae, autoencoder = comparison.estimators["neighbor_vae"], comparison.estimators["autoencoder"]
    vae.save(out)
    autoencoder.save(out / "autoencoder")
    report = write_report(vae, X, y, out, comparison, name="digits", interactive=is_built())
    print(f"\nThe three findings that matter, with means ± standard deviations over {FITS} fits of each model.")
    print(
        "A measure holds or fails where VAE and autoencoder differ by more than their fits do, and is even otherwise."
    )
    for i, (finding, figure) in enumerate(findings(comparison), 1):
        print(f"  {i}. {finding}\n     See {out / 'figures' / figure}.png")
    print(f"\n{len(X)} digits, {time.perf_counter() - start:.0f} s. Open the report: {report.resolve()}")


def findings(comparison: Comparison) -> list[tuple[str, str]]:
    """Return the main results of a comparison in words, each with the name of the figure that shows it."""
    compact, smooth = (comparison.conclusions(part)[0] for part in ("compact", "smooth"))
    realistic = comparison.conclusions("realistic")[-1]
    return [(_map(comparison), "comparison"), (f"{compact} {smooth}", "latent_gaps"), (realistic, "random_points")]


def _map(comparison: Comparison) -> str:
    of = {scores.method: i for i, scores in enumerate(comparison.scores)}
    ours, pca = (
        _accuracy(comparison.scores[of[name]], comparison.spread[of[name]]) for name in ("neighbour VAE", "PCA")
    )
    return (
        f"The map places {ours} of held-out digits among their own class, PCA {pca}, and unlike t-SNE's it places new "
        "rows and can be decoded."
    )


def _accuracy(scores: Scores, spread: Scores) -> str:
    by_count, deviation = scores.neighbor_accuracy or {}, spread.neighbor_accuracy or {}
    most = max(by_count)
    return f"{rounded(100 * by_count[most], 100 * deviation[most], 1)}%"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    main(parser.parse_args().out)
