"""Checks that all data pass, and the errors that say where a value is wrong."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.exceptions import DataError
from latentmap.messages import suggest

EXACT = 2**53
"""The largest magnitude up to which double precision holds every integer."""
LARGEST, SMALLEST = 1e150, 1e-150
"""Beyond these magnitudes squares overflow double precision, or vanish in it."""
BEYOND = "is beyond 2^53 and would lose digits as a float; drop it if it is an id"
"""What is wrong with integers that are larger than `EXACT`."""


def require_known(word: object, options: Collection[str], message: str) -> None:
    """Raise if a name is none of the options; the message ends before the name.

    >>> require_known("minst", ["digits", "mnist"], "no data set is called")
    Traceback (most recent call last):
    latentmap.exceptions.DataError: no data set is called 'minst': did you mean 'mnist'? There are: digits, mnist
    """
    if word not in options:
        raise DataError(f"{message} {word!r}: {suggest(str(word), options)}")


def require_numeric(dtype: np.dtype[Any], name: str) -> None:
    """Raise if values are not real numbers: objects, text, dates, complex numbers."""
    if dtype.kind == "c":
        raise DataError(f"Complex data not supported: {name} is {dtype.name}; split it into two columns")
    if dtype.kind == "O":
        raise DataError(f"{name} has dtype object: expected numbers; convert it, for example with .astype(float)")
    if dtype.kind not in "biuf":
        raise DataError(f"{name} has dtype {dtype.name}: expected numbers; convert it, or keep it as labels")


def require_exact(block: NDArray[Any], name: str, names: Sequence[str] | None = None, start: int = 0) -> None:
    """Raise if an integer is beyond 2^53, which double precision would round; ``start`` is the first row's index."""
    if block.dtype.kind in "iu" and (beyond := (block > EXACT) | (block < -EXACT)).any():
        first = np.argwhere(beyond)[0]
        raise DataError(f"{name}: {block[tuple(first)]} at {place(first, start, names)} {BEYOND}")


def require_no_overflow(name: str, lowest: float, highest: float) -> None:
    """Raise if the squares of values within this range overflow double precision."""
    if (largest := max(-lowest, highest)) > LARGEST:
        raise DataError(f"{name} holds values up to {largest:.3g}: beyond {LARGEST:g} squares overflow; rescale")


def require_no_underflow(name: str, lowest: float, highest: float, deviation: float) -> None:
    """Raise if values vary, but so little that the squares of their deviations vanish."""
    if lowest < highest and deviation <= SMALLEST:
        spread = f"{highest - lowest:.3g}: below {SMALLEST:g} squares vanish in double precision"
        raise DataError(f"{name} varies by {spread}; rescale or drop it")


def invalid(block: NDArray[Any], *, missing: bool) -> NDArray[np.bool_]:
    """Return which values are infinite or, unless they may be ``missing``, NaN."""
    mask: NDArray[np.bool_] = np.isinf(block) if missing else ~np.isfinite(block)
    return mask


def place(index: Sequence[int] | NDArray[np.intp], start: int = 0, names: Sequence[str] | None = None) -> str:
    """Return where a value is: row (from 1) and column name, or the index (from 0) where columns have no names.

    >>> place([2, 1], names=["height", "width"]), place([2, 1, 0], start=10)
    ("row 3, column 'width'", 'index [12, 1, 0]')
    """
    row, *rest = (int(i) for i in index)
    if names is not None and len(rest) == 1:
        return f"row {start + row + 1}, column {names[rest[0]]!r}"
    return f"index {[start + row, *rest]}"
