"""Where batches come from: rows that lie on the device or in memory, or blocks of a source that does not fit."""

from __future__ import annotations

import gc
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
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
DEVICE_SHARE = 0.5
"""Rows lie on the device where they take no more than this share of what is free there."""


class Batch(NamedTuple):
    """What a step sees: rows (M, P), and what they are conditioned on, (B, C), or None.

    Rows come in lots of B, as many as the feed's ``lots``: row i of each later one lies near row i of the first. Where
    there is a condition, there is one lot.
    """

    rows: Tensor
    condition: Tensor | None = None


class Feed(ABC):
    """Training rows, in an order that is a function of seed and epoch alone.

    Attributes
    ----------
    device
        Where batches lie.
    first
        Two rows, to try a model with.
    lots
        Lots of rows in a batch: one, and `NEAR` more that lie near them, where a graph says which do.
    """

    device: torch.device
    first: Tensor
    condition: Tensor | None = None
    lots: int = 1

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def epoch(self, seed: int, epoch: int, size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Yield ``len(self) // size`` batches of so many rows, each good until the next one is taken."""

    def beside(self, graph: Tensor, batch: Batch, generator: torch.Generator) -> Batch:
        """Add to a batch `NEAR` of the neighbours (B, k) of each row, drawn among the training rows at hand."""
        return batch


class Gathered:
    """Rows of a source by number, made dense, brought to the device and prepared when they are taken.

    Batches that are ``staged`` are on their way to the device while the one before is in use (see `ahead`).

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
        self.staged = device.type == "cuda"

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        return self.prepare(self._read(rows if isinstance(rows, slice) else rows.cpu()).to(self.device))

    def batches(self, indices: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the rows of each of these indices, which lie in memory; good until the next ones are taken."""
        blocks = map(self._read, indices)
        there = ahead(blocks, self.device) if self.staged else (block.to(self.device) for block in blocks)
        return map(self.prepare, there)

    def _read(self, rows: Tensor | slice) -> Tensor:
        numbers = self.numbers[rows if isinstance(rows, slice) else rows.numpy()]
        block = self.source.read(numbers).reshape(len(numbers), -1)
        return torch.from_numpy(np.ascontiguousarray(block))


class Resident(Feed):
    """Rows (N, P) that are kept on the device, or gathered from memory.

    ``graph`` (N, k) names neighbours of rows, and ``condition`` is (N, C).
    """

    def __init__(self, data: Tensor | Gathered, graph: Tensor | None = None, condition: Tensor | None = None) -> None:
        self.data = data
        self.graph = None if graph is None else _whole(graph)
        self.lots = 1 if graph is None else 1 + NEAR
        self.condition = condition
        self.device = data.device
        self.first = data[:2]

    def __len__(self) -> int:
        return len(self.data)

    def epoch(self, seed: int, epoch: int, size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Slice a shuffled order."""
        order = torch.from_numpy(epoch_order(len(self.data), seed, epoch))[: len(self.data) // size * size]
        indices = order.to(self.device).split(size)
        for index, rows in zip(indices, self._rows(indices, order.split(size)), strict=True):
            batch = Batch(rows, None if self.condition is None else self.condition[index])
            # neighbours wait for their turn, so that random numbers are drawn in the order of the steps
            yield batch if self.graph is None else self._with(batch, _drawn(self.graph[index], generator))

    def beside(self, graph: Tensor, batch: Batch, generator: torch.Generator) -> Batch:
        """Draw for each row `NEAR` of its neighbours among the data; the row itself where it has none, -1, there."""
        near, own = _drawn(graph, generator), torch.arange(len(graph), device=graph.device)
        wide = self._with(batch, near.clamp_min(0))
        places = torch.where(near < 0, own.repeat(NEAR), len(own) + torch.arange(len(near), device=near.device))
        return wide._replace(rows=wide.rows[torch.cat([own, places])])

    def _with(self, batch: Batch, near: Tensor) -> Batch:
        """Add lots of rows by their numbers."""
        (rows,) = self._rows([near])
        return batch._replace(rows=torch.cat([batch.rows, rows]))

    def _rows(self, indices: Sequence[Tensor], in_memory: Sequence[Tensor] | None = None) -> Iterator[Tensor]:
        """Yield the rows of each of these indices, of which there may be a copy in memory."""
        if isinstance(self.data, Gathered):
            return map(self.data.__getitem__, indices) if in_memory is None else self.data.batches(in_memory)
        return (self.data.index_select(0, index) for index in indices)  # many times as fast as data[index]


def _whole(graph: Tensor) -> Tensor:
    """Let a row without neighbours, -1, be its own."""
    return torch.where(graph < 0, torch.arange(len(graph), device=graph.device)[:, None], graph)


def _drawn(graph: Tensor, generator: torch.Generator) -> Tensor:
    """Draw `NEAR` of the neighbours (B, k) of each row, (NEAR B,), in lots."""
    choice = torch.randint(graph.shape[1], (len(graph), NEAR), device=graph.device, generator=generator)
    return graph.gather(1, choice).T.flatten()


class Streamed(Feed):
    """Rows that are read block by block, each brought to the device and prepared when its turn comes."""

    def __init__(self, stream: Stream, prepare: Callable[[Tensor], Tensor], device: torch.device) -> None:
        self.stream = stream
        self.prepare = prepare
        self.device = device
        self.first = prepare(sent(torch.from_numpy(stream.first()), device))

    def __len__(self) -> int:
        return self.stream.rows

    def epoch(self, seed: int, epoch: int, size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Slice shuffled blocks; what is left of one begins the next batch."""
        left = self.first[:0]
        for block in self.stream.epoch(seed, epoch):
            rows = torch.cat([left, self.prepare(sent(torch.from_numpy(block), self.device))])
            for start in range(0, len(rows) - size + 1, size):
                yield Batch(rows[start : start + size])
            left = rows[len(rows) - len(rows) % size :].clone()


def fits_device(needed: float, free: float) -> bool:
    """Whether rows that need so many bytes are kept on a device where so many are free.

    >>> fits_device(needed=3e9, free=8e9), fits_device(needed=5e9, free=8e9)
    (True, False)
    """
    return needed <= DEVICE_SHARE * free


def free_bytes(device: torch.device) -> float:
    """Bytes that are free on a GPU; no other device is apart from memory, where the rows lie already."""
    if device.type != "cuda":
        return float("inf")
    gc.collect()  # trainers of earlier fits hold on to themselves
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused


def sent(block: Tensor, device: torch.device) -> Tensor:
    """Bring rows to a device; a GPU fetches them by itself, while the host goes on."""
    return block.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else block.to(device)


def ahead(blocks: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
    """Yield rows on a device while the next ones are on their way; each block is good until the next one is taken.

    >>> [block.tolist() for block in ahead(torch.arange(6).view(3, 2, 1), torch.device("cpu"))]
    [[[0], [1]], [[2], [3]], [[4], [5]]]
    """
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None
    berths = Berth(device, stream), Berth(device, stream)
    coming: Berth | None = None
    try:
        for berth, block in zip(itertools.cycle(berths), blocks, strict=False):
            berth.send(block)
            if coming is not None:
                yield coming.arrived()
            coming = berth
        if coming is not None:
            yield coming.arrived()
    finally:
        for berth in berths:
            berth.wait()  # buffers that are being written to must not be given away


class Berth:
    """A pair of buffers for rows on their way: pinned memory, which a GPU reads by itself, and memory of the device."""

    def __init__(self, device: torch.device, stream: torch.cuda.Stream | None) -> None:
        self.device = device
        self.stream = stream
        self.copied = None if stream is None else torch.cuda.Event()
        self.here = self.there = torch.empty(0)
        self.rows = 0

    def send(self, block: Tensor) -> None:
        """Start rows on their way, behind all the work that the device has been given."""
        self.wait()
        if len(self.here) < len(block):
            self.here = torch.empty_like(block, pin_memory=self.stream is not None)
            self.there = torch.empty_like(block, device=self.device)
        self.rows = len(block)
        self.here[: self.rows].copy_(block)
        if self.stream is None or self.copied is None:
            self.there.copy_(self.here)
            return
        self.stream.wait_stream(torch.cuda.current_stream(self.device))  # which may still read what lies there
        with torch.cuda.stream(self.stream):
            self.there.copy_(self.here, non_blocking=True)
            self.copied.record()

    def arrived(self) -> Tensor:
        """Give the rows; the device, not the host, waits for them."""
        if self.copied is not None:
            torch.cuda.current_stream(self.device).wait_event(self.copied)
        return self.there[: self.rows]

    def wait(self) -> None:
        """Let the host wait until the rows have crossed."""
        if self.copied is not None:
            self.copied.synchronize()
