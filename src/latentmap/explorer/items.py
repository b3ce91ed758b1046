"""Rows of the data as items that can be shown: pictures, cells of a table with units and categories, or lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from latentmap.data.columns import Column, Table
from latentmap.data.cycles import unwound
from latentmap.plot.rows import RowStyle
from latentmap.plot.style import number

ColumnKind = Literal["number", "category", "date"]

SPREAD = (0.05, 0.95)
"""Quantiles between which a missing cell is said to lie."""
SPANS = ("Duration", "Time")
"""Types of columns whose numbers are seconds."""
MOST_UNNAMED = 8
"""Features without names of a vector that is shown as a table; those of more are a line."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture: grey values or colours as bytes, (h, w) or (h, w, 3), from the low to the high end of the data."""

    pixels: NDArray[np.uint8] = field(metadata={"binary": True})


@dataclass(frozen=True)
class Cell:
    """A cell of a table: as text, at which share of the range of its column, and how probable its category is."""

    text: str
    at: float | None = None
    p: float | None = None


@dataclass(frozen=True)
class Record:
    """A row of a table."""

    cells: tuple[Cell, ...]


@dataclass(frozen=True, eq=False)
class Line:
    """A row of many numbers; NaN where one is missing."""

    values: NDArray[np.float64]


Item = Picture | Record | Line


@dataclass(frozen=True)
class Imputed:
    """A missing cell: its mean and the ends of its central 90%, or its likeliest category and how probable that is."""

    column: int
    text: str
    low: str | None = None
    high: str | None = None
    p: float | None = None


@dataclass(frozen=True)
class ItemColumn:
    """A column of items: its kind, unit, range, and its categories in order."""

    name: str
    kind: ColumnKind
    unit: str | None = None
    low: float | None = None
    high: float | None = None
    levels: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class Pictures:
    """Rows as pictures."""

    style: RowStyle

    def described(self) -> dict[str, Any]:
        """Return height, width and channels, and whether small values are white paper."""
        height, width = self.style.shape[:2]
        channels = 3 if len(self.style.shape) == 3 else 1
        return {"kind": "picture", "width": width, "height": height, "channels": channels, "paper": self.style.paper}

    def __call__(self, rows: NDArray[Any], chances: NDArray[Any] | None = None) -> list[Item]:
        """Return rows as pictures."""
        return [Picture(one) for one in self.pixels(rows)]

    def pixels(self, rows: NDArray[Any]) -> NDArray[np.uint8]:
        """Return grey values or colours of rows as bytes; a missing pixel is the lowest value."""
        low, high = float(self.style.low), float(self.style.high)
        scaled = (np.asarray(rows, dtype=np.float64).reshape(-1, *self.style.shape) - low) / max(high - low, 1e-12)
        pixels = np.rint(255 * np.clip(np.nan_to_num(scaled, nan=0.0), 0, 1)).astype(np.uint8)
        return pixels[..., :3] if pixels.ndim == 4 else pixels


@dataclass(frozen=True, eq=False)
class Lines:
    """Rows as lines of many numbers."""

    style: RowStyle
    names: tuple[str, ...] | None

    @property
    def columns(self) -> tuple[ItemColumn, ...]:
        """The values."""
        return _columns_of(self.style)

    def described(self) -> dict[str, Any]:
        """Return the names of the values, where they have some, and their range."""
        low, high = float(np.min(self.style.low)), float(np.max(self.style.high))
        return {"kind": "line", "names": None if self.names is None else list(self.names), "low": low, "high": high}

    def __call__(self, rows: NDArray[Any], chances: NDArray[Any] | None = None) -> list[Item]:
        """Return rows as lines."""
        return [Line(one) for one in np.asarray(rows, dtype=np.float64).reshape(len(rows), -1)]


