"""Kill processes of fits on several, and count the fits that end: python -m tools.torture_workers [--trials 20].

Each trial is a fit by ``latentmap fit --workers 2`` of which a process is killed (SIGKILL), at a moment that a seed
draws, and after its restart one again. The launcher starts all processes anew, and they continue from the last
checkpoint; the trial has finished when the command ends well and the run loads.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from benchmarks.tables import between, grid

from latentmap import load

ROOT = Path(__file__).parent.parent
RESULT, DOCUMENT = ROOT / "benchmarks" / "results" / "workers.json", ROOT / "docs" / "distribution.md"
KILLS, WORKERS = 2, 2
LIMIT = 300
"""Seconds that a trial may take."""
SETTINGS = (
    *("--no-report", "--epochs", "60", "--set", "batch_size=32", "--set", "neighbors=none", "--set", "compile=false"),
    *("--set", "encoder=MLP(hidden=(32,))", "--set", "decoder=MLP(hidden=(32,))", "--set", "early_stopping=false"),
    *("--workers", str(WORKERS), "--checkpoint-every", "0.2s"),
)


def ranks(launcher: int) -> dict[int, int]:
    """Return the processes of a fit that are at work, by rank."""
    found = {}
    for child in subprocess.run(
        ["pgrep", "-P", str(launcher)], capture_output=True, text=True, check=False
    ).stdout.split():
        try:
            named = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        rank = [entry.removeprefix(b"RANK=") for entry in named if entry.startswith(b"RANK=")]
        found |= {int(rank[0]): int(child)} if rank else ranks(int(child))
    return found


def trial(folder: Path, seed: int) -> dict[str, Any]:
    """Run a fit, kill a process of it a few times, and return what came of it."""
    rng = np.random.default_rng(seed)
    run = folder / f"run{seed}"
    command = [sys.executable, "-m", "latentmap", "fit", folder / "x.npy", "-o", run, *SETTINGS]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    begun, killed = time.monotonic(), []
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*map(str, command)], stdout=log, stderr=log, env=environment)
        for _ in range(KILLS):
            while process.poll() is None and not (
                len(at_work := ranks(process.pid)) == WORKERS and begins(run, killed)
            ):
                time.sleep(0.05)
            time.sleep(rng.uniform(0, 1.5))
            if process.poll() is None:
                rank = int(rng.integers(WORKERS))
                os.kill(at_work[rank], signal.SIGKILL)
                killed.append((rank, time.monotonic() - begun, checkpoint_time(run)))
        try:
            code: int | None = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            code = None
    finished = code == 0 and bool(np.isfinite(load(run).transform(np.load(folder / "x.npy"))).all())
    return {
        "seed": seed,
        "kills": [{"rank": rank, "after": round(after, 2)} for rank, after, _ in killed],
        "finished": finished,
        "seconds": round(time.monotonic() - begun, 1),
        "error": "" if finished else (folder / "log").read_text()[-400:],
    }


def checkpoint_time(run: Path) -> int:
    """Return when the last checkpoint was written, in nanoseconds; 0 before the first."""
    return max((path.stat().st_mtime_ns for path in run.glob("checkpoint/*")), default=0)


def begins(run: Path, killed: list[Any]) -> bool:
    """Return whether a fit has written a checkpoint since the last kill."""
    try:
        return checkpoint_time(run) > (killed[-1][2] if killed else 0)
    except OSError:  # it is being exchanged
        return False


def main() -> None:
    """Run the trials, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    options = parser.parse_args()
    trials = []
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "x.npy", np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32))
        for seed in range(options.trials):
            trials.append(trial(Path(folder), seed))
            print(trials[-1], flush=True)
    kills = sum(len(one["kills"]) for one in trials)
    result = {"trials": len(trials), "kills": kills, "finished": sum(one["finished"] for one in trials), "raw": trials}
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    seconds = f"{median(one['seconds'] for one in trials):.0f}"
    row = [str(result[name]) for name in ("trials", "kills", "finished")]
    table = grid(["fits", "kills", "finished", "seconds, median"], [[*row, seconds]])
    DOCUMENT.write_text(between(DOCUMENT.read_text(), "workers", table))
    print({name: value for name, value in result.items() if name != "raw"})


if __name__ == "__main__":
    main()
