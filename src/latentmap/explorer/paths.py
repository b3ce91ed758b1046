"""Ways between two codes: straight, and along the density of the codes, around its holes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

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
POINTS = 3
"""Points of a step at which the density counts."""
BRIDGES, LONG = 5, 9
"""Steps between groups of codes that are not neighbours, and points of each at which the density counts."""
HOLE = 10
"""How many times as much a step costs in a hole."""
FINE = 16
"""Points of a way for each that is returned, before it is smoothed."""
WIDTHS = (0.08, 0.04, 0.02, 0.01, 0.0)
"""Widths of the kernel that smooths a way, as shares of its length."""


class Ways:
    r"""Ways between codes on which the density is high.

    The shortest path over the neighbour graph of the codes, with the length of a step divided by the density there,

    .. math:: c_{ij} = |z_i - z_j| \, q((z_i + z_j) / 2)^{-1/d},

    so that a step costs as many of the distances between codes as are usual there (Bousquet et al. 2003), and ten times
    that in a hole; cut into steps of equal length, and smoothed as far as that leads through no more holes. The
    straight way is taken where it has fewer of them.

    Parameters
    ----------
    density : CodeDensity
        The density of the codes.
    codes : ndarray of shape (n, d)
        Codes that ways lead over; some of them if they are many.
    onto : callable, default=np.asarray
        Returns codes on the space of the model, nearest to those that are off it.
    """

    def __init__(
        self,
        density: CodeDensity,
        codes: Float[np.ndarray, "n d"],
        onto: Callable[[NDArray[Any]], NDArray[np.float64]] = np.asarray,
    ) -> None:
        self.density = density
        self.codes = codes[sample_rows(len(codes), NODES)]
        self.onto = onto

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
        costs = self._costs(nodes[first], nodes[second], POINTS)
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
        corners = nodes[order[::-1]]
        ways = [*(_smoothed(corners, n, width) for width in WIDTHS), np.linspace(start, stop, n)]
        return min(map(self.onto, ways), key=self._holes)  # the smoothest of those that are equal

    def _holes(self, way: NDArray[np.float64]) -> tuple[int, int]:
        """Return how many codes of a way lie in holes, and how many codes between them."""
        fine = self.onto(_even(way, FINE * len(way)))
        few, many = (int(np.sum(self.density(one) < self._least)) for one in (way, fine))
        return few, many

    @property
    def _least(self) -> float:
        return -np.inf if self.density.least is None else self.density.least

    def _costs(self, a: NDArray[np.float64], b: NDArray[np.float64], points: int) -> NDArray[np.float64]:
        """Return the costs of steps, with the density at so many points of each."""
        t = (np.arange(points)[:, None, None] + 0.5) / points
        log_q = self.density(self.onto(((1 - t) * a + t * b).reshape(-1, a.shape[1]))).reshape(points, len(a))
        rarer = np.exp(-np.clip((log_q - self._middle) / a.shape[1], -50, 50))
        rarer = (rarer * np.where(log_q < self._least, HOLE, 1)).mean(0)
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


def _smoothed(corners: NDArray[np.float64], n: int, width: float) -> Float[np.ndarray, "n d"]:
    """Return n points in equal steps on a line from the first to the last corner, smoothed by a kernel of this width.

    >>> _smoothed(np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]), 3, 0.08).round(3).tolist()
    [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]
    """
    from scipy.ndimage import gaussian_filter1d

    fine = _even(corners, FINE * n)
    if width == 0:
        return _even(fine, n)
    straight = np.linspace(0, 1, len(fine))[:, None] * (fine[-1] - fine[0]) + fine[0]
    bent = gaussian_filter1d(fine - straight, width * len(fine), axis=0, mode="mirror")
    ends = np.minimum(1, np.minimum(np.arange(len(fine)), np.arange(len(fine))[::-1]) / (2 * width * len(fine)))
    return _even(straight + bent * ends[:, None], n)


def _even(line: NDArray[np.float64], n: int) -> Float[np.ndarray, "n d"]:
    """Return n points in equal steps on a line through points."""
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    at = np.concatenate([[0.0], np.cumsum(steps)])
    if not at[-1] > 0:
        return np.repeat(line[:1], n, axis=0)
    wanted = np.linspace(0, at[-1], n)
    return np.stack([np.interp(wanted, at, component) for component in line.T], axis=1)
