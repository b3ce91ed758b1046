"""Means of new rows among the codes of those that a map was fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentmap.model.affinities import affinities
from latentmap.model.networks import Network
from latentmap.model.part import Sizes, whole

NEIGHBORS, PERPLEXITY = 15, 3.0
"""Landmarks among which a row is placed, and the perplexity of their weights."""
SAME = 1e-8
"""Squared distance to a landmark, relative to that of the last neighbour, up to which a row is the landmark itself."""
ITERATIONS = 30
"""Steps towards the geometric median."""
DISTANCES = 2**22
"""Distances that are held at a time."""
MOST_LANDMARKS = 2**20


@dataclass(frozen=True)
class Placement(Network):
    r"""Another network as encoder, with means of rows placed among the codes of the landmarks that resemble them.

    .. math:: \mu(x) = \arg\min_z \sum_{j \in \mathcal{N}(x)} p_{j|x} \, \|z - \mu_j\|

    with the affinities p of a row to its nearest landmarks, of perplexity 3, and the means of these by the network:
    their geometric median, which lies with the most of them where a map is torn between neighbours (openTSNE starts new
    rows at the median of their neighbours, Policar et al. 2019). An encoder alone is smooth, and takes rows that are
    nearly landmarks off their places. In training the network is as it is; a fit of a map makes landmarks of its rows
    at its end.

    Parameters
    ----------
    network : Network
        The encoder.
    landmarks : int
        Number of landmarks.
    components : int, optional
        Principal components in which distances are taken; None takes all columns.

    Examples
    --------
    >>> from latentmap.model.networks import MLP
    >>> Placement(MLP((8,)), landmarks=10).encoder(Sizes((3,), 2), out=4)(torch.zeros(5, 3)).shape
    torch.Size([5, 4])
    """

    network: Network
    landmarks: int
    components: int | None = None

    def __post_init__(self) -> None:
        whole("landmarks", self.landmarks, most=MOST_LANDMARKS)
        if self.components is not None:
            whole("components", self.components)

    def encoder(self, sizes: Sizes, out: int) -> nn.Module:
        """Return the network's encoder, with placed means."""
        encoder = self.network.encoder(sizes, out)
        return PlacedEncoder(encoder, sizes.features, sizes.latent, self.landmarks, self.components)

    def decoder(self, sizes: Sizes, heads: int) -> nn.Module:
        """Return the network's decoder."""
        return self.network.decoder(sizes, heads)


class PlacedEncoder(nn.Module):
    """Rows (B, P) to the means that landmarks give them, and the other numbers of an encoder."""

    centre: Tensor
    axes: Tensor
    landmarks: Tensor
    codes: Tensor

    def __init__(
        self, encoder: nn.Module, features: int, latent: int, landmarks: int, components: int | None = None
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.projected = components is not None
        self.register_buffer("centre", torch.zeros(features, dtype=torch.float64))
        if components is not None:
            self.register_buffer("axes", torch.zeros(features, components, dtype=torch.float64))
        columns = features if components is None else components
        self.register_buffer("landmarks", torch.zeros(landmarks, columns, dtype=torch.float64))
        self.register_buffer("codes", torch.zeros(landmarks, latent, dtype=torch.float64))

    @torch.no_grad()
    def place(self, rows: Float[Tensor, "L P"], centre: Float[Tensor, " P"], axes: Float[Tensor, "P C"]) -> None:
        """Make landmarks of rows: in these principal components, if distances are taken in some."""
        self.centre.copy_(centre)
        if self.projected:
            self.axes.copy_(axes)
        size = max(1, DISTANCES // rows.shape[1])
        self.landmarks.copy_(torch.cat([self._projected(some) for some in rows.split(size)]))
        mode = self.encoder.training
        self.encoder.eval()
        latent, dtype = self.codes.shape[1], next(self.encoder.parameters(), self.codes).dtype
        self.codes.copy_(torch.cat([self.encoder(some.to(dtype))[:, :latent] for some in rows.split(size)]))
        self.encoder.train(mode)

    def forward(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B H"]:
        """Return placed means, and the other numbers; in training all numbers of the encoder."""
        raw: Tensor = self.encoder(x)
        if self.training or x.device.type == "meta":
            return raw
        with torch.autocast(x.device.type, enabled=False):  # differences of near rows need all digits
            size = max(1, DISTANCES // len(self.landmarks))
            means = torch.cat([self._means(some) for some in self._projected(x).split(size)]) if len(x) else raw[:, :0]
        latent = self.codes.shape[1]
        return torch.cat([means.to(raw.dtype), raw[:, latent:]], -1) if len(x) else raw

    def _projected(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B C"]:
        rows = x.double() - self.centre
        return rows @ self.axes if self.projected else rows

    def _means(self, rows: Float[Tensor, "B C"]) -> Float[Tensor, "B D"]:
        near = torch.cdist(rows, self.landmarks).topk(min(NEIGHBORS, len(self.landmarks)), largest=False)
        squares = near.values.square()
        codes = self.codes[near.indices]  # (B, k, D)
        itself = squares[:, :1] <= SAME * squares[:, -1:]
        weights = affinities(squares, min(PERPLEXITY, squares.shape[1]))
        return torch.where(itself, codes[:, 0], geometric_median(codes, weights))


def geometric_median(points: Float[Tensor, "B k D"], weights: Float[Tensor, "B k"]) -> Float[Tensor, "B D"]:
    r"""Return the place with the least weighted sum of distances to some points (Weiszfeld 1937).

    >>> points = torch.tensor([[[0.0], [0.0], [10.0]]], dtype=torch.float64)
    >>> geometric_median(points, torch.full((1, 3), 1 / 3)).abs().item() < 1e-4
    True
    """
    median = (weights[..., None] * points).sum(1)
    spread = (points - median[:, None]).norm(dim=2).amax(1, keepdim=True)
    least = (1e-6 * spread).clamp_min(torch.finfo(points.dtype).tiny)
    for _ in range(ITERATIONS):
        pull = weights / torch.maximum((points - median[:, None]).norm(dim=2), least)
        median = (pull[..., None] * points).sum(1) / pull.sum(1, keepdim=True)
    return median
