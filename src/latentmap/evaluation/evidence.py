"""How likely a model finds rows, with error bars; and where the nats of its codes go."""

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
"""Densities held at a time."""


def bits_per_dimension(nats: float, n_features: int) -> float:
    r"""Cost of a row in bits for each of its values, :math:`-\log_2 p(x) / P`, from -log p(x) in nats.

    Of discrete values, such as grey levels under `latentmap.likelihoods.DiscretizedLogistic`; those of 8 bits cost at
    most 8, if the model says anything of them. A density has none, since its nats depend on the unit of the data.

    >>> bits_per_dimension(784 * np.log(256), 784)
    8.0
    """
    return float(nats) / (n_features * float(np.log(2)))


@dataclass(frozen=True, eq=False)
class Evidence:
    """A lower bound on the mean log-density of rows, nats a row, with its errors.

    Attributes
    ----------
    mean : float
        The bound, IWAE-k; -inf if a row holds a value that its likelihood excludes.
    error : float
        Standard error of the mean over the rows: how much other rows of the same kind would change it; NaN where that
        is -inf.
    sampling_error : float
        Standard error that the k draws leave (delta method): how much other draws would change it.
    effective_draws : float
        Mean over rows of (sum w)^2 / sum w^2, from 1 to k. Near 1 the bound hangs on single draws: take a larger k.
    """

    mean: float
    error: float
    sampling_error: float
    effective_draws: float


def importance_bound(log_weights: Any) -> Evidence:
    r"""Importance-weighted bound from log-weights, in log space (IWAE; Burda et al. 2016).

    .. math:: \mathcal{L}_k = \frac1n \sum_j \log \frac1k \sum_{i=1}^k w_{ij}, \qquad
              \text{sampling error of a row} \approx \frac{\mathrm{sd}(w)}{\sqrt{k}\, \bar w}

    Parameters
    ----------
    log_weights : array of shape (k, n)
        log p(x, z) - log q(z|x) for k draws of each of n rows; -inf for a row that has no mass.

    Examples
    --------
    >>> found = importance_bound(np.full((50, 10), -3.0))
    >>> found.mean, found.sampling_error, round(found.effective_draws)
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
    r"""Effective sample size of each row's weighted draws, from 1 to k (Kong 1992).

    .. math:: \frac{\left(\sum_{i=1}^k w_{ij}\right)^2}{\sum_{i=1}^k w_{ij}^2}

    Where it is small, a row's score and what is filled into its missing cells hang on single draws: take a larger k.

    Parameters
    ----------
    log_weights : array of shape (k, n)
        As `importance_bound` takes them: ``estimator.log_weights(X, k).T``.

    Examples
    --------
    >>> effective_draws([[0.0, 0.0], [0.0, -99.0]])
    array([2., 1.])
    """
    _, w = _weights(log_weights)
    found: NDArray[np.float64] = np.square(w.sum(0)) / np.square(w).sum(0)
    return found


def _weights(log_weights: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the largest log weight of each row, and all weights over it, (k, n); 1 for a row that has no mass."""
    given = np.asarray(log_weights, np.float64)
    log_w = np.where(given == -np.inf, given, as_vectors(np.where(given == -np.inf, 0.0, given), "log_weights"))
    top: NDArray[np.float64] = log_w.max(0)
    w = np.exp(log_w - np.where(top > -np.inf, top, 0.0))
    w[:, top == -np.inf] = 1.0  # all draws agree
    return top, w


def evidence(estimator: Any, X: Any, k: int = 100, *, y: Any = None) -> Evidence:
    """Bound the mean log-density of rows under a fitted model by k draws each, in the data's own units.

    The mean is that of ``estimator.score_samples(X, k)``; for one draw the rate is sampled too.

    Raises
    ------
    NoDensityError
        For a model without density, such as an autoencoder.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from latentmap import VAE
    >>> X = load_iris().data
    >>> found = evidence(VAE(2, max_epochs=20, random_state=0).fit(X), X, k=50)
    >>> found.sampling_error < found.error
    True
    """
    return importance_bound(estimator.log_weights(X, k, y=y).T)


@dataclass(frozen=True)
class RateParts:
    """The rate and its two parts, nats a row: rate = information + divergence.

    Attributes
    ----------
    rate : float
        Mean of KL(q(z|x) || p(z)): what codes cost.
    information : float
        I(x; z): what codes say of which row they belong to; at most log n.
    divergence : float
        KL(q(z) || p(z)) of the aggregate posterior: what codes of data have that draws of the prior lack.
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
    means, scales : arrays of shape (n, d)
        What ``VAE.posterior`` gives.
    draws, max_rows, random_state : int
        Draws for each row, the rows taken at the most, and the seed of both. The information cannot exceed log n: more
        rows may show more.

    Raises
    ------
    DataError
        If the shapes differ, or a scale is not positive.

    Examples
    --------
    >>> apart = rate_parts(100.0 * np.arange(8.0)[:, None], np.ones((8, 1)))
    >>> round(apart.information, 4), round(float(np.log(8)), 4)
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
    information: list[Tensor] = []
    size = max(1, BLOCK // (n * d))
    codes, noise = (mu + sigma * noise).flatten(0, 1), noise.flatten(0, 1)
    for z, own in zip(codes.split(size), noise.split(size), strict=True):
        scaled = (z[:, None] - mu) / sigma  # (b, n, d)
        mixture = (-0.5 * scaled.square() - sigma.log()).sum(2).logsumexp(1) - np.log(n)
        information.append(-0.5 * own.square().sum(1) - mixture)
    log_scale = sigma.log().sum(1).mean()
    knows = float(torch.cat(information).mean() - log_scale)
    return RateParts(float(rate), knows, float(rate) - knows)
