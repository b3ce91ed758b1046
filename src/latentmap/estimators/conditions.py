"""Conditions of a model: labels or covariates of each row, as numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, TypedDict

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from sklearn.utils.multiclass import type_of_target

from latentmap.data.frames import numeric_rows
from latentmap.data.typed import typed
from latentmap.data.values import is_missing
from latentmap.exceptions import DataError, ModelError, PartError

Kind = Literal["labels", "covariates"]

NEEDED = "a conditional model needs y, the {} that the rows are conditioned on; give y=..."
UNLABELLED = -1
"""Among labels 0, 1, ... a missing one, as scikit-learn has it."""


@dataclass(frozen=True, eq=False)
class Condition(ABC):
    """Base: how y becomes C numbers a row, as learned from the y of a fit."""

    @classmethod
    @abstractmethod
    def learn(cls, y: Any, rows: int) -> Self:
        """Learn from y what is needed to turn it into numbers."""

    @property
    @abstractmethod
    def width(self) -> int:
        """C."""

    @abstractmethod
    def read(self, y: Any, rows: int) -> Float[np.ndarray, "n C"]:
        """Turn y into numbers; a single y serves all rows."""

    def to_json(self) -> dict[str, Any]:
        """Describe as plain JSON."""
        return {name: np.asarray(value).tolist() for name, value in vars(self).items()}


@dataclass(frozen=True, eq=False)
class LabelCondition(Condition):
    """Labels of any type as one-hot vectors, one component for each class; zeros for a label that is missing.

    >>> LabelCondition.learn(["cat", "dog", "cat"], 3).read("dog", 2)
    array([[0., 1.],
           [0., 1.]], dtype=float32)
    >>> LabelCondition.learn(["cat", "dog", None], 3).read(None, 1)
    array([[0., 0.]], dtype=float32)
    """

    classes: NDArray[Any]
    some: bool = False
    """Whether labels may be missing, since they were in the fit."""

    @classmethod
    def learn(cls, y: Any, rows: int) -> Self:
        """Take the classes, sorted, and see whether labels are missing."""
        labels, missing = read_labels(y, rows, alone=False)
        if labels.dtype.kind == "i" and len(np.unique(labels[labels >= 0])) > 1:
            missing |= labels == UNLABELLED
        labels = labels[~missing]
        if type_of_target(labels).startswith("continuous"):
            raise DataError("expected y to be labels, got continuous numbers; use condition='covariates' for those")
        classes = np.unique(labels)
        if len(classes) < 2:
            raise DataError(f"expected labels of two or more classes, got {classes.tolist()!r} alone; leave condition")
        return cls(classes, bool(missing.any()))

    @property
    def width(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def read(self, y: Any, rows: int) -> Float[np.ndarray, "n C"]:
        """Return one-hot vectors; refuse classes that the fit did not have, and missing labels unless it had such."""
        labels, missing = read_labels([None] if y is None and self.some else y, rows)
        if self.some and UNLABELLED not in self.classes.tolist():
            missing |= labels == UNLABELLED
        if missing.any() and not self.some:
            raise DataError(f"expected a label for every row, got {missing.sum()} missing; the fit had them all")
        one_hot = np.asarray((labels[:, None] == self.classes) & ~missing[:, None], dtype=np.float32)  # (n, C)
        if not (one_hot.any(1) | missing).all():
            unseen = np.unique(labels[~one_hot.any(1) & ~missing])
            known = ", ".join(map(str, self.classes[:10])) + (", ..." if len(self.classes) > 10 else "")
            raise DataError(f"expected labels among {known}, as in fit, got {', '.join(map(str, unseen[:5]))}")
        return np.ascontiguousarray(np.broadcast_to(one_hot, (rows, self.width)))


@dataclass(frozen=True, eq=False)
class CovariateCondition(Condition):
    """Covariates of each row, standardised with the mean and standard deviation that they had in the fit.

    >>> CovariateCondition.learn([[1.0], [3.0]], 2).read([[3.0]], 1)
    array([[1.]], dtype=float32)
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def learn(cls, y: Any, rows: int) -> Self:
        """Take mean and standard deviation of each covariate; one that never varies is left as it is."""
        values = _numbers(y, rows)
        scale = values.std(0)
        return cls(values.mean(0), np.where(scale > 0, scale, 1.0))

    @property
    def width(self) -> int:
        """Number of covariates."""
        return len(self.mean)

    def read(self, y: Any, rows: int) -> Float[np.ndarray, "n C"]:
        """Standardised numbers."""
        values = (_numbers(y, rows, self.width) - self.mean) / self.scale
        return np.ascontiguousarray(np.broadcast_to(values, (rows, self.width)), dtype=np.float32)


