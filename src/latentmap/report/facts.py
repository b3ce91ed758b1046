"""Text of a report: headline facts and settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentmap.estimators.columns import numbers
from latentmap.evaluation.evidence import bits_per_dimension
from latentmap.evaluation.rows import take
from latentmap.messages import counted
from latentmap.plot.latent import information_per_component
from latentmap.plot.rows import dense, spread
from latentmap.plot.style import number
from latentmap.report.numbers import standard_error, to_digits, with_error
from latentmap.report.reconstruction import reconstruction
from latentmap.report.rows import ReportRows, measured_rows

MAX_ROWS = 5000
"""Maximum number of rows for the ELBO and the reconstruction error of a report."""

MOST_LISTED = 3
"""Maximum number of components whose information is a fact, not a figure."""


@dataclass(frozen=True)
class Fact:
    """One headline: its label, a number or short phrase, a note of one line, and whether it needs attention."""

    label: str
    value: str
    note: str = ""
    warning: bool = False


def headline_facts(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    rows: ReportRows | None = None,
    image_shape: tuple[int, ...] | None = None,
    feature_names: Sequence[str] | None = None,
) -> list[Fact]:
    """Return facts about the data, the model, its likelihood and reconstruction, and the fit.

    A conditional model needs ``y``, unless its condition is fixed. Likelihood and reconstruction are of new rows where
    X has some, else of those that the fit held out, else of all.
    """
    estimator, X = numbers(estimator, X)
    rows = (ReportRows.of(estimator, X) if rows is None else rows).check(X.shape[0])
    shape = tuple(image_shape or estimator.event_shape_)
    measured = rows.measured[spread(len(rows.measured), MAX_ROWS)]
    return [
        Fact("Data", counted(X.shape[0], "row"), f"{_row_in_words(shape)}{_missing(X)}"),
        _components(estimator),
        *_cost(estimator, rows, *_some(X, y, measured)),
        _reconstruction(estimator, X, y, rows, measured, shape, feature_names),
        _fit(estimator),
    ]


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


def _some(X: Any, y: Any, indices: np.ndarray) -> tuple[Any, list[Any] | None]:
    """Return some of the rows and of the labels."""
    return take(X, indices), None if y is None else [y[i] for i in indices]


def _components(estimator: Any) -> Fact:
    """Return how many components are active, and of few what each carries."""
    active = np.asarray(estimator.active_components_, dtype=bool)
    state = "all active" if active.all() else f"{active.sum()} active" if active.any() else "none active: collapsed"
    return Fact("Components", str(len(active)), state + _carried(estimator), warning=not active.any())


def _carried(estimator: Any) -> str:
    """Return the information in each of few components, in words; more have a figure."""
    amounts, unit = information_per_component(estimator)
    if len(amounts) > MOST_LISTED or not np.isfinite(amounts).all():
        return ""
    listed = " and ".join(", ".join(_amount(amount, unit) for amount in amounts).rsplit(", ", 1))
    what = f"they carry {listed} nats a row" if unit == "nats" else f"their codes have variance {listed}"
    what = what.replace("they carry", "it carries").replace("their", "its") if len(amounts) == 1 else what
    return f"; {what}, over the rows of the fit"


def _amount(amount: float, unit: str) -> str:
    return "less than 0.01" if unit == "nats" and amount < 0.01 else number(amount, 2)


def _fit(estimator: Any) -> Fact:
    epochs = f"{estimator.n_iter_:,} epoch{'s' if estimator.n_iter_ != 1 else ''} on {estimator.device_}"
    ended = "interrupted; " if estimator.interrupted_ else ""
    return Fact("Fit", f"{number(estimator.fit_seconds_, 2)} s", ended + epochs, warning=estimator.interrupted_)


def _cost(estimator: Any, rows: ReportRows, X: Any, y: Any) -> list[Fact]:
    """Return the ELBO of the measured rows; the distortion of the fit's for a model without density."""
    kept = estimator.evaluation_
    if estimator.has_score_:
        scores = np.asarray(estimator.score_samples(X, y=y), dtype=float)
        own = kept and kept.bound and kept.units == "data" and rows.whole and kept.rows.startswith(rows.measured_kind)
        return [_elbo(estimator, scores, rows, kept if own else None)]
    if kept is None or kept.units != "data":
        return []
    count = rows.held_out if kept.rows.startswith("held-out") else rows.trained
    rate = kept.parts.get("rate", 0.0)
    note = f"a row, on {count:,} {kept.rows} of the fit" + (f"; rate {number(rate)}" if rate else "")
    return [Fact("Distortion", f"{number(kept.parts['distortion'])} nats", note)]


def _elbo(estimator: Any, scores: np.ndarray, rows: ReportRows, kept: Any) -> Fact:
    """Return the mean score with its standard error over rows; that of the fit where it is of these rows."""
    n = len(scores) if kept is None else len(rows.measured)
    where = f"a row, on {measured_rows(rows.measured_kind, n, len(rows.measured))}"
    possible = scores[np.isfinite(scores)]
    if len(possible) < len(scores):
        bad = f"{len(scores) - len(possible):,} of {len(scores):,}"
        note = f"{where}: {bad} hold values that the likelihood excludes"
        others = f"; {with_error(possible.mean(), standard_error(possible))} on the others" if len(possible) else ""
        return Fact("ELBO", "not finite" if np.isnan(scores).any() else "−∞ nats", note + others, warning=True)
    elbo, error = float(scores.mean()) if kept is None else float(kept.elbo), standard_error(scores)
    note = where + (", ± its standard error" if error is not None else "")
    if kept is not None:
        parts = {name: kept.parts.get(name, 0.0) for name in ("distortion", "rate")}
        note += "; " + ", ".join(f"{name} {to_digits(part, error)}" for name, part in parts.items())
    return Fact("ELBO", f"{with_error(elbo, error)} nats", note + _bits(estimator, elbo))


def _bits(estimator: Any, elbo: float) -> str:
    """Return the bits per dimension as text, for images of discrete values."""
    event = tuple(estimator.event_shape_)
    if len(event) < 2 or not estimator.model_.parts.likelihood.discrete:
        return ""
    return f"; {number(bits_per_dimension(-elbo, int(np.prod(event))))} bits/dim"


def _reconstruction(
    estimator: Any,
    X: Any,
    y: Any,
    rows: ReportRows,
    measured: np.ndarray,
    shape: tuple[int, ...],
    feature_names: Sequence[str] | None,
) -> Fact:
    """Return the fraction of variance that reconstructions of the measured rows keep, and their error."""
    some, labels = _some(X, y, measured)
    spread_rows = take(X, spread(X.shape[0], MAX_ROWS))
    found = reconstruction(some, estimator.reconstruct(some, labels), spread_rows, estimator, shape, feature_names)
    note = f"{found.note}; on {measured_rows(rows.measured_kind, len(measured), len(rows.measured))}"
    return Fact("Reconstruction", found.value, note, warning=found.warning)


def _missing(X: Any) -> str:
    """Return the percentage of missing cells in words, of rows spread over X."""
    missing = float(np.isnan(dense(take(X, spread(X.shape[0], MAX_ROWS)))).mean())
    return f", {number(100 * missing, 2)}% of cells missing" if missing else ""


def _row_in_words(event: tuple[int, ...]) -> str:
    if len(event) == 1:
        return f"of {counted(event[0], 'feature')}"
    size = " × ".join(str(side) for side in event[:2])
    return f"images of {size}" + (f", {event[2]} channels" if len(event) == 3 and event[2] > 1 else "")
