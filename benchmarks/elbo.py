"""Time to a test -ELBO on MNIST, ours beside pythae's, the same network (784-400-20, Bernoulli), alternating.

LATENTMAP_DATA=folder python -m benchmarks.elbo [RUNS]
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.common import contest, ours, peers_python, spread, write

TARGET = 103.6
OUR_EPOCHS = (5, 6, 7, 8)
PEER_EPOCHS = 22


def main(runs: int = 3) -> None:
    """Run, print the medians, write benchmarks/results/elbo.json."""
    python, raw = peers_python(), []
    for seed in range(runs):
        fits = [ours("elbo_ours", str(epochs), str(seed)) for epochs in OUR_EPOCHS]
        peer = contest(python, "elbo_pythae", str(PEER_EPOCHS), str(seed), "1e-3", "128")
        raw.append({"ours": fits, "pythae": peer})
        print(f"run {seed}: {summary(raw[-1:])}", flush=True)
    result = {"target": TARGET, "summary": summary(raw), "raw": raw}
    print(result["summary"], write("elbo", result))


def summary(raw: list[dict[str, Any]]) -> dict[str, Any]:
    """Seconds to the target: our shortest schedule that ends below it, pythae's first epoch that does."""
    mine = [min(f["seconds"] for f in run["ours"] if f["elbo"] <= TARGET) for run in raw]
    peer = [min(row["seconds"] for row in run["pythae"]["curve"] if row["elbo"] <= TARGET) for run in raw]
    by_epochs = {
        str(epochs): {
            "seconds": spread([f["seconds"] for run in raw for f in run["ours"] if f["epochs"] == epochs]),
            "elbo": spread([f["elbo"] for run in raw for f in run["ours"] if f["epochs"] == epochs]),
        }
        for epochs in OUR_EPOCHS
    }
    ratios = [p / m for p, m in zip(peer, mine)]
    return {"ours": spread(mine), "pythae": spread(peer), "ratio": spread(ratios), "ours_by_epochs": by_epochs}


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
