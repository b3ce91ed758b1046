"""How well reconstructions are, in units that mean the same for every column, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentmap.data.columns import Column
from latentmap.data.cycles import unwound
from latentmap.messages import counted
from latentmap.plot.rows import RowStyle, dense
from latentmap.plot.style import number, plain
from latentmap.report.numbers import standard_error, with_error

MOST_NAMED = 3
"""Maximum number of columns that are named as the worst."""


@dataclass(frozen=True)
class Reconstruction:
    """A headline of the reconstruction, its note, and whether it fails."""

    value: str
    note: str
    warning: bool = False


@dataclass(frozen=True, eq=False)
class Errors:
    """Squared errors of rows (n, P), masked where a cell is missing, and the variance of each column."""

    squared: Any
    variance: np.ndarray

    def columns(self, chosen: np.ndarray) -> Errors:
        """Return those of some columns."""
        return Errors(self.squared[:, chosen], self.variance[chosen])

    @property
    def deviations(self) -> np.ndarray:
        """The root mean squared error of each column, in its standard deviations."""
        return np.asarray(np.sqrt(self.squared.mean(0).filled(0.0) / self.variance))

    def kept(self, *, pooled: bool) -> tuple[float, float | None]:
        """Return the percentage of variance kept and its standard error over rows.

        Columns have one unit if they are pooled, as pixels have; otherwise each counts in its own variance.
        """
        unit = np.full_like(self.variance, self.variance.mean()) if pooled else self.variance
        relative = self.squared / unit
        rows = relative.mean(1).compressed()
        lost = float(np.ma.mean(relative.mean(0)))
        error = standard_error(rows)
        return 100 * (1 - lost), None if error is None else 100 * error


def reconstruction(
    X: Any, decoded: Any, spread: Any, estimator: Any, shape: tuple[int, ...], feature_names: Sequence[str] | None
) -> Reconstruction:
    """Return how well rows X are reconstructed.

    Parameters
    ----------
    X, decoded : array-like of shape (n, ...)
        Rows and their reconstructions; missing cells do not count.
    spread : array-like of shape (m, ...)
        Rows whose variance is the unit.
    estimator : VAE or Autoencoder
        Fitted estimator.
    shape : tuple of int
        Shape of a row: of two or three sides for images.
    feature_names : sequence of str or None
        Names of the columns.
    """
    original, unit = (np.ma.masked_invalid(dense(rows).reshape(rows.shape[0], -1)) for rows in (X, spread))
    decoded = dense(decoded).reshape(original.shape)
    off, columns = original - decoded, estimator.table_.columns if estimator.table_ is not None else ()
    for j, column in enumerate(columns):
        if column.period and not column.categories:  # the ends of which are neighbours
            off[:, j] = (off[:, j] + column.period / 2) % column.period - column.period / 2
            unit[:, j] = unwound(unit[:, j], unit[:, j].compressed(), column.period)
    errors = Errors(np.square(off), unit.var(0).filled(0.0))
    if len(shape) > 1:
        return _of_images(errors, unit)
    names = RowStyle.of(estimator, spread, feature_names=feature_names).names
    if not any(column.categories for column in columns):
        return _of_columns(errors, names)
    return _of_categories(errors, names, columns, original, decoded, unit)


def _of_images(errors: Errors, unit: Any) -> Reconstruction:
    """Return the variance of all pixels kept, and the error of a pixel in the unit of the images."""
    off = number(float(np.sqrt(errors.squared.mean())), 2)
    scale = f"{number(float(unit.min()))} to {number(float(unit.max()))}"
    note = f"a pixel is off by {off} (root mean square) on a scale of {scale}"
    return _kept(errors, note, pooled=True)


def _of_columns(errors: Errors, names: Sequence[str], more: str = "") -> Reconstruction:
    """Return the mean variance of a column kept, its error in standard deviations, and the worst columns."""
    varies = errors.variance > 0
    constant = f"; {counted(int((~varies).sum()), 'column')} without variance left out" if not varies.all() else ""
    if not varies.any():
        return _kept(errors, "", pooled=False, more=more)
    of = errors.columns(varies)
    each, named = of.deviations, [name for name, varied in zip(names, varies, strict=True) if varied]
    mean = f"mean of {len(each):,} columns" if len(each) > 1 else named[0]
    error = f"root mean squared error {number(float(each.mean()), 2)} standard deviations"
    note = f"{error} ({mean}; 1 is no better than a column's mean)"
    order = np.argsort(-each, kind="stable")[: min(MOST_NAMED, len(each) - 1)]
    worst = ", ".join(f"{plain(named[j], 24)} {number(each[j], 2)}" for j in order)
    return _kept(of, note + (f"; worst {worst}" if worst else "") + constant, pooled=False, more=more)


def _of_categories(
    errors: Errors, names: Sequence[str], columns: Sequence[Column], original: Any, decoded: np.ndarray, unit: Any
) -> Reconstruction:
    """Return the accuracy of the categories of a mixed table, beside that of the commonest, and that of its numbers."""
    categorical = np.array([bool(column.categories) for column in columns])
    right = np.rint(decoded[:, categorical]) == original[:, categorical]
    commonest = np.array([_commonest(column, unit[:, j]) for j, column in enumerate(columns) if column.categories])
    guessed = (commonest == original[:, categorical]).mean()
    accuracy = float(right.mean())
    note = f"of categories right ({guessed:.0%} by always naming a column's commonest)"
    if categorical.all():
        return Reconstruction(f"{accuracy:.0%}", note, accuracy < guessed)
    plain_names = [name for name, one in zip(names, categorical, strict=True) if not one]
    return _of_columns(errors.columns(~categorical), plain_names, f"; {accuracy:.0%} {note}")


def _commonest(column: Column, values: Any) -> float:
    """Return the number of the commonest category; NaN without any."""
    known = np.rint(np.ma.compressed(values)).astype(int)
    return float(column.commonest(np.bincount(known, minlength=len(column.categories)))) if len(known) else np.nan


def _kept(errors: Errors, note: str, *, pooled: bool, more: str = "") -> Reconstruction:
    """Return the headline of a variance that is kept, or say that there is none."""
    if not (errors.variance > 0).any():
        exact = not errors.squared.any()
        note = f"the rows do not vary, so there is no variance to compare with{f'; {note}' if note else ''}"
        return Reconstruction("exact" if exact else "not exact", note + more)
    kept, error = errors.kept(pooled=pooled)
    what = "of the variance kept" if pooled else "of a column's variance kept, on average"
    if kept <= 0:
        what += ": no better than the mean of each " + ("pixel" if pooled else "column")
    return Reconstruction(with_error(kept, error, "%"), f"{what}; {note}{more}", kept <= 0)
