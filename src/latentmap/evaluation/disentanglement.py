"""Disentanglement: how well single components of the codes match single factors of the data (MIG, SAP, DCI, FactorVAE).

Codes are an array (n, d), such as posterior means; factors are the ground truth of each row (n, f), such as the shape,
size and position of an object in an image. Every score is 1 if each factor has a component of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from latentmap.evaluation.rows import paired
from latentmap.exceptions import DataError

_ACTIVE = 1e-9
"""Fraction of the largest variance below which a component counts as constant."""


def mutual_information_gap(codes: Any, factors: Any, bins: int = 20) -> float:
    r"""Return the gap in mutual information between the two best components for a factor (MIG; Chen et al. 2018).

    .. math:: \frac1f \sum_k \frac{I(z_{(1)}; v_k) - I(z_{(2)}; v_k)}{H(v_k)}

    Parameters
    ----------
    codes, factors : array-like of shape (n, d) and (n, f)
        Factors take few values each. With a single component the information of the second best is 0.
    bins : int, default=20
        Number of bins of equal width for each component.

    Returns
    -------
    float
        In [0, 1]; mean over the factors.

    Raises
    ------
    DataError
        If the numbers of rows differ, or a factor never varies.

    Examples
    --------
    >>> factors = np.random.default_rng(0).integers(0, 5, size=(2000, 2))
    >>> round(mutual_information_gap(factors * [1.0, -3.0], factors), 1)
    1.0
    >>> round(mutual_information_gap(factors @ [[1.0, 1.0], [1.0, -1.0]], factors), 1)
    0.0
    """
    from sklearn.metrics import mutual_info_score

    codes, values = _codes_and_factors(codes, factors)
    cells = [np.digitize(c, np.histogram_bin_edges(c, bins)[1:-1]) for c in codes.T]
    gaps = []
    for factor in values.T:
        first, second, *_ = sorted([*(mutual_info_score(factor, cell) for cell in cells), 0.0], reverse=True)
        gaps.append((first - second) / mutual_info_score(factor, factor))
    return float(np.mean(gaps))


def attribute_predictability(codes: Any, factors: Any) -> float:
    r"""Return the gap in linear predictability between the two best components (SAP; Kumar et al. 2018).

    .. math:: \frac1f \sum_k R^2_{(1)k} - R^2_{(2)k}, \qquad R^2_{ik} = \mathrm{corr}(z_i, v_k)^2

    Parameters
    ----------
    codes, factors : array-like of shape (n, d) and (n, f)
        The distinct values of each factor count as 0, 1, 2, ... in their order.

    Returns
    -------
    float
        In [0, 1]; mean over the factors.

    Examples
    --------
    >>> factors = np.random.default_rng(0).integers(0, 5, size=(2000, 2))
    >>> round(attribute_predictability(factors * [1.0, -3.0], factors), 1)
    1.0
    >>> round(attribute_predictability(factors @ [[1.0, 1.0], [1.0, -1.0]], factors), 1)
    0.0
    """
    codes, values = _codes_and_factors(codes, factors)
    z, v = (a - a.mean(0) for a in (codes, values.astype(np.float64)))
    active = z.var(0) > _ACTIVE * max(z.var(0).max(), 1e-300)
    z = z[:, active] if active.any() else np.zeros((len(z), 1))
    scale = np.outer(np.square(z).sum(0), np.square(v).sum(0))
    scores = np.square(z.T @ v) / np.where(scale > 0, scale, 1)  # (d, f)
    first, second = np.sort(np.concatenate([scores, np.zeros((2, v.shape[1]))]), axis=0)[[-1, -2]]
    return float((first - second).mean())


@dataclass(frozen=True)
class DCI:
    """Scores of `dci`, in [0, 1].

    Parameters
    ----------
    disentanglement : float
        1 if each component is important for one factor.
    completeness : float
        1 if each factor depends on one component.
    informativeness : float
        Accuracy of the predicted factors on held-out rows.
    """

    disentanglement: float
    completeness: float
    informativeness: float


def dci(codes: Any, factors: Any, random_state: int = 0) -> DCI:
    r"""Compute DCI from the importances of components in random forests (Eastwood and Williams 2018).

    With R_ik the importance of component i for factor k, normalised over factors to P and over components to Q,

    .. math:: D = \sum_i \rho_i (1 - H_f(P_i)), \qquad C = \frac1f \sum_k 1 - H_d(Q_k), \qquad
              \rho_i = \frac{\sum_k R_{ik}}{\sum_{ik} R_{ik}}

    H to the base of the number of alternatives. A quarter of the rows is held out for the third score.

    Parameters
    ----------
    codes, factors : array-like of shape (n, d) and (n, f)
        Factors take few values each.
    random_state : int, default=0
        Seed of the split and of the forests.

    Returns
    -------
    DCI
        The three scores.

    Examples
    --------
    >>> factors = np.random.default_rng(0).integers(0, 5, size=(1000, 2))
    >>> scores = dci(factors * [1.0, -3.0], factors)
    >>> scores.disentanglement > 0.9, scores.completeness > 0.9, scores.informativeness > 0.9
    (True, True, True)
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import train_test_split

    codes, values = _codes_and_factors(codes, factors)
    train, test = train_test_split(np.arange(len(codes)), random_state=random_state)
    importances, accuracies = [], []
    for factor in values.T:
        forest = RandomForestClassifier(50, max_features=None, random_state=random_state).fit(
            codes[train], factor[train]
        )
        importances.append(forest.feature_importances_)
        accuracies.append(forest.score(codes[test], factor[test]))
    R = np.array(importances).T  # (d, f)
    total = R.sum(1)
    return DCI(
        float((1 - _entropy(R)) @ total / total.sum()), float((1 - _entropy(R.T)).mean()), float(np.mean(accuracies))
    )


