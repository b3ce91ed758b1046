"""What a report says in words: headline facts, findings, choices, the comparison's table."""

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

MOST_ROWS = 5000
"""Rows over which the reconstruction error of a report is measured, at the most."""


@dataclass(frozen=True)
class Fact:
    """One headline: a number or short phrase, what it is, and one line about it."""

    label: str
    value: str
    note: str = ""


def headline_facts(estimator: Any, X: Any, y: Any = None) -> list[Fact]:
    """Return what a reader wants first: the data, the model, how well it does, what it cost.

    A conditional model needs ``y``, unless it is settled for one.
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
    """Return a message as a sentence: a capital first, but for the name of a parameter, and a full stop last."""
    text = sentence.strip()
    if not text:
        return ""
    spelled = "_" in text.split()[0] or "=" in text.split()[0]
    return (text if spelled else text[:1].upper() + text[1:]) + ("" if text.endswith((".", "!", "?")) else ".")


@dataclass(frozen=True)
class ClaimTable:
    """The measures of one part of the founding claim."""

    title: str
    tally: str
    rows: list[list[str]]


CLAIMS = {
    "compact": "The latent space is more compact",
    "smooth": "It is smoother",
    "realistic": "Points drawn at random decode to realistic rows",
}


def claim_tables(comparison: Any) -> list[ClaimTable]:
    """Return for each part of the claim its measures: text, autoencoder, VAE, real rows, what is expected, verdict."""
    tables = []
    for kind, title in CLAIMS.items():
        rows = [row[1:] for row in comparison.claims_table()[1:] if row[0] == kind]
        held, said = (sum(row[-1] in verdicts for row in rows) for verdicts in (("holds",), ("holds", "even", "fails")))
        if rows:
            tables.append(ClaimTable(title, f"{held} of {said} measures as claimed", rows))
    return tables


def _cost(estimator: Any, X: Any, y: Any) -> list[Fact]:
    """Say how likely rows are, by what the fit found of rows that it held out; or what they cost, without a density."""
    found = estimator.evaluation_
    if estimator.has_score_ and not (found and found.bound and found.units == "data"):
        some = spread(X.shape[0], MOST_ROWS)  # what the fit found is of another prior, in other units, or not finite
        elbo = estimator.score(take(X, some), None if y is None else [y[i] for i in some])
        return [Fact("ELBO", f"{number(elbo)} nats", "a row, on rows shown here" + _bits(estimator, elbo))]
    if found is None or found.units != "data":
        return []
    distortion, rate, where = found.parts["distortion"], found.parts.get("rate", 0.0), f"a row, on {found.rows}"
    note = f"{where}; distortion {number(distortion)}, rate {number(rate)}"
    if found.elbo is not None:
        return [Fact("ELBO", f"{number(found.elbo)} nats", note + _bits(estimator, found.elbo))]
    return [Fact("Distortion", f"{number(distortion)} nats", where + (f"; rate {number(rate)}" if rate else ""))]


def _bits(estimator: Any, elbo: float) -> str:
    """Say how many bits a value costs, of images whose values have a mass."""
    event = tuple(estimator.event_shape_)
    if len(event) < 2 or not estimator.model_.parts.likelihood.discrete:
        return ""
    return f"; {number(bits_per_dimension(-elbo, int(np.prod(event))))} bits/dim"


def _reconstruction(estimator: Any, X: Any, y: Any = None) -> Fact:
    some = spread(X.shape[0], MOST_ROWS)
    rows, given = take(X, some), None if y is None else [y[i] for i in some]
    original = dense(rows).reshape(rows.shape[0], -1)
    original = np.ma.masked_invalid(original)  # what is missing has no error
    decoded = dense(estimator.reconstruct(rows, given)).reshape(original.shape)
    if estimator.table_ is not None:
        return _columns_kept(estimator.table_, original, decoded)
    error = np.square(original - decoded).mean(0).filled(0.0)
    variance = original.var(0).filled(0.0)
    note = f"mean squared error {number(float(error.mean()))}"
    if not (variance > 0).any():
        return Fact("Reconstruction", "exact" if not error.any() else "inexact", f"rows do not vary; {note}")
    if len(estimator.event_shape_) > 1:  # pixels share a unit, the features of a table do not
        kept, of = 1 - float(error.sum() / variance.sum()), "of the variance kept"
    else:
        kept, of = (
            1 - float(np.mean(error[variance > 0] / variance[variance > 0])),
            "of a feature's variance kept, on average",
        )
    return Fact("Reconstruction", f"{max(kept, 0):.0%}", f"{of}; {note}")


def _columns_kept(table: Table, original: Any, decoded: np.ndarray) -> Fact:
    """Say how much of a table of mixed columns is kept: categories that are right, and variance of numbers."""
    named = [bool(column.categories) for column in table.columns]
    numbers_ = ~np.array(named)
    right = (np.rint(decoded[:, named]) == original[:, named]).mean()
    error = np.square(original - decoded)[:, numbers_].mean(0).filled(0.0)
    variance = original[:, numbers_].var(0).filled(0.0)
    varies = variance > 0
    kept = max(0.0, 1 - float(np.mean(error[varies] / variance[varies]))) if varies.any() else 1.0
    if not numbers_.any():
        return Fact("Reconstruction", f"{right:.0%}", "of categories right")
    note = "of a number's variance kept, on average"
    return Fact("Reconstruction", f"{kept:.0%}", note + (f"; {right:.0%} of categories right" if any(named) else ""))


def _row_in_words(event: tuple[int, ...]) -> str:
    if len(event) == 1:
        return f"of {event[0]:,} features"
    size = " × ".join(str(side) for side in event[:2])
    return f"images of {size}" + (f", {event[2]} channels" if len(event) == 3 and event[2] > 1 else "")
