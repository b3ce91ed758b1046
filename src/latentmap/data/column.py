"""One column of a table: how its cells become numbers, and numbers cells again."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from latentmap.data.categories import encode_categories, is_plain_number, unseen_category, word
from latentmap.data.cells import Cells, decoded, limits, object_array
from latentmap.data.scales import calendar_of
from latentmap.data.text_formats import TextFormat
from latentmap.exceptions import DataError, OutOfRangeWarning

ColumnKind = Literal["real", "count", "binary", "categorical", "ordinal", "cyclic", "date"]
ColumnScaling = Literal["standard", "log", "log1p", "none"]
Unseen = Literal["error", "missing"]


@dataclass(frozen=True)
class Column:
    """A column as a fit has learned it; of numbers their range, and mean and deviation on the chosen scale.

    Attributes
    ----------
    bounds
        What generated values are kept within, in the units of the data; None for no bound.
    unit
        What amounts are divided by on a logarithmic scale, log(1 + x / unit).
    period
        The period of a cyclic column: 24 for hours, 7 for weekdays in words.
    other
        The last category, which stands for all that are rare; None where every category is listed.
    decimals
        The decimals to which generated values are rounded; None where those of the data are not few.

    Examples
    --------
    >>> species = Column("species", "categorical", categories=("elm", "oak"))
    >>> species.encode(Cells("species", np.array(["oak", None], dtype=object)), "error", "X").tolist()
    [1.0, nan]
    """

    name: str
    kind: ColumnKind
    scaling: ColumnScaling = "none"
    categories: tuple[str | int | float | bool, ...] = ()
    type: str = "Float64"
    native: str = ""
    ordered: bool = False
    lowest: float = 0.0
    highest: float = 0.0
    mean: float = 0.0
    deviation: float = 1.0
    integral: bool = False
    missing: int = 0
    format: TextFormat | None = None
    bounds: tuple[float | None, float | None] = (None, None)
    period: float = 0.0
    other: str | None = None
    decimals: int | None = None
    unit: float = 1.0

    @property
    def levels(self) -> int:
        """The number of values that the column may take; 0 for any number of them."""
        if self.kind == "cyclic":
            return round(self.period) if self.categories else 0
        return len(self.categories) or 2 * (self.kind == "binary")

    @cached_property
    def places(self) -> NDArray[np.float64]:
        """The number of each category: its index, or its place in the calendar where it is in a circle."""
        calendar = calendar_of(list(map(str, self.categories))) if self.kind == "cyclic" else None
        if calendar is None:
            return np.arange(len(self.categories), dtype=np.float64)
        return np.array([calendar[0][str(one)] for one in self.categories], dtype=np.float64)

    def _nearest(self, values: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the indices of the categories that are nearest to numbers."""
        if self.kind != "cyclic":
            return np.clip(np.rint(values), 0, len(self.categories) - 1).astype(np.intp)
        around = np.mod(values[..., None] - self.places, self.period)
        nearest: NDArray[np.intp] = np.minimum(around, self.period - around).argmin(-1)
        return nearest

    def commonest(self, counts: NDArray[np.integer[Any]]) -> int:
        """Return the commonest category; that of all rare ones only where it has more than half of the counts.

        >>> Column("town", "categorical", categories=("a", "b", "other"), other="other").commonest(np.array([2, 3, 4]))
        1
        """
        pooled = self.other is not None and len(counts) > 1 and 2 * counts[-1] <= counts.sum()
        return int((counts[:-1] if pooled else counts).argmax())

    def encode(self, cells: Cells, unseen: Unseen, name: str, start: int = 0) -> NDArray[np.float64]:
        """Return cells as numbers: categories as their index among the known, from 0; NaN where one is missing.

        Text is read as the column's type asks, since another library may have read the same file as text. Errors count
        rows from ``start``.
        """
        if self.categories:
            levels, places = cells.levels
            encoded = encode_categories(self, levels, truth=cells.type == "Boolean")
            unknown = np.flatnonzero(encoded[places] < 0) if (encoded < 0).any() else np.zeros(0, int)
            if len(unknown) and unseen == "error":
                raise unseen_category(self, levels[places[unknown[0]]], name, start + unknown[0])
            known = encoded >= 0
            encoded[known] = self.places[encoded[known].astype(np.intp)]
            return np.where(encoded < 0, np.nan, encoded)[places]
        dates = cells.type.startswith("Date") and not self.type.startswith("Date")
        if cells.numeric and not dates:
            return np.asarray(cells.values, np.float64)
        if len(cells.present):
            first, expected = cells.present[0], "dates (pandas.to_datetime)" if self.kind == "date" else "numbers"
            got = "dates" if dates else f"{'text' if isinstance(first, str) else type(first).__name__} ({first!r})"
            raise DataError(f"{name}: column {self.name!r} holds {got}, expected {expected} as in the fit")
        return np.full(len(cells.values), np.nan)

    def within(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return generated values inside of what the column can hold; none is -0."""
        if self.categories and self.period:
            return self.places[self._nearest(np.asarray(values, np.float64))]
        values = (values if self.decimals is None else np.round(values, self.decimals)) + 0.0
        if self.period:
            start = self.bounds[0] or 0.0
            return start + np.mod(values - start, self.period)
        low, high = self.bounds
        return values if low is None and high is None else np.clip(values, low, high)

    def decode(self, values: NDArray[np.float64]) -> NDArray[Any]:
        """Return numbers as cells: the nearest category, whole number or day, where the column holds such.

        The category that stands for all rare numbers is a missing cell.
        """
        if self.categories:
            indices = self._nearest(values)
            categories: tuple[Any, ...] = self.categories
            if self.other is not None and all(isinstance(c, int | float) for c in categories[:-1]):
                categories = (*categories[:-1], None)  # a word among numbers would change their type
            plain = all(isinstance(c, int | float) for c in categories)
            return np.array(categories, dtype=None if plain else object)[indices]
        if self.kind == "date" and self.integral:  # midnights all
            values = np.rint(values)
        if self.kind in ("binary", "count"):
            values = np.rint(values)
        return decoded(self._held(values), self.type)

    def write(self, values: NDArray[np.float64]) -> NDArray[Any]:
        """Return numbers as text in the form that the column had."""
        cells = self.decode(values) if self.categories else self._held(values)
        if (
            self.format is not None
            and self.format.kind != "plain"
            and all(is_plain_number(category) for category in self.categories)
        ):
            cells = np.asarray(cells, np.float64)
            return self.format.write(np.rint(cells) if self.kind == "date" and self.integral else cells)
        return object_array(
            [self._word(value) for value in (cells if self.categories else self.decode(values)).tolist()]
        )

    def _held(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return dates and durations inside of what their type can hold, with a warning where some were not."""
        if (ends := limits(self.type)) is None or not (beyond := (values < ends[0]) | (values > ends[1])).any():
            return values
        what = "dates" if self.type.startswith("Date") else "durations"
        first, last = (str(end).partition(".")[0] for end in decoded(np.array(ends), self.type))
        message = (
            f"column {self.name!r}: {beyond.sum():,} of {len(values):,} {what} lie beyond {first} to {last}, what "
        )
        warnings.warn(f"{message}their type can hold, and became the nearer of these", OutOfRangeWarning, stacklevel=2)
        return np.clip(values, *ends)

    def _word(self, value: Any) -> str:
        if not isinstance(value, float) or value.is_integer() and not self.decimals:
            return word(value)
        if self.decimals is None:
            return repr(value)
        rounded = round(value, self.decimals) + 0.0
        plain = self.format is not None and self.format.kind == "plain"  # as Python writes numbers
        return repr(rounded) if plain else f"{rounded:.{self.decimals}f}"
