"""Text as the numbers, truth values and dates that it writes, for columns whose kind is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TRUTH = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "t": 1.0, "f": 0.0, "y": 1.0, "n": 0.0}
"""Words for true and false."""


def days_since_epoch(time: datetime) -> float:
    """Return the days since 1970 of a time, in UTC unless it has a zone.

    >>> days_since_epoch(datetime(1970, 1, 2, 12))
    1.5
    """
    return ((time if time.tzinfo else time.replace(tzinfo=UTC)) - EPOCH) / timedelta(days=1)


def as_dates(values: NDArray[Any]) -> NDArray[np.float64] | None:
    """Return text in ISO format as days since 1970, NaN for None; None if a cell is anything else.

    >>> as_dates(np.array(["1970-01-02", None], dtype=object))
    array([ 1., nan])
    """
    return _each(values, lambda text: days_since_epoch(datetime.fromisoformat(text.strip())))


def as_numbers_of_text(values: NDArray[Any]) -> NDArray[np.float64] | None:
    """Return text as numbers, truth in words as 1 and 0, NaN for None; None if a cell is anything else.

    >>> as_numbers_of_text(np.array(["1.5", None, "true"], dtype=object))
    array([1.5, nan, 1. ])
    """
    return _each(values, _number)


def word(value: Any, *, truth: bool = False) -> str:
    """Return what a category is written as, whatever type it was read as; ``truth`` if 1 and 0 stand for it.

    >>> word(1.0), word("01"), word(True), word("True"), word(1, truth=True), word("elm")
    ('1', '1', 'true', 'true', 'true', 'elm')
    """
    if isinstance(value, bool | np.bool_) or truth:
        return "true" if value else "false"
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in ("true", "false"):
            return text.lower()
        try:
            value = float(text.replace("_", "x"))
        except ValueError:
            return text
    return f"{value:.17g}" if isinstance(value, float) else str(value)


def is_plain_number(value: Any) -> bool:
    """Return whether a value is a number of Python's, truth excluded, that is finite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number(text: str) -> float:
    truth = TRUTH.get(text.strip().lower())
    return float(text.replace("_", "x")) if truth is None else truth


def _each(values: NDArray[Any], read: Callable[[str], float]) -> NDArray[np.float64] | None:
    if not all(value is None or isinstance(value, str) for value in values):
        return None
    try:
        return np.array([np.nan if value is None else read(value) for value in values], dtype=np.float64)
    except ValueError:
        return None
