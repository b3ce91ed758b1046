"""What a report says in words: headline facts, findings, choices, the comparison's table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from latentmap.plot.rows import dense, spread, take
from latentmap.plot.style import number

MOST_ROWS = 5000
"""Rows over which the reconstruction error of a report is measured, at the most."""


@dataclass(frozen=True)
class Fact:
    """One headline: a number or short phrase, what it is, and one line about it."""

    label: str
    value: str
    note: str = ""


def headline_facts(estimator: Any, X: Any) -> list[Fact]:
    """Return what a reader wants first: the data, the model, how well it does, what it cost."""
    event, active = tuple(estimator.event_shape_), np.asarray(estimator.active_components_)
    facts = [
        Fact("Data", f"{X.shape[0]:,} rows", _row_in_words(event)),
        Fact(
            "Latent space", f"{len(active)} components" if len(active) != 1 else "1 component", f"{active.sum()} active"
        ),
    ]
    best = best_evaluation(estimator.history_)
    if best is not None:
        held_out = best["val_loss"] is not None
        loss, rate = (best[f"val_{key}"] if held_out else best[key] for key in ("loss", "rate"))
        where = "on held-out rows" if held_out else "on training rows"
        if rate:
            facts.append(Fact("−ELBO", f"{number(loss)} nats", f"a row, {where}; {number(rate)} of them are rate"))
        else:
            facts.append(Fact("Distortion", f"{number(loss)} nats", f"a row, {where}"))
    facts.append(_reconstruction(estimator, X))
    epochs = f"{estimator.n_iter_:,} epoch{'s' if estimator.n_iter_ != 1 else ''}"
    facts.append(Fact("Fit", f"{number(estimator.fit_seconds_, 2)} s", f"{epochs} on {estimator.device_}"))
    return facts


def best_evaluation(history: Any) -> dict[str, Any] | None:
    """Return the evaluation whose weights were kept: the lowest held-out loss, without held-out rows the last."""
    known = [entry for entry in history if entry.get("val_loss") is not None]
    if known:
        return dict(min(known, key=lambda entry: entry["val_loss"]))
    return dict(history[-1]) if history else None


def settings(estimator: Any) -> dict[str, str]:
    """Return the parameters that were given, as text."""
    defaults = type(estimator)().get_params(deep=False)
    given = estimator.get_params(deep=False)
    return {key: str(value) for key, value in given.items() if repr(value) != repr(defaults[key])}


def capitalised(sentence: str) -> str:
    """Return a message as a sentence: a capital first, a full stop last."""
    text = sentence.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _reconstruction(estimator: Any, X: Any) -> Fact:
    rows = take(X, spread(X.shape[0], MOST_ROWS))
    original = dense(rows).reshape(rows.shape[0], -1)
    error = np.square(original - dense(estimator.reconstruct(rows)).reshape(original.shape)).mean(0)
    variance = original.var(0)
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


def _row_in_words(event: tuple[int, ...]) -> str:
    if len(event) == 1:
        return f"of {event[0]:,} features"
    size = " × ".join(str(side) for side in event[:2])
    return f"images of {size}" + (f", {event[2]} channels" if len(event) == 3 and event[2] > 1 else "")
