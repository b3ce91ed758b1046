"""Rows a second of training, embedding and sampling: ours, a plain loop, pythae, pyod and scvi-tools.

LATENTMAP_DATA=folder python -m benchmarks.throughput [RUNS]
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.common import HERE, contest, peers_python, spread, write
from benchmarks.floor import floors

CONTESTANTS = {
    "eager": (None, "throughput_ours", "eager"),
    "compiled": (None, "throughput_ours", "compiled"),
    "loop": (None, "throughput_loop"),
    "pythae": ("peers", "throughput_pythae"),
    "pyod": ("peers", "throughput_pyod"),
    "scvi": ("scvi", "throughput_scvi"),
}
"""Environment, where it is not ours, and module of each; they take turns."""
NO_CONVOLUTIONS = ("pyod", "scvi")


def main(runs: int = 5) -> None:
    """Run every case, write throughput.json after each with the floor of this machine, measured in turn."""
    sys.path.insert(0, str(HERE))
    from cases import CASES

    pythons = {name: peers_python(name) if name else sys.executable for name, *_ in CONTESTANTS.values()}
    results, limits = [], []
    for name, case in CASES.items():
        for batch in case.batches:
            able = [who for who in CONTESTANTS if case.layers or who not in NO_CONVOLUTIONS]
            raw: dict[str, list[dict[str, Any]]] = {who: [] for who in able}
            for _ in range(runs):
                limits.append(floors())
                for who, measured in raw.items():
                    environment, module, *more = CONTESTANTS[who]
                    measured.append(contest(pythons[environment], module, name, str(batch), *more))
            rates = {who: spread([r["rows_per_second"] for r in measured]) for who, measured in raw.items()}
            operations = {
                "operations": case.operations if case.layers else None,
                "embedding": case.embedding if case.layers else None,
            }
            results.append({"case": name, "batch": batch, **operations, "rates": rates, "raw": raw})
            print(name, batch, {who: round(rate["median"]) for who, rate in rates.items()}, flush=True)
            limit = {name: spread([floor[name] for floor in limits]) for name in limits[0]}
            write("throughput", {"runs": runs, "floors": limit, "cases": results})


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
