"""Importance-weighted bounds on log p(x), and their gradient estimators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentmap.exceptions import PartError
from latentmap.model.part import Learned, whole
from latentmap.model.trace import Model, Trace
from latentmap.objectives.base import (
    DISTORTION,
    GENERATIVE,
    INFERENCE,
    MODEL,
    RATE,
    Objective,
    extra_cost,
    own_parts,
    require_density,
    require_factors,
)


@dataclass(frozen=True)
class _Weighted(Objective):
    """Base of bounds of k draws in each of m groups."""

    k: int = 5
    groups: int = 1

    def __post_init__(self) -> None:
        whole("k", self.k)
        whole("groups", self.groups)

    @property
    def samples(self) -> int:
        """K = k times groups."""
        return self.k * self.groups

    def check_model(self, model: Model, trace: Trace) -> None:
        """Raise a `PartError` for a posterior without density."""
        require_density(f"objectives.{type(self).__name__}", trace)


def _parts(trace: Trace, bound: Tensor) -> dict[str, Tensor]:
    """Return the terms of minus this bound: those of the ELBO, and the difference that weighting the draws makes."""
    parts = own_parts(trace)
    return parts | {"importance_weighting": -bound - parts[DISTORTION] - parts[RATE]}


@dataclass(frozen=True)
class IWAE(_Weighted):
    r"""Importance-weighted bound of k draws, in log space (IWAE; Burda et al. 2016).

    .. math:: \text{cost}(x) = -\frac1m \sum_{j=1}^m \log \frac1k \sum_{i=1}^k w_{ij}, \qquad
              w_{ij} = \frac{p(x|z_{ij})\, p(z_{ij})}{q(z_{ij}|x)}

    k = 1 and mix = 1 are the ELBO.

    Parameters
    ----------
    k : int, default=5
        Draws of each bound.
    groups : int, default=1
        Number m of bounds, of which the mean is taken (MIWAE, Rainforth et al. 2018).
    mix : float, default=0.0
        Weight of the ELBO of all draws against the bound (CIWAE, Rainforth et al. 2018).

    Examples
    --------
    >>> IWAE(k=0)
    Traceback (most recent call last):
    latentmap.exceptions.PartError: k must be a whole number >= 1, got 0
    """

    mix: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.mix <= 1:
            raise PartError(f"mix is the weight of the ELBO, from 0 to 1, got {self.mix!r}")

    def losses(self, own: Learned, model: Model, trace: Trace, progress: Float[Tensor, ""]) -> Mapping[str, Tensor]:
        """Compute minus the mean bound over the batch, for one player."""
        bound = ((1 - self.mix) * trace.bound(self.groups) + self.mix * trace.log_w.mean(0)).mean()
        return {MODEL: extra_cost(trace) - bound} | _parts(trace, bound)


@dataclass(frozen=True)
class _TwoBounds(_Weighted):
    """Base of objectives with two players, p(x, z) and q(z|x), each with a loss over the same draws."""

    def players(self, own: Learned, model: Model) -> dict[str, list[nn.Parameter]]:
        """Return the generative player first: its bound is monitored."""
        return {GENERATIVE: [*model.generative_parameters()], INFERENCE: [*model.inference_parameters()]}


@dataclass(frozen=True)
class PIWAE(_TwoBounds):
    r"""Separate bounds: IWAE of all k m draws for p(x, z), MIWAE of m groups for q(z|x) (Rainforth et al. 2018).

    The signal-to-noise ratio of IWAE's gradient for the encoder falls as k grows; the mean over groups restores it.

    Parameters
    ----------
    k : int, default=8
        Draws of each group.
    groups : int, default=8
        Number m of groups.

    Examples
    --------
    >>> PIWAE(k=8, groups=4).samples
    32
    """

    k: int = 8
    groups: int = 8

    def losses(self, own: Learned, model: Model, trace: Trace, progress: Float[Tensor, ""]) -> Mapping[str, Tensor]:
        """Compute minus the mean of each player's bound over the batch."""
        extra, bound = extra_cost(trace), trace.bound().mean()
        losses = {GENERATIVE: extra - bound, INFERENCE: extra - trace.bound(self.groups).mean()}
        return losses | _parts(trace, bound)


@dataclass(frozen=True)
class DReG(_TwoBounds):
    r"""IWAE with the doubly reparameterised gradient for q(z|x), of lower variance (Tucker et al. 2019).

    .. math:: \nabla_\phi \mathcal{L}_k = \mathbb{E} \sum_{i=1}^k \tilde w_i^2\,
              \frac{\partial \log w_i}{\partial z_i} \frac{\partial z_i}{\partial \phi}, \qquad
              \tilde w_i = \frac{w_i}{\sum_j w_j}

    It equals IWAE's gradient in expectation, and its signal-to-noise ratio does not fall as k grows. k = 1 is the path
    derivative of the ELBO (Roeder et al. 2017).

    Parameters
    ----------
    k : int, default=5
        Draws of each bound.
    groups : int, default=1
        Number of bounds, of which the mean is taken.

    Examples
    --------
    >>> DReG(k=50).samples
    50
    """

    def check_model(self, model: Model, trace: Trace) -> None:
        """Raise a `PartError` for a posterior without factors, or a prior that consists of the encoder."""
        super().check_model(model, trace)
        require_factors("objectives.DReG", trace, "objectives.IWAE()")
        (level,) = trace.levels
        parameters = [p for p in model.inference_parameters() if p.requires_grad]
        log_p = level.p.log_prob(level.z.detach())
        if log_p.requires_grad and any(
            g is not None for g in torch.autograd.grad(log_p.sum(), parameters, retain_graph=True, allow_unused=True)
        ):
            raise PartError("objectives.DReG needs a prior apart from the encoder; use objectives.IWAE() for this one")

    def losses(self, own: Learned, model: Model, trace: Trace, progress: Float[Tensor, ""]) -> Mapping[str, Tensor]:
        """Compute minus the mean bound for p(x, z), and for q(z|x) a loss of which only the gradient has a meaning."""
        (level,) = trace.levels
        score = level.q.log_prob(level.z.detach())  # its gradient is the one that the path derivative leaves out
        log_w = (trace.log_w + score - score.detach()).unflatten(0, (self.groups, self.k))  # (M, K/M, B)
        squared = log_w.detach().softmax(1) ** 2
        extra, bound = extra_cost(trace), trace.bound(self.groups).mean()
        losses = {GENERATIVE: extra - bound, INFERENCE: extra - (squared * log_w).sum(1).mean()}
        return losses | _parts(trace, bound)
