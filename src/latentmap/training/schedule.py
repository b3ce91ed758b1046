"""Schedule of a fit: its completed fraction, the learning rate at that fraction, and its multiplier for each layer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from torch import Tensor, nn

from latentmap.model.processes import Processes

WARMUP = 0.1
"""Fraction of the fit over which the learning rate rises."""

INPUTS = 256
"""Number of inputs of a layer whose multiplier of the learning rate is one."""


FEWEST_STEPS = 50
"""Steps of a schedule that a time budget shortens, at least."""

Timer = Callable[[], float]
"""Function that returns the seconds since some moment."""


class Clock:
    """Completed fraction of a fit: by steps or, where a time budget is too short for these, by seconds.

    It runs within a ``with`` block, and continues in the next one. A budget that suffices for all steps changes
    nothing. One that does not shortens the schedule, to `FEWEST_STEPS` at the least. The seconds of the first step,
    which may have to be compiled, are part of the budget but do not move the schedule.

    Parameters
    ----------
    total_steps
        Steps of the full schedule.
    time_budget
        Seconds that the fit may take; None for no limit.
    timer
        Source of the time.

    Examples
    --------
    >>> clock = Clock(total_steps=10)
    >>> clock.progress(step=5)
    0.5
    """

    def __init__(self, total_steps: int, time_budget: float | None = None, timer: Timer = time.perf_counter) -> None:
        self.total_steps = total_steps
        self.time_budget = time_budget
        self.timer = timer
        self.elapsed = self.lead = 0.0
        """Seconds of the runs before this one, and of the first step."""
        self.start: float | None = None
        self.agreed: float | None = None
        """Training time so far that several processes have agreed on, of which each has its own."""
        self._asked: Callable[[], list[float]] | None = None
        """What waits for the time and the flags of the last call of `agree`."""

    def __enter__(self) -> None:
        self.start = self.timer()

    def __exit__(self, *error: object) -> None:
        self.elapsed, self.start = self.seconds, None

    @property
    def seconds(self) -> float:
        """Training time so far."""
        return self.elapsed if self.start is None else self.elapsed + self.timer() - self.start

    def agree(self, processes: Processes, *flags: bool, now: bool = False) -> tuple[bool, ...]:
        """Return which flags are set in any process, and let all go by the time of the slowest one.

        Without ``now`` or a time budget, the flags of several processes are those of the last call, so that none waits
        for the others.
        """
        if processes.world_size == 1:
            return flags
        earlier, asked = self._asked, processes.maximum_soon([self.seconds, *map(float, flags)])
        answers, self._asked = [] if earlier is None else [earlier()], asked
        if now or self.time_budget is not None:
            answers, self._asked = [*answers, asked()], None
        if not answers:
            return tuple(False for _ in flags)
        self.agreed, *found = map(max, zip(*answers, strict=True))
        return tuple(map(bool, found))

    def progress(self, step: int) -> float:
        """Return the fraction of the fit that is complete before this step."""
        by_steps = step / self.total_steps
        return min(1.0, by_steps if self.time_budget is None else max(by_steps, self._by_seconds(step)))

    def _by_seconds(self, step: int) -> float:
        assert self.time_budget is not None
        seconds = self.seconds if self.agreed is None else self.agreed
        if step == 1 and not self.lead:
            self.lead = seconds
        rest = self.time_budget - self.lead
        spent = (seconds - self.lead) / rest if rest > 0 else 1.0
        return min(spent, step / FEWEST_STEPS)


def learning_rate_factor(progress: float) -> float:
    """Return the factor of the learning rate: linear warm-up, then linear decay to zero.

    >>> [round(learning_rate_factor(p), 2) for p in (0.0, 0.05, 0.1, 0.55, 1.0)]
    [0.02, 0.5, 1.0, 0.5, 0.0]
    """
    return max(0.02, progress / WARMUP) if progress < WARMUP else (1 - progress) / (1 - WARMUP)


def learning_rate_multipliers(network: nn.Module, largest: float) -> dict[Tensor, float]:
    r"""Return the multiplier of the learning rate of each parameter of a linear or convolutional layer.

    Adam moves every weight by about the learning rate \eta, and all those of a unit with n inputs at once, so that the
    unit moves with n (Yang et al. 2022). Weights therefore have :math:`\eta \sqrt{256 / n}`, at most ``largest`` times
    :math:`\eta`, and biases have ``largest`` times :math:`\eta`.

    >>> layers = nn.Sequential(nn.Linear(1024, 64), nn.Linear(64, 4, bias=False))
    >>> list(learning_rate_multipliers(layers, largest=3.0).values())
    [0.5, 3.0, 2.0]
    """
    multipliers = dict[Tensor, float]()
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            for part in layer.parameters(recurse=False):
                multipliers[part] = largest if part.ndim == 1 else min(largest, math.sqrt(INPUTS / part[0].numel()))
    return multipliers
