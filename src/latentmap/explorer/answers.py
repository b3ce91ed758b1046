"""Answers of an exploration as plain values that JSON can hold."""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def as_json(value: Any) -> Any:
    """Return an answer as plain values: numbers are finite or None, and binary arrays are text in base64.

    >>> as_json({"z": np.array([[0.5, np.nan]]), "n": np.int64(3)})
    {'z': [[0.5, None]], 'n': 3}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {
            one.name: as_base64(held) if one.metadata.get("binary") else as_json(held)
            for one in fields
            for held in [getattr(value, one.name)]
        }
    if isinstance(value, Mapping):
        return {str(key): as_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(one) for one in value]
    if isinstance(value, np.ndarray | np.generic):
        return as_json(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def as_base64(values: Any) -> str:
    """Return the bytes of an array, little endian, as base64.

    >>> as_base64(np.array([1, 2], dtype=np.uint8))
    'AQI='
    """
    array = np.ascontiguousarray(values)
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<"), copy=False).data).decode()
