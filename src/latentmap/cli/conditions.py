"""What a conditional model is given on the command line: labels of the data, or one for all rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentmap.cli.terminal import UsageError, counted

if TYPE_CHECKING:
    import numpy as np


def conditions(labels: np.ndarray[Any, Any]) -> list[Any]:
    """Give labels as a model is conditioned on them; an empty cell is one that is missing."""
    return [None if label in ("missing", "") else label for label in labels.tolist()]


def load_for(run: Path, given: str | None) -> Any:
    """Load the model of a run, as one of numbers, which is what files hold, for what ``--given`` says."""
    from latentmap import load
    from latentmap.estimators.columns import numbers

    return condition_in(numbers(load(run))[0], given)


def condition_in(estimator: Any, text: str | None) -> Any:
    """Give the model for what ``--given`` says: a label, or covariates separated by commas.

    Raises
    ------
    UsageError
        If the model is not conditional, or the text is none of its labels, or not as many numbers.
    """
    if text is None:
        return estimator
    if estimator.condition_ is None:
        raise UsageError("--given is for conditional models, and this is not one; leave it out")
    if estimator.has_labels_:
        known = {str(label): label for label in estimator.classes_.tolist()}
        if text not in known:
            listed = ", ".join(list(known)[:10]) + (", ..." if len(known) > 10 else "")
            raise UsageError(f"--given {text}: expected one of the labels of the fit, {listed}")
        return estimator.given(known[text])
    try:
        values = [float(value) for value in text.split(",")]
    except ValueError as error:
        raise UsageError(f"--given {text}: expected numbers separated by commas") from error
    if len(values) != estimator.condition_.width:
        raise UsageError(f"--given {text}: expected {counted(estimator.condition_.width, 'number')}")
    return estimator.given([values])


def one_condition(estimator: Any, X: Any, y: Any) -> tuple[Any, Any, Any, str]:
    """Give model, rows and labels that a report can show, and what is to be said of them.

    Of a model that is conditioned on labels these are the rows of the one that is given, or else of the commonest.

    Raises
    ------
    UsageError
        If there are none.
    """
    if estimator.condition_ is None:
        return estimator, X, y, ""
    if estimator.given_ is None:
        counts = {label: int((y == label).sum()) for label in estimator.classes_.tolist()}
        estimator = estimator.given(max(counts, key=lambda label: counts[label]))
    if not estimator.has_labels_:
        return estimator, X, y, f", given {', '.join(f'{value:g}' for value in estimator.given_[0])}"
    said = f", given {estimator.given_}"
    if y is None:
        return estimator, X, y, said
    mine = y == estimator.given_
    if not mine.any():
        raise UsageError(f"--given {estimator.given_}: no row of the data has this label; give another")
    return estimator, X[mine], None, said
