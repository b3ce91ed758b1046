"""Whether a map says the same when it is made again: with another seed, or from other rows of the same kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from latentmap.evaluation.methods import Method
from latentmap.evaluation.rows import paired


@dataclass(frozen=True)
class Stability:
    """How far maps of refits of one method are apart; 0 is agreement, 1 none.

    Attributes
    ----------
    method : str
        Its title.
    seeds : float
        Mean Procrustes distance between maps of the same rows by two seeds.
    halves : float or None
        Procrustes distance between the places of new rows on the maps of two halves of the others; None where a method
        cannot place new rows.
    """

    method: str
    seeds: float
    halves: float | None


def procrustes_distance(A: Any, B: Any) -> float:
    r"""Give the share of one map that no shift, turn, reflection and change of size of the other explains.

    .. math:: 1 - \Bigl(\sum_i \sigma_i(A^\top B)\Bigr)^2, \qquad A, B \text{ centred, of norm } 1

    with the singular values sigma (Gower 1975). It lies between 0 and 1, and is symmetric.

    Parameters
    ----------
    A, B : arrays of shape (n, d)
        Two maps of the same rows.

    Examples
    --------
    >>> A = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 1.0]])
    >>> procrustes_distance(A, 3 * A[:, ::-1] - 7), procrustes_distance(A, A**2) > 0.01
    (0.0, True)
    """
    a, b = paired(A, B)
    a, b = ((rows - rows.mean(0)) / max(np.linalg.norm(rows - rows.mean(0)), 1e-300) for rows in (a, b))
    return float(max(0.0, round(1 - np.linalg.svd(a.T @ b, compute_uv=False).sum() ** 2, 12)))


def between_maps(maps: Sequence[np.ndarray]) -> float:
    """Mean Procrustes distance between the maps of all pairs of refits."""
    return float(np.mean([procrustes_distance(a, b) for a, b in combinations(maps, 2)]))


def between_halves(make: Callable[[], Method], X: np.ndarray, X_new: np.ndarray, random_state: int) -> float | None:
    """Fit to each half of the rows, and give the distance between the places of new rows; None without such."""
    order = np.random.default_rng(random_state).permutation(len(X))
    placed = []
    for half in np.array_split(order, 2):
        method = make()
        method.fit_map(X[np.sort(half)])
        placed.append(method.embed(X_new))
        if placed[0] is None:
            return None
    return procrustes_distance(*placed)
