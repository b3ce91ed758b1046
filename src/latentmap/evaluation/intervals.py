"""Numbers of several fits: mean, spread, and the interval of a paired difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from latentmap.exceptions import DataError

__all__ = ["Difference", "paired_difference", "rounded", "with_spread"]

Scale = Literal["difference", "ratio"]

MOST = 12
"""Decimals, at the most."""


@dataclass(frozen=True)
class Difference:
    r"""Difference of two models over several fits of both, in pairs of the same rows and the same seed.

    Parameters
    ----------
    estimate : float
        Mean of the paired differences; for a ratio the geometric mean.
    low, high : float
        Ends of its 95% confidence interval by Student's t.
    exceeds : bool
        Whether the interval leaves out equality, and the mean exceeds the standard deviation of the pairs.
    scale : {"difference", "ratio"}
        Whether the numbers are differences, 0 where both are equal, or ratios, 1 where both are equal.
    """

    estimate: float
    low: float
    high: float
    exceeds: bool
    scale: Scale

    @property
    def lower(self) -> bool:
        """Whether the first model's values are lower."""
        return self.estimate < (1.0 if self.scale == "ratio" else 0.0)

    def __str__(self) -> str:
        if self.scale == "ratio":
            return f"×{self.estimate:.3g} [{self.low:.3g}, {self.high:.3g}]"
        digits = _digits(max(self.high - self.low, abs(self.estimate) / 25) / 4)
        estimate, low, high = (_rounded(value, digits, sign="+") for value in (self.estimate, self.low, self.high))
        return f"{estimate} [{low}, {high}]"


def paired_difference(first: Sequence[float], second: Sequence[float], scale: Scale = "difference") -> Difference:
    r"""Return how the values of one model differ from those of another, with a 95% confidence interval.

    With the differences :math:`\delta_s = a_s - b_s` of S pairs, of logarithms for a ratio, their mean and their
    standard deviation s, the interval is

    .. math:: \bar\delta \pm t_{0.975, S - 1} \frac{s}{\sqrt S}

    Parameters
    ----------
    first, second : sequence of float
        One value a fit; values at the same place are a pair.
    scale : {"difference", "ratio"}, default="difference"
        Ratios need positive values: where one is not, the differences are taken.

    Returns
    -------
    Difference
        The mean difference and its interval.

    Raises
    ------
    DataError
        If there are fewer than two pairs, or the numbers of values differ.

    Examples
    --------
    >>> print(paired_difference([1.0, 1.1, 0.9], [2.0, 2.1, 1.9]))
    -1.000 [-1.000, -1.000]
    >>> print(paired_difference([1.0, 1.2, 0.9], [4.0, 5.0, 3.0], "ratio"))
    ×0.262 [0.195, 0.352]
    >>> paired_difference([1.0, 1.2, 0.8], [1.1, 0.7, 1.2]).exceeds
    False
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise DataError(f"a spread needs two fits or more of both models, got {len(a)} and {len(b)}")
    if scale == "ratio" and (min(a.min(), b.min()) <= 0 or not np.isfinite([a, b]).all()):
        scale = "difference"
    deltas = np.log(a / b) if scale == "ratio" else a - b
    mean, deviation = float(deltas.mean()), float(deltas.std(ddof=1))
    half = _student(len(a) - 1) * deviation / math.sqrt(len(a))
    ends = mean, mean - half, mean + half
    estimate, low, high = map(math.exp, ends) if scale == "ratio" else ends
    return Difference(estimate, low, high, abs(mean) > max(half, deviation), scale)


def _student(degrees: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, degrees))


def with_spread(values: Sequence[float]) -> str:
    """Return the mean of some values and their standard deviation as text, see `rounded`.

    Parameters
    ----------
    values : sequence of float
        One value a fit; a single one has no deviation.

    Returns
    -------
    str
        Text.

    Examples
    --------
    >>> with_spread([1.71, 1.93, 1.52]), with_spread([8901.0, 7400.0]), with_spread([0.98765]), with_spread([0.3, 0.3])
    ('1.7 ± 0.2', '8,200 ± 1,100', '0.988', '0.300 ± 0.000')
    """
    return rounded(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)


def rounded(mean: float, deviation: float | None = None, most: int = MOST) -> str:
    """Return a number with as many digits as its standard deviation deserves; with three where there is none.

    Parameters
    ----------
    mean : float
        The number.
    deviation : float, optional
        Its standard deviation.
    most : int, default=12
        The most decimals.

    Returns
    -------
    str
        Text.

    Examples
    --------
    >>> rounded(0.98765, 0.0123), rounded(12345.6), rounded(0.0002)
    ('0.988 ± 0.012', '12,346', '0.0002')
    """
    if deviation is None or not math.isfinite(mean):
        return f"{mean:,.0f}" if 1000 <= abs(mean) < math.inf else f"{round(mean, most):.3g}"
    if deviation <= 1e-3 * abs(mean):
        digits = 3 if abs(mean) < 1 else max(0, 2 - math.floor(math.log10(abs(mean))))
    else:
        digits = _digits(deviation)
    digits = min(digits, most)
    return f"{_rounded(mean, digits)} ± {_rounded(deviation, digits)}"


def _digits(deviation: float) -> int:
    """Return the decimals that show one digit of a deviation, two where the first is a 1; negative for tens."""
    if deviation <= 0 or not math.isfinite(deviation):
        return 2
    exponent = math.floor(math.log10(deviation))
    return min(int(deviation / 10**exponent < 1.95) - exponent, MOST)


def _rounded(value: float, digits: int, sign: str = "") -> str:
    return f"{round(value, digits) + 0.0:{sign},.{max(digits, 0)}f}"
