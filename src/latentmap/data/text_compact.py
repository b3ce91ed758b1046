"""Days, times of day and durations that are written without the usual separators: 20011229, 0430, 1h 30m."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from latentmap.data.cells import days_since_epoch
from latentmap.data.identifiers import plain_name
from latentmap.data.text_formats import TextFormat
from latentmap.data.text_units import CLOCK as CLOCK
from latentmap.data.text_units import LENGTHS

DAY = "%Y%m%d"
"""The pattern of days."""
DAYS = re.compile(r"(?:1[89]|20)\d{6}", re.ASCII)
FEWEST_DAYS, FEWEST_CLOCKS, FEWEST_MINUTES = 3, 28, 4
"""The fewest different values that are none by chance (p < 1e-6): one whole number of eight digits in 700 is a day, and
of the last two digits of others 60% are minutes, of which so many must differ."""
CLOCK_NAME = re.compile(r"(?<![a-z])(time|hhmm|clock)(?![a-z])")
PART = re.compile(r"(\d+(?:\.\d+)?)(\s*)(days?|d|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s)(\.?,?\s*)", re.I)


def day(text: str) -> float | None:
    """Return the days since 1970 of a day of eight digits from 1800 to 2099; None if the text is none.

    >>> day("19700103"), day("20010230"), day("12345678")
    (2.0, None, None)
    """
    if not DAYS.fullmatch(text):
        return None
    try:
        return days_since_epoch(datetime(int(text[:4]), int(text[4:6]), int(text[6:])))
    except ValueError:
        return None


def clock(text: str) -> float | None:
    """Return the seconds since midnight of hours and minutes without a colon; None if the text is none.

    >>> clock("0430"), clock("5"), clock("2400"), clock("1275")
    (16200.0, 300.0, 86400.0, None)
    """
    if not re.fullmatch(r"\d{1,4}", text, re.ASCII) or int(text) % 100 > 59 or int(text) > 2400:
        return None
    return 3600.0 * (int(text) // 100) + 60.0 * (int(text) % 100)


def are_days(texts: Collection[str]) -> bool:
    """Return whether different texts are days of eight digits, and not by chance."""
    return len(texts) >= FEWEST_DAYS and all(day(text) is not None for text in texts)


def are_clocks(name: str, texts: Collection[str]) -> bool:
    """Return whether different texts of a column that is called a time are hours and minutes, and not by chance.

    >>> are_clocks("dep_time", ["0400", "1730"]), are_clocks("code", ["0400", "1730"])
    (True, False)
    """
    if not CLOCK_NAME.search(plain_name(name)) or not texts or any(clock(text) is None for text in texts):
        return False
    if all(len(text) == 4 for text in texts) and any(text[0] == "0" for text in texts):
        return True
    telling = {text for text in texts if int(text) >= 100}
    return len(telling) >= FEWEST_CLOCKS and len({text[-2:] for text in telling}) >= FEWEST_MINUTES


def may_be_compact(name: str, lowest: float, highest: float) -> bool:
    """Return whether numbers of a column with this range may be days of eight digits, or times of day.

    >>> may_be_compact("when", 20010101, 20031231), may_be_compact("dep_time", 5, 2359), may_be_compact("x", 5, 2359)
    (True, True, False)
    """
    return 18e6 < lowest <= highest < 21e6 or (
        0 <= lowest <= highest <= 2400 and CLOCK_NAME.search(plain_name(name)) is not None
    )


def in_units(text: str) -> tuple[float, str] | None:
    """Return a duration with units in seconds, and its pattern; None if the text is none.

    >>> in_units("1h 30m"), in_units("45 min"), in_units("3 m 2 h")
    ((5400.0, '%hh %mm'), (2700.0, '%m min'), None)
    """
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text)
    parts = PART.findall(rest)
    letters = [unit[0].lower() for _, _, unit, _ in parts]
    if not parts or "".join(map("".join, parts)) != rest or letters != sorted(set(letters), key="dhms".index):
        return None
    if any("." in number for number, *_ in parts[:-1]):
        return None
    total = sum(LENGTHS[letter] * float(number) for letter, (number, *_) in zip(letters, parts, strict=True))
    return sign * total, "".join(f"%{letter}{''.join(part[1:])}" for letter, part in zip(letters, parts, strict=True))


def are_in_units(texts: Sequence[str]) -> bool:
    """Return whether some texts are durations of two units or more, as those of numbers with a unit are not."""
    return any((found := in_units(text)) is not None and found[1].count("%") > 1 for text in texts)


def format_of(found: Mapping[str, tuple[float, str]]) -> TextFormat:
    """Return how durations in units are written, from the seconds and the pattern of each text."""
    patterns = Counter(pattern for _, pattern in found.values())
    most = max(patterns, key=lambda one: (one.count("%"), one.count("s "), one.endswith("s"), patterns[one]))
    behind = [part for text in found for part in re.findall(r"(?<=\D)\d+", text.lstrip("-"))]
    fixed = all(one.count("%") == most.count("%") for one in patterns)
    padded = bool(behind) and all(len(part) == 2 for part in behind)
    return TextFormat("duration", pattern=most, fixed=fixed, padded=padded)
