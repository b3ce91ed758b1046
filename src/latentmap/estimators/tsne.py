"""Places of the rows of a map by t-SNE, which its encoder then learns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from latentmap.model.components import signed_axes
from latentmap.model.noise import generator_for
from latentmap.model.repulsion import PAIRWISE, Repulsion, fitting_scale, some_rows
from latentmap.training.device import threads_for
from latentmap.training.feed import with_self

EARLY, EARLY_EXAGGERATION = 150, 12.0
"""Iterations with early exaggeration, and its factor."""
ITERATIONS = 200
"""Iterations that follow them."""
MOMENTUM, GROWTH, DECAY, LEAST_GAIN = 0.8, 0.2, 0.8, 0.01
"""Momentum of the descent, and how the gain of a value grows while it moves on, and decays where it turns back."""
FARTHEST = 5.0
"""How far a place moves in an iteration, at the most, in units of the kernel."""
SPREAD = 0.1
"""Initial standard deviation of the places, in units of the kernel: so close that rows can still pass each other."""
DISTANCES, PARTNERS, USUAL = 0.2, 3, 0.95
"""Weight of the correlation of distances, rows to which each row has one, drawn, and the fraction that is usual."""
COMPONENTS_ROWS = 10_000
"""Rows of which principal components are taken, at the most."""
NO_LENGTH = 1e-9
"""Length that counts as none: of rows in one place there is no direction."""
PAIRS = 5 * 10**9
"""Pairs of codes of three dimensions that are looked at in all."""
LEAST = 1e-30
"""Sum of the kernel by which forces are divided at the least: a single row has none."""
NEAREST = 15
"""Nearest rows on the map that are looked at."""


def tsne(
    start: Float[Tensor, "N D"],
    graph: Int[Tensor, "N S"],
    distances: Distances | None = None,
    *,
    early: int = EARLY,
    iterations: int = ITERATIONS,
    exaggeration: float = 1.0,
    fixed: Bool[Tensor, " N"] | None = None,
    ended: Callable[[], bool] = lambda: False,
) -> Float[Tensor, "N D"]:
    r"""Return places that keep the neighbours of rows, and their distances where these are given.

    They are those of t-SNE (van der Maaten and Hinton 2008), with repulsion by FFT (FIt-SNE, Linderman et al. 2019), of
    the loss

    .. math:: \rho \sum_{ij} p_{ij} \log(1 + \|z_i - z_j\|^2) + \log \sum_{i \ne j} \frac1{1 + \|z_i - z_j\|^2}
              + g\,(1 - r),

    where r is the correlation of the distances of some pairs on the map with those in the data (the global term of
    Parametric UMAP, Sainburg et al. 2021), which t-SNE has not: groups of rows keep their order. The descent has the
    momentum, the gains and the early exaggeration of t-SNE, and the learning rate N / rho (Belkina et al. 2019).

    Parameters
    ----------
    start : Tensor of shape (N, D)
        Places to begin with, in units of the kernel.
    graph : Tensor of int of shape (N, S)
        Neighbours of each row, as often as they are drawn, of which p is the share; -1 for none.
    distances : Distances, optional
        Distances of the rows in the data.
    early : int, default=150
        Iterations with early exaggeration, for places that begin close to each other.
    iterations : int, default=200
        Iterations after these.
    exaggeration : float, default=1.0
        Weight rho of the attraction.
    fixed : Tensor of bool of shape (N,), optional
        Rows whose places do not move.
    ended : callable, optional
        Whether the time is over, which ends the descent.

    Examples
    --------
    >>> line = torch.tensor([[0.0], [1.0], [1.2], [2.2], [8.0], [9.0]])
    >>> pairs = torch.tensor([[1], [0], [3], [2], [5], [4]])
    >>> z = tsne(line, pairs, early=0, iterations=20).flatten()
    >>> bool(z[1] - z[0] < z[2] - z[1] > z[3] - z[2])
    True
    """
    n = len(start)
    graph = with_self(graph)
    places, masses = start.float(), torch.ones(n, device=start.device)
    moves = masses[:, None] if fixed is None else (~fixed[:, None]).float()
    step, gains = torch.zeros_like(places), torch.ones_like(places)
    attraction = Attraction.of(graph)
    repulsion, lasting = Repulsion(), _lasting(n, start.shape[1], early + iterations)
    with threads_for(n * min(n, PAIRWISE)):
        for iteration in range(early + iterations):
            if ended():
                break
            rho = max(EARLY_EXAGGERATION, exaggeration) if iteration < early else exaggeration
            if iteration == early:
                step, gains = torch.zeros_like(places), torch.ones_like(places)
            if iteration % lasting == 0:
                total, away = repulsion(places, masses)
            gradient = 4 * (rho * attraction(places) - away / total.clamp_min(LEAST))
            if distances is not None:
                gradient += distances.gradient(places)
            gradient *= moves
            gains = torch.where(gradient * step < 0, gains + GROWTH, gains * DECAY).clamp_(min=LEAST_GAIN)
            step = MOMENTUM * step - n / max(1.0, rho) * gains * gradient
            step *= (FARTHEST / step.norm(dim=1, keepdim=True)).clamp_(max=1.0)
            places = places + step
    return places.to(start.dtype)


@dataclass(frozen=True, eq=False)
class Distances:
    r"""The loss :math:`g\,(1 - r)` of the correlation r of distances on a map with those in the data.

    Attributes
    ----------
    partners : list of Tensor of int of shape (N,)
        Rows to which each row has a distance: permutations of all rows.
    inverses : list of Tensor of int of shape (N,)
        Rows whose partner each row is.
    goal : Tensor of shape (K N,)
        The distances in the data, of mean 0 and norm 1; the largest twentieth are as large as the smallest of these,
        as a few rows far from all others would take the map for themselves.
    """

    partners: list[Int[Tensor, " N"]]
    inverses: list[Int[Tensor, " N"]]
    goal: Float[Tensor, " M"]

    @classmethod
    def of(cls, points: Float[Tensor, "N P"], generator: torch.Generator) -> Distances:
        """Return those of some pairs of rows, drawn."""
        partners = [torch.randperm(len(points), generator=generator).to(points.device) for _ in range(PARTNERS)]
        goal = torch.cat([(points - points[other]).norm(dim=1) for other in partners])
        goal = goal.clamp_max(goal.quantile(USUAL))
        return cls(partners, [other.argsort() for other in partners], _normed(goal)[0].float())

    def gradient(self, places: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """Return the gradient of the loss with respect to the places of all rows."""
        columns = places.T.contiguous()  # (D, N): numbers that are gathered lie side by side
        apart = [columns - columns[:, other] for other in self.partners]
        lengths = [each.square().sum(0).sqrt().clamp_min(NO_LENGTH) for each in apart]
        own, norm = _normed(torch.cat(lengths))
        slopes = DISTANCES * ((own @ self.goal) * own - self.goal) / norm
        gradient = torch.zeros_like(columns)
        for inverse, each, length, slope in zip(self.inverses, apart, lengths, slopes.split(len(places)), strict=True):
            pull = each * (slope / length)
            gradient += pull - pull[:, inverse]
        return gradient.T


@dataclass(frozen=True, eq=False)
class Attraction:
    r"""The sums :math:`\sum_j p_{ij} K_{ij} (y_i - y_j)` by which neighbours attract places y.

    Attributes
    ----------
    first, second : Tensor of int of shape (E,)
        Ends of the edges, each of which is there once.
    shares : Tensor of shape (E,)
        Their shares p among all neighbours that are drawn.
    """

    first: Int[Tensor, " E"]
    second: Int[Tensor, " E"]
    shares: Float[Tensor, " E"]

    @classmethod
    def of(cls, near: Int[Tensor, "N S"]) -> Attraction:
        """Return that of the neighbours of rows, as often as they are drawn."""
        places, own = len(near), torch.arange(len(near), device=near.device)[:, None]
        ends = torch.minimum(near, own) * places + torch.maximum(near, own)
        edges, counts = ends[near != own].unique(return_counts=True)
        return cls(edges // places, edges % places, counts / (2 * near.numel()))

    def __call__(self, places: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """Return the sums of all places."""
        columns = places.T.contiguous()  # (D, N): numbers that are gathered lie side by side
        apart = [column.index_select(0, self.first) - column.index_select(0, self.second) for column in columns]
        distances = torch.ones_like(self.shares)
        for each in apart:
            distances.addcmul_(each, each)
        weights, sums = self.shares / distances, torch.zeros_like(columns)
        for total, each in zip(sums, apart, strict=True):
            pull = each.mul_(weights)
            total.index_add_(0, self.first, pull).index_add_(0, self.second, pull, alpha=-1)
        return sums.T


def start_of_components(points: Float[Tensor, "N P"], components: int) -> Float[Tensor, "N D"]:
    """Return the leading principal components of rows, scaled down, as places to begin with."""
    some = torch.randperm(len(points), generator=generator_for(0))[:COMPONENTS_ROWS].to(points.device)
    centre, axes = signed_axes(points[some], components)
    z = torch.nn.functional.pad((points - centre) @ axes, (0, max(0, components - axes.shape[1])))
    return SPREAD * z / z.std(0, correction=0).amax().clamp_min(torch.finfo(z.dtype).tiny)


def scale_of(codes: Float[Tensor, "N D"], graph: Int[Tensor, "N S"], exaggeration: float) -> float:
    """Return the units of the kernel in one of codes with which their loss is least; 1 of codes in one place."""
    some = some_rows(codes)
    variance = float(codes.var(0, correction=0).mean())
    if not variance > 0:
        return 1.0
    near = (codes[some, None] - codes[with_self(graph)[some]]).square().sum(2).flatten() / variance
    return fitting_scale(near, torch.pdist(codes[some]).square() / variance, exaggeration) / math.sqrt(variance)


def keeps_more(places: Float[Tensor, "N D"], others: Float[Tensor, "N D"], graph: Int[Tensor, "N S"]) -> bool:
    """Return whether some places keep more neighbours than others: of rows of few columns, these may be components."""
    graph = with_self(graph)
    return _kept(places, graph) > _kept(others, graph)


def _lasting(rows: int, components: int, iterations: int) -> int:
    """Return for how many iterations repulsion is taken to last: of all pairs in three dimensions it takes long.

    >>> [_lasting(n, 3, 50) for n in (5000, 20_000, 50_000)], _lasting(50_000, 2, 50)
    ([1, 4, 25], 1)
    """
    return 1 if components <= 2 else math.ceil(iterations * rows**2 / PAIRS)


def _normed(distances: Float[Tensor, " M"]) -> tuple[Float[Tensor, " M"], Float[Tensor, ""]]:
    """Return distances of mean 0 and norm 1, and the norm that they had."""
    distances = distances - distances.mean()
    norm = distances.norm().clamp_min(NO_LENGTH)
    return distances / norm, norm


def _kept(codes: Float[Tensor, "N D"], graph: Int[Tensor, "N S"]) -> float:
    """Return the fraction of the neighbours of some rows that are among the nearest on the map."""
    n, some = len(codes), some_rows(codes)
    distances = torch.cdist(codes[some], codes)
    distances[torch.arange(len(some), device=codes.device), some] = torch.inf
    reach = distances.topk(min(NEAREST, max(1, n // 4)), largest=False).values[:, -1:]
    return float((distances.gather(1, graph[some]) <= reach).float().mean())