def factor_vae_score(codes: Any, factors: Any, votes: int = 800, batch: int = 64, random_state: int = 0) -> float:
    r"""Return how often the component that varies least predicts which factor was held fixed (Kim and Mnih 2018).

    For each vote a factor k and a value of it are drawn, ``batch`` rows with that value, and the component
    :math:`\arg\min_i \mathrm{Var}(z_i) / \mathrm{Var}_{\text{all}}(z_i)`; the score is the accuracy of the best map
    from components to factors. Chance is 1/f, and a little above it for few votes.

    Parameters
    ----------
    codes, factors : array-like of shape (n, d) and (n, f)
        Factors take few values each: rows are drawn for each value, with replacement.
    votes : int, default=800
        Number of votes.
    batch : int, default=64
        Number of rows per vote.
    random_state : int, default=0
        Seed of the draws.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    DataError
        As `mutual_information_gap`; and if all components are constant.

    Examples
    --------
    >>> factors = np.random.default_rng(0).integers(0, 5, size=(2000, 2))
    >>> factor_vae_score(factors * [1.0, -3.0], factors)
    1.0
    """
    codes, values = _codes_and_factors(codes, factors)
    variance = codes.var(0)
    if not variance.max() > 0:
        raise DataError("all components are constant: codes that have collapsed to a point match no factor")
    codes = codes[:, active := variance > _ACTIVE * variance.max()] / np.sqrt(variance[active])
    rng = np.random.default_rng(random_state)
    tally = np.zeros((codes.shape[1], values.shape[1]))
    for _ in range(votes):
        k = rng.integers(values.shape[1])
        same = np.flatnonzero(values[:, k] == values[rng.integers(len(values)), k])
        tally[codes[rng.choice(same, batch)].var(0).argmin(), k] += 1
    return float(tally.max(1).sum() / votes)


def _codes_and_factors(codes: Any, factors: Any) -> tuple[Float[np.ndarray, "n d"], Int[np.ndarray, "n f"]]:
    codes, values = paired(codes, factors)
    ranks = np.stack([np.unique(v, return_inverse=True)[1] for v in values.T], 1)
    if not (ranks.max(0) > 0).all():
        raise DataError(f"every factor must vary, and factor {int(ranks.max(0).argmin())} has one value; leave it out")
    return codes, ranks


def _entropy(weights: Float[np.ndarray, "a b"]) -> Float[np.ndarray, " a"]:
    """Return the entropy of each row of weights, normalised, to the base of their number; 1 if all weights are 0."""
    if weights.shape[1] == 1:
        return np.zeros(len(weights))
    total = weights.sum(1, keepdims=True)
    p = np.where(total > 0, weights / np.where(total > 0, total, 1), 1 / weights.shape[1])
    return np.asarray(-(p * np.log(np.where(p > 0, p, 1))).sum(1) / np.log(weights.shape[1]))
