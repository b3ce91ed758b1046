"""Search for nearest points from several threads at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

TREE = 15
"""Dimensions up to which a tree is faster than all distances."""


class Nearest:
    """Euclidean search for the nearest of some points.

    `sklearn.neighbors.NearestNeighbors` asks a tree through `sklearn.utils.parallel`, which resets the filters of
    warnings of the whole process for the while, so that two threads at once warn; here the tree is asked itself.

    Parameters
    ----------
    points : ndarray of shape (n, d)
        Points.

    Examples
    --------
    >>> distances, indices = Nearest(np.array([[0.0], [1.0], [5.0]]))(np.array([[2.0]]), 2)
    >>> distances.tolist(), indices.tolist()
    ([[1.0, 2.0]], [[1, 0]])
    """

    def __init__(self, points: NDArray[Any]) -> None:
        from sklearn.neighbors import KDTree, NearestNeighbors

        tree = points.shape[1] <= TREE
        self._search: Any = KDTree(points).query if tree else NearestNeighbors(algorithm="brute").fit(points).kneighbors

    def __call__(self, queries: NDArray[Any], k: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Return distances to the k nearest points and their indices, (m, k) both, the nearest first."""
        distances, indices = self._search(queries, k)
        return distances, indices
