"""Facts about a model's latent space that several figures need."""

from __future__ import annotations

from typing import Any

import numpy as np

from latentmap.exceptions import DataError
from latentmap.model.priors import Normal


def has_standard_prior(estimator: Any) -> bool:
    """Tell whether the codes of a model are expected to be standard normal."""
    return hasattr(estimator, "prior") and (estimator.prior is None or isinstance(estimator.prior, Normal))


def codes_of(estimator: Any, X: Any) -> np.ndarray:
    """Return the codes of ``X``, (n, d), as floats of double precision."""
    if X is None:
        raise DataError("this figure of this model needs codes: pass X, rows as given to fit")
    return np.asarray(estimator.transform(X), dtype=float)


def quantiles(estimator: Any, X: Any, levels: np.ndarray) -> tuple[np.ndarray, str]:
    """Return latent values at ``levels`` in (0, 1), (d, levels), and whether the prior's or the codes' they are."""
    from scipy.stats import norm

    if has_standard_prior(estimator):
        return np.tile(norm.ppf(levels), (len(estimator.active_components_), 1)), "prior"
    return np.quantile(codes_of(estimator, X), levels, axis=0).T, "codes"


def carried(estimator: Any) -> tuple[np.ndarray, str]:
    """Return how much each component carries, (d,), and its unit: nats of rate, or variance of the codes."""
    if estimator.kl_per_component_ is not None:
        return np.asarray(estimator.kl_per_component_, dtype=float), "nats"
    return np.asarray(estimator.code_variance_, dtype=float), "variance"
