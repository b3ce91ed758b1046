"""Cells of one column, as they are read, and the types that they have."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from latentmap.data.checks import EXACT
from latentmap.data.summaries import Summary
from latentmap.data.text_formats import EPOCH, TextFormat

SECOND, DAY = 1_000_000, 86_400_000_000
"""Microseconds."""
DAY_SECONDS = 86_400.0
MOST_SCALE = 15
"""The most decimals that double precision tells apart."""
STEPS = {"s": SECOND, "ms": 1000}
"""Microseconds of units."""
FIRST_DAY, LAST_DAY = -719_161.0, 2_932_895.0
"""The days after the first, and before the last, that Python's dates hold, so that any time zone may be added."""
NANO_DAYS = 106_750.0
"""Days that 64 bits hold in nanoseconds, in each direction."""


@dataclass(frozen=True, eq=False)
class Cells:
    """One column of a table, as it is read.

    Attributes
    ----------
    name
        The name of the column.
    values
        Numbers in double precision, NaN where a cell is missing, dates as days since 1970; or an array of objects, text
        as a rule, None where missing.
    type
        The type of the cells, a name of narwhals such as Int64, String or Date.
    native
        The type in the data frame that they come from, if it is pandas'.
    categories
        All possible values, where the type lists them, and whether they are ``ordered``.
    format
        How text wrote the values, where they come from text.
    note
        What was assumed or left out when the text was read; empty where nothing was.
    unread
        Why the values cannot be taken as numbers, text or dates; empty where they can.
    written
        The text of the cells before it was read, as `factors`, where the reader knows.
    factors
        The different values and the place of each cell among them, where the reader knows; None is a missing cell.
    summary
        What one pass over numbers tells, where the reader has made it; `measured` makes it otherwise.
    """

    name: str
    values: NDArray[Any]
    type: str = "Float64"
    native: str = ""
    categories: tuple[Any, ...] = ()
    ordered: bool = False
    format: TextFormat | None = None
    note: str = ""
    unread: str = ""
    written: tuple[Sequence[str], NDArray[np.intp]] | None = None
    factors: tuple[list[Any], NDArray[np.intp]] | None = None
    summary: Summary | None = None

    @property
    def numeric(self) -> bool:
        """Whether the values are numbers."""
        return self.values.dtype.kind == "f"

    @cached_property
    def missing(self) -> NDArray[np.bool_]:
        """Which cells are missing."""
        return np.isnan(self.values) if self.numeric else np.array([v is None for v in self.values], dtype=bool)

    @cached_property
    def present(self) -> NDArray[Any]:
        """The values that are not missing."""
        if self.numeric:
            return self.values[~np.isnan(self.values)] if self.measured.missing else self.values
        present: NDArray[Any] = self.values[~self.missing]
        return present

    @property
    def finite(self) -> NDArray[np.float64]:
        """The numbers that are neither missing nor infinite."""
        return np.asarray(self.present[np.isfinite(self.present)] if self.measured.infinite else self.present)

    @cached_property
    def n_present(self) -> int:
        """The number of cells that are not missing."""
        if self.numeric:
            return len(self.values) - self.measured.missing
        return len(self.present) if self.factors is None else sum(self._tallies.values())

    @cached_property
    def measured(self) -> Summary:
        """Range, mean, deviation and decimals of the numbers."""
        return self.summary or Summary.of(self.values)

    def plain(self) -> list[Any]:
        """Return the cells as plain values, whole numbers as integers, None where missing."""
        values = self.values.tolist()
        return [None if v != v else int(v) if v.is_integer() else v for v in values] if self.numeric else values

    @cached_property
    def levels(self) -> tuple[list[Any], NDArray[np.intp]]:
        """The different plain values, None among them where a cell is missing, and the place of each cell."""
        if self.factors is not None:
            return self.factors
        if self.numeric:
            values, places = np.unique(self.values, return_inverse=True)
            return Cells(self.name, values).plain(), places
        found: dict[Any, int] = {}
        codes = [found.setdefault(value, len(found)) for value in self.values.tolist()]
        return list(found), np.array(codes, dtype=np.intp)

    def as_they_were(self) -> NDArray[Any]:
        """Return the cells as values of their type, or the text that they were; None or NaN where one is missing."""
        if not self.numeric:
            if self.type == "String" and (whole := _whole(self.values)) is not self.values:
                return whole
            return self.values if (text := self.text()) is None else text
        if self.format is not None:
            return self.format.write(self.values)
        there: NDArray[np.bool_] = ~np.isnan(self.values)
        cells = decoded(np.where(there, self.values, 0.0), self.type)
        if there.all():
            return cells
        if cells.dtype.kind in "fmM":
            return np.where(there, cells, np.array("NaN" if cells.dtype.kind == "f" else "NaT", dtype=cells.dtype))
        return object_array([cell if here else None for cell, here in zip(cells.tolist(), there, strict=True)])

    def as_whole(self) -> Self:
        """Return the cells as integers, where they are whole numbers that are floats only since some are missing.

        >>> Cells("n", np.array([157.0, np.nan])).as_whole().type
        'Int64'
        """
        whole = self.type == "Float64" and self.measured.missing and self.measured.count and self.measured.integral
        held = whole and not self.measured.infinite and max(-self.measured.lowest, self.measured.highest) <= EXACT
        return replace(self, type="Int64") if held else self

    def digits(self) -> NDArray[Any] | None:
        """Return whole numbers beyond 2^53 that were read as floats as they were written; None for all other cells."""
        if not (self.numeric and len(self.present)) or np.abs(self.present).max() <= EXACT:
            return None
        cells = [] if (text := self.text()) is None else [None if m else c for c, m in zip(text, self.missing)]
        if not cells or not all(cell is None or cell.strip().lstrip("+-").isdecimal() for cell in cells):
            return None
        return object_array([None if cell is None else int(cell) for cell in cells])

    def text(self) -> NDArray[Any] | None:
        """Return the text of the cells as it was before it was read, None where there was none; None if not known."""
        if self.written is None:
            return None
        levels, places = self.written
        return object_array([*levels, None])[places]

    def counts(self) -> dict[Any, int]:
        """Return how often each plain value occurs, without missing cells."""
        return dict(self._tallies)

    @cached_property
    def _tallies(self) -> dict[Any, int]:
        values, places = self.levels
        tallies = np.bincount(places, minlength=len(values)).tolist()
        return {value: n for value, n in zip(values, tallies, strict=True) if n and value is not None}

    def plain_present(self) -> list[Any]:
        """Return the cells that are there, as `plain` does."""
        return [value for value in self.plain() if value is not None]


