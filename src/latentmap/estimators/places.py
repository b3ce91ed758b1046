"""Places of the rows of a map: anew, of some rows first where there are many, or beside rows that have one."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from latentmap.estimators.anchor import Pinned
from latentmap.estimators.graph import neighbor_graph
from latentmap.estimators.tsne import SPREAD, Distances, keeps_more, scale_of, start_of_components, tsne
from latentmap.exceptions import DiagnosisWarning
from latentmap.model.noise import generator_for

SOME_ROWS, SOME_ROWS_3D = 8192, 2500
"""Rows whose places are found first, where there are more, and in three dimensions."""
FINE = 100
"""Iterations beside rows that have places."""
PLACED_BY = 10
"""Nearest rows with a place, at the median of which another begins, where there are more."""
WIDEST = 3.0
"""Distance of the farthest given place from their mean, in which a map has a spread of one, at the most."""
USUAL = 5.0
"""Multiple, and fraction, of the spread of a prior within which a map can go on."""

GraphOf = Callable[[Tensor | None], Tensor]
"""Return the neighbours of some rows among these; None of all among all."""


class Places(NamedTuple):
    """Places of the rows of a map, in units of its codes."""

    codes: Float[Tensor, "N D"]
    """The places."""
    scale: float
    """The units of the kernel in one of these."""
    anew: bool = True
    """Whether the map is a new one, rather than an earlier one that goes on."""
    components: bool = False
    """Whether these are the principal components, which keep more neighbours than t-SNE does."""


@dataclass(frozen=True, eq=False)
class PlaceSearch:
    """The search for the places of rows.

    Parameters
    ----------
    points : Tensor of shape (N, P)
        The rows, as distances compare them, equal ones once.
    graph_of : callable
        What returns the neighbours of some rows among these, see `GraphOf`.
    components : int
        Dimensions of the map.
    exaggeration : float
        Weight of the attraction.
    init : {"pca", "random"}
        Where places begin.
    seed : int
        Seed of what is drawn.
    ended : callable
        Whether the time is over.
    """

    points: Float[Tensor, "N P"]
    graph_of: GraphOf
    components: int
    exaggeration: float
    init: str
    seed: int
    ended: Callable[[], bool]

    def new(self) -> Places:
        """Return the places of a new map, of mean 0 and variance 1 over all dimensions."""
        if len(self.points) == 1:
            return Places(self.points.new_zeros(1, self.components), 1.0)
        points, most = self.points, SOME_ROWS if self.components <= 2 else SOME_ROWS_3D
        if len(points) > most:
            some = torch.randperm(len(points), generator=generator_for(self.seed))[:most].sort().values
            some = some.to(points.device)
            z = self._tsne(self._start(points[some]), self.graph_of(some), points[some])
            z = self._beside(interpolated(points, some, z))
        else:
            z = self._tsne(self._start(points), self._graph, points)
        alone, components = start_of_components(points, self.components), False
        if self.exaggeration <= 1 and not keeps_more(z, alone, self._graph):  # beyond, neighbours are not all
            z, components = alone * scale_of(alone, self._graph, self.exaggeration), True
        z = z - z.mean(0)
        unit = spread(z) or 1.0
        return Places(z / unit, unit, components=components)

    def beside(self, pinned: Pinned) -> Places:
        """Return the places of rows, some of which have one on an earlier map, in its units.

        Its scale is that at which these rows have the spread that they have on a new map of all rows. Rows begin at
        the median of the nearest with a place, or, without any among their neighbours, where the new map has them,
        once it is turned and shifted to the earlier one (Procrustes). A map that has no such spread as a prior gives it
        is made anew, unless its places are to stay.
        """
        parts = (torch.from_numpy(np.asarray(part)) for part in (pinned.rows, pinned.places))
        known, before = (part.to(self.points.device) for part in parts)
        before = before.double()
        start = interpolated(self.points, known, before)
        if not pinned.exactly:
            unit = spread(start)
            if not 1 / USUAL < unit < USUAL:
                return self.new()
            z = self._beside(scale_of(start, self._graph, self.exaggeration) * start)
            wide = spread(z) or 1.0
            return Places((z - z.mean(0)) * (unit / wide) + start.mean(0), wide / unit, anew=False)
        fixed = torch.zeros(len(self.points), dtype=torch.bool, device=known.device).index_fill(0, known, True)
        new = self.new()
        own, goal = spread(new.codes[known]), spread(before)
        wide = min(goal / own, max(1.0, WIDEST * float((before - before.mean(0)).norm(dim=1).max()))) if own else 0.0
        elsewhere = turned(new.codes.double(), known, before, wide or 1.0)
        if len(known) > PLACED_BY:
            near = fixed[self._graph].any(1)
            start = torch.where((near | fixed)[:, None], start, elsewhere)
        else:
            start = elsewhere.index_copy(0, known, before)
        scale = new.scale / (wide or 1.0)
        z = torch.where(fixed[:, None], start, self._beside(scale * start, fixed) / scale)
        _warn_of_units(z)
        return Places(z, scale, anew=False)

    @functools.cached_property
    def _graph(self) -> Tensor:
        return self.graph_of(None)

    def _start(self, points: Tensor) -> Tensor:
        if self.init == "pca":
            return start_of_components(points, self.components)
        generator = generator_for(self.seed)
        start: Tensor = SPREAD * torch.randn(len(points), self.components, generator=generator).to(points)
        return start

    def _beside(self, start: Tensor, fixed: Bool[Tensor, " N"] | None = None) -> Tensor:
        return self._tsne(start, self._graph, self.points, early=0, iterations=FINE, fixed=fixed)

    def _tsne(self, start: Tensor, graph: Tensor, points: Tensor, **options: Any) -> Tensor:
        distances = Distances.of(points, generator_for(self.seed))
        return tsne(start, graph, distances, exaggeration=self.exaggeration, ended=self.ended, **options)


def _warn_of_units(z: Float[Tensor, "N D"]) -> None:
    """Warn of places that are far from a prior of mean 0 and variance 1, to which a model holds its codes."""
    middle, deviation = float(z.mean(0).norm()), spread(z)
    if not (middle < USUAL and 1 / USUAL < deviation < USUAL):
        message = (
            f"the places of anchor make a map with a mean of norm {middle:.3g} and a standard deviation of "
            f"{deviation:.3g}, far from the 0 and 1 of a prior, which holds back the encoder, so that places may "
            "decode to unlike rows; subtract the mean from the places, and divide them by the deviation"
        )
        warnings.warn(message, DiagnosisWarning, stacklevel=2)


def spread(z: Float[Tensor, "N D"]) -> float:
    """Return the standard deviation over all dimensions."""
    return float(z.var(0, correction=0).mean().sqrt())


def turned(
    z: Float[Tensor, "N D"], known: Int[Tensor, " M"], places: Float[Tensor, "M D"], factor: float
) -> Float[Tensor, "N D"]:
    """Return codes scaled, turned and shifted such that some are as near to given places as they can (Procrustes).

    >>> z = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    >>> turned(z, torch.tensor([0, 1, 2]), torch.stack([1 + 3 * z[:, 1], -3 * z[:, 0]], 1), 3.0).round(decimals=4).abs()
    tensor([[1., 0.],
            [1., 3.],
            [7., 0.]])
    """
    own, goal = z[known] - z[known].mean(0), places - places.mean(0)
    u, _, v = torch.linalg.svd(own.T @ goal)
    at: Tensor = (z - z[known].mean(0)) @ (u @ v) * factor + places.mean(0)
    return at


def interpolated(
    points: Float[Tensor, "N P"], known: Int[Tensor, " M"], places: Float[Tensor, "M D"]
) -> Float[Tensor, "N D"]:
    """Return the places of all rows, where those of some are known: of the others the median of their nearest."""
    found = places[:1].repeat(len(points), 1).index_copy(0, known, places)
    rest = torch.ones(len(points), dtype=torch.bool, device=points.device).index_fill(0, known, False)
    if rest.any() and len(known) > 1:
        k = min(PLACED_BY, len(known) - 1)
        near = neighbor_graph(points[known], k, queries=points[rest], metric="euclidean")
        found[rest] = places[near].median(1).values
    return found
