"""Turns of threads that share a model: quick answers go first, slow work waits for them between its steps."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from latentmap.exceptions import DataError

PATIENCE = 0.2
"""Seconds that slow work waits for quick answers at each step, at the most: it gets on under any load."""


class Turns:
    """Lets quick answers go before slow work, of which there is one piece at a time.

    >>> turns = Turns()
    >>> with turns.slow():
    ...     turns.step()
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._quick = 0
        self._ended = False
        self._alone = threading.RLock()

    @contextlib.contextmanager
    def quick(self) -> Iterator[None]:
        """Answer before slow work goes on."""
        with self._changed:
            self._quick += 1
        try:
            yield
        finally:
            with self._changed:
                self._quick -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def slow(self) -> Iterator[None]:
        """Do slow work, which calls `step` now and then, when no other is being done."""
        with self._alone:
            yield

    def step(self) -> None:
        """Wait until no quick answer is being computed, for a while at the most; raise after `stop`."""
        end = time.monotonic() + PATIENCE
        with self._changed:
            while self._quick and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
        if self._ended:
            raise DataError("the exploration has ended")

    def stop(self) -> None:
        """End slow work at its next step."""
        self._ended = True


class HasTurns(Protocol):
    """What has turns."""

    turns: Turns


P = ParamSpec("P")
S = TypeVar("S", bound=HasTurns)
R = TypeVar("R")


def quick(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Let a method answer before slow work goes on."""

    @functools.wraps(method)
    def answer(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.turns.quick():
            return method(self, *args, **kwargs)

    return answer
