"""Categories as their places among those of a fit, whatever type a library has read them as."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentmap.exceptions import DataError

if TYPE_CHECKING:
    from latentmap.data.column import Column

SHOWN = 8
"""The most categories that an error lists."""


def encode_categories(column: Column, values: list[Any], *, truth: bool = False) -> NDArray[np.float64]:
    """Return the places of values among the categories of a column: NaN where one is missing, -1 where it is new.

    Text and numbers that are written alike are the same category, where not both are of one type; blanks around text
    do not count. A number that is no level of an order of numbers counts as the nearest one.

    Parameters
    ----------
    column
        What the fit has learned.
    values
        Plain values, None where one is missing.
    truth
        Whether 1 and 0 stand for true and false.
    """
    rest = -1.0 if column.other is None else float(len(column.categories) - 1)
    exact = {category: float(i) for i, category in enumerate(column.categories)}
    alike = {(isinstance(c, str), word(c)): i for c, i in reversed(exact.items())}
    bare = {category.strip(): i for category, i in reversed(exact.items()) if isinstance(category, str)}
    known: dict[Any, float] = {None: np.nan}
    for value in set(values) - {None}:
        key = (not isinstance(value, str), word(value, truth=truth))
        known[value] = exact.get(value, bare.get(value, alike.get(key, rest)))
    if column.kind == "ordinal" and all(map(is_plain_number, column.categories)):
        levels = np.array(column.categories, dtype=np.float64)
        others = [value for value, place in known.items() if place < 0 and is_plain_number(value)]
        known |= {value: float(np.abs(levels - float(value)).argmin()) for value in others}
    return np.array([known[value] for value in values], dtype=np.float64)


def unseen_category(column: Column, value: Any, name: str, row: int) -> DataError:
    """Return the error that says which category of which row, from 0, the fit did not have."""
    listed = ", ".join(map(str, column.categories[:SHOWN]))
    more = ", ..." if len(column.categories) > SHOWN else ""
    return DataError(
        f"{name}: row {row + 1}, column {column.name!r}: {value!r} is not among the categories "
        f"of the fit ({listed}{more}); fit with Columns(unseen='missing') to take such cells as missing"
    )


def word(value: Any, *, truth: bool = False) -> str:
    """Return what a category is written as, whatever type it was read as; ``truth`` if 1 and 0 stand for it.

    >>> word(1.0), word("01"), word(True), word("True"), word(1, truth=True), word("elm")
    ('1', '1', 'true', 'true', 'true', 'elm')
    >>> word(2**60 + 1) == word("1152921504606846977") != word("1152921504606846978")
    True
    """
    if isinstance(value, bool | np.bool_) or truth:
        return "true" if value else "false"
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in ("true", "false"):
            return text.lower()
        if re.fullmatch(r"[+-]?\d{16,}", text, re.ASCII):  # of more digits than a float holds
            return str(int(text[:400]))
        try:
            value = float(text.replace("_", "x"))
        except ValueError:
            return text
    return f"{value:.17g}" if isinstance(value, float) else str(value)


def is_plain_number(value: Any) -> bool:
    """Return whether a value is a number of Python's, truth excluded, that is finite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
