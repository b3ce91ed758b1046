"""Imputation: means and draws of missing cells given those that are there."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.distributions import average, draw, exponential_mean
from latentmap.model.noise import Generated, Noise, RowNoise, apart
from latentmap.model.scaling import Affine
from latentmap.objectives.evidence import effective_draws


def filled(
    model: GenerativeAutoencoder,
    scaling: Affine,
    x: Tensor,
    n_draws: int | None,
    k: int,
    noise: Generated,
    seed: int,
) -> Float[Tensor, "B N P1"]:
    """Means or draws of every cell given those that are there, (B, 1 or n_draws, P), in the units of the data.

    Beside the cells comes how many draws they rest on. Means have noise that is a function of the row; draws have noise
    that goes on, since rows that are alike must not get the same ones.
    """
    x = scaling(x)
    if not k:
        means = scaling.restored(model.reconstruct(x).mean, x.dtype)
        return _beside(means[:, None], x.new_full((len(x),), torch.inf))
    px, log_w = weighted(model, x, k, RowNoise(x, seed) if n_draws is None else noise)
    weight, effective = normalised(log_w), effective_draws(log_w)
    if n_draws is None:
        return _beside(scaling.rounded(expected(px, weight, scaling), x.dtype)[:, None], effective)
    chosen = torch.multinomial(weight.T, n_draws, replacement=True, generator=noise.generator)  # (B, n_draws)
    each = torch.arange(len(x), device=x.device)
    cells = torch.stack([draw(px, (), noise)[k, each] for k in chosen.T], 1)
    return _beside(scaling.restored(cells, x.dtype), effective)


def weighted(
    model: GenerativeAutoencoder, x: Float[Tensor, "B P"], k: int, noise: Noise
) -> tuple[Distribution, Float[Tensor, "K B"]]:
    """Return p(x|z) of k draws a row and their log weights; of a row without label, k draws of each of C classes."""
    defence = apart(noise) if k > 1 else None
    if not model.sizes.some_labels or model.condition is None:
        trace = model.trace(x, k, noise, defence=defence)
        return trace.px, trace.log_w
    known = model.condition  # (B, C), zeros for a label that is missing
    classes = torch.eye(known.shape[1], dtype=known.dtype, device=known.device)
    traces = [model.given(c.expand_as(known)).trace(x, k, noise, defence=defence) for c in classes]
    others = known.any(1, keepdim=True) & (known == 0)  # (B, C)
    log_w = torch.cat([t.log_w.masked_fill(others[:, c], -torch.inf) for c, t in enumerate(traces)])
    given = model.given(classes.repeat_interleave(k, 0)[:, None].expand(-1, len(x), -1))  # (C K, B, C)
    px = given.decode(torch.cat([t.levels[0].z for t in traces]))
    return model.condition_on(x, px), log_w


def _beside(cells: Float[Tensor, "B N P"], draws: Float[Tensor, " B"]) -> Float[Tensor, "B N P1"]:
    return torch.cat([cells, draws.to(cells)[:, None, None].expand(-1, cells.shape[1], 1)], 2)


def normalised(log_w: Float[Tensor, "K B"]) -> Float[Tensor, "K B"]:
    """Make weights that sum to one; equal ones for a row outside the support, which no code explains."""
    weight = log_w.softmax(0)
    return torch.where(weight.isnan(), 1 / len(weight), weight)


def expected(px: Distribution, weight: Float[Tensor, "K B"], scaling: Affine) -> Float[Tensor, "B P"]:
    """Mean over draws of every cell, or its likeliest category, in the units of the data.

    Where the mean of a feature on a logarithmic scale is infinite, its median given each code is averaged.
    """
    cells = scaling.inverse(average(px, weight))
    if scaling.stretched is None:
        return cells
    each = scaling.inverse(exponential_mean(px, scaling.scale.to(weight.dtype)))  # (K, B, P)
    each = torch.where(each.isfinite(), each, scaling.inverse(px.mean))
    return torch.where(scaling.stretched, torch.einsum("kb,kbp->bp", weight.double(), each), cells)
