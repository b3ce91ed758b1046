"""The neighbour term: what makes a latent space a map as good as t-SNE's and UMAP's, beside any other objective."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from latentmap.model.part import Learned, Sizes, positive
from latentmap.model.trace import Model, Trace
from latentmap.objectives.base import INFERENCE, MONITOR, Objective
from latentmap.objectives.evidence import ELBO

START = 3.0
"""Scale at which the kernel starts, a wide one: it narrows as rows have found their place, to some tens in the end."""


@dataclass(frozen=True)
class NeighborEmbedding(Objective):
    r"""An objective with a contrastive neighbour term over the codes, added to the loss of the encoder's player.

    Each row of a batch comes with a row that lies near it in the data. Among these 2B rows, the code of row i's partner
    i' has to be told from all others by its distance, under a Cauchy kernel (InfoNCE-t-SNE, Damrich et al. 2023):

    .. math:: \mathcal{L} = \text{base} + w P \cdot \frac1{2B} \sum_{i=1}^{2B} -\log
              \frac{\kappa(\mu_i, \mu_{i'})}{\sum_{j \ne i} \kappa(\mu_i, \mu_j)},
              \qquad \kappa(a, b) = \frac{1}{1 + s^2 \|a - b\|^2}

    With all rows as the batch this is t-SNE's objective with uniform affinities over a k-nearest-neighbour graph; with
    fewer negatives it moves along the spectrum that ends at UMAP's (Boehm et al. 2022). The prior fixes the size of the
    codes, so the scale s between the two is learned with the model. The codes are posterior means: the map itself.

    >>> NeighborEmbedding(weight=0.0)
    Traceback (most recent call last):
    latentmap.exceptions.PartError: weight must be a finite number > 0, got 0.0
    """

    base: Objective = ELBO()
    weight: float = 0.5
    """w, nats for each of a row's P features, since the distortion that it stands beside grows with them."""

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

    @property
    def pace(self) -> float:
        """As the base."""
        return self.base.pace

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
            term = self.weight * trace.x.shape[1] * contrast(codes * own.log_scale.exp())
            for name in {next(iter(losses)), INFERENCE, MONITOR} & losses.keys():
                losses[name] = losses[name] + term
        return losses


def contrast(codes: Float[Tensor, "M D"]) -> Float[Tensor, ""]:
    """Nats that it takes to find each row's neighbour in the batch: row i of the first half goes with i of the second.

    >>> apart = 100.0 * torch.arange(3.0)[:, None]
    >>> round(contrast(torch.cat([apart, apart])).item(), 2), round(contrast(torch.zeros(6, 1)).item(), 2)
    (0.0, 1.61)
    """
    with torch.autocast(codes.device.type, enabled=False):  # differences of near codes need all digits
        codes = codes.float()
        one, other = codes.chunk(2)  # (B, D) each
        apart: Tensor = torch.log1p((one - other).square().sum(1))
        sums: Tensor = _KernelSums.apply(codes)  # type: ignore[no-untyped-call]
        return apart.mean() + sums.log().mean()


class _KernelSums(torch.autograd.Function):
    r"""Kernels of each row to all others, :math:`S_i = \sum_{j \ne i} 1 / (1 + |a_i - a_j|^2)`, and their gradient.

    The M x M kernels are made in place, and their squares reduced by one product: through autograd's graph the same
    takes six times as long, for memory alone.
    """

    @staticmethod
    def forward(ctx: Any, codes: Tensor) -> Tensor:
        a = codes - codes.mean(0)
        squares, ones = a.square().sum(1, keepdim=True), torch.ones_like(a[:, :1])
        kernel = torch.cat([-2 * a, squares + 1, ones], 1) @ torch.cat([a, ones, squares], 1).T  # 1 + |a_i - a_j|^2
        kernel.clamp_(min=1.0).fill_diagonal_(torch.inf).reciprocal_()
        ctx.save_for_backward(a, kernel)
        return kernel.sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        a, kernel = ctx.saved_tensors
        g = gradient[:, None]  # (M, 1)
        sums = kernel.square() @ torch.cat([g * a, g, a, torch.ones_like(g)], 1)  # (M, 2 D + 2)
        ga, g1, a1, ones = sums.split([a.shape[1], 1] * 2, 1)
        moved: Tensor = 2 * (ga - g1 * a + g * (a1 - ones * a))
        return moved
