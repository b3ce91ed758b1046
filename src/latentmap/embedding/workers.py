"""Workers that share the parts of a data set: which ones each takes, as its environment says."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from latentmap.exceptions import DataError


@dataclass(frozen=True)
class Worker:
    """One of several processes of a job, counted from 0.

    Parameters
    ----------
    rank
        Its number.
    size
        The number of workers.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Return this process, by ``RANK`` and ``WORLD_SIZE`` as torchrun sets them; the only one without them.

        >>> Worker.current({"RANK": "1", "WORLD_SIZE": "4"})
        Worker(rank=1, size=4)
        """
        given = {name: environment.get(name) for name in ("RANK", "WORLD_SIZE")}
        if not any(given.values()):
            return cls()
        try:
            rank, size = (int(value or "") for value in given.values())
        except ValueError:
            rank, size = -1, 0
        if not 0 <= rank < size:
            found = ", ".join(f"{name}={value or ''}" for name, value in given.items())
            raise DataError(f"expected RANK from 0 to WORLD_SIZE - 1, as torchrun sets them, got {found}")
        return cls(rank, size)

    @property
    def is_first(self) -> bool:
        """Whether it is the one that speaks for all."""
        return self.rank == 0

    def share(self, n: int) -> Iterator[int]:
        """Yield which of n parts it takes: every ``size``-th.

        >>> list(Worker(1, 3).share(8))
        [1, 4, 7]
        """
        yield from range(self.rank, n, self.size)

    def __str__(self) -> str:
        return f"worker {self.rank} of {self.size} on {socket.gethostname()}"


def use_own_device(environment: Mapping[str, str] = os.environ) -> None:
    """Let a worker use the GPU of its number on this machine, as torchrun sets ``LOCAL_RANK``."""
    import torch

    if torch.cuda.is_available() and environment.get("LOCAL_RANK", "").isdigit():
        torch.cuda.set_device(int(environment["LOCAL_RANK"]) % torch.cuda.device_count())
