"""Distributions that torch lacks, and short names for those that it has.

Validation is off throughout, since it would synchronise the device at every step; data are checked once, on input.
"""

from __future__ import annotations

import contextlib
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily, MultivariateNormal, Normal, register_kl
from torch.nn import functional as F

from latentmap.exceptions import NoDensityError, PartError
from latentmap.model.noise import Generated, Noise, drawing_from

LATENT_LOG_SCALE_BOUND = 7.0
"""Soft bound of |log sigma| of posteriors and of learned priors, over latent components."""
DATA_LOG_SCALE_BOUND = 6.0
"""Soft bound of |log sigma| of likelihoods of real values, where it is learned; an optimal scale is at least e^-6."""
LEVELS_LOG_SCALE_BOUND = 7.0
"""Soft bound of |log s| of logistics over levels, before the least scale is added."""
LOG_DEGREES_BOUND = 6.0
"""Soft bound of |log(nu - 1)| of Student's t, where nu is learned."""
LOG_MEAN_BOUND = 15.0
"""Soft bound of the decoder's output, which is added to the log-mean of counts."""
LOG_DISPERSION_BOUND = 6.0
"""Soft bound of |log alpha| of negative binomials, where it is learned."""
LOG_CONCENTRATION_BOUND = 9.0
"""Soft bound of |log((kappa / (D - 1) - 1) / 9)| of posteriors on the sphere."""
LOGIT_BOUND = 15.0
"""Soft bound of logits of the continuous Bernoulli, whose normaliser is exact there in single precision."""


def independent(base: Distribution) -> Independent[Distribution]:
    """Return a distribution whose last axis is one event: ``log_prob`` sums over it.

    >>> independent(Normal(torch.zeros(5, 3), 1.0)).log_prob(torch.zeros(5, 3)).shape
    torch.Size([5])
    """
    return Rows(base, 1, validate_args=False)


def normal(loc: Float[Tensor, "*S D"], scale: Tensor, log_scale: Tensor | None = None) -> Independent[Distribution]:
    """Return N(loc, diag(scale^2)) over the last axis; the scale broadcasts, its logarithm may be passed too."""
    return independent(DiagonalNormal(loc, scale, log_scale))


def soft_bound(x: Tensor, bound: float) -> Tensor:
    """Return bound * tanh(x / bound), in (-bound, bound), which is almost x near zero.

    >>> soft_bound(torch.tensor([0.1, 1e9]), 7.0)
    tensor([0.1000, 7.0000])
    """
    return bound * torch.tanh(x / bound)


def draw(p: Distribution, shape: Sequence[int], noise: Noise) -> Tensor:
    """Draw from a distribution with noise, without gradient.

    The distributions of priors take any noise, so that a compiled step can draw from its prior; others need noise from
    a generator.

    >>> from latentmap.model.noise import generator_for
    >>> draw(Normal(torch.zeros(3), 1.0), (2,), Generated(generator_for(0))).shape
    torch.Size([2, 3])
    """
    shape = torch.Size(shape)
    with torch.no_grad():
        if hasattr(p, "draw"):
            own: Tensor = p.draw(shape, noise)
            return own
        if isinstance(p, Independent):
            return draw(p.base_dist, shape, noise)
        if isinstance(p, Normal):
            return p.loc + p.scale * noise((*shape, *p.batch_shape), p.loc)
        if isinstance(p, MultivariateNormal):
            white = noise((*shape, *p.batch_shape, *p.event_shape), p.loc)
            return p.loc + (p._unbroadcasted_scale_tril @ white[..., None])[..., 0]
        if isinstance(p, MixtureSameFamily):
            return _draw_mixture(p, shape, noise)
        if not isinstance(noise, Generated):
            raise PartError(f"a {type(p).__name__} is drawn by a generator, not from noise drawn beforehand")
        with drawing_from(noise.generator) if noise.generator is not None else contextlib.nullcontext():
            drawn: Tensor = p.sample(shape)
            return drawn


