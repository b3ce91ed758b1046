"""How far a fit has come, the learning rate that goes with it, and how layers share it."""

from __future__ import annotations

import math
import time

from torch import Tensor, nn

WARMUP = 0.1
"""Fraction of the fit over which the learning rate rises."""

INPUTS = 256
"""Inputs of a layer whose weights have the learning rate itself."""


class Clock:
    """Progress of a fit from 0 to 1: by steps, by seconds where there is a time budget, whichever is further.

    >>> clock = Clock(total_steps=10)
    >>> clock.progress(step=5)
    0.5
    """

    def __init__(self, total_steps: int, time_budget: float | None = None, elapsed: float = 0.0) -> None:
        self.total_steps = total_steps
        self.time_budget = time_budget
        self.start = time.perf_counter() - elapsed

    @property
    def seconds(self) -> float:
        """Seconds since the start of the fit."""
        return time.perf_counter() - self.start

    def progress(self, step: int) -> float:
        """Give the fraction of the fit that is done before this step."""
        by_steps = step / self.total_steps
        return min(1.0, by_steps if self.time_budget is None else max(by_steps, self.seconds / self.time_budget))


def learning_rate_factor(progress: float) -> float:
    """Linear warm-up, then linear decay to zero.

    >>> [round(learning_rate_factor(p), 2) for p in (0.0, 0.05, 0.1, 0.55, 1.0)]
    [0.02, 0.5, 1.0, 0.5, 0.0]
    """
    return max(0.02, progress / WARMUP) if progress < WARMUP else (1 - progress) / (1 - WARMUP)


def rate_shares(network: nn.Module, largest: float) -> dict[Tensor, float]:
    r"""Give the share of the learning rate of each layer's parameters, one for those that are not of a layer.

    Adam moves every weight by about the learning rate \eta, and all those of a unit with n inputs at once, so that the
    unit moves with n (Yang et al. 2022). Weights have \eta sqrt(256 / n), but ``largest`` times \eta at the most, as
    biases have.

    >>> layers = nn.Sequential(nn.Linear(1024, 64), nn.Linear(64, 4, bias=False))
    >>> list(rate_shares(layers, largest=3.0).values())
    [0.5, 3.0, 2.0]
    """
    shares = dict[Tensor, float]()
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            for part in layer.parameters(recurse=False):
                shares[part] = largest if part.ndim == 1 else min(largest, math.sqrt(INPUTS / part[0].numel()))
    return shares
