"""Answers of an exploration, and as plain values that JSON can hold."""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.explorer.items import Imputed, Item


@dataclass(frozen=True)
class Decoded:
    """Decoded codes, the log-density of each in nats, and whether it lies in a hole; None where that is not known."""

    items: list[Item]
    density: list[float]
    hole: list[bool | None]


@dataclass(frozen=True, eq=False)
class PathAnswer:
    """Codes, decoded; as `Decoded`."""

    z: NDArray[np.float32]
    items: list[Item]
    density: list[float]
    hole: list[bool | None]


@dataclass(frozen=True, eq=False)
class RowAnswer:
    """A row of the data, and what the model makes of it.

    Attributes
    ----------
    original, reconstruction, z
        The row, what its code decodes to, and its code.
    label, id
        Its label and id, if it has some.
    evidence, percentile
        Its ELBO in nats, and the share of rows with a lower one in percent; None for a model without density.
    missing, imputed
        Columns in which it has no value, and what the model says of them.
    neighbours
        The rows that are nearest to it in the data space.
    """

    original: Item
    reconstruction: Item
    z: NDArray[np.float32]
    label: str | None
    id: str | None
    evidence: float | None
    percentile: float | None
    missing: list[int]
    neighbours: list[int]
    imputed: list[Imputed]


@dataclass(frozen=True, eq=False)
class EncodedAnswer:
    """A row that came from outside: its code, what it decodes to, its score, and whether it is unlike the rows."""

    z: NDArray[np.float32]
    item: Item
    reconstruction: Item
    evidence: float | None
    percentile: float | None
    unlike: bool
    why: str
    density: float
    hole: bool | None


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
    return base64.b64encode(little_endian(values).data).decode()


def little_endian(values: Any) -> NDArray[Any]:
    """Return an array in C order and little endian."""
    array = np.ascontiguousarray(values)
    return array.astype(array.dtype.newbyteorder("<"), copy=False)
