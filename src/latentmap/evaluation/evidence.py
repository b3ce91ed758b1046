"""Bounds on the log-likelihood of rows with error bars, and the parts of the rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentmap.evaluation.rows import as_vectors, sample_rows
from latentmap.exceptions import DataError

BLOCK = 2**24
"""Number of densities computed at a time."""


def bits_per_dimension(nats: float, n_features: int) -> float:
    r"""Return the cost of a row in bits per value, :math:`-\log_2 p(x) / P`, from -log p(x) in nats.

    It applies to discrete values, such as grey levels under `latentmap.likelihoods.DiscretizedLogistic`: a uniform
    model of 8-bit values has 8. The nats of a density depend on the unit of the data.

    Parameters
    ----------
    nats : float
        Negative log-likelihood of a row.
    n_features : int
        The number P of values in a row.

    Returns
    -------
    float
        Bits per value.

    Examples
    --------
    >>> bits_per_dimension(784 * np.log(256), 784)
    8.0
    """
    return float(nats) / (n_features * float(np.log(2)))


@dataclass(frozen=True, eq=False)
class Evidence:
    """A lower bound on the mean log-density of rows, nats per row, with its errors.

    Parameters
    ----------
    mean : float
        The bound, IWAE-k; -inf if a row holds a value that its likelihood excludes.
    error : float
        Standard error of the mean over the rows; NaN where that is -inf.
    sampling_error : float
        Standard error due to the k draws (delta method).
    effective_draws : float
        Mean over rows of (sum w)^2 / sum w^2, from 1 to k. Use a larger k if it is close to 1.
    """

    mean: float
    error: float
    sampling_error: float
    effective_draws: float


def importance_bound(log_weights: Any) -> Evidence:
    r"""Return the importance-weighted bound of log-weights, computed in log space (IWAE; Burda et al. 2016).

    .. math:: \mathcal{L}_k = \frac1n \sum_j \log \frac1k \sum_{i=1}^k w_{ij}, \qquad
              \text{sampling error of a row} \approx \frac{\mathrm{sd}(w)}{\sqrt{k}\, \bar w}

    Parameters
    ----------
    log_weights : array-like of shape (k, n)
        The values log p(x, z) - log q(z|x) for k draws of each of n rows; -inf for a row without mass.

    Returns
    -------
    Evidence
        The bound and its errors.

    Examples
    --------
    >>> bound = importance_bound(np.full((50, 10), -3.0))
    >>> bound.mean, bound.sampling_error, round(bound.effective_draws)
    (-3.0, 0.0, 50)
    """
    top, w = _weights(log_weights)  # (n,), (k, n)
    (k, n), mean = w.shape, w.mean(0)
    bound = top + np.log(mean)
    errors = w.std(0, ddof=1) / (np.sqrt(k) * mean) if k > 1 else np.full(n, np.nan)
    return Evidence(
        mean=float(bound.mean()),
        error=float(bound.std(ddof=1) / np.sqrt(n)) if n > 1 and np.isfinite(bound).all() else float("nan"),
        sampling_error=float(np.sqrt(np.square(errors).sum()) / n),
        effective_draws=float(effective_draws(log_weights).mean()),
    )


def effective_draws(log_weights: Any) -> NDArray[np.float64]:
    r"""Return the effective sample size of each row's weighted draws, from 1 to k (Kong 1992).

    .. math:: \frac{\left(\sum_{i=1}^k w_{ij}\right)^2}{\sum_{i=1}^k w_{ij}^2}

    Where it is small, a row's score and its imputed cells depend on few draws: use a larger k.

    Parameters
    ----------
    log_weights : array-like of shape (k, n)
        As for `importance_bound`: ``estimator.log_weights(X, k).T``.

    Returns
    -------
    ndarray of shape (n,)
        Effective numbers of draws.

    Examples
    --------
    >>> effective_draws([[0.0, 0.0], [0.0, -99.0]])
    array([2., 1.])
    """
    _, w = _weights(log_weights)
    return np.asarray(np.square(w.sum(0)) / np.square(w).sum(0))


def _weights(log_weights: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the largest log-weight of each row, and all weights relative to it, (k, n); 1 for a row without mass."""
    given = np.asarray(log_weights, np.float64)
    log_w = np.where(given == -np.inf, given, as_vectors(np.where(given == -np.inf, 0.0, given), "log_weights"))
    top: NDArray[np.float64] = log_w.max(0)
    w = np.exp(log_w - np.where(top > -np.inf, top, 0.0))
    w[:, top == -np.inf] = 1.0  # all draws agree
    return top, w


