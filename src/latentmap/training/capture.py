"""Steps that are recorded once and replayed, so that a GPU is told once a step what to do, not once an operation."""

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
"""Steps before the one that is recorded, in which libraries and the compiler make their choices."""
WAITING = "called a synchronizing CUDA operation"

Play = Callable[[], None]


class Recorder(Protocol):
    """What can record a step."""

    def rehearse(self, step: Play) -> str | None:
        """Take a step apart from the work of others, and say what would forbid to record it, if anything."""

    def record(self, step: Play) -> Play:
        """Record a step without taking it, and give what takes it; a `RuntimeError` where that is impossible."""


class Captured:
    """A step on buffers that stay where they are: it is recorded once, and from then on replayed.

    Each batch is copied into the buffers. The steps that warm up are steps like all others, so what is trained is what
    the plain step trains. Where a step cannot be recorded, one `CaptureWarning` says why, and it goes on unrecorded.

    A step that is recorded must keep in place what it changes, and decide nothing in Python that could be otherwise in
    the next one.
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
    """Records steps as CUDA graphs, by a stream of its own, as torch's notes on them ask for."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self.stream = torch.cuda.Stream(generator.device)

    def rehearse(self, step: Play) -> str | None:
        """Take a step on the stream, and say where it waits for the device, which no graph can."""
        current = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream), _waits() as found:
            step()
        current.wait_stream(self.stream)
        return f"they wait for the device at {found[0]}" if found else None

    def record(self, step: Play) -> Play:
        """Record a step; random numbers in it go on from the fit's generator, as they do outside of it."""
        generator, graph = self.generator, torch.cuda.CUDAGraph()
        graph.register_generator_state(generator)
        before = generator.clone_state()
        try:
            # the outer stream comes back even where the capture fails, and other threads may use the device meanwhile
            with (
                torch.cuda.stream(self.stream),
                torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"),
            ):
                step()
        except RuntimeError:
            generator.graphsafe_set_state(before)  # a capture that fails leaves its mark on the generator
            raise
        return graph.replay


@contextlib.contextmanager
def _waits() -> Iterator[list[str]]:
    """Collect the places where the host waits for the device."""
    found: list[str] = []
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        mode = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode(mode)
    for warning in seen:
        if WAITING in str(warning.message):
            found.append(f"{Path(warning.filename).name}:{warning.lineno}")
        elif "debug mode" not in str(warning.message):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _alike(buffer: Tensor | None, part: Tensor | None) -> bool:
    if buffer is None or part is None:
        return buffer is part
    return buffer.shape == part.shape and buffer.dtype == part.dtype
