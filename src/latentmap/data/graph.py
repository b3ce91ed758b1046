"""The neighbour graph: which rows lie near which."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from latentmap.exceptions import DataError

Metric = Literal["euclidean", "cosine"]

COMPONENTS = 50
"""Principal components in which distances are taken, at the most: they hold what matters, and cost less."""
BLOCK = {"cpu": 2**22, "cuda": 2**27}
"""Distances held at a time: on a processor, what stays in its cache."""
GROUP = 32
"""Distances of which only the least is looked at first."""
EXACT_ROWS = {"cpu": 200_000, "cuda": 4_000_000}
"""Rows up to which all distances are taken: some minutes' work."""
WIDTH = 64
"""Neighbours that are kept of each row of a graph that is given, at the most."""


def comparable(x: Float[Tensor, "N P"], metric: Metric) -> Float[Tensor, "N P"]:
    """Give rows whose Euclidean distances are in the order of this metric: of equal length where directions count.

    >>> comparable(torch.tensor([[3.0, 4.0]]), "cosine")
    tensor([[0.6000, 0.8000]])
    """
    if metric not in ("euclidean", "cosine"):
        raise DataError(f"metric must be 'euclidean' or 'cosine', got {metric!r}")
    return torch.nn.functional.normalize(x, dim=1) if metric == "cosine" else x


def neighbor_graph(
    x: Float[Tensor, "N P"], k: int, *, queries: Float[Tensor, "M P"] | None = None
) -> Int[Tensor, "M k"]:
    """Give the k nearest other rows of each row, or of each query, nearest first.

    Exact in the leading principal components, by blocked matrix products on the device of the rows: 2 N^2 x 50
    operations. Beyond `EXACT_ROWS` by nearest-neighbour descent (Dong et al. 2011; pynndescent), where that is
    installed. Among equal rows, any k count as the nearest.

    Raises
    ------
    DataError
        If there are not more than k rows.

    Examples
    --------
    >>> neighbor_graph(torch.tensor([[0.0], [1.0], [10.0], [12.0]]), k=1).tolist()
    [[1], [0], [3], [2]]
    """
    if len(x) <= k:
        raise DataError(f"expected more than {k} rows for {k} neighbours each, got {len(x)}; lower neighbors")
    project = projection(x)
    points = project(x)
    asked = points if queries is None else project(queries)
    if is_approximate(len(points), x.device.type):
        return _descend(points, k, None if queries is None else asked)
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


def is_approximate(rows: int, device: str) -> bool:
    """Whether neighbours among so many rows are approximate: more than `EXACT_ROWS`, and pynndescent is there.

    >>> is_approximate(60_000, "cpu")
    False
    """
    return rows > EXACT_ROWS.get(device, 0) and importlib.util.find_spec("pynndescent") is not None