def _draw_mixture(p: MixtureSameFamily, shape: torch.Size, noise: Noise) -> Tensor:
    """Draw a component by inversion of the distribution function, then a value from it."""
    upper, components = p.mixture_distribution.probs.cumsum(-1), p.component_distribution  # (*batch, C)
    uniform = noise.uniform((*shape, *p.batch_shape), upper)[..., None]
    chosen = (uniform > upper[..., :-1]).sum(-1)  # (*shape, *batch)
    if not p.batch_shape and isinstance(components, MultivariateNormal):
        scales = components._unbroadcasted_scale_tril.expand(*components.loc.shape, -1)
        return draw(
            MultivariateNormal(components.loc[chosen], scale_tril=scales[chosen], validate_args=False), (), noise
        )
    if not p.batch_shape and isinstance(components, Independent) and isinstance(components.base_dist, Normal):
        return draw(normal(components.mean[chosen], components.stddev[chosen]), (), noise)
    each = draw(components, shape, noise)  # (*shape, *batch, C, *event)
    index = chosen[(..., *[None] * (1 + len(p.event_shape)))].expand(*chosen.shape, 1, *p.event_shape)
    return each.gather(chosen.ndim, index).squeeze(chosen.ndim)


def average(p: Distribution, weight: Float[Tensor, "K B"]) -> Float[Tensor, "B P"]:
    """Return the weighted mean over K draws a row.

    >>> average(Normal(torch.tensor([[[1.0]], [[3.0]]]), 1.0), torch.tensor([[0.5], [0.5]]))
    tensor([[2.]])
    """
    base = p.base_dist if isinstance(p, Independent) else p
    if hasattr(base, "average"):
        own: Tensor = base.average(weight)
        return own
    return torch.einsum("kb,kbp->bp", weight, p.mean)


def exponential_mean(p: Distribution, rate: Float[Tensor, " P"]) -> Float[Tensor, "*S P"]:
    r"""Return :math:`\log \mathbb{E}[e^{a x}] / a` for a rate a, or the mean of x where that is infinite.

    >>> exponential_mean(DiagonalNormal(torch.zeros(1), torch.ones(1)), torch.tensor([2.0])).exp()
    tensor([2.7183])
    """
    base = p.base_dist if isinstance(p, Independent) else p
    mean: Tensor = base.exponential_mean(rate) if hasattr(base, "exponential_mean") else base.mean
    return mean


def log_prob_inside(p: Distribution, value: Tensor) -> Tensor:
    """Return the log-density or log-mass of values in the support, without checking it.

    >>> log_prob_inside(Normal(torch.zeros(1), 1.0), torch.zeros(1))
    tensor([-0.9189])
    """
    log_prob: Callable[[Tensor], Tensor] = getattr(p, "log_prob_inside", p.log_prob)
    return log_prob(value)


class Within(Distribution):
    """Mixin for distributions of torch whose log_prob is finite outside their support, where it should be -inf."""

    @abstractmethod
    def inside(self, value: Tensor) -> Tensor:
        """Return which values lie in the support; 0 is one of them."""

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density or log-mass, -inf outside the support."""
        inside = self.inside(value)
        return torch.where(inside, self.log_prob_inside(torch.where(inside, value, 0.0)), -math.inf)

    def log_prob_inside(self, value: Tensor) -> Tensor:
        """Return the log-density or log-mass of values in the support, without checking it."""
        return super().log_prob(value)


class Rows(Independent[Distribution]):
    """`Independent` that uses the faster sum over features of a base that has one."""

    def log_prob(self, value: Float[Tensor, "*K P"]) -> Float[Tensor, "*L"]:
        """Return the sum over features; -inf where one lies outside the support."""
        if not hasattr(self.base_dist, "log_prob_of_rows"):
            elementwise: Tensor = self.base_dist.log_prob(value)
            return elementwise.sum(-1)
        log_p = self.log_prob_inside(value)
        return torch.where(self.base_dist.holds(value), log_p, -math.inf) if hasattr(self.base_dist, "holds") else log_p

    def log_prob_inside(self, value: Float[Tensor, "*K P"]) -> Float[Tensor, "*L"]:
        """Return the sum over features, for values in the support."""
        if hasattr(self.base_dist, "log_prob_of_rows"):
            log_p: Tensor = self.base_dist.log_prob_of_rows(value)
            return log_p
        return log_prob_inside(self.base_dist, value).sum(-1)

    @property
    def stddev(self) -> Float[Tensor, "*S P"]:
        """Standard deviation of the base, without squaring it and taking the root again."""
        return self.base_dist.stddev


class DiagonalNormal(Normal):
    """Normal distribution that keeps its scale unexpanded, and the logarithm of it where that is known.

    >>> p = independent(DiagonalNormal(torch.zeros(5, 3), torch.tensor([2.0])))
    >>> p.log_prob(torch.zeros(5, 3)).shape, p.base_dist.scale.shape
    (torch.Size([5]), torch.Size([5, 3]))
    """

    def __init__(self, loc: Tensor, scale: Tensor, log_scale: Tensor | None = None) -> None:
        super().__init__(loc, scale, validate_args=False)
        self.short = scale
        self._log_scale = log_scale

    @property
    def log_scale(self) -> Tensor:
        """Logarithm of the scale, unexpanded."""
        return self.short.log() if self._log_scale is None else self._log_scale

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density of each feature."""
        return torch.addcmul(self._peak, (value - self.loc).square(), self._slope)

    def log_prob_of_rows(self, value: Float[Tensor, "*K P"]) -> Float[Tensor, "*L"]:
        """Return the sum over features; with one scale for all, by the sum of squares."""
        if self.short.numel() > 1:
            return self.log_prob(value).sum(-1)
        loc, value = torch.broadcast_tensors(self.loc, value)
        error = F.mse_loss(loc, value, reduction="none").sum(-1)
        return torch.addcmul(loc.shape[-1] * self._peak.squeeze(), error, self._slope.squeeze())

    def exponential_mean(self, rate: Tensor) -> Tensor:
        """Return the mean of a log-normal, on the logarithmic scale."""
        return self.loc + rate * self.scale.square() / 2

    @property
    def _peak(self) -> Tensor:
        return -self.log_scale - 0.5 * math.log(2 * math.pi)

    @property
    def _slope(self) -> Tensor:
        return -0.5 / self.short.square()


