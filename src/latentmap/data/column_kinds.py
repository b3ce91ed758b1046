"""How a fit learns the columns of a table: the kind of each, and what follows from others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from latentmap.data.cells import decoded
from latentmap.data.checks import EXACT, require_known
from latentmap.data.column_numbers import learn_numbers
from latentmap.data.columns import (
    SETTINGS,
    Cells,
    Column,
    ColumnKind,
    ColumnSpec,
    Requested,
    Table,
)
from latentmap.data.cycles import cycle_of
from latentmap.data.dependencies import Codes, codes_of, find_derived
from latentmap.data.derived import Derived
from latentmap.data.identifiers import is_code_name, is_id_name, is_measure_name, why_left_out
from latentmap.data.levels import MOST_CATEGORIES, as_written, categories_of, grouped, ungrouped
from latentmap.data.scales import calendar_of, is_round, order_of
from latentmap.data.summaries import Summary
from latentmap.exceptions import DataError

MOST_LEVELS = 10
"""The most whole numbers that are taken for the levels of an order."""
FEWEST_STEPS = 3
"""The fewest steps of an order whose range tells that other columns of this range are levels as well."""
SOME = 1000
"""The first cells, which tell most columns that have many levels."""
ROWS_A_LEVEL = 5
"""The fewest rows for each of these levels, on average."""
LEAST_DISPERSION = 0.8
"""The least variance of counts in means: Poisson's is 1, up to chance."""
MOST_DISPERSION, REACHED = 2.0, 2.0
"""The most variance in means of counts that are far from 0, and the most deviations from 0 to the mean of others."""


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
    text, categories; few whole numbers under the name of a code     categorical
    categories with an order, words of a known scale; few whole      ordinal
    numbers that are no counts
    0, 1, true, false                                                binary
    whole numbers from 0 on, whose variance is about their mean      count
    or more, and that are not called age, price or other measures
    hours, weekdays, months, angles, by name and range               cyclic
    any other numbers                                                real
    ===============================================================  ===========

    A real column is standardised; amounts, which are never negative and deviate by more than their mean, are first put
    on a logarithmic scale, log(1 + x / u) of their least positive value u, whatever their unit is. Ids, names, free
    text and constants are left out (`identifiers.why_left_out`), and so is a column that follows from another
    (`dependencies.find_derived`); constants and what follows come back. Constants alone stay. docs/tables.md has more.

    Parameters
    ----------
    cells
        The columns; they are taken one after the other.
    columns
        A table, or settings of columns by name: ``kind`` ("drop" leaves it out), ``scaling``, ``categories``,
        ``lowest``, ``highest``, ``period``, ``other``.
    names
        The names of all columns, where the columns come one by one.
    backend
        The library of the frame that the columns come from.
    name
        What errors call the data.

    Examples
    --------
    >>> table = learn_table([Cells("height", np.array([1.5, 2.0])), Cells("nests", np.array([0.0, 9.0]))])
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
    learned, constants, dropped, codes, whole = [], [], {}, dict[str, Codes](), dict[str, Column]()
    scales: dict[str, tuple[Column, Codes]] = {}
    for column in cells:
        settings = requested.settings.get(column.name, {})
        if why := _why_drop(column, settings):
            dropped[column.name] = why
            continue
        one = learn_column(column, settings, name)
        if not settings and _is_constant(column):
            first = Cells(column.name, column.present[:1], column.type)
            constants.append(Derived(one, None, (float(one.encode(first, "error", name)[0]),)))
            dropped[column.name] = f"it always holds {_shown(one, first)}"
            continue
        learned.append(one)
        if not settings and one.kind == "count" and one.highest - one.lowest < MOST_LEVELS:
            scale = learn_column(column, {"kind": "ordinal"}, name)
            scales[one.name] = scale, codes_of(scale.encode(column, "missing", name))
        if not settings and one.other is not None and (all_levels := ungrouped(one, column)) is not None:
            whole[one.name] = all_levels
        if one.levels:
            codes[one.name] = codes_of(whole.get(one.name, one).encode(column, "missing", name))
    if not learned:  # all rows are equal, which is the first finding of a fit
        learned, constants = [one.column for one in constants], []
        dropped = {k: why for k, why in dropped.items() if all(one.name != k for one in learned)}
    if not learned:
        raise DataError(f"{name} has no column to learn from: {'; '.join(f'{k!r}: {v}' for k, v in dropped.items())}")
    for i, one in enumerate(learned):
        if one.name in scales and _is_one_of_scales(one, learned):
            learned[i], codes[one.name] = scales[one.name]
    derived = find_derived([whole.get(one.name, one) for one in learned], codes, requested.settings)
    dropped |= {one.column.name: f"it follows from {one.source!r}" for one in derived}
    sources = {one.source for one in derived}
    learned = [whole.get(one.name, one) if one.name in sources else one for one in learned]
    kept = tuple(column for column in learned if column.name not in dropped)
    follow = (*derived, *constants)
    table = Table(kept, requested.unseen, backend, dropped, requested.missing, follow, (), requested.embeddings)
    return replace(table, order=tuple(dict.fromkeys(table.components.get(name, name) for name in names)))


