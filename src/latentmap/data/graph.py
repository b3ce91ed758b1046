"""The neighbour graph: which rows lie near which."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from latentmap.exceptions import DataError

Metric = Literal["euclidean", "cosine"]

COMPONENTS = 50
"""Principal components in which distances are taken, at the most: they hold what matters, and cost less."""
BLOCK = 2**26
"""Distances held at a time."""


def neighbor_graph(x: Float[Tensor, "N P"], k: int, metric: Metric = "euclidean") -> Int[Tensor, "N k"]:
    """Give the k nearest other rows of each row, nearest first.

    Exact in the leading principal components, by blocked matrix products on the device of the rows: 2 N^2 x 50
    operations. Among equal rows, any k count as the nearest.

    Raises
    ------
    DataError
        If there are not more than k rows.

    Examples
    --------
    >>> neighbor_graph(torch.tensor([[0.0], [1.0], [10.0], [12.0]]), k=1).tolist()
    [[1], [0], [3], [2]]
    """
    if metric not in ("euclidean", "cosine"):
        raise DataError(f"metric must be 'euclidean' or 'cosine', got {metric!r}")
    if len(x) <= k:
        raise DataError(f"expected more than {k} rows for {k} neighbours each, got {len(x)}; lower neighbors")
    points = torch.nn.functional.normalize(x, dim=1) if metric == "cosine" else x
    points = principal_components(points, COMPONENTS)
    squares = points.square().sum(1)
    size = max(1, BLOCK // len(points))
    found = []
    for start in range(0, len(points), size):
        block = points[start : start + size]
        distances = torch.addmm(squares, block, points.T, alpha=-2)  # (b, N), up to the row's own square
        rows = torch.arange(len(block), device=x.device)
        distances[rows, start + rows] = torch.inf
        found.append(distances.topk(k, largest=False).indices)
    return torch.cat(found)


def principal_components(x: Float[Tensor, "N P"], n: int) -> Float[Tensor, "N C"]:
    """Centre rows and turn them to their n leading axes, by descending variance."""
    centred = x - x.mean(0)
    if x.shape[1] <= n:
        return centred
    _, axes = torch.linalg.eigh((centred.T @ centred).double())
    leading: Tensor = axes[:, -n:].flip(1).to(x.dtype)
    return centred @ leading
