"""The columns of a table: how cells become numbers, and numbers cells again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from latentmap.data.checks import EXACT
from latentmap.data.selection import require_columns
from latentmap.exceptions import DataError

ColumnKind = Literal["real", "count", "binary", "categorical", "ordinal", "date"]
ColumnScaling = Literal["standard", "log1p", "none"]
Unseen = Literal["error", "missing"]

DAY = 86_400_000_000
"""Microseconds."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SHOWN_CATEGORIES = 8
SETTINGS = ("kind", "scaling", "categories", "likelihood")
"""The settings of a column."""


@dataclass(frozen=True, eq=False)
class Cells:
    """One column of a table, as it is read.

    Attributes
    ----------
    name
        The name of the column.
    values
        Numbers in double precision, NaN where a cell is missing, dates as days since 1970; or an array of objects, text
        as a rule, None where missing.
    type
        The type of the cells, a name of narwhals such as Int64, String or Date.
    native
        The type in the data frame that they come from, if it is pandas'.
    categories
        All possible values, where the type lists them, and whether they are ``ordered``.
    """

    name: str
    values: NDArray[Any]
    type: str = "Float64"
    native: str = ""
    categories: tuple[Any, ...] = ()
    ordered: bool = False

    @property
    def numeric(self) -> bool:
        """Whether the values are numbers."""
        return self.values.dtype.kind == "f"

    @property
    def present(self) -> NDArray[Any]:
        """The values that are not missing."""
        missing = np.isnan(self.values) if self.numeric else np.array([v is None for v in self.values], dtype=bool)
        present: NDArray[Any] = self.values[~missing]
        return present

    def plain(self) -> list[Any]:
        """Return the cells as plain values, whole numbers as integers, None where missing."""
        values = self.values.tolist()
        return [None if v != v else int(v) if v.is_integer() else v for v in values] if self.numeric else values


@dataclass(frozen=True)
class Column:
    """A column as a fit has learned it; of numbers their range, and mean and deviation on the chosen scale.

    >>> species = Column("species", "categorical", categories=("elm", "oak"))
    >>> species.encode(Cells("species", np.array(["oak", None], dtype=object)), "error", "X").tolist()
    [1.0, nan]
    """

    name: str
    kind: ColumnKind
    scaling: ColumnScaling = "none"
    categories: tuple[Any, ...] = ()
    type: str = "Float64"
    native: str = ""
    ordered: bool = False
    lowest: float = 0.0
    highest: float = 0.0
    mean: float = 0.0
    deviation: float = 1.0
    integral: bool = False
    missing: int = 0

    def encode(self, cells: Cells, unseen: Unseen, name: str, start: int = 0) -> NDArray[np.float64]:
        """Return cells as numbers: categories as their index among the known, from 0; NaN where one is missing.

        Errors count rows from ``start``.
        """
        if self.categories:
            return self._encode_categories(cells.plain(), unseen, name, start)
        if cells.numeric:
            return np.asarray(cells.values, np.float64)
        if len(cells.present):
            expected = "dates (pandas.to_datetime)" if self.kind == "date" else "numbers"
            text = f"text ({cells.present[0]!r}), expected {expected} as in the fit"
            raise DataError(f"{name}: column {self.name!r} holds {text}")
        return np.full(len(cells.values), np.nan)

    def _encode_categories(self, values: list[Any], unseen: Unseen, name: str, start: int) -> NDArray[np.float64]:
        indices = {category: float(i) for i, category in enumerate(self.categories)} | {None: np.nan}
        encoded = np.array([indices.get(value, -1.0) for value in values], dtype=np.float64)
        unknown = np.flatnonzero(encoded < 0)
        if len(unknown) and unseen == "error":
            value, known = values[unknown[0]], ", ".join(map(str, self.categories[:SHOWN_CATEGORIES]))
            more = ", ..." if len(self.categories) > SHOWN_CATEGORIES else ""
            raise DataError(
                f"{name}: row {start + unknown[0] + 1}, column {self.name!r}: {value!r} is not among the categories "
                f"of the fit ({known}{more}); fit with Columns(unseen='missing') to take such cells as missing"
            )
        encoded[unknown] = np.nan
        return encoded

    def decode(self, values: NDArray[np.float64]) -> NDArray[Any]:
        """Return numbers as cells: the nearest category, whole number or day, where the column holds such."""
        if self.categories:
            indices = np.clip(np.rint(values), 0, len(self.categories) - 1).astype(np.intp)
            plain = all(isinstance(c, int | float) for c in self.categories)
            return np.array(self.categories, dtype=None if plain else object)[indices]
        if self.kind == "date":
            unit, step = ("D", 1) if self.type == "Date" else ("us", DAY)
            values = np.rint(values) if self.integral else values  # midnights all
            return np.rint(values * step).astype(np.int64).astype(f"datetime64[{unit}]")
        if self.type == "Boolean":
            return values >= 0.5
        if self.type.startswith(("Int", "UInt")):
            limits = np.iinfo(self.type.lower())
            return np.rint(np.clip(values, max(-EXACT, limits.min), min(EXACT, limits.max))).astype(limits.dtype)
        values = np.rint(values) if self.kind in ("binary", "count") else values
        return values.astype(np.float32 if self.type == "Float32" else np.float64)


