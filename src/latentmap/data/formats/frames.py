"""Sources of data frames in memory, and of data sets of Hugging Face that are tables."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import narwhals as nw
import numpy as np

from latentmap.data.cells import DAY
from latentmap.data.columns import Table
from latentmap.data.formats.arrays import ArraySource, TableSource
from latentmap.data.formats.base import Request, Source, name_of, plain_labels
from latentmap.data.formats.items import arrow_table, is_hugging_face
from latentmap.data.frames import (
    as_frame,
    backend_of,
    cells_of,
    columns_of,
    empty_frame,
    has_digits,
    named_as,
    non_numeric,
    numbers_of,
)
from latentmap.data.heading import Heading, text_of
from latentmap.data.identifiers import has_ids
from latentmap.data.names import known_names
from latentmap.data.selection import values_of
from latentmap.exceptions import DataError, MissingExtraError


def frame_source(request: Request) -> Source | None:
    """Return a source of a data frame of any library, or of a table of Hugging Face's."""
    data = request.data
    if hasattr(data, "__arrow_c_stream__") and type(data).__module__.startswith("pyarrow"):
        return table_of(replace(request, data=pyarrow_module("lib").table(data)))
    if (frame := as_frame(data, request.name)) is not None:
        return _of_frame(frame, request)
    if not is_hugging_face(data) or (table := arrow_table(data, request.labels)) is None:
        return None
    return table_of(replace(request, data=table))


def table_of(request: Request) -> Source:
    """Return a source of a table of pyarrow, without the columns that pandas wrote as a row index."""
    index, beside = index_columns(request.data.schema), request.selection.beside
    table = request.data.drop_columns([name for name in index if name not in beside])
    table = _with_durations(table)
    if (frame := as_frame(table, request.name)) is None:
        raise DataError(f"{request.name} is no table that can be read: expected named columns")
    left_out = tuple(name for name in index if name in beside)
    selection = replace(request.selection, left_out=(*request.selection.left_out, *left_out))
    return _of_frame(frame, replace(request, selection=selection))


def _with_durations(table: Any) -> Any:
    """Return a table of pyarrow whose intervals, as DuckDB has, are durations, where none has months."""
    lib, types = pyarrow_module("lib"), pyarrow_module("types")
    for i, field in enumerate(table.schema):
        if not types.is_interval(field.type):
            continue
        spans = table.column(i).to_pylist()
        if not any(span is not None and span.months for span in spans):
            micros = [None if s is None else s.days * DAY + s.nanoseconds // 1000 for s in spans]
            table = table.set_column(i, field.name, lib.array(micros, lib.duration("us")))
    return table


def _of_frame(frame: nw.DataFrame[Any], request: Request) -> ArraySource:
    frame = named_as(frame, known_names(request))
    series, name, selection = columns_of(frame), request.name, request.selection
    label_name = name_of(request.labels, list(series), f"{name} has no column")
    labels = request.labels if label_name is None else plain_labels(np.asarray(series[label_name].to_numpy()))
    if not len(frame):
        raise DataError(f"{name} has no rows: at least one is needed")
    kept = selection.kept(list(series), label_name, name)
    source = _of_columns(frame, {column: series[column] for column in kept}, request, labels, label_name)
    source.beside = {column: values_of(series[column]) for column in selection.found(list(series))}
    source.ignored = selection.ignored(list(series), label_name)
    return source


def _of_columns(
    frame: nw.DataFrame[Any], series: dict[str, nw.Series[Any]], request: Request, labels: Any, label_name: str | None
) -> ArraySource:
    """Return a source of some columns of a frame."""
    name = request.name
    array = numbers_of(series, len(frame), name) if request.columns is None else None
    if array is not None and not request.numeric:
        whole = [one for one in series.values() if one.dtype.is_integer() and not one.null_count()]
        empty = len(array) > 0 and np.isnan(array).all(axis=0).any()
        array = None if empty or has_ids(cells_of(whole, name)) or has_digits(series.values()) else array
    if array is not None:
        source = ArraySource(array, name=name, names=list(series), labels=labels, label_name=label_name)
        source.header = _header(frame, list(series))
        return source
    cells, backend = cells_of(series.values(), name, request.columns), backend_of(frame)
    if request.gaps:
        cells = [one.as_whole() for one in cells]
    if request.numeric:
        if any(not column.numeric or column.type.startswith("Date") for column in cells):
            raise non_numeric(series, name)
        rows = np.stack([column.values for column in cells], axis=1)
        source = ArraySource(rows, name=name, names=list(series), labels=labels, label_name=label_name)
        source.header = empty_frame(list(series))
        return source
    source = TableSource(cells, request.columns, backend=backend, name=name, labels=labels, label_name=label_name)
    if backend == "pandas" and source.table is not None and not isinstance(request.columns, Table):
        source.table = replace(source.table, heading=Heading.of(frame.to_native().columns))
    return source


def _header(frame: nw.DataFrame[Any], kept: list[str]) -> Any:
    """Return a frame without rows that has some columns of another."""
    empty, names = frame.head(0), list(map(text_of, frame.columns))
    if kept == names:
        return empty.to_native()
    try:
        return empty[:, [names.index(column) for column in kept]].to_native()
    except ValueError:  # pandas cannot take columns of a block in the other byte order
        return empty_frame(kept)


def index_columns(schema: Any) -> list[str]:
    """Return the names of the columns that pandas wrote as a row index."""
    try:
        stored = (schema.pandas_metadata or {}).get("index_columns", [])
        return [name for name in stored if isinstance(name, str) and name in schema.names]
    except (AttributeError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"what pandas wrote beside its columns cannot be read: {error}") from error


def pyarrow_module(module: str) -> Any:
    """Return a module of pyarrow."""
    try:
        return importlib.import_module(f"pyarrow.{module}")
    except ImportError as error:
        raise MissingExtraError("pyarrow", "tables") from error
