"""Encoding and decoding of numbers: posterior moments; means of p(x|z), and how probable their categories are."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch.distributions import Bernoulli, Distribution

from latentmap.exceptions import ModelError
from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.likelihoods.heterogeneous import HeterogeneousDistribution
from latentmap.model.likelihoods.incomplete import ObservedCells
from latentmap.model.likelihoods.levels import CategoricalLevels
from latentmap.model.scaling import Affine


def encoded(estimator: Any, rows: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return places on the map and standard deviations of q(z|x) of rows of numbers (n, *event), both (n, d)."""
    given = estimator._given(None, len(rows))
    mean, deviation = estimator.state_.locate(rows.reshape(len(rows), -1), given)
    if not np.isfinite(mean).all():
        raise ModelError("the codes of some rows are not finite: the weights of the model are too large")
    return np.asarray(mean, np.float64), np.asarray(deviation, np.float64)


def encoder_inputs(estimator: Any, rows: NDArray[Any]) -> Float[np.ndarray, "n e"]:
    """Return rows of numbers (n, *event) as the encoder takes them."""
    return np.asarray(estimator.state_.encoder_inputs(rows.reshape(len(rows), -1)), np.float32)


def onto(estimator: Any, codes: NDArray[Any]) -> NDArray[np.float64]:
    """Return codes (m, d) on the space of the model, nearest to those that are off it."""
    return np.asarray(estimator.model_.parts.posterior.onto(torch.from_numpy(np.asarray(codes, np.float64).copy())))


def straight(estimator: Any, a: NDArray[np.float64], b: NDArray[np.float64], n: int) -> Float[np.ndarray, "n d"]:
    """Return n codes on the shortest way between two, both included, on the space of the model."""
    ends = (torch.from_numpy(one.copy()) for one in (a, b))
    return np.asarray(estimator.model_.path(*ends, torch.linspace(0, 1, n, dtype=torch.float64)))


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


def of_cells(px: Distribution) -> Distribution:
    """Return p(x|z) as the distribution of its cells."""
    cells: Distribution = px.base if isinstance(px, ObservedCells) else getattr(px, "base_dist", px)
    return cells


def _chances(px: Distribution, mean: torch.Tensor) -> torch.Tensor:
    """Return the probability of the likeliest category of each cell; NaN where it has none."""
    chances = torch.full_like(mean, torch.nan)
    cells = of_cells(px)
    for at, own in cells.groups if isinstance(cells, HeterogeneousDistribution) else ():
        if isinstance(own, CategoricalLevels):
            chances[..., at] = own.chance.to(chances.dtype)
        elif isinstance(own, Bernoulli):
            chances[..., at] = torch.maximum(own.mean, 1 - own.mean).to(chances.dtype)
    return chances
