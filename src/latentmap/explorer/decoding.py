"""Decoding of a few codes at once: means of p(x|z), and how probable the categories are that they show."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch.distributions import Bernoulli, Distribution

from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.likelihoods.heterogeneous import HeterogeneousDistribution
from latentmap.model.likelihoods.incomplete import ObservedCells
from latentmap.model.likelihoods.levels import CategoricalLevels
from latentmap.model.scaling import Affine


def decoded(estimator: Any, codes: NDArray[np.float32]) -> tuple[NDArray[Any], Float[np.ndarray, "m p"]]:
    """Return means of p(x|z) for codes (m, d), in the units of the data, and probabilities of the categories shown.

    The probabilities, (m, P), are NaN for cells that are no categories.
    """

    def both(model: GenerativeAutoencoder, scaling: Affine, z: torch.Tensor) -> torch.Tensor:
        px = model.decode(model.parts.posterior.onto(z))
        mean = px.mean
        return torch.stack([scaling.restored(mean, torch.float64).double(), _chances(px, mean).double()], 1)

    given = estimator._given(None, len(codes))
    result = estimator._map(codes, both, given=given)
    return result[:, 0].reshape(len(codes), *estimator.event_shape_), result[:, 1]


def _chances(px: Distribution, mean: torch.Tensor) -> torch.Tensor:
    """Return the probability of the likeliest category of each cell; NaN where it has none."""
    chances = torch.full_like(mean, torch.nan)
    px = px.base if isinstance(px, ObservedCells) else px
    for at, own in px.groups if isinstance(px, HeterogeneousDistribution) else ():
        if isinstance(own, CategoricalLevels):
            chances[..., at] = own.log_masses.amax(-1).exp().to(chances.dtype)
        elif isinstance(own, Bernoulli):
            chances[..., at] = torch.maximum(own.mean, 1 - own.mean).to(chances.dtype)
    return chances
