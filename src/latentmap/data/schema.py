"""The schema of a data set: shape, type and range of its rows, measured in one pass; and a hash of its values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from latentmap.data.checks import EXACT, require_exact, require_numeric
from latentmap.data.typed import made

Kind = Literal["binary", "image", "count", "unit", "real"]
RowIndex = slice | NDArray[np.intp]

BLOCK_VALUES = 2**20
"""The values in one block of a pass: 8 MiB in double precision."""

MOST_HASHED, PIECE_VALUES = 2**27, 2**18
"""The most values that are all hashed; and those of each piece where there are more."""


@runtime_checkable
class Readable(Protocol):
    """Rows that can be read by block."""

    def __len__(self) -> int: ...

    def read(self, rows: RowIndex) -> NDArray[Any]:
        """Return the rows of a slice or an integer array, shape (n, *event)."""


@dataclass(frozen=True)
class Schema:
    """The shape, type and range of the rows of a data set.

    Attributes
    ----------
    n_rows
        The number of rows.
    event_shape
        The shape of one row: (64,) for a vector, (28, 28) for a grey image.
    dtype
        The type of the values as stored, a numpy name.
    names
        The names of the columns, or None.
    lowest, highest
        The range of the finite values, in data units; None if there are none.
    integral
        Whether every finite value is a whole number.
    missing, infinite
        The numbers of values that are NaN and infinite.

    Examples
    --------
    >>> schema = measure(np.array([[0, 2], [1, 3]], dtype=np.uint8))
    >>> schema.highest, schema.kind
    (3.0, 'count')
    >>> Schema.from_json(schema.to_json()) == schema
    True
    """

    n_rows: int
    event_shape: tuple[int, ...]
    dtype: str
    names: tuple[str, ...] | None
    lowest: float | None
    highest: float | None
    integral: bool
    missing: int = 0
    infinite: int = 0

    @property
    def n_features(self) -> int:
        """The number of values in a row."""
        return int(np.prod(self.event_shape))

    @property
    def binary(self) -> bool:
        """Whether every finite value is 0 or 1."""
        return self.integral and self.within(0.0, 1.0)

    @property
    def kind(self) -> Kind:
        """The kind of the values: binary, image (two or more axes), count, unit (in [0, 1]) or real."""
        if self.binary:
            return "binary"
        if len(self.event_shape) > 1:
            return "image"
        if self.integral and self.lowest is not None and self.lowest >= 0:
            return "count"
        return "unit" if self.within(0.0, 1.0) else "real"

    def within(self, low: float, high: float) -> bool:
        """Return whether there are finite values, all of them in [low, high]."""
        return self.lowest is not None and self.highest is not None and low <= self.lowest and self.highest <= high

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, with the kind, which `from_json` ignores."""
        return {**asdict(self), "event_shape": list(self.event_shape), "names": self.names and list(self.names)} | {
            "kind": self.kind
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Schema:
        """Return the schema that `to_json` wrote."""
        return made(cls, {key: item for key, item in value.items() if key != "kind"})


def measure(data: NDArray[Any] | Readable, names: Sequence[str] | None = None, name: str = "X") -> Schema:
    """Return the schema of rows, from one pass over blocks in constant memory.

    Parameters
    ----------
    data
        An array of shape (n, *event), or rows that can be read by block.
    names
        The names of the columns, if they have names.
    name
        What errors call the data.

    Examples
    --------
    >>> measure(np.array([[0.0, np.nan], [1.5, -2.0]])).missing
    1
    """
    return merged([measure_block(block, names, name, start) for start, block in blocks(data)])


def measure_block(block: NDArray[Any], names: Sequence[str] | None = None, name: str = "X", start: int = 0) -> Schema:
    """Return the schema of one block, whose first row is row ``start`` of the data."""
    require_numeric(block.dtype, name)
    values, missing, infinite = block, 0, 0
    ends = (block.min(), block.max()) if block.size else ()
    if block.dtype.kind == "f" and not np.isfinite(ends).all():
        values, missing = block[np.isfinite(block)], int(np.isnan(block).sum())
        infinite = block.size - values.size - missing
        ends = (values.min(), values.max()) if values.size else ()
    lowest, highest = map(float, ends) if len(ends) else (None, None)
    integral = bool(values.size)
    if block.dtype.kind == "f":
        integral = integral and _whole(values.ravel()[:1000]) and _whole(values)
    elif lowest is not None and highest is not None and max(-lowest, highest) >= EXACT:
        require_exact(block, name, names, start)
    return Schema(
        n_rows=len(block),
        event_shape=block.shape[1:],
        dtype=block.dtype.name,
        names=None if names is None else tuple(names),
        lowest=lowest,
        highest=highest,
        integral=integral,
        missing=missing,
        infinite=infinite,
    )


def _whole(values: NDArray[Any]) -> bool:
    return bool((np.trunc(values) == values).all())


def merged(schemas: Sequence[Schema]) -> Schema:
    """Return the schema of all rows from those of the blocks."""
    lowest = [schema.lowest for schema in schemas if schema.lowest is not None]
    highest = [schema.highest for schema in schemas if schema.highest is not None]
    return replace(
        schemas[0],
        n_rows=sum(schema.n_rows for schema in schemas),
        lowest=min(lowest, default=None),
        highest=max(highest, default=None),
        integral=bool(lowest) and all(schema.integral for schema in schemas if schema.lowest is not None),
        missing=sum(schema.missing for schema in schemas),
        infinite=sum(schema.infinite for schema in schemas),
    )


def content_hash(data: Readable, schema: Schema) -> str:
    """Return a hash of the values (sha256, hexadecimal), which does not depend on their type or format.

    Integers are hashed in the smallest type that holds their range, all other values in double precision; -0.0 counts
    as 0.0, and all NaN are equal. Of more than 2^27 values, 16 evenly spaced pieces are hashed.
    """
    digest = hashlib.sha256(json.dumps([schema.n_rows, *schema.event_shape]).encode())
    dtype = _smallest(schema)
    for block in spaced(data, schema.n_rows, schema.n_features):
        values = block.astype(dtype)
        if dtype.kind == "f":
            values += 0.0  # -0.0 + 0.0 is 0.0
            values[np.isnan(values)] = np.nan
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def fingerprint(data: Readable, schema: Schema) -> str:
    """Return a hash of a data set, its schema and its values (sha256, hexadecimal)."""
    text = json.dumps(schema.to_json(), sort_keys=True) + content_hash(data, schema)
    return hashlib.sha256(text.encode()).hexdigest()


def blocks(data: NDArray[Any] | Readable, values: int = BLOCK_VALUES) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (first row, block of rows) in order, each of about ``values`` values and at least one row.

    >>> [(start, len(block)) for start, block in blocks(np.zeros((5, 4)), values=8)]
    [(0, 2), (2, 2), (4, 1)]
    """
    if hasattr(data, "blocks"):  # a source, which may read larger parts
        yield from data.blocks(values)
        return
    read = data.__getitem__ if isinstance(data, np.ndarray) else data.read
    size = max(1, values // max(1, read(slice(0, 1)).size))
    for start in range(0, len(data), size):
        yield start, np.asarray(read(slice(start, start + size)))


def spaced(data: Readable, n_rows: int, n_features: int) -> Iterator[NDArray[Any]]:
    """Yield all rows in blocks, or evenly spaced pieces of very many rows, the same in any format."""
    if n_rows * n_features <= MOST_HASHED:
        yield from (block for _, block in blocks(data))
        return
    rows = max(1, PIECE_VALUES // n_features)
    for start in np.linspace(0, n_rows - rows, 16).astype(int).tolist():
        yield np.asarray(data.read(slice(start, start + rows)))


def _smallest(schema: Schema) -> np.dtype[Any]:
    exact = (
        schema.integral and not schema.missing and not schema.infinite and schema.within(float(-EXACT), float(EXACT))
    )
    for code in ("<u1", "<i1", "<u2", "<i2", "<u4", "<i4", "<i8") if exact else ():
        limits = np.iinfo(np.dtype(code))
        if schema.within(float(limits.min), float(limits.max)):
            return np.dtype(code)
    return np.dtype("<f8")
