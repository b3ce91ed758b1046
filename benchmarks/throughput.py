"""Rows a second of training: ours, a plain PyTorch loop and pythae, the same modules, alternating.

LATENTMAP_DATA=folder python -m benchmarks.throughput [RUNS]
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.common import contest, ours, peers_python, spread, write
from benchmarks.floor import floors


def main(runs: int = 5) -> None:
    """Run every case, and write benchmarks/results/throughput.json with the floor of this machine."""
    sys.path.insert(0, "benchmarks")
    from cases import CASES

    python, results = peers_python(), []
    for name, case in CASES.items():
        for batch in case.batches:
            raw: dict[str, list[dict[str, Any]]] = {who: [] for who in ("eager", "compiled", "loop", "pythae")}
            for _ in range(runs):
                raw["eager"].append(ours("throughput_ours", name, str(batch), "eager"))
                raw["compiled"].append(ours("throughput_ours", name, str(batch), "compiled"))
                raw["loop"].append(ours("throughput_loop", name, str(batch)))
                raw["pythae"].append(contest(python, "throughput_pythae", name, str(batch)))
            rates = {who: spread([r["rows_per_second"] for r in found]) for who, found in raw.items()}
            operations = None if name.startswith("conv") else case.operations
            results.append({"case": name, "batch": batch, "operations": operations, "rates": rates, "raw": raw})
            print(name, batch, {who: round(rate["median"]) for who, rate in rates.items()}, flush=True)
    print(write("throughput", {"floors": floors(), "cases": results}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
