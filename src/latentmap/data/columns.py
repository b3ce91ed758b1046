"""The columns of a table: of which kind each is, how its cells become numbers, and numbers cells again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from latentmap.data.schema import EXACT
from latentmap.exceptions import DataError
from latentmap.messages import suggest

ColumnKind = Literal["real", "count", "binary", "categorical", "ordinal", "date"]
ColumnScaling = Literal["standard", "log1p", "none"]
Unseen = Literal["error", "missing"]

MOST_CATEGORIES = 100
"""Different texts in a column, beyond which they are rather names than categories."""
SPREAD = 0.8
"""Variance of counts in means, at the least: Poisson's is 1, up to chance."""
WIDE = 10.0
"""The largest value from which on a column of amounts may be put on a logarithmic scale."""
LARGEST, SMALLEST = 1e150, 1e-150
"""Beyond these magnitudes squares overflow double precision, or vanish in it."""
DAY = 86_400_000_000
"""Microseconds."""
SETTINGS = ("kind", "scaling", "categories", "likelihood")


@dataclass(frozen=True, eq=False)
class Cells:
    """One column as it comes.

    Attributes
    ----------
    name
        What it is called.
    values
        Numbers in double precision, NaN where a cell is missing, dates as days since 1970; or an array of objects, text
        as a rule, None where missing.
    type
        The type of the cells, a name of narwhals such as Int64, String or Date.
    native
        The type in the data frame that they come from, if it is pandas'.
    categories
        All that there may be, where the type lists them, and whether they are ``ordered``.
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
        """The values that are there."""
        if self.numeric:
            there = ~np.isnan(self.values)
        else:
            there = np.array([value is not None for value in self.values.tolist()], dtype=bool)
        found: NDArray[Any] = self.values[there]
        return found


@dataclass(frozen=True)
class Column:
    """What a fit knows of a column.

    Numbers have their range, and mean and deviation on the scale that is chosen.

    >>> heights = Cells("height", np.array([1.5, 2.0, np.nan]))
    >>> learn_column(heights).kind
    'real'
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
        """Turn cells into numbers: categories into their place among the known, from 0; NaN where one is missing.

        Errors count rows from ``start``.
        """
        if not self.categories:
            if not cells.numeric:
                if not len(cells.present):
                    return np.full(len(cells.values), np.nan)
                text = cells.present[0]
                wanted = "dates (pandas.to_datetime)" if self.kind == "date" else "numbers"
                raise DataError(f"{name}: column {self.name!r} holds text ({text!r}), expected {wanted} as in the fit")
            return np.asarray(cells.values, np.float64)
        places = {category: float(i) for i, category in enumerate(self.categories)}
        values = _with_none(cells)
        codes = np.array([np.nan if v is None else places.get(v, -1.0) for v in values], dtype=np.float64)
        strange = np.flatnonzero(codes < 0)
        if len(strange) and unseen == "error":
            value, known = values[strange[0]], ", ".join(map(str, self.categories[:8]))
            more = ", ..." if len(self.categories) > 8 else ""
            raise DataError(
                f"{name}: row {start + strange[0] + 1}, column {self.name!r}: {value!r} is not among the categories "
                f"of the fit ({known}{more}); fit with Columns(unseen='missing') to take such cells as missing"
            )
        codes[strange] = np.nan
        return codes

    def decode(self, values: NDArray[np.float64]) -> NDArray[Any]:
        """Turn numbers into cells: the nearest category, whole number or day, where the column holds such."""
        if self.categories:
            codes = np.clip(np.rint(values), 0, len(self.categories) - 1).astype(np.intp)
            plain = all(isinstance(c, int | float) for c in self.categories)
            return np.array(self.categories, dtype=None if plain else object)[codes]
        if self.kind == "date":
            unit, step = ("D", 1) if self.type == "Date" else ("us", DAY)
            values = np.rint(values) if self.integral else values  # midnights all
            return np.rint(values * step).astype(np.int64).astype(f"datetime64[{unit}]")
        if self.type == "Boolean":
            return values >= 0.5
        if self.type.startswith(("Int", "UInt")):
            limits = np.iinfo(self.type.lower())
            whole = np.rint(np.clip(values, max(-EXACT, limits.min), min(EXACT, limits.max)))
            return whole.astype(self.type.lower())
        values = np.rint(values) if self.kind in ("binary", "count") else values
        return values.astype(np.float32 if self.type == "Float32" else np.float64)


