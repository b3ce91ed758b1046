"""Tables in Arrow's own format, ``.arrow`` and ``.feather``, and what all formats that pyarrow reads share."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from latentmap.data.columns import ColumnSpec
from latentmap.data.formats.base import LabelSpec, Request, Source, reading
from latentmap.data.formats.frames import table_of
from latentmap.exceptions import MissingExtraError


def arrow_source(path: Path, labels: LabelSpec = None, columns: ColumnSpec = None) -> Source:
    """Return a source of an ``.arrow`` or ``.feather`` file: Arrow's file format, or its stream, as of Hugging Face."""
    ipc = pyarrow_module("ipc")
    with reading(path, "Arrow"), path.open("rb") as stream:
        is_file = stream.read(6) == b"ARROW1"
        stream.seek(0)
        table = (ipc.open_file if is_file else ipc.open_stream)(stream).read_all()
    return table_source(table, path, labels, columns)


def table_source(table: Any, path: Path, labels: LabelSpec, columns: ColumnSpec) -> Source:
    """Return a source of a table of pyarrow that was read from a file."""
    with reading(path, "Arrow"):
        table.validate(full=True)  # damaged offsets of text would be read beyond its end
        index = index_columns(table.schema)
        return table_of(Request(table.drop_columns(index) if index else table, labels, str(path), columns))


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
