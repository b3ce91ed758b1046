"""The evidence lower bound on log p(x), with its weights, schedules and penalties."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentmap.exceptions import PartError
from latentmap.model.noise import Noise, apart
from latentmap.model.part import Learned, Sizes, positive, whole
from latentmap.model.trace import Model, Trace
from latentmap.objectives.base import (
    DISTORTION,
    MODEL,
    MONITOR,
    RATE,
    RATE_WEIGHTING,
    Critic,
    Objective,
    Penalty,
    Scales,
    extra_cost,
    own_parts,
    require_density,
    unused,
)

SAMPLES = 64
"""Draws that `evidence_bound` holds at a time."""


def log_weights(model: Model, x: Float[Tensor, "B P"], k: int, noise: Noise) -> Float[Tensor, "K B"]:
    """Return log importance weights of k draws a row; of two or more, rows with missing cells draw some from p(z)."""
    defended = k > 1 and bool(x.isnan().any())
    trace = functools.partial(model.trace, defence=apart(noise)) if defended else model.trace
    return torch.cat([trace(x, min(SAMPLES, k - done), noise).log_w for done in range(0, k, SAMPLES)])


def evidence_bound(
    model: Model, x: Float[Tensor, "B P"], k: int, noise: Noise, *, weighted: bool = False
) -> Float[Tensor, " B"]:
    r"""Return a lower bound on log p(x) from k draws, nats a row: the ELBO for one draw, IWAE-k for more, in log space.

    The ELBO takes the rate in closed form where there is one. Its exponential is then no unbiased estimate of p(x), and
    a logarithm of a mean of such may lie above log p(x); with ``weighted`` one draw returns its log weight instead,
    whose exponential is unbiased. Rows are in the model's units.
    """
    return bound_and_draws(model, x, k, noise, weighted=weighted)[0]


def bound_and_draws(
    model: Model, x: Float[Tensor, "B P"], k: int, noise: Noise, *, weighted: bool = False
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Return `evidence_bound` and `effective_draws`."""
    if k == 1 and not weighted:
        trace = model.trace(x, 1, noise)
        bound = -(trace.distortion + trace.rate)
        return bound, torch.ones_like(bound)
    log_w = log_weights(model, x, k, noise)
    return log_w.logsumexp(0) - math.log(k), effective_draws(log_w)


