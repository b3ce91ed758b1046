"""Columns of text as what they stand for: numbers, truth values, dates, durations, or text.

One place for all text: of files, and of data frames whose columns hold text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from latentmap.data import text_compact, text_dates, text_formats, text_numbers
from latentmap.data.checks import EXACT
from latentmap.data.columns import Cells, date_type, days_since_epoch
from latentmap.data.text_formats import TextFormat
from latentmap.data.text_settings import OPEN
from latentmap.data.text_settings import TextSettings as TextSettings
from latentmap.data.text_settings import text_settings as text_settings
from latentmap.exceptions import DataError
from latentmap.messages import counted

MISSING = frozenset(
    [
        "",
        "na",
        "n/a",
        "<na>",
        "nan",
        "-nan",
        "nat",
        "null",
        "none",
        "?",
        "#n/a",
        "#n/a n/a",
        "#na",
        "#div/0!",
        "#value!",
    ]
    + ["#ref!", "#name?", "#num!", "#null!", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"]
)
"""What stands for a missing cell in any column, in lower case."""
MARKS = frozenset(["-", "--", "---", "–", "—", ".", "..", "...", "*"])
"""What stands for one among numbers, dates and truth values, and may be a category in text."""
BLANKS = " \t\n\r\f\v"
"""What a blank cell consists of; one of other white space alone, such as no-break spaces, is text."""
TRUTH = (("false", "true"), ("no", "yes"), ("f", "t"), ("n", "y"))
"""The words for false and true."""
SHARE = 0.9
"""The least share of cells that must be numbers, or dates, in a column of them; the other cells are missing."""
FRACTIONS = 0.1
"""The least share of cells with fractions or units, which make whole numbers beyond 2^53 numbers, and no codes."""
LETTERED = 0.01
"""The least share of whole numbers with a letter behind them, which make all others codes as well."""
TRIED = 64
"""The different texts that are tried first, of a column that may be text."""
R = TypeVar("R")
NUMERIC = ("real", "count", "ordinal", "binary", "cyclic")
NAMED = ("categorical", "ordinal")


class Texts(NamedTuple):
    """A column of text: its different texts, and for each cell the index of its text, -1 where there is none."""

    levels: Sequence[str]
    codes: NDArray[Any]

    @classmethod
    def of(cls, cells: Iterable[Any]) -> Texts:
        """Return cells of text; None is missing."""
        known: dict[Any, int] = {None: -1}
        codes = np.array([known.setdefault(cell, len(known) - 1) for cell in cells], dtype=np.intp)
        return cls(list(known)[1:], codes)

    def values(self, of_levels: Sequence[Any], missing: Any, dtype: Any) -> NDArray[Any]:
        """Return a value for each cell, from those of the texts."""
        values = np.empty(len(self.levels) + 1, dtype=dtype)
        values[:-1] = of_levels
        values[-1] = missing
        of_cells: NDArray[Any] = values[self.codes]
        return of_cells


def cells_of_text(name: str, texts: Texts | Iterable[Any], settings: TextSettings = OPEN) -> Cells:
    """Return a column of text as numbers, truth values, dates, durations in seconds, or text.

    A column is of numbers, or of dates, if at least nine in ten of the cells that are there are such, all with the same
    unit and the same separators, or the same order of day and month. The other cells are then missing, and the ``note``
    of the result counts them. Whole numbers with leading zeros, and those beyond 2^53, are codes: text.

    Parameters
    ----------
    name
        The name of the column.
    texts
        Its cells: text, None where one is missing.
    settings
        What is known of it.

    Examples
    --------
    >>> cells_of_text("price", ["$5,754.00", "$4,533.00", "-"]).values.tolist()
    [5754.0, 4533.0, nan]
    >>> cells_of_text("zip", ["02139", "10001", "N/A"]).values.tolist()
    ['02139', '10001', None]
    """
    texts = texts if isinstance(texts, Texts) else Texts.of(texts)
    if settings.kind == "drop":
        return Cells(name, texts.values(texts.levels, None, object), "String")
    return replace(_Reader(name, texts, settings).read(), written=(texts.levels, texts.codes))


class _Reader:
    """One column of text that is read."""

    def __init__(self, name: str, texts: Texts, settings: TextSettings) -> None:
        self.name, self.settings, self.given = name, settings, texts
        self.stripped = [level.strip() or level.strip(BLANKS) for level in texts.levels]
        absent = MISSING | settings.missing
        marks = {float(mark) for mark in settings.missing if text_numbers.PLAIN.fullmatch(mark)}
        lowered = (level.lower() for level in self.stripped)
        there = np.array([not _is_absent(level, absent, marks) for level in lowered] + [False], dtype=bool)
        self.texts = texts if there[:-1].all() else Texts(texts.levels, np.where(there[texts.codes], texts.codes, -1))
        tallies = np.bincount(self.texts.codes + 1, minlength=len(texts.levels) + 1)[1:]
        self.count: dict[str, int] = {}
        for level, n in zip(self.stripped, tallies.tolist(), strict=True):
            if n:
                self.count[level] = self.count.get(level, 0) + n
        self.typed = {level: n for level, n in self.count.items() if level not in MARKS and not level.isspace()}
        self.note = ""

    def read(self) -> Cells:
        settings = self.settings
        if settings.text:
            return self._text()
        if not self.typed:
            return self._text() if self.count else Cells(self.name, np.full(len(self.texts.codes), np.nan))
        if settings.kind == "boolean" or settings.kind not in (*NAMED, "real", "count", "cyclic", "date"):
            if (found := self._boolean()) is not None:
                return found
        readers = self._readers()
        for reader in readers:
            if (found := reader()) is not None:
                return found
        truth = self._boolean() if settings.text is False else None  # of a fit to 0 and 1
        return truth or self._text()

    def _readers(self) -> list[Callable[[], Cells | None]]:
        """Return the readers to try, in order."""
        settings = self.settings
        if settings.kind == "date" or isinstance(settings.format, str):
            return [self._dates]
        if isinstance(settings.format, TextFormat) and settings.format.kind == "duration":
            return [self._durations, self._numbers]
        if settings.kind == "categorical":
            return [self._plain_numbers]
        if settings.kind in NUMERIC or settings.text is False:
            return [self._numbers, self._durations]
        return [self._compact, self._numbers, self._dates, self._durations]

    def _parsed(self, parse: Callable[[str], R | None]) -> dict[str, R]:
        """Return what those texts stand for that are such."""
        return {level: one for level in self.typed if (one := parse(level)) is not None}

    def _compact(self) -> Cells | None:
        """Return days of eight digits, or times of day of four, where all texts are such by the rules."""
        if text_compact.are_days(self.typed):
            return self._days_of_digits()
        return self._clocks() if text_compact.are_clocks(self.name, self.typed) else None

    def _days_of_digits(self) -> Cells | None:
        days = self._parsed(text_compact.day)
        if not self._enough(days):
            return None
        self._say_digits("days", f"as {text_compact.DAY}")
        return self._cells(days, "Date", TextFormat("date", pattern=text_compact.DAY))

    def _clocks(self) -> Cells | None:
        seconds = self._parsed(text_compact.clock)
        if not self._enough(seconds):
            return None
        learned, padded = self.settings.learned, all(len(level) == 4 for level in seconds)
        if learned is None:
            self._say_digits("times of day", "hours and minutes")
            learned = TextFormat("duration", pattern=text_compact.CLOCK, padded=padded)
        return self._cells(seconds, "Int64", learned)

    def _say_digits(self, what: str, how: str) -> None:
        kind = "categorical" if any(map(text_numbers.CODE.fullmatch, self.typed)) else "real"
        self.note = (
            f"column {self.name!r}: digits such as {next(iter(self.typed))!r} are read as {what}, {how}; "
            f"kind = {kind!r} reads them otherwise"
        )

    def _boolean(self) -> Cells | None:
        lowered = {level.lower() for level in self.typed}
        pair = next((pair for pair in TRUTH if lowered <= set(pair)), None)
        asked = self.settings.kind == "boolean"
        if pair is None or (len(lowered) == 1 and len(pair[1]) < 4 and not asked):
            return None
        words = tuple(text_formats.spelled(word, self.typed) for word in pair)
        parsed = {level: float(level.lower() == pair[1]) for level in self.typed}
        return self._cells(parsed, "Boolean", TextFormat("boolean", words=words))

    def _plain_numbers(self) -> Cells | None:
        return self._numbers() if all(map(text_numbers.PLAIN.fullmatch, self.typed)) else None

    def _numbers(self) -> Cells | None:
        asked = self.settings.kind in NUMERIC or self.settings.text is False
        plain = text_numbers.PLAIN.fullmatch
        if not self._promising(lambda level: plain(level) or text_numbers.amount(level)):
            return None
        if not asked and self._codes():
            return None
        amounts = self._parsed(text_numbers.amount)
        clean = [level for level in self.typed if plain(level)]
        learned = self.settings.learned
        learned = None if learned is not None and learned.kind == "plain" else learned
        if learned is None and amounts.keys() <= set(clean):
            parsed = {level: float(level) for level in clean}
            return self._cells(parsed, _number_type(parsed.values()), None) if self._enough(parsed) else None
        tallies: Counter[text_numbers.Amount] = Counter()
        for level, one in amounts.items():
            tallies[one] += self.typed[level]
        if (style := text_numbers.style_of(tallies, learned, comma=self.settings.comma)) is None:
            return None
        mark, pair = style
        if not asked and text_numbers.are_lists({one.body for one in amounts.values()}, *pair):
            return None
        used = {k: one for k, one in amounts.items() if one.mark in (mark, ("", "")) and one.value(*pair) is not None}
        parsed = {level: float(one.value(*pair) or 0.0) for level, one in used.items()}
        if not self._enough(parsed):
            return None
        form = learned or text_numbers.format_of(list(used.values()), *pair, mark)
        return self._cells(parsed, _number_type(parsed.values()), form)

    def _codes(self) -> bool:
        """Return whether whole numbers are codes: with leading zeros, a letter, or more digits than a float holds."""
        whole = [level for level in self.typed if text_numbers.WHOLE.fullmatch(level)]
        if any(len(level) > 15 and abs(int(level[:400])) > EXACT for level in whole):
            others = sum(self.typed[level] for level in self.typed.keys() - set(whole) if text_numbers.amount(level))
            if others < FRACTIONS * sum(self.typed.values()):
                return True
        return any(map(text_numbers.CODE.fullmatch, whole)) or self._lettered(whole)

    def _lettered(self, whole: Sequence[str]) -> bool:
        """Return whether all are whole numbers, most without a letter, and one in a hundred with one."""
        letters = [level for level in self.typed if text_numbers.LETTERED.fullmatch(level)]
        cells = sum(self.typed[level] for level in letters)
        rest = sum(self.typed.values()) - cells
        return len(whole) + len(letters) == len(self.typed) and LETTERED * rest <= cells < rest

    def _dates(self) -> Cells | None:
        if isinstance(self.settings.format, str):
            return self._dates_of_pattern(self.settings.format)
        learned = self.settings.learned
        if text_compact.are_days(self.typed):
            return self._days_of_digits()
        if not self._promising(text_dates.stamp):
            return None if learned is None else self._dates_of_pattern(learned.pattern)
        stamps = self._parsed(text_dates.stamp)
        if not stamps:
            return None
        day_first, unclear = text_dates.day_first(stamps.values())
        if learned is not None and (known := text_dates.order_of(learned.pattern)) is not None:
            day_first, unclear = known, False
        parsed = {k: days for k, one in stamps.items() if (days := one.days(day_first=day_first)) is not None}
        if not self._enough(parsed):
            return None
        kept = [stamps[level] for level in parsed]
        patterns: Counter[str] = Counter()
        for level in parsed:
            patterns[text_dates.with_order(stamps[level].pattern, day_first=day_first)] += self.typed[level]
        offsets = {one.offset for one in kept}
        form = TextFormat("date", pattern=patterns.most_common(1)[0][0], padded=all(one.padded for one in kept),
                          hours=all(one.padded_hour for one in kept),
                          offset=offsets.pop() or 0.0 if len(offsets) == 1 else 0.0)  # fmt: skip
        if unclear:
            self._say_order(next(level for level in parsed if stamps[level].open_order), day_first)
        type_ = date_type(days=not any(o.has_time for o in kept), zoned=any(o.offset is not None for o in kept))
        return self._cells(parsed, type_, learned or form)

    def _say_order(self, example: str, day_first: bool) -> None:
        read, other = ("day", "%m/%d/%Y") if day_first else ("month", "%d/%m/%Y")
        other = other.replace("/", next(c for c in example if not c.isdigit()))
        self.note = (
            f"column {self.name!r}: dates such as {example!r} are read with the {read} first; "
            f"the column setting format={other!r} reads them otherwise"
        )

    def _dates_of_pattern(self, pattern: str) -> Cells:
        parsed: dict[str, float] = {}
        zoned = "%z" in pattern or "%Z" in pattern
        for level in self.typed:
            try:
                parsed[level] = days_since_epoch(datetime.strptime(level, pattern))
            except ValueError:
                continue
        if not self._enough(parsed):
            example = next(level for level in self.typed if level not in parsed)
            raise DataError(f"column {self.name!r}: {example!r} is not of the format {pattern!r} that was given for it")
        timed = any(code in pattern for code in ("%H", "%I", "%M", "%S", "%X", "%c", "%T"))
        return self._cells(parsed, date_type(days=not timed, zoned=zoned), TextFormat("date", pattern=pattern))

    def _durations(self) -> Cells | None:
        learned = self.settings.learned
        if learned is not None and learned.pattern == text_compact.CLOCK:
            return self._clocks()
        if (learned is not None and "%" in learned.pattern) or text_compact.are_in_units(list(self.typed)):
            return self._in_units()
        if not self._promising(text_dates.duration):
            return None
        found = self._parsed(text_dates.duration)
        parsed = {level: seconds for level, (seconds, _) in found.items()}
        if not self._enough(parsed):
            return None
        forms = Counter(form for _, form in found.values())
        form = forms.most_common(1)[0][0]
        hours = max(abs(seconds) for seconds in parsed.values()) / 3600
        if learned is not None:
            form = learned.pattern
        elif form == "h:m" and hours >= 24:
            form = "m:s"
        if form == "m:s" and forms["h:m"]:
            parsed = {k: v / 60 if found[k][1] == "h:m" else v for k, v in parsed.items()}
        padded = all(len(level.lstrip("-").partition(":")[0]) > 1 for level in parsed)
        format_ = learned or TextFormat("duration", pattern=form, padded=padded)
        return self._cells(parsed, _number_type(parsed.values()), format_)

    def _in_units(self) -> Cells | None:
        """Return durations in units: 1h 30m."""
        found = self._parsed(text_compact.in_units)
        parsed = {level: seconds for level, (seconds, _) in found.items()}
        if not self._enough(parsed):
            return None
        form = self.settings.learned or text_compact.format_of(found)
        return self._cells(parsed, _number_type(parsed.values()), form)

    def _text(self) -> Cells:
        values = self.texts.values(self.stripped, None, object)
        known: dict[str | None, int] = {}
        levels = (*(level if level in self.count else None for level in self.stripped), None)
        places = np.array([known.setdefault(level, len(known)) for level in levels], dtype=np.intp)
        same = self.texts is self.given and len(known) == len(places) and int(self.texts.codes.min(initial=0)) >= 0
        codes = self.texts.codes if same else places[self.texts.codes]
        return Cells(self.name, values, "String", factors=(list(known), codes))

    def _promising(self, parse: Callable[[str], object]) -> bool:
        """Return whether some different texts, evenly spaced, are such that a column of this kind is possible."""
        levels = list(self.typed)
        tried = levels[:: max(1, len(levels) // TRIED)]
        return 4 * sum(parse(level) is not None for level in tried) >= len(tried)

    def _enough(self, parsed: dict[str, float]) -> bool:
        """Return whether a column is of a kind, of which these texts are."""
        read = sum(self.typed[level] for level in parsed)
        share = 0.5 if self.settings.text is False else SHARE
        asked = self.settings.kind in ("real", "count", "date") and self.settings.text is None
        return read > 0 and (asked or read >= share * sum(self.typed.values()))

    def _cells(self, parsed: dict[str, float], type_: str, form: TextFormat | None) -> Cells:
        """Return a column of numbers, in which all other texts are missing."""
        values = [parsed.get(level, np.nan) for level in self.stripped]
        others = {level: n for level, n in self.typed.items() if level not in parsed}
        notes = [self.note] if self.note else []
        if others:
            what = "date" if type_.startswith("Date") else "number"
            notes.append(note_of_others(self.name, others, what))
        numbers = self.texts.values(values, np.nan, np.float64)
        return Cells(self.name, numbers, type_, format=form, note="; ".join(notes))


def note_of_others(name: str, others: Mapping[str, int], what: str) -> str:
    """Return the note that says which texts of a column, counted in ``others``, are taken as missing; none for none."""
    shown = ", ".join(repr(level[:40]) for level in list(others)[:3])
    held = f"in {counted(sum(others.values()), 'cell')}"
    return f"column {name!r}: text {held} that is no {what} ({shown}) is taken as missing" if others else ""


def _is_absent(level: str, absent: Collection[str], marks: Collection[float]) -> bool:
    """Return whether text marks a missing cell, or is a number equal to one that does: -99.0 as -99."""
    return level in absent or bool(marks and text_numbers.PLAIN.fullmatch(level) and float(level) in marks)


def _number_type(values: Iterable[float]) -> str:
    numbers = np.array(list(values), dtype=np.float64)
    numbers = numbers[np.isfinite(numbers)]
    whole = bool((np.trunc(numbers) == numbers).all()) and np.abs(numbers).max(initial=0.0) <= EXACT
    return "Int64" if whole else "Float64"