class StandardNormal(DiagonalNormal):
    """N(0, 1) of each feature, from zeros and ones."""


@register_kl(DiagonalNormal, StandardNormal)  # type: ignore[untyped-decorator]
def _kl_to_standard_normal(q: DiagonalNormal, p: StandardNormal) -> Tensor:
    return 0.5 * (q.loc.square() + q.scale.square() - 1) - q.log_scale


class Delta(Distribution):
    """Point mass; it has no density, so `log_prob` raises a `NoDensityError`.

    >>> Delta(torch.ones(4, 2)).rsample((3,)).shape
    torch.Size([3, 4, 2])
    """

    arg_constraints: dict[str, Any] = {}
    has_rsample = True

    def __init__(self, loc: Float[Tensor, "*S D"], name: str = "Deterministic") -> None:
        self.loc, self.name = loc, name
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Float[Tensor, "*S D"]:
        """The point."""
        return self.loc

    @property
    def stddev(self) -> Float[Tensor, "*S D"]:
        """Zero."""
        return torch.zeros_like(self.loc)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Repeat the point."""
        return self.loc.expand(*sample_shape, *self.loc.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Raise a `NoDensityError`, since a point mass has no density."""
        raise NoDensityError(
            f"a {self.name} posterior has no density, so this model has no rate, evidence or score per row; "
            "use VAE (posteriors.Gaussian) for those"
        )


class Distortion(Distribution):
    """Cost in place of a density p(x|z): it has a mean, but neither `log_prob` nor draws.

    >>> Distortion("MSE", torch.zeros(4, 2), lambda x: (x**2).sum(-1)).cost(torch.ones(4, 2))
    tensor([2., 2., 2., 2.])
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(self, name: str, mean: Float[Tensor, "*S P"], cost: Callable[[Tensor], Tensor]) -> None:
        self.name = name
        self._mean = mean
        self.cost = cost
        """Rows (B, P) -> nats a row (*S), the distortion of a trace."""
        super().__init__(mean.shape[:-1], mean.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Float[Tensor, "*S P"]:
        """Decoded values."""
        return self._mean

    def log_prob(self, value: Tensor) -> NoReturn:
        """Raise a `NoDensityError`, since a cost is no density."""
        raise NoDensityError(
            f"{self.name} is a distortion without density, so this model has no evidence or score per row and cannot "
            "be importance-weighted; use likelihoods.Gaussian() or likelihoods.DiscretizedLogistic() for those"
        )

    def sample(self, sample_shape: Sequence[int] = ()) -> NoReturn:
        """Raise a `NoDensityError`, since a cost has no draws."""
        raise NoDensityError(f"{self.name} is a distortion without density and cannot be drawn from; use its mean")
