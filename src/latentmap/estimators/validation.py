"""What comes in: arrays, tensors and data frames to flat rows, seeds, and settings; every refusal is one clear line."""

from __future__ import annotations

import numbers
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, validate_data

from latentmap.exceptions import DataError, PartError

FloatArray = NDArray[np.floating[Any]]
DTYPES = [np.float64, np.float32, np.uint8]
"""Types that are kept as they come; all others become the first."""


def read_rows(estimator: Any, X: Any, *, reset: bool) -> tuple[NDArray[Any], tuple[int, ...]]:
    """Give rows as a flat array (N, P) and the shape of one row.

    ``reset`` is for `fit`: it takes the number and names of the features from X; otherwise they must agree.
    """
    X = _as_array_or_frame(X)
    event: tuple[int, ...] | None = None
    if isinstance(X, np.ndarray) and X.ndim > 2:
        event = X.shape[1:]
        if len(event) > 3:
            raise DataError(f"expected rows that are vectors or images (n, height, width[, channels]), got {X.shape}")
        if not reset and event != estimator.event_shape_:
            raise DataError(f"expected rows of shape {estimator.event_shape_}, as in fit, got {event}")
        X = X.reshape(len(X), -1)
    rows: NDArray[Any] = validate_data(
        estimator, X, reset=reset, dtype=DTYPES, ensure_all_finite=False, ensure_min_samples=2 if reset else 1
    )
    return rows, event or ((rows.shape[1],) if reset else estimator.event_shape_)


def read_codes(estimator: Any, Z: Any) -> FloatArray:
    """Give codes as an array (N, D)."""
    codes: FloatArray = check_array(_as_array_or_frame(Z), dtype=[np.float64, np.float32], input_name="Z")
    if codes.shape[1] != estimator.n_components:
        raise DataError(f"expected codes with {estimator.n_components} components, got {codes.shape[1]}")
    return codes


def read_seed(random_state: Any) -> int:
    """Give a seed: the integer itself, a draw from a generator, or a fresh one for None.

    >>> read_seed(7)
    7
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(random_state, numbers.Integral):
        if random_state < 0:
            raise PartError(f"random_state must be a whole number >= 0, got {random_state}")
        return int(random_state) % 2**31
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31 - 1))
    raise PartError(f"random_state must be None, a whole number or a numpy generator, got {random_state!r}")


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Refuse a setting that is not a whole number of at least this size."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise PartError(f"{name} must be a whole number >= {least}, got {value!r}")


def check_positive(name: str, value: Any) -> None:
    """Refuse a setting that is not a positive number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < float("inf"):
        raise PartError(f"{name} must be a finite number > 0, got {value!r}")


def _as_array_or_frame(X: Any) -> Any:
    """Take tensors to numpy; name the text columns of a data frame before scikit-learn stumbles over a cell."""
    if hasattr(X, "detach"):
        return X.detach().cpu().numpy()
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    if isinstance(frame, nw.DataFrame):
        text = [c for c in frame.columns if not (frame[c].dtype.is_numeric() or frame[c].dtype == nw.Boolean)]
        if text:
            raise DataError(
                f"expected numeric columns, got {', '.join(map(repr, text[:5]))} of type {frame[text[0]].dtype}; "
                "drop them, or encode them as numbers"
            )
    return X
