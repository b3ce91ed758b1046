"""Clusters of a map: its dense regions, by HDBSCAN."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int

from latentmap.evaluation.nearest import Nearest
from latentmap.evaluation.rows import as_vectors, sample_rows
from latentmap.exceptions import DataError

MOST_ROWS = 20_000
"""Codes that are clustered, at the most; the others join the cluster of the nearest of them."""
FRACTION, LEAST = 1 / 100, 15
"""Size of the smallest cluster, as a fraction of the codes and in codes."""


def clusters(Z: Any, min_size: int | None = None, random_state: int = 0) -> Int[np.ndarray, " n"]:
    """Return the cluster of each code by HDBSCAN: 0 for the largest, -1 for codes in none.

    Of more than 20,000 codes a sample is clustered, and the others join the cluster of the nearest code of the sample.

    Parameters
    ----------
    Z : array-like of shape (n, d)
        Codes.
    min_size : int, optional
        Number of codes in the smallest cluster; by default a 100th of the codes, and 15 at least.
    random_state : int, default=0
        Seed of the sample.

    Returns
    -------
    ndarray of int of shape (n,)
        Clusters, the largest first.

    Raises
    ------
    DataError
        If min_size is not a whole number from 2.

    References
    ----------
    Campello, Moulavi, Sander, Density-based clustering based on hierarchical density estimates, 2013.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> Z, group = make_blobs([200, 100], centers=[[0, 0], [9, 9]], random_state=0)
    >>> found = clusters(Z)
    >>> [int(np.median(found[group == i])) for i in (0, 1)]
    [0, 1]
    """
    from sklearn.cluster import HDBSCAN

    Z = as_vectors(Z, "Z")
    if min_size is not None and (not isinstance(min_size, int | np.integer) or min_size < 2):
        raise DataError(f"min_size must be a whole number >= 2, got {min_size!r}")
    size = max(LEAST, round(FRACTION * len(Z))) if min_size is None else int(min_size)
    if len(Z) < size:
        return np.full(len(Z), -1)
    kept = sample_rows(len(Z), MOST_ROWS, random_state)
    size = max(min(size, LEAST), round(size * len(kept) / len(Z)))
    found = HDBSCAN(min_cluster_size=size, copy=True).fit_predict(Z[kept])
    if len(kept) < len(Z):
        found = found[Nearest(Z[kept])(Z, 1)[1][:, 0]]
    names, counts = np.unique(found[found >= 0], return_counts=True)
    order = np.full(len(names) + 1, -1)  # its last entry is for codes in none
    order[names[np.argsort(-counts, kind="stable")]] = np.arange(len(names))
    return np.asarray(order[found])
