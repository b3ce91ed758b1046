"""Bounds on the log-density of rows, in the data's own units, and rows that have none."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from torch import Tensor

from latentmap.data.rows import LazyRows
from latentmap.estimators.state import FitState, FloatArray
from latentmap.exceptions import DataError, NoDensityError
from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.noise import RowNoise
from latentmap.model.scaling import Affine
from latentmap.objectives.evidence import SAMPLES, bound_and_draws, log_weights

AnyRows = NDArray[Any] | LazyRows


def score_rows(state: FitState, rows: AnyRows, given: FloatArray | None, k: int) -> tuple[FloatArray, FloatArray]:
    """Return the bound of k draws for each row, nats, and the effective draws of rows with missing cells, else inf."""
    if given is None or not state.model.sizes.some_labels or (labelled := given.any(1)).all():
        return _bounds(state, rows, given, k)
    bounds, effective = _bounds(state, rows, given, k)
    classes = [np.broadcast_to(c, given.shape) for c in np.eye(given.shape[1], dtype=np.float32)]
    each, draws = zip(*(_bounds(state, rows, c, k, weighted=True) for c in classes), strict=True)
    mixed = (logsumexp(each, 0) - np.log(len(each))).astype(bounds.dtype)
    return np.where(labelled, bounds, mixed), np.min([effective, *draws], 0)


def weigh_rows(state: FitState, rows: AnyRows, given: FloatArray | None, k: int) -> FloatArray:
    """Return the log importance weights of k draws for each row, (n, k), nats."""
    require_labels(state, given, "log weights need a label for every row; use score_samples, or predict them first")

    def weights(model: GenerativeAutoencoder, scaling: Affine, rows: Tensor) -> Tensor:
        x = scaling(rows)
        log_w = log_weights(model, x, k, RowNoise(x, state.seed)).T + log_units(state, scaling, x)[:, None]
        return log_w.masked_fill(scaling.excluded(rows)[:, None], -math.inf)

    return state.map(rows, weights, samples=min(k, SAMPLES), given=given)


def squared_error(state: FitState, rows: AnyRows, given: FloatArray | None) -> float:
    """Return the mean squared error of reconstruction over all cells that are there."""

    def errors(model: GenerativeAutoencoder, scaling: Affine, x: Tensor) -> Tensor:
        squares = (x.double() - scaling.inverse(model.reconstruct(scaling(x)).mean)).square()
        return torch.stack([squares.nansum(1), squares.isfinite().sum(1)], 1)

    total, cells = state.map(rows, errors, given=given).sum(0, dtype=np.float64)
    return float(total / cells)


def log_units(state: FitState, scaling: Affine, x: Tensor) -> Tensor:
    """Return what the log-density of scaled rows gains in the data's own units, nats."""
    discrete = state.model.parts.likelihood.is_discrete(x.shape[-1]).to(x.device)
    return scaling.log_jacobian(x, but=discrete)


def require_score(state: FitState, estimator: str) -> None:
    """Refuse to score rows with a model that has no density."""
    if state.has_score:
        return
    parts = state.model.parts
    cause = (
        f"likelihood is {type(parts.likelihood).__name__}; use likelihoods.Gaussian()"
        if state.has_density
        else f"posterior is {type(parts.posterior).__name__}; use VAE"
    )
    raise NoDensityError(
        f"{estimator} has no density to score rows with, because its {cause}, or score() for the reconstruction error"
    )


def require_labels(state: FitState, given: FloatArray | None, message: str) -> None:
    """Refuse missing labels where they cannot be inferred."""
    if given is not None and state.model.sizes.some_labels and not given.any(1).all():
        raise DataError(message)


def require_inside(state: FitState, rows: NDArray[Any], given: FloatArray | None) -> None:
    """Refuse to continue with rows that the likelihood, chosen for others, excludes."""
    likelihood = state.model.parts.likelihood

    def outside(model: GenerativeAutoencoder, scaling: Affine, x: Tensor) -> Tensor:
        scaled = scaling(x)
        z = scaled.new_zeros(len(x), model.sizes.latent)
        px = model.condition_on(scaled, model.decode(z))
        return (px.log_prob(scaled) == -math.inf) | scaling.excluded(x)

    if likelihood.has_density and (excluded := state.map(rows, outside, given=given)).any():
        first = int(np.flatnonzero(excluded)[0])
        raise DataError(
            f"X: row {first + 1} holds a value outside the support of the likelihood that the first fit chose, "
            f"{likelihood}; drop it, or fit all rows anew"
        )


def _bounds(
    state: FitState, rows: AnyRows, given: FloatArray | None, k: int, *, weighted: bool = False
) -> tuple[FloatArray, FloatArray]:
    def bound(model: GenerativeAutoencoder, scaling: Affine, rows: Tensor) -> Tensor:
        x = scaling(rows)
        bounds, draws = bound_and_draws(model, x, k, RowNoise(x, state.seed), weighted=weighted)
        bounds = (bounds + log_units(state, scaling, x)).masked_fill(scaling.excluded(rows), -math.inf)
        return torch.stack([bounds, torch.where(x.isnan().any(1), draws, torch.inf)], 1)

    bounds, draws = state.map(rows, bound, samples=min(k, SAMPLES), given=given).T
    return np.ascontiguousarray(bounds), draws
