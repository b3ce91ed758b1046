"""Mean over the processes of one machine, through memory that they share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Self

import torch
from torch import Tensor

from latentmap.model.processes import Processes

MOST = 4
"""Processes that each read the values of all; of more of them, a ring has each read less."""
LARGEST = 2**28
"""Bytes of shared memory for one set of values, at the most."""
TURNS = 2
"""Places that each process has for its values: while some read those of a step, others write those of the next."""
TOKEN = 16
"""Random bytes by which processes tell that they see the same memory."""


class SharedMean:
    r"""Mean :math:`\bar v = \sum_{r<W} v_r / W` of the values of W processes of one machine.

    Each process writes its values to memory that all of them read, waits for the others, and adds up those of all in
    the order of the ranks, so that the mean has the same bits in each. Nothing passes through the loopback interface,
    whose copies take longer than the sums.

    Parameters
    ----------
    memory : Tensor of shape (2, W, N)
        Places for the values, which take turns.
    rank : int
        Number of this process.
    """

    def __init__(self, memory: Tensor, rank: int) -> None:
        self.memory, self.rank, self.turn = memory, rank, 0
        self.mean = torch.empty_like(memory[0, 0])

    @classmethod
    def opened(cls, group: Processes, values: int, dtype: torch.dtype) -> Self | None:
        """Return the mean of so many values, or None where the processes do not share memory; all of them call this.

        The memory belongs to no file: it is gone with the processes, however they end.
        """
        shape = TURNS, group.world_size, values
        size = TURNS * group.world_size * values * dtype.itemsize
        apart = group.local_world_size != group.world_size or not hasattr(os, "memfd_create")
        if group.maximum([apart])[0] or group.world_size > MOST or not TOKEN <= size <= LARGEST:
            return None
        descriptor, announced = _reserved(size) if group.rank == 0 else (None, None)
        try:
            announced = group.from_first(announced)
            memory = None if announced is None else _mapped(announced, size)
            if group.maximum([memory is None])[0] or memory is None:  # in any of them
                return None
        finally:
            if descriptor is not None:
                os.close(descriptor)
        return cls(memory.view(dtype).view(shape), group.rank)

    def __call__(self, tensors: Sequence[Tensor], wait: Callable[[], object]) -> Tensor:
        """Return the mean of these tensors, flat; it lasts until the next call.

        Parameters
        ----------
        tensors : sequence of Tensor
            Those of this process, with N values in all.
        wait : callable
            What returns as soon as all processes have called it.
        """
        places, self.turn = self.memory[self.turn], (self.turn + 1) % TURNS
        own = places[self.rank].split([tensor.numel() for tensor in tensors])
        for place, tensor in zip(own, tensors, strict=True):
            torch.div(tensor.flatten(), len(places), out=place)
        wait()
        torch.add(places[0], places[1], out=self.mean)
        for values in places[2:]:
            self.mean += values
        return self.mean


def _reserved(size: int) -> tuple[int | None, bytes | None]:
    """Return the descriptor of new memory, with what others open it by; neither where there is not so much."""
    descriptor = None
    with suppress(OSError):
        descriptor = os.memfd_create("latentmap")
        os.posix_fallocate(descriptor, 0, size)  # or a write to it could end the process
        token = os.urandom(TOKEN)
        os.pwrite(descriptor, token, 0)
        return descriptor, token + f"/proc/{os.getpid()}/fd/{descriptor}".encode()
    return descriptor, None


def _mapped(announced: bytes, size: int) -> Tensor | None:
    """Return the bytes of the memory that the first process has announced; None where it is not seen here."""
    token, path = announced[:TOKEN], announced[TOKEN:].decode()
    with suppress(OSError, RuntimeError):
        if os.stat(path).st_size == size:
            memory = torch.from_file(path, shared=True, size=size, dtype=torch.uint8)
            if memory[:TOKEN].numpy().tobytes() == token:
                return memory
    return None