@dataclass(frozen=True)
class Table:
    """The columns of a table, in order, as a fit has learned them.

    Attributes
    ----------
    columns
        What becomes numbers.
    unseen
        What happens to a category that the fit did not see: an error, or the cell counts as missing.
    backend
        The library of the data frame that was learned from: pandas, polars or pyarrow; None for a file.
    dropped
        Columns that were left out, and why.

    Examples
    --------
    >>> trees = [Cells("height", np.array([1.5, 2.0])), Cells("species", np.array(["oak", "elm"], dtype=object))]
    >>> table = learn_table(trees)
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
        """Say what was left out, if anything."""
        return "; ".join(f"column {name!r} left out: {why}" for name, why in self.dropped.items()) or None

    def check_names(self, names: Sequence[str], name: str = "X") -> None:
        """Refuse data whose columns, of these names, lack one of the table or are others."""
        given = set(names)
        for column in self.columns:
            if column.name not in given:
                raise DataError(f"{name} lacks column {column.name!r}, which the data of the fit had")
        strange = [known for known in names if known not in self.names and known not in self.dropped]
        if strange:
            listed = ", ".join(map(repr, strange[:5]))
            raise DataError(f"{name} has columns that the data of the fit had not: {listed}; drop them")

    def encode(self, cells: Sequence[Cells], name: str = "X", start: int = 0) -> NDArray[np.float64]:
        """Turn columns into rows of numbers, shape (n, P); columns are found by name, errors count rows from start.

        Raises
        ------
        DataError
            If a column lacks, holds text in the place of numbers, or a category that the fit did not see.
        """
        given = {column.name: column for column in cells}
        self.check_names(list(given), name)
        return np.stack([c.encode(given[c.name], self.unseen, name, start) for c in self.columns], axis=1)

    def decode(self, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Turn rows of numbers, shape (n, P), into cells by column."""
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
    """What a user says of the columns of a table: settings by name, and what becomes of unseen categories."""

    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unseen: Unseen = "error"


ColumnSpec = Table | Requested | None
"""What a fit has learned of columns, or what is requested of them."""


def table_for(
    cells: Iterable[Cells],
    columns: ColumnSpec,
    *,
    names: Sequence[str] | None = None,
    backend: str | None = None,
    name: str = "X",
) -> Table:
    """Give the table that a fit has learned, or learn one."""
    if isinstance(columns, Table):
        return columns
    columns = columns or Requested()
    return learn_table(cells, columns.settings, names=names, unseen=columns.unseen, backend=backend, name=name)


def learn_table(
    cells: Iterable[Cells],
    asked: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    names: Sequence[str] | None = None,
    unseen: Unseen = "error",
    backend: str | None = None,
    name: str = "X",
) -> Table:
    """Find out what each column is.

    ===============================================================  ===========
    what a column holds                                              kind
    ===============================================================  ===========
    dates                                                            date
    text, categories                                                 categorical
    categories with an order                                         ordinal
    0, 1, true, false                                                binary
    whole numbers from 0 on, whose variance is about their mean      count
    or more
    any other numbers                                                real
    ===============================================================  ===========

    A real column is standardised; amounts, which are never negative and deviate by more than their mean, are first put
    on a logarithmic scale, log(1 + x). Text with more than 100 different values, or as many as rows, is left out.

    Parameters
    ----------
    cells
        The columns; they are taken one after the other.
    asked
        Settings of columns by name: ``kind`` ("drop" leaves it out), ``scaling``, ``categories`` in their order.
    names
        What all columns are called, where they come one by one.
    unseen
        What is to happen to categories that are not among these.
    backend
        The library of the frame that the columns come from.
    name
        What errors call the data.

    Raises
    ------
    DataError
        If a setting names no column or makes no sense for it; or nothing is left.
    """
    asked = asked or {}
    if names is None:
        cells = list(cells)
        names = [column.name for column in cells]
    for spelled in asked:
        if spelled not in names:
            raise DataError(f"{name} has no column {spelled!r}: {suggest(spelled, names)}")
    columns, dropped = [], {}
    for column in cells:
        given = asked.get(column.name, {})
        why = _why_drop(column) if "kind" not in given and "categories" not in given else None
        if given.get("kind") == "drop":
            why = "as asked"
        if why:
            dropped[column.name] = why
        else:
            columns.append(learn_column(column, given, name))
    if not columns:
        raise DataError(f"{name} has no column to learn from: {'; '.join(f'{k!r}: {v}' for k, v in dropped.items())}")
    return Table(tuple(columns), unseen, backend, dropped)


