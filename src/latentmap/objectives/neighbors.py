"""The neighbour term: what makes a latent space a map as good as t-SNE's and UMAP's, beside any other objective."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import cosine_similarity

from latentmap.exceptions import DataError, PartError
from latentmap.model.part import Learned, Sizes, positive
from latentmap.model.scaling import Affine
from latentmap.model.trace import Model, Trace
from latentmap.objectives.base import INFERENCE, MONITOR, Objective, unused
from latentmap.objectives.evidence import ELBO

Metric = Literal["euclidean", "cosine"]

START = 3.0
"""Scale at which the kernel starts, a wide one: it narrows as rows have found their place, to some tens in the end."""
PAIRED = 128
"""Rows of a batch between which distances are compared, at the most."""
TINY = 1e-12
"""Squared distance that counts as none."""
CACHED, GPU_VALUES = 2**19, 2**26
"""Kernels that are made at a time, at the most: on a CPU so many as its cache holds, else as there is room for."""


@dataclass(frozen=True)
class NeighborEmbedding(Objective):
    r"""An objective with a contrastive neighbour term over the codes, added to the loss of the encoder's player.

    Each of the B rows of a batch comes with n rows that lie near it in the data. Among these M = (1 + n) B rows, the
    ends of each such pair have to be told from all others by their distance, under a Cauchy kernel (InfoNCE-t-SNE,
    Damrich et al. 2023); and distances on the map are to go with those in the data, whose correlation is r (the global
    term of Parametric UMAP, Sainburg et al. 2021):

    .. math:: \mathcal{L} = \text{base} + P \left( w \cdot \left[
              \frac1{n B} \sum_{(i, j)} -\log \kappa(\mu_i, \mu_j)
              + \frac1M \sum_{i=1}^M \log \sum_{j \ne i} \kappa(\mu_i, \mu_j) \right] + g\,(1 - r) \right),
              \qquad \kappa(a, b) = \frac{1}{1 + s^2 \|a - b\|^2}

    With all rows as the batch the first is t-SNE's objective with uniform affinities over a k-nearest-neighbour graph;
    with fewer negatives it moves along the spectrum that ends at UMAP's (Boehm et al. 2022). The prior fixes the size
    of the codes, so the scale s between the two is learned with the model. The codes are posterior means: the map
    itself.

    >>> NeighborEmbedding(weight=0.0)
    Traceback (most recent call last):
    latentmap.exceptions.PartError: weight must be a finite number > 0, got 0.0
    """

    base: Objective = ELBO()
    weight: float = 0.5
    """w, nats for each of a row's P features, since the distortion that it stands beside grows with them."""
    global_weight: float = 0.05
    """g, nats for each feature: what keeps the islands of a map in their places; 0 leaves those to the start."""
    metric: Metric = "euclidean"
    """By what rows of data are near, see `compared`."""
    units: Affine | None = field(default=None, repr=False, compare=False)
    """The change of units that rows have gone through, which is undone for angles; None takes rows as they are."""

    def __post_init__(self) -> None:
        positive("weight", self.weight)
        if not 0 <= self.global_weight < math.inf:
            raise PartError(f"global_weight must be a finite number >= 0, got {self.global_weight!r}")

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
        near = apart = trace.x.new_zeros(())
        if trace.positives is not None:
            rows = trace.levels[0].q.mean  # (B, D)
            codes = torch.cat([rows, trace.positives])  # (M, D)
            near = term = self.weight * contrast(codes * own.log_scale.exp(), len(rows))
            if self.global_weight:
                apart = self.global_weight * (1 - self._agreement(model, trace.x, rows))
                term = term + apart
            for name in {next(iter(losses)), INFERENCE, MONITOR} & losses.keys():
                losses[name] = losses[name] + trace.x.shape[1] * term
        parts = {"neighbors": near} | ({"global_correlation": apart} if self.global_weight else {})
        for name, part in parts.items():
            losses[unused(name, losses)] = trace.x.shape[1] * part
        return losses

    def losses_of_copies(
        self, own: Learned, model: Model, trace: Trace, progress: Float[Tensor, ""]
    ) -> Mapping[str, Tensor]:
        """As the base."""
        return self.base.losses_of_copies(own.base, model, trace, progress)

    def _agreement(self, model: Model, x: Float[Tensor, "B P"], codes: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
        with torch.no_grad():
            rows = compared(model, x[:PAIRED], self.metric, self.units)
            rows = (rows - rows.mean(0)).to(x.dtype)  # angles may differ by less than single precision holds
        return correlation(rows, codes[:PAIRED])


def compared(
    model: Model, x: Float[Tensor, "B P"], metric: Metric, units: Affine | None = None
) -> Float[Tensor, "B Q"]:
    """Give scaled rows such that their Euclidean distances are in the order of a metric: what near means on a map.

    ``euclidean`` is the distance in the model's units, of rows as the encoder sees them. ``cosine`` is the angle
    between rows as they came, which no shift and no scale may turn, so ``units`` undoes those; without, as in tables of
    mixed columns, that between rows as the encoder sees them. Missing cells are filled as for the encoder.
    """
    if metric == "cosine" and units is not None:
        return normalise_for(units.inverse(model.complete(x)), metric)
    return normalise_for(model.encoder_inputs(x), metric)


def normalise_for(x: Float[Tensor, "N P"], metric: Metric) -> Float[Tensor, "N Q"]:
    """Return rows whose Euclidean distances are in the order of this metric: of unit length for angles.

    Rows of zeros have no direction: by a column of their own they are alike, and at right angles to all others.

    >>> normalise_for(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), "cosine")
    tensor([[0.6000, 0.8000, 0.0000],
            [0.0000, 0.0000, 1.0000]])
    """
    if metric not in ("euclidean", "cosine"):
        raise DataError(f"metric must be 'euclidean' or 'cosine', got {metric!r}")
    if metric == "euclidean":
        return x
    largest = x.abs().amax(1, keepdim=True)  # lengths of its multiples neither overflow nor vanish
    none = largest == 0
    unit = torch.nn.functional.normalize(x / torch.where(none, 1.0, largest), dim=1)
    return torch.cat([unit, none.to(x.dtype)], 1)


def contrast(codes: Float[Tensor, "M D"], rows: int) -> Float[Tensor, ""]:
    """Nats that it takes to find neighbours in a batch: row i of the first ``rows`` goes with row i of each later lot.

    >>> apart = 100.0 * torch.arange(3.0)[:, None]
    >>> round(contrast(torch.cat([apart, apart]), 3).item(), 2), round(contrast(torch.zeros(6, 1), 3).item(), 2)
    (0.0, 1.61)
    """
    with torch.autocast(codes.device.type, enabled=False):  # differences of near codes need all digits
        lots = codes.unflatten(0, (-1, rows))  # (1 + n, B, D)
        apart: Tensor = torch.log1p((lots[1:] - lots[0]).square().sum(-1))
        sums: Tensor = _KernelSums.apply(codes)  # type: ignore[no-untyped-call]
        return apart.mean() + sums.log().mean()


def correlation(x: Float[Tensor, "B P"], z: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
    """Pearson's correlation between the distances of rows and those of their codes; 0 where either are all equal.

    >>> x = torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
    >>> round(correlation(x, x[:, :1]).item(), 3), correlation(x, torch.ones(3, 1)).item()
    (1.0, 0.0)
    """
    with torch.autocast(x.device.type, enabled=False):
        agreement: Tensor = cosine_similarity(_distances(x), _distances(z), dim=0)
        return agreement


def _distances(x: Tensor) -> Tensor:
    """Distances of all pairs of rows, less their mean, (B B,), zero for a row and itself; flat between equal rows."""
    x = x - x.mean(0)  # an offset would cancel in the products
    squares, pairs = x.square().sum(1), len(x) * (len(x) - 1)
    apart = (squares[:, None] + squares - 2 * (x @ x.T)).clamp_min(TINY).sqrt()
    apart = (apart - apart[0, -1].detach()).fill_diagonal_(0.0)  # so that equal distances leave exactly zero
    return (apart - apart.sum() / max(1, pairs)).fill_diagonal_(0.0).flatten()


class _KernelSums(torch.autograd.Function):
    r"""Kernels of each row to all others, :math:`S_i = \sum_{j \ne i} 1 / (1 + |a_i - a_j|^2)`, and their gradient.

    The M x M kernels are made in blocks that stay in the cache, once for the sums and once for the gradient, and their
    squares reduced by products: through autograd's graph the same takes many times as long, for memory alone.
    """

    @staticmethod
    def forward(ctx: Any, codes: Tensor) -> Tensor:
        a = codes - codes.mean(0)
        ctx.save_for_backward(a)
        return torch.cat([kernel.sum(1) for kernel in _kernels(a)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (a,) = ctx.saved_tensors
        g = gradient[:, None]  # (M, 1)
        columns = torch.cat([g * a, g, a, torch.ones_like(g)], 1).T.contiguous()  # (2 D + 2, M)
        with torch.autocast(a.device.type, enabled=False):
            sums = torch.cat([columns @ kernel.square_().T for kernel in _kernels(a)], 1).T
        ga, g1, a1, ones = sums.split([a.shape[1], 1] * 2, 1)
        moved: Tensor = 2 * (ga - g1 * a + g * (a1 - ones * a))
        return moved


def _kernels(a: Float[Tensor, "M D"]) -> Iterator[Float[Tensor, "b M"]]:
    """Yield kernels to all rows, some rows at a time; none of a row to itself."""
    squares, ones = a.square().sum(1, keepdim=True), torch.ones_like(a[:, :1])
    left, right = torch.cat([-2 * a, squares + 1, ones], 1), torch.cat([a, ones, squares], 1).T.contiguous()
    rows = max(1, (CACHED if a.device.type == "cpu" else GPU_VALUES) // len(a))
    for start in range(0, len(a), rows):
        kernel = left[start : start + rows] @ right  # 1 + |a_i - a_j|^2
        kernel.diagonal(start).fill_(torch.inf)
        yield kernel.clamp_(min=1.0).reciprocal_()
