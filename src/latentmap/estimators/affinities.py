"""Affinities of a row to its neighbours, as t-SNE's: the nearer the stronger, by a perplexity."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from latentmap.objectives.metrics import set_distances

SEARCHED = 2
"""Neighbours that are searched for each one of the perplexity: beyond them affinities are small."""
SHARES = 32
"""Entries in which the affinities of a row are kept."""
BISECTIONS = 50
"""Halvings of the interval of a bandwidth."""
PAIRS = 2**24
"""Values of differences held at a time."""


def affinities(squares: Float[Tensor, "N k"], perplexity: float) -> Float[Tensor, "N k"]:
    r"""Return the affinities of rows to their neighbours (van der Maaten and Hinton 2008).

    .. math:: p_{j|i} \propto \exp(-\beta_i d_{ij}^2), \qquad
              \beta_i: \; -\sum_j p_{j|i} \log p_{j|i} = \log \text{perplexity}

    Neighbours that are all equally far have equal affinities, whatever the perplexity.

    Parameters
    ----------
    squares : Tensor of shape (N, k)
        Squared distances of each row to its neighbours.
    perplexity : float
        Number of neighbours, about; at most k.

    Examples
    --------
    >>> affinities(torch.tensor([[1.0, 1.0, 9.0]]), perplexity=2.0).round(decimals=2).abs().tolist()
    [[0.5, 0.5, 0.0]]
    """
    squares = squares.double()
    squares = squares - squares.amin(1, keepdim=True)  # no affinity vanishes for distance alone
    unit = squares.mean(1, keepdim=True)
    squares = torch.where(unit > 0, squares / unit, 0.0)
    low, high = torch.full_like(unit, -30.0), torch.full_like(unit, 30.0)  # of log beta, in the unit
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        logits = torch.log_softmax(-middle.exp() * squares, 1)
        entropy = -(logits.exp() * logits).sum(1, keepdim=True)
        wide = entropy > math.log(perplexity)
        low, high = torch.where(wide, middle, low), torch.where(wide, high, middle)
    return torch.softmax(-high.exp() * squares, 1)


def shares(neighbors: Int[Tensor, "N k"], weights: Float[Tensor, "N k"]) -> Int[Tensor, "N S"]:
    """Return the neighbours of each row, each as often among `SHARES` as its weight says.

    An entry that is drawn uniformly is so a neighbour drawn by its weight, to a share.

    >>> shares(torch.tensor([[7, 8, 9]]), torch.tensor([[0.5, 0.25, 0.25]])).unique(return_counts=True)[1].tolist()
    [16, 8, 8]
    """
    total = weights.cumsum(1)
    places = (torch.arange(SHARES, device=weights.device, dtype=weights.dtype) + 0.5) / SHARES
    chosen = torch.searchsorted(total, (places * total[:, -1:]).contiguous())
    return neighbors.gather(1, chosen.clamp_max(neighbors.shape[1] - 1))


def squared_distances(
    points: Float[Tensor, "N C"],
    neighbors: Int[Tensor, "M k"],
    queries: Float[Tensor, "M C"] | None = None,
    metric: str | Callable[..., float] = "euclidean",
) -> Float[Tensor, "M k"]:
    """Return the squared distances of points, or queries, to their neighbours among the points.

    As `latentmap.estimators.graph.neighbor_graph` compares them: by differences, as sets, or by a function.
    """
    rows = points if queries is None else queries
    size = max(1, PAIRS // max(1, neighbors.shape[1] * points.shape[1]))
    blocks = [
        _distances(points[near], some[:, None], metric)
        for some, near in zip(rows.split(size), neighbors.split(size), strict=True)
    ]
    return torch.cat(blocks).square() if blocks else torch.empty(neighbors.shape, device=points.device)


def _distances(a: Float[Tensor, "B k C"], b: Float[Tensor, "B 1 C"], metric: str | Callable[..., float]) -> Tensor:
    if callable(metric):
        pairs = zip(a.cpu().numpy(), b.cpu().numpy(), strict=True)
        values = [[metric(one, own[0]) for one in near] for near, own in pairs]
        return torch.tensor(values, dtype=torch.float64, device=a.device).reshape(a.shape[:2])
    if metric == "jaccard":
        return set_distances(a, b)[..., 0]
    return (a - b).square().sum(2).sqrt()
