"""What is learned of a column of numbers in one pass: range, mean, deviation, whole numbers, decimals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

MOST_DECIMALS = 6
BLOCK = 2**14
"""The values of a block, which stays in the cache."""


@dataclass(frozen=True)
class Summary:
    """Count, range, mean and deviation of the finite values of a column, and how they are written.

    Attributes
    ----------
    missing, infinite
        The numbers of values that are NaN and infinite.
    integral
        Whether every finite value is a whole number.
    decimals
        The fewest decimals that write every finite value; None if those are more than a few.

    Examples
    --------
    >>> summary = Summary.of(np.array([0.25, 1.5, np.nan]))
    >>> summary.missing, summary.mean, summary.decimals
    (1, 0.875, 2)
    """

    count: int = 0
    missing: int = 0
    infinite: int = 0
    lowest: float = np.inf
    highest: float = -np.inf
    mean: float = 0.0
    deviation: float = 0.0
    integral: bool = True
    decimals: int | None = 0

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")
    def of(cls, values: NDArray[np.float64]) -> Self:
        """Return the summary of an array, from one pass over blocks (Chan, Golub and LeVeque, 1979).

        The deviation of numbers whose squares overflow is infinite.
        """
        count, missing, integral, decimals = 0, 0, True, 0
        mean, squares, lowest, highest = 0.0, 0.0, np.inf, -np.inf
        for start in range(0, len(values), BLOCK):
            block = values[start : start + BLOCK]
            finite = np.isfinite(block)
            if not finite.all():
                missing += int(np.isnan(block).sum())
                block = block[finite]
            if not (n := len(block)):
                continue
            lowest, highest = min(lowest, float(block.min())), max(highest, float(block.max()))
            middle = float(block.mean())
            rest = block - middle
            step, share = middle - mean, n / (count + n)
            squares += float(np.square(rest, out=rest).sum()) + step * step * count * share
            mean += step * share
            count += n
            integral = integral and bool((np.trunc(block) == block).all())
            while decimals <= MOST_DECIMALS and not _written(block, decimals):
                decimals += 1
        return cls(
            count,
            missing,
            len(values) - count - missing,
            lowest,
            highest,
            mean,
            float(np.sqrt(squares / max(count, 1))),
            integral,
            decimals if decimals <= MOST_DECIMALS else None,
        )


def _written(values: NDArray[np.float64], decimals: int) -> bool:
    """Return whether so many decimals write all values."""
    return bool((np.abs(np.round(values, decimals) - values) <= 1e-12 * np.abs(values)).all())
