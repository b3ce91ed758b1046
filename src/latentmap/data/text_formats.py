"""How a column of text writes its values: read once for a whole column, kept with it, and written alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from latentmap.data.text_units import CLOCK, write_clock, write_units
from latentmap.data.typed import made
from latentmap.exceptions import ModelError

UTC_FORMS = ("+00:00", "+0000", "+00")
"""How UTC is written as a zone."""
MOST_PLACES = 400
"""The most decimals of a number, of which double precision has no more than these."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class TextFormat:
    """The form in which a column of text writes numbers, dates, durations or truth values.

    Attributes
    ----------
    kind
        What the text stands for; "plain" for numbers as Python writes them.
    prefix, suffix
        What is written before and after a number: a currency, a percent sign, a unit.
    thousands, decimal
        The separators of a number.
    places
        The most decimals of a number; ``fixed`` if every cell has as many, or all units of a duration.
    accounting
        Whether a negative number is written in parentheses; ``outside`` of them are prefix and suffix, or inside.
    pattern
        The pattern of dates, as in ``datetime.strftime``, with %q for quarters; or the form of durations: h:m:s, h:m,
        m:s, days, iso, hhmm, or units as in ``%hh %mm``.
    padded
        Whether days, months and hours below 10 are written with a zero; hours of dates as ``hours`` says, unless None.
    words
        The words for false and true.
    offset
        The seconds of the time zone in which dates are written, where all cells have the same one.
    digits
        Whether the cells are whole numbers and no text: 20011229.

    Examples
    --------
    >>> price = TextFormat("number", prefix="$", thousands=",", places=2, fixed=True, accounting=True)
    >>> price.write(np.array([5754.0, -12.5, np.nan])).tolist()
    ['$5,754.00', '($12.50)', None]
    >>> TextFormat("date", pattern="%d.%m.%Y", padded=False).write(np.array([0.0])).tolist()
    ['1.1.1970']
    """

    kind: Literal["number", "date", "duration", "boolean", "plain"]
    prefix: str = ""
    suffix: str = ""
    thousands: str = ""
    decimal: str = "."
    places: int = 0
    fixed: bool = False
    accounting: bool = False
    pattern: str = ""
    padded: bool = True
    words: tuple[str, ...] = ()
    outside: bool = False
    hours: bool | None = None
    offset: float = 0.0
    digits: bool = False

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the format that ``dataclasses.asdict`` made plain."""
        form = made(cls, value)
        if form.places not in range(MOST_PLACES + 1) or re.search(r"%[^a-zA-Z%]", form.pattern):
            raise ModelError(f"a number of {form.places} decimals, or a date as {form.pattern!r:.40}, is never written")
        if form.kind == "boolean" and len(form.words) != 2:
            raise ModelError(f"the words for false and true must be two, got {form.words!r:.40}")
        return form

    def write(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return numbers, or days since 1970, or seconds, as text in this form; None for NaN."""
        writer = {"number": self._number, "date": self._date, "duration": self._duration, "boolean": self._word}
        write = writer[self.kind]
        written = np.empty(len(values), dtype=object)
        cells = [None if value != value else write(value) for value in np.asarray(values, np.float64).tolist()]
        written[:] = [None if cell is None else int(cell) for cell in cells] if self.digits else cells
        return written

    def _number(self, value: float) -> str:
        digits = f"{abs(value):,.{self.places}f}"
        if not self.fixed and "." in digits:
            digits = digits.rstrip("0").rstrip(".")
        negative = value < 0 and digits.strip("0.,") != ""
        digits = digits.translate({ord(","): self.thousands, ord("."): self.decimal})
        if negative and self.accounting:
            inner = f"({digits})" if self.outside else f"{self.prefix}{digits}{self.suffix}"
            return f"{self.prefix}{inner}{self.suffix}" if self.outside else f"({inner})"
        return f"{'-' if negative else ''}{self.prefix}{digits}{self.suffix}"

    def _date(self, days: float) -> str:
        time = EPOCH + timedelta(seconds=round(days * 86_400 + self.offset, 6))
        pattern = self._zoned()
        short = {} if self.padded else {"%d": time.day, "%m": time.month}
        if not (self.padded if self.hours is None else self.hours):
            short |= {"%H": time.hour, "%I": (time.hour - 1) % 12 + 1}
        for code, number in short.items():
            pattern = pattern.replace(code, str(number))
        pattern = pattern.replace("%q", str((time.month + 2) // 3))
        return time.strftime(pattern.replace("%Y", f"{time.year:04d}"))

    @property
    def utc(self) -> str:
        """The end of the pattern of dates that stands for UTC; none of other patterns."""
        return next((form for form in UTC_FORMS if self.pattern.endswith(form)), "")

    def _zoned(self) -> str:
        """Return the pattern of dates with the zone in which they are written, in the place of that of UTC."""
        utc = self.utc
        if not (self.offset and utc):
            return self.pattern
        minutes = int(abs(self.offset) // 60)
        digits = [f"{minutes // 60:02d}", f"{minutes % 60:02d}"][: 1 if utc == "+00" else 2]
        sign = "-" if self.offset < 0 else "+"
        return self.pattern.removesuffix(utc) + sign + (":" if ":" in utc else "").join(digits)

    def _duration(self, seconds: float) -> str:
        if self.pattern == CLOCK:
            return write_clock(seconds, padded=self.padded)
        if "%" in self.pattern:
            return write_units(seconds, self.pattern, fixed=self.fixed, padded=self.padded)
        sign, rest = "-" if seconds < 0 else "", round(abs(seconds), 6)
        days, hours = divmod(int(rest // 3600), 24) if self.pattern in ("days", "iso") else (0, int(rest // 3600))
        minutes, left = int(rest // 60) % 60, rest % 60
        short = f"{left:09.6f}".rstrip("0").rstrip(".") if left % 1 else f"{int(left):02d}"
        lead = "02d" if self.padded else "d"
        match self.pattern:
            case "h:m":
                return f"{sign}{hours:{lead}}:{minutes:02d}"
            case "m:s":
                return f"{sign}{int(rest // 60):{lead}}:{short}"
            case "days":
                return f"{sign}{days} days {hours:02d}:{minutes:02d}:{short}"
            case "iso":
                parts = [(days, "D"), (hours, "H"), (minutes, "M"), (left, "S")]
                written = [f"{amount:g}{unit}" if amount else "" for amount, unit in parts]
                time = "".join(written[1:])
                return f"{sign}P{written[0]}{'T' if time else ''}{time}" if written[0] or time else "PT0S"
        return f"{sign}{hours:{lead}}:{minutes:02d}:{short}"

    def _word(self, value: float) -> str:
        return self.words[int(value >= 0.5)]


def spelled(word: str, levels: dict[str, int]) -> str:
    """Return how a column of these texts spells a word: as it does most often, or in the case of its other texts."""
    if own := {level: n for level, n in levels.items() if level.lower() == word}:
        return max(own, key=lambda level: own[level])
    other = next(iter(levels))
    return word.upper() if other.isupper() else word.capitalize() if other[0].isupper() else word
