"""Columns of Python's objects as numbers, truth values, dates, times or text."""

from __future__ import annotations

import contextlib
import numbers
import zoneinfo
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np

from latentmap.data.categories import word
from latentmap.data.cells import (
    DAY,
    MOST_SCALE,
    SECOND,
    Cells,
    date_type,
    days_since_epoch,
    decimal_type,
    object_array,
)
from latentmap.data.checks import EXACT, place
from latentmap.data.columns import ColumnSpec
from latentmap.data.text import MARKS, MISSING, SHARE, TRUTH, Texts, cells_of_text, note_of_others, text_settings
from latentmap.data.text_dates import duration, stamp
from latentmap.data.text_formats import EPOCH, TextFormat
from latentmap.data.text_numbers import amount
from latentmap.data.values import as_numbers, is_number


def of_text(values: Sequence[str | None], column: str, own: str, spec: ColumnSpec) -> Cells:
    """Return a column of text as what it stands for."""
    return replace(cells_of_text(column, values, text_settings(column, spec)), native=own)


def as_text(cells: Cells) -> Cells:
    """Return a column that came as text, so that numbers as Python writes them become text again.

    >>> as_text(Cells("n", np.array([1.5]))).format
    TextFormat(kind='plain', ...)
    """
    plain = cells.numeric and cells.format is None and cells.n_present
    return replace(cells, format=TextFormat("plain")) if plain else cells


def of_objects(values: Sequence[Any], column: str, name: str, own: str, spec: ColumnSpec = None) -> Cells | None:
    """Return a column of Python's objects as numbers, dates or text; None if they are anything else.

    Of several of these, all become text; dates and times together are times. Words among dates, times and truth values
    are missing, by the rules for text.
    """
    values, note = _without_words(values, column, spec)
    present = [value for value in values if value is not None]
    kinds = {kind for value in present if (kind := kind_of(value)) != "boolean"}
    if "other" in kinds:
        return None

    def where(row: int) -> str:
        return place([row, 0], names=[column])

    if not kinds:
        return Cells(column, as_numbers(values, name, where), "Boolean", own, note=note)
    if kinds == {"number"}:
        whole = all(isinstance(value, numbers.Integral) for value in present)
        if any(isinstance(value, numbers.Integral | Decimal) and abs(int(value)) > EXACT for value in present):
            return beyond(column, values, "Int64" if whole else "Float64", own, spec)
        return Cells(column, as_numbers(values, name, where), "Int64" if whole else _fraction_type(present), own)
    if any(map(_is_truth, present)) or len(_groups(kinds)) > 1 or "text" in kinds:
        text = [None if value is None else value if isinstance(value, str) else word(value) for value in values]
        read = of_text(text, column, own, spec)
        return as_text(read) if all(isinstance(value, str) for value in present) else read
    if kinds == {"span"}:
        spans = [np.nan if value is None else np.timedelta64(value) / np.timedelta64(1, "s") for value in values]
        return Cells(column, np.array(spans, np.float64), "Duration(time_unit='us')", own, note=note)
    if kinds == {"clock"}:
        return Cells(column, np.array([seconds_of(value) for value in values]), "Time", own, note=note)
    days = np.array([np.nan if value is None else _days(value) for value in values])
    zone = _zone_of(present) if "time with zone" in kinds else None
    type_ = date_type(days=kinds == {"date"}, zoned=zone is not None, zone=zone or "UTC")
    return Cells(column, days, type_, own, note=note)


def _groups(kinds: Collection[str]) -> set[str]:
    """Return kinds of values, of which dates and times are one."""
    return {"date" if kind in ("date", "time", "time with zone") else kind for kind in kinds}


