"""Helpers of the measures: rows as finite vectors, seeded samples of them, and exact distances between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from latentmap.data.frames import numeric_rows
from latentmap.exceptions import DataError

__all__: list[str] = []  # helpers of this project, which may change


def as_vectors(X: Any, name: str = "X") -> Float[np.ndarray, "n d"]:
    """Return rows of any shape as vectors of double precision.

    Raises
    ------
    DataError
        If there are no rows, or a value is not a finite number.

    Examples
    --------
    >>> as_vectors(np.ones((5, 8, 8))).shape
    (5, 64)
    """
    array = numeric_rows(X, name).astype(np.float64)
    if array.ndim == 0 or len(array) == 0:
        raise DataError(f"{name} needs at least one row, got an array of shape {array.shape}")
    if not np.isfinite(array).all():
        raise DataError(f"{name} holds NaN or infinity: measures need finite numbers, fill or drop those rows")
    return array.reshape(len(array), -1)


def sample_rows(n: int, max_rows: int, random_state: int = 0) -> Int[np.ndarray, " m"]:
    """Draw indices of at most `max_rows` of `n` rows, without replacement and in ascending order.

    Examples
    --------
    >>> sample_rows(4, 10)
    array([0, 1, 2, 3])
    >>> len(sample_rows(100, 10))
    10
    """
    if n <= max_rows:
        return np.arange(n)
    return np.sort(np.random.default_rng(random_state).choice(n, max_rows, replace=False))


def take(X: Any, indices: np.ndarray) -> Any:
    """Return rows of an array, tensor, sparse matrix or data frame, in the same type."""
    return X.iloc[indices] if hasattr(X, "iloc") else X[indices]


def paired(X: Any, Z: Any) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n k"]]:
    """Return two arrays of the same rows as vectors.

    Raises
    ------
    DataError
        If they do not have the same number of rows.
    """
    X, Z = as_vectors(X, "X"), as_vectors(Z, "Z")
    if len(X) != len(Z):
        raise DataError(f"X and Z are views of the same rows, got {len(X)} and {len(Z)} rows")
    return X, Z


RELIABLE = 1e-8
"""Fraction of the squares of two rows below which their squared distance is computed from differences."""


def centred(*sets: Float[np.ndarray, "_ d"]) -> list[Float[np.ndarray, "_ d"]]:
    """Centre sets of rows on the median of the last, and scale them within one: ratios of distances stay exact.

    >>> centred(1e9 + np.array([[0.0], [1.0], [2.0]]))[0].tolist()
    [[-0.5], [0.0], [0.5]]
    """

    def within_one(rows: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        _, power = np.frexp(max(np.abs(each).max() for each in rows))
        return tuple(np.ldexp(each, -power) for each in rows)

    sets = within_one(sets)  # where nothing overflows
    centre = np.median(sets[-1], axis=0)
    return list(within_one(tuple(rows - centre for rows in sets)))


def squared_distances(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    r"""Return the squared distances of all pairs, to seven digits even between close rows; zero between equal ones.

    By a product of matrices, :math:`|a|^2 + |b|^2 - 2 a^\top b`, and by differences where that cancels: rows should be
    `centred`, which leaves few such pairs.

    >>> squared_distances(np.array([[1e9], [1e9 + 1]]), np.array([[1e9]])).tolist()
    [[0.0], [1.0]]
    """
    squares = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)
    distances = squares - 2 * a @ b.T
    squares *= RELIABLE
    pairs = np.argwhere(distances <= squares)
    for start in range(0, len(pairs), size := max(1, 2**22 // a.shape[1])):
        i, j = pairs[start : start + size].T
        distances[i, j] = np.square(a[i] - b[j]).sum(axis=1)
    return np.asarray(distances)


def or_none(measure: Callable[[], float]) -> float | None:
    """Return a measure, or None where it does not apply: no labels, too few rows, a map collapsed to a point.

    Examples
    --------
    >>> or_none(lambda: float(as_vectors([]).mean())) is None
    True
    """
    try:
        return measure()
    except DataError:
        return None
