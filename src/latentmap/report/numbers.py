"""Numbers of a report, with as many digits as their errors allow."""

from __future__ import annotations

import math

import numpy as np

from latentmap.plot.style import number


def with_error(value: float, error: float | None, unit: str = "") -> str:
    """Return a value and its error as text, to the first digit of the error, the second where the first is 1.

    >>> with_error(-175.129, 0.42), with_error(-1387.2, 37.0), with_error(64.71, 0.143, "%")
    ('−175.1 ± 0.4', '−1,390 ± 40', '64.71 ± 0.14%')
    >>> with_error(0.24612, None)
    '0.246'
    """
    if error is None or not math.isfinite(error) or error <= 0:
        return number(value) + unit
    exponent = math.floor(math.log10(error))
    decimals = -exponent + (error / 10**exponent < 1.95)
    text = " ± ".join(f"{round(each, decimals):,.{max(decimals, 0)}f}" for each in (value, error))
    return text.replace("-", "−") + unit


def to_digits(value: float, error: float | None) -> str:
    """Return a value as text, with the digits that its error allows.

    >>> to_digits(20.412, 3.1), to_digits(20.412, None)
    ('20', '20.4')
    """
    return with_error(value, error).partition(" ±")[0]


def standard_error(values: np.ndarray) -> float | None:
    """Return the standard error of the mean of values; None of fewer than two."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
