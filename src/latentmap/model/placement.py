"""Means of new rows among the codes of those that a map was fitted to."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from latentmap.model.affinities import affinities
from latentmap.model.nearest import nearest
from latentmap.model.networks import Network
from latentmap.model.part import Sizes, whole
from latentmap.model.repulsion import Potential, fitting_scale, some_rows

NEIGHBORS, PERPLEXITY = 15, 6.0
"""Landmarks among which a row is placed, and the perplexity of their weights."""
SAME = 1e-8
"""Squared distance to a landmark, relative to that of the last neighbour, up to which a row is the landmark itself."""
ATTRACTION, ITERATIONS = 1.5, 20
"""Weight of the attraction of a row to its landmarks, as openTSNE's, and steps towards its place."""
FEW = 4
"""Landmarks from which on a map has a scale."""
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

    .. math:: \mu(x) = \arg\min_z \; \rho \sum_{j \in \mathcal{N}(x)} p_{j|x} \log(1 + s^2 \|z - \mu_j\|^2)
              + \log \sum_j \frac1{1 + s^2 \|z - \mu_j\|^2}

    the loss of t-SNE for a row beside those of the fit (openTSNE, Policar et al. 2019): with the affinities p of a row
    to its nearest landmarks, of perplexity 6, the codes of these, the repulsion of all landmarks, :math:`\rho = 1.5`,
    and the scale s that fits the map. Steps towards it start at the median of the codes of the nearest landmarks, and
    lie with the most of them where a map is torn between neighbours. Codes of more than three numbers have room, and no
    repulsion. An encoder alone is smooth, and takes rows that are nearly landmarks off their places. The posterior, and
    all that is scored or decoded by it, is the network's; places are those of `GenerativeAutoencoder.locate`. A fit of
    a map makes landmarks of its rows at its end, with their places.

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
    _layout: Layout | None = None

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
        blocks: Iterable[Float[Tensor, "b P"]],
        codes: Float[Tensor, "N D"],
        centre: Float[Tensor, " P"],
        axes: Float[Tensor, "P C"],
    ) -> None:
        """Make landmarks of rows, which come block by block, with their codes.

        Distances are taken in the principal components of ``axes``, if in some.
        """
        self._sorted = self._layout = None
        self.centre.copy_(centre)
        if self.projected:
            self.axes.copy_(axes)
        start = 0
        for rows in blocks:
            self.landmarks[start : start + len(rows)] = self._projected(rows)
            start += len(rows)
        self.codes.copy_(codes)

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

    def holds(self, x: Float[Tensor, "B P"], off: Float[Tensor, "B P"] | None = None) -> Bool[Tensor, " B"]:
        """Return which rows equal a landmark."""
        return self._found(self._projected(x), off) >= 0

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
        self._sorted = self._layout = None
        super()._load_from_state_dict(*args, **kwargs)

    def _places(
        self, near: Int[Tensor, "B k"], distances: Float[Tensor, "B k"], own: Float[Tensor, "B D"]
    ) -> Float[Tensor, "B D"]:
        squares = distances.square()
        points = self.codes[near]  # (B, k, D)
        itself = squares[:, :1] <= SAME * squares[:, -1:]
        weights = affinities(squares, min(PERPLEXITY, squares.shape[1])).to(points.dtype)
        places = torch.where(itself, points[:, 0], self._layout_of_codes().place(points, weights))
        if not self.known_only:
            return places
        known = distances[:, :1] <= self._reach(near[:, 0])[:, None]
        return torch.where(known, places, own.to(places.dtype))

    def _layout_of_codes(self) -> Layout:
        """Return the layout of the codes, which is made once."""
        if self._layout is None or self._layout.centre.device != self.codes.device:
            some = some_rows(self.codes)
            near = self._neighbors(self.landmarks[some], min(NEIGHBORS + 1, len(self.landmarks)))[0]
            self._layout = Layout(self.codes, some, near)
        return self._layout

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


class Layout:
    """The codes of landmarks as a map on which rows are placed: their scale, and the repulsion of all."""

    def __init__(self, codes: Float[Tensor, "N D"], some: Int[Tensor, " S"], near: Int[Tensor, "S k"]) -> None:
        self.centre = codes.mean(0)
        spread = float((codes - self.centre).square().mean().sqrt())
        self.unit, self.potential = spread, None
        if len(codes) < FEW or not spread > 0:
            return
        neighbors = (codes[some, None] - codes[near]).square().sum(2)[near != some[:, None]] / spread**2
        self.unit = spread / fitting_scale(neighbors, torch.pdist(codes[some]).square() / spread**2)
        if codes.shape[1] <= 3:
            self.potential = Potential((codes - self.centre) / self.unit)

    def place(self, points: Float[Tensor, "B k D"], weights: Float[Tensor, "B k"]) -> Float[Tensor, "B D"]:
        """Return places of rows whose neighbours, with some affinities, lie at some points."""
        if not self.unit > 0:
            return points[:, 0]
        points = (points - self.centre) / self.unit
        z = points.median(1).values
        for _ in range(ITERATIONS):
            pulls = weights / (1 + (points - z[:, None]).square().sum(2))
            total = pulls.sum(1, keepdim=True)
            push = self._push(z) / (2 * ATTRACTION * total)
            push = push / push.norm(dim=1, keepdim=True).clamp_min(1.0)  # where groups are far, pulls are faint
            z = (pulls[:, :, None] * points).sum(1) / total + push
        return z * self.unit + self.centre

    def _push(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """Return the negative gradient of the logarithm of the potential."""
        if self.potential is None:
            return torch.zeros_like(z)
        potential, slope = self.potential(z)
        return -slope / potential[:, None]
