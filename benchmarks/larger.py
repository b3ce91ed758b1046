"""Data larger than memory: rate and peak memory of a fit to 6 GB on disk, compared with a fit to a part in memory.

python -m benchmarks.larger [FOLDER] [RUNS]: makes 13 GB of data in FOLDER, which stays there.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import ours, spread, write
from benchmarks.larger_data import make

ROWS, PART = 2_000_000, 200_000
MEMORY, SECONDS = "600MB", "20"


def main(folder: Path, runs: int = 3) -> None:
    """Make missing data, run the contestants alternately, and write their results."""
    if not (folder / "rows.parquet").exists():
        make(folder, ROWS)
    np.save(folder / "part.npy", np.load(folder / "rows.npy", mmap_mode="r")[:PART])
    files = {"in memory": ("part.npy", "8GB"), ".npy": ("rows.npy", MEMORY), ".parquet": ("rows.parquet", MEMORY)}
    raw = []
    for run in range(runs):
        for name, (file, memory) in files.items():
            raw.append({"run": run, "rows": name} | ours("larger_fit", str(folder / file), memory, SECONDS))
            print(json.dumps(raw[-1]), flush=True)
    summary = {}
    for name, (file, _) in files.items():
        mine = [run for run in raw if run["rows"] == name]
        rate = [run["rows_per_second"] for run in mine]
        inside = [run["rows_per_second"] for run in raw if run["rows"] == "in memory"]
        before = [run["all_seconds"] - run["fit_seconds"] for run in mine]
        summary[name] = {
            "gigabytes": (folder / file).stat().st_size / 1e9,
            "rows_per_second": spread(rate),
            "share": spread([a / b for a, b in zip(rate, inside, strict=True)]),
            "peak_mb": spread([run["peak_mb"] for run in mine]),
            "seconds_beside": spread(before),
            "info_seconds": spread([_info(folder / file) for _ in range(runs)]),
        }
    write("larger", {"summary": summary, "raw": raw})


def _info(path: Path) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "latentmap", "info", str(path)], check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()), *map(int, sys.argv[2:]))
