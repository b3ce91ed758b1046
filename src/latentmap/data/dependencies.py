"""Categories that determine one another: found in the data, so that generated rows keep to them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from latentmap.data.columns import Column
from latentmap.data.derived import Derived

CHANCE = 1e-6
"""The greatest probability with which a column that is independent would follow from another by chance."""
MOST_LEVELS, SOME = 1000, 1000
COVERED = 0.5
"""The least fraction of the cells of a column beside which the one that determines it is known."""
APART = 0.1
"""The most by which its categories may be more or less frequent there than in all cells, in total variation."""

Codes = NDArray[np.int32]
"""Categories by their place, -1 where a cell is missing."""


def codes_of(values: NDArray[np.float64]) -> Codes:
    """Return encoded categories as whole numbers, -1 where one is missing."""
    missing = np.isnan(values)
    return (np.where(missing, -1, values) if missing.any() else values).astype(np.int32)


def find_derived(columns: Sequence[Column], codes: Mapping[str, Codes], fixed: Collection[str] = ()) -> list[Derived]:
    """Return the columns that follow from another one, each with the column that determines it.

    A column follows if each category of another one occurs with one of its categories only, more often than chance
    allows: were they independent, with probability sum_b p_b^n that a category in n rows has one partner. The other
    column must be known for half of its cells or more, in which its categories are as frequent as in all, within 0.1
    in total variation. Of columns that determine each other the first is kept, or the one that is ``fixed``.

    Examples
    --------
    >>> port = Column("port", "categorical", categories=("C", "Q", "S"))
    >>> town = Column("town", "categorical", categories=("a", "b", "c"))
    >>> found = find_derived([port, town], {"port": np.arange(60) % 3, "town": 2 - np.arange(60) % 3})
    >>> found[0].column.name, found[0].source, found[0].values
    ('town', 'port', (2.0, 1.0, 0.0))
    """
    named = [column for column in columns if column.name in codes and 1 < column.levels <= MOST_LEVELS]
    maps = {
        (a.name, b.name): mapping
        for a in named
        for b in named
        if a is not b and (mapping := _mapping(a, b, codes)) is not None
    }
    place = {column.name: (column.name not in fixed, i) for i, column in enumerate(named)}
    derived: dict[str, tuple[str, Column]] = {}
    for b in named:
        sources = [a for a in named if (a.name, b.name) in maps]
        before = [a for a in sources if (b.name, a.name) not in maps or place[a.name] < place[b.name]]
        if before and b.name not in fixed:
            derived[b.name] = (min(before, key=lambda a: (a.levels, place[a.name])).name, b)
    result = []
    for source, column in derived.values():
        root, seen = source, {column.name}
        while root in derived and root not in seen:
            seen.add(root)
            root = derived[root][0]
        if (root, column.name) in maps and root not in derived:
            result.append(Derived(column, root, maps[root, column.name]))
    return result


def _mapping(a: Column, b: Column, codes: Mapping[str, Codes]) -> tuple[float, ...] | None:
    """Return the category of b for each of a, or None if it does not follow."""
    if b.levels > a.levels:
        return None
    for rows in (slice(SOME), slice(None)):  # the first rows refute most
        table = _together(codes[a.name][rows], a.levels, codes[b.name][rows], b.levels)
        if ((table > 0).sum(1) > 1).any():
            return None
    if not table.any():
        return None
    share, counts = table.sum(0) / table.sum(), table.sum(1)
    logs = counts[counts > 0, None] * np.log(share[share > 0])
    most = logs.max(1)  # so that no power underflows
    if (most + np.log(np.exp(logs - most[:, None]).sum(1))).sum() > np.log(CHANCE):
        return None
    if not _covers(table, np.bincount(codes[b.name] + 1, minlength=b.levels + 1)[1:].astype(np.float64)):
        return None
    usual = float(share.argmax())
    return tuple(float(row.argmax()) if row.any() else usual for row in table)


def _covers(table: NDArray[np.float64], total: NDArray[np.float64]) -> bool:
    """Return whether a column, whose categories occur so often in ``total``, can be read off another one.

    The other one is known where it is there, and where the category has one partner only.
    """
    known = np.where((table > 0).sum(0) == 1, total, table.sum(0))
    apart = np.abs(known / known.sum() - total / total.sum()).sum() / 2
    return bool(known.sum() >= COVERED * total.sum() and apart <= APART)


def _together(a: Codes, levels_a: int, b: Codes, levels_b: int) -> NDArray[np.float64]:
    """Return how often each pair of categories occurs, shape (levels of a, levels of b)."""
    both = (a >= 0) & (b >= 0)
    pairs = a[both].astype(np.int64) * levels_b + b[both]
    return np.bincount(pairs, minlength=levels_a * levels_b).reshape(levels_a, levels_b).astype(np.float64)
