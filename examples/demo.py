"""Fit the embedded digits, compare methods, write the report: what `make demo` runs.

    python examples/demo.py --out demo

The three findings that it prints are measured in this run.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from latentmap import load_dataset
from latentmap.evaluation.compare import Comparison, Scores, compare
from latentmap.report import write_report


def main(out: Path) -> None:
    """Compare on the digits, save the map's run and the autoencoder's, write the report, print the findings."""
    start = time.perf_counter()
    X, y = load_dataset("digits")
    comparison = compare(X, y, random_state=0, on_progress=lambda text: print(f"  {text}", flush=True))
    vae, autoencoder = comparison.estimators["neighbor_vae"], comparison.estimators["autoencoder"]
    vae.save(out)
    autoencoder.save(out / "autoencoder")
    report = write_report(vae, X, y, out, comparison, name="digits")
    print("\nThe three findings that matter:")
    for i, finding in enumerate(findings(comparison), 1):
        print(f"  {i}. {finding}")
    print(f"\n{len(X)} digits, {time.perf_counter() - start:.0f} s. Open the report: {report.resolve()}")


def findings(comparison: Comparison) -> list[str]:
    """Return the main results of a comparison in words."""
    by_title = {scores.method: scores for scores in comparison.scores}
    pca, best = by_title["PCA"], by_title["neighbour VAE"]
    claims = {claim.measure.name: claim for claim in comparison.claims}
    gaps, sampled = claims["gaps_sampler"], claims["frechet_sampler"]
    return [
        f"the map places {_accuracy(best):.0%} of held-out digits among their own class, PCA {_accuracy(pca):.0%}, and "
        "unlike t-SNE's it places new rows and can be decoded",
        f"a more compact latent space than the autoencoder's ({gaps.verdict}): spread {claims['spread'].vae:.2f} "
        f"against {claims['spread'].autoencoder:.2f}, gaps {gaps.vae:.0%} against {gaps.autoencoder:.0%}",
        f"samples of the VAE closer to real digits than the autoencoder's ({sampled.verdict}): Frechet distance "
        f"{sampled.vae:.1f} against {sampled.autoencoder:.1f}, {sampled.real:.1f} among real digits",
    ]


def _accuracy(scores: Scores) -> float:
    by_count = scores.neighbor_accuracy or {}
    return by_count[max(by_count)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    main(parser.parse_args().out)
