"""The processes of a fit, among which the rows of each batch are divided; by default this one alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar

import torch
from torch import Tensor

from latentmap.model.noise import Generated, Noise


class Processes:
    """Collective operations over the processes of a fit; this one alone, for which they change nothing.

    Row i of a batch belongs to the process of rank i mod W, so that the first rows of a batch are the first ones of
    each process. The gradient of a player is the mean over the processes of the gradients of their losses: it is that
    of the whole batch where the loss of each is a mean over its rows, or computed from values of all processes
    (`gather`, `mean`). Whatever decides something is reduced before, so that every process decides alike.

    Attributes
    ----------
    rank
        Number of this process, from 0.
    world_size
        Number W of processes.
    local_world_size
        Number of them on this machine.
    """

    rank: int = 0
    world_size: int = 1
    local_world_size: int = 1
    collectives: int = 0
    """Number of calls of `gather`, `mean` and `stack` so far, which a compiled step cannot hold."""

    def share(self, x: Tensor, dim: int = 0) -> Tensor:
        """Return the rows of this process, of those of a whole batch."""
        return x

    def gather(self, x: Tensor, dim: int = 0) -> Tensor:
        """Return the rows of the whole batch in order, with gradients to the rows of every process."""
        return x

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean over the processes, with gradients to all of them."""
        return x

    def stack(self, x: Tensor) -> Tensor:
        """Return the values of all processes (W, *x.shape) by rank, without gradient."""
        return x.detach()[None]

    def noise(self, generator: torch.Generator | None) -> Noise:
        """Return noise for the rows of this process, from a generator in the same state in every process.

        Without one it is drawn from torch's, or from that of `latentmap.model.noise.drawing_from`.
        """
        return Generated(generator)

    def own_generator(self, generator: torch.Generator) -> torch.Generator:
        """Return a generator for modules that draw by themselves, independent of those of other processes."""
        return generator

    def copy_first(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by those of the first process, in place."""

    def average_gradients(self, gradients: Sequence[Tensor]) -> None:
        """Average gradients over the processes, in place."""

    def average_buffers(self, buffers: Sequence[Tensor]) -> None:
        """Average running statistics over the processes, in place."""

    def average(self, total: Tensor, count: float) -> Tensor:
        """Return the mean of values with this total and count in each process, over all processes."""
        return total / count

    def sum(self, x: Tensor) -> Tensor:
        """Return the sum over the processes, without gradient."""
        return x

    def maximum(self, values: Sequence[float]) -> list[float]:
        """Return the largest of each of these numbers, the same in every process."""
        return self.maximum_soon(values)()

    def maximum_soon(self, values: Sequence[float]) -> Callable[[], list[float]]:
        """Return a function that waits for `maximum`, which is asked for at once."""
        return lambda: list(values)

    def from_first(self, content: bytes | None) -> bytes | None:
        """Return what the first process passes."""
        return content

    def from_all(self, content: bytes) -> list[bytes]:
        """Return what each process passes, by rank."""
        return [content]


alone = Processes()
"""One process."""
_current: ContextVar[Processes] = ContextVar("latentmap_processes", default=alone)


def current() -> Processes:
    """Return the processes of a fit that begins here; see `latentmap.distribution.joined`."""
    return _current.get()


@contextlib.contextmanager
def joining(processes: Processes) -> Iterator[Processes]:
    """Let the fits of the block be those of these processes."""
    token = _current.set(processes)
    try:
        yield processes
    finally:
        _current.reset(token)
