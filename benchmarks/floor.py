"""Limits of this machine: matrix products at the shapes of a step, and memory bandwidth.

python -m benchmarks.floor prints it; `benchmarks.throughput` measures it in each run, in turn with those it limits.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.common import machine, precision_of

ROUNDS, CALLS = 20, 5


def floors() -> dict[str, float]:
    """Return operations per second of matrix products, in the precisions of fits, and bytes per second of copying."""
    limits = {}
    precisions = dict.fromkeys(("float32", precision_of(machine())))
    for batch in (128, 512, 1024):
        for precision in precisions:
            dtype = getattr(torch, precision)
            x, w = torch.randn(batch, 784).to(dtype), torch.randn(784, 400).to(dtype)
            name = f"{precision} products, batch {batch}, operations a second"
            limits[name] = 2 * batch * 784 * 400 / _seconds(lambda x=x, w=w: x @ w)
    big, other = torch.ones(2**26), torch.empty(2**26)
    limits["copying, bytes a second"] = 2 * 4 * 2**26 / _seconds(lambda: other.copy_(big))
    return limits


def _seconds(function: Callable[[], Tensor]) -> float:
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(CALLS):
            function()
        times.append((time.perf_counter() - start) / CALLS)
    return statistics.median(times)


if __name__ == "__main__":
    for limit, value in floors().items():
        print(f"{limit}: {value / 1e9:,.0f} x 10^9")
