"""The neighbour term: what makes a latent space a map as good as t-SNE's and UMAP's, beside any other objective."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from latentmap.model.part import Learned, Sizes, positive
from latentmap.model.trace import Model, Trace
from latentmap.objectives.base import INFERENCE, MONITOR, Objective
from latentmap.objectives.evidence import ELBO

START = 20.0
"""Scale at which the kernel starts: a unit normal cloud is then some tens of kernel widths across."""


@dataclass(frozen=True)
class NeighborEmbedding(Objective):
    r"""An objective with a contrastive neighbour term over the codes, added to the loss of the encoder's player.

    Each row i of a batch comes with a row i' that lies near it in the data; the code of i' has to be told from those of
    all other rows of the batch by its distance, under a Cauchy kernel (InfoNCE-t-SNE, Damrich et al. 2023):

    .. math:: \mathcal{L} = \text{base} + w \cdot \frac1B \sum_i -\log
              \frac{\kappa(\mu_i, \mu_{i'})}{\sum_{j \ne i} \kappa(\mu_i, \mu_j) + \sum_j \kappa(\mu_i, \mu_{j'})},
              \qquad \kappa(a, b) = \frac{1}{1 + s^2 \|a - b\|^2}

    With all rows as the batch this is t-SNE's objective with uniform affinities over a k-nearest-neighbour graph; with
    fewer negatives it moves along the spectrum that ends at UMAP's (Boehm et al. 2022). The prior fixes the size of the
    codes, so the scale s between the two is learned with the model. The codes are posterior means: the map itself.

    >>> NeighborEmbedding(weight=0.0)
    Traceback (most recent call last):
    latentmap.exceptions.PartError: weight must be a finite number > 0, got 0.0
    """

    base: Objective = ELBO()
    weight: float = 200.0

    def __post_init__(self) -> None:
        positive("weight", self.weight)

    @property
    def needs_batch(self) -> bool:
        """Always: rows are told apart from the others of their batch."""
        return True

    @property
    def adversarial(self) -> bool:
        """As the base."""
        return self.base.adversarial

    def check_model(self, model: Model, trace: Trace) -> None:
        """As the base."""
        self.base.check_model(model, trace)

    @property
    def samples(self) -> int:
        """K of the objective that this one extends."""
        return self.base.samples

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """The logarithm of the scale s, and what the base learns."""
        return {"log_scale": nn.Parameter(torch.tensor(math.log(START))), "base": self.base.build(sizes)}

    def players(self, own: Learned, model: Model) -> dict[str, list[nn.Parameter]]:
        """The base's players; the scale goes with the encoder's."""
        players = self.base.players(own.base, model)
        encoder = INFERENCE if INFERENCE in players else next(iter(players))
        return players | {encoder: [*players[encoder], own.log_scale]}

    def losses(self, own: Learned, model: Model, trace: Trace, progress: Float[Tensor, ""]) -> Mapping[str, Tensor]:
        """Losses of the base, and the neighbour term where the trace brings neighbours."""
        losses = dict(self.base.losses(own.base, model, trace, progress))
        if trace.neighbors is not None:
            codes = torch.cat([trace.levels[0].q.mean, model.encode(trace.neighbors).mean])  # (2B, D)
            term = self.weight * contrast(codes * own.log_scale.exp())
            for name in {next(iter(losses)), INFERENCE, MONITOR} & losses.keys():
                losses[name] = losses[name] + term
        return losses


def contrast(codes: Float[Tensor, "M D"]) -> Float[Tensor, ""]:
    """Nats that it takes to find each row's neighbour in the batch: row i of the first half goes with i of the second.

    >>> apart = 100.0 * torch.arange(3.0)[:, None]
    >>> round(contrast(torch.cat([apart, apart])).item(), 2), round(contrast(torch.zeros(6, 1)).item(), 2)
    (0.0, 1.61)
    """
    b = len(codes) // 2
    squares = codes.square().sum(1)
    distances = (squares[:b, None] + squares - 2 * codes[:b] @ codes.T).clamp_min(0)  # (B, 2B)
    log_kernel = -torch.log1p(distances)
    itself: Bool[Tensor, "B M"] = torch.eye(b, 2 * b, dtype=torch.bool, device=codes.device)
    return (log_kernel.masked_fill(itself, -torch.inf).logsumexp(1) - log_kernel[:, b:].diagonal()).mean()
