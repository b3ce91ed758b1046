"""Cost of small jobs: start-up, a small table, embedding and sampling.

LATENTMAP_DATA=folder python -m benchmarks.overhead [RUNS]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_iris

from benchmarks.common import ours, spread, write


def main(runs: int = 5) -> None:
    """Run, print, write overhead.json."""
    command = str(Path(sys.executable).with_name("latentmap"))
    starts = {
        "latentmap --help": [command, "--help"],
        "import latentmap": [sys.executable, "-c", "import latentmap"],
        "import torch": [sys.executable, "-c", "import torch"],
        "python alone": [sys.executable, "-c", "pass"],
    }
    raw: dict[str, list[float]] = {name: [] for name in starts}
    for _ in range(runs):
        for name, arguments in starts.items():
            raw[name].append(_seconds(arguments))
        for name, value in _first_epoch(command).items():
            raw.setdefault(name, []).append(value)
        for name, value in ours("overhead_ours").items():
            raw.setdefault(name, []).append(value)
    result = {name: spread(values) for name, values in raw.items()}
    path = write("overhead", {"runs": runs, "summary": result})
    print({name: round(value["median"], 4) for name, value in result.items()}, path)


def _first_epoch(command: str) -> dict[str, float]:
    """Fit a table on the command line: all of it, and all but the epochs after the first line of its history."""
    with tempfile.TemporaryDirectory() as folder:
        table, run = Path(folder) / "iris.csv", Path(folder) / "run"
        np.savetxt(table, load_iris().data, delimiter=",", header="a,b,c,d", comments="")
        whole = _seconds([command, "fit", str(table), "-o", str(run), "--seed", "0", "--no-report"])
        seconds = [json.loads(line)["seconds"] for line in (run / "history.jsonl").read_text().splitlines()]
    return {
        "latentmap fit iris.csv": whole,
        "latentmap fit iris.csv, but for later epochs": whole - (seconds[-1] - seconds[0]),
    }


def _seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(arguments, check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