def _without_words(values: Sequence[Any], column: str, spec: ColumnSpec) -> tuple[Sequence[Any], str]:
    """Return dates, times or truth values without the words among them, and a note of those that mark no missing cell.

    All stay if the words could be such values themselves, or are more than one cell in ten.
    """
    texts = [value for value in values if isinstance(value, str)]
    groups = _groups({kind_of(value) for value in values if value is not None} - {"text"})
    settings = text_settings(column, spec)
    if not texts or len(groups) != 1 or not groups <= {"date", "clock", "span", "boolean"}:
        return values, ""
    if settings.text or settings.kind == "categorical":
        return values, ""
    absent = {*MISSING, *MARKS, *settings.missing}
    others = Counter(text for text in texts if text.strip().lower() not in absent)
    typed = sum(value is not None for value in values) - len(texts)
    if sum(others.values()) > (1 - SHARE) * (typed + sum(others.values())) or any(map(_says_more, others)):
        return values, ""
    kept = [None if isinstance(value, str) else value for value in values]
    return kept, note_of_others(column, others, "date" if groups == {"date"} else "value like the others")


def _says_more(text: str) -> bool:
    """Return whether text is itself a date, a duration or a number, or a word for a truth value."""
    plain = text.strip()
    found = stamp(plain) or duration(plain) or amount(plain)
    return found is not None or any(plain.lower() in pair for pair in TRUTH)


def _fraction_type(values: Sequence[Any]) -> str:
    """Return the type of numbers, that of decimals if all are such."""
    exponents = [value.as_tuple().exponent for value in values if isinstance(value, Decimal)]
    scales = [-exponent for exponent in exponents if isinstance(exponent, int)]
    return decimal_type(38, max(0, *scales)) if len(scales) == len(values) and max(scales) <= MOST_SCALE else "Float64"


def _zone_of(values: Sequence[Any]) -> str:
    """Return the time zone that all times have, an offset from UTC if they have the same one, and else UTC."""
    zones = {str(value.tzinfo) for value in values if getattr(value, "tzinfo", None) is not None}
    offsets = {value.utcoffset() for value in values if getattr(value, "tzinfo", None) is not None}
    (zone, *more) = zones
    if not more:
        with contextlib.suppress(ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
            return zoneinfo.ZoneInfo(zone).key
    return str(timezone(offsets.pop())) if len(offsets) == 1 else "UTC"


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def kind_of(value: Any) -> str:
    """Return what a value is: boolean, text, date, time, time with zone, clock, span, number or other."""
    if _is_truth(value):
        return "boolean"
    if isinstance(value, str):
        return "text"
    if isinstance(value, datetime | np.datetime64):
        return "time with zone" if getattr(value, "tzinfo", None) is not None else "time"
    if isinstance(value, date):
        return "date"
    if isinstance(value, time) and value.tzinfo is None:
        return "clock"
    if isinstance(value, timedelta | np.timedelta64):
        return "span"
    return "number" if is_number(value) else "other"


def vectors_advice(values: Iterable[Any]) -> str:
    """Return what to do with a column of vectors; an empty text for any other.

    >>> vectors_advice([None, [0.5, 1.5]]), vectors_advice([["elm"]])
    (': fit vectors as an array, numpy.stack of the column', '')
    """
    first: Any = next((value for value in values if value is not None), None)
    listed = isinstance(first, list | tuple) or (isinstance(first, np.ndarray) and first.ndim == 1)
    vector = listed and len(first) > 0 and all(map(is_number, first))
    return ": fit vectors as an array, numpy.stack of the column" if vector else ""


def seconds_of(value: time | None) -> float:
    """Return the seconds since midnight."""
    if value is None:
        return np.nan
    return 3600.0 * value.hour + 60.0 * value.minute + value.second + value.microsecond / SECOND


def _days(value: Any) -> float:
    """Return the days since 1970 of a date or time."""
    if isinstance(value, np.datetime64):
        return float(value.astype("datetime64[us]").astype(np.int64) / DAY)
    if not isinstance(value, datetime):
        return float(value.toordinal() - EPOCH.toordinal())
    return days_since_epoch(value)


def beyond(column: str, values: Sequence[Any], type_: str, own: str, spec: ColumnSpec) -> Cells:
    """Return a column with whole numbers beyond 2^53: as objects, or as floats where the fit has learned such."""
    known = text_settings(column, spec)
    if known.text is False:
        floats = np.array([np.nan if value is None else float(value) for value in values])
        return Cells(column, floats, type_, own, written=Texts.of(None if v is None else str(v) for v in values))
    plain = [value if value is None or value != int(value) else int(value) for value in values]
    return Cells(column, object_array(plain), type_, own)
