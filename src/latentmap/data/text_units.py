"""Durations as text in units, such as 1h 30m, and times of day without a colon."""

from __future__ import annotations

import re

LENGTHS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
"""The seconds of days, hours, minutes and seconds."""
CLOCK = "hhmm"
"""The pattern of times of day without a colon."""


def write_clock(seconds: float, *, padded: bool) -> str:
    """Return seconds since midnight as hours and minutes without a colon.

    >>> write_clock(16_200.0, padded=True), write_clock(300.0, padded=False)
    ('0430', '5')
    """
    minutes = round(min(max(seconds, 0.0), 86_400.0) / 60)
    text = str(100 * (minutes // 60) + minutes % 60)
    return text.rjust(4, "0") if padded else text


def write_units(seconds: float, pattern: str, *, fixed: bool, padded: bool) -> str:
    """Return seconds in the units of a pattern, of which those of zero are left out unless all are written.

    >>> write_units(5400.0, "%hh %mm", fixed=False, padded=False)
    '1h 30m'
    >>> write_units(60.0, "%h hours %m mins", fixed=True, padded=False)
    '0 hours 1 min'
    """
    units = re.findall(r"%([dhms])(\s*)(\w+)([^%]*)", pattern)
    left = round(abs(seconds) / LENGTHS[units[-1][0]]) * LENGTHS[units[-1][0]]
    parts: list[str] = []
    for letter, gap, unit, end in units:
        number, left = divmod(left, LENGTHS[letter])
        if number or fixed or (letter == units[-1][0] and not parts):
            shown = unit[:-1] if number == 1 and len(unit) > 1 and unit.endswith("s") else unit
            parts.append(f"{number:02d}" if padded and parts else str(number))
            parts[-1] += f"{gap}{shown}{end}"
    return ("-" if seconds < 0 else "") + "".join(parts).rstrip(" ,")
