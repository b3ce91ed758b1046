"""Tables as JSON: one value, ``.json``, or a record a line, ``.jsonl`` and ``.ndjson``; also gzipped."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from latentmap.data.formats.base import Request, Source, reading, unique_names
from latentmap.data.formats.records import columns_source, rows_as_columns
from latentmap.data.formats.unpacked import require_columns, require_room, unpacked
from latentmap.data.names import twice
from latentmap.exceptions import DataError
from latentmap.messages import error_line

EXPECTED = 'expected records, [{"a": 1, "b": 2}, ...], or columns, {"a": [1, ...], "b": [2, ...]}'
ROOM = 16
"""Bytes of memory that a byte of JSON may take; less than records of one small number do, as most hold more."""
EMPTY = 64
"""Bytes of memory that a list or an object takes beside its text."""
MOST_EMPTY = 2**22
"""Cells beyond which a table must not be almost empty."""
A_DAY = 86_400_000
FIRST_TIME, LAST_TIME = 365 * A_DAY, 130 * 366 * A_DAY
"""Milliseconds since 1970 that are taken for times: of the years 1971 to 2100."""
NAMES_OF_TIMES = re.compile(r"(_at|_time)$|^(timestamp|modified|date)|^time$")
"""The columns that pandas.read_json takes for times."""
LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")


def json_source(request: Request) -> Source:
    """Return a source of a table as JSON; an object within a record becomes columns called ``outer.inner``.

    Tables are lists of records or of rows, an object of columns, what pandas writes (``orient`` "columns", "split",
    "table", "records", "values"), or an object with one list of records among other entries. Columns of lists and of
    deeper objects are left out, with a remark. The text is UTF-8, UTF-16 or UTF-32.

    Raises
    ------
    DataError
        If the file is not JSON, with the line, or holds no table.
    """
    path = request.path
    with reading(path, "JSON"):
        content = unpacked(path)
        require_room(path, ROOM * len(content) + EMPTY * (content.count(b"[") + content.count(b"{")), "needs")
        text = content.decode(json.detect_encoding(content)).removeprefix("\ufeff")
        value = _lines(path, text) if path.name.lower().endswith(LINES) else _value(path, text)
        columns = _table(path, value)
        return columns_source({name: _dated(name, cells) for name, cells in columns.items()}, request)


def _value(path: Path, text: str) -> Any:
    """Return the value of a text of JSON, or the list of those of its lines."""
    try:
        return json.loads(text, object_pairs_hook=partial(_object, path))
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text[: error.pos].count("\n") == 1:
            return _lines(path, text)
        raise DataError(f"{path}: not JSON ({error_line(error)}); copy or save it again") from error


def _lines(path: Path, text: str) -> list[Any]:
    """Return the values of the lines that are not blank."""
    values = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                values.append(json.loads(line, object_pairs_hook=partial(_object, path)))
            except json.JSONDecodeError as error:
                message = f"line {number} is not JSON ({error.msg} at character {error.pos + 1})"
                raise DataError(f"{path}: {message}: expected a record a line") from error
    return values


def _object(path: Path, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON, whose names must differ."""
    if len(found := dict(pairs)) < len(pairs):
        same = twice([name for name, _ in pairs])
        raise DataError(f"{path}: two entries of an object are called {same!r}; give each its own name")
    return found


def _table(path: Path, value: Any) -> Mapping[str, Sequence[Any]]:
    """Return a value of JSON as columns."""
    if isinstance(value, dict):
        return _of_object(path, value)
    if not isinstance(value, list):
        raise DataError(f"{path} holds {_named(value)}, which is no table: {EXPECTED}")
    if not value:
        raise DataError(f"{path} has no rows: at least one is needed")
    kinds = {type(item) for item in value}
    if kinds == {dict}:
        return _of_records(path, value)
    if kinds == {list}:
        names = value[0] if all(isinstance(cell, str) for cell in value[0]) else None
        return _of_rows(path, names, value if names is None else value[1:])
    at = next((i for i, item in enumerate(value) if type(item) is not type(value[0])), 0)
    raise DataError(f"{path}: item {at + 1} is {_named(value[at])}, so it is no table: {EXPECTED}")