def effective_draws(log_w: Float[Tensor, "K B"]) -> Float[Tensor, " B"]:
    r"""Return the effective sample size of weighted draws (Kong 1992), from 1 to K.

    .. math:: \frac{(\sum_k w_k)^2}{\sum_k w_k^2}

    >>> effective_draws(torch.zeros(4, 1)), effective_draws(torch.tensor([[0.0], [-99.0]]))
    (tensor([4.]), tensor([1.]))
    """
    return (2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp()


@dataclass(frozen=True)
class ELBO(Objective):
    r"""Evidence lower bound, with a weight on the rate, and penalties (Kingma and Welling 2014; Higgins et al. 2017).

    .. math:: \text{cost}(x) = \underbrace{-\mathbb{E}_q \log p(x|z)}_{\text{distortion}}
              + \beta(t)\, \underbrace{\mathrm{KL}(q(z|x) \,\|\, p(z))}_{\text{rate}} + \sum_i w_i\, \text{penalty}_i

    Parameters
    ----------
    beta : float, default=1.0
        Weight of the rate: 1 is the bound itself, 0 an autoencoder.
    free_bits : float, default=0.0
        Nats that each component may use, on average over a batch, before it costs anything, which keeps components from
        collapsing (Kingma et al. 2016).
    warmup : float, default=0.0
        Fraction of each cycle over which beta rises linearly from 0.
    cycles : int, default=1
        Equal pieces of the fit, each with a warm-up (Fu et al. 2019).
    capacity : float, optional
        C, nats at which :math:`\beta\, |\text{rate} - C(t)|` holds the mean rate of a batch; the warm-up then raises C
        in place of beta (Burgess et al. 2018).
    penalties : tuple of Penalty, default=()
        Penalties to add, each times its weight.

    Examples
    --------
    >>> ELBO(beta=-1.0)
    Traceback (most recent call last):
    latentmap.exceptions.PartError: beta must be a finite number >= 0, got -1.0
    """

    beta: float = 1.0
    free_bits: float = 0.0
    warmup: float = 0.0
    cycles: int = 1
    capacity: float | None = None
    penalties: tuple[Penalty, ...] = ()

    def __post_init__(self) -> None:
        positive("beta", self.beta, zero=True)
        positive("free_bits", self.free_bits, zero=True)
        whole("cycles", self.cycles)
        if not 0 <= self.warmup <= 1:
            raise PartError(f"warmup is a fraction of the fit, from 0 to 1, got {self.warmup!r}")
        if self.cycles > 1 and not self.warmup:
            raise PartError(f"cycles={self.cycles} repeat a warm-up, and there is none; set warmup=0.5")
        if self.capacity is not None:
            positive("capacity", self.capacity, zero=True)
            if self.free_bits or not self.beta:
                raise PartError("capacity holds the rate with the weight beta > 0 and without free_bits; set one")
        if not (isinstance(self.penalties, tuple) and all(isinstance(p, Penalty) for p in self.penalties)):
            raise PartError(f"penalties must be a tuple of penalties, got {self.penalties!r}; write (MMD(),)")

    @property
    def needs_batch(self) -> bool:
        """Whether there are free bits, a capacity, or a penalty over pairs of rows."""
        return bool(self.free_bits) or self.capacity is not None or any(p.needs_batch for p in self.penalties)

    @property
    def adversarial(self) -> bool:
        """Whether a critic is among the penalties."""
        return any(isinstance(p, Critic) for p in self.penalties)

    @property
    def standardises(self) -> Scales | None:
        """Return "each" where the cost is linear in the rate, and no penalty depends on shift and scale of codes."""
        linear = self.beta > 0 and not self.free_bits and self.capacity is None
        return "each" if linear and all(penalty.claims("invariant", "cost") for penalty in self.penalties) else None

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return the state of each penalty."""
        return {f"penalty_{i}": penalty.build(sizes) for i, penalty in enumerate(self.penalties)}

    def check_model(self, model: Model, trace: Trace) -> None:
        """Raise a `PartError` for a rate without density, or if a penalty does."""
        if self.beta:
            require_density(f"objectives.ELBO(beta={self.beta:g})", trace)
        if self.free_bits:
            _ = [level.rate_per_component for level in trace.levels]
        for penalty in self.penalties:
            penalty.check_model(model, trace)

    def players(self, own: Learned, model: Model) -> dict[str, list[nn.Parameter]]:
        """Return one player for the model and its penalties, and one for each critic."""
        ours = [*model.parameters()]
        critics = {}
        for name, penalty, state in self._states(own):
            if isinstance(penalty, Critic):
                critics[name] = [*state.parameters()]
            else:
                ours += state.parameters()
        return {MODEL: ours, **critics}

    def losses(self, own: Learned, model: Model, trace: Trace, progress: Float[Tensor, ""]) -> Mapping[str, Tensor]:
        """Compute the mean cost over the batch, the loss of each critic, and the cost without critics to monitor."""
        parts = own_parts(trace)
        cost = parts[DISTORTION] + extra_cost(trace)
        if self.beta:
            weighted = self._rate(own, trace, progress)
            cost = cost + weighted
            if not self._is_bound:
                parts[RATE_WEIGHTING] = weighted - parts[RATE]
        elif RATE in parts:
            parts[RATE_WEIGHTING] = -parts[RATE]
        critique = torch.zeros_like(cost)
        critics = {}
        for name, penalty, state in self._states(own):
            if isinstance(penalty, Critic):
                critique = critique + penalty.weight * penalty.cost(state, model, trace)
                critics[name] = penalty.opposition(state, model, trace)
            else:
                parts[unused(penalty._part, parts)] = part = penalty.weight * penalty.cost(state, model, trace)
                cost = cost + part
        return ({MODEL: cost + critique, **critics, MONITOR: cost} if critics else {MODEL: cost}) | parts

    @property
    def _is_bound(self) -> bool:
        """Whether the cost, without penalties, is minus the bound."""
        return self.beta == 1 and not (self.warmup or self.free_bits) and self.capacity is None

    def losses_of_copies(
        self, own: Learned, model: Model, trace: Trace, progress: Float[Tensor, ""]
    ) -> Mapping[str, Tensor]:
        """Compute distortion and weighted rate alone: rows of few observed cells need few nats, whatever others do."""
        cost = trace.distortion.mean() + extra_cost(trace)
        weight = self.beta * self._ramp(progress) if self.capacity is None else 1.0
        return {MODEL: cost + weight * trace.rate.mean() if self.beta else cost}

    def _states(self, own: Learned) -> Iterator[tuple[str, Penalty, Learned]]:
        for i, penalty in enumerate(self.penalties):
            yield f"penalty_{i}", penalty, getattr(own, f"penalty_{i}")

    def _rate(self, own: Learned, trace: Trace, progress: Tensor) -> Tensor:
        """Return the weighted rate, a mean over the batch."""
        ramp = self._ramp(progress)
        if self.capacity is not None:
            return self.beta * (own.processes.mean(trace.rate.mean()) - self.capacity * ramp).abs()
        if not self.free_bits:
            return self.beta * ramp * trace.rate.mean()
        per_component = [level.rate_per_component.mean(0) for level in trace.levels]  # (D,) each
        used = own.processes.mean(torch.cat(per_component))
        return self.beta * ramp * used.clamp(min=self.free_bits).sum()

    def _ramp(self, progress: Tensor) -> Tensor | float:
        """Rise from 0 to 1 over the first part of each cycle; the end of the fit is the end of the last cycle."""
        if not self.warmup:
            return 1.0
        at = progress * self.cycles
        return ((at - at.floor().clamp(max=self.cycles - 1)) / self.warmup).clamp(max=1.0)
