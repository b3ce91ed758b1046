"""Means of new rows among the codes of those that a map was fitted to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentmap.model.affinities import affinities
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
MOST_LANDMARKS = 2**20
ASKED = 1000
"""Landmarks whose distances to the others are taken for those of all."""
NO_LIMIT = torch.finfo(torch.float64).max
"""Distance within which all rows lie."""


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

    def __post_init__(self) -> None:
        whole("landmarks", self.landmarks, most=MOST_LANDMARKS)
        whole("columns", self.columns)
        if self.components is not None:
            whole("components", self.components)

    def encoder(self, sizes: Sizes, out: int) -> nn.Module:
        """Return the network's encoder, which places rows too."""
        encoder = self.network.encoder(sizes, out)
        return PlacedEncoder(encoder, self.columns, sizes.latent, self.landmarks, self.components)

    def decoder(self, sizes: Sizes, heads: int) -> nn.Module:
        """Return the network's decoder."""
        return self.network.decoder(sizes, heads)


class PlacedEncoder(nn.Module):
    """An encoder, with the places that landmarks give to rows (B, P)."""

    centre: Tensor
    axes: Tensor
    landmarks: Tensor
    codes: Tensor
    limit: Tensor

    def __init__(
        self, encoder: nn.Module, columns: int, latent: int, landmarks: int, components: int | None = None
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.projected = components is not None
        self.register_buffer("centre", torch.zeros(columns, dtype=torch.float64))
        if components is not None:
            self.register_buffer("axes", torch.zeros(columns, components, dtype=torch.float64))
        kept = columns if components is None else components
        self.register_buffer("landmarks", torch.zeros(landmarks, kept, dtype=torch.float64))
        self.register_buffer("codes", torch.zeros(landmarks, latent, dtype=torch.float64))
        self.register_buffer("limit", torch.tensor(NO_LIMIT, dtype=torch.float64))

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
        self.centre.copy_(centre)
        if self.projected:
            self.axes.copy_(axes)
        start = 0
        for rows, codes in blocks:
            stop = start + len(rows)
            self.landmarks[start:stop] = self._projected(rows)
            self.codes[start:stop] = codes
            start = stop

    @torch.no_grad()
    def leave_strangers(self) -> None:
        """From now on, place only rows that are as near to a landmark as the landmarks are to each other.

        Others keep the codes of the encoder, which can find them a place of their own.
        """
        some = self.landmarks[:: -(-len(self.landmarks) // ASKED)]
        distances = self._distances(some).topk(min(2, len(self.landmarks)), largest=False).values[:, -1]
        self.limit.fill_(distances.max())

    def forward(self, x: Float[Tensor, "B M"]) -> Float[Tensor, "B H"]:
        """Return what the encoder returns."""
        raw: Tensor = self.encoder(x)
        return raw

    def placed(self, x: Float[Tensor, "B P"], codes: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """Return the places of rows, which come with their codes by the encoder."""
        if not len(x):
            return codes
        with torch.autocast(x.device.type, enabled=False):  # differences of near rows need all digits
            size = max(1, DISTANCES // len(self.landmarks))
            found = [
                self._places(*some) for some in zip(self._projected(x).split(size), codes.split(size), strict=True)
            ]
        return torch.cat(found).to(codes.dtype)

    def _projected(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B C"]:
        rows = x.to(self.centre.dtype) - self.centre
        return rows @ self.axes if self.projected else rows

    def _places(self, rows: Float[Tensor, "B C"], own: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        near = self._distances(rows).topk(min(NEIGHBORS, len(self.landmarks)), largest=False)
        squares = near.values.square()
        codes = self.codes[near.indices]  # (B, k, D)
        itself = squares[:, :1] <= SAME * squares[:, -1:]
        weights = affinities(squares, min(PERPLEXITY, squares.shape[1])).to(codes.dtype)
        places = torch.where(itself, codes[:, 0], geometric_median(codes, weights))
        return torch.where(near.values[:, :1] > self.limit, own.to(codes.dtype), places)

    def _distances(self, rows: Float[Tensor, "B C"]) -> Float[Tensor, "B N"]:
        few = self.landmarks.numel() <= DIFFERENCES  # where equal distances come out equal, whatever the batch
        mode = "donot_use_mm_for_euclid_dist" if few else "use_mm_for_euclid_dist"
        return torch.cdist(rows, self.landmarks, compute_mode=mode)


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
