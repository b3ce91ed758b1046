"""Rows of a selection as a file, with their ids and columns; or all ids, with a column that marks the selection."""

from __future__ import annotations

import importlib
import importlib.util
import io
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from latentmap.data.files import csv_writer
from latentmap.data.formats.frames import pyarrow_module
from latentmap.data.names import free_name
from latentmap.data.writing import as_text
from latentmap.exceptions import DataError
from latentmap.explorer.rows import ExploredRows, taken

Format = Literal["csv", "parquet"]


def formats() -> list[str]:
    """Return the formats that rows can be saved in."""
    return ["csv", *(["parquet"] if importlib.util.find_spec("pyarrow") else [])]


def saved(rows: ExploredRows, selected: NDArray[np.intp], names: Sequence[str], format_: str, what: str) -> bytes:
    """Return a file of rows.

    Parameters
    ----------
    rows
        All rows.
    selected
        Indices of those of the selection.
    names
        Names of the values of a row, for data that are numbers alone.
    format_
        "csv" or "parquet".
    what
        "rows" for the rows of the selection, "label" for a column ``selected`` of 0 and 1 for all rows.
    """
    if format_ not in ("csv", "parquet") or what not in ("rows", "label"):
        raise DataError("expected format=csv or parquet, and as=rows or label")
    columns = _label(rows, selected) if what == "label" else _rows(rows, selected, names)
    return _parquet(columns) if format_ == "parquet" else _csv(columns)


def _key(rows: ExploredRows, at: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
    """Return the ids of rows, or their numbers in the data, from 0."""
    return {"row": rows.numbers[at]} if rows.ids is None else {rows.id_name or "id": rows.ids[at]}


def _label(rows: ExploredRows, selected: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
    mark = np.zeros(len(rows), dtype=np.uint8)
    mark[selected] = 1
    key = _key(rows, np.arange(len(rows)))
    return {**key, free_name("selected", key): mark}


def _rows(rows: ExploredRows, selected: NDArray[np.intp], names: Sequence[str]) -> dict[str, NDArray[Any]]:
    if rows.columns:
        own = {name: taken(cells, selected).as_they_were() for name, cells in rows.columns.items()}
    else:
        flat = rows.values[selected].reshape(len(selected), -1)
        own = {name: flat[:, i] for i, name in enumerate(names)}
    ((name, key),) = _key(rows, selected).items()
    if name in own and list(map(str, own[name].tolist())) == list(map(str, key.tolist())):
        del own[name]  # the ids are that column
    columns = {free_name(name, own): key}
    if rows.labels is not None and rows.label_name not in own:
        columns[free_name(rows.label_name or "label", {**own, **columns})] = rows.labels[selected]
    return columns | own


def _csv(columns: dict[str, NDArray[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv_writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*map(as_text, columns.values()), strict=True))
    return text.getvalue().encode()


def _parquet(columns: dict[str, NDArray[Any]]) -> bytes:
    parquet, pyarrow = pyarrow_module("parquet"), importlib.import_module("pyarrow")
    arrays = {name: pyarrow.array(_typed(values), from_pandas=True) for name, values in columns.items()}
    stream = io.BytesIO()
    parquet.write_table(pyarrow.table(arrays), stream)
    return stream.getvalue()


def _typed(values: NDArray[Any]) -> Any:
    """Return cells that pyarrow gives one type: objects of several become text."""
    if values.dtype != object:
        return values
    kinds = {type(one) for one in values.tolist() if one is not None}
    return values if len(kinds) < 2 else [None if one is None else str(one) for one in values.tolist()]
