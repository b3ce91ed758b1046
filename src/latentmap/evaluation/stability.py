"""Stability of a map: how far refits agree, with another seed or on other rows of the same distribution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from latentmap.evaluation.methods import Method
from latentmap.evaluation.rows import paired

__all__ = ["Stability", "procrustes_distance"]


@dataclass(frozen=True)
class Stability:
    """Distance between maps of refits of one method; 0 is agreement, 1 none.

    Parameters
    ----------
    method : str
        Title of the method.
    seeds : float or None
        Mean Procrustes distance between the maps of two fits with other seeds and splits, of the rows that both share;
        None where they share none.
    halves : float, optional
        Procrustes distance between the codes of new rows by fits to two halves of the training rows; None where it is
        not measured, or a method cannot embed new rows.
    """

    method: str
    seeds: float | None
    halves: float | None = None


def procrustes_distance(A: Any, B: Any) -> float:
    r"""Return the fraction of one map that no translation, rotation, reflection and scaling of the other explains.

    .. math:: 1 - \Bigl(\sum_i \sigma_i(A^\top B)\Bigr)^2, \qquad A, B \text{ centred, of norm } 1

    with the singular values sigma (Gower 1975).

    Parameters
    ----------
    A, B : array-like of shape (n, d)
        Two maps of the same rows.

    Returns
    -------
    float
        In [0, 1], and symmetric.

    Examples
    --------
    >>> A = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 1.0]])
    >>> procrustes_distance(A, 3 * A[:, ::-1] - 7), procrustes_distance(A, A**2) > 0.01
    (0.0, True)
    """
    a, b = paired(A, B)
    a, b = ((rows - rows.mean(0)) / max(np.linalg.norm(rows - rows.mean(0)), 1e-300) for rows in (a, b))
    return float(max(0.0, round(1 - np.linalg.svd(a.T @ b, compute_uv=False).sum() ** 2, 12)))


def between_maps(maps: Sequence[tuple[np.ndarray, np.ndarray]]) -> float | None:
    """Return the mean Procrustes distance between all pairs of maps, given with the places of their rows in the data.

    >>> map = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    >>> between_maps([(map, np.arange(4)), (map[::-1] + 5, np.arange(4)[::-1])])
    0.0
    """
    distances = []
    for (a, of_a), (b, of_b) in combinations(maps, 2):
        _, in_a, in_b = np.intersect1d(of_a, of_b, assume_unique=True, return_indices=True)
        if len(in_a) > a.shape[1] + 1:  # so few rows can always be moved onto each other
            distances.append(procrustes_distance(a[in_a], b[in_b]))
    return float(np.mean(distances)) if distances else None


def between_halves(make: Callable[[], Method], X: np.ndarray, X_new: np.ndarray, random_state: int) -> float | None:
    """Return the distance between the codes of new rows by fits to either half of the rows; None without codes."""
    order = np.random.default_rng(random_state).permutation(len(X))
    codes = []
    for half in np.array_split(order, 2):
        method = make()
        method.fit_map(X[np.sort(half)])
        codes.append(method.embed(X_new))
        if codes[0] is None:
            return None
    return procrustes_distance(*codes)
