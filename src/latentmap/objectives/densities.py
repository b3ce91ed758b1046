"""Densities that a map keeps: local radii in the data and on the map, and how they agree."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

TINY, NONE = 1e-12, -27.0
"""Squared distance that counts as none, and its logarithm, rounded up."""


def log_radii(anchors: Float[Tensor, "B Q"], positives: Float[Tensor, "N Q"]) -> Float[Tensor, " B"]:
    r"""Return the logarithm of each anchor's mean squared distance to its positives, given view by view.

    .. math:: \log \Big( \frac1n \sum_j \|a_i - b_{ij}\|^2 \Big)

    >>> import torch
    >>> log_radii(torch.zeros(2, 1), torch.tensor([[1.0], [10.0], [1.0], [10.0]])).exp()
    tensor([  1.0000, 100.0000])
    """
    squares = (positives.unflatten(0, (-1, len(anchors))) - anchors).square().sum(-1)  # (n, B)
    radii: Tensor = squares.mean(0).clamp_min(TINY).log()
    return radii


def density_agreement(data: Float[Tensor, " B"], codes: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """Return Pearson's correlation of log radii in the data and on the map, without rows that equal their positives.

    It is 0 where either are all equal.

    >>> import torch
    >>> round(density_agreement(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 3.0, 5.0])).item(), 4)
    1.0
    """
    apart = (data > NONE).to(codes.dtype)
    count = apart.sum().clamp_min(1)

    def centred(radii: Tensor) -> Tensor:
        return (radii - (radii * apart).sum() / count) * apart

    agreement: Tensor = cosine_similarity(centred(data.to(codes.dtype)), centred(codes), dim=0)
    return agreement