@dataclass(frozen=True, eq=False)
class Numbers:
    """Rows of few numbers as tables of one row."""

    style: RowStyle

    def described(self) -> dict[str, Any]:
        """Return the columns and their ranges."""
        return {"kind": "table", "columns": self.columns}

    @property
    def columns(self) -> tuple[ItemColumn, ...]:
        """The columns."""
        return _columns_of(self.style)

    def imputed(self, draws: NDArray[Any], missing: list[int]) -> list[Imputed]:
        """Return missing cells from draws of a row, (n, 1, P)."""
        cells = draws.reshape(len(draws), -1)[:, missing]
        ends = [cells.mean(0), *np.quantile(cells, SPREAD, axis=0)]
        texts = zip(missing, *([number(float(one)) for one in values] for values in ends), strict=True)
        return [Imputed(*one) for one in texts]

    def __call__(self, rows: NDArray[Any], chances: NDArray[Any] | None = None) -> list[Item]:
        """Return rows as records."""
        rows = np.asarray(rows, dtype=np.float64).reshape(len(rows), -1)
        at = _shares(rows, self.style.low, self.style.high)
        return [
            Record(tuple(_number(value, share) for value, share in zip(values, shares, strict=True)))
            for values, shares in zip(rows.tolist(), at.tolist(), strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Records:
    """Rows of a table of mixed columns, all of those that come back, in their order."""

    table: Table

    @cached_property
    def columns(self) -> tuple[ItemColumn, ...]:
        """The columns."""
        return tuple(_described(column) for column in self.table.generated)

    @cached_property
    def _ends(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The least and the largest number of each column; of categories, places."""
        ends = [(one.low, one.high) if one.levels is None else (0, len(one.levels) - 1) for one in self.columns]
        low, high = np.array(ends, dtype=np.float64).T
        return low, high

    @cached_property
    def _sources(self) -> list[int | None]:
        """The place of each column among those of the model; None for one that follows from another."""
        places = {name: i for i, name in enumerate(self.table.names)}
        return [places.get(one.name) for one in self.columns]

    def described(self) -> dict[str, Any]:
        """Return the columns, with units, ranges and categories."""
        return {"kind": "table", "columns": self.columns}

    def __call__(self, rows: NDArray[Any], chances: NDArray[Any] | None = None) -> list[Item]:
        """Return rows as records: a missing cell has no text; cells that a model made are possible values."""
        low, high = self._ends
        numbers = self._numbers(rows, generated=chances is not None)
        values = np.stack([numbers[one.name] for one in self.columns], axis=1)
        there = ~np.isnan(values)
        values = np.where(there, values, low)
        shares = _shares(values, low, high)
        made = []
        for i, (column, described) in enumerate(zip(self.table.generated, self.columns, strict=True)):
            own, place = values[:, i], self._sources[i]
            known = [None] * len(rows) if chances is None or place is None else _known(chances[:, place])
            if (levels := described.levels) is None:
                texts = _texts(column, own)
            else:
                codes = np.clip(np.rint(own), 0, len(levels) - 1).astype(int).tolist()
                texts, shares[:, i] = [levels[code] for code in codes], np.array(codes) / max(1, len(levels) - 1)
            cells = zip(texts, shares[:, i].tolist(), known, there[:, i].tolist(), strict=True)
            made.append([Cell(text, share, p) if here else Cell("") for text, share, p, here in cells])
        return [Record(cells) for cells in zip(*made, strict=True)]

    def imputed(self, draws: NDArray[Any], missing: list[int]) -> list[Imputed]:
        """Return missing cells from draws of a row, (n, 1, P)."""
        numbers = self._numbers(draws, generated=True)
        return [
            _imputed(i, column, numbers[column.name]) for i, column in enumerate(self.table.generated) if i in missing
        ]

    def _numbers(self, rows: NDArray[Any], *, generated: bool) -> dict[str, NDArray[np.float64]]:
        """Return the numbers of all columns that come back; ``generated`` ones stay within what a column can hold."""
        rows = np.asarray(rows, dtype=np.float64).reshape(len(rows), -1)
        rows = self.table.within(rows) if generated else rows
        numbers = dict(zip(self.table.names, rows.T, strict=True))
        for one in self.table.derived:
            source = numbers[one.source or self.table.names[0]]
            known = one(np.nan_to_num(source))
            numbers[one.column.name] = known if one.source is None else np.where(np.isnan(source), np.nan, known)
        return numbers


Items = Pictures | Lines | Numbers | Records
"""What rows are shown as: called with rows of numbers (m, *event), it returns an item for each.

Of rows that the model has decoded it also takes the probability of each category, (m, P); NaN for cells that are none.
"""


def items_of(estimator: Any, X: NDArray[Any] | None, image_shape: tuple[int, ...] | None = None) -> Items:
    """Return what rows of a model are shown as; without rows ranges are those of samples of the model.

    Parameters
    ----------
    estimator : VAE or Autoencoder
        Fitted estimator that takes numbers.
    X : ndarray of shape (n, ...), default=None
        Rows.
    image_shape : tuple of int, default=None
        Shape (h, w) or (h, w, c) of rows that are flattened images.
    """
    names = getattr(estimator, "feature_names_in_", None)
    names = estimator.data_schema_.names if names is None else names
    if estimator.table_ is not None and estimator.table_.generated:
        return Records(estimator.table_)
    width = int(np.prod(estimator.event_shape_))
    named = names is not None and len(names) == width
    style = RowStyle.of(estimator, X, image_shape, tuple(map(str, names)) if named else None)
    if style.kind == "picture":
        return Pictures(style)
    if style.kind == "profile" and (named or width <= MOST_UNNAMED):
        return Numbers(style)
    return Lines(style, style.names if named else None)


def column_kind(column: Column) -> ColumnKind:
    """Return what kind a column of a table is shown as."""
    if column.categories or column.type == "Boolean" or column.kind == "binary":
        return "category"
    return "date" if column.kind == "date" else "number"


def level_names(column: Column) -> tuple[str, ...] | None:
    """Return the categories of a column as text, in order; None for numbers and dates."""
    if column_kind(column) != "category":
        return None
    places = np.arange(max(1, column.levels), dtype=np.float64)
    if column.format is not None or column.type == "Boolean":
        return tuple(map(str, column.write(places)))
    return tuple(str(one) for one in column.categories) or tuple(map(number, places.tolist()))


def _columns_of(style: RowStyle) -> tuple[ItemColumn, ...]:
    ends = zip(style.names, style.low.tolist(), style.high.tolist(), strict=True)
    return tuple(ItemColumn(name, "number", None, low, high) for name, low, high in ends)


def _described(column: Column) -> ItemColumn:
    """Return a column of a table as that of items."""
    levels = level_names(column)
    if levels is not None:
        return ItemColumn(column.name, "category", levels=levels)
    form = column.format
    unit = None if form is None else (form.suffix.strip() or form.prefix.strip() or None)
    unit = "s" if column.type.startswith(SPANS) else unit
    return ItemColumn(column.name, column_kind(column), unit, column.lowest, column.highest)


def _known(chances: NDArray[Any]) -> list[float | None]:
    """Return probabilities, None where there is none."""
    return [None if one != one else one for one in chances.tolist()]


def _imputed(i: int, column: Column, draws: NDArray[np.float64]) -> Imputed:
    """Return a missing cell from draws of it."""
    levels = level_names(column)
    if levels is not None:
        counts = np.bincount(np.clip(np.rint(draws), 0, len(levels) - 1).astype(int), minlength=len(levels))
        most = column.commonest(counts)
        return Imputed(i, levels[most], p=float(counts[most] / counts.sum()))
    draws = unwound(draws, draws, column.period) if column.period else draws
    text, low, high = _texts(column, column.within(np.array([draws.mean(), *np.quantile(draws, SPREAD)])))
    return Imputed(i, text, low, high)


def _texts(column: Column, values: NDArray[np.float64]) -> list[str]:
    """Return numbers or dates as text, in the form that the column had."""
    if column.format is not None:
        return [str(text) for text in column.write(values)]
    if column.kind == "date":
        ends = 10 if column.integral or column.type == "Date" else 16
        return [str(one)[:ends].replace("T", " ") for one in column.decode(values)]
    if column.type.startswith(SPANS):
        return [str(one) for one in column.decode(values).astype(object)]
    if column.decimals is not None:
        return [f"{value:,.{column.decimals}f}".replace("-", "\N{MINUS SIGN}") for value in values.tolist()]
    return [number(float(one)) for one in column.decode(values)]


def _number(value: float, share: float) -> Cell:
    return Cell("") if value != value else Cell(number(value), share)


def _shares(values: NDArray[Any], low: Any, high: Any) -> NDArray[np.float64]:
    """Return at which share of a range values lie, from 0 to 1."""
    extent = np.asarray(high, dtype=np.float64) - low
    return np.asarray(np.clip((values - low) / np.where(extent > 0, extent, 1), 0, 1))
