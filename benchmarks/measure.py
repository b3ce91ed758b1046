"""Measures of every contestant, without any library of ours: memory, and rates of epochs and calls."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path


def peak_mb() -> float:
    """Return the peak resident memory of this process.

    The kernel's count for resource usage begins with that of the process that started it; this one does not.
    """
    status = Path("/proc/self/status")
    if not status.exists():  # elsewhere than on Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


class Epochs:
    """Seconds, and CPU seconds of all threads, of successive epochs; called where one begins or ends."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, float]] = []

    def __call__(self, *_: object) -> None:
        self.marks.append((time.perf_counter(), time.process_time()))

    def rates(self, rows: int, step: int = 1) -> dict[str, float]:
        """Return rows per second, and CPU seconds for a million rows: medians over every step-th pair of marks."""
        pairs = list(zip(self.marks, self.marks[1:]))[::step]
        seconds, spent = (statistics.median(b[i] - a[i] for a, b in pairs) for i in (0, 1))
        return {"rows_per_second": rows / seconds, "cpu_seconds": 1e6 * spent / rows}


def rows_per_second(rows: int, function: Callable[[], object], runs: int = 3) -> float:
    """Return the median over some calls after one that is not counted."""
    seconds: list[float] = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return rows / statistics.median(seconds[1:])
