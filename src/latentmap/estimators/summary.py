"""What is measured after a fit: codes, rates, loss, findings; and codes for priors that are fitted afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentmap.estimators import diagnosis
from latentmap.estimators.history import best_row
from latentmap.estimators.state import FitState, FloatArray, as_tensor
from latentmap.exceptions import NumericsError, PartError
from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.distributions import draw
from latentmap.model.noise import Generated, generator_for
from latentmap.model.posteriors.quantizers import Quantizer
from latentmap.model.scaling import Affine
from latentmap.model.trace import Level
from latentmap.training.density import fit_density
from latentmap.training.loop import Trainer
from latentmap.training.metrics import HELD_OUT

DECODED = 64
"""Rows whose codes are decoded, to see that this is finite."""


def summarise(state: FitState, some: NDArray[Any], given: FloatArray | None, trainer: Trainer) -> FitState:
    """Return a state with what the trained model does with some rows, and the diagnosis of the fit."""
    means = torch.from_numpy(state.posterior(some, given)[0])
    _require_finite(state, means.numpy(), given)
    if state.model.parts.prior.ex_post:
        fit_density(state.model, draw_codes(state, some, given, state.seed), state.seed)
    variance = means.var(0, correction=0).numpy()
    unit = 1.0 if state.has_density else float(variance.mean())  # codes of an autoencoder have any scale
    kl = rate_per_component(state, some, given)
    active = np.asarray(variance > diagnosis.ACTIVE * unit)
    best = best_row(state.history)
    facts = diagnosis.Facts(
        history=state.history,
        active=active,
        rate=None if kl is None else float(kl.sum()),
        likelihood=state.model.parts.likelihood,
        schema=state.data_schema,
        constant_features=int((np.fmin.reduce(some) == np.fmax.reduce(some)).sum()),
        skipped=trainer.skipped,
        shift=trainer.metrics.gained[HELD_OUT] - trainer.metrics.gained[""],
        rows=len(some),
        steps=trainer.step,
        codes=_codes(state, some, given),
        continued=trainer.settings.constant_rate or trainer.settings.keep_last,
    )
    return replace(
        state,
        code_mean=means.mean(0).numpy(),
        code_variance=variance,
        kl_per_component=kl,
        active_components=active,
        loss=best["loss"] if best else None,
        findings=diagnosis.diagnose(facts),
    )


def _require_finite(state: FitState, codes: FloatArray, given: FloatArray | None) -> None:
    """Raise if codes of rows, or decodings of some of them, are not finite."""
    some = codes[:DECODED]
    decoded = state.decode(some, None if given is None else given[:DECODED])
    for name, values in (("encoder", codes), ("decoder", decoded)):
        if failed := int((~np.isfinite(values)).reshape(len(values), -1).any(1).sum()):
            raise NumericsError(
                f"the {name} returns values that are not finite for {failed:,} of {len(values):,} rows: lower "
                f"learning_rate, or check the {name} if it is your own"
            )


def _codes(state: FitState, some: NDArray[Any], given: FloatArray | None) -> diagnosis.Codes | None:
    """Return the use of quantised codes by rows; None for others."""
    posterior = state.model.parts.posterior
    if not isinstance(posterior, Quantizer):
        return None
    indices = state.map(some, lambda model, scaling, x: model.indices(scaling(x)), given=given)
    used = sum(len(np.unique(column)) for column in indices.T)
    n, values = posterior.alphabet(state.model.sizes.latent)
    return diagnosis.Codes(used, n * values, n)


def rate_per_component(state: FitState, rows: NDArray[Any], given: FloatArray | None) -> FloatArray | None:
    """Return the mean KL of each component; None without density, or where posterior or prior do not factorise."""

    def rate(model: GenerativeAutoencoder, scaling: Affine, x: Tensor) -> Tensor:
        q = model.encode(scaling(x))
        return Level(q.mean[None], q, model.prior()).rate_per_component

    if not state.has_density:
        return None
    try:
        rates: FloatArray = state.map(rows, rate, given=given).mean(0)
    except PartError:
        return None
    return rates


def draw_codes(state: FitState, rows: Any, given: FloatArray | None, seed: int, *, discrete: bool = False) -> Tensor:
    """Draw a code from q(z|x) for each row; or return the indices of quantised ones."""
    noise = Generated(generator_for(seed, state.device))

    def codes(model: GenerativeAutoencoder, scaling: Affine, x: Tensor) -> Tensor:
        return model.indices(scaling(x)) if discrete else draw(model.encode(scaling(x)), (), noise).float()

    return as_tensor(state.map(rows, codes, given=given)).to(state.device)
