"""Count, mean, variance and range of columns, measured block by block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean, sum of squared deviations and range of the finite values of each column.

    The sum of two is that of both blocks (Chan, Golub and LeVeque, 1979).

    >>> X = np.arange(12.0).reshape(6, 2)
    >>> (Moments.of(X[:2]) + Moments.of(X[2:])).mean
    array([5., 6.])
    """

    count: NDArray[np.int64]
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]

    @classmethod
    def of(cls, block: NDArray[Any]) -> Moments:
        """Return the moments of a block of rows, (n, *event), in double precision; features are flattened."""
        values = block.reshape(len(block), -1)
        lowest = np.fmin.reduce(values, axis=0, initial=np.inf, dtype=np.float64)
        highest = np.fmax.reduce(values, axis=0, initial=-np.inf, dtype=np.float64)
        finite = None if np.isfinite(values.sum(dtype=np.float64)) else np.isfinite(values)
        count = np.full(values.shape[1], len(values)) if finite is None else finite.sum(axis=0)
        some = np.maximum(count, 1)
        present = values if finite is None else np.where(finite, values, 0.0)
        mean = present.sum(axis=0, dtype=np.float64) / some
        values = present - mean
        if finite is not None:
            values *= finite  # missing values add nothing to the sums
        rest = values.sum(axis=0) / some  # the error of the first mean, where an offset dwarfs the deviation
        squares = np.einsum("ij,ij->j", values, values) - count * np.square(rest)
        return cls(count, mean + rest, np.maximum(squares, 0.0), lowest, highest)

    @property
    def deviation(self) -> NDArray[np.float64]:
        """The standard deviation of each column, sqrt(squares / count)."""
        return np.sqrt(self.squares / np.maximum(self.count, 1))

    @property
    def varies(self) -> NDArray[np.bool_]:
        """Whether a column has different values."""
        return self.highest > self.lowest

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        step, fraction = other.mean - self.mean, other.count / np.maximum(count, 1)
        return Moments(
            count,
            self.mean + step * fraction,
            self.squares + other.squares + np.square(step) * (self.count * fraction),
            np.minimum(self.lowest, other.lowest),
            np.maximum(self.highest, other.highest),
        )
