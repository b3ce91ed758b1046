"""The data's own units: the change of log-densities from the model's units, and histories in those."""

from __future__ import annotations

import functools
from dataclasses import replace

import torch

from latentmap.estimators import diagnosis
from latentmap.estimators.history import in_units
from latentmap.estimators.state import FitState
from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.likelihoods import Incomplete
from latentmap.model.scaling import Affine
from latentmap.training.metrics import Gain


def gain_of(model: GenerativeAutoencoder, scaling: Affine) -> Gain:
    """Return what the log-density of rows gains in the data's own units: one number, where all rows gain the same.

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


def in_data_units(state: FitState) -> FitState:
    """Bring the history of a saved run to the data's own units, where all rows gain the same in them."""
    if state.history_units == "data":
        return state
    gain = gain_of(state.model, state.scaling)
    if not isinstance(gain, float):
        return state
    history = in_units(state.history, gain)
    again = diagnosis.distortion(history)
    return replace(
        state,
        history=history,
        history_units="data",
        loss=None if state.loss is None else state.loss - gain,
        findings=tuple(again if again and f.kind == again.kind else f for f in state.findings),
    )
