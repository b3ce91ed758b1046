"""What is in memory already: arrays, tensors, data frames, sparse matrices, cells and genes, data sets of items."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from latentmap.data.columns import Asked, Table
from latentmap.data.formats.annotated import annotated_source, is_annotated
from latentmap.data.formats.arrays import ArraySource, TableSource
from latentmap.data.formats.base import Labels, Source, given_labels, plain_labels
from latentmap.data.formats.items import arrow_table, is_hugging_face, is_items, read_items
from latentmap.data.formats.sparse import SparseSource, is_sparse
from latentmap.data.frames import as_frame, backend_of, cells_of, columns_of, numbers_of
from latentmap.data.values import plain_array
from latentmap.exceptions import DataError
from latentmap.messages import suggest


def from_memory(data: Any, labels: Labels = None, name: str = "X", columns: Table | Asked | None = None) -> Source:
    """Make a source of an array, a tensor, a data frame, a sparse matrix, nested lists, or items that are arrays.

    Parameters
    ----------
    data
        An array or tensor of shape (n, *event), a data frame of pandas, polars or another library narwhals knows, a
        sparse matrix of scipy, an ``AnnData``, or a map-style data set.
    labels
        The name of a column of the frame, which is then left out of the rows; or one label a row.
    name
        What errors call the data.
    columns
        What is known or asked of the columns of a table.

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
    if (frame := as_frame(data, name)) is not None:
        return _from_frame(frame, labels, name, columns)
    if is_hugging_face(data) and (table := arrow_table(data, labels)) is not None:
        return _from_frame(nw.from_native(table, eager_only=True), labels, name, columns)
    if columns is not None and not isinstance(columns, Table):
        raise DataError(f"{name} has no named columns to say anything of: give a data frame, or leave columns=None")
    if is_sparse(data):
        return SparseSource(data, name=name, labels=labels)
    if is_annotated(data):
        return annotated_source(data, labels, name)
    if is_items(data) and not hasattr(data, "detach"):
        rows, labels, label_name = read_items(data, labels, name)
        return ArraySource(rows, name=name, labels=labels, label_name=label_name)
    return ArraySource(plain_array(data, name), name=name, labels=labels)


def _from_frame(frame: nw.DataFrame[Any], labels: Labels, name: str, columns: Table | Asked | None) -> ArraySource:
    series = columns_of(frame)
    if isinstance(labels, str):
        if labels not in series:
            raise DataError(f"{name} has no column {labels!r}: {suggest(labels, list(series))}")
        values: NDArray[Any] | None = plain_labels(np.asarray(series.pop(labels).to_numpy()))
    else:
        values = given_labels(labels, len(frame), name)
    label_name = labels if isinstance(labels, str) else None
    if not len(frame):
        raise DataError(f"{name} has no rows: at least one is needed")
    array = numbers_of(series, len(frame), name) if columns is None else None
    if array is None:
        cells = cells_of(series.values(), name)
        return TableSource(cells, columns, backend=backend_of(frame), name=name, labels=values, label_name=label_name)
    return ArraySource(array, name=name, names=list(series), labels=values, label_name=label_name)
