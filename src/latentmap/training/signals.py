"""Ctrl-C during a fit."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def after_the_step(interrupt: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C call a function rather than raise within a step; the second one raises.

    Only in the main thread, and only where Python's own handler would raise `KeyboardInterrupt`, which is there again
    afterwards: a handler of the user's own stays.
    """
    own = signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not own:
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, own)
        interrupt()

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is handle:
            signal.signal(signal.SIGINT, own)
