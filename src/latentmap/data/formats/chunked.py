"""Arrays that stay in their file and are read by chunks, as HDF5 and Zarr store them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.checks import require_numeric
from latentmap.data.formats.arrays import ArraySource
from latentmap.data.formats.base import LabelSpec, Source, gather, row_numbers
from latentmap.data.formats.unpacked import require_room, room
from latentmap.data.schema import RowIndex
from latentmap.data.values import native
from latentmap.exceptions import DataError

LAZY = 2**28
"""Bytes of numbers, beyond which they stay on the disk."""
MOST_EMPTY, RATIO = 2**34, 2**12
"""Bytes of an array, beyond which it must not be almost empty: the most bytes for each in its file."""


class ChunkedSource(Source):
    """Rows of shape (n, *event) that a function reads from disk.

    Parameters
    ----------
    fetch
        Function of ``start`` and ``stop`` that returns these rows.
    shape, dtype
        Of all rows.
    chunk
        The number of rows that are best read together.
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
        self.annotate(name, names, labels, label_name, width=self.shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, rows: RowIndex) -> NDArray[Any]:
        """Return the rows of a slice or an integer array, from the chunks that hold them."""
        if isinstance(rows, slice) and rows.step in (None, 1):
            start, stop, _ = rows.indices(len(self))
            return native(self.fetch(start, max(start, stop)))
        numbers = row_numbers(rows, len(self))
        starts = self.chunk * np.unique(numbers // self.chunk)
        chunks = (range(start, min(start + self.chunk, len(self))) for start in starts.tolist())
        return gather(self, numbers, chunks, np.empty((len(numbers), *self.shape[1:]), self.dtype.newbyteorder("=")))

    def parts(self, rows: int) -> list[range]:
        """Return ranges of whole chunks, several together where they are small."""
        size = self.chunk * max(1, rows // self.chunk)
        return [range(start, min(start + size, len(self))) for start in range(0, len(self), size)]

    def scan(self, part: range, rows: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield blocks of a part, each of a chunk or of ``rows`` rows."""
        size = max(self.chunk, rows or len(part))
        for start in range(part.start, part.stop, size):
            yield start, self.read(slice(start, min(start + size, part.stop)))


def require_chunks(array: Any, name: str) -> None:
    """Raise if a row or a chunk of an array in a file needs more memory than it may take, or almost none is there."""
    size = array.dtype.itemsize
    row, chunk = size * math.prod(array.shape[1:]), size * math.prod(array.chunks or (1,))
    require_room(name, max(row, chunk), "has rows or chunks that take")
    if size * array.size > max(MOST_EMPTY, RATIO * (there := _stored_bytes(array))):
        claimed = f"{size * array.size / 1e9:,.3g} GB in {there:,} bytes"
        raise DataError(f"{name} claims {claimed}: nearly all of it is not there; copy or save it again")


def _stored_bytes(array: Any) -> int:
    """Return the bytes of an array of h5py or Zarr in its file."""
    return int(array.id.get_storage_size() if hasattr(array, "id") else array.nbytes_stored())


def stored(array: Any, **annotations: Any) -> Source:
    """Return a source of an array in a file (of h5py or Zarr), which stays there if it is too large for memory."""
    require_numeric(array.dtype, annotations["name"])
    require_chunks(array, annotations["name"])
    if array.size * array.dtype.itemsize <= min(LAZY, room()):
        return ArraySource(np.asarray(array[...]), **annotations)

    def fetch(start: int, stop: int) -> NDArray[Any]:
        return np.asarray(array[start:stop])

    return ChunkedSource(fetch, array.shape, array.dtype, (array.chunks or (1,))[0], **annotations)
