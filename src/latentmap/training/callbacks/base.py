"""Callbacks: functions that a fit calls after each evaluation, the state that they get, and the base of loggers."""

from __future__ import annotations

import importlib.util
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from torch import nn

from latentmap.exceptions import MissingExtraError
from latentmap.training.metrics import Row


@dataclass(frozen=True)
class Progress:
    """Read-only state of a fit at an evaluation, the second argument of callbacks that take two.

    Parameters
    ----------
    epoch, step : int
        Epochs and steps taken so far.
    total_steps : int
        Steps of the full schedule; patience, a time budget or ``stop`` may end the fit earlier.
    fraction : float
        Completed fraction of the fit, by steps or by the time budget, whichever is larger.
    seconds : float
        Training time, including that before the fit was resumed.
    learning_rate : float
        Learning rate of the next step, before the multipliers of layers.
    rows_per_second : float
        Training throughput.
    best : dict or None
        Row of the history with the best weights so far; None if there is none.
    model : Module
        The model with its present weights.
    stop : callable
        Function that ends the fit after the current step; the fit keeps the best weights.
    state_dict : callable
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
"""A function of the new row of the history or, if it requires a second positional argument, of it and a `Progress`.

A callback that is a context manager is entered when the fit starts, and left when it ends, with the error if it fails.
"""


class Logger(ABC):
    """Base of callbacks that are open during a fit; a copy, or what is unpickled, is closed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    @abstractmethod
    def __call__(self, row: Row, progress: Progress) -> None:
        """Log a new row of the history.

        Parameters
        ----------
        row : dict
            The row.
        progress : Progress
            State of the fit.
        """

    def __getstate__(self) -> dict[str, Any]:
        return {name: None if name.startswith("_") else value for name, value in vars(self).items()}

    def __repr__(self) -> str:
        settings = (f"{name}={value!r}" for name, value in vars(self).items() if name[0] != "_" and value is not None)
        return f"{type(self).__name__}({', '.join(settings)})"


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


def values_of(row: Row, progress: Progress) -> Iterator[tuple[str, float | None]]:
    """Yield the values of a row of the history and the learning rate, by name."""
    yield from row.items()
    yield "learning_rate", progress.learning_rate


def require_package(name: str) -> None:
    """Raise a `MissingExtraError` unless a package is installed, whose extra has its name.

    >>> require_package("nil")
    Traceback (most recent call last):
    latentmap.exceptions.MissingExtraError: nil is needed here and is not installed: pip install "latentmap[nil]"
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:  # as of a folder of runs
        raise MissingExtraError(name, name)