def evidence(estimator: Any, X: Any, k: int = 100, *, y: Any = None) -> Evidence:
    """Bound the mean log-density of rows under a fitted model by k draws each, in the units of the data.

    The mean is that of ``estimator.score_samples(X, k)``; for one draw the rate is sampled too.

    Parameters
    ----------
    estimator : estimator
        Fitted estimator.
    X : array-like of shape (n, ...)
        Rows.
    k : int, default=100
        Number of draws per row.
    y : array-like of shape (n,), optional
        Conditions of the rows, for a conditional model.

    Returns
    -------
    Evidence
        The bound and its errors.

    Raises
    ------
    NoDensityError
        If the model has no density, such as an autoencoder.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from latentmap import VAE
    >>> X = load_iris().data
    >>> bound = evidence(VAE(2, max_epochs=20, random_state=0).fit(X), X, k=50)
    >>> bound.sampling_error < bound.error
    True
    """
    return importance_bound(estimator.log_weights(X, k, y=y).T)


@dataclass(frozen=True)
class RateParts:
    """The rate and its two parts, nats per row: rate = information + divergence.

    Parameters
    ----------
    rate : float
        Mean of KL(q(z|x) || p(z)).
    information : float
        Mutual information I(x; z) between rows and codes; at most log n.
    divergence : float
        Divergence KL(q(z) || p(z)) of the aggregate posterior from the prior.
    """

    rate: float
    information: float
    divergence: float


def rate_parts(means: Any, scales: Any, *, draws: int = 4, max_rows: int = 5000, random_state: int = 0) -> RateParts:
    r"""Split the rate of Gaussian posteriors against N(0, I) in two (Hoffman and Johnson 2016).

    .. math:: \frac1n \sum_j KL(q(z|x_j) \| p(z)) = I(x; z) + KL(q(z) \| p(z)), \qquad
              q(z) = \frac1n \sum_j q(z|x_j)

    The rate is exact; the information is a mean over draws from each posterior, with q(z) summed over all rows; the
    divergence is the difference, which has less noise than an estimate of its own.

    Parameters
    ----------
    means, scales : array-like of shape (n, d)
        As ``VAE.posterior`` returns them.
    draws : int, default=4
        Number of draws per row.
    max_rows : int, default=5000
        Maximum number n of rows; the information cannot exceed log n.
    random_state : int, default=0
        Seed of the sample of rows and of the draws.

    Returns
    -------
    RateParts
        The rate, the information and the divergence.

    Raises
    ------
    DataError
        If the shapes differ, or a scale is not positive.

    Examples
    --------
    >>> separate = rate_parts(100.0 * np.arange(8.0)[:, None], np.ones((8, 1)))
    >>> round(separate.information, 4), round(float(np.log(8)), 4)
    (2.0794, 2.0794)
    >>> same = rate_parts(np.ones((8, 2)), np.ones((8, 2)))
    >>> same.rate, round(abs(same.information), 9), round(same.divergence, 9)
    (1.0, 0.0, 1.0)
    """
    m, s = as_vectors(means, "means"), as_vectors(scales, "scales")
    if m.shape != s.shape:
        raise DataError(f"means and scales must have the same shape, got {m.shape} and {s.shape}")
    if not (s > 0).all():
        raise DataError("scales must be positive: codes that are points have no rate; use a model with a density")
    keep = sample_rows(len(m), max_rows, random_state)
    mu, sigma = torch.from_numpy(m[keep]), torch.from_numpy(s[keep])
    n, d = mu.shape
    rate = 0.5 * (mu.square() + sigma.square() - 1 - 2 * sigma.log()).sum(1).mean()
    noise = torch.from_numpy(np.random.default_rng([random_state, 0xE5]).normal(size=(draws, n, d)))
    terms: list[Tensor] = []
    size = max(1, BLOCK // (n * d))
    codes, noise = (mu + sigma * noise).flatten(0, 1), noise.flatten(0, 1)
    for z, own in zip(codes.split(size), noise.split(size), strict=True):
        scaled = (z[:, None] - mu) / sigma  # (b, n, d)
        mixture = (-0.5 * scaled.square() - sigma.log()).sum(2).logsumexp(1) - np.log(n)
        terms.append(-0.5 * own.square().sum(1) - mixture)
    information = float(torch.cat(terms).mean() - sigma.log().sum(1).mean())
    return RateParts(float(rate), information, float(rate) - information)
