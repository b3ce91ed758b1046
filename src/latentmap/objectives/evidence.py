"""Bounds on the evidence log p(x)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from latentmap.exceptions import PartError
from latentmap.model.noise import Noise
from latentmap.model.part import Learned, positive
from latentmap.model.trace import Model, Trace
from latentmap.objectives.base import MODEL, Objective

SAMPLES = 64
"""Draws that `evidence_bound` holds at a time."""


def evidence_bound(model: Model, x: Float[Tensor, "B P"], k: int, noise: Noise) -> Float[Tensor, " B"]:
    r"""Lower bound on log p(x) from k draws, nats a row: the ELBO for one draw, IWAE-k for more, in log space.

    The ELBO takes the rate in closed form where there is one. Rows are in the model's units.
    """
    if k == 1:
        trace = model.trace(x, 1, noise)
        return -(trace.distortion + trace.rate)
    log_w = [model.trace(x, min(SAMPLES, k - done), noise).log_w for done in range(0, k, SAMPLES)]
    return torch.cat(log_w).logsumexp(0) - math.log(k)


@dataclass(frozen=True)
class ELBO(Objective):
    r"""Evidence lower bound, with a weight on the rate (Kingma and Welling 2014; Higgins et al. 2017).

    .. math:: \text{cost}(x) = \underbrace{-\mathbb{E}_q \log p(x|z)}_{\text{distortion}}
              + \beta(t)\, \underbrace{\mathrm{KL}(q(z|x) \,\|\, p(z))}_{\text{rate}}

    ``beta = 1`` gives the bound itself, ``beta = 0`` an autoencoder. ``warmup`` is the fraction of the fit over which
    beta rises linearly from 0. ``free_bits`` are the nats that each component may use, on average over a batch, before
    it costs anything (Kingma et al. 2016), which keeps components from collapsing.

    >>> ELBO(beta=-1.0)
    Traceback (most recent call last):
    latentmap.exceptions.PartError: beta must be a finite number >= 0, got -1.0
    """

    beta: float = 1.0
    free_bits: float = 0.0
    warmup: float = 0.0

    def __post_init__(self) -> None:
        positive("beta", self.beta, zero=True)
        positive("free_bits", self.free_bits, zero=True)
        if not 0 <= self.warmup <= 1:
            raise PartError(f"warmup is a fraction of the fit, from 0 to 1, got {self.warmup!r}")

    def losses(self, own: Learned, model: Model, trace: Trace, progress: Float[Tensor, ""]) -> Mapping[str, Tensor]:
        """Mean cost over the batch, for one player."""
        loss = trace.distortion.mean()
        if self.beta:
            loss = loss + self._weight(progress) * self._rate(trace)
        for cost in trace.aux.values():
            loss = loss + cost.mean()
        return {MODEL: loss}

    def _weight(self, progress: Tensor) -> Tensor | float:
        return self.beta * (progress / self.warmup).clamp(max=1.0) if self.warmup else self.beta

    def _rate(self, trace: Trace) -> Tensor:
        if not self.free_bits:
            return trace.rate.mean()
        per_component = [level.rate_per_component.mean(0) for level in trace.levels]  # (D,) each
        return sum((rate.clamp(min=self.free_bits).sum() for rate in per_component), start=trace.x.new_zeros(()))
