"""Which first rows of a table are headers, and the names of the columns that they give."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence

from latentmap.data.text import MARKS, MISSING
from latentmap.data.text_dates import duration, stamp
from latentmap.data.text_numbers import PLAIN, amount

MOST_HEADERS = 4
MOSTLY = 0.9
TYPED = 100
"""The rows from which headers are told."""
LONG_AXIS = 16
"""The fewest numbers that rise all along, or fall, which are no chance."""
FEWEST_BELOW = 10
"""The fewest rows that tell that none rises so."""
UNLIKE = 10
"""The fewest cells of text below a number that tell that it is a name."""


def is_number(cell: str) -> bool:
    """Return whether a cell is a number as programs write it, or missing."""
    text = cell.strip()
    return text.lower() in MISSING or PLAIN.fullmatch(text) is not None


def mostly(texts: Sequence[str], holds: Callable[[str], bool]) -> bool:
    """Return whether nine in ten of the texts that are not missing are such."""
    there = [text.strip() for text in texts if text.strip().lower() not in MISSING | MARKS]
    return bool(there) and sum(map(holds, there)) >= MOSTLY * len(there)


def is_header(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Return whether a row of cells names the columns of the rows below.

    >>> is_header(["k", "2019", "2020"], [["a", "1.5", "3.5"]]), is_header(["1", "2"], [["3", "4"]])
    (True, False)
    """
    second = rows[0] if rows else []
    text = [not is_number(cell) for cell in first]
    typed = [is_text and bool(amount(cell) or stamp(cell) or duration(cell)) for is_text, cell in zip(text, first)]
    if any(text) and not any(typed) and all(text[i] or not cell for i, cell in enumerate(first)):
        return True
    below = [*second, *[""] * (len(first) - len(second))][-len(first) :]
    if any(is_text and is_number(cell) and cell.strip() for is_text, cell in zip(text, below)):
        return True
    if any(typed) and all(text[i] or not cell for i, cell in enumerate(first)) and not any(
        bool(amount(cell.strip()) or stamp(cell.strip())) for cell, here in zip(below, typed) if here
    ):  # fmt: skip
        return True
    if not second:
        return False
    if not first[0] and below[0].strip() and _rises(first[1:]) and not _rises(below[1:]):  # a table of two ways
        return True
    if not any(text) and (_is_above_fractions(first, rows) or _is_axis(first, rows)):
        return True
    if _is_above_text(first, rows):
        return True
    steps = [cell for is_text, cell in zip(text, first) if not is_text and cell]
    beside = any(is_text and not is_typed for is_text, is_typed in zip(text, typed))
    next_steps = [cell.strip() for is_text, cell in zip(text, below) if not is_text and cell]
    return (
        _is_progression(steps, least=2 if beside else 3)
        and not _is_progression(next_steps, least=2)
        and not all(_follows(a, b) for a, b in itertools.pairwise([steps[-1], *next_steps]))
    )


def _rises(cells: Sequence[str]) -> bool:
    """Return whether cells are three numbers or more, each larger than the one before."""
    if len(cells) < 3 or not all(cell.strip() and is_number(cell.strip()) for cell in cells):
        return False
    return all(float(a) < float(b) for a, b in itertools.pairwise(cells))


