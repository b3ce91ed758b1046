"""What a fit says of itself: a loss, and the named parts that add up to it, in nats a row and the data's own units."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentmap.model.trace import Trace
from latentmap.objectives.base import DISTORTION, MONITOR, RATE, monitored

Row = dict[str, float | None]
"""One line of a history: epoch, step, seconds, loss, the parts that add up to it, and their twins val_loss, ..."""

Gain = float | Callable[[Float[Tensor, "B P"]], Float[Tensor, " B"]]
"""What the log-density of a row in the model's units gains in the data's own, nats: the same for all, or of each."""

LOSS, PENALTY, HELD_OUT = "loss", "penalty", "val_"
ROUNDING = 1e-4
"""What parts may leave of a loss, of the sum of their magnitudes, before it is a penalty that nobody has named."""
BESIDE = ("epoch", "step", "seconds", "rows_per_second", "progress")
"""Entries of a row that are not nats."""


class Metrics:
    r"""The loss that a fit watches and its parts: sums of them by step, and the entries of a history.

    A density of rows x' in the model's units is none of the rows x that came: distortion and loss are entered as those
    of the data's own units,

    .. math:: -\log p(x|z) = -\log p(x'|z) - \log |dx' / dx|.

    Where that differs from row to row (missing cells, logarithmic columns), it is measured along with the rest, over
    the very same rows.
    """

    def __init__(self, losses: Mapping[str, Tensor], players: Collection[str], gain: Gain = 0.0) -> None:
        """Learn the names of the parts from the losses that an objective gives."""
        parts = [name for name in losses if name not in {*players, MONITOR, DISTORTION, RATE}]
        self.parts = (DISTORTION, RATE, *parts)
        self.gain = gain
        self.gained = {"": 0.0, HELD_OUT: 0.0}
        """What training and held-out rows gained at the last evaluation, a row."""
        self.unnamed = not parts and DISTORTION not in losses

    def __len__(self) -> int:
        """Numbers that are kept of a batch."""
        return 1 + len(self.parts) + callable(self.gain)

    def of(self, losses: Mapping[str, Tensor], trace: Trace) -> Float[Tensor, " M"]:
        """Means over a batch, in the model's units: the loss that is watched, its parts, and the change of units."""
        loss = monitored(losses).float()
        own = {DISTORTION: trace.distortion.mean() if DISTORTION not in losses else losses[DISTORTION]}
        if RATE not in losses and trace.has_density:
            own[RATE] = trace.rate.mean()
        known = {**losses, **own}
        found = [loss, *(known[name].float() if name in known else torch.zeros_like(loss) for name in self.parts)]
        if callable(self.gain):
            found.append(self.gain(trace.x).mean().float())
        return torch.stack(found)

    def entries(self, values: Sequence[float] | None, prefix: str = "") -> Row:
        """Give the entries of a row of the history, in the data's own units; None for what is not known."""
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


def parts_of(row: Mapping[str, float | None], prefix: str = "") -> dict[str, float]:
    """Give the parts that add up to the loss of a row of a history, or to that of its held-out rows ("val_").

    >>> row = {"epoch": 3, "loss": 7.5, "distortion": 5.0, "rate": 2.0, "mmd": 0.5, "val_loss": None, "val_rate": None}
    >>> parts_of(row), parts_of(row, "val_")
    ({'distortion': 5.0, 'rate': 2.0, 'mmd': 0.5}, {})
    """
    named = {name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)}
    return {
        name: value
        for name, value in named.items()
        if value is not None and name not in {LOSS, *BESIDE} and not name.startswith(HELD_OUT)
    }
