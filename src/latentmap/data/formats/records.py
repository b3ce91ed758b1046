"""Tables whose columns arrive as lists of Python's values: of sheets, databases and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any

import narwhals as nw

from latentmap.data.checks import EXACT
from latentmap.data.formats.base import Request, Source
from latentmap.data.formats.frames import frame_source
from latentmap.data.formats.unpacked import require_columns
from latentmap.data.frames import installed_backends
from latentmap.data.objects import vectors_advice
from latentmap.exceptions import DataError

Columns = Mapping[str, Sequence[Any]]
MOST_LISTED = 5


def columns_source(columns: Columns, request: Request, notes: Iterable[str] = ()) -> Source:
    """Return a source of columns of Python's values, which become a data frame with one type a column.

    A column that mixes text or times with other values becomes text, as in a ``.csv``. Columns of bytes, lists or
    objects are left out; ``remark`` lists them after the ``notes``.
    """
    require_columns(request.name, len(columns))
    settled = {name: _settled(values) for name, values in columns.items()}
    kept: dict[str, Any] = {name: values for name, values in settled.items() if values is not None}
    left = [name for name in settled if name not in kept]
    if not kept:
        advice = next(filter(None, map(vectors_advice, columns.values())), "")
        raise DataError(f"{request.name} holds no column of numbers, text or dates{advice}")
    backend: Any = installed_backends()[0]
    source = frame_source(replace(request, data=nw.from_dict(kept, backend=backend).to_native(), gaps=True))
    assert source is not None
    if left:
        more = f" and {len(left) - MOST_LISTED} more" if len(left) > MOST_LISTED else ""
        notes = [*notes, f"left out, as no numbers, text or dates: {', '.join(left[:MOST_LISTED])}{more}"]
    source.remark = "; ".join([*notes, *([source.remark] if source.remark else [])]) or None
    return source


def rows_as_columns(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Return rows of equal length as columns, whose names are unique.

    >>> rows_as_columns(["a", "b"], [[1, 2], [3, 4]])
    {'a': (1, 3), 'b': (2, 4)}
    """
    return dict(zip(names, zip(*rows, strict=True), strict=True))


def _settled(values: Sequence[Any]) -> list[Any] | None:
    """Return a column with values of one type and None; None if it holds bytes, lists or objects."""
    cells = [None if isinstance(value, float) and math.isnan(value) else value for value in values]
    kinds = {_kind(value) for value in cells if value is not None}
    if "other" in kinds:
        return None
    if kinds <= {"int", "float"} and kinds != {"int"}:
        whole = all(value is None or (abs(value) <= EXACT and value == int(value)) for value in cells)
        return [None if value is None else (int if whole else float)(value) for value in cells]
    if len(kinds) <= 1 and not kinds & {"span", "large"}:
        return cells
    if kinds == {"date", "datetime"}:
        return [datetime(v.year, v.month, v.day) if type(v) is date else v for v in cells]
    return [None if value is None else _as_text(value) for value in cells]


def _kind(value: Any) -> str:
    match value:
        case bool() | float() | str():
            return type(value).__name__
        case int():
            return "int" if abs(value) <= EXACT else "large"
        case datetime():
            return "datetime" if value.tzinfo is None else "zoned"
        case date():
            return "date"
        case time() | timedelta():
            return "span"
    return "other"


def _as_text(value: Any) -> str:
    """Return a value as the text of a ``.csv``.

    >>> [_as_text(value) for value in (3.0, 0.5, "a", True, date(2020, 5, 1), timedelta(hours=30.0001), time(8, 30))]
    ['3', '0.5', 'a', 'True', '2020-05-01', '30:00:00.36', '08:30:00']
    """
    if isinstance(value, float) and value.is_integer():
        return f"{value:.0f}"
    if isinstance(value, timedelta):
        seconds, micros = divmod(abs(value) // timedelta(microseconds=1), 1_000_000)
        fraction = f".{micros:06d}".rstrip("0") if micros else ""
        sign = "-" if value < timedelta() else ""
        return f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}"
    return str(value)
