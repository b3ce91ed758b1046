"""How much memory tables of Arrow and parquet take once they are unpacked, before they are."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.formats.frames import pyarrow_module
from latentmap.data.formats.unpacked import require_columns, require_room, room
from latentmap.data.remote import readable
from latentmap.exceptions import DataError

RECORDS, DICTIONARY = 3, 2
"""Numbers of the kinds of messages that hold columns."""
VALUE = 64
"""Bytes that a value within a list takes, while it is converted."""
FOOTER = 16
"""Bytes that a byte of the footer of a parquet file takes, once it is read."""
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
    """Raise if a table has far more cells, text or lists than its file can hold, and they do not fit in memory."""
    require_columns(path, table.num_columns)
    size = 8 * table.num_rows * table.num_columns
    if size > MOST_EMPTY * path.stat().st_size:
        require_room(path, size)
    for name, column in zip(table.column_names, table.columns, strict=True):
        if (size := sum(map(value_bytes, column.chunks))) > column.nbytes:
            require_room(path, size, f"holds values in {name!r} that take")


def footer_of(path: Path) -> Any:
    """Return the description of a parquet file, whose length stands before its last four bytes.

    Raises
    ------
    DataError
        If it takes too much memory, or the file is encrypted.
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8))
        length, mark = int.from_bytes(file.read(4), "little"), file.read(4)
    if length <= path.stat().st_size:  # what is longer is damaged
        require_room(path, FOOTER * length, "has a footer that takes")
    footer = None
    if mark != b"PARE":
        with readable(path) as opened:
            footer = pyarrow_module("parquet").read_metadata(opened)
    if footer is None or footer.serialized_size < length:  # signed, as encrypted columns need
        raise DataError(f"{path} is encrypted: save it without encryption")  # pyarrow may end the process
    return footer


def require_texts(path: Path, footer: Any, names: Iterable[str]) -> None:
    """Raise if texts and lists of a parquet file do not fit in memory: a value may be stored once for many rows."""
    parquet, flat = pyarrow_module("parquet"), set(footer.schema.to_arrow_schema().names)
    unread = flat - set(names)
    sizes, lists = dict[str, int](), dict[str, int]()
    for group in (footer.row_group(i) for i in range(footer.num_row_groups)):
        for column in (group.column(j) for j in range(group.num_columns)):
            if (name := column.path_in_schema) in unread:
                continue
            if name not in flat:  # a part of lists or records, such as a.list.element
                lists[name] = lists.get(name, 0) + VALUE * column.num_values
                require_room(path, lists[name], f"holds values in {name!r} that take")
            if column.physical_type == "BYTE_ARRAY":
                sizes[name] = sizes.get(name, 0) + column.num_values * column.total_uncompressed_size
    for name in (name for name, most in sizes.items() if most > room()):
        size = 0
        with readable(path) as opened, parquet.ParquetFile(opened, read_dictionary=[name]) as file:
            for i in range(footer.num_row_groups):
                size += sum(map(value_bytes, file.read_row_group(i, [name]).column(0).chunks))
                require_room(path, size, f"holds text in {name!r} that takes")


def value_bytes(column: Any) -> int:
    """Return the bytes of the values of a column, each as often as it is there; `VALUE` for each within a list.

    >>> import pyarrow as pa
    >>> value_bytes(pa.array(["abc", "de", "abc"]).dictionary_encode()), value_bytes(pa.array([[1, 2, 3], [4]]))
    (8, 288)
    """
    types = pyarrow_module("types")
    if types.is_dictionary(column.type):
        return int(_each(column.dictionary)[column.indices.drop_null().to_numpy()].sum())
    if types.is_run_end_encoded(column.type):
        return int(_each(column.values) @ np.diff(column.run_ends.to_numpy().astype(np.int64), prepend=0))
    if types.is_map(column.type):
        return sum(VALUE * len(part) + value_bytes(part) for part in (column.keys, column.items))
    if types.is_struct(column.type):
        return sum(VALUE * len(column) + value_bytes(column.field(i)) for i in range(column.type.num_fields))
    if _is_list(column.type):
        count = int(pyarrow_module("compute").list_value_length(column).cast("int64").sum().as_py() or 0)
        within = value_bytes(column.values) / max(1, len(column.values))  # lists may share their values
        return int(count * (VALUE + within))
    if _is_view(column.type):
        return int(_each(column).sum())
    return VALUE * len(column) if types.is_nested(column.type) else int(column.nbytes)


def _is_view(type_: Any) -> bool:
    types = pyarrow_module("types")
    return bool(types.is_string_view(type_) or types.is_binary_view(type_))


def _each(column: Any) -> NDArray[np.int64]:
    """Return the bytes of each value of a column."""
    types, type_ = pyarrow_module("types"), column.type
    if _is_view(type_):  # a view of 16 bytes begins with a length
        views = np.frombuffer(column.buffers()[1], "<i4").reshape(-1, 4)
        return views[column.offset : column.offset + len(column), 0].astype(np.int64)
    if types.is_large_string(type_) or types.is_large_binary(type_) or types.is_string(type_) or types.is_binary(type_):
        lengths = pyarrow_module("compute").binary_length(column).cast("int64").fill_null(0)
        return np.asarray(lengths.to_numpy(), np.int64)
    return np.full(len(column), value_bytes(column) / max(1, len(column)), np.int64)


def _is_list(type_: Any) -> bool:
    types = pyarrow_module("types")
    views = types.is_list_view(type_) or types.is_large_list_view(type_)
    lists = types.is_list(type_) or types.is_large_list(type_) or types.is_fixed_size_list(type_)
    return bool(views or lists)


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
