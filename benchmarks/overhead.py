"""What a small job costs: start-up, a small table, embedding and sampling.

LATENTMAP_DATA=folder python -m benchmarks.overhead [RUNS]
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.common import ours, spread, write


def main(runs: int = 5) -> None:
    """Run, print, write benchmarks/results/overhead.json."""
    command = str(Path(sys.executable).with_name("latentmap"))
    starts = {
        "latentmap --help": [command, "--help"],
        "import latentmap": [sys.executable, "-c", "import latentmap"],
        "python alone": [sys.executable, "-c", "pass"],
    }
    raw: dict[str, list[float]] = {name: [] for name in starts}
    for _ in range(runs):
        for name, arguments in starts.items():
            raw[name].append(_seconds(arguments))
        for name, value in ours("overhead_ours").items():
            raw.setdefault(name, []).append(value)
    result = {name: spread(values) for name, values in raw.items()}
    print({name: round(value["median"], 4) for name, value in result.items()}, write("overhead", {"summary": result}))


def _seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(arguments, check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
