"""The contrastive neighbor term, which makes a latent space a map as t-SNE's and UMAP's, with any other objective."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import cosine_similarity

from latentmap.exceptions import PartError
from latentmap.model.part import Learned, Sizes, positive
from latentmap.model.processes import Processes, alone
from latentmap.model.repulsion import kernel_blocks
from latentmap.model.scaling import Affine
from latentmap.model.sparse import dense_rows
from latentmap.model.trace import Model, Trace
from latentmap.objectives.base import INFERENCE, Scales, unused
from latentmap.objectives.densities import density_agreement, log_radii
from latentmap.objectives.extended import Extended, add_to_encoder
from latentmap.objectives.metrics import Metric, compared, set_distances

TERMS = CONTRAST, GLOBAL, DENSITY = "neighbors", "global_correlation", "density_correlation"
"""Names of the terms, which compare the rows of a batch."""
START = 3.0
"""Initial scale of the kernel, a wide one: it narrows during the fit, to some tens in the end."""
PAIRED = 128
"""Rows of a batch between which distances are compared, at the most."""
TINY = 1e-12
"""Squared distance that counts as none."""


@dataclass(frozen=True)
class NeighborEmbedding(Extended):
    r"""An objective with a contrastive neighbor term over the codes, added to the loss of the encoder's player.

    Each of the B rows of a batch has n positives, neighbors in the data. Among these M = (1 + n) B rows, the distances
    of positive pairs are contrasted with all others under a Cauchy kernel (InfoNCE-t-SNE, Damrich et al. 2023); and r
    is the correlation of distances on the map with those in the data (the global term of Parametric UMAP, Sainburg et
    al. 2021):

    .. math:: \mathcal{L} = \text{base} + P \left( w \cdot \left[
              \frac\rho{n B} \sum_{(i, j)} -\log \kappa(\mu_i, \mu_j)
              + \frac1M \sum_{i=1}^M \log \sum_{j \ne i} \kappa(\mu_i, \mu_j) \right] + g\,(1 - r)
              + d\,(1 - c) \right),
              \qquad \kappa(a, b) = \frac{1}{1 + s^2 \|a - b\|^2}

    With all rows as the batch the first is t-SNE's objective with uniform affinities over a k-nearest-neighbour graph;
    with fewer negatives it moves along the spectrum that ends at UMAP's (Boehm et al. 2022). The prior fixes the size
    of the codes, so the scale s between the two is learned with the model. The codes are posterior means.

    The last term, which is off by default, keeps densities (densMAP, Narayan et al. 2021): c is the correlation over
    the rows of the log radius in the data with that on the map, the mean squared distance to a row's positives in the
    batch.

    Parameters
    ----------
    base : Objective, default=ELBO()
        The objective to extend.
    weight : float, default=0.5
        Nats w for each of a row's P features, since the distortion grows with them.
    global_weight : float, default=0.05
        Nats g for each feature: they keep the clusters of a map in their places.
    exaggeration : float, default=1.0
        Weight rho of the attraction within the term, see `latentmap.VAE`.
    density_weight : float, default=0.0
        Nats d for each feature: rows that lie close in the data lie close on the map, and others far apart.
    metric : {"euclidean", "cosine", "correlation", "jaccard", "haversine"}, default="euclidean"
        Distance of rows, see `latentmap.objectives.metrics.compared`.
    units : Affine, optional
        The change of units of the rows, undone for all metrics but "euclidean"; None takes rows as they are.

    Examples
    --------
    >>> NeighborEmbedding(weight=0.0)
    Traceback (most recent call last):
    latentmap.exceptions.PartError: weight must be a finite number > 0, got 0.0
    """

    weight: float = 0.5
    global_weight: float = 0.05
    exaggeration: float = 1.0
    density_weight: float = 0.0
    metric: Metric = "euclidean"
    units: Affine | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        positive("weight", self.weight)
        positive("exaggeration", self.exaggeration)
        if not 0 <= self.global_weight < math.inf:
            raise PartError(f"global_weight must be a finite number >= 0, got {self.global_weight!r}")
        if not 0 <= self.density_weight < math.inf:
            raise PartError(f"density_weight must be a finite number >= 0, got {self.density_weight!r}")

    @property
    def needs_batch(self) -> bool:
        """True, as rows are contrasted with the others of their batch."""
        return True

    @property
    def standardises(self) -> Scales | None:
        """Return "all" where the base standardises codes: the kernel has one scale, which absorbs that of the codes."""
        return "all" if self.base.claims("standardises", "losses") else None

    def standardise(self, own: Learned, scale: Float[Tensor, " D"]) -> None:
        """Multiply the kernel's scale by that of the codes, so that it compares the same distances as before."""
        self.base.standardise(own.base, scale)
        with torch.no_grad():
            own.log_scale += scale[0].log()

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return the logarithm of the scale s, and the state of the base."""
        return {"log_scale": nn.Parameter(torch.tensor(math.log(START)))} | super().init(sizes)

    def players(self, own: Learned, model: Model) -> dict[str, list[nn.Parameter]]:
        """Return the base's players, with the scale in the encoder's."""
        players = super().players(own, model)
        encoder = INFERENCE if INFERENCE in players else next(iter(players))
        return players | {encoder: [*players[encoder], own.log_scale]}

    def losses(self, own: Learned, model: Model, trace: Trace, progress: Float[Tensor, ""]) -> Mapping[str, Tensor]:
        """Compute the losses of the base, with the neighbor term where the trace holds positives."""
        losses = dict(self.base.losses(own.base, model, trace, progress))
        neighbors = correlated = dense = trace.x.new_zeros(())
        if trace.positives is not None:
            anchors = trace.levels[0].q.mean  # (B, D)
            codes = torch.cat([anchors, trace.positives])  # (M, D)
            scaled = codes * own.log_scale.exp()
            neighbors = total = self.weight * contrast(
                scaled, len(anchors), own.processes, exaggeration=self.exaggeration
            )
            if self.global_weight:
                correlated = self.global_weight * (1 - self._agreement(own, model, trace.x, anchors))
                total = total + correlated
            if self.density_weight:
                dense = self.density_weight * (1 - self._densities(own, model, trace, codes))
                total = total + dense
            add_to_encoder(losses, trace.x.shape[1] * total)
        terms = {CONTRAST: neighbors} | ({GLOBAL: correlated} if self.global_weight else {})
        terms |= {DENSITY: dense} if self.density_weight else {}
        for name, term in terms.items():
            losses[unused(name, losses)] = trace.x.shape[1] * term
        return losses

    def _agreement(
        self, own: Learned, model: Model, x: Float[Tensor, "B P"], codes: Float[Tensor, "B D"]
    ) -> Float[Tensor, ""]:
        sets, some = self.metric == "jaccard", -(-PAIRED // own.processes.world_size)
        with torch.no_grad():
            rows = own.processes.gather(compared(model, x[:some], self.metric, self.units))[:PAIRED]
            rows = rows if sets else rows - rows.mean(0)  # angles may differ by less than single precision holds
        return correlation(rows.to(x.dtype), own.processes.gather(codes[:some])[:PAIRED], sets=sets)

    def _densities(self, own: Learned, model: Model, trace: Trace, codes: Float[Tensor, "M D"]) -> Float[Tensor, ""]:
        assert trace.positive_rows is not None
        rows = len(trace.x)
        with torch.no_grad():
            data = compared(model, torch.cat([trace.x, dense_rows(trace.positive_rows)]), self.metric, self.units)
            radii = own.processes.gather(log_radii(data[:rows], data[rows:]))
        with torch.autocast(codes.device.type, enabled=False):
            return density_agreement(radii, own.processes.gather(log_radii(codes[:rows], codes[rows:])))


def contrast(
    codes: Float[Tensor, "M D"], rows: int, processes: Processes = alone, *, exaggeration: float = 1.0
) -> Float[Tensor, ""]:
    """Return the contrastive loss of a batch of views of ``rows`` codes each: the anchors, then their positives.

    The attraction of the positives is multiplied by ``exaggeration``.

    >>> apart = 100.0 * torch.arange(3.0)[:, None]
    >>> round(contrast(torch.cat([apart, apart]), 3).item(), 2), round(contrast(torch.zeros(6, 1), 3).item(), 2)
    (0.0, 1.61)
    """
    with torch.autocast(codes.device.type, enabled=False):  # differences of close codes need all digits
        views = codes.unflatten(0, (-1, rows))  # (1 + n, B, D)
        attraction: Tensor = torch.log1p((views[1:] - views[0]).square().sum(-1))
        sums: Tensor = _KernelSums.apply(codes, processes)  # type: ignore[no-untyped-call]
        return exaggeration * attraction.mean() + sums.log().mean()


def correlation(x: Float[Tensor, "B P"], z: Float[Tensor, "B D"], *, sets: bool = False) -> Float[Tensor, ""]:
    """Return Pearson's correlation of the distances of rows with those of their codes; 0 where either are all equal.

    Rows are compared by Euclidean distance, or as sets, rows of zeros and ones, by Jaccard's.

    >>> x = torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
    >>> round(correlation(x, x[:, :1]).item(), 3), correlation(x, torch.ones(3, 1)).item()
    (1.0, 0.0)
    """
    with torch.autocast(x.device.type, enabled=False):
        distances = _centred(set_distances(x, x)) if sets else _distances(x)
        agreement: Tensor = cosine_similarity(distances, _distances(z), dim=0)
        return agreement


def _distances(x: Tensor) -> Tensor:
    """Return centred distances of all pairs of rows, (B B,)."""
    x = x - x.mean(0)  # an offset would cancel in the products
    squares = x.square().sum(1)
    return _centred((squares[:, None] + squares - 2 * (x @ x.T)).clamp_min(TINY).sqrt())


def _centred(distances: Tensor) -> Tensor:
    """Return distances (B, B) less their mean, (B B,), zero for a row and itself; flat between equal rows."""
    pairs = len(distances) * (len(distances) - 1)
    distances = (distances - distances[0, -1].detach()).fill_diagonal_(0.0)  # so that equal ones leave exactly zero
    return (distances - distances.sum() / max(1, pairs)).fill_diagonal_(0.0).flatten()


class _KernelSums(torch.autograd.Function):
    r"""Kernels of each row to all others, :math:`S_i = \sum_{j \ne i} 1 / (1 + |a_i - a_j|^2)`, and their gradient.

    The M x M kernels are computed in blocks that stay in the cache, once for the sums and once for the gradient, and
    their squares reduced by products: autograd's graph is limited by memory, and takes many times as long. Each of
    several processes takes the kernels of its rows, and returns the sums of all.
    """

    @staticmethod
    def forward(ctx: Any, codes: Tensor, processes: Processes) -> Tensor:
        everything = processes.stack(codes).flatten(0, 1)  # by rank
        a = everything - everything.mean(0)
        ctx.save_for_backward(a)
        ctx.first, ctx.rows, ctx.processes = processes.rank * len(codes), len(codes), processes
        sums = torch.cat([kernel.sum(1) for kernel in kernel_blocks(a, ctx.first, ctx.rows)])
        return processes.stack(sums).flatten()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (a,) = ctx.saved_tensors
        own = slice(ctx.first, ctx.first + ctx.rows)
        g = gradient[:, None]  # (M, 1)
        columns = torch.cat([g * a, g, a, torch.ones_like(g)], 1).T.contiguous()  # (2 D + 2, M)
        with torch.autocast(a.device.type, enabled=False):
            sums = torch.cat([columns @ kernel.square_().T for kernel in kernel_blocks(a, ctx.first, ctx.rows)], 1).T
        ga, g1, a1, ones = sums.split([a.shape[1], 1] * 2, 1)
        gradient_of_codes: Tensor = 2 * (ga - g1 * a[own] + g[own] * (a1 - ones * a[own]))
        # the loss is that of all codes in every process, and gradients are averaged
        return ctx.processes.world_size * gradient_of_codes, None
