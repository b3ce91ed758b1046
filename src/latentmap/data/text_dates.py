"""Dates, times and durations in text: the usual forms, one order of day and month for a whole column."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from latentmap.data.text_formats import EPOCH, UTC_FORMS

MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
          "november", "december")  # fmt: skip
MONTH_NUMBERS = {name: i for i, full in enumerate(MONTHS, 1) for name in (full, full[:3], full[:4])}
CENTURY = 69
"""Years of two digits from here on are of the 20th century, as in POSIX."""

_TIME = (
    r"(?:(?P<gap>[Tt]|,?\s+)(?P<H>\d{1,2}):(?P<M>\d{2})(?P<s>:(?P<S>\d{2})(?P<frac>[.,]\d{1,9})?)?"
    r"(?P<half>\s?(?P<p>[AaPp])\.?[Mm]\.?)?(?P<zone>\s?(?:Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?))?)?"
)
_DAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?,?\s+)?"
_YEAR = r"(?P<y>\d{4}|\d{2})"
_MONTH = r"(?P<mon>[a-z]{3,9})"
FORMS = [
    re.compile(form + _TIME + r"\Z", re.IGNORECASE | re.ASCII)
    for form in (
        r"(?P<y>\d{4})(?P<sep>[-/.])(?P<m>\d{1,2})(?P=sep)(?P<d>\d{1,2})",
        r"(?P<a>\d{1,2})(?P<sep>[-/.])(?P<b>\d{1,2})(?P=sep)(?P<y>\d{4}|\d{2})",
        _DAY + r"(?P<d>\d{1,2})(?:st|nd|rd|th)?(?P<sep>\.?[\s-]|\.)\s*" + _MONTH + r"\.?(?P<sep2>,?[\s-])" + _YEAR,
        _DAY + _MONTH + r"\.?(?P<sep>[\s-])\s*(?P<d>\d{1,2})(?:st|nd|rd|th)?(?P<sep2>,\s*|[\s-])(?P<y>\d{4})",
        r"(?P<y>\d{4})(?P<sep>-)(?P<m>0[1-9]|1[0-2])",
        _MONTH + r"(?P<sep>[\s-])(?P<y>\d{4})",
        r"(?P<y>\d{4})(?P<sep>[\s-])" + _MONTH,
        r"(?P<y>\d{4})(?P<sep>[\s-]?)Q(?P<q>[1-4])",
        r"Q(?P<q>[1-4])(?P<sep>[\s-]?)(?P<y>\d{4})",
    )
]  # fmt: skip
CLOCK = re.compile(
    r"(?P<sign>-?)(?P<first>\d{1,4}):(?P<second>[0-5]\d)(?::(?P<third>[0-5]\d(?:[.,]\d{1,9})?))?\Z", re.A
)
DAYS = re.compile(
    r"(?P<sign>-?)(?P<days>\d+) days?,?(?: (?:\+?(?P<h>\d{1,2}):(?P<m>\d{2}):(?P<s>\d{2}(?:\.\d+)?)))?\Z", re.A
)
ISO = re.compile(
    r"(?P<sign>-?)P(?=\d|T\d)(?:(?P<w>\d+)W)?(?:(?P<days>\d+(?:\.\d+)?)D)?"
    r"(?:T(?=\d)(?:(?P<h>\d+(?:\.\d+)?)H)?(?:(?P<m>\d+(?:\.\d+)?)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?\Z",
    re.ASCII,
)


@dataclass(frozen=True)
class Stamp:
    """One date as it is written; ``first`` and ``second`` are day and month in an order that the column decides."""

    year: int
    first: int
    second: int
    open_order: bool
    separator: str
    seconds: float
    offset: float | None
    """Seconds of the zone, None without one."""
    has_time: bool
    pattern: str
    """The pattern of strftime, with ``%1`` and ``%2`` for first and second where their order is open."""
    padded: bool
    """Whether day and month have two digits; and the hour."""
    padded_hour: bool

    def days(self, *, day_first: bool) -> float | None:
        """Return the days since 1970 in UTC; None if there is no such day."""
        day, month = (self.first, self.second) if day_first or not self.open_order else (self.second, self.first)
        try:
            date = datetime(self.year, month, day, tzinfo=UTC)
        except ValueError:
            return None
        seconds = (date - EPOCH) // timedelta(seconds=1) + self.seconds - (self.offset or 0.0)
        return seconds / 86_400


def stamp(text: str) -> Stamp | None:
    """Return what text says as a date; None if it is none.

    >>> stamp("5 May 2024").days(day_first=True), stamp("1/2/1970").open_order, stamp("oak")
    (19848.0, True, None)
    """
    for i, form in enumerate(FORMS):
        if match := form.match(text):
            return _stamp(i, match)
    return None


def day_first(stamps: Iterable[Stamp]) -> tuple[bool, bool]:
    """Return whether days stand before months in dates of numbers, and whether their values leave that open."""
    firsts, seconds, dots, any_open = 0, 0, False, False
    for one in stamps:
        if one.open_order:
            any_open = True
            firsts, seconds = firsts + (one.first > 12), seconds + (one.second > 12)
            dots = dots or one.separator == "."
    if firsts or seconds:
        return firsts > seconds, False
    return dots, any_open


def with_order(pattern: str, *, day_first: bool) -> str:
    """Return a pattern of strftime, in which the order of day and month is settled."""
    first, second = ("%d", "%m") if day_first else ("%m", "%d")
    return pattern.replace("%1", first).replace("%2", second)


def order_of(pattern: str) -> bool | None:
    """Return whether days stand before months in a pattern of strftime; None if it leaves the order of others open.

    >>> order_of("%d/%m/%Y"), order_of("%m/%d/%y"), order_of("%Y-%m-%d"), order_of("%d %b %Y")
    (True, False, None, None)
    """
    day, month = pattern.find("%d"), pattern.find("%m")
    return None if pattern.startswith("%Y") or min(day, month) < 0 else day < month


def duration(text: str) -> tuple[float, str] | None:
    """Return a duration in seconds, and its form; None if the text is none. Two numbers are hours and minutes.

    >>> duration("1:30:00"), duration("PT5M"), duration("2 days 03:00:00"), duration("12:75")
    ((5400.0, 'h:m:s'), (300.0, 'iso'), (183600.0, 'days'), None)
    """
    if match := CLOCK.match(text):
        sign = -1.0 if match["sign"] else 1.0
        hours, minutes = int(match["first"]), int(match["second"])
        seconds = float((match["third"] or "0").replace(",", "."))
        return sign * (3600.0 * hours + 60.0 * minutes + seconds), "h:m:s" if match["third"] else "h:m"
    match, form = (found, "iso") if (found := ISO.match(text)) else (DAYS.match(text), "days")
    if match is None:
        return None
    parts = match.groupdict()
    units = {"w": 604_800, "days": 86_400, "h": 3600, "m": 60, "s": 1}
    total = sum(unit * float(parts.get(name) or 0) for name, unit in units.items())
    return (-total if match["sign"] else total), form


def _stamp(form: int, match: re.Match[str]) -> Stamp | None:
    parts = match.groupdict()
    year, separator = int(parts["y"]), parts["sep"]
    short = len(parts["y"]) == 2
    if short:
        year += 1900 if year >= CENTURY else 2000
    name = (parts.get("mon") or "").lower()
    if name and name not in MONTH_NUMBERS:
        return None
    if form == 1:
        first, second = int(parts["a"]), int(parts["b"])
        if max(first, second) > 31 or min(first, second) > 12:
            return None
    else:
        first, second = int(parts.get("d") or 1), MONTH_NUMBERS[name] if name else int(parts.get("m") or 0)
        second = 3 * int(parts["q"]) - 2 if parts.get("q") else second
    if (clock := _clock(parts)) is None:
        return None
    seconds, offset, time = clock
    y = "%y" if short else "%Y"
    month = "%B" if len(name) > 3 else "%b"
    gap = parts.get("sep2") or ""
    pattern = (
        f"%Y{separator}%m{separator}%d", f"%1{separator}%2{separator}{y}", f"%d{separator}{month}{gap}{y}",
        f"{month}{separator}%d{gap}{y}", "%Y-%m", f"{month}{separator}%Y",
        f"%Y{separator}{month}", f"%Y{separator}Q%q", f"Q%q{separator}%Y",
    )[form]  # fmt: skip
    padded, padded_hour = (
        all(len(number) == 2 for key in keys if (number := parts.get(key))) for keys in (("a", "b", "d", "m"), "H")
    )
    has_time = parts["H"] is not None
    return Stamp(
        year, first, second, form == 1, separator, seconds, offset, has_time, pattern + time, padded, padded_hour
    )


def _clock(parts: dict[str, Any]) -> tuple[float, float | None, str] | None:
    """Return seconds of the day, the offset of the zone and the pattern of a time; None if there is no such time."""
    if parts["H"] is None:
        return 0.0, None, ""
    hour, minute, second = int(parts["H"]), int(parts["M"]), int(parts["S"] or 0)
    half = (parts["p"] or "").lower()
    if hour > (12 if half else 23) or (half and not hour) or minute > 59 or second > 59:
        return None
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    fraction = float("0." + parts["frac"][1:]) if parts["frac"] else 0.0
    pattern = f"{parts['gap']}{'%I' if half else '%H'}:%M{':%S' if parts['s'] else ''}{'.%f' if parts['frac'] else ''}"
    pattern += (" " if parts["half"][0].isspace() else "") + "%p" if half else ""
    zone, offset = (parts["zone"] or "").strip(), None
    if zone:
        utc = zone if zone.isalpha() else next(form for form in UTC_FORMS if len(form) == len(zone))
        pattern += (" " if parts["zone"][0].isspace() else "") + utc
        offset = 0.0 if zone.isalpha() else _offset(zone)
    return 3600.0 * hour + 60.0 * minute + second + fraction, offset, pattern


def _offset(zone: str) -> float:
    digits = zone[1:].replace(":", "")
    seconds = 3600.0 * int(digits[:2]) + 60.0 * int(digits[2:] or 0)
    return -seconds if zone[0] == "-" else seconds
