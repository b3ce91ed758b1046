"""The term by which an encoder learns the places of rows on a map, with any other objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentmap.model.part import Learned, Sizes, positive
from latentmap.model.trace import Model, Trace
from latentmap.objectives.base import unused
from latentmap.objectives.extended import Extended, add_to_encoder

PLACES = "places"
"""Name of the term."""
LEAST = 1.0
"""Nats that it weighs at the least: with fewer, the prior would hold back the codes of rows of few features."""


@dataclass(frozen=True)
class Placed(Extended):
    r"""An objective with a term that brings posterior means to the places of rows, added to the encoder's loss.

    .. math:: \mathcal{L} = \text{base} + (P w + 1) \, \frac1B \sum_{i=1}^B
              \left[ \log(1 + s^2 d_i^2) + 2 \sqrt{1 + d_i^2 / \sigma^2} - 2 \right], \qquad d_i = \|\mu(x_i) - y_i\|

    The places y are those of t-SNE (van der Maaten and Hinton 2008), of standard deviation :math:`\sigma`, and s is the
    scale of its kernel, so that the cost of a mean that is off is that of a neighbour as far away: rows that a smooth
    encoder cannot place count little. The rest brings back means that are off by more than the spread of the map, which
    a logarithm would hardly attract. Encoders that learn places by regression go back to van der Maaten (2009). The
    codes are not standardised after the fit, as the places are.

    Parameters
    ----------
    base : Objective, default=ELBO()
        The objective to extend.
    weight : float, default=0.05
        Nats w for each of a row's P features, since the distortion grows with them.
    scale : float, default=1.0
        Scale s of the kernel.
    spread : float, default=1.0
        Standard deviation of the places.

    Examples
    --------
    >>> Placed(weight=0.0)
    Traceback (most recent call last):
    latentmap.exceptions.PartError: weight must be a finite number > 0, got 0.0
    """

    weight: float = 0.05
    scale: float = 1.0
    spread: float = 1.0

    def __post_init__(self) -> None:
        positive("weight", self.weight)
        positive("scale", self.scale)
        positive("spread", self.spread)

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return the scale and the spread as buffers, and the state of the base."""
        units = {name: torch.tensor(float(getattr(self, name))) for name in ("scale", "spread")}
        return units | super().init(sizes)

    def losses(self, own: Learned, model: Model, trace: Trace, progress: Float[Tensor, ""]) -> Mapping[str, Tensor]:
        """Compute the losses of the base, with the term where the trace holds places."""
        losses = dict(self.base.losses(own.base, model, trace, progress))
        term = trace.x.new_zeros(())
        if trace.off is not None:
            off = trace.off.square().sum(-1)
            cost = (own.scale.square() * off).log1p() + 2 * (1 + off / own.spread.square()).sqrt() - 2
            term = (LEAST + trace.x.shape[1] * self.weight) * cost.mean()
            add_to_encoder(losses, term)
        losses[unused(PLACES, losses)] = term
        return losses