@dataclass(frozen=True)
class Table:
    """The columns of a table in their order, as a fit has learned them.

    Attributes
    ----------
    columns
        The columns that become numbers.
    unseen
        What becomes of a category that the fit has not learned: an error, or the cell is taken as missing.
    backend
        The library of the data frame that was learned from: pandas, polars or pyarrow; None for a file.
    dropped
        The columns that were left out, and why.

    Examples
    --------
    >>> trees = [Cells("height", np.array([1.5, 2.0])), Cells("species", np.array(["oak", "elm"], dtype=object))]
    >>> table = Table((Column("height", "real"), Column("species", "categorical", categories=("elm", "oak"))))
    >>> table.encode(trees)
    array([[1.5, 1. ],
           [2. , 0. ]])
    >>> table.decode(np.array([[1.7, 0.0]]))["species"].tolist()
    ['elm']
    """

    columns: tuple[Column, ...]
    unseen: Unseen = "error"
    backend: str | None = None
    dropped: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [column.name for column in self.columns]

    @property
    def mixed(self) -> bool:
        """Whether some column is anything but plain numbers."""
        return any(column.categories or column.kind == "date" for column in self.columns)

    @property
    def remark(self) -> str | None:
        """What was left out, or None."""
        return "; ".join(f"column {name!r} left out: {why}" for name, why in self.dropped.items()) or None

    def encode(self, cells: Sequence[Cells], name: str = "X", start: int = 0) -> NDArray[np.float64]:
        """Return columns, which are looked up by name, as rows of numbers (n, P); errors count rows from ``start``.

        Columns that the table does not have are ignored.
        """
        given = {column.name: column for column in cells}
        require_columns(self.names, given, name)
        return np.stack([c.encode(given[c.name], self.unseen, name, start) for c in self.columns], axis=1)

    def decode(self, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return rows of numbers, shape (n, P), as cells by column."""
        return {c.name: c.decode(np.asarray(rows[:, i], np.float64)) for i, c in enumerate(self.columns)}

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        columns = [asdict(column) | {"categories": list(column.categories)} for column in self.columns]
        return {"columns": columns, "unseen": self.unseen, "backend": self.backend, "dropped": dict(self.dropped)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Return the table that `to_json` wrote."""
        columns = [Column(**item | {"categories": tuple(item["categories"])}) for item in value["columns"]]
        return cls(tuple(columns), value["unseen"], value["backend"], value["dropped"])


@dataclass(frozen=True)
class Requested:
    """Settings of columns by name, as a user specifies them, and what becomes of unseen categories."""

    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unseen: Unseen = "error"

    def without(self, names: Collection[str]) -> Self:
        """Return these without settings of some columns."""
        return type(self)({k: v for k, v in self.settings.items() if k not in names}, self.unseen)


ColumnSpec = Table | Requested | None
"""The columns that a fit has learned, or what is requested of them."""


def days_since_epoch(time: datetime) -> float:
    """Return the days since 1970 of a time, in UTC unless it has a zone.

    >>> days_since_epoch(datetime(1970, 1, 2, 12))
    1.5
    """
    return ((time if time.tzinfo else time.replace(tzinfo=UTC)) - EPOCH) / timedelta(days=1)


def date_type(*, days: bool, zoned: bool) -> str:
    """Return the type of a column of dates: of whole ``days``, or of times, which may be ``zoned``."""
    return "Date" if days else f"Datetime(time_unit='us', time_zone={'UTC' if zoned else None!r})"


def object_array(values: Sequence[Any]) -> NDArray[Any]:
    """Return values as an array of objects, whatever they are."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