def learn_column(cells: Cells, settings: Mapping[str, Any] | None = None, name: str = "X") -> Column:
    """Learn what a column is, but for the settings that are specified (see `learn_table`).

    >>> learn_column(Cells("height", np.array([1.5, 2.0, np.nan]))).kind
    'real'
    """
    settings = settings or {}
    where = f"{name}: column {cells.name!r}"
    for key in settings:
        require_known(key, SETTINGS, f"{where} has no setting")
    if cells.unread:
        raise DataError(f"{where} cannot be read: {cells.unread}; leave it to be left out, or use drop")
    categories = tuple(settings.get("categories", ()))
    kind = settings.get("kind") or _kind(cells, categories)
    require_known(kind, [*get_args(ColumnKind), "drop"], f"{where}: no kind is called")
    if cells.type.startswith("Date") and kind != "date":
        raise DataError(f"{where} holds dates, and is to be {kind}: use date, or make text or numbers of them before")
    if "period" in settings and kind != "cyclic":
        raise DataError(f"{where} is {kind}, and a period is for cyclic columns: give kind = 'cyclic' as well")
    if kind in ("categorical", "ordinal") and (odd := [k for k in ("scaling", "lowest", "highest") if k in settings]):
        raise DataError(f"{where} is {kind}, and {odd[0]} is for numbers: leave it out")
    missing = len(cells.values) - cells.n_present
    column = Column(
        cells.name, kind, "none", (), cells.type, cells.native, cells.ordered, missing=missing, format=cells.format
    )
    if kind in ("categorical", "ordinal") or (kind in ("binary", "cyclic") and (not cells.numeric or categories)):
        return _learn_categories(column, cells, categories, settings.get("other"), where)
    if not cells.numeric:
        raise DataError(f"{where} holds text ({cells.present[0]!r}), and is to be {kind}: use categorical or ordinal")
    return learn_numbers(column, cells, settings, where) if cells.measured.count else column


def _learn_categories(
    column: Column, cells: Cells, categories: tuple[Any, ...], other: str | None, where: str
) -> Column:
    specified = bool(categories)
    if not categories:
        categories = categories_of(cells)
        if column.kind == "categorical" and len(categories) > MOST_CATEGORIES and not cells.categories:
            categories, other = grouped(cells, categories)
        elif _sorts(column, cells) and all(isinstance(c, str) for c in categories):
            categories = order_of(categories, cells.name) or categories
    elif other is not None and categories[-1] != other:
        categories = (*categories, other)
    if column.kind == "cyclic":
        column = replace(column, period=_period(categories, where, specified=specified))
    categories = as_written(categories, cells)
    if column.kind == "binary" and len(categories) != 2:
        raise DataError(f"{where} is to be binary, but holds {len(categories)} different values; use categorical")
    column = replace(column, categories=categories, integral=True, other=other)
    return replace(column, highest=float(column.places.max(initial=0.0)))


def _sorts(column: Column, cells: Cells) -> bool:
    """Return whether words are put in the order of their scale: not if their type orders or lists them."""
    return not cells.ordered and (column.kind == "ordinal" or (column.kind == "cyclic" and cells.type != "Enum"))


def _period(categories: tuple[Any, ...], where: str, *, specified: bool) -> float:
    """Return the period of a cyclic column of words: that of the calendar, or as many as there are specified."""
    calendar = calendar_of(list(map(str, categories)))
    if calendar is None and not specified:
        raise DataError(f"{where} is to be cyclic, and its words are no months or weekdays: give categories in order")
    return float(calendar[1] if calendar else len(categories))


