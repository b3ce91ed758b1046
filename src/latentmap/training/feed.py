"""Feeds of batches: from rows on the device or in memory, or from blocks of a source that does not fit in memory."""

from __future__ import annotations

import copy
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentmap.data.formats.base import Source
from latentmap.data.sampling import epoch_order, scattered
from latentmap.data.streaming import Stream
from latentmap.exceptions import DataError
from latentmap.model.processes import Processes, alone
from latentmap.model.scaling import Affine
from latentmap.model.sparse import sparse_rows
from latentmap.training.transfer import ahead, sent

POSITIVES = 2
"""Neighbours drawn for each row of a batch: a map needs fewer steps, and each anchor is encoded once for two."""
PIECE = 2**22
"""Stored values of a sparse matrix that are scaled at a time."""


class Batch(NamedTuple):
    """Rows (M, P) of one step, with their condition (B, C) and their places on a map (B, D), each or None.

    Rows are views of B rows each, as many as the feed's ``views``: first the anchors, then their positives, where row i
    of each view is a neighbour of anchor i. A batch with a condition has one view.
    """

    rows: Tensor
    condition: Tensor | None = None
    places: Tensor | None = None


class Feed(ABC):
    """Training rows, in an order that depends on seed and epoch alone.

    Attributes
    ----------
    device
        Device of the batches.
    first
        Two rows, to check a model with.
    views
        Views in a batch: the anchors, and more where there is a graph of neighbours.
    """

    device: torch.device
    first: Tensor
    condition: Tensor | None = None
    views: int = 1

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def epoch(
        self,
        seed: int,
        epoch: int,
        size: int,
        generator: torch.Generator,
        start: int = 0,
        processes: Processes = alone,
        readers: int = 1,
    ) -> Iterator[Batch]:
        """Yield the batches of an epoch from number ``start`` on; each is valid until the next one is taken.

        There are ``len(self) // size`` of them in an epoch. Only those that are yielded draw from the generator. Of the
        rows of a batch, each of several processes gets its own. An epoch ends with as many ``readers`` as it began
        with, the processes at that time, since the order of rows that are read from a file depends on them.
        """

    @abstractmethod
    def sample(self, size: int, most: int) -> Iterator[Batch]:
        """Yield batches of so many rows, in order and without positives: all rows, or some, ``most`` at the most."""

    def with_positives(
        self, graph: Tensor, batch: Batch, generator: torch.Generator, processes: Processes = alone
    ) -> Batch:
        """Return a batch of other rows with some of their neighbours (B, k) among the training rows."""
        return batch


class Gathered:
    """Rows of a source by index; indexing reads, densifies, transfers and prepares them.

    With ``staged``, a batch is transferred while the one before is in use (see `ahead`).

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
        """Yield the rows at each of these indices on the CPU; valid until the next ones are taken."""
        blocks = map(self._read, indices)
        on_device = ahead(blocks, self.device) if self.staged else (block.to(self.device) for block in blocks)
        return map(self.prepare, on_device)

    def _read(self, rows: Tensor | slice) -> Tensor:
        numbers = self.numbers[rows if isinstance(rows, slice) else rows.numpy()]
        block = self.source.read(numbers).reshape(len(numbers), -1)
        return torch.from_numpy(np.ascontiguousarray(block))


class SparseRows(Gathered):
    """Rows of a sparse matrix of scipy by index, which are brought to the model's units where something is stored.

    Parameters
    ----------
    rows : csr_array of shape (n, P)
        All rows, without duplicates.
    numbers : ndarray of int
        Which of them are trained on.
    scaling : Affine
        The change of units.
    device : torch.device
        Device of the batches.
    """

    def __init__(self, rows: Any, numbers: NDArray[np.intp], scaling: Affine, device: torch.device) -> None:
        self.numbers, self.device, self.staged = numbers, device, device.type == "cuda"
        self.prepare = _as_it_is
        scaling = copy.deepcopy(scaling).cpu()
        zeros = scaling(torch.from_numpy(np.zeros((1, rows.shape[1]), rows.dtype))).float().numpy()[0]
        self.zeros = zeros if zeros.any() else None
        """What zeros become, where it is not zero."""
        self.rows = type(rows)((_scaled(rows, scaling), rows.indices, rows.indptr), shape=rows.shape)

    def sparse(self, rows: Tensor) -> Tensor:
        """Return the rows at these indices, sparse."""
        return sparse_rows(self.rows[self.numbers[rows.numpy()]])

    def _read(self, rows: Tensor | slice) -> Tensor:
        some = self.rows[self.numbers[rows if isinstance(rows, slice) else rows.numpy()]]
        if self.zeros is None:
            return torch.from_numpy(some.toarray())
        dense = np.repeat(self.zeros[None], some.shape[0], axis=0)
        dense[np.repeat(np.arange(len(dense)), np.diff(some.indptr)), some.indices] = some.data
        return torch.from_numpy(dense)


def _scaled(rows: Any, scaling: Affine) -> NDArray[np.float32]:
    """Return the stored values of a sparse matrix in the model's units, in single precision."""
    result = np.empty(rows.data.shape, np.float32)
    for start in range(0, len(result), PIECE):
        some = slice(start, start + PIECE)
        values = torch.from_numpy(rows.data[some])[None]
        result[some] = scaling.of(torch.from_numpy(rows.indices[some]).long())(values)[0].numpy()
    return result


