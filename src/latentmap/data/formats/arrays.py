"""Rows of an array in memory, or memory-mapped; of tensors, lists and tables as well."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentmap.data.checks import require_numeric
from latentmap.data.column_kinds import learn_table
from latentmap.data.columns import Cells, ColumnSpec, Requested
from latentmap.data.embeddings import with_embeddings
from latentmap.data.formats.base import Request, Source
from latentmap.data.schema import RowIndex
from latentmap.data.values import is_tensor, native, plain_array
from latentmap.exceptions import DataError


def array_source(request: Request) -> Source | None:
    """Return a source of an array, a tensor or nested lists."""
    data = request.data
    return any_array(request) if isinstance(data, np.ndarray | list | tuple) or is_tensor(data) else None


def any_array(request: Request) -> Source:
    """Return a source of anything that numpy can read."""
    request.require_no_columns()
    mapped = isinstance(request.data, np.memmap) and request.data.dtype.kind in "biuf"  # read when it is needed
    array = request.data if mapped else plain_array(request.data, request.name)
    return ArraySource(array, name=request.name, labels=request.labels)


def joined_notes(notes: Iterable[str | None], most: int = 6) -> str | None:
    """Return notes as one line, of which the last say how many more there are; None if there are none.

    >>> joined_notes(["one", None, "two", "three"], most=2)
    'one; two; and 1 more'
    """
    kept = [note for note in notes if note]
    more = [f"and {len(kept) - most} more"] if len(kept) > most else []
    return "; ".join([*kept[:most], *more]) or None


class ArraySource(Source):
    """The rows of an array of shape (n, *event), in memory or memory-mapped.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> source = ArraySource(load_digits().images)
    >>> len(source), source.read(slice(0, 2)).shape, source.schema.kind
    (1797, (2, 8, 8), 'image')
    """

    def __init__(
        self,
        array: NDArray[Any],
        *,
        name: str = "X",
        names: Sequence[str] | None = None,
        labels: ArrayLike | None = None,
        label_name: str | None = None,
    ) -> None:
        if array.dtype.kind not in "biuf":
            require_numeric(array.dtype, name)
        if array.ndim < 2:
            hint = f"use {name}.reshape(-1, 1) if it is one feature, {name}.reshape(1, -1) if it is one row"
            raise DataError(
                f"expected rows and features in {name}, got an array of shape {array.shape}: {hint}. Reshape your data"
            )
        if not len(array):
            raise DataError(f"{name} has no rows (shape {array.shape}): at least one is needed")
        if not array.size:
            raise DataError(f"{name} has 0 feature(s) (shape={array.shape}) while a minimum of 1 is required.")
        self._array = array
        self.annotate(name, names, labels, label_name, width=array.shape[1])

    def __len__(self) -> int:
        return len(self._array)

    def read(self, rows: RowIndex) -> NDArray[Any]:
        """Return the rows of a slice or an integer array, in the machine's byte order; a view where possible."""
        block = self._array[rows]
        if isinstance(block, np.memmap):
            block = np.array(block)  # a copy, so that no page of the file stays in memory
        return native(block)


class TableSource(ArraySource):
    """The rows of a table of mixed columns, as numbers.

    >>> cells = [Cells("height", np.array([1.5, 2.0])), Cells("species", np.array(["oak", "elm"], dtype=object))]
    >>> source = TableSource(cells)
    >>> source.read(slice(None)).tolist(), source.table.columns[1].categories
    ([[1.5, 1.0], [2.0, 0.0]], ('elm', 'oak'))
    """

    def __init__(
        self,
        cells: Sequence[Cells],
        columns: ColumnSpec = None,
        *,
        backend: str | None = None,
        name: str = "X",
        labels: ArrayLike | None = None,
        label_name: str | None = None,
        room: NDArray[np.float64] | None = None,
    ) -> None:
        numbers = cells
        if isinstance(columns, Requested):
            numbers, columns = with_embeddings(cells, columns, name)
        self.table = learn_table(numbers, columns, backend=backend, name=name)
        alike = self.table.names == [column.name for column in cells]
        if alike and room is not None:  # in which the places of categories take that of their numbers
            levels = {column.name for column in self.table.columns if column.categories}
            cells = [replace(c, values=c.values.copy()) if c.name in levels and c.numeric else c for c in cells]
        rows = self.table.encode(numbers, name, room=room if alike else None)
        super().__init__(rows, name=name, names=self.table.names, labels=labels, label_name=label_name)
        notes = [*dict.fromkeys(column.note for column in cells if column.note), self.table.remark]
        self.remark = joined_notes(notes)
        self.cells = tuple(cells)
