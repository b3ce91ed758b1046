"""Codes of a fitted estimator: draws from q(z|x), and draws from the distribution that it samples from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from latentmap.model.noise import Generated, generator_for

__all__: list[str] = []  # helpers of this project, which may change


def latent_vectors(estimator: Any, X: np.ndarray, random_state: int = 0) -> np.ndarray:
    r"""Draw one latent vector from q(z|x) for each row, (n, d).

    .. math:: z = \mu(x) + \sigma(x) \epsilon, \quad \epsilon \sim N(0, I)

    An autoencoder's sigma is 0, so its latent vectors are its codes. On a curved space, z is projected onto the space.
    """
    mean, deviation = estimator.posterior(X)
    return drawn_once(estimator, mean, deviation, random_state)


def drawn_once(estimator: Any, mean: np.ndarray, deviation: np.ndarray, random_state: int = 0) -> np.ndarray:
    """Draw one latent vector for each row from q(z|x) with these moments, both (n, d); see `latent_vectors`."""
    mean, deviation = (np.asarray(a, dtype=np.float64) for a in (mean, deviation))
    z = mean + deviation * np.random.default_rng(random_state).normal(size=mean.shape)
    return np.asarray(estimator.model_.parts.posterior.onto(torch.from_numpy(z)))


def sample_codes(estimator: Any, n: int, random_state: int) -> np.ndarray:
    """Draw codes from the distribution that `sample` of a fitted estimator decodes."""
    noise = Generated(generator_for(random_state, estimator.device_))
    draws = estimator._draw_codes(n, estimator._given(None, n), noise)
    with torch.no_grad():
        return np.asarray(estimator.model_.codes(draws).cpu(), dtype=np.float64)