def _as_it_is(rows: Tensor) -> Tensor:
    return rows


class Resident(Feed):
    """Rows (N, P) on the device or gathered from memory, with neighbours (N, k), condition (N, C) and places (N, D).

    Of the neighbours, ``positives`` are drawn for each row of a batch. With ``sparse``, batches of `SparseRows` are
    sparse, too.
    """

    def __init__(
        self,
        data: Tensor | Gathered,
        graph: Tensor | None = None,
        condition: Tensor | None = None,
        *,
        places: Tensor | None = None,
        positives: int = POSITIVES,
        sparse: bool = False,
    ) -> None:
        self.data = data
        self.places = places
        self.positives = positives
        self.sparse = sparse
        self.graph = None if graph is None else with_self(graph)
        self.views = 1 if graph is None else 1 + positives
        self.condition = condition
        self.device = data.device
        self.first = data[:2]

    def __len__(self) -> int:
        return len(self.data)

    def epoch(
        self,
        seed: int,
        epoch: int,
        size: int,
        generator: torch.Generator,
        start: int = 0,
        processes: Processes = alone,
        readers: int = 1,
    ) -> Iterator[Batch]:
        """Yield slices of a shuffled order."""
        order = torch.from_numpy(epoch_order(len(self), seed, epoch))[start * size : len(self) // size * size]
        if not len(order):  # nothing is left of the epoch; an empty tensor splits into one batch
            return
        order, size = processes.share(order), size // processes.world_size
        indices = order.to(self.device).split(size)
        if self.sparse and isinstance(self.data, SparseRows):
            for index in indices:
                positives = [] if self.graph is None else [self._drawn(self.graph[index], generator, processes)]
                yield Batch(self.data.sparse(torch.cat([index, *positives])), places=self._places(index))
            return
        for index, rows in zip(indices, self._rows(indices, order.split(size)), strict=True):
            batch = Batch(rows, None if self.condition is None else self.condition[index], self._places(index))
            if self.graph is not None:  # drawn only now, so that random numbers are drawn in the order of the steps
                batch = self._append(batch, self._drawn(self.graph[index], generator, processes))
            yield batch

    def sample(self, size: int, most: int) -> Iterator[Batch]:
        """Yield rows by index."""
        order = _spaced(len(self), most)
        indices = order.to(self.device).split(size)
        for index, rows in zip(indices, self._rows(indices, order.split(size)), strict=True):
            yield Batch(rows, None if self.condition is None else self.condition[index])

    def with_positives(
        self, graph: Tensor, batch: Batch, generator: torch.Generator, processes: Processes = alone
    ) -> Batch:
        """Draw neighbours for each row; a row without neighbours in the data, -1, is its own positive."""
        positives, own = self._drawn(graph, generator, processes), torch.arange(len(graph), device=graph.device)
        wide = self._append(batch, positives.clamp_min(0))
        drawn = len(own) + torch.arange(len(positives), device=graph.device)
        places = torch.where(positives < 0, own.repeat(self.positives), drawn)
        return wide._replace(rows=wide.rows[torch.cat([own, places])])

    def _places(self, index: Tensor) -> Tensor | None:
        return None if self.places is None else self.places[index]

    def _drawn(self, graph: Tensor, generator: torch.Generator, processes: Processes) -> Tensor:
        """Draw some of the neighbours (B, k) of each row, view by view."""
        shape = len(graph) * processes.world_size, self.positives
        choice = torch.randint(graph.shape[1], shape, device=graph.device, generator=generator)
        return graph.gather(1, processes.share(choice)).T.flatten()

    def _append(self, batch: Batch, positives: Tensor) -> Batch:
        (rows,) = self._rows([positives])
        return batch._replace(rows=torch.cat([batch.rows, rows]))

    def _rows(self, indices: Sequence[Tensor], in_memory: Sequence[Tensor] | None = None) -> Iterator[Tensor]:
        """Yield the rows at each of these indices; ``in_memory`` are the same indices on the CPU."""
        if isinstance(self.data, Gathered):
            return map(self.data.__getitem__, indices) if in_memory is None else self.data.batches(in_memory)
        return (self.data.index_select(0, index) for index in indices)  # many times as fast as data[index]


def with_self(graph: Tensor) -> Tensor:
    """Make a row its own neighbour in place of missing ones, -1."""
    return torch.where(graph < 0, torch.arange(len(graph), device=graph.device)[:, None], graph)


class Streamed(Feed):
    """Rows of a stream, transferred and prepared block by block."""

    def __init__(self, stream: Stream, prepare: Callable[[Tensor], Tensor], device: torch.device) -> None:
        self.stream = stream
        self.prepare = prepare
        self.device = device
        self.first = prepare(sent(torch.from_numpy(stream.first()), device))

    def __len__(self) -> int:
        return self.stream.rows

    def epoch(
        self,
        seed: int,
        epoch: int,
        size: int,
        generator: torch.Generator,
        start: int = 0,
        processes: Processes = alone,
        readers: int = 1,
    ) -> Iterator[Batch]:
        """Yield slices of shuffled blocks; the rows left of one begin the next batch."""
        if readers < 1 or size % readers:
            raise DataError(f"{readers} processes, with which an epoch began, do not divide a batch of {size} rows")
        all_own = readers == processes.world_size
        numbers = [processes.rank] if all_own else range(readers)
        batches = zip(
            *(self._batches(seed, epoch, size // readers, number, readers) for number in numbers), strict=False
        )
        for rows in itertools.islice(batches, start, len(self) // size):
            yield Batch(rows[0] if all_own else processes.share(torch.stack(rows, 1).flatten(0, 1)))

    def sample(self, size: int, most: int) -> Iterator[Batch]:
        """Yield rows that the survey of the stream kept, so that nothing is read again."""
        some = torch.from_numpy(self.stream.some)
        for index in _spaced(len(some), most).split(size):
            yield Batch(self.prepare(sent(some[index], self.device)))

    def _batches(self, seed: int, epoch: int, size: int, reader: int, readers: int) -> Iterator[Tensor]:
        left = self.first[:0]
        for block in self.stream.epoch(seed, epoch, reader, readers):
            rows = torch.cat([left, self.prepare(sent(torch.from_numpy(block), self.device))])
            for start in range(0, len(rows) - size + 1, size):
                yield rows[start : start + size]
            left = rows[len(rows) - len(rows) % size :].clone()


def shared_batch(rows: int, processes: Processes) -> int:
    """Return the rows of a batch that processes share equally, as many as possible of these.

    Raises
    ------
    DataError
        If there are fewer rows than processes.
    """
    if rows < processes.world_size:
        raise DataError(
            f"a batch of {rows} rows cannot be divided among {processes.world_size} processes: start fewer of them, or "
            "give more rows or a larger batch_size"
        )
    return rows - rows % processes.world_size


def _spaced(rows: int, most: int) -> Tensor:
    """Return the numbers of all rows, or of at most so many, one of each stretch."""
    return torch.from_numpy(scattered(rows, -(-rows // most)))
