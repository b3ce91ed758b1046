"""What tells the rows of a selection from all others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from latentmap.data.cycles import unwound
from latentmap.explorer.fields import DAYS, NO_CODE, Field
from latentmap.explorer.spaces import DataSpace
from latentmap.plot.rows import spread
from latentmap.plot.style import number

SHOWN = 6
"""Typical and odd rows that are shown."""
MOST_COMPARED = 20_000
"""Rows of a selection among which typical and odd ones are searched, at the most."""


@dataclass(frozen=True)
class LabelShare:
    """How often a label is in a selection: its number of rows, and its share of the rows inside and outside."""

    name: str
    inside: float | None
    outside: float | None
    count: int


@dataclass(frozen=True)
class ColumnEffect:
    r"""How a column differs between the rows of a selection and all others.

    Attributes
    ----------
    name, kind
        The column, and whether it has numbers or categories.
    effect
        The standardised difference of the means, :math:`(m_1 - m_0) / s` with s the pooled standard deviation, of
        numbers (the deviation of all rows where neither side varies); Cramer's V of categories,
        :math:`\sqrt{\chi^2 / n}` for a selection and the rest. Numbers of a cyclic column are taken within half a
        period of the mean direction of all rows.
    q
        The p-value of Welch's test, or of Pearson's chi-squared test, adjusted for all columns by Benjamini and
        Hochberg (1995): the expected share of false discoveries among columns up to this one.
    inside, outside
        Mean and standard deviation, or the most frequent category and its share, in words.
    """

    name: str
    kind: Literal["category", "number"]
    effect: float | None
    q: float | None
    inside: str
    outside: str


@dataclass(frozen=True)
class SelectionAnswer:
    """A selection: its labels, its typical and odd rows, and the columns by the size of their effect."""

    count: int
    labels: list[LabelShare]
    typical: list[int]
    odd: list[int]
    columns: list[ColumnEffect]


def described(
    selected: NDArray[np.intp], n: int, label: Field | None, fields: Sequence[Field], space: DataSpace
) -> SelectionAnswer:
    """Return what tells some of n rows from the others.

    Parameters
    ----------
    selected
        Indices of the rows, all different.
    n
        Number of rows.
    label
        The label of the rows.
    fields
        Columns to compare.
    space
        The data space, in which rows are typical or odd.
    """
    inside = np.zeros(n, dtype=bool)
    inside[selected] = True
    labels = [] if label is None or label.kind == "number" else _labels(label, inside)
    compared = [*fields, *([label] if label is not None and label.kind == "number" else [])]
    typical, odd = _members(selected, space)
    return SelectionAnswer(len(selected), labels, typical, odd, effects(compared, inside))


def effects(fields: Sequence[Field], inside: NDArray[np.bool_]) -> list[ColumnEffect]:
    """Return how fields differ between rows inside and outside, the largest effect first."""
    from scipy.stats import false_discovery_control

    found = [(_numbers if field.kind == "number" else _categories)(field, inside) for field in fields]
    tested = [i for i, (_, p) in enumerate(found) if p is not None and math.isfinite(p)]
    adjusted = false_discovery_control([found[i][1] for i in tested]) if tested else ()
    columns = [one for one, _ in found]
    for i, q in zip(tested, adjusted, strict=True):
        columns[i] = replace(columns[i], q=float(q))
    return sorted(columns, key=lambda one: -abs(one.effect or 0.0))


def _labels(label: Field, inside: NDArray[np.bool_]) -> list[LabelShare]:
    """Return the labels of a selection, the most frequent first."""
    names = label.levels or ()
    counts = _counts(label.values, inside, len(names))
    shares = counts / np.where(counts.sum(1, keepdims=True) > 0, counts.sum(1, keepdims=True), np.nan)
    order = np.argsort(-counts[1], kind="stable")
    return [LabelShare(names[i], float(shares[1, i]), float(shares[0, i]), int(counts[1, i])) for i in order.tolist()]


def _counts(codes: NDArray[np.uint16], inside: NDArray[np.bool_], levels: int) -> NDArray[np.float64]:
    """Return how often each category is outside and inside, (2, levels)."""
    there = codes != NO_CODE
    sides = (np.bincount(codes[there & side], minlength=levels)[:levels] for side in (~inside, inside))
    return np.stack([side.astype(np.float64) for side in sides])


def _members(selected: NDArray[np.intp], space: DataSpace) -> tuple[list[int], list[int]]:
    """Return the rows that are nearest to the mean of a selection in the data space, and those farthest from it."""
    if not len(selected):
        return [], []
    some = selected[spread(len(selected), MOST_COMPARED)]
    vectors = space.take(some)
    order = some[np.argsort(np.square(vectors - vectors.mean(0)).sum(1), kind="stable")]
    return order[:SHOWN].tolist(), order[SHOWN:][::-1][:SHOWN].tolist()


def _numbers(field: Field, inside: NDArray[np.bool_]) -> tuple[ColumnEffect, float | None]:
    """Return how numbers differ, and the p-value."""
    from scipy.stats import ttest_ind_from_stats

    values = field.exact.astype(np.float64)
    there = np.isfinite(values)
    values = values if field.cycle is None or not there.any() else unwound(values, values[there], field.cycle[1])
    offset = values[there][0] if there.any() else 0.0  # else the mean of a constant is off by a rounding
    values = values - offset
    sides = [values[there & side] for side in (inside, ~inside)]
    texts = [_spread(side, offset, field) for side in sides]
    blank = ColumnEffect(field.name, "number", None, None, *texts)
    if not all(map(len, sides)):
        return blank, None
    (n, m), (a, b) = map(len, sides), (side.mean() for side in sides)
    pooled = math.sqrt(sum(len(side) * side.var() for side in sides) / max(1, n + m - 2)) or float(values[there].std())
    effect = float((a - b) / pooled) if pooled > 0 else 0.0
    if min(n, m) < 2 or not any(side.var() > 0 for side in sides):
        return replace(blank, effect=effect), None
    deviations = [side.std(ddof=1) for side in sides]
    p = ttest_ind_from_stats(a, deviations[0], n, b, deviations[1], m, equal_var=False).pvalue
    return replace(blank, effect=effect), float(p)


def _categories(field: Field, inside: NDArray[np.bool_]) -> tuple[ColumnEffect, float | None]:
    """Return how categories differ, and the p-value."""
    from scipy.stats import chi2_contingency

    names = field.levels or ()
    counts = _counts(field.values, inside, len(names))
    texts = [_most(side, names) for side in counts[::-1]]
    blank = ColumnEffect(field.name, "category", None, None, *texts)
    table = counts[:, counts.sum(0) > 0]
    if not table.sum(1).all():
        return blank, None
    if table.shape[1] < 2:
        return replace(blank, effect=0.0), None
    test = chi2_contingency(table, correction=False)
    return replace(blank, effect=math.sqrt(test.statistic / table.sum())), float(test.pvalue)


def _spread(values: NDArray[np.float64], offset: float, field: Field) -> str:
    """Return mean and standard deviation in words."""
    if not len(values):
        return "none"
    mean, some = offset + float(values.mean()), len(values) > 1
    if field.cycle is not None:
        mean = field.cycle[0] + (mean - field.cycle[0]) % field.cycle[1]
    deviation = f" ± {number(float(values.std()), 2)}" if some else ""
    if field.unit == DAYS:
        return f"{np.datetime64(round(mean), 'D')}{deviation}{' days' if some else ''}"
    return f"{number(mean)}{deviation}{'' if field.unit is None else ' ' + field.unit}"


def _most(counts: NDArray[np.float64], names: Sequence[str]) -> str:
    """Return the most frequent category and its share in words."""
    if not counts.sum():
        return "none"
    most = int(counts.argmax())
    return f"{names[most]} {counts[most] / counts.sum():.0%}"
