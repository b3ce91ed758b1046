"""What a supervised map draws together: rows of one class, or rows of near values of a number."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, from_numpy

from latentmap.estimators.conditions import LabelCondition, read_labels
from latentmap.estimators.graph import with_classes
from latentmap.estimators.parameters import Parameters
from latentmap.exceptions import DataError

LEVELS, ROWS_OF_LEVEL = 20, 10
"""Whole numbers of no more levels than this, or of so many rows each, are classes."""
NEAR = 0.05
"""Fraction of the rows whose values count as near."""

Targets = NDArray[np.int64] | NDArray[np.float64]
"""The class of each row, -1 where it is missing, or its number, NaN where it is missing."""


def read_targets(p: Parameters, y: Any, rows: int) -> Targets | None:
    """Return what a supervised map draws together; None for other maps.

    Numbers are targets by their size where some are not whole, or where they have more than 20 levels of fewer than 10
    rows each on average; all else are classes.

    Raises
    ------
    DataError
        If y is missing, of another length, infinite, or the same for all rows.
    """
    if not p.supervised:
        return None
    if y is None:
        raise DataError("a supervised map needs y, the class or number of each row; give y=..., or leave supervised=0")
    labels, missing = read_labels(y, rows, alone=False)
    if labels.dtype.kind == "f" and np.isinf(labels).any():
        raise DataError("the y of a supervised map holds infinity; expected numbers, NaN where one is missing")
    if len(levels := np.unique(labels[~missing])) < 2:
        alike = f"{levels.tolist()[0]!r} in all rows" if len(levels) else "missing in all rows"
        raise DataError(f"the y of a supervised map is {alike}; give two or more values, or leave supervised=0")
    if labels.dtype.kind in "iuf" and _are_numbers(labels[~missing]):
        return np.where(missing, np.nan, labels.astype(np.float64))
    one_hot = LabelCondition.learn(y, rows).read(y, rows)
    return np.where(one_hot.any(1), one_hot.argmax(1), -1)


def describe_targets(targets: Targets, fraction: float) -> str:
    """Describe what takes the place of neighbours."""
    what = "rows of near values of y" if targets.dtype.kind == "f" else "any rows of the same class"
    return f"{fraction:g} of the neighbours are {what}"


def with_targets(
    graph: Int[Tensor, "M k"], mine: Targets, others: Targets, fraction: float, seed: int
) -> Int[Tensor, "M k"]:
    """Replace a fraction of each row's neighbours by rows of its class, or of near values, by what the targets are."""
    replace: Any = with_values if mine.dtype.kind == "f" else with_classes
    replaced: Tensor = replace(graph, mine, others, fraction, seed)
    return replaced


def targets_of_groups(targets: Targets, groups: Int[np.ndarray, " N"]) -> Targets:
    """Return the target of each group of rows, from 0 on: the mean of numbers, the most frequent of classes.

    >>> targets_of_groups(np.array([3, 3, 1, -1, 2]), np.array([0, 0, 0, 1, 1])).tolist()
    [3, 2]
    >>> targets_of_groups(np.array([3.0, 5.0, np.nan]), np.array([0, 0, 1])).tolist()
    [4.0, nan]
    """
    count, known = int(groups.max()) + 1, targets >= 0 if targets.dtype.kind == "i" else ~np.isnan(targets)
    if targets.dtype.kind == "f":
        sums = np.bincount(groups[known], targets[known], count)
        with np.errstate(invalid="ignore"):
            means: Targets = sums / np.bincount(groups[known], minlength=count)
        return means
    pairs, counts = np.unique(np.stack([groups[known], targets[known]]), axis=1, return_counts=True)
    found = np.full(count, -1)
    order = np.argsort(counts, kind="stable")
    found[pairs[0, order]] = pairs[1, order]  # the most frequent is written last
    return found


def with_values(
    graph: Int[Tensor, "M k"],
    values: Float[np.ndarray, " M"],
    others: Float[np.ndarray, " N"],
    fraction: float,
    seed: int,
) -> Int[Tensor, "M k"]:
    """Replace a fraction of each row's neighbours, the farthest of them, by any of the rows with the nearest values.

    These are a twentieth of the rows, k at least, and all rows of the same value. Rows whose value is missing, NaN,
    keep their neighbours.

    >>> others = np.array([10.0, 11.0, 50.0, np.nan])
    >>> with_values(from_numpy(np.array([[3, 3], [3, 3]])), np.array([49.0, np.nan]), others, 0.5, 0).tolist()
    [[3, 2], [3, 3]]
    """
    replaced, columns = graph.cpu().numpy().copy(), round(fraction * graph.shape[1])
    mine, there = np.flatnonzero(~np.isnan(values)), np.flatnonzero(~np.isnan(others))
    if not columns or not len(there):
        return graph
    order = there[np.argsort(others[there], kind="stable")]
    ordered, own = others[order], values[mine]
    width = min(len(order), max(graph.shape[1], round(NEAR * len(order))))
    low = _nearest_window(ordered, own, width)
    low, high = (
        np.minimum(low, np.searchsorted(ordered, own, "left")),
        np.maximum(low + width, np.searchsorted(ordered, own, "right")),
    )
    rng = np.random.default_rng([seed, 0xC1A55])
    drawn = rng.integers(low[:, None], high[:, None], (len(mine), columns))
    replaced[mine, graph.shape[1] - columns :] = order[drawn]
    return from_numpy(replaced).to(graph.device)


def _nearest_window(
    ordered: Float[np.ndarray, " N"], values: Float[np.ndarray, " M"], width: int
) -> Int[np.ndarray, " M"]:
    """Return where the ``width`` nearest of ordered values begin, for each value, by bisection.

    >>> _nearest_window(np.array([0.0, 1.0, 5.0, 6.0]), np.array([-3.0, 4.0]), 2).tolist()
    [0, 2]
    """
    low, high = np.zeros(len(values), dtype=np.int64), np.full(len(values), len(ordered) - width)
    while (low < high).any():
        middle = (low + high) // 2
        later = values - ordered[middle] > ordered[np.minimum(middle + width, len(ordered) - 1)] - values
        low, high = np.where((low < high) & later, middle + 1, low), np.where((low < high) & ~later, middle, high)
    return low


def _are_numbers(values: NDArray[Any]) -> bool:
    """Whether values count by their size rather than as names of classes."""
    if values.dtype.kind == "f" and not (values == np.floor(values)).all():
        return True
    levels = len(np.unique(values))
    return levels > LEVELS and len(values) < ROWS_OF_LEVEL * levels
