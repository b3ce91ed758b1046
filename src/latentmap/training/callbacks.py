"""Callbacks: functions that a fit calls after each evaluation, and the state of the fit that it passes to them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from latentmap.training.metrics import Row


@dataclass(frozen=True)
class Progress:
    """Read-only state of a fit at an evaluation, the second argument of callbacks that take two.

    Attributes
    ----------
    epoch, step
        Epochs and steps taken so far.
    total_steps
        Steps of the full schedule; patience, a time budget or ``stop`` may end the fit earlier.
    fraction
        Completed fraction of the fit, by steps or by the time budget, whichever is larger.
    seconds
        Training time, including that before the fit was resumed.
    learning_rate
        Learning rate of the next step, before the multipliers of layers.
    rows_per_second
        Training throughput.
    best
        Row of the history with the best weights so far; None if there is none.
    model
        The model with its present weights.
    stop
        Function that ends the fit after the current step; the fit keeps the best weights.
    state_dict
        `Trainer.state_dict`, to save the fit and resume it later.

    Examples
    --------
    >>> def stop_at_target(row, progress):
    ...     if row["val_loss"] is not None and row["val_loss"] < 30.0:
    ...         progress.stop()
    """

    epoch: int
    step: int
    total_steps: int
    fraction: float
    seconds: float
    learning_rate: float
    rows_per_second: float
    best: Row | None
    model: nn.Module
    stop: Callable[[], None]
    state_dict: Callable[[], dict[str, Any]]


Callback = Callable[[Row], object] | Callable[[Row, Progress], object]
"""A function of the new row of the history or, if it requires a second positional argument, of it and a `Progress`."""


def notify(callback: Callback, row: Row, progress: Progress) -> None:
    """Call a callback with as many arguments as it requires."""
    function: Callable[..., object] = callback
    function(row, progress) if takes_progress(callback) else function(row)


def takes_progress(callback: Callback) -> bool:
    """Return whether a callback requires two positional arguments.

    >>> takes_progress(lambda row, progress: None), takes_progress(lambda row, seen=(): None), takes_progress(print)
    (True, False, False)
    """
    try:
        parameters = inspect.signature(callback).parameters.values()
    except ValueError:  # some built-in functions have no signature
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional and p.default is p.empty for p in parameters) > 1
