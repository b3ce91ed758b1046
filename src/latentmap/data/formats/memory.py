"""Data in memory: arrays, tensors, data frames, sparse matrices, cells and genes, map-style data sets.

An adapter is a function of a `Request` that returns a source, or None for data of another kind. A new kind of input is
one adapter in `ADAPTERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from latentmap.data.columns import ColumnSpec, Requested
from latentmap.data.formats.annotated import annotated_source, is_annotated
from latentmap.data.formats.arrays import ArraySource, TableSource
from latentmap.data.formats.base import Labels, Source, given_labels, plain_labels
from latentmap.data.formats.items import arrow_table, is_hugging_face, is_items, read_items
from latentmap.data.formats.sparse import SparseSource, is_scipy_sparse
from latentmap.data.frames import as_frame, backend_of, cells_of, columns_of, non_numeric, numbers_of
from latentmap.data.values import plain_array
from latentmap.exceptions import DataError
from latentmap.messages import suggest


@dataclass(frozen=True)
class Request:
    """Data to open, and what is known of them."""

    data: Any
    labels: Labels = None
    name: str = "X"
    columns: ColumnSpec = None
    numeric: bool = False
    """Whether a data frame must hold numbers alone."""

    def require_no_columns(self) -> None:
        """Refuse settings of named columns for data without such."""
        if isinstance(self.columns, Requested):
            raise DataError(
                f"columns= says something of named columns, and {self.name} has none: give a data frame, or leave it"
            )


def from_memory(
    data: Any,
    labels: Labels = None,
    name: str = "X",
    columns: ColumnSpec = None,
    *,
    numeric: bool = False,
) -> Source:
    """Make a source of an array, a tensor, a data frame, a sparse matrix, nested lists, or items that are arrays.

    Parameters
    ----------
    data : object
        An array or tensor of shape (n, *event), a data frame of pandas, polars or another library narwhals knows, a
        sparse matrix of scipy, an ``AnnData``, or a map-style data set.
    labels : str or array of shape (n,), default=None
        The name of a column of the frame, which is then left out of the rows; or one label a row.
    name : str, default="X"
        What errors call the data.
    columns : Table or Requested, default=None
        What is known or requested of the columns of a table.
    numeric : bool, default=False
        Whether a data frame must hold numbers alone, as that of the fit did.

    Raises
    ------
    DataError
        If the data cannot be turned into numbers in rows; says which column, and what to do with it.

    Examples
    --------
    >>> import pandas as pd
    >>> source = from_memory(pd.DataFrame({"height": [1.5, 2.0], "species": ["elm", "oak"]}), labels="species")
    >>> source.schema.names, source.labels.tolist()
    (('height',), ['elm', 'oak'])
    """
    request = Request(data, labels, name, columns, numeric)
    return next(source for adapt in ADAPTERS if (source := adapt(request)) is not None)


def _frame(request: Request) -> Source | None:
    frame = as_frame(request.data, request.name)
    return None if frame is None else _of_frame(frame, request)


def _hugging_face(request: Request) -> Source | None:
    if not is_hugging_face(request.data) or (table := arrow_table(request.data, request.labels)) is None:
        return None
    return _of_frame(nw.from_native(table, eager_only=True), request)


def _sparse(request: Request) -> Source | None:
    if not is_scipy_sparse(request.data):
        return None
    request.require_no_columns()
    return SparseSource(request.data, name=request.name, labels=request.labels)


def _annotated(request: Request) -> Source | None:
    if not is_annotated(request.data):
        return None
    request.require_no_columns()
    return annotated_source(request.data, request.labels, request.name)


def _items(request: Request) -> Source | None:
    if not is_items(request.data):
        return None
    request.require_no_columns()
    rows, labels, label_name = read_items(request.data, request.labels, request.name)
    return ArraySource(rows, name=request.name, labels=labels, label_name=label_name)


def _array(request: Request) -> Source:
    request.require_no_columns()
    mapped = isinstance(request.data, np.memmap) and request.data.dtype.kind in "biuf"  # read when it is needed
    array = request.data if mapped else plain_array(request.data, request.name)
    return ArraySource(array, name=request.name, labels=request.labels)


ADAPTERS: tuple[Callable[[Request], Source | None], ...] = (_frame, _hugging_face, _sparse, _annotated, _items, _array)
"""Tried in this order; the last takes whatever numpy reads, or says why it cannot."""


def _of_frame(frame: nw.DataFrame[Any], request: Request) -> ArraySource:
    series, labels, name = columns_of(frame), request.labels, request.name
    if isinstance(labels, str):
        if labels not in series:
            raise DataError(f"{name} has no column {labels!r}: {suggest(labels, list(series))}")
        values: NDArray[Any] | None = plain_labels(np.asarray(series.pop(labels).to_numpy()))
    else:
        values = given_labels(labels, len(frame), name)
    label_name = labels if isinstance(labels, str) else None
    if not len(frame):
        raise DataError(f"{name} has no rows: at least one is needed")
    array = numbers_of(series, len(frame), name) if request.columns is None else None
    if array is not None:
        source = ArraySource(array, name=name, names=list(series), labels=values, label_name=label_name)
        source.header = frame.head(0).to_native()
        return source
    if request.numeric:
        raise non_numeric(series, name)
    cells, backend = cells_of(series.values(), name), backend_of(frame)
    return TableSource(cells, request.columns, backend=backend, name=name, labels=values, label_name=label_name)
