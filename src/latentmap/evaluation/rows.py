"""What every measure does first: rows as finite vectors, few enough of them, drawn with a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from latentmap.data.frames import numeric_rows
from latentmap.exceptions import DataError


def as_vectors(X: Any, name: str = "X") -> Float[np.ndarray, "n d"]:
    """Rows of any shape as vectors of double precision.

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
    """Indices of at most `max_rows` of `n` rows, without replacement and in ascending order.

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
    """Return rows of an array, tensor, sparse matrix or data frame, as what it is."""
    return X.iloc[indices] if hasattr(X, "iloc") else X[indices]


def paired(X: Any, Z: Any) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n k"]]:
    """Two views of the same rows as vectors.

    Raises
    ------
    DataError
        If they do not have the same number of rows.
    """
    X, Z = as_vectors(X, "X"), as_vectors(Z, "Z")
    if len(X) != len(Z):
        raise DataError(f"X and Z are views of the same rows, got {len(X)} and {len(Z)} rows")
    return X, Z


def or_none(measure: Callable[[], float]) -> float | None:
    """Take a measure, or give None where it does not apply: no labels, too few rows, a map collapsed to a point.

    Examples
    --------
    >>> or_none(lambda: float(as_vectors([]).mean())) is None
    True
    """
    try:
        return measure()
    except DataError:
        return None
