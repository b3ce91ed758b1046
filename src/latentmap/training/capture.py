"""CUDA graphs: a step is recorded once and then replayed, with one launch for a step instead of one an operation."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from latentmap.exceptions import CaptureWarning
from latentmap.training.feed import Batch

WARM_UP = 3
"""Plain steps before the recorded one, in which libraries and the compiler tune themselves."""
WAITING = "called a synchronizing CUDA operation"

Play = Callable[[], None]


class Recorder(Protocol):
    """Recorder of steps."""

    def rehearse(self, step: Play) -> str | None:
        """Take a plain step, and return what prevents its recording, or None."""

    def record(self, step: Play) -> Play:
        """Record a step without taking it, and return the function that takes it; may raise `RuntimeError`."""


class Captured:
    """A step on static buffers, recorded once and then replayed.

    Each batch is copied into the buffers. Warm-up steps train like all others, so the result is that of plain steps.
    If the step cannot be recorded, a `CaptureWarning` says why, and plain steps follow.

    A recorded step must update tensors in place, and must not depend on Python values that change between steps.
    """

    def __init__(self, step: Callable[[Batch], None], recorder: Recorder) -> None:
        self.step = step
        self.recorder = recorder
        self.buffers: Batch | None = None
        self.rehearsals = 0
        self.run: Play = self._rehearse

    def __call__(self, batch: Batch) -> None:
        """Take a step with this batch."""
        if self.buffers is None:
            self.buffers = Batch(batch.rows.clone(), *(None if part is None else part.clone() for part in batch[1:]))
        pairs = list(zip(self.buffers, batch, strict=True))
        if not all(_alike(buffer, part) for buffer, part in pairs):
            self.step(batch)
            return
        for buffer, part in pairs:
            if buffer is not None and part is not None:
                buffer.copy_(part)
        self.run()

    def _play(self) -> None:
        assert self.buffers is not None
        self.step(self.buffers)

    def _rehearse(self) -> None:
        reason = self.recorder.rehearse(self._play)
        self.rehearsals += 1
        if self.rehearsals == WARM_UP:
            self.run = self._record if reason is None else self._unrecorded(reason)

    def _record(self) -> None:
        try:
            self.run = self.recorder.record(self._play)
        except RuntimeError as error:
            self.run = self._unrecorded(str(error.__context__ or error).splitlines()[0])
        self.run()

    def _unrecorded(self, reason: str) -> Play:
        message = f"the steps of this fit cannot be recorded, training goes on without ({reason})"
        warnings.warn(message, CaptureWarning, stacklevel=2)
        return self._play


class Graphs:
    """Recorder of CUDA graphs, on a stream of its own, as PyTorch's notes on CUDA graphs require."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self.stream = torch.cuda.Stream(generator.device)

    def rehearse(self, step: Play) -> str | None:
        """Take a step on the stream, and return where it synchronizes with the device, which no graph can."""
        current = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream), _waits() as places:
            step()
        current.wait_stream(self.stream)
        return f"they wait for the device at {places[0]}" if places else None

    def record(self, step: Play) -> Play:
        """Record a step; its random numbers continue those of the fit's generator."""
        generator, graph = self.generator, torch.cuda.CUDAGraph()
        graph.register_generator_state(generator)
        before = generator.clone_state()
        try:
            # the outer context restores the stream if the capture fails; other threads may use the device meanwhile
            with (
                torch.cuda.stream(self.stream),
                torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"),
            ):
                step()
        except RuntimeError:
            generator.graphsafe_set_state(before)  # a failed capture changes the generator
            raise
        return graph.replay


@contextlib.contextmanager
def _waits() -> Iterator[list[str]]:
    """Collect the lines at which the host waits for the device."""
    places: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mode = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield places
        finally:
            torch.cuda.set_sync_debug_mode(mode)
    for warning in caught:
        if WAITING in str(warning.message):
            places.append(f"{Path(warning.filename).name}:{warning.lineno}")
        elif "debug mode" not in str(warning.message):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _alike(buffer: Tensor | None, part: Tensor | None) -> bool:
    if buffer is None or part is None:
        return buffer is part
    return buffer.shape == part.shape and buffer.dtype == part.dtype
