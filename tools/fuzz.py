"""Open damaged models and files, and count what happens: ``python -m tools.fuzz --models 20000 --files 20000``.

Every case is a copy of a small run or file (`tools.specimens`) with a fault (`tools.mutations`) that its number and
``--seed`` determine. A model has to load and encode finite values, or be refused with a `LatentmapError`; a file to
yield its rows, or be refused so. Anything else is unexpected: another exception, a message of several lines, more than
``--seconds``, code that is unpickled or run, a process or connection, the end of the process. Cases that take more than
``--megabytes`` are counted. Cases run in child processes, so that none of them ends the others. Exits with 1 if
anything was unexpected.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
GRACE = 20
"""Seconds that a child may take beyond those of a case, before it counts as hanging."""


def main() -> int:
    """Run all cases, print what came of them, and write it as JSON."""
    parser = argparse.ArgumentParser(description="Open damaged models and files, and count what happens.")
    parser.add_argument("--models", type=int, default=300, help="damaged models")
    parser.add_argument("--files", type=int, default=300, help="damaged files of data")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10.0, help="the most that a case may take")
    parser.add_argument("--megabytes", type=int, default=500, help="the most memory that a case may take")
    parser.add_argument("--runs", type=Path, help="folder of runs to damage; by default small ones are fitted")
    parser.add_argument("--out", type=Path, help="file of JSON to write")
    args = parser.parse_args()
    found: dict[str, Any] = {}
    for kind, count in (("models", args.models), ("files", args.files)):
        if count:
            found[kind] = summary(run_cases(kind, count, args))
            print(f"{kind}: {json.dumps(found[kind])}", flush=True)
    if args.out is not None:
        args.out.write_text(json.dumps({"seed": args.seed} | found, indent=2) + "\n")
    return int(any(one["unexpected"] or one["hangs"] for one in found.values()))


def run_cases(kind: str, count: int, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the outcome of each case, from children that are started again after one that hung or died."""
    with tempfile.TemporaryDirectory(prefix="latentmap-fuzz-") as folder:
        start = 0
        while start < count:
            command = [sys.executable, "-W", "ignore", "-m", "tools.fuzz_child", kind, folder, str(start), str(count)]
            command += [str(args.seed), str(args.seconds), str(args.runs or "")]
            with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as child:
                outcomes = _outcomes(child, args.seconds)
                if next(outcomes, None) is None:
                    raise RuntimeError(f"the child process cannot prepare its {kind}")
                for outcome in outcomes:
                    outcome["large"] = outcome.get("megabytes", 0) > args.megabytes
                    start = outcome["case"] + 1
                    yield outcome
                child.kill()
            if start < count:
                how = "hang" if child.returncode == -9 else f"ended with {child.returncode}"
                yield {"case": start, "outcome": how, "error": how, "seconds": args.seconds + GRACE, "large": False}
                start += 1


def _outcomes(child: subprocess.Popen[bytes], seconds: float) -> Iterator[dict[str, Any]]:
    """Yield what a child prints, until it ends or says nothing for too long."""
    assert child.stdout is not None
    selector, rest = selectors.DefaultSelector(), b""
    selector.register(child.stdout, selectors.EVENT_READ)
    patience = 300.0  # while it prepares its files
    while selector.select(patience):
        if not (block := os.read(child.stdout.fileno(), 2**16)):
            return
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield json.loads(line)
        patience = seconds + GRACE


def summary(outcomes: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Return counts of outcomes, the largest figures, and the first of what was unexpected."""
    counts: collections.Counter[str] = collections.Counter()
    unexpected: list[dict[str, Any]] = []
    seconds = megabytes = 0.0
    started = time.monotonic()
    for outcome in outcomes:
        counts["all"] += 1
        counts[outcome["outcome"]] += 1
        seconds, megabytes = max(seconds, outcome["seconds"]), max(megabytes, outcome.get("megabytes", 0))
        counts["large"] += outcome["large"]
        known = outcome["outcome"] in ("loaded", "refused")
        if not known:
            unexpected.append(outcome)
        if not known or outcome["large"]:
            print(json.dumps(outcome), file=sys.stderr, flush=True)
    return {
        "mutations": counts["all"],
        "loaded": counts["loaded"],
        "refused": counts["refused"],
        "hangs": counts["hang"],
        "unexpected": len(unexpected),
        "beyond_memory": counts["large"],
        "most_seconds": round(seconds, 2),
        "most_megabytes": round(megabytes),
        "minutes": round((time.monotonic() - started) / 60, 1),
        "first_unexpected": unexpected[:5],
    }


def copy_of(source: Path, target: Path) -> Path:
    """Replace a file or folder by a copy of another."""
    remove(target)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
    return target


def remove(path: Path) -> None:
    """Remove a file, a folder, a link or a pipe, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def draw_for(seed: int, kind: str, case: int) -> random.Random:
    """Return the random numbers of a case."""
    return random.Random(f"{seed} {kind} {case}")


if __name__ == "__main__":
    sys.exit(main())
