"""Means of new rows among the codes of those that a map was fitted to."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from latentmap.model.affinities import affinities
from latentmap.model.nearest import nearest
from latentmap.model.networks import Network
from latentmap.model.part import Sizes, whole

NEIGHBORS, PERPLEXITY = 15, 6.0
"""Landmarks among which a row is placed, and the perplexity of their weights."""
SAME = 1e-8
"""Squared distance to a landmark, relative to that of the last neighbour, up to which a row is the landmark itself."""
ITERATIONS = 100
"""Steps towards the geometric median."""
DISTANCES, DIFFERENCES = 2**22, 2**20
"""Distances that are held at a time, and values of landmarks up to which they are taken by differences."""
ROUNDED, CANDIDATES, MORE = 1e-14, 3, 64
"""Rounding of values of landmarks, relative to the largest, and landmarks with which a row is compared to find it; more
where rows are rounded to single precision."""
MOST_LANDMARKS = 2**20
PIECE = 4096
"""Rows whose differences to their neighbours are held at a time."""
WITHIN, LITTLE = 5, 1e-5
"""The neighbour of a landmark that is as far as known rows are, and the least such distance, in spreads of the data."""


@dataclass(frozen=True)
class Placement(Network):
    r"""Another network as encoder, with means of rows placed among the codes of the landmarks that resemble them.

    .. math:: \mu(x) = \arg\min_z \sum_{j \in \mathcal{N}(x)} p_{j|x} \, \|z - \mu_j\|

    with the affinities p of a row to its nearest landmarks, of perplexity 6, and the codes of these: their geometric
    median, which lies with the most of them where a map is torn between neighbours (openTSNE starts new rows at the
    median of their neighbours, Policar et al. 2019). An encoder alone is smooth, and takes rows that are nearly
    landmarks off their places. The posterior, and all that is scored or decoded by it, is the network's; places are
    those of `GenerativeAutoencoder.locate`. A fit of a map makes landmarks of its rows at its end, with refined codes.

    Parameters
    ----------
    network : Network
        The encoder.
    landmarks : int
        Number of landmarks.
    columns : int
        Number of values by which rows are compared: the encoder's inputs without the mask of missing cells.
    components : int, optional
        Principal components in which distances are taken; None takes all columns.
    known_only : bool, default=False
        Whether only rows that are as near to a landmark as its neighbours are have a place among them; others keep the
        codes of the encoder, which can find them a place of their own.

    Examples
    --------
    >>> from latentmap.model.networks import MLP
    >>> Placement(MLP((8,)), landmarks=10, columns=3).encoder(Sizes((3,), 2), out=4)(torch.zeros(5, 3)).shape
    torch.Size([5, 4])
    """

    network: Network
    landmarks: int
    columns: int
    components: int | None = None
    known_only: bool = False

    def __post_init__(self) -> None:
        whole("landmarks", self.landmarks, most=MOST_LANDMARKS)
        whole("columns", self.columns)
        if self.components is not None:
            whole("components", self.components)

    def encoder(self, sizes: Sizes, out: int) -> nn.Module:
        """Return the network's encoder, which places rows too."""
        encoder = self.network.encoder(sizes, out)
        return PlacedEncoder(
            encoder, self.columns, sizes.latent, self.landmarks, self.components, known_only=self.known_only
        )

    def decoder(self, sizes: Sizes, heads: int) -> nn.Module:
        """Return the network's decoder."""
        return self.network.decoder(sizes, heads)


