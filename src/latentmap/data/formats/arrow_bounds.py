"""How much memory tables of Arrow and parquet take once they are unpacked, before they are."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from latentmap.data.formats.frames import pyarrow_module
from latentmap.data.formats.unpacked import require_room, room

RECORDS, DICTIONARY = 3, 2
"""Numbers of the kinds of messages that hold columns."""
MOST_EMPTY = 64
"""Bytes of a table that a byte of its file may become, beyond the memory that it may take."""


def require_buffers(path: Path, start: int) -> None:
    """Raise if the compressed buffers of Arrow's messages, from this byte of a file on, do not fit in memory."""
    lib, ipc, size = pyarrow_module("lib"), pyarrow_module("ipc"), 0
    with lib.memory_map(str(path)) as file:
        file.seek(start)
        for message in ipc.MessageReader.open_stream(file):
            size += sum(_unpacked(message))
            require_room(path, size)


def require_rows(path: Path, table: Any) -> None:
    """Raise if a table has far more cells than its file can hold, and they do not fit in memory."""
    size = 8 * table.num_rows * table.num_columns
    if size > MOST_EMPTY * path.stat().st_size:
        require_room(path, size)


def require_texts(path: Path, footer: Any, names: Iterable[str]) -> None:
    """Raise if the texts of a parquet file do not fit in memory: one may be stored once for many rows."""
    parquet, wanted = pyarrow_module("parquet"), set(names)
    sizes: dict[str, int] = {}
    for group in (footer.row_group(i) for i in range(footer.num_row_groups)):
        for column in (group.column(j) for j in range(group.num_columns)):
            if column.physical_type == "BYTE_ARRAY" and column.path_in_schema in wanted:
                most = group.num_rows * column.total_uncompressed_size
                sizes[column.path_in_schema] = sizes.get(column.path_in_schema, 0) + most
    for name in (name for name, most in sizes.items() if most > room()):
        size = 0
        with parquet.ParquetFile(path, read_dictionary=[name]) as file:
            for i in range(footer.num_row_groups):
                size += sum(map(_text_bytes, file.read_row_group(i, [name]).column(0).chunks))
                require_room(path, size, f"holds text in {name!r} that takes")


def _text_bytes(column: Any) -> int:
    """Return the bytes of the texts of a column, each as often as it is there."""
    compute, types = pyarrow_module("compute"), pyarrow_module("types")
    if not types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = compute.binary_length(column.dictionary).cast("int64")
    return int(compute.sum(lengths.take(column.indices)).as_py() or 0)


def _unpacked(message: Any) -> Iterator[int]:
    """Yield the lengths that the compressed buffers of a message claim to have.

    A message is a flatbuffer: a table holds the place of a list of the places of its fields, of which 1 and 2 are kind
    and content here; those of the content are rows, nodes, buffers (offset and length each) and compression.
    """
    head, body = message.metadata.to_pybytes(), message.body
    table = _place(head, 0)
    kind = head[_field(head, table, 1)]
    if kind not in (RECORDS, DICTIONARY) or body is None:
        return
    records = _place(head, _field(head, table, 2))
    if kind == DICTIONARY:
        records = _place(head, _field(head, records, 1))
    buffers, compression = _field(head, records, 2), _field(head, records, 3)
    if not buffers or not compression:
        return
    first = _place(head, buffers)
    for i in range(struct.unpack_from("<I", head, first)[0]):
        offset, length = struct.unpack_from("<qq", head, first + 4 + 16 * i)
        if length >= 8:
            yield max(0, struct.unpack_from("<q", body, offset)[0])


def _place(content: bytes, at: int) -> int:
    return int(at + struct.unpack_from("<I", content, at)[0])


def _field(content: bytes, table: int, number: int) -> int:
    """Return where a field of a table lies; 0 if it is not there."""
    places = table - struct.unpack_from("<i", content, table)[0]
    at = 4 + 2 * number
    there = at < struct.unpack_from("<H", content, places)[0]
    offset = struct.unpack_from("<H", content, places + at)[0] if there else 0
    return int(table + offset) if offset else 0
