"""Likelihoods of values on equally spaced levels, such as the 256 grey values of a byte: masses, not densities."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional as F

from latentmap.data.scaling import Scaling
from latentmap.data.schema import Schema
from latentmap.exceptions import PartError
from latentmap.model.distributions import LEVELS_LOG_SCALE_BOUND, soft_bound
from latentmap.model.likelihoods.base import Likelihood
from latentmap.model.part import Learned, whole

START = -2.0
"""Log of the initial scale of a logistic, where the levels span 0 to 1."""
SHARPEST = 0.125
"""The smallest scale of a logistic, in levels: one level then holds at most 96 % of the mass."""
ROUNDING = 1e-3
"""Tolerance beyond the ends, in levels, for rounding in the change of units."""
REACH = 10
"""Scales from its location beyond which a logistic function is taken to be 0 or 1."""


@dataclass(frozen=True)
class Levels(Likelihood, ABC):
    """Base of likelihoods over L equally spaced levels.

    In data units the levels are the whole numbers from 0 to L - 1, or, for data within [0, 1] that are not all whole,
    the fractions k / (L - 1), to the nearest of which a value is rounded. The model takes fractions. There is no mass
    beyond the ends, nor between whole numbers.

    Parameters
    ----------
    levels : int, default=256
        Number L of levels, at least 2.
    """

    levels: int = 256

    discrete: ClassVar[bool] = True
    support: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        whole("levels", self.levels, least=2)

    def scaling(self, schema: Schema) -> Scaling | None:
        """Return a division by L - 1 for whole numbers, and the identity for fractions."""
        if schema.integral:
            return Scaling(0.0, self.levels - 1.0, "range", whole=True)
        return Scaling(0.0, 1.0, "none")

    def check_data(self, schema: Schema, low: float, high: float) -> None:
        """Raise a `PartError` for whole numbers beyond the levels, or fractions beyond [0, 1]."""
        if low < 0 or high > 1:
            name, most = type(self).__name__, schema.highest
            enough = f"{name}(levels={most + 1:.0f})" if schema.integral and low >= 0 and most else "Gaussian()"
            raise PartError(
                f"likelihood {name} takes whole numbers from 0 to {self.levels - 1} (levels - 1), or fractions from 0 "
                f"to 1, got values from {schema.lowest:g} to {most:g}; use likelihoods.{enough}"
            )


@dataclass(frozen=True)
class LogisticMixture(Levels):
    r"""Mixture of discretized logistics for each feature (Salimans et al. 2017), for levels with several modes.

    .. math:: P(x = k) = \sum_m \pi_m \left[ F\!\left(\frac{k + \frac12 - \mu_m}{s_m}\right)
              - F\!\left(\frac{k - \frac12 - \mu_m}{s_m}\right) \right], \qquad F(u) = \frac{1}{1 + e^{-u}},

    with open ends at the lowest and the highest level. Weights, locations and scales come from the decoder.

    Parameters
    ----------
    levels : int, default=256
        Number L of levels.
    components : int, default=5
        Number M of logistics.

    Examples
    --------
    >>> part = LogisticMixture(components=2, levels=4)
    >>> p = part.distribution(Learned(), torch.zeros(1, part.heads))
    >>> round(p.log_prob(torch.arange(4).view(4, 1) / 3).exp().sum().item(), 4)
    1.0
    """

    components: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("components", self.components)

    @property
    def heads(self) -> int:
        """Log-weight, location and log-scale of each component."""
        return 3 * self.components

    def distribution(self, own: Learned, raw: Float[Tensor, "*S P H"]) -> LogisticLevels:
        """Return the mixture of logistics, whose locations start spread over the levels."""
        weights, loc, log_scale = raw.chunk(3, -1)  # (*S, P, M) each
        return LogisticLevels(weights, loc, log_scale, self.levels)


@dataclass(frozen=True)
class DiscretizedLogistic(Levels):
    r"""Logistic density integrated over each level (Salimans et al. 2017): `LogisticMixture` with one component.

    .. math:: P(x = k) = F\!\left(\frac{k + \frac12 - \mu}{s}\right) - F\!\left(\frac{k - \frac12 - \mu}{s}\right)

    A score divided by -(features times log 2) is in bits per dimension, as the literature reports it.

    Parameters
    ----------
    levels : int, default=256
        Number L of levels.

    Examples
    --------
    >>> p = DiscretizedLogistic(levels=2).distribution(Learned(), torch.zeros(1, 2))
    >>> p.log_prob(torch.ones(1)).exp(), p.mean
    (tensor([0.5000]), tensor([0.5000]))
    """

    @property
    def heads(self) -> int:
        """Location and log-scale."""
        return 2

    def distribution(self, own: Learned, raw: Float[Tensor, "*S P H"]) -> LogisticLevels:
        """Return the logistic around the decoder's output."""
        loc, log_scale = raw.chunk(2, -1)  # (*S, P, 1) each
        return LogisticLevels(torch.zeros_like(loc), loc, log_scale, self.levels)


