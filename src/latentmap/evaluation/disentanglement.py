"""How well single components of a code match single known factors of the data: MIG, SAP, DCI and the FactorVAE score.

Codes are an array (n, d), posterior means for instance; factors are known values behind each row (n, f), such as the
shape, size and position of what a picture shows. Every score is 1 where each factor has a component of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from latentmap.evaluation.rows import paired
from latentmap.exceptions import DataError

_ACTIVE = 1e-9
"""Share of the largest variance below which a component counts as constant."""


def mutual_information_gap(codes: Any, factors: Any, bins: int = 20) -> float:
    r"""How much more the best component knows of a factor than the second best (MIG; Chen et al. 2018).

    .. math:: \frac1f \sum_k \frac{I(z_{(1)}; v_k) - I(z_{(2)}; v_k)}{H(v_k)}

    Parameters
    ----------
    codes, factors : arrays of shape (n, d) and (n, f)
        Factors take few values each. With a single component the second best knows nothing.
    bins : int
        Equal parts of each component's range, over which the information is counted; nats cancel.

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
    r"""How much better the best component predicts a factor linearly than the second best (SAP; Kumar et al. 2018).

    .. math:: \frac1f \sum_k R^2_{(1)k} - R^2_{(2)k}, \qquad R^2_{ik} = \mathrm{corr}(z_i, v_k)^2

    Parameters and errors are those of `mutual_information_gap`; factors are taken as numbers.

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
    """Disentanglement: each component serves one factor. Completeness: each factor needs one component.

    Informativeness is the share of held-out values that are predicted right. All lie between 0 and 1.
    """

    disentanglement: float
    completeness: float
    informativeness: float


def dci(codes: Any, factors: Any, random_state: int = 0) -> DCI:
    r"""Entropies of the importances by which a forest predicts factors from components (Eastwood and Williams 2018).

    With R_ik the importance of component i for factor k, P its shares over factors and Q over components,

    .. math:: D = \sum_i \rho_i (1 - H_f(P_i)), \qquad C = \frac1f \sum_k 1 - H_d(Q_k), \qquad
              \rho_i = \frac{\sum_k R_{ik}}{\sum_{ik} R_{ik}}

    H to the base of the number of alternatives. A quarter of the rows is held out for the third score.

    Parameters and errors are those of `mutual_information_gap`; ``random_state`` seeds the split and the forest.

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
    importances, right = [], []
    for factor in values.T:
        forest = RandomForestClassifier(50, max_features=None, random_state=random_state).fit(
            codes[train], factor[train]
        )
        importances.append(forest.feature_importances_)
        right.append(forest.score(codes[test], factor[test]))
    R = np.array(importances).T  # (d, f)
    total = R.sum(1)
    pure = 1 - _entropy(R)
    return DCI(float(pure @ total / total.sum()), float((1 - _entropy(R.T)).mean()), float(np.mean(right)))


def factor_vae_score(codes: Any, factors: Any, votes: int = 800, batch: int = 64, random_state: int = 0) -> float:
    r"""How often the component that varies least gives away which factor was held fixed (Kim and Mnih 2018).

    For each vote a factor k and a value of it are drawn, ``batch`` rows with that value, and the component
    :math:`\arg\min_i \mathrm{Var}(z_i) / \mathrm{Var}_{\text{all}}(z_i)`; the score is the accuracy of the best map
    from components to factors. Chance is 1/f, and a little above it for few votes.

    Parameters
    ----------
    codes, factors : arrays of shape (n, d) and (n, f)
        Factors take few values each, so that there are rows to draw for each value (with replacement).
    votes, batch, random_state : int
        Number of votes, rows for each, and seed.

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
    """Entropy of each row's shares, to the base of their number; a single share has none, and none at all all of it."""
    if weights.shape[1] == 1:
        return np.zeros(len(weights))
    total = weights.sum(1, keepdims=True)
    shares = np.where(total > 0, weights / np.where(total > 0, total, 1), 1 / weights.shape[1])
    logs = np.log(np.where(shares > 0, shares, 1))
    return np.asarray(-(shares * logs).sum(1) / np.log(weights.shape[1]))
