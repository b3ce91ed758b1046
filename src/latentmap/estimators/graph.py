"""Nearest-neighbour graphs of rows."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from latentmap.exceptions import DataError
from latentmap.model.nearest import block_size, nearest
from latentmap.objectives.metrics import set_distances

EXACT_ROWS = {"cpu": 200_000, "cuda": 4_000_000}
"""Rows up to which all distances are taken: some minutes' work."""
PAIRS = 2**24
"""Values of differences held at a time."""
WIDTH = 64
"""Neighbours that are kept of each row of a graph that is given, at the most."""


def neighbor_graph(
    x: Float[Tensor, "N P"],
    k: int,
    *,
    queries: Float[Tensor, "M P"] | None = None,
    metric: str | Callable[..., float] = "euclidean",
) -> Int[Tensor, "M k"]:
    """Return the k nearest other rows of each row, or of each query, nearest first.

    Exact, however far groups of rows lie apart (see `nearest`), on the device of the rows: 2 N^2 P operations. Beyond
    `EXACT_ROWS` by nearest-neighbour descent (Dong et al. 2011; pynndescent), where that is installed. Among equal
    rows, any k count as the nearest. Rows are compared by Euclidean distance, as sets where the metric is "jaccard", or
    by a function, which is called with each pair of rows.

    Raises
    ------
    DataError
        If there are not more than k rows, or a function returns distances that are negative or not finite.

    Examples
    --------
    >>> neighbor_graph(torch.tensor([[0.0], [1.0], [10.0], [12.0]]), k=1).tolist()
    [[1], [0], [3], [2]]
    """
    if len(x) <= k:
        raise DataError(f"expected more than {k} rows for {k} neighbours each, got {len(x)}; lower neighbors")
    if callable(metric):
        return _by_function(x, k, queries, metric)
    if is_approximate(len(x), x.device.type):
        return _descend(x, k, queries, "jaccard" if metric == "jaccard" else "euclidean")
    return (nearest_sets if metric == "jaccard" else nearest)(x, k, queries)


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

        Indices may come with their distances. Matrices are scipy's or torch's. A row's edge to itself is left out. The
        values of a matrix say nothing but that the edge is there, so that distances and affinities serve alike.

        Raises
        ------
        DataError
            If the graph is of another shape, names rows that there are not, or holds NaN, infinity or no edge.

        Examples
        --------
        >>> Edges.read(np.array([[1, 2], [0, 2], [2, 1]]), rows=3).ends.tolist()
        [1, 2, 0, 2, 1]
        """
        if isinstance(graph, tuple):
            graph = _indices(graph)
        if isinstance(graph, Tensor) and graph.layout != torch.strided:
            graph = _scipy(graph)
        if sparse.issparse(graph):
            matrix = graph.tocsr()
            if matrix.shape != (rows, rows):
                raise DataError(f"a neighbour graph of {rows} rows is a matrix ({rows}, {rows}), got {matrix.shape}")
            if not np.isfinite(matrix.data).all():
                raise DataError("the neighbour graph holds NaN or infinity; leave those edges out")
            if matrix.data.min(initial=0) < 0:
                raise DataError(f"the neighbour graph holds {matrix.data.min():g}, expected distances or weights >= 0")
            ends, degrees = matrix.indices.astype(np.int64), np.diff(matrix.indptr)
        else:
            array = np.asarray(graph.cpu() if isinstance(graph, Tensor) else graph)
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
        """Return the neighbours of some rows among others, by their place there, as an array.

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


def _indices(graph: tuple[Any, ...]) -> NDArray[Any]:
    """Return the indices of (indices, distances) or, as ``kneighbors`` of scikit-learn has them, (distances, indices).

    An index of -1 at an infinite distance, which UMAP writes for none, becomes the row's own.
    """
    expected = "neighbors=(indices, distances) takes two arrays (n, k)"
    if len(graph) != 2:
        raise DataError(f"{expected}, got {len(graph)}")
    arrays = [np.asarray(one.cpu() if isinstance(one, Tensor) else one) for one in graph]
    whole = [np.issubdtype(one.dtype, np.integer) for one in arrays]
    shapes = [one.shape for one in arrays]
    if shapes[0] != shapes[1] or arrays[0].ndim != 2:
        raise DataError(f"{expected}, got shapes {shapes[0]} and {shapes[1]}")
    if not any(whole):
        raise DataError(f"{expected}, got {arrays[0].dtype} and {arrays[1].dtype}: indices are whole numbers")
    indices, distances = arrays if whole[0] else arrays[::-1]
    none = (indices == -1) & (distances == np.inf)
    if not np.isfinite(distances[~none]).all() or distances.min(initial=0) < 0:
        raise DataError("the distances of neighbors=(indices, distances) must be numbers >= 0; got others")
    return np.where(none, np.arange(len(indices))[:, None], indices)


def _scipy(graph: Tensor) -> sparse.csr_array:
    """Return a sparse matrix of torch as one of scipy."""
    matrix = graph.detach().cpu().to_sparse_coo().coalesce()
    return sparse.csr_array((matrix.values().numpy(), tuple(matrix.indices().numpy())), shape=tuple(matrix.shape))