def _is_axis(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Return whether wavelengths, times or other steps of an axis stand above rows of which none rises or falls so."""
    below = [row for row in rows[:TYPED] if len(row) == len(first)]
    if len(first) < LONG_AXIS or len(below) < FEWEST_BELOW:
        return False
    return any(_rises(first[::way]) and not any(_never_falls(row[::way]) for row in below) for way in (1, -1))


def _never_falls(cells: Sequence[str]) -> bool:
    """Return whether the numbers among cells never fall."""
    numbers = [float(text) for cell in cells if (text := cell.strip()) and PLAIN.fullmatch(text)]
    return all(a <= b for a, b in itertools.pairwise(numbers))


def _is_above_fractions(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Return whether different whole numbers stand above columns that write nine in ten numbers with a point."""
    if len(set(first)) < len(first) or not all(re.fullmatch(r"[1-9]\d*|0", cell) for cell in first):
        return False
    cells = [[cell.strip() for cell in row] for row in rows[:TYPED] if len(row) == len(first)]
    there = [[cell for cell in column if cell] for column in zip(*cells, strict=True)]
    return min(map(len, there), default=0) > 2 and all(
        mostly(column, lambda cell: "." in cell and PLAIN.fullmatch(cell) is not None) for column in there
    )


def _is_above_text(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Return whether a whole number stands above ten cells of text or more, none of which is a number."""
    named = [i for i, cell in enumerate(first) if re.fullmatch(r"\d+", cell)]
    there = [[row[i].strip() for row in rows[:TYPED] if i < len(row) and row[i].strip()] for i in named]
    return any(len(cells) >= UNLIKE and not any(map(amount, cells)) for cells in there)


def _is_progression(cells: Sequence[str], least: int) -> bool:
    """Return whether cells are 0, 1, 2, ... or 1, 2, 3, ..., as columns are named, or years in equal steps."""
    if len(cells) < least or not all(re.fullmatch(r"\d{1,4}", cell) for cell in cells):
        return False
    numbers = [int(cell) for cell in cells]
    if numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
        return len(numbers) > 2
    steps = {b - a for a, b in itertools.pairwise(numbers)}
    return len(steps) == 1 and steps != {0} and all(1500 <= number <= 2200 for number in numbers)


def _follows(a: str, b: str) -> bool:
    return a.isdecimal() and b.isdecimal() and int(b) == int(a) + 1


def is_typed(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether a column of the rows holds numbers, dates or durations."""
    width = max(map(len, rows), default=0)
    columns = zip(*(row for row in rows[:TYPED] if len(row) == width), strict=True)
    return any(mostly(cells, lambda text: bool(amount(text) or stamp(text) or duration(text))) for cells in columns)


def header_names(head: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], int]:
    """Return the names of the columns, and how many of the rows below the first header are headers too.

    The names of a column are joined. What pandas writes below headers of several rows, a row that names the row names
    alone, names one column, which stays without a name, or the first few.

    >>> header_names(["", "x", "x"], [["", "low", "high"], ["tree", "", ""], ["7", "1.5", "2.5"]])
    (['', 'x_low', 'x_high'], 2)
    """
    count = _more_headers(head, rows)
    if not count:
        return list(head), 0
    stacked = [list(head), *([cell.strip() for cell in row] for row in rows[:count])]
    named = _index_names(stacked) if count > 1 else None
    names = _joined(stacked[:-1] if named in (0, 1) else stacked)
    unnamed = not head[0] if named is None else named < 2
    return ["", *names[1:]] if unnamed else names, count


def _more_headers(head: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return the number of rows below the first that are headers too: text above numbers, or the same text."""
    for count in range(min(MOST_HEADERS, len(rows) - 1), 0, -1):
        body = [cells for cells in rows[count : count + TYPED] if len(cells) == len(head)]
        columns = list(zip(*body, strict=True))
        typed = [i for i, cells in enumerate(columns) if mostly(cells, lambda text: bool(amount(text) or stamp(text)))]
        above = [[cell.strip() for cell in cells] for cells in rows[:count] if len(cells) == len(head)]
        if len(typed) < 2 or len(above) < count:
            continue
        index = _index_names([head, *above]) if count > 1 else None
        first = index or (0 if index is None and head[0] else 1)
        inner = [i for i in typed if i >= first]
        if inner and all(_is_name(cells[i]) for cells in above[: count - (index is not None)] for i in inner):
            return count
    return int(len(rows) > 1 and [cell.strip() for cell in rows[0]] == list(head))


def _index_names(rows: Sequence[Sequence[str]]) -> int | None:
    """Return how many first columns the last header names, if it names no others; None if it does."""
    *above, last = rows
    count = next((i for i, cell in enumerate(last) if not cell.strip()), len(last))
    alone = not any(cell.strip() for cell in last[count:]) and count < len(last)
    unnamed = count < 2 or not any(cell.strip() for cells in above for cell in cells[:count])
    return count if alone and unnamed else None


def _is_name(cell: str) -> bool:
    return cell.lower() not in MISSING | MARKS and not (amount(cell) or stamp(cell))


def _joined(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a name for each column from the rows of headers; a blank in the first repeats the name before."""
    top: list[str] = []
    for name in rows[0]:
        top.append(name or (top[-1] if top else ""))
    parts = zip(top, *rows[1:])
    return ["_".join(dict.fromkeys(part for part in column if part)) for column in parts]
