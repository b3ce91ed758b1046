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


def neighbor_graph(
    x: Float[Tensor, "N P"], k: int, metric: Metric = "euclidean", *, queries: Float[Tensor, "M P"] | None = None
) -> Int[Tensor, "M k"]:
    """Give the k nearest other rows of each row, or of each query, nearest first.

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
    if metric == "cosine":
        x = torch.nn.functional.normalize(x, dim=1)
        queries = None if queries is None else torch.nn.functional.normalize(queries, dim=1)
    centre, axes = principal_axes(x, COMPONENTS)
    points = (x - centre) @ axes
    asked = points if queries is None else (queries - centre) @ axes
    squares = points.square().sum(1)
    found = [torch.empty(0, k, dtype=torch.long, device=x.device)]
    for start, block in enumerate(asked.split(size := max(1, BLOCK // len(points)))):
        distances = torch.addmm(squares, block, points.T, alpha=-2)  # (b, N), up to the row's own square
        if queries is None:
            rows = torch.arange(len(block), device=x.device)
            distances[rows, start * size + rows] = torch.inf
        found.append(distances.topk(k, largest=False).indices)
    return torch.cat(found)


def principal_axes(x: Float[Tensor, "N P"], n: int) -> tuple[Float[Tensor, " P"], Float[Tensor, "P C"]]:
    """Give the mean of rows and their n leading principal axes, or all axes where there are no more.

    By subspace iteration (Halko, Martinsson and Tropp 2011), which does not slow down with the square of the columns.
    """
    centre = x.mean(0)
    if x.shape[1] <= n:
        return centre, torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):
        torch.manual_seed(0)
        _, _, axes = torch.svd_lowrank(x - centre, q=min(n + 10, *x.shape), niter=4)
    return centre, axes[:, :n]
