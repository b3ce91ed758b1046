"""Values by which points are coloured and filtered: labels, columns of the data, and what the model says of a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from latentmap.data.columns import Cells, Column
from latentmap.explorer.items import ItemColumn, Records, column_kind, level_names
from latentmap.explorer.rows import ExploredRows

Group = Literal["label", "column", "model"]

NO_CODE = 65535
"""The code of a category that is missing."""
DAYS = "days since 1970"
"""The unit of dates."""
MOST_LEVELS = 1000
"""Categories of a column, at the most; text of more is searched, but colours nothing."""
FEW_NUMBERS = 20
"""Different whole numbers in labels that are categories."""
MOST_COLUMNS = 500
"""Columns that points are coloured by, at the most."""


@dataclass(frozen=True, eq=False)
class Field:
    """One value a row.

    Attributes
    ----------
    key, name
        Its key, and its name for people.
    group
        Whether it is the label, a column of the data, or said by the model.
    kind
        Whether values are numbers, NaN where missing, or codes of categories, `NO_CODE` where missing.
    compute
        Returns the values: numbers of any precision, or uint16.
    levels
        The categories, in order.
    unit
        The unit of numbers.
    slow
        Whether the values take a while and are computed when asked for.
    note
        What to say beside the values.
    cycle
        Start and period of cyclic numbers.
    """

    key: str
    name: str
    group: Group
    kind: Literal["category", "number"]
    compute: Callable[[], NDArray[Any]]
    levels: tuple[str, ...] | None = None
    unit: str | None = None
    slow: bool = False
    note: str | None = None
    cycle: tuple[float, float] | None = None

    @cached_property
    def values(self) -> NDArray[Any]:
        """The values, float32 or uint16."""
        return self.compute() if self.kind == "category" else np.asarray(self.compute(), np.float32)

    @property
    def exact(self) -> NDArray[Any]:
        """The values with all digits that the data have."""
        return self.values if self.slow else self.compute()

    @property
    def range(self) -> tuple[float | None, float | None]:
        """The least and the largest number; None where there is none, or they are not computed yet."""
        if self.kind == "category" or (self.slow and "values" not in self.__dict__):
            return None, None
        return self._range

    @cached_property
    def _range(self) -> tuple[float | None, float | None]:
        finite = self.values[np.isfinite(self.values)]
        return (float(finite.min()), float(finite.max())) if len(finite) else (None, None)

    def described(self) -> dict[str, Any]:
        """Return what there is to know without the values."""
        low, high = self.range
        named = {"key": self.key, "name": self.name, "group": self.group, "kind": self.kind, "levels": self.levels}
        numbers = {"low": low, "high": high, "unit": self.unit, "cycle": self.cycle}
        return {**named, **numbers, "slow": self.slow, "note": self.note}


def label_field(rows: ExploredRows) -> Field | None:
    """Return the labels as a field."""
    return None if rows.labels is None else plain_field("label", rows.label_name or "label", "label", rows.labels)


def column_fields(rows: ExploredRows, columns: tuple[ItemColumn, ...], records: Records | None) -> list[Field]:
    """Return the columns of the data as fields: those of the model, then those that were left out of it."""
    fields = []
    kinds = {} if records is None else {one.name: one for one in records.table.columns}
    places = {name: i for i, name in enumerate(kinds or [one.name for one in columns])}
    flat = rows.values.reshape(len(rows), -1)
    for one in columns[:MOST_COLUMNS]:
        if one.name in places:
            fields.append(_of_model(one, kinds.get(one.name), flat[:, places[one.name]]))
    for name, cells in (rows.columns or {}).items():
        if name not in places and name != rows.label_name and len(fields) < MOST_COLUMNS:
            field = left_out(name, cells)
            fields += [] if field is None else [field]
    return fields


def left_out(name: str, cells: Cells) -> Field | None:
    """Return a column that is no part of the model as a field; None for one of too many different texts."""
    if cells.numeric:
        return plain_field(f"column:{name}", name, "column", cells.values, DAYS if "Date" in cells.type else None)
    levels, places = cells.levels
    if len(levels) > min(MOST_LEVELS, max(FEW_NUMBERS, len(places) // 2)):
        return None
    names = np.array([None if one is None else str(one) for one in levels], dtype=object)
    return plain_field(f"column:{name}", name, "column", names[places])


def plain_field(key: str, name: str, group: Group, values: NDArray[Any], unit: str | None = None) -> Field | None:
    """Return one value a row as a field: numbers, or categories where they are text or few whole numbers.

    >>> field = plain_field("label", "kind", "label", np.array(["oak", "elm", "oak"]))
    >>> field.levels, field.values.tolist()
    (('elm', 'oak'), [1, 0, 1])
    """
    if values.dtype.kind in "iuf":
        known = np.unique(values[np.isfinite(values)])
        if len(known) > FEW_NUMBERS or (known != np.rint(known)).any():
            return Field(key, name, group, "number", lambda: values, unit=unit)
        codes = np.searchsorted(known, values).astype(np.uint16) if len(known) else np.zeros(len(values), np.uint16)
        codes = np.where(np.isfinite(values), codes, NO_CODE).astype(np.uint16)
        return Field(key, name, group, "category", lambda: codes, tuple(f"{one:.0f}" for one in known.tolist()))
    texts = np.array(["" if one is None or one != one else str(one) for one in values.tolist()])
    known, places = np.unique(texts, return_inverse=True)
    blank = int(known[0] == "") if len(known) else 0
    if len(known) - blank > MOST_LEVELS:
        return None
    codes = np.where(texts == "", NO_CODE, places - blank).astype(np.uint16)
    return Field(key, name, group, "category", lambda: codes, tuple(known[blank:].tolist()))


def _of_model(described: ItemColumn, column: Column | None, values: NDArray[Any]) -> Field:
    """Return a column that is part of the model as a field."""
    key, unit = f"column:{described.name}", DAYS if described.kind == "date" else described.unit
    if column is None or column_kind(column) != "category":
        cycle = None if column is None or not column.period else (column.bounds[0] or 0.0, column.period)
        return Field(key, described.name, "column", "number", lambda: values, unit=unit, cycle=cycle)

    def codes() -> NDArray[np.uint16]:
        there = np.isfinite(values)
        return np.where(there, np.rint(np.where(there, values, 0)), NO_CODE).astype(np.uint16)

    return Field(key, described.name, "column", "category", codes, level_names(column))
