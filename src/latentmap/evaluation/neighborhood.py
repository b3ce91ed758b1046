"""How well a map keeps what is near near and what is far far; every function takes arrays.

Measures that cost the square of the rows are taken on a seeded sample of at most `max_rows` rows. A sample is sparser
than the whole, so values compare between maps of the same rows, not between samples of different sizes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from latentmap.evaluation.rows import as_vectors, centred, paired, sample_rows, squared_distances
from latentmap.exceptions import DataError

BLOCK = 2**24
"""Distances held at a time."""


def neighbor_accuracy(Z: Any, y: Any, Z_new: Any, y_new: Any, n_neighbors: int = 10) -> float:
    """Share of new rows whose label is the majority label of their nearest neighbours on the training map.

    Parameters
    ----------
    Z, y : arrays of shape (n, k) and (n,)
        The map of the training rows and their labels; the vote is fitted here.
    Z_new, y_new : arrays of shape (m, k) and (m,)
        The map of rows that the method never saw, and their labels; the vote is scored here.
    n_neighbors : int
        How many neighbours vote; each has one vote, distances are Euclidean.

    Returns
    -------
    float
        In [0, 1]; the share of the most frequent class is what an uninformative map reaches.

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

    Z, Z_new = as_vectors(Z, "Z"), as_vectors(Z_new, "Z_new")
    _check_neighbors(n_neighbors, len(Z))
    Z_new, Z = centred(Z_new, Z)
    vote = KNeighborsClassifier(n_neighbors).fit(Z, np.asarray(y))
    return float(vote.score(Z_new, np.asarray(y_new)))