def _kind(cells: Cells, categories: tuple[Any, ...]) -> ColumnKind:
    if cells.type.startswith("Date"):
        return "date"
    if not cells.numeric or categories:
        if not (cells.ordered or categories) and _is_scale(cells, is_round):
            return "cyclic"
        known = cells.ordered or not (categories or cells.categories) and _is_scale(cells)
        return "ordinal" if known else "categorical"
    summary = cells.measured
    lowest, highest = summary.lowest, summary.highest
    if not summary.count or summary.infinite or cells.type.startswith(("Duration", "Time")):
        return "real"
    if cycle_of(cells.name, lowest, highest) is not None:
        return "cyclic"
    if not summary.integral or max(-lowest, highest) >= EXACT:  # beyond, every number is whole
        return "real"
    if lowest >= 0 and highest <= 1:
        return "binary"
    if is_id_name(cells.name) or is_code_name(cells.name):
        return "categorical"
    if _are_levels(cells.present, summary):
        return "ordinal"
    form = cells.format
    if form is not None and (form.kind == "duration" or form.prefix or form.suffix):  # of money or another unit
        return "real"
    return "count" if _are_counts(cells.name, summary) else "real"


def _is_one_of_scales(column: Column, others: Sequence[Column]) -> bool:
    """Return whether two or more columns with the range of a column, half as many as counts, are levels of an order."""
    ends = (column.lowest, column.highest)
    alike = [(one.categories[0], one.categories[-1]) for one in others if one.kind == "ordinal"].count(ends)
    counts = [(one.lowest, one.highest) for one in others if one.kind == "count"].count(ends)
    return column.highest - column.lowest >= FEWEST_STEPS and alike >= max(2, counts / 2)


def _is_scale(cells: Cells, test: Callable[[Collection[str]], bool] | None = None) -> bool:
    """Return whether a column holds words of a known scale, or some that pass a test."""
    different = set(cells.counts())
    if not all(isinstance(value, str) for value in different):
        return False
    return order_of(different, cells.name) is not None if test is None else test(different)


def _are_levels(values: NDArray[np.float64], summary: Summary) -> bool:
    """Return whether whole numbers are few levels rather than counts, which begin at 0 or 1 and thin out above."""
    levels = np.unique(values[:SOME])
    if len(levels) > MOST_LEVELS:
        return False
    counts = np.array([np.count_nonzero(values == level) for level in levels])
    if counts.sum() < len(values):
        levels, counts = np.unique(values, return_counts=True)
    if not 1 < len(levels) <= MOST_LEVELS or len(values) < ROWS_A_LEVEL * len(levels):
        return False
    thins_out = counts[-1] < len(values) / len(levels) / 2 and levels[0] in (0, 1)
    return not (thins_out and summary.deviation**2 >= LEAST_DISPERSION * summary.mean)


def _are_counts(name: str, summary: Summary) -> bool:
    """Return whether whole numbers are counts: not called a measure, dispersed as such, reaching 0 or like Poisson."""
    lowest, mean, variance = summary.lowest, summary.mean, summary.deviation**2
    if lowest < 0 or variance < LEAST_DISPERSION * mean or is_measure_name(name):
        return False
    near = mean <= REACHED * summary.deviation and lowest <= max(1.0, summary.deviation / 10)
    return near or variance <= MOST_DISPERSION * mean


def _why_drop(cells: Cells, settings: Mapping[str, Any]) -> str | None:
    """Return why a column is left out, or None if it is not."""
    if settings.get("kind") == "drop":
        return "as requested"
    if "kind" in settings or "categories" in settings:
        return None
    return why_left_out(cells)


def _shown(column: Column, first: Cells) -> str:
    """Return the value of a constant as the data have it."""
    if column.categories or (column.format is None and not column.type.startswith(("Date", "Time", "Duration"))):
        return repr(first.plain()[0])
    if column.format is not None:
        return str(column.write(first.values)[0])
    return str(decoded(first.values, "Date" if column.kind == "date" and column.integral else column.type)[0])


def _is_constant(cells: Cells) -> bool:
    if cells.n_present < 2 or len(cells.categories) > 1:
        return False
    if cells.numeric:
        return cells.measured.lowest == cells.measured.highest and not cells.measured.infinite
    return len(cells.counts()) == 1
