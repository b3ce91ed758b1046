"""How a fit learns the columns of a table: the kind, the range and the scale of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from latentmap.data.checks import EXACT, require_known, require_no_overflow, require_no_underflow
from latentmap.data.columns import (
    SETTINGS,
    Cells,
    Column,
    ColumnKind,
    ColumnScaling,
    ColumnSpec,
    Requested,
    Table,
)
from latentmap.exceptions import DataError

MOST_CATEGORIES = 100
"""The most different texts of a categorical column; of more, they are rather names."""
LEAST_DISPERSION = 0.8
"""The least variance of counts in means: Poisson's is 1, up to chance."""
WIDE = 10.0
"""The least maximum of a column of amounts that may be put on a logarithmic scale."""


def learn_table(
    cells: Iterable[Cells],
    columns: ColumnSpec = None,
    *,
    names: Sequence[str] | None = None,
    backend: str | None = None,
    name: str = "X",
) -> Table:
    """Learn what each column is; a table that a fit has learned is returned as it is.

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
    columns
        A table, or settings of columns by name: ``kind`` ("drop" leaves it out), ``scaling``, ``categories``.
    names
        The names of all columns, where the columns come one by one.
    backend
        The library of the frame that the columns come from.
    name
        What errors call the data.

    Examples
    --------
    >>> table = learn_table([Cells("height", np.array([1.5, 2.0])), Cells("age", np.array([3.0, 90.0]))])
    >>> [column.kind for column in table.columns]
    ['real', 'count']
    """
    if isinstance(columns, Table):
        return columns
    requested = columns or Requested()
    if names is None:
        cells = list(cells)
        names = [column.name for column in cells]
    for column_name in requested.settings:
        require_known(column_name, names, f"{name} has no column")
    learned, dropped = [], {}
    for column in cells:
        settings = requested.settings.get(column.name, {})
        if why := _why_drop(column, settings):
            dropped[column.name] = why
        else:
            learned.append(learn_column(column, settings, name))
    if not learned:
        raise DataError(f"{name} has no column to learn from: {'; '.join(f'{k!r}: {v}' for k, v in dropped.items())}")
    return Table(tuple(learned), requested.unseen, backend, dropped, requested.missing)


def learn_column(cells: Cells, settings: Mapping[str, Any] | None = None, name: str = "X") -> Column:
    """Learn what a column is, but for the settings that are specified (see `learn_table`).

    >>> learn_column(Cells("height", np.array([1.5, 2.0, np.nan]))).kind
    'real'
    """
    settings = settings or {}
    where = f"{name}: column {cells.name!r}"
    for key in settings:
        require_known(key, SETTINGS, f"{where} has no setting")
    categories = tuple(settings.get("categories", ()))
    kind = settings.get("kind") or _kind(cells, categories)
    require_known(kind, [*get_args(ColumnKind), "drop"], f"{where}: no kind is called")
    missing = len(cells.values) - len(cells.present)
    column = Column(
        cells.name, kind, "none", (), cells.type, cells.native, cells.ordered, missing=missing, format=cells.format
    )
    if kind in ("categorical", "ordinal") or (kind == "binary" and not cells.numeric):
        categories = categories or _categories(cells)
        if kind == "binary" and len(categories) != 2:
            raise DataError(f"{where} is to be binary, but holds {len(categories)} different values; use categorical")
        return replace(column, categories=categories, highest=float(max(len(categories) - 1, 0)), integral=True)
    if not cells.numeric:
        raise DataError(f"{where} holds text ({cells.present[0]!r}), and is to be {kind}: use categorical or ordinal")
    values = cells.present[np.isfinite(cells.present)]
    return _learn_numbers(column, values, settings.get("scaling"), where) if len(values) else column


def _learn_numbers(column: Column, values: NDArray[Any], scaling: str | None, where: str) -> Column:
    lowest, highest = float(values.min()), float(values.max())
    require_no_overflow(where, lowest, highest)
    mean, deviation = float(values.mean()), float(values.std())
    require_no_underflow(where, lowest, highest, deviation)
    integral = _integral(values)
    if column.kind == "count" and (lowest < 0 or not integral):
        raise DataError(f"{where} is to hold counts, whole numbers >= 0, but holds {lowest:g} to {highest:g}; use real")
    if column.kind == "binary" and not (integral and lowest >= 0 and highest <= 1):
        raise DataError(f"{where} is to be binary, but holds numbers from {lowest:g} to {highest:g}; use categorical")
    scaling = scaling or _scaling(column.kind, lowest, highest, mean, deviation)
    require_known(scaling, get_args(ColumnScaling), f"{where}: no scaling is called")
    if scaling == "log1p":
        if lowest <= -1:
            raise DataError(f"{where} holds {lowest:g}, of which log1p has no value: use scaling 'standard'")
        mean, deviation = float(np.log1p(values).mean()), float(np.log1p(values).std())
    learned: dict[str, Any] = {"scaling": scaling, "integral": integral, "mean": mean, "deviation": deviation}
    return replace(column, lowest=lowest, highest=highest, **learned)


def _integral(values: NDArray[Any]) -> bool:
    return bool((np.trunc(values) == values).all())


def _kind(cells: Cells, categories: tuple[Any, ...]) -> ColumnKind:
    if cells.type.startswith("Date"):
        return "date"
    if not cells.numeric or categories:
        return "ordinal" if cells.ordered else "categorical"
    values = cells.present
    if not len(values) or not np.isfinite(values).all() or not _integral(values) or values.min() < 0:
        return "real"
    if values.max() <= 1:
        return "binary"
    counts = values.max() < EXACT and values.var() >= LEAST_DISPERSION * values.mean()  # beyond, every number is whole
    return "count" if counts else "real"


def _scaling(kind: ColumnKind, lowest: float, highest: float, mean: float, deviation: float) -> ColumnScaling:
    if kind not in ("real", "date"):
        return "none"
    amounts = kind == "real" and lowest >= 0 and deviation > mean and highest > WIDE
    return "log1p" if amounts else "standard"


def _why_drop(cells: Cells, settings: Mapping[str, Any]) -> str | None:
    """Return why a column is left out, or None if it is not."""
    if settings.get("kind") == "drop":
        return "as requested"
    if "kind" in settings or "categories" in settings:
        return None
    if not len(cells.present):
        return "it holds nothing"
    if cells.numeric or cells.categories:
        return None
    different = len(set(cells.present.tolist()))
    if different > MOST_CATEGORIES or different == len(cells.values) > 20:
        return f"{different:,} different texts in {len(cells.values):,} rows, rather names than categories"
    return None


def _categories(cells: Cells) -> tuple[Any, ...]:
    """Return all values that a column may hold: as its type lists them, else sorted."""
    try:
        return cells.categories or tuple(sorted(set(cells.plain()) - {None}))
    except TypeError as error:
        message = f"column {cells.name!r} mixes types ({error}): make all of it text or all of it numbers"
        raise DataError(message) from error
