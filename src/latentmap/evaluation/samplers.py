"""Random points of a latent space: the distributions that a comparison of generated rows draws from."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from latentmap.evaluation.rows import as_vectors
from latentmap.exceptions import DataError

__all__ = ["SAMPLERS", "Sampler", "box"]

Codes = Float[np.ndarray, "n d"]
Draw = Callable[[Codes, int, int], Codes]

N_MIXTURE = 10
"""Components of the mixture, as many as in Ghosh et al. (2020)."""


@dataclass(frozen=True)
class Sampler:
    """A distribution of codes, from which random points are drawn.

    Parameters
    ----------
    name : str
        Key of the distribution.
    title : str
        Name in tables.
    text : str
        What it is.
    draw : callable
        Latent vectors (n, d), a number m and a seed to m points, (m, d).

    Examples
    --------
    >>> codes = np.random.default_rng(0).normal(size=(500, 2)) + [3.0, 0.0]
    >>> for sampler in SAMPLERS.values():
    ...     print(sampler.title, np.abs(sampler.draw(codes, 4000, 0).mean(0).round()))
    N(0, I) [0. 0.]
    uniform in the box [3. 0.]
    Gaussian, fitted afterwards [3. 0.]
    mixture, fitted afterwards [3. 0.]
    """

    name: str
    title: str
    text: str
    draw: Draw


def box(codes: Codes) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
    """Return the ends of the box that holds the central 99% of the codes on each axis.

    Parameters
    ----------
    codes : ndarray of shape (n, d)
        Latent vectors.

    Returns
    -------
    low, high : ndarray of shape (d,)
        The ends on each axis.

    Examples
    --------
    >>> low, high = box(np.linspace(0, 1000, 1001)[:, None])
    >>> low, high
    (array([5.]), array([995.]))
    """
    low, high = np.quantile(codes, [0.005, 0.995], axis=0)
    return low, high


def _normal(codes: Codes, n: int, seed: int) -> Codes:
    return np.random.default_rng(seed).normal(size=(n, codes.shape[1]))


def _uniform(codes: Codes, n: int, seed: int) -> Codes:
    return np.random.default_rng(seed).uniform(*box(codes), size=(n, codes.shape[1]))


def _gaussian(codes: Codes, n: int, seed: int) -> Codes:
    codes = as_vectors(codes, "codes")
    values, axes = np.linalg.eigh(np.atleast_2d(np.cov(codes.T, bias=True)))
    white = np.random.default_rng(seed).normal(size=(n, codes.shape[1]))
    return np.asarray(codes.mean(axis=0) + (white * np.sqrt(values.clip(0))) @ axes.T)


def _mixture(codes: Codes, n: int, seed: int) -> Codes:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    codes = as_vectors(codes, "codes")
    scale = codes.std(axis=0)
    if not scale.all():
        raise DataError("a mixture needs codes that vary: a component has collapsed to one value")
    if len(codes) < 2 * N_MIXTURE:
        raise DataError(f"a mixture of {N_MIXTURE} Gaussians needs at least {2 * N_MIXTURE} codes, got {len(codes)}")
    middle = codes.mean(axis=0)
    mixture = GaussianMixture(N_MIXTURE, reg_covar=1e-4, random_state=seed)
    with warnings.catch_warnings():  # a few iterations more change nothing that is measured
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit((codes - middle) / scale)
    return np.asarray(np.random.default_rng(seed).permutation(mixture.sample(n)[0]) * scale + middle)


SAMPLERS: dict[str, Sampler] = {
    sampler.name: sampler
    for sampler in (
        Sampler(
            "normal",
            "N(0, I)",
            "the prior of a VAE, and all that a traditional autoencoder offers; no fit to the codes",
            _normal,
        ),
        Sampler("uniform", "uniform in the box", "the box of the central 99% of the codes on each axis", _uniform),
        Sampler(
            "gaussian",
            "Gaussian, fitted afterwards",
            "with the mean and the covariance of the codes: what an autoencoder needs to be sampled",
            _gaussian,
        ),
        Sampler(
            "mixture",
            "mixture, fitted afterwards",
            f"{N_MIXTURE} Gaussians, fitted to the codes by expectation maximisation",
            _mixture,
        ),
    )
}
"""Name of each distribution to what draws from it; the last two repair an autoencoder (Ghosh et al., From variational
to deterministic autoencoders, 2020)."""