def _whole(values: NDArray[Any]) -> NDArray[Any]:
    """Return text that writes whole numbers as such, where nothing of it is lost; other text as it is."""
    if all(
        isinstance(value, str) and len(value) < 21 and value.lstrip("-").isdecimal() and str(int(value)) == value
        for value in values
    ):
        for dtype in (np.int64, np.uint64):
            with contextlib.suppress(OverflowError):
                return np.array(list(map(int, values)), dtype=dtype)
    return values


def decoded(values: NDArray[np.float64], type_: str) -> NDArray[Any]:
    """Return numbers as values of a type: days since 1970 as dates, seconds as durations, whole numbers as integers.

    >>> decoded(np.array([19782.5]), date_type(days=False, zoned=False))
    array(['2024-02-29T12:00:00.000000'], dtype='datetime64[us]')
    """
    if type_.startswith("Date"):
        unit, step = ("D", 1) if type_ == "Date" else ("us", DAY)
        whole = np.rint(values) if step == 1 else np.floor(values)  # so that the product keeps every microsecond
        parts = _stepped((values - whole) * step, type_) if step > 1 else np.zeros_like(values)
        return (whole.astype(np.int64) * step + parts.astype(np.int64)).astype(f"datetime64[{unit}]")
    if type_.startswith("Duration"):
        return _stepped(values * SECOND, type_).astype(np.int64).astype("timedelta64[us]")
    if type_ == "Time":
        micros = np.rint(np.clip(values, 0.0, DAY_SECONDS) * SECOND).astype(np.int64)
        midnight = datetime(1970, 1, 1)
        return object_array([(midnight + timedelta(microseconds=min(m, DAY - 1))).time() for m in micros.tolist()])
    if type_ == "Boolean":
        return values >= 0.5
    if (decimal := decimal_of(type_)) is not None:
        precision, scale = decimal
        most = 10.0 ** (precision - scale) - 10.0**-scale
        return np.clip(np.round(values, scale) if scale <= MOST_SCALE else values, -most, most)
    if type_.startswith(("Int", "UInt")):
        ends = np.iinfo(type_.lower())
        most = np.nextafter(float(ends.max), 0.0)  # since the largest of 64 bits is no float
        return np.rint(np.clip(values, float(ends.min), most)).astype(ends.dtype)
    if type_ == "Float32":
        most = float(np.finfo(np.float32).max)
        return np.clip(values, -most, most).astype(np.float32)
    return values.astype(np.float64)


