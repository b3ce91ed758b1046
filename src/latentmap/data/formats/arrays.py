"""Rows that are in memory already, or look as if they were: arrays, tensors, data frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import narwhals as nw
import numpy as np
from narwhals.exceptions import DuplicateError
from numpy.typing import ArrayLike, NDArray

from latentmap.data.columns import Asked, Cells, Table, table_for
from latentmap.data.formats.base import Labels, Source, given_labels, plain_labels, suggest, unique_names
from latentmap.data.frames import backend_of, cells_of
from latentmap.data.schema import Rows, require_exact, require_numeric
from latentmap.exceptions import DataError


class ArraySource(Source):
    """The rows of an array of shape (n, *event), in memory or memory-mapped.

    Raises
    ------
    DataError
        If there is no row, no feature or only one axis, or the values are not real numbers.

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
        require_numeric(array.dtype, name)
        if array.ndim < 2:
            hint = "use X.reshape(-1, 1) if it is one feature, X.reshape(1, -1) if it is one row"
            raise DataError(f"expected rows and features in {name}, got an array of shape {array.shape}: {hint}")
        if not len(array):
            raise DataError(f"{name} has no rows (shape {array.shape}): at least one is needed")
        if not array.size:
            raise DataError(f"{name} has 0 feature(s) (shape={array.shape}) while a minimum of 1 is required.")
        self.name = name
        self.names = None if names is None else unique_names(names, name)
        self.labels = given_labels(labels, len(array), name)
        self.label_name = label_name if self.labels is not None else None
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    def read(self, rows: Rows) -> NDArray[Any]:
        """Return the rows of a slice or an integer array, in the byte order of the machine; a view where it can be."""
        block = self._array[rows]
        if isinstance(block, np.memmap):
            block = np.array(block)  # a copy, so that no page of the file is held
        return native(block)


def native(block: NDArray[Any]) -> NDArray[Any]:
    """Give values in the byte order of the machine, at most in double precision."""
    wide = block.dtype.kind == "f" and block.itemsize > 8
    return np.asarray(block, dtype=np.dtype(np.float64) if wide else block.dtype.newbyteorder("="))


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
        columns: Table | Asked | None = None,
        *,
        backend: str | None = None,
        name: str = "X",
        labels: ArrayLike | None = None,
        label_name: str | None = None,
    ) -> None:
        self.table = table_for(cells, columns, backend=backend, name=name)
        rows = self.table.encode(cells, name)
        super().__init__(rows, name=name, names=self.table.names, labels=labels, label_name=label_name)
        self.remark = self.table.remark


def from_memory(data: Any, labels: Labels = None, name: str = "X", columns: Table | Asked | None = None) -> ArraySource:
    """Make a source of an array, a tensor, a data frame or nested lists.

    Parameters
    ----------
    data
        An array or tensor of shape (n, *event), or a data frame of pandas, polars or another library narwhals knows.
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
    try:
        frame = nw.from_native(data, pass_through=True)
    except DuplicateError as error:
        raise DataError(f"{name}: column names must be unique: {' '.join(str(error).split())}") from error
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    if isinstance(frame, nw.DataFrame):
        return _from_frame(frame, labels, name, columns)
    if columns is not None and not isinstance(columns, Table):
        raise DataError(f"{name} has no named columns to say anything of: give a data frame, or leave columns=None")
    return ArraySource(_as_array(data, name), name=name, labels=labels)


def _as_array(data: Any, name: str) -> NDArray[Any]:
    kind = f"{type(data).__module__}.{type(data).__qualname__}"
    if isinstance(data, np.ma.MaskedArray):
        raise DataError(f"{name} is a masked array: fill its missing values first, with .filled(value)")
    if kind.startswith("torch.") and hasattr(data, "detach"):
        tensor = data.detach().cpu()
        return np.asarray(tensor.float() if "bfloat16" in str(tensor.dtype) else tensor)  # numpy has no bfloat16
    if kind.startswith("scipy.sparse"):
        raise DataError(f"Sparse data is not supported: {name} is {kind}; make it dense with .toarray()")
    if not hasattr(data, "__array__") and not isinstance(data, list | tuple):
        raise DataError(
            f"{name} is {kind}: expected an array, a tensor, a data frame, a path or the name of a data set"
        )
    try:
        return np.asarray(data)
    except ValueError as error:
        raise DataError(f"{name}: rows must all have the same length ({error})") from error


def _from_frame(frame: nw.DataFrame[Any], labels: Labels, name: str, columns: Table | Asked | None) -> ArraySource:
    series = {str(column.name): column for column in frame.iter_columns()}  # by position: a name can be a number
    unique_names([str(known) for known in frame.columns], name)
    if isinstance(labels, str):
        if labels not in series:
            raise DataError(f"{name} has no column {labels!r}: {suggest(labels, list(series))}")
        values: NDArray[Any] | None = plain_labels(series.pop(labels).to_numpy())
    else:
        values = given_labels(labels, len(frame), name)
    label_name = labels if isinstance(labels, str) else None
    if not len(frame):
        raise DataError(f"{name} has no rows: at least one is needed")
    if columns is not None or not all(_plain(column) for column in series.values()):
        cells = cells_of(series.values(), name)
        return TableSource(cells, columns, backend=backend_of(frame), name=name, labels=values, label_name=label_name)
    numbers = [_numbers(column) for column in series.values()]
    array = np.stack(numbers, axis=1) if numbers else np.empty((len(frame), 0))
    if array.dtype.kind == "f":
        for known, column in zip(series, numbers, strict=True):
            require_exact(column[:, None], name, [known])
    return ArraySource(array, name=name, names=list(series), labels=values, label_name=label_name)


def _plain(series: nw.Series[Any]) -> bool:
    """Whether a column holds nothing but numbers."""
    return series.dtype.is_numeric() or series.dtype == nw.Boolean


def _numbers(series: nw.Series[Any]) -> NDArray[Any]:
    whole = series.dtype.is_integer() or series.dtype == nw.Boolean
    if series.dtype.is_decimal() or (whole and series.null_count()):
        series = series.cast(nw.Float64)
    return series.to_numpy()
