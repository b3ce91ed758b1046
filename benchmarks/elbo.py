"""Time to a test -ELBO on MNIST, ours and pythae's, the same network (784-400-20, Bernoulli), alternating.

LATENTMAP_DATA=folder python -m benchmarks.elbo [RUNS] [--resume]

Each run is written as it ends; --resume keeps those that are there from this machine. In a run, pythae's settings come
one after the other: each ends at the target, or once it has taken as long as the best of those before it.
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.common import contest, kept, ours, peers_python, spread, write

TARGET = 102.5
OUR_EPOCHS = (4, 5, 6)
PEERS = tuple((rate, batch) for rate in ("1e-3", "3e-3") for batch in ("128", "512"))
"""Learning rates and batches of pythae, its defaults first."""
PEER_SECONDS = 300


def main(runs: int = 5, *, resume: bool = False) -> None:
    """Run, print the medians, write elbo.json after each run."""
    python = peers_python()
    raw = [run for run in kept("elbo") if "machine" not in run] if resume else []
    for seed in range(len(raw), runs):
        fits, peers, limit = [], [], float(PEER_SECONDS)
        for compiled in ("eager", "compiled"):
            fits += [ours("elbo_ours", str(epochs), str(seed), compiled) for epochs in OUR_EPOCHS]
        for rate, batch in PEERS:
            peers.append(contest(python, "elbo_pythae", str(seed), rate, batch, str(TARGET), str(limit)))
            limit = min(limit, reached(peers[-1]) or limit)
        raw.append({"ours": fits, "pythae": peers})
        result = {"runs": len(raw), "target": TARGET, "summary": summary(raw), "raw": raw}
        print(f"run {seed}: {result['summary']}", write("elbo", result), flush=True)


def reached(fit: dict[str, Any]) -> float | None:
    """Return the seconds to the first epoch below the target."""
    return _least(row["seconds"] for row in fit["curve"] if row["elbo"] <= TARGET)


def summary(raw: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the seconds to the target: our shortest schedule that ends below it, pythae's first epoch that does."""
    mine = {
        how: [_least(f["seconds"] for f in run["ours"] if f["compile"] == how and f["elbo"] <= TARGET) for run in raw]
        for how in ("eager", "compiled")
    }
    peers = {f"{rate}, {batch}": [reached(run["pythae"][i]) for run in raw] for i, (rate, batch) in enumerate(PEERS)}
    default, *_ = peers
    against = {
        "default": peers[default],
        "best setting": [_least(s for s in seconds if s is not None) for seconds in zip(*peers.values(), strict=True)],
    }
    by_epochs = {
        f"{epochs}, {how}": {
            key: spread([f[key] for run in raw for f in run["ours"] if (f["epochs"], f["compile"]) == (epochs, how)])
            for key in ("seconds", "elbo")
        }
        for how in ("eager", "compiled")
        for epochs in OUR_EPOCHS
    }
    return {
        "ours": {how: spread(seconds) for how, seconds in mine.items() if None not in seconds},
        "pythae": {name: spread(seconds) for name, seconds in peers.items() if None not in seconds},
        "short of it": {
            name: _short([run["pythae"][i] for run in raw])
            for i, (name, seconds) in enumerate(peers.items())
            if None in seconds
        },
        "ratios": {
            f"{how} to its {which}": spread([p / m for p, m in zip(theirs, seconds, strict=True)])
            for how, seconds in mine.items()
            for which, theirs in against.items()
            if None not in theirs and None not in seconds
        },
        "ours_by_epochs": by_epochs,
    }


def _short(fits: list[dict[str, Any]]) -> str:
    """Return the shortest time of a setting in the runs in which it did not reach the target."""
    ends = [(fit["curve"][-1]["seconds"], len(fit["curve"])) for fit in fits if reached(fit) is None]
    seconds, epochs = min(ends)
    return f"{epochs} epochs, {seconds:.0f} s" + ("" if len(ends) == len(fits) else f", in {len(ends)} of {len(fits)}")


def _least(seconds: Any) -> float | None:
    return min(seconds, default=None)


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:] if word != "--resume"), resume="--resume" in sys.argv)
