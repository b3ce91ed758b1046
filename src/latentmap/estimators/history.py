"""The evaluation that a fit ends with, as people read it, from the history of the fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from latentmap.objectives.base import DISTORTION, RATE
from latentmap.training.metrics import (
    HELD_OUT,
    KEPT,
    LOSS,
    PENALTY,
    REFITTED,
    RESTORED,
    ROUNDING,
    STANDARDISED,
    Row,
    parts_of,
)

Units = Literal["data", "model"]
"""Units that the nats of a history are of: the data's own, or those of the model, as before version 0.2."""

MARKS = (STANDARDISED, REFITTED, KEPT)
"""Entries of the row whose weights a fit keeps, the first of them first."""
BOUND = (DISTORTION, RATE, "class_rate")
"""Parts of a loss that make minus the ELBO."""


@dataclass(frozen=True)
class Evaluation:
    """A loss and the parts that add up to it, nats a row in the data's own units.

    >>> kept = Evaluation("held-out rows", 7.5, {"distortion": 5.0, "rate": 2.0, "mmd": 0.5}, bound=True)
    >>> kept.elbo, str(kept)
    (-7.0, 'loss 7.500 = distortion 5.000 + rate 2.000 + mmd 0.500')
    """

    rows: Literal["held-out rows", "training rows"]
    loss: float
    parts: Mapping[str, float]
    bound: bool
    """Whether distortion and rate bound a log-density."""
    units: Units = "data"

    @property
    def elbo(self) -> float | None:
        """Evidence lower bound, what `VAE.score` gives for these rows up to the noise of its draws; None without."""
        return -math.fsum(self.parts.get(name, 0.0) for name in BOUND) if self.bound else None

    def __str__(self) -> str:
        terms = [
            f"{'-' if value < 0 else '+'} {name.replace('_', ' ')} {abs(value):.3f}"
            for name, value in self.parts.items()
        ]
        return f"loss {self.loss:.3f} = " + " ".join(terms).removeprefix("+ ")

    def to_json(self) -> dict[str, Any]:
        """Describe as plain JSON."""
        return {"rows": self.rows, "units": self.units, "elbo": self.elbo, "loss": self.loss, "parts": dict(self.parts)}


def evaluation(history: Sequence[Row], *, bound: bool, units: Units = "data") -> Evaluation | None:
    """Return the evaluation whose weights a fit keeps; None before the first, and where it is not finite."""
    best = best_row(history)
    if best is None:
        return None
    held_out = best["val_loss"] is not None
    loss, parts = best[HELD_OUT * held_out + LOSS], parts_of(best, HELD_OUT * held_out)
    if loss is None or not math.isfinite(loss) or DISTORTION not in parts:
        return None
    return Evaluation("held-out rows" if held_out else "training rows", loss, parts, bound, units)


def best_row(history: Sequence[Row]) -> Row | None:
    """Return the row whose weights a fit keeps: the best on held-out rows, or the last where there are none.

    A row that was measured again, with standardised codes or, in earlier versions, a decoder that was fitted further,
    is that of the weights that are kept; one whose weights were given up is not.
    """
    history = [row for row in history if not row.get(RESTORED)]
    if not history:
        return None
    for entry in MARKS:
        if kept := [row for row in history if row.get(entry)]:
            return kept[-1]
    if history[-1]["val_loss"] is None:
        return history[-1]

    def criterion(row: Row) -> float:
        loss = row["val_loss"]
        return loss if loss is not None and math.isfinite(loss) else float("inf")

    return min(history, key=criterion)


def in_units(history: Sequence[Row], gain: float) -> list[Row]:
    """Bring a history in the model's units to the data's, given what the log-density of each row gains, nats.

    The rest of its loss, after distortion and rate, had no name then, and is a penalty.

    >>> row = {"loss": -20.0, "distortion": -25.0, "rate": 3.0, "val_loss": None}
    >>> in_units([row], gain=-4344.0)
    [{'loss': 4324.0, 'distortion': 4319.0, 'rate': 3.0, 'val_loss': None, 'penalty': 2.0}]
    """
    converted = []
    for row in history:
        new = dict(row)
        for prefix in ("", HELD_OUT):
            loss, distortion, rate = (row.get(prefix + name) for name in (LOSS, DISTORTION, RATE))
            if loss is not None and distortion is not None and rate is not None:
                new |= {prefix + LOSS: loss - gain, prefix + DISTORTION: distortion - gain}
                rest = loss - distortion - rate
                if abs(rest) > ROUNDING * (abs(loss) + abs(distortion) + abs(rate)):
                    new[prefix + PENALTY] = rest
        converted.append(new)
    return converted
