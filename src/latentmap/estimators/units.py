"""The data's own units, in which nats are told: what densities gain in them, and histories that lack them."""

from __future__ import annotations

import functools
from typing import Any

import torch

from latentmap.estimators import diagnosis
from latentmap.estimators.history import Units, in_data_units
from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.likelihoods import Incomplete
from latentmap.model.scaling import Affine
from latentmap.training.metrics import Gain


def gain_of(model: GenerativeAutoencoder, scaling: Affine) -> Gain:
    """Say what the log-density of scaled rows gains in the data's own units: one number, where all rows gain the same.

    A mass gains nothing, and neither does a distortion that is no density.
    """
    likelihood, features = model.parts.likelihood, model.sizes.features
    if not likelihood.has_density:
        return 0.0
    discrete = likelihood.is_discrete(features).to(scaling.scale.device)
    if scaling.varies(isinstance(likelihood, Incomplete), but=discrete):
        return functools.partial(scaling.log_jacobian, but=discrete)
    row = torch.zeros(1, features, dtype=torch.float64, device=scaling.scale.device)
    return float(scaling.log_jacobian(row, but=discrete))


def read_units(estimator: Any, units: Units) -> None:
    """Take the history of a saved run, and bring it to the data's own units where all rows gain the same in them."""
    gain = 0.0 if units == "data" else gain_of(estimator.model_, estimator.scaling_)
    estimator.history_units_ = "data" if isinstance(gain, float) else units
    if units == "data" or not isinstance(gain, float):
        return
    estimator.history_ = in_data_units(estimator.history_, gain)
    if estimator.loss_ is not None:
        estimator.loss_ -= gain
    again = diagnosis.distortion(estimator.history_)
    estimator.findings_ = tuple(again if again and f.kind == again.kind else f for f in estimator.findings_)
