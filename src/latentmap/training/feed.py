"""Where batches come from: rows that lie in memory or on the device, or blocks of a source that does not fit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentmap.data.formats.base import Source
from latentmap.data.sampling import epoch_order
from latentmap.data.streaming import Stream

NEAR = 2
"""Neighbours that are drawn for each row of a batch: a map needs fewer steps, and each row is encoded once for two."""


class Batch(NamedTuple):
    """What a step sees: rows (B, P), rows near them or None, and what they are conditioned on or None.

    Near rows come in lots of B, (NEAR B, P): row i of each lies near row i of the batch.
    """

    rows: Tensor
    near: Tensor | None
    condition: Tensor | None


class Feed(ABC):
    """Training rows, in an order that is a function of seed and epoch alone.

    Attributes
    ----------
    device
        Where batches lie.
    first
        Two rows, to try a model with.
    """

    device: torch.device
    first: Tensor
    condition: Tensor | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def epoch(self, seed: int, epoch: int, size: int) -> Iterator[Batch]:
        """Yield ``len(self) // size`` batches of so many rows."""

    def near(self, graph: Tensor | None, index: Tensor, rows: Tensor) -> Tensor | None:
        """Draw for each row `NEAR` of its neighbours among the training rows, where a graph names them."""
        return None


class Gathered:
    """Rows of a source by number, made dense, brought to the device and prepared when they are taken.

    >>> from latentmap.data.sources import open_source
    >>> rows = Gathered(open_source([[1.0], [2.0], [3.0]]), np.array([0, 2]), lambda x: x, torch.device("cpu"))
    >>> len(rows), rows[torch.tensor([1])].tolist()
    (2, [[3.0]])
    """

    def __init__(
        self, source: Source, numbers: NDArray[np.intp], prepare: Callable[[Tensor], Tensor], device: torch.device
    ) -> None:
        self.source = source
        self.numbers = numbers
        self.prepare = prepare
        self.device = device

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        numbers = self.numbers[rows if isinstance(rows, slice) else rows.cpu().numpy()]
        block = self.source.read(numbers).reshape(len(numbers), -1)
        return self.prepare(torch.from_numpy(np.ascontiguousarray(block)).to(self.device))


class Resident(Feed):
    """Rows (N, P) that are kept on the device, or gathered from memory.

    ``graph`` (N, k) names neighbours of rows, and ``condition`` is (N, C).
    """

    def __init__(self, data: Tensor | Gathered, graph: Tensor | None = None, condition: Tensor | None = None) -> None:
        self.data = data
        self.graph = graph
        self.condition = condition
        self.device = data.device
        self.first = data[:2]

    def __len__(self) -> int:
        return len(self.data)

    def epoch(self, seed: int, epoch: int, size: int) -> Iterator[Batch]:
        """Slice a shuffled order."""
        order = torch.from_numpy(epoch_order(len(self.data), seed, epoch)).to(self.device)
        for i in range(len(self.data) // size):
            index = order[i * size : (i + 1) * size]
            rows = self._take(index)
            condition = None if self.condition is None else self.condition[index]
            yield Batch(rows, self.near(self.graph, index, rows), condition)

    def near(self, graph: Tensor | None, index: Tensor, rows: Tensor) -> Tensor | None:
        """Draw for each row `NEAR` of its neighbours among the data; the row itself where it has none, -1, there."""
        if graph is None:
            return None
        choice = torch.randint(graph.shape[1], (NEAR, len(index)), device=index.device)
        near = graph[index, choice].flatten()  # (NEAR B,)
        return torch.where(near[:, None] >= 0, self._take(near.clamp_min(0)), rows.repeat(NEAR, 1))

    def _take(self, index: Tensor) -> Tensor:
        if isinstance(self.data, Gathered):
            return self.data[index]
        return self.data.index_select(0, index)  # which is many times as fast as data[index]


class Streamed(Feed):
    """Rows that are read block by block, each brought to the device and prepared when its turn comes."""

    def __init__(self, stream: Stream, prepare: Callable[[Tensor], Tensor], device: torch.device) -> None:
        self.stream = stream
        self.prepare = prepare
        self.device = device
        self.first = prepare(torch.from_numpy(stream.first()).to(device))

    def __len__(self) -> int:
        return self.stream.rows

    def epoch(self, seed: int, epoch: int, size: int) -> Iterator[Batch]:
        """Slice shuffled blocks; what is left of one begins the next batch."""
        left = self.first[:0]
        for block in self.stream.epoch(seed, epoch):
            rows = torch.cat([left, self.prepare(torch.from_numpy(block).to(self.device))])
            for start in range(0, len(rows) - size + 1, size):
                yield Batch(rows[start : start + size], None, None)
            left = rows[len(rows) - len(rows) % size :].clone()
