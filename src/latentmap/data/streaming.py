"""Rows that do not fit in memory: measured in one pass, held out and shuffled by block, and prefetched."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.formats.base import Source
from latentmap.data.memory import free_memory
from latentmap.data.moments import Moments
from latentmap.data.sampling import Indices, scattered, split_rows
from latentmap.data.schema import Schema, measure_block, merged
from latentmap.data.values import flat
from latentmap.exceptions import DataError

MEMORY_DIVISOR = 4
"""By default a fit takes a quarter of the memory that is free."""
COPIES = 3
"""The copies of the rows in memory during a fit: as they are read, shuffled, and scaled."""
LARGEST_BLOCK = 2**27
"""The most bytes of one shuffled block."""
PARTS = 16
"""The parts of a shuffled block, if they can be so small."""
INTERLEAVED = 2
"""The parts that are read in turn, however large they are."""
MOST_HELD_OUT = 2**14
SOME_VALUES = 2**23
"""The values of the rows that represent all rows, where some suffice."""
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def read_memory(amount: str | int | float | None) -> int:
    """Return an amount of memory such as 600MB in bytes; by default a quarter of the memory that is free.

    >>> read_memory("600MB"), read_memory("1.5 GB")
    (600000000, 1500000000)
    """
    if amount is None:
        return free_memory() // MEMORY_DIVISOR
    match = re.fullmatch(r"\s*(\d+\.?\d*)\s*([KMGT]?)I?B?\s*", str(amount).upper())
    n_bytes = int(float(match[1]) * UNITS[match[2]]) if match else 0
    if n_bytes < 10**6:
        raise DataError(f"memory must be an amount of 1 MB or more, such as '600MB' or '2GB', got {amount!r}")
    return n_bytes


def fits(source: Source, memory: int) -> bool:
    """Return whether a fit to all rows at once, dense, takes at most ``memory`` bytes; rows in memory stay there."""
    return not source.is_sparse and (source.in_memory or COPIES * len(source) * source.first.nbytes <= memory)


def most_held_out(source: Source, memory: int) -> int:
    """Return the most rows that a fit within ``memory`` bytes holds out of a source that is not dense in memory."""
    return min(MOST_HELD_OUT, max(1, memory // (8 * flat(source.first).nbytes)))


@dataclass(frozen=True, eq=False)
class Survey:
    """The results of one pass over a source."""

    schema: Schema
    moments: Moments
    some: NDArray[Any]
    """One of so many rows, in order."""
    held_out: NDArray[Any]
    """The rows that are held out, in order."""
    numbers: Indices
    """The indices of these rows."""


class Stream:
    """Shuffled blocks of the training rows of a source, within so many bytes of memory.

    Each epoch reads the parts of the source in a new order, fills a block with the rows of several, shuffles it, and
    yields it while the next one is being read. The held-out rows are a function of the seed, the order of the others
    of the seed and the epoch.

    >>> from latentmap.data.formats.arrays import ArraySource
    >>> stream = Stream(ArraySource(np.arange(1000.0).reshape(500, 2)), held_out=0.1, seed=0, memory=10**6)
    >>> stream.rows, sum(len(block) for block in stream.epoch(seed=0, epoch=0))
    (450, 450)
    """

    def __init__(self, source: Source, *, held_out: float, seed: int, memory: int) -> None:
        self.source = source
        n = len(source)
        self.held_out = split_rows(n, held_out, seed, most=most_held_out(source, memory))[1]
        self.rows = n - len(self.held_out)
        a_row = flat(source.first).nbytes
        self.block = max(1, min(LARGEST_BLOCK, memory // 12) // a_row)  # two blocks, and the parts of each

    def first(self) -> NDArray[Any]:
        """Return the first two rows, flat."""
        return flat(self.source.read(slice(0, 2)))

    @functools.cached_property
    def survey(self) -> Survey:
        """Schema, moments, held-out rows and some of the others, from one pass."""
        n, some = len(self.source), []
        numbers = scattered(n, max(1, -(-n * int(np.prod(self.source.first.shape)) // SOME_VALUES)))
        held: list[NDArray[Any]] = []
        measured: list[Schema] = []
        moments: Moments | None = None
        with ThreadPoolExecutor(1) as reader:
            for start, block in _ahead(reader, self.source.blocks()):
                measured.append(measure_block(block, self.source.names, self.source.name, start))
                block_moments = Moments.of(block)
                moments = block_moments if moments is None else moments + block_moments
                first, last = np.searchsorted(numbers, (start, start + len(block)))
                some.append(flat(block[numbers[first:last] - start]))
                held.append(flat(block[self._held(start, len(block))]))
        assert moments is not None
        return Survey(merged(measured), moments, np.concatenate(some), np.concatenate(held), numbers)

    @functools.cached_property
    def some(self) -> NDArray[Any]:
        """Some of the training rows, in order, flat."""
        return self.survey.some[~np.isin(self.survey.numbers, self.held_out)]

    def epoch(self, seed: int, epoch: int, reader: int = 0, readers: int = 1) -> Iterator[NDArray[Any]]:
        """Yield shuffled blocks of all training rows, flat; of several readers, each gets those of its parts.

        Readers do not get equally many rows, so that each of several begins again with its parts after the last one.

        Raises
        ------
        DataError
            If there are fewer parts than readers.
        """
        blocks = self._shuffled(seed, epoch) if readers == 1 else self._of_reader(seed, epoch, reader, readers)
        with ThreadPoolExecutor(1) as executor:
            for _, block in _ahead(executor, enumerate(blocks)):
                yield block

    def _of_reader(self, seed: int, epoch: int, reader: int, readers: int) -> Iterator[NDArray[Any]]:
        """Yield shuffled blocks of the parts of one reader, without end."""
        parts = self.source.parts(self._part)
        taken: list[list[range]] = [[] for _ in range(readers)]
        for i in np.random.default_rng([seed, epoch]).permutation(len(parts)):
            min(taken, key=lambda some: sum(map(len, some))).append(parts[i])  # the same rule in all processes
        rng = np.random.default_rng([seed, epoch, 1 + reader])
        least = min(sum(len(part) - len(self._held(part.start, len(part))) for part in some) for some in taken)
        if not least:
            raise DataError(
                f"{self.source.name}: {len(parts)} blocks of rows cannot be divided among {readers} processes; start "
                "fewer of them, give less memory=, or write the file with more row groups"
            )
        while True:
            yield from self._blocks(rng, taken[reader])

    def _shuffled(self, seed: int, epoch: int) -> Iterator[NDArray[Any]]:
        return self._blocks(np.random.default_rng([seed, epoch]), self.source.parts(self._part))

    @property
    def _part(self) -> int:
        """Rows of a part, about."""
        return max(1, self.block // PARTS)

    def _blocks(self, rng: np.random.Generator, parts: list[range]) -> Iterator[NDArray[Any]]:
        """Yield shuffled blocks of the training rows of parts."""
        buffer: NDArray[Any] | None = None
        filled, order = 0, rng.permutation(self.block)
        for start, block in self._mixed(rng, parts):
            rows = flat(np.delete(block, self._held(start, len(block)), axis=0))
            while len(rows):
                if buffer is None:
                    buffer = np.empty((self.block, rows.shape[1]), rows.dtype)
                some, rows = np.split(rows, [self.block - filled])
                buffer[order[filled : filled + len(some)]] = some
                filled += len(some)
                if filled == self.block:
                    yield buffer
                    buffer, filled, order = None, 0, rng.permutation(self.block)
        if buffer is not None:
            yield buffer[np.sort(order[:filled])]

    def _mixed(self, rng: np.random.Generator, parts: list[range]) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield blocks of the parts in random order, of several parts in turn."""
        waiting = rng.permutation(len(parts)).tolist()
        active: list[Iterator[tuple[int, NDArray[Any]]]] = []
        while waiting or active:
            while waiting and len(active) < INTERLEAVED:
                active.append(self.source.scan(parts[waiting.pop()], self._part))
            for blocks in list(active):
                if (block := next(blocks, None)) is None:
                    active.remove(blocks)
                else:
                    yield block

    def _held(self, start: int, length: int) -> NDArray[np.intp]:
        low, high = np.searchsorted(self.held_out, [start, start + length])
        return self.held_out[low:high] - start


def sampled(source: Source, values: int = 2**20, pieces: int = 16) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Return the numbers of some evenly spaced rows, and these rows, of about ``values`` values in all."""
    rows = max(1, values // pieces // max(1, source.first.size))
    parts = source.parts(rows)
    spaced = np.unique(np.linspace(0, len(parts) - 1, pieces).astype(int))
    blocks = [next(source.scan(parts[i], rows)) for i in spaced]
    most = max(1, values // len(blocks) // max(1, blocks[0][1][:1].size))
    numbers = [np.arange(start, start + min(most, len(block))) for start, block in blocks]
    return np.concatenate(numbers), np.concatenate([block[:most] for _, block in blocks])


def _ahead(reader: ThreadPoolExecutor, items: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """Yield each item while the next one is being read."""
    coming = reader.submit(next, items, None)
    while (item := coming.result()) is not None:
        coming = reader.submit(next, items, None)
        yield item