def trustworthiness(X: Any, Z: Any, n_neighbors: int = 5, *, max_rows: int = 3000, random_state: int = 0) -> float:
    r"""Trustworthiness: how far neighbours on the map are neighbours in the data.

    .. math:: 1 - \frac{2}{nk(2n-3k-1)} \sum_i \sum_{j \in N_k^Z(i)} \max(0, r^X(i,j) - k)

    where r^X(i, j) is the rank of row j among the neighbours of row i in the data, and N_k^Z(i) are the k rows nearest
    to row i on the map.

    Parameters
    ----------
    X, Z : arrays of n rows
        The data and its map.
    n_neighbors : int
        k, less than half the rows used.
    max_rows, random_state : int
        A larger n is sampled down to `max_rows` rows with this seed.

    Returns
    -------
    float
        In [0, 1], 1 when every neighbour on the map is one in the data.

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
    """Ranks in the data of each row's nearest neighbours on the map, r^X(i, j) for j in N_k^Z(i), the nearest first.

    Parameters
    ----------
    X, Z : arrays of n rows
        The data and its map.
    n_neighbors : int
        k; one call with the largest serves all smaller ones, ``ranks[:, :k]``.
    reference : pair of arrays of m rows, optional
        Data and map of the rows that are searched for neighbours; the other rows among the n themselves if None.

    Returns
    -------
    array of shape (n, k)
        1 for the nearest; rows at equal distance share the better rank.

    Examples
    --------
    >>> neighbor_ranks([[0.0], [1.0], [5.0]], [[0.0], [9.0], [1.0]], 2).tolist()
    [[2, 1], [2, 1], [2, 1]]
    """
    X, Z = paired(X, Z)
    others = paired(*reference) if reference else (X, Z)
    _check_neighbors(n_neighbors, len(others[0]) - (reference is None))
    ranks = np.empty((len(X), n_neighbors), dtype=np.int64)
    sides = [centred(a, b) for a, b in zip((X, Z), others, strict=True)]
    for start in range(0, len(X), size := max(1, BLOCK // len(others[0]))):
        in_data, on_map = (squared_distances(a[start : start + size], b) for a, b in sides)
        if reference is None:
            for distances in (in_data, on_map):
                np.fill_diagonal(distances[:, start:], np.inf)
        near = _nearest(on_map, n_neighbors)
        sought = np.take_along_axis(in_data, near, axis=1)
        in_data.sort(axis=1)
        for i, (row, values) in enumerate(zip(in_data, sought, strict=True), start):
            ranks[i] = 1 + np.searchsorted(row, values)
    return ranks


def row_trust(ranks: Int[np.ndarray, "n k"], rows: int) -> Float[np.ndarray, " n"]:
    r"""Trust in the place of each row: its own term of `trustworthiness`, which is the mean of these.

    .. math:: 1 - \frac{2}{k(2n-3k-1)} \sum_{j \in N_k^Z(i)} \max(0, r^X(i,j) - k)

    Parameters
    ----------
    ranks : array of shape (n, k)
        Of `neighbor_ranks`.
    rows : int
        n in the equation: the rows among which neighbours were sought, and the row itself.

    Examples
    --------
    >>> row_trust(np.array([[1, 2], [9, 8]]), rows=10)
    array([1., 0.])
    """
    k = ranks.shape[1]
    worst = k * (2 * rows - 3 * k - 1) / 2
    return np.asarray(1 - np.maximum(0, ranks - k).sum(axis=1) / worst)


def continuity(X: Any, Z: Any, n_neighbors: int = 5, *, max_rows: int = 3000, random_state: int = 0) -> float:
    """Continuity: how far neighbours in the data are neighbours on the map.

    Trustworthiness with data and map exchanged; parameters, range, errors and source are those of `trustworthiness`.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> continuity(X, X) > continuity(X, X[::-1])
    True
    """
    return trustworthiness(Z, X, n_neighbors, max_rows=max_rows, random_state=random_state)


def neighbor_recall(X: Any, Z: Any, n_neighbors: int = 15, *, max_rows: int = 5000, random_state: int = 0) -> float:
    r"""Mean share of each row's nearest neighbours in the data that are among its nearest on the map.

    .. math:: \frac{1}{nk} \sum_i |N_k^X(i) \cap N_k^Z(i)|

    Parameters
    ----------
    X, Z : arrays of n rows
        The data and its map.
    n_neighbors : int
        k, less than the rows used.
    max_rows, random_state : int
        A larger n is sampled down to `max_rows` rows with this seed.

    Returns
    -------
    float
        In [0, 1]; a random map has k / (n - 1).

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
    r"""Spearman's rank correlation between the pairwise distances in the data and those on the map.

    .. math:: \rho(\{\|x_i - x_j\|\}_{i<j}, \{\|z_i - z_j\|\}_{i<j})

    A measure of global structure. It is not the "distance correlation" of Szekely et al., which tests dependence.

    Parameters
    ----------
    X, Z : arrays of n rows
        The data and its map; Euclidean distances.
    max_rows, random_state : int
        All pairs of a seeded sample of at most `max_rows` rows are used.

    Returns
    -------
    float
        In [-1, 1]; 0 for a map that has nothing of the data.

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
    r"""Mean silhouette of labels on a map: how tight and apart the labelled groups lie.

    .. math:: \frac{1}{n} \sum_i \frac{b_i - a_i}{\max(a_i, b_i)}

    where a_i is the mean distance of row i to its own group and b_i that to the nearest other group.

    Parameters
    ----------
    Z, y : arrays of shape (n, k) and (n,)
        A map and the labels of its rows.
    max_rows, random_state : int
        A larger n is sampled down to `max_rows` rows with this seed.

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
    found = np.empty((len(rows), n_neighbors), dtype=np.int64)
    for start in range(0, len(rows), size := max(1, BLOCK // len(rows))):
        distances = squared_distances(rows[start : start + size], rows)
        np.fill_diagonal(distances[:, start:], np.inf)
        found[start : start + size] = _nearest(distances, n_neighbors)
    return found


def _nearest(distances: np.ndarray, k: int) -> np.ndarray:
    """Columns of the k smallest values of each row, the smallest first."""
    few = np.argpartition(distances, k - 1, axis=1)[:, :k]
    order = np.argsort(np.take_along_axis(distances, few, axis=1), axis=1, kind="stable")
    return np.take_along_axis(few, order, axis=1)


def _check_neighbors(n_neighbors: int, most: int) -> None:
    if not 1 <= n_neighbors <= most:
        raise DataError(
            f"n_neighbors must be 1 to {most} for these rows, got {n_neighbors}: ask fewer or give more rows"
        )