@dataclass(frozen=True)
class Categorical(Levels):
    r"""Categorical likelihood, one free probability for each level (van den Oord et al. 2016).

    .. math:: P(x = k) = \mathrm{softmax}(d(z))_k

    It fits any shape and ignores the order of levels; memory grows with L.

    Parameters
    ----------
    levels : int, default=256
        Number L of levels, and of logits for each feature.
    pooled : bool, default=False
        Whether the last level stands for many rare ones; it is then the likeliest only with more than half of the mass.

    Examples
    --------
    >>> p = Categorical(levels=3).distribution(Learned(), torch.tensor([[0.0, 0.0, 0.0]]))
    >>> p.log_prob(torch.tensor([0.5])).exp(), p.mean
    (tensor([0.3333]), tensor([0.5000]))
    """

    pooled: bool = False

    @property
    def heads(self) -> int:
        """One logit for each level."""
        return self.levels

    def distribution(self, own: Learned, raw: Float[Tensor, "*S P H"]) -> CategoricalLevels:
        """Return the categorical distribution over the levels with these logits."""
        return CategoricalLevels(raw, pooled=self.pooled)


class LevelsDistribution(Distribution, ABC):
    """Distribution over the fractions k / (L - 1): values are rounded to the nearest, with no mass beyond the ends."""

    arg_constraints: dict[str, Any] = {}

    def __init__(self, shape: torch.Size, levels: int) -> None:
        self.top = levels - 1
        super().__init__(shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-mass of the level of each value."""
        level = value * self.top
        inside = (level >= -ROUNDING) & (level <= self.top + ROUNDING)
        return torch.where(inside, self._log_mass(torch.where(inside, level, 0.0).round()), -math.inf)

    @abstractmethod
    def _log_mass(self, level: Tensor) -> Tensor:
        """Return the log-mass of whole levels from 0 to L - 1."""


class LogisticLevels(LevelsDistribution):
    """Mixture over the last axis of logistics on [0, 1], integrated over levels; exact in both tails."""

    def __init__(
        self, weights: Float[Tensor, "*S M"], loc: Float[Tensor, "*S M"], log_scale: Float[Tensor, "*S M"], levels: int
    ) -> None:
        super().__init__(weights.shape[:-1], levels)
        count = weights.shape[-1]  # a softmax of one is 0, and slow in several threads
        self.log_weights = weights.log_softmax(-1) if count > 1 else torch.zeros_like(weights)
        self.loc = loc + (torch.arange(count, device=loc.device, dtype=loc.dtype) + 0.5) / count
        self.scale = soft_bound(log_scale + START, LEVELS_LOG_SCALE_BOUND).exp() + SHARPEST / self.top

    @property
    def mean(self) -> Float[Tensor, "*S"]:
        """Mean level, the sum over levels j of P(level >= j), to 2e-4 of a level."""
        loc, scale, top = self.loc * self.top, self.scale * self.top, self.top  # in levels
        low, high = loc / scale, (loc - top) / scale
        slopes = torch.sigmoid(high) * torch.sigmoid(-high) - torch.sigmoid(low) * torch.sigmoid(-low)
        wide = scale * (F.softplus(low) - F.softplus(high)) + slopes / (24 * scale)  # Euler and Maclaurin's sum
        below = loc.floor() - REACH
        sharp = below.clamp(0, top)  # a scale below one level: few levels j are neither certain nor impossible
        for step in range(1, 2 * REACH + 2):
            j = below + step
            sharp = sharp + torch.sigmoid((loc - j + 0.5) / scale) * ((j >= 1) & (j <= top))
        return (self.log_weights.exp() * torch.where(scale < 1, sharp, wide)).sum(-1) / top

    @property
    def variance(self) -> Float[Tensor, "*S"]:
        """Variance, as a sum over levels j of the increase of the squared distance times P(level >= j)."""
        loc, scale, mean = self.loc * self.top, self.scale * self.top, self.mean * self.top
        whole = mean.floor()
        square = torch.zeros_like(mean)  # of the distance from there
        for j in range(1, self.top + 1):
            away = j - whole
            side = torch.where(away > 0, 1.0, -1.0)
            beyond = (self.log_weights.exp() * torch.sigmoid(side[..., None] * (loc - j + 0.5) / scale)).sum(-1)
            square = square + (2 * away - 1).abs() * beyond
        return (square - (mean - whole).square()).clamp_min(0) / self.top**2

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw a component, then a value from it, rounded to its level."""
        shape = torch.Size((*sample_shape, *self.batch_shape))
        chosen = torch.distributions.Categorical(logits=self.log_weights, validate_args=False).sample(sample_shape)
        loc, scale = (_pick(t.expand(*shape, -1), chosen) for t in (self.loc, self.scale))
        value = loc + scale * torch.rand_like(loc).logit(1e-7)
        return (value * self.top).round().clamp(0, self.top) / self.top

    def _log_mass(self, level: Tensor) -> Tensor:
        """Return log [F(b) - F(a)] = log F(b) + log F(-a) + log(1 - e^(a - b)), with open ends."""
        centred = level[..., None] / self.top - self.loc  # (*S, M)
        half = 0.5 / self.top
        upper = torch.where(level[..., None] == self.top, 0.0, F.logsigmoid((centred + half) / self.scale))
        lower = torch.where(level[..., None] == 0, 0.0, F.logsigmoid((half - centred) / self.scale))
        both = torch.log(-torch.expm1(-2 * half / self.scale))
        inner = (level[..., None] > 0) & (level[..., None] < self.top)
        return (self.log_weights + upper + lower + torch.where(inner, both, 0.0)).logsumexp(-1)


class CategoricalLevels(LevelsDistribution):
    """Categorical over levels, with the levels' values as its values."""

    def __init__(self, logits: Float[Tensor, "*S L"], *, pooled: bool = False) -> None:
        super().__init__(logits.shape[:-1], logits.shape[-1])
        self.log_masses = logits.log_softmax(-1)
        self.pooled = pooled

    def likeliest(self, masses: Float[Tensor, "*K L"] | None = None) -> Int[Tensor, "*K"]:
        """Return the likeliest levels, of masses such as averaged ones; a pooled one has more than half of the mass.

        >>> p = CategoricalLevels(torch.tensor([[0.3, 0.2, 0.5], [0.2, 0.1, 0.7]]).log(), pooled=True)
        >>> p.likeliest().tolist(), p.likeliest(torch.tensor([0.4, 0.3, 0.3])).tolist()
        ([0, 2], 0)
        """
        masses = self.log_masses.exp() if masses is None else masses
        if self.pooled and self.top:
            last = masses[..., -1:]
            masses = torch.cat([masses[..., :-1], torch.where(last > 0.5, last, 0.0)], -1)
        return masses.argmax(-1)

    @property
    def chance(self) -> Float[Tensor, "*S"]:
        """Mass of the likeliest level."""
        return _pick(self.log_masses, self.likeliest()).exp()

    @property
    def mean(self) -> Float[Tensor, "*S"]:
        """Mean level."""
        mean: Tensor = (self.log_masses.exp() * self._values).sum(-1)
        return mean

    @property
    def variance(self) -> Float[Tensor, "*S"]:
        """Variance of the level."""
        square: Tensor = (self._values - self.mean[..., None]).square()
        return (self.log_masses.exp() * square).sum(-1)

    @property
    def _values(self) -> Float[Tensor, " L"]:
        return torch.linspace(0, 1, self.top + 1, device=self.log_masses.device, dtype=self.log_masses.dtype)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw levels."""
        chosen = torch.distributions.Categorical(logits=self.log_masses, validate_args=False).sample(sample_shape)
        values: Tensor = chosen.to(self.log_masses.dtype) / self.top
        return values

    def _log_mass(self, level: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(level.shape, self.batch_shape)
        return _pick(self.log_masses.expand(*shape, -1), level.long().expand(shape))


def _pick(values: Tensor, index: Tensor) -> Tensor:
    """Take one value of the last axis for each index."""
    picked: Tensor = values.gather(-1, index[..., None])[..., 0]
    return picked
