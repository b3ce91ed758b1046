"""The anchor term, which keeps the codes of some rows at given places, with any other objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from latentmap.model.part import Learned, positive
from latentmap.model.trace import Model, Trace
from latentmap.objectives.base import unused
from latentmap.objectives.extended import Extended, add_to_encoder


@dataclass(frozen=True)
class Anchored(Extended):
    r"""An objective with a term that keeps rows at given codes, added to the loss of the encoder's player.

    Each step encodes as many of the A anchors as the batch has rows B, drawn at random, or all where there are no
    more. With their codes c_a,

    .. math:: \mathcal{L} = \text{base} + P w \, \mathbb{E}_a \frac{d_a^2}{d_a^2 + r^2}, \qquad
              d_a = \|\mu(x_a) - c_a\|

    The cost is quadratic for small displacements and at most P w: rows that the data place elsewhere leave their anchor
    (the redescending estimator of Geman and McClure 1987). The codes are not standardised after the fit.

    Parameters
    ----------
    base : Objective, default=ELBO()
        The objective to extend.
    weight : float, default=5.0
        Nats w for each of a row's P features, since the distortion grows with them.
    reach : float, default=0.3
        Displacement r at which the cost is half of the most, in units of the codes.
    rows : Tensor of shape (A, P), optional
        The anchors, in the model's units.
    codes : Tensor of shape (A, D), optional
        Their codes.

    Examples
    --------
    >>> Anchored(weight=0.0)
    Traceback (most recent call last):
    latentmap.exceptions.PartError: weight must be a finite number > 0, got 0.0
    """

    weight: float = 5.0
    reach: float = 0.3
    rows: Tensor | None = field(default=None, repr=False, compare=False)
    codes: Tensor | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        positive("weight", self.weight)
        positive("reach", self.reach)

    def losses(self, own: Learned, model: Model, trace: Trace, progress: Float[Tensor, ""]) -> Mapping[str, Tensor]:
        """Compute the losses of the base, with the cost of displacements."""
        losses = dict(self.base.losses(own.base, model, trace, progress))
        term = trace.x.shape[1] * self.weight * self._cost(own, model, trace)
        add_to_encoder(losses, term)
        losses[unused("anchor", losses)] = term
        return losses

    def _cost(self, own: Learned, model: Model, trace: Trace) -> Float[Tensor, ""]:
        """Return the mean cost of the anchors of a step, of which each process takes its share."""
        if self.rows is None or self.codes is None:
            return trace.x.new_zeros(())
        rows, codes, size, processes = self.rows, self.codes, len(trace.x), own.processes
        taken = float(size)
        if len(rows) > size * processes.world_size:
            drawn = (trace.noise.uniform((1, size), trace.x)[0] * len(rows)).long().clamp_max(len(rows) - 1)
            rows, codes = rows.index_select(0, drawn), codes.index_select(0, drawn)
        else:
            taken = len(rows) / processes.world_size
            rows, codes = processes.share(rows), processes.share(codes)
        moved = (model.encode(rows).mean - codes).square().sum(-1)
        return (moved / (moved + self.reach**2)).sum() / taken
