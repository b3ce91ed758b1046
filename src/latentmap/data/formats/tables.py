"""Tables in Arrow's own format, ``.arrow`` and ``.feather``, and what all formats that pyarrow reads share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from latentmap.data.columns import ColumnSpec
from latentmap.data.formats.base import LabelSpec, Request, Source, reading
from latentmap.data.formats.frames import pyarrow_module, table_of
from latentmap.data.selection import ALL_COLUMNS, Selection


def arrow_source(
    path: Path,
    labels: LabelSpec = None,
    columns: ColumnSpec = None,
    selection: Selection = ALL_COLUMNS,
    *,
    numeric: bool = False,
) -> Source:
    """Return a source of an ``.arrow`` or ``.feather`` file: Arrow's file format, or its stream, as of Hugging Face."""
    ipc = pyarrow_module("ipc")
    with reading(path, "Arrow"), path.open("rb") as stream:
        is_file = stream.read(6) == b"ARROW1"
        stream.seek(0)
        table = (ipc.open_file if is_file else ipc.open_stream)(stream).read_all()
    return table_source(table, path, labels, columns, selection, numeric=numeric)


def table_source(
    table: Any,
    path: Path,
    labels: LabelSpec,
    columns: ColumnSpec,
    selection: Selection = ALL_COLUMNS,
    *,
    numeric: bool = False,
) -> Source:
    """Return a source of a table of pyarrow that was read from a file."""
    with reading(path, "Arrow"):
        table.validate(full=True)  # damaged offsets of text would be read beyond its end
        return table_of(Request(table, labels, str(path), columns, numeric, selection))
