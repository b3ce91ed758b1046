"""Text of a report: headline facts and settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from latentmap.data.columns import Table
from latentmap.estimators.columns import numbers
from latentmap.evaluation.evidence import bits_per_dimension
from latentmap.evaluation.rows import take
from latentmap.plot.rows import dense, spread
from latentmap.plot.style import number

MAX_ROWS = 5000
"""Maximum number of rows for the ELBO and the reconstruction error of a report."""


@dataclass(frozen=True)
class Fact:
    """One headline: its label, a number or short phrase, and a note of one line."""

    label: str
    value: str
    note: str = ""


def headline_facts(estimator: Any, X: Any, y: Any = None) -> list[Fact]:
    """Return facts about the data, the model, its likelihood and reconstruction, and the fit.

    A conditional model needs ``y``, unless its condition is fixed.
    """
    estimator, X = numbers(estimator, X)
    event, active = tuple(estimator.event_shape_), np.asarray(estimator.active_components_)
    facts = [
        Fact("Data", f"{X.shape[0]:,} rows", _row_in_words(event)),
        Fact("Components", str(len(active)), "all active" if active.all() else f"{active.sum()} active"),
    ]
    facts += _cost(estimator, X, y)
    facts.append(_reconstruction(estimator, X, y))
    epochs = f"{estimator.n_iter_:,} epoch{'s' if estimator.n_iter_ != 1 else ''}"
    facts.append(Fact("Fit", f"{number(estimator.fit_seconds_, 2)} s", f"{epochs} on {estimator.device_}"))
    return facts


def settings(estimator: Any) -> dict[str, str]:
    """Return the parameters that were given, as text."""
    defaults = type(estimator)().get_params(deep=False)
    given = estimator.get_params(deep=False)
    return {key: str(value) for key, value in given.items() if repr(value) != repr(defaults[key])}


def capitalised(sentence: str) -> str:
    """Return a message as a sentence with a capital, except in the name of a parameter, and a full stop."""
    text = sentence.strip()
    if not text:
        return ""
    is_parameter = "_" in text.split()[0] or "=" in text.split()[0]
    return (text if is_parameter else text[:1].upper() + text[1:]) + ("" if text.endswith((".", "!", "?")) else ".")


def _cost(estimator: Any, X: Any, y: Any) -> list[Fact]:
    """Return the ELBO of the fit's held-out rows, else of X; the distortion for a model without density."""
    kept = estimator.evaluation_
    if estimator.has_score_ and not (kept and kept.bound and kept.units == "data"):
        rows, labels = _sample(X, y)  # the fit's own is of another prior, in other units, or not finite
        elbo = estimator.score(rows, labels)
        return [Fact("ELBO", f"{number(elbo)} nats", "a row, on rows shown here" + _bits(estimator, elbo))]
    if kept is None or kept.units != "data":
        return []
    distortion, rate, where = kept.parts["distortion"], kept.parts.get("rate", 0.0), f"a row, on {kept.rows}"
    if kept.elbo is not None:
        note = f"{where}; distortion {number(distortion)}, rate {number(rate)}"
        return [Fact("ELBO", f"{number(kept.elbo)} nats", note + _bits(estimator, kept.elbo))]
    return [Fact("Distortion", f"{number(distortion)} nats", where + (f"; rate {number(rate)}" if rate else ""))]


def _sample(X: Any, y: Any) -> tuple[Any, list[Any] | None]:
    """Return at most `MAX_ROWS` rows, spread over X, and their labels."""
    indices = spread(X.shape[0], MAX_ROWS)
    return take(X, indices), None if y is None else [y[i] for i in indices]


def _bits(estimator: Any, elbo: float) -> str:
    """Return the bits per dimension as text, for images of discrete values."""
    event = tuple(estimator.event_shape_)
    if len(event) < 2 or not estimator.model_.parts.likelihood.discrete:
        return ""
    return f"; {number(bits_per_dimension(-elbo, int(np.prod(event))))} bits/dim"


def _reconstruction(estimator: Any, X: Any, y: Any = None) -> Fact:
    """Return the fraction of variance that reconstructions keep, and their error; missing cells do not count."""
    rows, labels = _sample(X, y)
    original = np.ma.masked_invalid(dense(rows).reshape(rows.shape[0], -1))
    decoded = dense(estimator.reconstruct(rows, labels)).reshape(original.shape)
    if estimator.table_ is not None:
        return _columns_kept(estimator.table_, original, decoded)
    error = np.square(original - decoded).mean(0).filled(0.0)
    variance = original.var(0).filled(0.0)
    note = f"mean squared error {number(float(error.mean()))}"
    if not (variance > 0).any():
        return Fact("Reconstruction", "exact" if not error.any() else "inexact", f"rows do not vary; {note}")
    if len(estimator.event_shape_) > 1:  # pixels have one unit, the features of a table do not
        kept, of = max(1 - float(error.sum() / variance.sum()), 0), "of the variance kept"
    else:
        kept, of = _variance_kept(error, variance), "of a feature's variance kept, on average"
    return Fact("Reconstruction", f"{kept:.0%}", f"{of}; {note}")


def _variance_kept(error: np.ndarray, variance: np.ndarray) -> float:
    """Return the mean fraction of variance kept over the columns that vary; 1 if none does."""
    varies = variance > 0
    return max(1 - float(np.mean(error[varies] / variance[varies])), 0.0) if varies.any() else 1.0


def _columns_kept(table: Table, original: Any, decoded: np.ndarray) -> Fact:
    """Return the accuracy of the categories of a mixed table, and the variance that its numbers keep."""
    categorical = np.array([bool(column.categories) for column in table.columns])
    right = (np.rint(decoded[:, categorical]) == original[:, categorical]).mean()
    if categorical.all():
        return Fact("Reconstruction", f"{right:.0%}", "of categories right")
    numeric = original[:, ~categorical]
    error = np.square(numeric - decoded[:, ~categorical]).mean(0).filled(0.0)
    kept = _variance_kept(error, numeric.var(0).filled(0.0))
    note = f"; {right:.0%} of categories right" if categorical.any() else ""
    return Fact("Reconstruction", f"{kept:.0%}", "of a number's variance kept, on average" + note)


def _row_in_words(event: tuple[int, ...]) -> str:
    if len(event) == 1:
        return f"of {event[0]:,} features"
    size = " × ".join(str(side) for side in event[:2])
    return f"images of {size}" + (f", {event[2]} channels" if len(event) == 3 and event[2] > 1 else "")
