"""Ways between two codes: straight, and along the density of the codes, around its holes."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from latentmap.evaluation.nearest import Nearest
from latentmap.evaluation.rows import sample_rows
from latentmap.explorer.density import CodeDensity

NODES = 2000
"""Codes that ways lead over, at the most."""
NEIGHBORS = 12
"""Codes that a way may lead on to."""
BRIDGES, LONG = 5, 9
"""Steps between groups of codes that are not neighbours, and points of each at which the density counts."""
FINE = 16
"""Points of a way for each that is returned, before it is smoothed."""
WIDTH = 0.08
"""Width of the kernel that smooths a way, as a share of its length."""


class Ways:
    r"""Ways between codes on which the density is high.

    The shortest path over the neighbour graph of the codes, with the length of a step divided by the density there,

    .. math:: c_{ij} = |z_i - z_j| \, q((z_i + z_j) / 2)^{-1/d},

    so that a step costs as many of the distances between codes as are usual there (Bousquet et al. 2003); smoothed, and
    cut into steps of equal length.

    Parameters
    ----------
    density : CodeDensity
        The density of the codes.
    codes : ndarray of shape (n, d)
        Codes that ways lead over; some of them if they are many.
    """

    def __init__(self, density: CodeDensity, codes: Float[np.ndarray, "n d"]) -> None:
        self.density = density
        self.codes = codes[sample_rows(len(codes), NODES)]

    @cached_property
    def _middle(self) -> float:
        """The median log-density, in which costs are counted."""
        return float(np.median(self.density(self.codes)))

    def along(self, start: NDArray[np.float64], stop: NDArray[np.float64], n: int) -> Float[np.ndarray, "n d"]:
        """Return n codes on the way between two, both included."""
        from scipy.sparse import csr_matrix
        from scipy.sparse.csgraph import connected_components, dijkstra

        nodes = np.vstack([start, stop, self.codes])
        k = min(NEIGHBORS + 1, len(nodes))  # each is the nearest of itself, a step that leads nowhere
        second = Nearest(nodes)(nodes, k)[1].ravel()
        first = np.repeat(np.arange(len(nodes)), k)
        costs = self._costs(nodes[first], nodes[second], 1)
        while True:
            graph = csr_matrix((costs, (first, second)), shape=(len(nodes),) * 2)
            _, islands = connected_components(graph, directed=False)
            if islands[0] == islands[1]:
                break
            begin, end = _bridges(nodes, islands)
            first, second = np.append(first, begin), np.append(second, end)
            costs = np.append(costs, self._costs(nodes[begin], nodes[end], LONG))
        before = dijkstra(graph, directed=False, indices=0, return_predecessors=True)[1]
        order = [1]
        while order[-1] != 0:
            order.append(int(before[order[-1]]))
        return _smoothed(nodes[order[::-1]], n)

    def _costs(self, a: NDArray[np.float64], b: NDArray[np.float64], points: int) -> NDArray[np.float64]:
        """Return the costs of steps, with the density at so many points of each."""
        t = (np.arange(points)[:, None, None] + 0.5) / points
        log_q = self.density(((1 - t) * a + t * b).reshape(-1, a.shape[1])).reshape(points, len(a)) - self._middle
        rarer = np.exp(-np.clip(log_q / a.shape[1], -50, 50)).mean(0)
        return np.asarray(np.linalg.norm(a - b, axis=1) * rarer + 1e-9)  # none costs nothing


def _bridges(nodes: NDArray[np.float64], islands: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the shortest steps from each group of connected nodes to the others."""
    begin, end = [], []
    for island in np.unique(islands):
        inside, outside = np.flatnonzero(islands == island), np.flatnonzero(islands != island)
        distances, nearest = Nearest(nodes[outside])(nodes[inside], 1)
        shortest = np.argsort(distances[:, 0], kind="stable")[:BRIDGES]
        begin.append(inside[shortest])
        end.append(outside[nearest[shortest, 0]])
    return np.concatenate(begin), np.concatenate(end)


def _smoothed(corners: NDArray[np.float64], n: int) -> Float[np.ndarray, "n d"]:
    """Return n points in equal steps on a smooth line from the first to the last corner.

    >>> _smoothed(np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]), 3).round(3).tolist()
    [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]
    """
    from scipy.ndimage import gaussian_filter1d

    fine = _even(corners, FINE * n)
    straight = np.linspace(0, 1, len(fine))[:, None] * (fine[-1] - fine[0]) + fine[0]
    bent = gaussian_filter1d(fine - straight, WIDTH * len(fine), axis=0, mode="mirror")
    ends = np.minimum(1, np.minimum(np.arange(len(fine)), np.arange(len(fine))[::-1]) / (2 * WIDTH * len(fine)))
    return _even(straight + bent * ends[:, None], n)


def _even(line: NDArray[np.float64], n: int) -> Float[np.ndarray, "n d"]:
    """Return n points in equal steps on a line through points."""
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    at = np.concatenate([[0.0], np.cumsum(steps)])
    if not at[-1] > 0:
        return np.repeat(line[:1], n, axis=0)
    wanted = np.linspace(0, at[-1], n)
    return np.stack([np.interp(wanted, at, component) for component in line.T], axis=1)
