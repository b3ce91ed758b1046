"""Metrics of a fit: the loss and the named parts that add up to it, in nats per row and the data's own units."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentmap.model.trace import Trace
from latentmap.objectives.base import DISTORTION, MONITOR, RATE, RATE_WEIGHTING, monitored

Row = dict[str, float | None]
"""One evaluation: epoch, step, seconds, loss, the parts that add up to it, and those of held-out rows, val_loss, ..."""

Gain = float | Callable[[Float[Tensor, "B P"]], Float[Tensor, " B"]]
"""Difference of a row's log-density in the data's own units to that in the model's, nats: a constant, or by row."""

LOSS, PENALTY, HELD_OUT = "loss", "penalty", "val_"
ROUNDING = 1e-4
"""Rest of a loss, relative to the magnitudes of its parts, above which it is entered as a penalty."""
STANDARDISED = "standardised"
"""Entry of the row that describes the weights of a fit with standardised codes, 1."""
RESTORED = "restored"
"""Entry of a row whose weights were given up for the best ones before, as the loss was not finite or exploded, 1."""
KEPT = "kept"
"""Entry of a row whose weights were kept whatever those before it cost on held-out rows, 1."""
REFITTED = "refitted"
"""Entry of the row of earlier versions that describes a decoder which was fitted further after the fit, 1."""
METADATA = ("epoch", "step", "seconds", "rows_per_second", "progress", STANDARDISED, RESTORED, KEPT, REFITTED)
"""Entries of a row that are not losses."""


class Metrics:
    r"""Monitored loss of a fit and its parts: tensors by batch, and entries of the history.

    The model's densities are those of rows x' in its own units. The history has distortion and loss in the units of the
    data x,

    .. math:: -\log p(x|z) = -\log p(x'|z) - \log |dx' / dx|.

    If this difference depends on the row (missing cells, logarithmic columns), it is averaged over the same rows.

    Parameters
    ----------
    losses
        Losses of an objective, which name the parts.
    players
        Names of the players, whose losses are not parts.
    gain
        Change of units of the log-density.
    """

    def __init__(self, losses: Mapping[str, Tensor], players: Collection[str], gain: Gain = 0.0) -> None:
        parts = [name for name in losses if name not in {*players, MONITOR, DISTORTION, RATE}]
        self.parts = (DISTORTION, RATE, *parts)
        self.gain = gain
        self.gained = {"": 0.0, HELD_OUT: 0.0}
        """Mean gain of training and held-out rows at the last evaluation."""
        self.unnamed = not parts and DISTORTION not in losses

    def __len__(self) -> int:
        """Return the number of metrics of a batch."""
        return 1 + len(self.parts) + callable(self.gain)

    def of(self, losses: Mapping[str, Tensor], trace: Trace) -> Float[Tensor, " M"]:
        """Return means over a batch, in the model's units: the monitored loss, its parts, and the change of units."""
        loss = monitored(losses).float()
        own = {DISTORTION: trace.distortion.mean() if DISTORTION not in losses else losses[DISTORTION]}
        if RATE not in losses and trace.has_density:
            own[RATE] = trace.rate.mean()
        known = {**losses, **own}
        means = [loss, *(known[name].float() if name in known else torch.zeros_like(loss) for name in self.parts)]
        if callable(self.gain):
            means.append(self.gain(trace.x).mean().float())
        return torch.stack(means)

    def entries(self, values: Sequence[float] | None, prefix: str = "") -> Row:
        """Return the entries of a row of the history, in the data's own units; None without values."""
        names = (LOSS, *self.parts)
        if values is None:
            return {prefix + name: None for name in (*names, *[PENALTY] * self.unnamed)}
        gained = self.gained[prefix] = self.gain if isinstance(self.gain, float) else values[-1]
        row: Row = dict(zip((prefix + name for name in names), values, strict=False))
        rest, size = values[0] - math.fsum(values[1 : len(names)]), math.fsum(map(abs, values[: len(names)]))
        self.unnamed = self.unnamed or abs(rest) > ROUNDING * size
        if self.unnamed:
            row[prefix + PENALTY] = rest
        return row | {prefix + LOSS: values[0] - gained, prefix + DISTORTION: values[1] - gained}


def with_lower_rate(row: Mapping[str, float | None], nats: float) -> Row:
    """Return a row whose rate on training rows, and its weighted part of the loss, are lower by so many nats.

    >>> row = {"loss": 17.0, "distortion": 5.0, "rate": 3.0, "rate_weighting": 9.0}  # beta = 4
    >>> with_lower_rate(row, 1.0)
    {'loss': 13.0, 'distortion': 5.0, 'rate': 2.0, 'rate_weighting': 6.0...}
    """
    loss, rate, more = (row.get(name) or 0.0 for name in (LOSS, RATE, RATE_WEIGHTING))
    fraction = min(1.0, nats / rate) if rate > 0 else 0.0  # the row is of all weights of an epoch
    weighting = {RATE_WEIGHTING: more * (1 - fraction)} if RATE_WEIGHTING in row else {}
    return {**row, LOSS: loss - fraction * (rate + more), RATE: rate * (1 - fraction), **weighting}


def parts_of(row: Mapping[str, float | None], prefix: str = "") -> dict[str, float]:
    """Return the parts that add up to the loss of a row of the history, or to that of the held-out rows ("val_").

    >>> row = {"epoch": 3, "loss": 7.5, "distortion": 5.0, "rate": 2.0, "mmd": 0.5, "val_loss": None, "val_rate": None}
    >>> parts_of(row), parts_of(row, "val_")
    ({'distortion': 5.0, 'rate': 2.0, 'mmd': 0.5}, {})
    """
    named = {name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)}
    return {
        name: value
        for name, value in named.items()
        if value is not None and name not in {LOSS, *METADATA} and not name.startswith(HELD_OUT)
    }
