"""Tables in Arrow's own format, ``.arrow`` and ``.feather``, and what all formats that pyarrow reads share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from latentmap.data.formats.arrow_bounds import require_buffers, require_rows
from latentmap.data.formats.base import Request, Source, reading
from latentmap.data.formats.frames import pyarrow_module, table_of


def arrow_source(request: Request) -> Source:
    """Return a source of an ``.arrow`` or ``.feather`` file: Arrow's file format, or its stream, as of Hugging Face."""
    path, ipc = request.path, pyarrow_module("ipc")
    with reading(path, "Arrow"), path.open("rb") as stream:
        is_file = stream.read(6) == b"ARROW1"
        stream.seek(0)
        require_buffers(path, 8 if is_file else 0)
        table = (ipc.open_file if is_file else ipc.open_stream)(stream).read_all()
    return table_source(table, request)


def table_source(table: Any, request: Request) -> Source:
    """Return a source of a table of pyarrow that was read from a file."""
    with reading(request.path, "Arrow"):
        require_rows(request.path, table)
        table.validate(full=True)  # damaged offsets of text would be read beyond its end
        return table_of(replace(request, data=table))