def _stepped(micros: NDArray[np.float64], type_: str) -> NDArray[np.float64]:
    """Return microseconds in whole steps of the unit of a type, of which some libraries cast no others."""
    step = STEPS.get(unit_of(type_), 1)
    return np.rint(micros / step) * step


def limits(type_: str) -> tuple[float, float] | None:
    """Return the ends of what a type of dates (days since 1970) or durations (seconds) holds; None for other types.

    Dates are of the years 1 to 9999, as Python has them; those in nanoseconds end in 2262.

    >>> limits("Date"), limits("Datetime(time_unit='ns', time_zone=None)"), limits("Float64")
    ((-719161.0, 2932895.0), (-106750.0, 106750.0), None)
    """
    nanoseconds = unit_of(type_) == "ns"
    if type_.startswith("Date"):
        return (-NANO_DAYS, NANO_DAYS) if nanoseconds else (FIRST_DAY, LAST_DAY)
    if type_.startswith("Duration"):
        most = DAY_SECONDS * NANO_DAYS * (1 if nanoseconds else 1000)
        return -most, most
    return None


def days_since_epoch(time: datetime) -> float:
    """Return the days since 1970 of a time, in UTC unless it has a zone.

    >>> days_since_epoch(datetime(1970, 1, 2, 12))
    1.5
    """
    return ((time if time.tzinfo else time.replace(tzinfo=UTC)) - EPOCH) / timedelta(days=1)


def date_type(*, days: bool, zoned: bool, zone: str = "UTC") -> str:
    """Return the type of a column of dates: of whole ``days``, or of times, which may be ``zoned``."""
    return "Date" if days else f"Datetime(time_unit='us', time_zone={zone if zoned else None!r})"


def zone_of(type_: str) -> str | None:
    """Return the time zone of a type of times: the name of one, or an offset such as UTC+02:00; None without one.

    >>> zone_of(date_type(days=False, zoned=True, zone="UTC+02:00")), zone_of("Date")
    ('UTC+02:00', None)
    """
    found = re.search(r"time_zone='([^']+)'", type_)
    return found[1] if found else None


def unit_of(type_: str) -> Any:
    """Return the unit of a type of times or durations; microseconds where it names none.

    >>> unit_of("Duration(time_unit='ms')"), unit_of("Date")
    ('ms', 'us')
    """
    found = re.search(r"time_unit='(\w+)'", type_)
    return found[1] if found else "us"


def decimal_type(precision: int, scale: int) -> str:
    """Return the type of decimals of so many digits, of which ``scale`` stand behind the point."""
    return f"Decimal(precision={precision}, scale={scale})"


def decimal_of(type_: str) -> tuple[int, int] | None:
    """Return precision and scale of a type of decimals; None for all others.

    >>> decimal_of(decimal_type(10, 2)), decimal_of("Float64")
    ((10, 2), None)
    """
    found = re.match(r"Decimal\(precision=(\d+), scale=(\d+)\)", type_)
    return (int(found[1]), int(found[2])) if found else None


def object_array(values: Sequence[Any]) -> NDArray[Any]:
    """Return values as an array of objects, whatever they are."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
