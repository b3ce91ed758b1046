"""Arrays that stay in their file and are read by chunks, as HDF5 and Zarr keep them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.formats.arrays import ArraySource
from latentmap.data.formats.base import LabelSpec, Source, given_labels, unique_names
from latentmap.data.schema import RowIndex, require_numeric
from latentmap.data.values import native
from latentmap.exceptions import DataError

LAZY = 2**28
"""Bytes of numbers, beyond which they stay on the disk."""


class ChunkedSource(Source):
    """Rows of shape (n, *event) that a function of first and last row reads.

    Parameters
    ----------
    fetch
        Gives the rows from one to before another.
    shape, dtype
        Of all rows.
    chunk
        Rows that are best read together.
    name, names, labels, label_name
        As of every source.
    """

    def __init__(
        self,
        fetch: Callable[[int, int], NDArray[Any]],
        shape: Sequence[int],
        dtype: np.dtype[Any],
        chunk: int,
        *,
        name: str,
        names: Sequence[str] | None = None,
        labels: LabelSpec = None,
        label_name: str | None = None,
    ) -> None:
        require_numeric(dtype, name)
        if len(shape) < 2 or 0 in shape:
            raise DataError(f"expected rows and features in {name}, got an array of shape {tuple(shape)}")
        self.fetch = fetch
        self.shape = tuple(map(int, shape))
        self.dtype = dtype
        self.chunk = max(1, int(chunk))
        self.name = name
        self.names = None if names is None else unique_names(list(names), name, self.shape[1])
        self.labels = given_labels(labels, len(self), name)
        self.label_name = label_name if self.labels is not None else None

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, rows: RowIndex) -> NDArray[Any]:
        """Return the rows of a slice or an integer array, from the chunks that hold them."""
        if isinstance(rows, slice):
            wanted = range(*rows.indices(len(self)))
            if wanted.step == 1:
                return native(self.fetch(wanted.start, max(wanted.start, wanted.stop)))
            rows = np.arange(wanted.start, wanted.stop, wanted.step)
        numbers = np.asarray(rows)
        found = np.empty((len(numbers), *self.shape[1:]), self.dtype.newbyteorder("="))
        for chunk in np.unique(numbers // self.chunk):
            start = int(chunk) * self.chunk
            here = numbers // self.chunk == chunk
            found[here] = self.fetch(start, min(start + self.chunk, len(self)))[numbers[here] - start]
        return found

    def parts(self, rows: int) -> list[range]:
        """Whole chunks, several together where they are small."""
        size = self.chunk * max(1, rows // self.chunk)
        return [range(start, min(start + size, len(self))) for start in range(0, len(self), size)]

    def scan(self, part: range, rows: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield blocks of a part, at most a chunk at a time."""
        size = max(self.chunk, rows or len(part))
        for start in range(part.start, part.stop, size):
            yield start, self.read(slice(start, min(start + size, part.stop)))


def stored(array: Any, name: str, *, names: Sequence[str] | None, labels: LabelSpec, label_name: str | None) -> Source:
    """Make a source of an array in a file (of h5py or Zarr): in memory, or where it is if that is too large."""
    beside: dict[str, Any] = {"name": name, "names": names, "labels": labels, "label_name": label_name}
    require_numeric(array.dtype, name)
    if array.size * array.dtype.itemsize <= LAZY:
        return ArraySource(np.asarray(array[...]), **beside)
    chunk = (array.chunks or (1,))[0]
    return ChunkedSource(lambda start, stop: np.asarray(array[start:stop]), array.shape, array.dtype, chunk, **beside)