def learn_column(cells: Cells, asked: Mapping[str, Any] | None = None, name: str = "X") -> Column:
    """Find out what a column is, but for what was asked for (see `learn_table`)."""
    asked = asked or {}
    where = f"{name}: column {cells.name!r}"
    for key in asked:
        if key not in SETTINGS:
            raise DataError(f"{where} has no setting {key!r}: {suggest(key, SETTINGS)}")
    categories = tuple(asked.get("categories", ()))
    kind = asked.get("kind") or _kind(cells, categories)
    if kind not in get_args(ColumnKind):
        raise DataError(f"{where}: no kind is called {kind!r}: {suggest(str(kind), [*get_args(ColumnKind), 'drop'])}")
    missing = len(cells.values) - len(cells.present)
    found = Column(cells.name, kind, "none", (), cells.type, cells.native, cells.ordered, missing=missing)
    if kind in ("categorical", "ordinal") or (kind == "binary" and not cells.numeric):
        categories = categories or _categories(cells)
        if kind == "binary" and len(categories) != 2:
            raise DataError(f"{where} is to be binary, but holds {len(categories)} different values; use categorical")
        top = float(max(len(categories) - 1, 0))
        return replace(found, categories=categories, highest=top, integral=True)
    if not cells.numeric:
        raise DataError(f"{where} holds text ({cells.present[0]!r}), and is to be {kind}: use categorical or ordinal")
    values = cells.present[np.isfinite(cells.present)]
    if not len(values):
        return found
    lowest, highest = float(values.min()), float(values.max())
    if max(-lowest, highest) > LARGEST:
        raise DataError(f"{where} holds {max(-lowest, highest):.3g}: beyond {LARGEST:g} squares overflow; rescale it")
    mean, deviation = float(values.mean()), float(values.std())
    if lowest < highest and deviation <= SMALLEST:
        raise DataError(
            f"{where} varies by {highest - lowest:.3g}: below {SMALLEST:g} squares vanish; rescale or drop it"
        )
    integral = bool((np.trunc(values) == values).all())
    if kind == "count" and (lowest < 0 or not integral):
        raise DataError(f"{where} is to hold counts, whole numbers >= 0, but holds {lowest:g} to {highest:g}; use real")
    if kind == "binary" and not (integral and lowest >= 0 and highest <= 1):
        raise DataError(f"{where} is to be binary, but holds numbers from {lowest:g} to {highest:g}; use categorical")
    scaling: ColumnScaling = asked.get("scaling") or _scaling(kind, lowest, highest, mean, deviation)
    if scaling not in get_args(ColumnScaling):
        raise DataError(f"{where}: no scaling is called {scaling!r}: {suggest(scaling, get_args(ColumnScaling))}")
    if scaling == "log1p":
        if lowest <= -1:
            raise DataError(f"{where} holds {lowest:g}, of which log1p has no value: use scaling 'standard'")
        mean, deviation = float(np.log1p(values).mean()), float(np.log1p(values).std())
    found = replace(found, scaling=scaling, integral=integral, lowest=lowest, highest=highest)
    return replace(found, mean=mean, deviation=deviation)


def _kind(cells: Cells, categories: tuple[Any, ...]) -> ColumnKind:
    if cells.type.startswith("Date"):
        return "date"
    if not cells.numeric or categories:
        return "ordinal" if cells.ordered else "categorical"
    values = cells.present
    if not len(values) or not np.isfinite(values).all() or not (np.trunc(values) == values).all() or values.min() < 0:
        return "real"
    if values.max() <= 1:
        return "binary"
    counted = values.max() < EXACT and values.var() >= SPREAD * values.mean()  # beyond, every number is whole
    return "count" if counted else "real"


def _scaling(kind: ColumnKind, lowest: float, highest: float, mean: float, deviation: float) -> ColumnScaling:
    if kind not in ("real", "date"):
        return "none"
    amounts = kind == "real" and lowest >= 0 and deviation > mean and highest > WIDE
    return "log1p" if amounts else "standard"


def _why_drop(cells: Cells) -> str | None:
    """Say why a column is no use to a model, if so."""
    if not len(cells.present):
        return "it holds nothing"
    if cells.numeric or cells.categories:
        return None
    different = len(set(cells.present.tolist()))
    if different > MOST_CATEGORIES or different == len(cells.values) > 20:
        return f"{different:,} different texts in {len(cells.values):,} rows, rather names than categories"
    return None


def _categories(cells: Cells) -> tuple[Any, ...]:
    """All that a column may hold: as its type lists them, else sorted."""
    if cells.categories:
        return cells.categories
    values = set(_with_none(cells)) - {None}
    try:
        return tuple(sorted(values))
    except TypeError as error:
        raise DataError(f"column {cells.name!r} mixes types ({error}): make all of it text or all of it numbers") from (
            error
        )


def _with_none(cells: Cells) -> list[Any]:
    """Give cells as plain values, whole numbers as such, None where missing."""
    if not cells.numeric:
        return list(cells.values.tolist())
    return [None if v != v else int(v) if v.is_integer() else v for v in cells.values.tolist()]
