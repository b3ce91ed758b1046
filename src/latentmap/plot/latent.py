"""Properties of a model's latent space that several figures need."""

from __future__ import annotations

from typing import Any

import numpy as np

from latentmap.evaluation.codes import latent_vectors, sample_codes
from latentmap.evaluation.details import NeighborDensity
from latentmap.evaluation.rows import take
from latentmap.exceptions import DataError
from latentmap.model.priors import FittedNormal, Normal
from latentmap.plot.rows import spread

DRAWS = 4000
"""Draws of a prior without quantiles in closed form."""
TYPICAL = 0.01
"""Share of the rows around which the density of the codes may be lower than where rows are said to lie."""
MOST_ROWS = 5000
"""Rows whose densities are compared, at the most."""


def has_standard_prior(estimator: Any) -> bool:
    """Return whether the prior of a model is standard normal."""
    return isinstance(estimator.prior_, Normal)


def describe_prior(estimator: Any) -> str:
    """Return a description of the model's current prior, which `sample` draws codes from."""
    if has_standard_prior(estimator):
        return "the prior"
    if isinstance(estimator.prior_, FittedNormal):
        return "a Gaussian fitted to the codes"
    return f"the prior {estimator.prior_}" + (", fitted to the codes" if "prior" in estimator.choices_ else "")


def codes_of(estimator: Any, X: Any) -> np.ndarray:
    """Return the codes of ``X``, (n, d), as floats of double precision."""
    if X is None:
        raise DataError("this figure of this model needs codes: pass X, rows as passed to fit")
    return np.asarray(estimator.transform(X), dtype=float)


def quantiles(estimator: Any, levels: np.ndarray) -> np.ndarray:
    """Return the values of each component at ``levels`` in (0, 1) under the model's prior, (d, levels)."""
    from scipy.stats import norm

    if has_standard_prior(estimator):
        return np.tile(norm.ppf(levels), (len(estimator.active_components_), 1))
    return np.asarray(np.quantile(sample_codes(estimator, DRAWS, 0), levels, axis=0).T)


def occupied(estimator: Any, X: Any, Z: np.ndarray) -> np.ndarray:
    """Return whether rows lie at codes ``Z``: their density is not lower than around all but 1% of the rows."""
    density = NeighborDensity(latent_vectors(estimator, X))
    codes = codes_of(estimator, take(X, spread(X.shape[0], MOST_ROWS)))
    return np.asarray(density(Z) >= least_density(density, codes))


def least_density(density: NeighborDensity, codes: np.ndarray) -> float:
    """Return the density at the codes of rows (n, d) that all but 1% of them exceed: where it is lower, none lie."""
    return float(np.quantile(density(codes[spread(len(codes), MOST_ROWS)]), TYPICAL))


def along(estimator: Any, middle: np.ndarray, component: int, values: np.ndarray) -> np.ndarray:
    """Return codes (n, d) that move in one component, the others at the middle (d,); on a sphere along a circle."""
    if estimator.manifold_ != "sphere":
        others = np.tile(middle, (len(values), 1))
    else:
        direction = np.where(np.arange(len(middle)) == component, 0.0, middle)
        if np.linalg.norm(direction) < 0.05:  # the middle has no direction
            direction = (np.arange(len(middle)) != component).astype(float)
        values = np.clip(values, -1, 1)
        others = np.sqrt(1 - values[:, None] ** 2) * direction / np.linalg.norm(direction)
    others[:, component] = values
    return others


def information_per_component(estimator: Any) -> tuple[np.ndarray, str]:
    """Return the information in each component, (d,), and its unit: nats of rate, or variance of the codes."""
    if estimator.kl_per_component_ is not None:
        return np.asarray(estimator.kl_per_component_, dtype=float), "nats"
    return np.asarray(estimator.code_variance_, dtype=float), "variance"