def with_classes(
    graph: Int[Tensor, "M k"],
    classes: NDArray[np.int64],
    others: NDArray[np.int64],
    fraction: float,
    seed: int,
) -> Int[Tensor, "M k"]:
    """Replace a fraction of each row's neighbours, the farthest of them, by any rows of the same class.

    ``classes`` are those of the rows, ``others`` those of the rows that the graph names; -1 stands for none, and such
    rows keep their neighbours, as those do whose class no other has.

    >>> with_classes(torch.tensor([[1, 2], [0, 2], [1, 0]]), np.array([0, 1, 0]), np.array([0, 1, 0]), 0.5, 0).tolist()
    [[1, 2], [0, 1], [1, 0]]
    """
    replaced, columns = graph.cpu().numpy().copy(), round(fraction * graph.shape[1])
    rng = np.random.default_rng([seed, 0xC1A55])
    for name in np.unique(classes[classes >= 0]) if columns else ():
        mine, same = np.flatnonzero(classes == name), np.flatnonzero(others == name)
        if len(same):
            replaced[mine, graph.shape[1] - columns :] = rng.choice(same, (len(mine), columns))
    return torch.from_numpy(replaced).to(graph.device)


def _by_function(
    points: Float[Tensor, "N C"], k: int, queries: Float[Tensor, "M C"] | None, metric: Callable[..., float]
) -> Int[Tensor, "M k"]:
    """Neighbours by a function of two rows, which is called for every pair."""
    from sklearn.neighbors import NearestNeighbors

    if queries is not None and not len(queries):
        return torch.empty(0, k, dtype=torch.long, device=points.device)
    rows = points.cpu().numpy()
    one = metric(rows[0], rows[1])
    if np.ndim(one) != 0 or np.asarray(one).dtype.kind not in "biuf":
        raise DataError(f"metric returned {str(one)!r:.40} for two rows, expected their distance, a number >= 0")
    search = NearestNeighbors(n_neighbors=k, metric=metric, algorithm="brute").fit(rows)
    distances, neighbors = search.kneighbors(None if queries is None else queries.cpu().numpy())
    if not np.isfinite(distances).all() or distances.min(initial=0) < 0:
        raise DataError(f"metric returned {distances[~(distances >= 0)].min():g}, expected distances, numbers >= 0")
    return torch.from_numpy(neighbors.astype(np.int64)).to(points.device)


def _descend(
    points: Float[Tensor, "N C"], k: int, queries: Float[Tensor, "M C"] | None, metric: str
) -> Int[Tensor, "M k"]:
    """Neighbours by nearest-neighbour descent, which takes differences; a row's own place among them is left out."""
    from pynndescent import NNDescent

    centre, unit = points.median(0).values, float((points.amax(0) - points.amin(0)).max()) or 1.0
    if metric == "jaccard":
        centre, unit = torch.zeros_like(centre), 1.0

    def single(x: Tensor) -> NDArray[np.float32]:
        return ((x - centre) / unit).float().cpu().numpy()

    threads = torch.get_num_threads()  # which numba sets for OpenMP, and so for torch
    index = NNDescent(single(points), n_neighbors=max(k + 1, 15), metric=metric, random_state=0)
    torch.set_num_threads(threads)
    if queries is not None:
        neighbors = index.query(single(queries), k)[0]
    else:
        every = index.neighbor_graph[0]
        itself = every == np.arange(len(every))[:, None]
        neighbors = np.take_along_axis(every, np.argsort(itself, axis=1, kind="stable"), axis=1)[:, :k]
    return torch.from_numpy(neighbors.astype(np.int64)).to(points.device)


def squared_distances(
    points: Float[Tensor, "N C"],
    neighbors: Int[Tensor, "M k"],
    queries: Float[Tensor, "M C"] | None = None,
    metric: str | Callable[..., float] = "euclidean",
) -> Float[Tensor, "M k"]:
    """Return the squared distances of points, or queries, to their neighbours among the points.

    As `neighbor_graph` compares them: by differences, as sets, or by a function.
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


def nearest_sets(
    points: Float[Tensor, "N C"], k: int, queries: Float[Tensor, "M C"] | None = None
) -> Int[Tensor, "M k"]:
    """Return the k nearest other sets of each set, or of each query, by Jaccard's distance, nearest first.

    Sets are rows of zeros and ones, whose products are exact.

    >>> nearest_sets(torch.tensor([[1, 1, 0], [0, 1, 1], [1, 0, 0]]), k=1).tolist()
    [[2], [0], [0]]
    """
    points = points.float()
    others = points if queries is None else queries.float()
    found = []
    for rows in torch.arange(len(others), device=points.device).split(block_size(points)):
        distances = set_distances(others[rows], points)
        if queries is None:
            distances.scatter_(1, rows[:, None], torch.inf)
        found.append(distances.topk(k, largest=False).indices)
    return torch.cat(found) if found else torch.empty(0, k, dtype=torch.long, device=points.device)