class _Labels(TypedDict):
    classes: Sequence[str | bool | float]
    some: bool


class _Covariates(TypedDict):
    mean: Sequence[float]
    scale: Sequence[float]


DESCRIBED: dict[str, type] = {"labels": _Labels, "covariates": _Covariates}
"""Types of what `Condition.to_json` gives."""
KINDS: dict[str, type[Condition]] = {"labels": LabelCondition, "covariates": CovariateCondition}


def condition_class(kind: str) -> type[Condition]:
    """Return the class for a value of the parameter ``condition``; raise `PartError` for others."""
    if not isinstance(kind, str) or kind not in KINDS:
        raise PartError(f"condition must be None, {' or '.join(map(repr, KINDS))}, got {kind!r}")
    return KINDS[kind]


def condition_from_json(kind: str | None, description: Mapping[str, Any]) -> Condition:
    """Make a condition again from what `Condition.to_json` gave."""
    if kind not in KINDS:
        raise ModelError(f"its condition must be {' or '.join(map(repr, KINDS))}, got {kind!r}")
    read = typed(description, DESCRIBED[kind], "fitted.condition")
    condition = KINDS[kind](**{name: np.array(value) for name, value in read.items()})
    for name, value in vars(condition).items():
        wanted = "b" if name == "some" else "biufU" if name == "classes" else "if"
        spoilt = (
            name == "scale" and not (value > 0).all() or name == "classes" and len(set(value.tolist())) < value.size
        )
        if value.dtype.kind not in wanted or value.ndim != (name != "some") or spoilt:
            raise ModelError(f"{name} of a condition on {kind} cannot be {description[name]!r:.40}")
    if isinstance(condition, CovariateCondition) and len(condition.mean) != len(condition.scale):
        raise ModelError(f"a condition has {len(condition.mean)} means, and {len(condition.scale)} scales")
    return condition


def read_labels(y: Any, rows: int, *, alone: bool = True) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """One label for each row, or where allowed a single one for all; and which of them are missing."""
    if y is None:
        raise DataError(NEEDED.format("labels"))
    if isinstance(y, np.ma.MaskedArray):
        mask, y = np.ma.getmaskarray(y), np.array(y.data, dtype=object if np.ma.is_masked(y) else None)
        y[mask] = None
    labels = np.asarray(y.detach().cpu() if hasattr(y, "detach") else y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    labels = np.atleast_1d(labels)
    if labels.ndim != 1 or len(labels) not in ({rows, 1} if alone else {rows}):
        raise DataError(f"expected y to hold one label for each of the {rows} rows, got shape {labels.shape}")
    missing = np.array([is_missing(label) for label in labels.tolist()], dtype=bool)
    if labels.dtype.kind == "O" and not missing.all():
        present = labels[~missing].tolist()
        try:
            kind = np.array(sorted(present)).dtype
        except TypeError as error:
            raise DataError(f"expected labels of one type, got {error}") from error
        filled = np.full(len(labels), present[0], dtype=kind)
        filled[~missing] = present
        labels = filled
    if labels.dtype.kind not in "biufU" and not missing.all():
        raise DataError(f"expected labels that are numbers or text, got {labels.dtype}; give them as text")
    return labels, missing


def _numbers(y: Any, rows: int, width: int | None = None) -> NDArray[np.float64]:
    """Covariates (n, C), or once the width is known one row of them for all."""
    if y is None:
        raise DataError(NEEDED.format("covariates"))
    y = np.asarray(y) if np.isscalar(y) or isinstance(y, list | tuple) else y
    try:
        text = getattr(y, "dtype", None) is not None and getattr(y.dtype, "kind", "") == "U"  # as files give labels
        values = (y if text else numeric_rows(y, "y")).astype(np.float64)
    except ValueError as error:
        raise DataError(
            f"expected covariates to be numbers, got {error}; use condition='labels' for classes"
        ) from error
    if values.ndim <= 1:
        values = values.reshape(1, -1) if width and values.size == width > 1 else values.reshape(-1, 1)
    lengths = {rows, 1} if width else {rows}
    if values.ndim != 2 or len(values) not in lengths or values.shape[1] != (width or values.shape[1]):
        wanted = f"({rows}, {width or 'C'})"
        raise DataError(f"expected y to hold covariates of shape {wanted}, one row for each row, got {values.shape}")
    if not np.isfinite(values).all():
        raise DataError("expected finite covariates, got NaN or infinity in y; fill or drop those rows")
    return values
