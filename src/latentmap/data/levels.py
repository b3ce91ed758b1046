"""The categories of a column: all that it holds, or the frequent ones and one for the rest, as they are written."""

from __future__ import annotations

import collections
from dataclasses import replace
from typing import Any

import numpy as np

from latentmap.data.cells import Cells
from latentmap.data.column import Column
from latentmap.data.dependencies import MOST_LEVELS
from latentmap.exceptions import DataError

MOST_CATEGORIES = 100
"""The most categories of a column; of more, the rare ones are grouped."""


def categories_of(cells: Cells) -> tuple[Any, ...]:
    """Return all values that a column may hold: as its type lists them, else sorted."""
    try:
        return cells.categories or tuple(sorted(cells.counts()))
    except TypeError as error:
        message = f"column {cells.name!r} mixes types ({error}): make all of it text or all of it numbers"
        raise DataError(message) from error


def ungrouped(column: Column, cells: Cells) -> Column | None:
    """Return a column whose rare categories are grouped with all of them; None if those are too many."""
    categories = categories_of(cells)
    if len(categories) >= MOST_LEVELS:
        return None
    written = as_written(categories, cells)
    return replace(column, categories=(*written, column.other or "other"), highest=float(len(categories)))


def as_written(categories: tuple[Any, ...], cells: Cells) -> tuple[Any, ...]:
    """Return categories of text with the blanks around them that most of their cells have."""
    if cells.written is None or not any(level != level.strip() for level in cells.written[0]):
        return categories
    levels, places = cells.written
    tallies = np.bincount(places[places >= 0], minlength=len(levels)).tolist()
    usual: dict[str, str] = {}
    for _, level in sorted(zip(tallies, levels, strict=True), key=lambda one: -one[0]):
        usual.setdefault(level.strip(), level)
    return tuple(usual.get(one, one) for one in categories)


def grouped(cells: Cells, categories: tuple[Any, ...]) -> tuple[tuple[Any, ...], str]:
    """Return the most frequent categories, and the name of a last one that stands for all others."""
    counts = collections.Counter(cells.counts())
    frequent = {value for value, count in counts.most_common(MOST_CATEGORIES - 1) if count > 1}
    other = next(name for name in ("other", "(other)", "any other", "none of these") if name not in counts)
    return (*(value for value in categories if value in frequent), other), other
