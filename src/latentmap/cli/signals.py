"""Signals that end a command: an interrupt, a request to terminate, a terminal that is closed."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from latentmap.cli.terminal import say

if TYPE_CHECKING:
    from latentmap.model.processes import Processes
    from latentmap.training.checkpoint import Checkpoints

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopped(SystemExit):
    """A signal ended the command; its exit code is 128 and the number of the signal.

    Parameters
    ----------
    number : int
        The signal.
    result : str, default=""
        What is left of the work.
    """

    def __init__(self, number: int, result: str = "") -> None:
        super().__init__(number, result)
        self.code: int = 128 + number
        self.name = signal.Signals(number).name
        self.parts = [f"stopped by {self.name}", *filter(None, [result])]

    def add(self, text: str) -> None:
        """Add how to go on."""
        self.parts.append(text)

    def __str__(self) -> str:
        return "; ".join(self.parts)


class Stopping:
    """Context in which a first signal ends a fit after the current step; a second one ends the process at once.

    Where no fit takes steps, the first signal raises `Stopped`. A signal that the process ignores stays ignored, and
    only the main thread, which alone gets signals, changes how they are handled.

    Parameters
    ----------
    checkpoints : Checkpoints
        Checkpoints of the fit, which stop it.

    Attributes
    ----------
    number : int or None
        The signal that came.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in NAMES if hasattr(signal, name)):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def agreed(self, processes: Processes) -> int:
        """Return the signal that came to any of the processes of a fit, in all of them; 0 for none."""
        return int(processes.maximum([self.number or 0])[0])

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)
        if not self.checkpoints.running:
            raise Stopped(number)
        self.checkpoints.stop()
        say(f"{signal.Signals(number).name}: the fit stops after this step; again to stop at once")