def _dated(name: str, cells: Sequence[Any]) -> Sequence[Any]:
    """Return milliseconds since 1970 as times: as pandas writes them, midnights all, or under a name of times.

    >>> _dated("planted", [1704067200000, None]), _dated("size", [1704067200001, None])
    ([datetime.datetime(2024, 1, 1, 0, 0), None], [1704067200001, None])
    """
    there = [cell for cell in cells if cell is not None]
    if not there or not all(type(cell) is int and FIRST_TIME <= cell < LAST_TIME for cell in there):
        return cells
    if not NAMES_OF_TIMES.search(name.lower()) and any(cell % A_DAY for cell in there):
        return cells
    return [None if cell is None else datetime(1970, 1, 1) + timedelta(milliseconds=cell) for cell in cells]


def _of_object(path: Path, value: dict[str, Any]) -> Mapping[str, Sequence[Any]]:
    if {"columns", "data"} <= value.keys() and isinstance(value["columns"], list) and isinstance(value["data"], list):
        return _of_rows(path, [str(name) for name in value["columns"]], value["data"])
    if value and all(isinstance(column, dict) for column in value.values()):  # as pandas writes it by default
        keys = dict.fromkeys(key for column in value.values() for key in column)
        if all(map(str.isdecimal, value)) and not all(map(str.isdecimal, keys)):  # a record for each row number
            return _of_records(path, list(value.values()))
        _require_filled(path, len(keys), len(value), sum(map(len, value.values())))
        return {name: [column.get(key) for key in keys] for name, column in value.items()}
    inner = [key for key, item in value.items() if isinstance(item, list) and item and isinstance(item[0], dict)]
    if len(inner) == 1:
        return _table(path, value[inner[0]])
    if not value or not all(isinstance(column, list) for column in value.values()):
        listed = ", ".join(map(repr, list(value)[:5])) or "no entries"
        raise DataError(f"{path} holds an object with {listed}, which is no table: {EXPECTED}")
    lengths = {name: len(column) for name, column in value.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name!r} {length:,}" for name, length in list(lengths.items())[:5])
        raise DataError(f"{path} holds columns of different lengths ({found}), so it is no table: {EXPECTED}")
    if not next(iter(lengths.values())):
        raise DataError(f"{path} has no rows: at least one is needed")
    return value


def _of_records(path: Path, records: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return records as columns; a key that a record lacks is missing there."""
    require_columns(path, max(map(len, records), default=0))
    try:
        rows = [_flat(record) for record in records]
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    names = dict.fromkeys(name for row in rows for name in row)
    _require_filled(path, len(rows), len(names), sum(map(len, rows)))
    nested = {name.rpartition(".")[0] for name in names} - {""}
    columns = {name: [row.get(name) for row in rows] for name in names}
    return {name: cells for name, cells in columns.items() if name not in nested or any(c is not None for c in cells)}


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record whose objects are entries of it.

    Raises
    ------
    DataError
        If two entries have the same name.

    >>> _flat({"id": 1, "size": {"height": 2, "width": 3}})
    {'id': 1, 'size.height': 2, 'size.width': 3}
    """
    row: dict[str, Any] = {}
    for key, value in record.items():
        own = {f"{key}.{inner}": item for inner, item in value.items()} if isinstance(value, dict) else {key: value}
        if same := row.keys() & own.keys():
            raise DataError(f"two entries of a record are called {same.pop()!r}; give each its own name")
        row |= own
    return row


def _of_rows(path: Path, names: Sequence[str] | None, rows: Sequence[Any]) -> dict[str, Sequence[Any]]:
    """Return rows of as many cells as there are names as columns; without names these are 1, 2, and so on."""
    if not rows:
        raise DataError(f"{path} has no rows: at least one is needed")
    width = len(rows[0] if names is None else names)
    for i, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != width:
            found = f"{len(row)} cells" if isinstance(row, list) else _named(row)
            raise DataError(f"{path}: row {i + 1} is {found}, expected {width} cells as in the first")
    names = [str(i + 1) for i in range(width)] if names is None else unique_names(names, str(path))
    return rows_as_columns(names, rows)


def _require_filled(path: Path, rows: int, columns: int, cells: int) -> None:
    """Raise if almost all of a large table would be missing."""
    if rows * columns > max(MOST_EMPTY, 100 * cells):
        message = f"{rows:,} records with {columns:,} different keys, most of which a record lacks"
        raise DataError(f"{path} holds {message}, so it is no table: {EXPECTED}")


def _named(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