@dataclass(frozen=True)
class Edges:
    """A neighbour graph that was given: the neighbours of row i are ``ends[starts[i]:starts[i + 1]]``, any number."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def read(cls, graph: Any, rows: int) -> Edges:
        """Read indices (n, k), a row each with its k neighbours, or a sparse matrix (n, n), whose entries are edges.

        A row's edge to itself is left out. The values of a matrix say nothing but that the edge is there, so that
        distances and affinities serve alike.

        Raises
        ------
        DataError
            If the graph is of another shape, names rows that there are not, or holds NaN, infinity or no edge.

        Examples
        --------
        >>> Edges.read(np.array([[1, 2], [0, 2], [2, 1]]), rows=3).ends.tolist()
        [1, 2, 0, 2, 1]
        """
        if sparse.issparse(graph):
            matrix = graph.tocsr()
            if matrix.shape != (rows, rows):
                raise DataError(f"a neighbour graph of {rows} rows is a matrix ({rows}, {rows}), got {matrix.shape}")
            if not np.isfinite(matrix.data).all():
                raise DataError("the neighbour graph holds NaN or infinity; leave those edges out")
            ends, degrees = matrix.indices.astype(np.int64), np.diff(matrix.indptr)
        else:
            array = np.asarray(graph)
            if array.ndim != 2 or len(array) != rows:
                raise DataError(f"a neighbour graph of {rows} rows has indices ({rows}, k), got shape {array.shape}")
            if not np.issubdtype(array.dtype, np.number) or not (array == np.floor(array)).all():
                raise DataError("the neighbour graph must hold whole numbers, the indices of rows; got other values")
            ends, degrees = array.astype(np.int64).ravel(), np.full(rows, array.shape[1])
            if len(ends) and not 0 <= ends.min() <= ends.max() < rows:
                low, high = ends.min(), ends.max()
                raise DataError(f"the neighbour graph names rows {low} to {high}, there are 0 to {rows - 1}")
        begins = np.repeat(np.arange(rows), degrees)
        begins, ends = begins[begins != ends], ends[begins != ends]
        if not len(ends):
            raise DataError("the neighbour graph has no edge between two rows; neighbors=None keeps no neighbours")
        return cls(np.searchsorted(begins, np.arange(rows + 1)), ends)

    def among(self, rows: NDArray[np.int64], others: NDArray[np.int64]) -> Int[Tensor, "M k"]:
        """Give the neighbours of some rows among others, by their place there, as an array.

        Rows with fewer neighbours than the others repeat theirs. One that has none here is its own neighbour, which
        pulls it nowhere: its own place, or -1 where it is not one of the others itself.

        >>> edges = Edges.read(np.array([[1, 2], [0, 2], [2, 1]]), rows=3)
        >>> edges.among(np.array([0, 2]), np.array([0, 2])).tolist()  # row 0 has 2 here, row 2 has none
        [[1], [1]]
        """
        place = np.full(len(self.starts) - 1, -1)
        place[others] = np.arange(len(others))
        kept = place[self.ends] >= 0
        ends, starts = place[self.ends[kept]], np.r_[0, np.cumsum(kept)][self.starts]
        degrees = np.diff(starts)[rows]
        columns = np.arange(width := int(np.clip(degrees.max(initial=1), 1, WIDTH)))
        spots = starts[rows][:, None] + columns * degrees[:, None] // width
        ends = np.r_[ends, -1]  # spots of rows without neighbours may lie behind the last
        return torch.from_numpy(np.where(degrees[:, None] > 0, ends[spots], place[rows][:, None]))


def with_classes(
    graph: Int[Tensor, "M k"],
    classes: NDArray[np.int64],
    others: NDArray[np.int64],
    share: float,
    seed: int,
) -> Int[Tensor, "M k"]:
    """Put any rows of the same class in the place of a share of each row's neighbours, the farthest of them.

    ``classes`` are those of the rows, ``others`` those of the rows that the graph names; -1 stands for none, and such
    rows keep their neighbours, as those do whose class no other has.

    >>> with_classes(torch.tensor([[1, 2], [0, 2], [1, 0]]), np.array([0, 1, 0]), np.array([0, 1, 0]), 0.5, 0).tolist()
    [[1, 2], [0, 1], [1, 0]]
    """
    found, columns = graph.cpu().numpy().copy(), round(share * graph.shape[1])
    rng = np.random.default_rng([seed, 0xC1A55])
    for name in np.unique(classes[classes >= 0]) if columns else ():
        mine, same = np.flatnonzero(classes == name), np.flatnonzero(others == name)
        if len(same):
            found[mine, graph.shape[1] - columns :] = rng.choice(same, (len(mine), columns))
    return torch.from_numpy(found).to(graph.device)


def _descend(points: Float[Tensor, "N C"], k: int, asked: Float[Tensor, "M C"] | None) -> Int[Tensor, "M k"]:
    """Neighbours by nearest-neighbour descent; a row's own place among them is left out."""
    from pynndescent import NNDescent

    index = NNDescent(points.cpu().numpy(), n_neighbors=max(k + 1, 15), random_state=0)
    if asked is not None:
        found = index.query(asked.cpu().numpy(), k)[0]
    else:
        near = index.neighbor_graph[0]
        itself = near == np.arange(len(near))[:, None]
        found = np.take_along_axis(near, np.argsort(itself, axis=1, kind="stable"), axis=1)[:, :k]
    return torch.from_numpy(found.astype(np.int64)).to(points.device)


def projection(rows: Float[Tensor, "N P"]) -> Callable[[Tensor], Tensor]:
    """Give the map from rows to the leading principal components of these, in which neighbours are sought."""
    centre, axes = principal_axes(rows, COMPONENTS)
    return lambda x: (x - centre) @ axes


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
