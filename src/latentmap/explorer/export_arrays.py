"""Arrays as text in an exported page: compressed, in base64, and quantised where that is near enough."""

from __future__ import annotations

import base64
import zlib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from latentmap.explorer.answers import little_endian

Precision = Literal["int8", "int16", "float32"]

PRECISIONS: tuple[Precision, ...] = ("int8", "int16", "float32")
"""Precisions of weights, the smallest first."""


def pack(array: NDArray[Any]) -> dict[str, Any]:
    """Return an array as JSON: type, shape and its bytes in little endian, compressed, in base64.

    >>> pack(np.zeros((2, 3), np.float32))["shape"]
    [2, 3]
    """
    plain = little_endian(array)
    data = base64.b64encode(zlib.compress(plain.tobytes(), 9)).decode()
    return {"type": plain.dtype.name, "shape": list(array.shape), "data": data}


def pack_weight(weight: NDArray[Any], precision: Precision) -> dict[str, Any]:
    """Return weights (out, ...) as JSON; whole numbers are times one scale for each output."""
    if precision == "float32":
        return pack(weight.astype(np.float32))
    whole, scale = _quantised(weight, precision)
    return pack(whole) | {"scale": pack(scale)}


def rounded_weight(weight: NDArray[Any], precision: Precision) -> NDArray[np.float32]:
    """Return weights as a page reads them.

    >>> rounded_weight(np.array([[0.5, -1.27]]), "int8")
    array([[ 0.5 , -1.27]], dtype=float32)
    """
    if precision == "float32":
        return weight.astype(np.float32)
    whole, scale = _quantised(weight, precision)
    return np.asarray(whole * scale.reshape(-1, *[1] * (weight.ndim - 1)), np.float32)


def pack_range(values: NDArray[Any], levels: int = 2**16, decimals: int | None = None) -> dict[str, Any]:
    """Return an array (n, d) as JSON, each column in equal steps from its lowest to its highest finite value.

    NaN becomes the last level, which no value takes. Values of few ``decimals`` stay as they are where levels suffice.
    """
    columns = np.asarray(values, np.float64)
    columns = columns[:, None] if columns.ndim == 1 else columns
    known = np.where(np.isfinite(columns), columns, np.nan)
    known[:, ~np.isfinite(columns).any(0)] = 0.0
    low, high = (
        f(known, 0, initial=0.0 if not len(known) else at) for f, at in ((np.nanmin, np.inf), (np.nanmax, -np.inf))
    )
    step = np.where(high > low, (high - low) / (levels - 2), 1.0)
    if decimals is not None:
        step = 10.0**-decimals * np.maximum(1.0, np.ceil(step * 10.0**decimals - 1e-9))
    with np.errstate(invalid="ignore"):
        places = np.where(np.isfinite(columns), np.rint((columns - low) / step), levels - 1)
    whole = places.astype(np.uint16 if levels > 256 else np.uint8)
    return pack(whole.reshape(values.shape)) | {"low": low.tolist(), "step": step.tolist()}


def _quantised(weight: NDArray[Any], precision: Precision) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Return whole numbers and the scale of each output, which sends the largest weight to the largest number."""
    dtype = np.dtype(precision)
    most = np.iinfo(dtype).max
    flat = np.asarray(weight, np.float64).reshape(len(weight), -1)
    scale = (np.abs(flat).max(1, initial=0.0) / most).astype(np.float32)
    scale = np.where(scale > 0, scale, np.float32(1))
    whole = np.clip(np.rint(flat / scale[:, None]), -most, most).astype(dtype)
    return whole.reshape(weight.shape), scale
