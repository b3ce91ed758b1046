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
BLOCK = {"cpu": 2**22, "cuda": 2**27}
"""Distances held at a time: on a processor, what stays in its cache."""
GROUP = 32
"""Distances of which only the least is looked at first."""


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
    n, size = len(points), max(1, BLOCK.get(x.device.type, 2**24) // len(points))
    distances = x.new_full((min(size, len(asked)), -(-n // GROUP) * GROUP), torch.inf)  # (b, N), N up to whole groups
    found = [torch.empty(0, k, dtype=torch.long, device=x.device)]
    for start in range(0, len(asked), size):
        block = asked[start : start + size]
        held = distances[: len(block)]
        torch.addmm(squares, block, points.T, alpha=-2, out=held[:, :n])  # up to the row's own square
        if queries is None:
            held.diagonal(start).fill_(torch.inf)
        found.append(_least(held, k))
    return torch.cat(found)


def _least(values: Float[Tensor, "B N"], k: int) -> Int[Tensor, "B k"]:
    """Find the k least of each row, least first: the groups with the least minima hold them."""
    groups = values.unflatten(1, (-1, GROUP))
    best = groups.amin(2).topk(min(k, groups.shape[1]), largest=False).indices  # (b, k)
    candidates = groups.gather(1, best[:, :, None].expand(-1, -1, GROUP)).flatten(1)  # (b, k GROUP)
    which = candidates.topk(k, largest=False).indices
    found: Tensor = best.gather(1, which // GROUP) * GROUP + which % GROUP
    return found


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