class PlacedEncoder(nn.Module):
    """An encoder, with the places that landmarks give to rows (B, P)."""

    centre: Tensor
    axes: Tensor
    landmarks: Tensor
    codes: Tensor
    _sorted: _Sorted | None = None

    def __init__(
        self,
        encoder: nn.Module,
        columns: int,
        latent: int,
        landmarks: int,
        components: int | None = None,
        *,
        known_only: bool = False,
    ) -> None:
        super().__init__()
        self.known_only = known_only
        self.encoder = encoder
        self.projected = components is not None
        self.register_buffer("centre", torch.zeros(columns, dtype=torch.float64))
        if components is not None:
            self.register_buffer("axes", torch.zeros(columns, components, dtype=torch.float64))
        kept = columns if components is None else components
        self.register_buffer("landmarks", torch.zeros(landmarks, kept, dtype=torch.float64))
        self.register_buffer("codes", torch.zeros(landmarks, latent, dtype=torch.float64))

    @torch.no_grad()
    def place(
        self,
        blocks: Iterable[tuple[Float[Tensor, "b P"], Float[Tensor, "b D"]]],
        centre: Float[Tensor, " P"],
        axes: Float[Tensor, "P C"],
    ) -> None:
        """Make landmarks of rows, which come with their codes, block by block.

        Distances are taken in the principal components of ``axes``, if in some.
        """
        self._sorted = None
        self.centre.copy_(centre)
        if self.projected:
            self.axes.copy_(axes)
        start = 0
        for rows, codes in blocks:
            stop = start + len(rows)
            self.landmarks[start:stop] = self._projected(rows)
            self.codes[start:stop] = codes
            start = stop

    def forward(self, x: Float[Tensor, "B M"]) -> Float[Tensor, "B H"]:
        """Return what the encoder returns."""
        raw: Tensor = self.encoder(x)
        return raw

    def placed(
        self, x: Float[Tensor, "B P"], codes: Float[Tensor, "B D"], off: Float[Tensor, "B P"] | None = None
    ) -> Float[Tensor, "B D"]:
        """Return the places of rows, which come with their codes by the encoder, and may be ``off`` by rounding."""
        with torch.autocast(x.device.type, enabled=False):  # differences of near rows need all digits
            rows = self._projected(x)
            which = self._found(rows, off)
            places = self.codes[which]
            new = (which < 0).nonzero()[:, 0]
            if len(new):
                near, distances = self._neighbors(rows[new], min(NEIGHBORS, len(self.landmarks)))
                pieces = zip(near.split(PIECE), distances.split(PIECE), codes[new].split(PIECE), strict=True)
                places[new] = torch.cat([self._places(*piece) for piece in pieces]).to(places)
            return places.to(codes.dtype)

    def _found(self, rows: Float[Tensor, "B C"], off: Float[Tensor, "B P"] | None) -> Int[Tensor, " B"]:
        """Return the landmark that each row equals, -1 for none, without a search among all of them."""
        if self._sorted is None or self._sorted.keys.device != self.landmarks.device:
            self._sorted = _Sorted(self.landmarks)
        rounding = ROUNDED * self._sorted.largest if self.projected else torch.zeros_like(self._sorted.largest)
        found = self._sorted.find(rows, self.landmarks, rounding)
        rest = (found < 0).nonzero()[:, 0]
        if off is not None and len(rest):
            off = off.to(self.centre)[rest]
            off = off @ self.axes.abs() if self.projected else off
            found[rest] = self._sorted.find(rows[rest], self.landmarks, off, MORE)
        return found

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._sorted = None
        super()._load_from_state_dict(*args, **kwargs)

    def _places(
        self, near: Int[Tensor, "B k"], distances: Float[Tensor, "B k"], own: Float[Tensor, "B D"]
    ) -> Float[Tensor, "B D"]:
        squares = distances.square()
        points = self.codes[near]  # (B, k, D)
        itself = squares[:, :1] <= SAME * squares[:, -1:]
        weights = affinities(squares, min(PERPLEXITY, squares.shape[1])).to(points.dtype)
        places = torch.where(itself, points[:, 0], geometric_median(points, weights))
        if not self.known_only:
            return places
        known = distances[:, :1] <= self._reach(near[:, 0])[:, None]
        return torch.where(known, places, own.to(places.dtype))

    def _reach(self, which: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Return how far some landmarks are from the fifth other one, and little where that is at the same place."""
        distances = self._neighbors(self.landmarks[which], min(WITHIN + 1, len(self.landmarks)))[1][:, -1]
        return distances.clamp_min(LITTLE * float(self.landmarks.square().mean().sqrt()))

    def _neighbors(self, rows: Float[Tensor, "B C"], k: int) -> tuple[Int[Tensor, "B k"], Float[Tensor, "B k"]]:
        """Return the nearest landmarks, and their distances by differences; equal ones are equal whatever the batch."""
        if self.landmarks.numel() <= DIFFERENCES:
            found = [
                torch.cdist(some, self.landmarks, compute_mode="donot_use_mm_for_euclid_dist").topk(k, largest=False)
                for some in rows.split(max(1, DISTANCES // len(self.landmarks)))
            ]
            return torch.cat([pair.indices for pair in found]), torch.cat([pair.values for pair in found])
        near = nearest(self.landmarks, k, rows)
        pieces = zip(rows.split(PIECE), near.split(PIECE), strict=True)
        distances = torch.cat([(self.landmarks[which] - some[:, None]).norm(dim=2) for some, which in pieces])
        distances, order = distances.sort(dim=1, stable=True)
        return near.gather(1, order), distances

    def _projected(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B C"]:
        rows = x.to(self.centre.dtype) - self.centre
        return rows @ self.axes if self.projected else rows


class _Sorted:
    """Landmarks in the order of their products with one direction, in which equal ones are next to each other."""

    def __init__(self, landmarks: Float[Tensor, "N C"]) -> None:
        columns = landmarks.shape[1]
        angles = torch.arange(1, columns + 1, dtype=landmarks.dtype, device=landmarks.device)
        self.direction = (angles * math.e).sin()  # no small whole multiples of which have the same sum
        self.largest = landmarks.abs().amax(0)
        self.keys, self.order = (landmarks @ self.direction).sort()

    def find(
        self,
        rows: Float[Tensor, "B C"],
        landmarks: Float[Tensor, "N C"],
        rounding: Float[Tensor, "*B C"],
        candidates: int = CANDIDATES,
    ) -> Int[Tensor, " B"]:
        """Return the nearest landmark that each row equals but for rounding, or -1."""
        keys, reach = rows @ self.direction, torch.maximum(rounding, ROUNDED * self.largest) @ self.direction.abs()
        at = torch.searchsorted(self.keys, keys - reach)
        found, least = torch.full_like(at, -1), torch.full_like(self.keys[:1], torch.inf).expand(len(rows))
        for candidate in range(candidates):
            which = self.order[(at + candidate).clamp_max(len(self.order) - 1)]
            apart = (landmarks[which] - rows).abs()
            distance = apart.amax(1)
            nearer = (apart <= rounding).all(1) & (distance < least)
            found, least = torch.where(nearer, which, found), torch.where(nearer, distance, least)
        if rounding.dim() == 2:  # the nearest may be beyond the candidates: that takes a search
            last = torch.searchsorted(self.keys, keys + reach, right=True)
            found = torch.where(last - at > candidates, -1, found)
        return found


def geometric_median(points: Float[Tensor, "B k D"], weights: Float[Tensor, "B k"]) -> Float[Tensor, "B D"]:
    r"""Return the place with the least weighted sum of distances to some points (Weiszfeld 1937).

    >>> points = torch.tensor([[[0.0], [0.0], [10.0]]], dtype=torch.float64)
    >>> geometric_median(points, torch.full((1, 3), 1 / 3)).item()
    0.0
    """
    apart = points[:, :, None] - points[:, None]  # (B, k, k, D): of each point from each
    distances = apart.norm(dim=3, keepdim=True)
    there = distances <= 1e-9 * distances.amax((1, 2), keepdim=True)
    pulls = torch.where(there, 0.0, apart / distances.clamp_min(torch.finfo(points.dtype).tiny))
    pull = (weights[:, :, None, None] * pulls).sum(1).norm(dim=2)  # (B, k): of the others on a point
    held = (weights[:, :, None] * there[..., 0]).sum(1)  # weight in the place of a point
    excess, best = (pull - held).min(1)
    at_point = points[torch.arange(len(points), device=points.device), best]
    median = (weights[..., None] * points).sum(1)
    least = (1e-6 * distances.amax((1, 2, 3))[:, None]).clamp_min(torch.finfo(points.dtype).tiny)
    for _ in range(ITERATIONS):
        shares = weights / torch.maximum((points - median[:, None]).norm(dim=2), least)
        median = (shares[..., None] * points).sum(1) / shares.sum(1, keepdim=True)
    return torch.where((excess <= 0)[:, None], at_point, median)
