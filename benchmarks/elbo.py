"""Time to a test -ELBO on MNIST, ours beside pythae's, the same network (784-400-20, Bernoulli), alternating.

LATENTMAP_DATA=folder python -m benchmarks.elbo [RUNS]
"""

from __future__ import annotations

import sys
from statistics import median
from typing import Any

from benchmarks.common import contest, ours, peers_python, spread, write

TARGET = 102.5
OUR_EPOCHS = (7, 8, 9)
PEERS = tuple((rate, batch) for rate in ("1e-3", "3e-3") for batch in ("128", "512"))
"""Learning rates and batches of pythae, its defaults first."""
PEER_EPOCHS = 45


def main(runs: int = 3) -> None:
    """Run, print the medians, write benchmarks/results/elbo.json after each run."""
    python, raw = peers_python(), []
    for seed in range(runs):
        fits = []
        for compiled in ("eager", "compiled"):
            fits += [ours("elbo_ours", str(epochs), str(seed), compiled) for epochs in OUR_EPOCHS]
        peers = [contest(python, "elbo_pythae", str(PEER_EPOCHS), str(seed), *peer, str(TARGET)) for peer in PEERS]
        raw.append({"ours": fits, "pythae": peers})
        result = {"target": TARGET, "summary": summary(raw), "raw": raw}
        print(f"run {seed}: {result['summary']}", write("elbo", result), flush=True)


def summary(raw: list[dict[str, Any]]) -> dict[str, Any]:
    """Seconds to the target: our shortest schedule that ends below it, pythae's first epoch that does."""
    mine = {
        how: [_least(f["seconds"] for f in run["ours"] if f["compile"] == how and f["elbo"] <= TARGET) for run in raw]
        for how in ("eager", "compiled")
    }
    peers = {
        f"{rate}, {batch}": [
            _least(row["seconds"] for row in run["pythae"][i]["curve"] if row["elbo"] <= TARGET) for run in raw
        ]
        for i, (rate, batch) in enumerate(PEERS)
    }
    reached = {name: found for name, found in peers.items() if None not in found}
    best = min(reached, key=lambda name: median(reached[name])) if reached else None
    by_epochs = {
        f"{epochs}, {how}": {
            key: spread([f[key] for run in raw for f in run["ours"] if (f["epochs"], f["compile"]) == (epochs, how)])
            for key in ("seconds", "elbo")
        }
        for how in ("eager", "compiled")
        for epochs in OUR_EPOCHS
    }
    default = f"{PEERS[0][0]}, {PEERS[0][1]}"
    against = {"default": default} if best in (default, None) else {"default": default, "best setting": best}
    return {
        "ours": {how: spread(found) for how, found in mine.items() if None not in found},
        "pythae": {name: spread(found) for name, found in reached.items()},
        "best": best,
        "short of it": {name: f"{PEER_EPOCHS} epochs" for name in peers if name not in reached},
        "ratios": {
            f"{how} to its {which}": spread([p / m for p, m in zip(reached[name], found, strict=True)])
            for how, found in mine.items()
            for which, name in against.items()
            if name in reached and None not in found
        },
        "ours_by_epochs": by_epochs,
    }


def _least(seconds: Any) -> float | None:
    return min(seconds, default=None)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
