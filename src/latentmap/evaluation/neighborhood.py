"""Preservation of neighbourhoods and distances by a map; every function takes arrays.

Measures of quadratic cost use a seeded sample of at most `max_rows` rows. A sample is sparser than the whole, so values
compare between maps of the same rows, not between samples of different sizes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from latentmap.evaluation.rows import as_vectors, centred, paired, sample_rows, squared_distances
from latentmap.exceptions import DataError

BLOCK = 2**24
"""Number of distances computed at a time."""


def neighbor_accuracy(Z: Any, y: Any, Z_new: Any = None, y_new: Any = None, n_neighbors: int = 10) -> float:
    """Return the accuracy of the majority label of the nearest neighbours on the training map.

    Parameters
    ----------
    Z, y : array-like of shape (n, k) and (n,)
        Map and labels of the training rows.
    Z_new, y_new : array-like of shape (m, k) and (m,), optional
        Map and labels of held-out rows; without them each training row is judged by the others.
    n_neighbors : int, default=10
        Number of neighbours, of equal weight; distances are Euclidean.

    Returns
    -------
    float
        In [0, 1]; an uninformative map reaches the fraction of the most frequent class.

    Raises
    ------
    DataError
        If there are fewer training rows than neighbours.

    Examples
    --------
    >>> Z = np.repeat([[0.0], [1.0]], 5, axis=0)
    >>> neighbor_accuracy(Z, Z[:, 0] > 0.5, [[0.1], [0.9]], [False, True], n_neighbors=3)
    1.0
    """
    from sklearn.neighbors import KNeighborsClassifier

    Z = as_vectors(Z, "Z")
    _check_neighbors(n_neighbors, len(Z) - (Z_new is None))
    Z_new, Z = (None, *centred(Z)) if Z_new is None else centred(as_vectors(Z_new, "Z_new"), Z)
    vote = KNeighborsClassifier(n_neighbors).fit(Z, np.asarray(y))
    return float(vote.score(Z_new, np.asarray(y if Z_new is None else y_new)))  # None: each row without itself


def trustworthiness(X: Any, Z: Any, n_neighbors: int = 5, *, max_rows: int = 3000, random_state: int = 0) -> float:
    r"""Return the trustworthiness: how far neighbours on the map are neighbours in the data.

    .. math:: 1 - \frac{2}{nk(2n-3k-1)} \sum_i \sum_{j \in N_k^Z(i)} \max(0, r^X(i,j) - k)

    where r^X(i, j) is the rank of row j among the neighbours of row i in the data, and N_k^Z(i) are the k rows nearest
    to row i on the map.

    Parameters
    ----------
    X, Z : array-like of n rows
        The data and its map.
    n_neighbors : int, default=5
        The number k, less than half the rows used.
    max_rows : int, default=3000
        Size of the sample of a larger n.
    random_state : int, default=0
        Seed of the sample.

    Returns
    -------
    float
        In [0, 1]; 1 if every neighbour on the map is one in the data.

    Raises
    ------
    DataError
        If the numbers of rows differ, or `n_neighbors` is not less than half of them.

    References
    ----------
    Venna and Kaski, Neighborhood preservation in nonlinear projection methods, 2001.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> trustworthiness(X, X)
    1.0
    """
    X, Z = paired(X, Z)
    keep = sample_rows(len(X), max_rows, random_state)
    _check_neighbors(n_neighbors, (len(keep) - 1) // 2)
    return float(row_trust(neighbor_ranks(X[keep], Z[keep], n_neighbors), len(keep)).mean())


def neighbor_ranks(
    X: Any, Z: Any, n_neighbors: int, reference: tuple[Any, Any] | None = None
) -> Int[np.ndarray, "n k"]:
    """Return the ranks r^X(i, j) in the data of the neighbours j in N_k^Z(i) of each row on the map, nearest first.

    Parameters
    ----------
    X, Z : array-like of n rows
        The data and its map.
    n_neighbors : int
        The number k; ``ranks[:, :k]`` are the ranks for a smaller one.
    reference : pair of array-like of m rows, optional
        Data and map of the rows that are searched for neighbours; the other rows of X and Z if None.

    Returns
    -------
    ndarray of int of shape (n, k)
        1 for the nearest; rows at equal distance have the same, better rank.

    Examples
    --------
    >>> neighbor_ranks([[0.0], [1.0], [5.0]], [[0.0], [9.0], [1.0]], 2).tolist()
    [[2, 1], [2, 1], [2, 1]]
    """
    X, Z = paired(X, Z)
    searched = paired(*reference) if reference else (X, Z)
    _check_neighbors(n_neighbors, len(searched[0]) - (reference is None))
    ranks = np.empty((len(X), n_neighbors), dtype=np.int64)
    sides = [centred(a, b) for a, b in zip((X, Z), searched, strict=True)]
    for start in range(0, len(X), size := max(1, BLOCK // len(searched[0]))):
        in_data, on_map = (squared_distances(a[start : start + size], b) for a, b in sides)
        if reference is None:
            for distances in (in_data, on_map):
                np.fill_diagonal(distances[:, start:], np.inf)
        to_neighbors = np.take_along_axis(in_data, _nearest(on_map, n_neighbors), axis=1)
        in_data.sort(axis=1)
        for i, (row, values) in enumerate(zip(in_data, to_neighbors, strict=True), start):
            ranks[i] = 1 + np.searchsorted(row, values)
    return ranks


def row_trust(ranks: Int[np.ndarray, "n k"], rows: int) -> Float[np.ndarray, " n"]:
    r"""Return the term of each row in `trustworthiness`, which is their mean.

    .. math:: 1 - \frac{2}{k(2n-3k-1)} \sum_{j \in N_k^Z(i)} \max(0, r^X(i,j) - k)

    Parameters
    ----------
    ranks : ndarray of shape (n, k)
        As `neighbor_ranks` returns them.
    rows : int
        The number n in the equation: the rows that were searched for neighbours, and the row itself.

    Returns
    -------
    ndarray of shape (n,)
        Values in [0, 1].

    Examples
    --------
    >>> row_trust(np.array([[1, 2], [9, 8]]), rows=10)
    array([1., 0.])
    """
    k = ranks.shape[1]
    worst = k * (2 * rows - 3 * k - 1) / 2
    return np.asarray(1 - np.maximum(0, ranks - k).sum(axis=1) / worst)


def continuity(X: Any, Z: Any, n_neighbors: int = 5, *, max_rows: int = 3000, random_state: int = 0) -> float:
    """Return the continuity, which is `trustworthiness` with data and map exchanged.

    Parameters
    ----------
    X, Z : array-like of n rows
        The data and its map.
    n_neighbors, max_rows, random_state : int
        As for `trustworthiness`.

    Returns
    -------
    float
        In [0, 1]; 1 if every neighbour in the data is one on the map.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> continuity(X, X) > continuity(X, X[::-1])
    True
    """
    return trustworthiness(Z, X, n_neighbors, max_rows=max_rows, random_state=random_state)


def neighbor_recall(X: Any, Z: Any, n_neighbors: int = 15, *, max_rows: int = 5000, random_state: int = 0) -> float:
    r"""Return the mean fraction of each row's nearest neighbours in the data that are among its nearest on the map.

    .. math:: \frac{1}{nk} \sum_i |N_k^X(i) \cap N_k^Z(i)|

    Parameters
    ----------
    X, Z : array-like of n rows
        The data and its map.
    n_neighbors : int, default=15
        The number k, less than the rows used.
    max_rows : int, default=5000
        Size of the sample of a larger n.
    random_state : int, default=0
        Seed of the sample.

    Returns
    -------
    float
        In [0, 1]; k / (n - 1) for a random map.

    Raises
    ------
    DataError
        If the numbers of rows differ, or there are not more rows than neighbours.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> neighbor_recall(X, 2 * X, n_neighbors=5)
    1.0
    """
    X, Z = paired(X, Z)
    keep = sample_rows(len(X), max_rows, random_state)
    _check_neighbors(n_neighbors, len(keep) - 1)
    in_data, on_map = (_neighbors(rows[keep], n_neighbors) for rows in (X, Z))
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(in_data, on_map, strict=True)]))


def distance_rank_correlation(X: Any, Z: Any, *, max_rows: int = 1000, random_state: int = 0) -> float:
    r"""Return Spearman's rank correlation between the pairwise distances in the data and those on the map.

    .. math:: \rho(\{\|x_i - x_j\|\}_{i<j}, \{\|z_i - z_j\|\}_{i<j})

    A measure of global structure. It is not the "distance correlation" of Szekely et al., which tests dependence.

    Parameters
    ----------
    X, Z : array-like of n rows
        The data and its map; distances are Euclidean.
    max_rows : int, default=1000
        Size of the sample of a larger n.
    random_state : int, default=0
        Seed of the sample.

    Returns
    -------
    float
        In [-1, 1]; 0 for a random map.

    Raises
    ------
    DataError
        If the numbers of rows differ, there are fewer than three, or all distances on one side are equal.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(distance_rank_correlation(X, 2 * X), 6)
    1.0
    """
    from scipy.spatial.distance import pdist
    from scipy.stats import spearmanr

    X, Z = paired(X, Z)
    if len(X) < 3:
        raise DataError(f"a correlation of distances needs at least three rows, got {len(X)}")
    keep = sample_rows(len(X), max_rows, random_state)
    in_data, on_map = pdist(X[keep]), pdist(Z[keep])
    for name, distances in (("the data", in_data), ("the map", on_map)):
        if np.ptp(distances) == 0:
            raise DataError(f"all distances in {name} are equal: they have no order to correlate")
    return float(spearmanr(in_data, on_map).statistic)


def silhouette(Z: Any, y: Any, *, max_rows: int = 5000, random_state: int = 0) -> float:
    r"""Return the mean silhouette of labels on a map: how compact and separate the labelled groups are.

    .. math:: \frac{1}{n} \sum_i \frac{b_i - a_i}{\max(a_i, b_i)}

    where a_i is the mean distance of row i to its own group and b_i that to the nearest other group.

    Parameters
    ----------
    Z, y : array-like of shape (n, k) and (n,)
        A map and the labels of its rows.
    max_rows : int, default=5000
        Size of the sample of a larger n.
    random_state : int, default=0
        Seed of the sample.

    Returns
    -------
    float
        In [-1, 1]; 0 for groups that overlap.

    Raises
    ------
    DataError
        If the labels of the rows used are all alike, or all different.

    References
    ----------
    Rousseeuw, Silhouettes, 1987; computed by scikit-learn.

    Examples
    --------
    >>> round(silhouette([[0.0], [0.1], [9.0], [9.1]], [0, 0, 1, 1]), 2)
    0.99
    """
    from sklearn.metrics import silhouette_score

    Z = as_vectors(Z, "Z")
    keep = sample_rows(len(Z), max_rows, random_state)
    labels = np.asarray(y)[keep]
    n_groups = len(np.unique(labels))
    if not 1 < n_groups < len(labels):
        raise DataError(f"a silhouette needs 2 to {len(labels) - 1} groups among {len(labels)} rows, got {n_groups}")
    (Z,) = centred(Z[keep])
    return float(silhouette_score(Z, labels))


def _neighbors(rows: np.ndarray, n_neighbors: int) -> np.ndarray:
    (rows,) = centred(rows)
    indices = np.empty((len(rows), n_neighbors), dtype=np.int64)
    for start in range(0, len(rows), size := max(1, BLOCK // len(rows))):
        distances = squared_distances(rows[start : start + size], rows)
        np.fill_diagonal(distances[:, start:], np.inf)
        indices[start : start + size] = _nearest(distances, n_neighbors)
    return indices


def _nearest(distances: np.ndarray, k: int) -> np.ndarray:
    """Return the columns of the k smallest values of each row, smallest first."""
    few = np.argpartition(distances, k - 1, axis=1)[:, :k]
    order = np.argsort(np.take_along_axis(distances, few, axis=1), axis=1, kind="stable")
    return np.take_along_axis(few, order, axis=1)


def _check_neighbors(n_neighbors: int, most: int) -> None:
    if not 1 <= n_neighbors <= most:
        raise DataError(
            f"n_neighbors must be 1 to {most} for these rows, got {n_neighbors}: set a smaller number or pass more rows"
        )
