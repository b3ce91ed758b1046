"""Rows a second of training: ours, a plain PyTorch loop, pythae and pyod, of the same sizes, alternating.

LATENTMAP_DATA=folder python -m benchmarks.throughput [RUNS]
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.common import contest, ours, peers_python, spread, write
from benchmarks.floor import floors

CONTESTANTS = ("eager", "compiled", "loop", "pythae", "pyod")
"""Ours twice; pyod has no convolutions."""


def main(runs: int = 5) -> None:
    """Run every case, write benchmarks/results/throughput.json after each with the floor of this machine."""
    sys.path.insert(0, "benchmarks")
    from cases import CASES

    python, results, limits = peers_python(), [], floors()
    for name, case in CASES.items():
        for batch in case.batches:
            conv = name.startswith("conv")
            raw: dict[str, list[dict[str, Any]]] = {who: [] for who in CONTESTANTS if who != "pyod" or not conv}
            for _ in range(runs):
                raw["eager"].append(ours("throughput_ours", name, str(batch), "eager"))
                raw["compiled"].append(ours("throughput_ours", name, str(batch), "compiled"))
                raw["loop"].append(ours("throughput_loop", name, str(batch)))
                for peer in ("pythae", "pyod"):
                    if peer in raw:
                        raw[peer].append(contest(python, f"throughput_{peer}", name, str(batch)))
            rates = {who: spread([r["rows_per_second"] for r in found]) for who, found in raw.items()}
            operations = None if conv else case.operations
            results.append({"case": name, "batch": batch, "operations": operations, "rates": rates, "raw": raw})
            print(name, batch, {who: round(rate["median"]) for who, rate in rates.items()}, flush=True)
            write("throughput", {"floors": limits, "cases": results})


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
