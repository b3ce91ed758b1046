"""Conditional models on the command line: labels of the data, or one condition for all rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from latentmap.cli.terminal import UsageError
from latentmap.messages import counted

if TYPE_CHECKING:
    import numpy as np


def conditions(labels: np.ndarray[Any, Any]) -> list[Any]:
    """Return labels as conditions of a model, None where one is missing."""
    return [None if label in ("missing", "") else label for label in labels.tolist()]


def targets(labels: np.ndarray[Any, Any]) -> Any:
    """Return labels as what a supervised map draws together: numbers where all are, None where one is missing."""
    if labels.dtype.kind != "U":
        return labels
    values = conditions(labels)
    try:
        return [None if value is None else float(value) for value in values]
    except ValueError:
        return values


def condition_in(estimator: Any, text: str | None) -> Any:
    """Return the model for the value of ``--given``: a label, or covariates separated by commas."""
    if text is None:
        return estimator
    if estimator.condition_ is None:
        raise UsageError("--given is for conditional models, and this is not one; leave it out")
    if estimator.has_labels_:
        classes = {str(label): label for label in estimator.classes_.tolist()}
        if text not in classes:
            listed = ", ".join(list(classes)[:10]) + (", ..." if len(classes) > 10 else "")
            raise UsageError(f"--given {text}: expected one of the labels of the fit, {listed}")
        return estimator.given(classes[text])
    try:
        values = [float(value) for value in text.split(",")]
    except ValueError as error:
        raise UsageError(f"--given {text}: expected numbers separated by commas") from error
    if len(values) != estimator.condition_.width:
        raise UsageError(f"--given {text}: expected {counted(estimator.condition_.width, 'number')}")
    return estimator.given([values])


def one_condition(estimator: Any, X: Any, y: Any) -> tuple[Any, Any, Any, str]:
    """Return model, rows and labels that a report can show, and the condition for its title.

    For a model that is conditioned on labels, these are the rows of the given label, or of the most frequent one.
    """
    if estimator.condition_ is None:
        return estimator, X, y, ""
    if estimator.given_ is None:
        counts = {label: int((y == label).sum()) for label in estimator.classes_.tolist()}
        estimator = estimator.given(max(counts, key=lambda label: counts[label]))
    if not estimator.has_labels_:
        return estimator, X, y, f", given {', '.join(f'{value:g}' for value in estimator.given_[0])}"
    title = f", given {estimator.given_}"
    if y is None:
        return estimator, X, y, title
    selected = y == estimator.given_
    if not selected.any():
        raise UsageError(f"--given {estimator.given_}: no row of the data has this label; give another")
    return estimator, X[selected], None, title
