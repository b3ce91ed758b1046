"""What this machine can do at the most: matrix products at the shapes of a step, and memory bandwidth."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor


def floors() -> dict[str, float]:
    """Operations a second of matrix products in each precision, and bytes a second of copying, medians of 20."""
    found = {}
    for batch in (128, 512, 1024):
        for dtype in (torch.float32, torch.bfloat16):
            x, w = torch.randn(batch, 784).to(dtype), torch.randn(784, 400).to(dtype)
            name = f"{str(dtype).removeprefix('torch.')} products, batch {batch}, operations a second"
            found[name] = 2 * batch * 784 * 400 / _seconds(lambda x=x, w=w: x @ w)
    big, other = torch.ones(2**26), torch.empty(2**26)
    found["copying, bytes a second"] = 2 * 4 * 2**26 / _seconds(lambda: other.copy_(big))
    return found


def _seconds(function: Callable[[], Tensor]) -> float:
    times = []
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(5):
            function()
        times.append((time.perf_counter() - start) / 5)
    return statistics.median(times)
