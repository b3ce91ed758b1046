"""Likelihoods of counts: whole numbers from 0 on, taken as they are.

The encoder sees them on a logarithmic scale, and the decoder says by how much the mean of a row, on that scale, differs
from the mean of all: counts of any size are as easy to learn as scaled ones.

Rows whose totals say how much was counted and not what, such as cells sequenced to different depths, ask for
``library=True``: the total is then given, and the code is left with the proportions (Lopez et al. 2018).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, distributions, nn
from torch.nn import functional as F

from latentmap.data.scaling import Scaling
from latentmap.data.schema import Schema
from latentmap.exceptions import PartError
from latentmap.model.distributions import (
    LOG_DISPERSION_BOUND,
    LOG_MEAN_BOUND,
    Within,
    log_prob_inside,
    soft_bound,
)
from latentmap.model.likelihoods.base import Likelihood
from latentmap.model.part import Learned, Sizes, forwarded, positive

LARGE = 20.0
"""Counts beyond which log-gammas are Stirling's series, to 1e-9."""
MOST = 1e30
"""Counts beyond have no mass: their logarithms overflow single precision."""


@dataclass(frozen=True)
class Counts(Likelihood, ABC):
    """Base of likelihoods of counts."""

    discrete: ClassVar[bool] = True
    support: ClassVar[tuple[float, float]] = (0.0, float("inf"))

    @property
    @abstractmethod
    def library(self) -> bool:
        """Whether the total of a row is given, and the code says in which proportions features share it."""

    @abstractmethod
    def times(self, px: distributions.Distribution, factor: Float[Tensor, "*S 1"]) -> distributions.Distribution:
        """Give the distribution whose mean is larger by a factor, of which this is the logarithm."""

    def scaling(self, schema: Schema) -> Scaling | None:
        """Leave counts as they are."""
        return Scaling(0.0, 1.0, "none")

    def encoder_inputs(self, own: Learned, x: Float[Tensor, "B P"]) -> Float[Tensor, "B P"]:
        """asinh(x), which is x near 0 and log(2x) far from it, and is defined for whatever else is encoded.

        Where the totals of rows are given, x is first brought to the mean of them.
        """
        return torch.asinh(x * (-self._depth(own, x)).exp() if self.library else x)

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """The log-mean of each feature over the training rows, and that of their totals."""
        return {"log_mean": torch.zeros(sizes.features)} | ({"log_library": torch.zeros(1)} if self.library else {})

    def start(self, own: Learned, x: Float[Tensor, "B P"]) -> None:
        """Take the mean of each feature; one count for a feature that has none."""
        own.log_mean.copy_(x.mean(0).clamp_min(1 / len(x)).log())
        if self.library:
            own.log_library.copy_(x.sum(1).mean().clamp_min(1 / len(x)).log())

    def condition_on(
        self, own: Learned, x: Float[Tensor, "B P"], px: distributions.Distribution
    ) -> distributions.Distribution:
        """Return p(x|z, total) with ``library``, else p(x|z)."""
        return self.times(px, self._depth(own, x)) if self.library else px

    def _depth(self, own: Learned, x: Float[Tensor, "B P"]) -> Float[Tensor, "B 1"]:
        """Logarithm of the total of each row over the mean of them, of what is there."""
        depth: Tensor = x.nansum(-1, keepdim=True).clamp(1.0, MOST).log() - own.log_library
        return depth

    def _log_mean(self, own: Learned, raw: Float[Tensor, "*S P"]) -> Float[Tensor, "*S P"]:
        """Log of the mean of each feature; of a row with the mean total, where totals are given."""
        log_mean: Tensor = own.log_mean + soft_bound(raw, LOG_MEAN_BOUND)
        return own.log_library + log_mean.log_softmax(-1) if self.library else log_mean

    def check(self, sizes: Sizes) -> None:
        """Refuse to give the total of a single feature, which says all of it."""
        if self.library and sizes.features < 2:
            raise PartError(
                f"{self} takes the total of a row as given, and a row of one feature is its total; use library=False"
            )

    def check_data(self, schema: Schema, low: float, high: float) -> None:
        """Refuse what is negative or not whole."""
        if low < 0 or not schema.integral:
            kind = "values in between" if low >= 0 else "negative values"
            other = "ContinuousBernoulli() or likelihoods.Gaussian()" if schema.within(0.0, 1.0) else "Gaussian()"
            raise PartError(
                f"likelihood {type(self).__name__} takes counts, whole numbers >= 0, got {kind} "
                f"({schema.lowest:g} to {schema.highest:g}); use likelihoods.{other}"
            )


@dataclass(frozen=True)
class Poisson(Counts):
    r"""Counts whose variance is their mean.

    .. math:: P(x|z) = \frac{\lambda^x e^{-\lambda}}{x!}, \qquad \log \lambda = \log \bar x + d(z)

    with the training rows' mean, and d(z) bounded softly by 15. With ``library`` the total of each row is given, and

    .. math:: \lambda = \Bigl(\sum\nolimits_j x_j\Bigr)\, \mathrm{softmax}(\log \bar x + d(z))

    which `score_samples` then takes as given too; codes without a row are decoded to one with the mean total.

    >>> p = Poisson().distribution(Poisson().build(Sizes((1,), 2)), torch.zeros(1, 1))
    >>> p.mean, p.log_prob(torch.tensor([0.0]))
    (tensor([1.]), tensor([-1.]))
    """

    library: bool = False

    def distribution(self, own: Learned, raw: Float[Tensor, "*S P H"]) -> distributions.Distribution:
        """Poisson with this log-mean."""
        return PoissonCounts(self._log_mean(own, raw[..., 0]).exp(), validate_args=False)

    def times(self, px: distributions.Distribution, factor: Float[Tensor, "*S 1"]) -> distributions.Distribution:
        """Poisson with a larger mean."""
        return PoissonCounts(px.mean * factor.exp(), validate_args=False)


@dataclass(frozen=True)
class NegativeBinomial(Counts):
    r"""Counts that vary more than Poisson's: a Poisson whose mean is drawn from a gamma (as in Lopez et al. 2018).

    .. math:: P(x|z) = \frac{\Gamma(x + \frac1\alpha)}{x!\, \Gamma(\frac1\alpha)}
              \left(\frac{\alpha\mu}{1 + \alpha\mu}\right)^x (1 + \alpha\mu)^{-1/\alpha}, \qquad
              \mathrm{Var}\, x = \mu + \alpha \mu^2, \quad \log \mu = \log \bar x + d(z)

    ``dispersion`` is alpha: "feature" (one learned for each feature), "shared" or a positive number. A learned log
    alpha is bounded softly by 6, d(z) by 15. ``library`` gives the total of each row, as for `Poisson`.

    >>> part = NegativeBinomial(dispersion=0.5)
    >>> p = part.distribution(part.build(Sizes((1,), 2)), torch.zeros(1, 1))
    >>> p.mean, p.variance
    (tensor([1.]), tensor([1.5000]))
    """

    dispersion: float | Literal["shared", "feature"] = "feature"
    library: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.dispersion, str):
            positive("dispersion", self.dispersion)
        elif self.dispersion not in ("shared", "feature"):
            raise PartError(f"dispersion must be 'shared', 'feature' or a positive number, got {self.dispersion!r}")

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """The log-mean of each feature, and the log of alpha."""
        log_alpha = torch.tensor([1.0 if isinstance(self.dispersion, str) else float(self.dispersion)]).log()
        if isinstance(self.dispersion, str):
            log_alpha = nn.Parameter(log_alpha.repeat(1 if self.dispersion == "shared" else sizes.features))
        return {**super().init(sizes), "log_dispersion": log_alpha}

    def distribution(self, own: Learned, raw: Float[Tensor, "*S P H"]) -> distributions.Distribution:
        """Negative binomial with 1 / alpha failures and log-odds log(alpha * mu)."""
        log_alpha: Tensor = own.log_dispersion
        if isinstance(self.dispersion, str):
            log_alpha = soft_bound(log_alpha, LOG_DISPERSION_BOUND)
        log_odds = self._log_mean(own, raw[..., 0]) + log_alpha
        return NegativeBinomialCounts((-log_alpha).exp(), logits=log_odds, validate_args=False)

    def times(self, px: distributions.Distribution, factor: Float[Tensor, "*S 1"]) -> distributions.Distribution:
        """Negative binomial with a larger mean, and the same dispersion."""
        assert isinstance(px, distributions.NegativeBinomial)
        return NegativeBinomialCounts(px.total_count, logits=px.logits + factor, validate_args=False)


@dataclass(frozen=True)
class ZeroInflated(Counts):
    r"""Counts with more zeros than their distribution explains: a gate that gives 0, else a draw (Lambert 1992).

    .. math:: P(x|z) = \pi(z)\, [x = 0] + (1 - \pi(z))\, P_0(x|z)

    ``counts`` is P_0, `Poisson` or `NegativeBinomial`; the decoder gives the log-odds of pi beside what P_0 asks for.

    >>> part = ZeroInflated(Poisson())
    >>> p = part.distribution(part.build(Sizes((1,), 2)), torch.zeros(1, 2))
    >>> p.mean, p.log_prob(torch.tensor([0.0])).exp()
    (tensor([0.5000]), tensor([0.6839]))
    """

    counts: Counts = field(default_factory=NegativeBinomial)

    def __post_init__(self) -> None:
        if not isinstance(self.counts, Poisson | NegativeBinomial):
            raise PartError(f"counts must be Poisson() or NegativeBinomial(), got {self.counts!r}")

    library = forwarded("counts")
    init = forwarded("counts")

    @property
    def heads(self) -> int:
        """What the counts ask for, and the log-odds of the gate."""
        return self.counts.heads + 1

    def distribution(self, own: Learned, raw: Float[Tensor, "*S P H"]) -> ZeroInflatedCounts:
        """Counts behind a gate."""
        return ZeroInflatedCounts(raw[..., -1], self.counts.distribution(own, raw[..., :-1]))

    def times(self, px: distributions.Distribution, factor: Float[Tensor, "*S 1"]) -> distributions.Distribution:
        """Larger counts behind the same gate."""
        assert isinstance(px, ZeroInflatedCounts)
        return ZeroInflatedCounts(px.gate, self.counts.times(px.counts, factor))


class WholeNumbers(Within):
    """A distribution of whole numbers from 0 on."""

    def inside(self, value: Tensor) -> Tensor:
        """Whole numbers >= 0."""
        return (value >= 0) & (value <= MOST) & (value.floor() == value)


class PoissonCounts(WholeNumbers, distributions.Poisson):
    """Poisson of counts alone."""

    def log_prob_inside(self, value: Tensor) -> Tensor:
        r"""Log-mass, of which large parts cancel for large counts x: those are left out beforehand.

        .. math:: x \log \lambda - \lambda - \log x! = x\, (\log(1 + u) - u) - \tfrac12 \log(2 \pi x)
                  - \tfrac{1}{12 x} + \dots, \qquad u = \lambda / x - 1
        """
        far, near = value.clamp_min(LARGE), value.clamp_max(LARGE)
        small = near * self.rate.log() - self.rate - torch.lgamma(near + 1)
        u = (self.rate - far) / far
        inner = u.clamp(-0.02, 0.02)
        bent = inner.square() * (-0.5 + inner * (1 / 3 + inner * (-0.25 + inner / 5)))
        bent = torch.where(u == inner, bent, (self.rate / far).log() - u)
        large = far * bent - 0.5 * (2 * math.pi * far).log() - _series(far)
        return torch.where(value > LARGE, large, small)


class NegativeBinomialCounts(WholeNumbers, distributions.NegativeBinomial):
    """Negative binomial of counts alone."""

    def log_prob_inside(self, value: Tensor) -> Tensor:
        """Log-mass, without the cancellation of log-gammas of large counts."""
        failures = self.total_count * F.logsigmoid(-self.logits) - torch.lgamma(self.total_count)
        return log_gamma_ratio(value, self.total_count) + failures + value * F.logsigmoid(self.logits)


def log_gamma_ratio(x: Tensor, r: Tensor) -> Tensor:
    r"""Return :math:`\log \Gamma(x + r) - \log \Gamma(x + 1)`, by Stirling's series for large x, where both cancel.

    >>> log_gamma_ratio(torch.tensor([3.0, 1e8]), torch.tensor(2.0))  # log(x + 1)
    tensor([ 1.3863, 18.4207])
    """
    near = x.clamp_max(LARGE)
    b, shift = x.clamp_min(LARGE) + 1, r - 1
    a = b + shift
    large = (a - 0.5) * torch.log1p(shift / b) + shift * (b.log() - 1)
    large = large + _series(a) - _series(b)
    return torch.where(x > LARGE, large, torch.lgamma(near + r) - torch.lgamma(near + 1))


def _series(x: Tensor) -> Tensor:
    """What Stirling's series adds to log Gamma(x)."""
    y = x.reciprocal()
    return y * (1 / 12 - y * y * (1 / 360 - y * y / 1260))


class ZeroInflatedCounts(distributions.Distribution):
    """Zero with the probability sigmoid(gate), else a draw from ``counts``."""

    arg_constraints: dict[str, Any] = {}

    def __init__(self, gate: Float[Tensor, "*S"], counts: distributions.Distribution) -> None:
        self.gate = gate
        self.counts = counts
        super().__init__(gate.shape, validate_args=False)

    @property
    def mean(self) -> Float[Tensor, "*S"]:
        """(1 - pi) times the mean of the counts."""
        return torch.sigmoid(-self.gate) * self.counts.mean

    @property
    def variance(self) -> Float[Tensor, "*S"]:
        """(1 - pi) (variance + pi mean^2) of the counts."""
        opened = torch.sigmoid(-self.gate)
        return opened * (self.counts.variance + (1 - opened) * self.counts.mean**2)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-mass of counts."""
        return self._gated(value, self.counts.log_prob(value))

    def log_prob_inside(self, value: Tensor) -> Tensor:
        """Log-mass of what is known to be counts."""
        return self._gated(value, log_prob_inside(self.counts, value))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw counts, and zero those whose gate is shut."""
        drawn = self.counts.sample(torch.Size(sample_shape))
        return drawn * (torch.rand_like(drawn) < torch.sigmoid(-self.gate))

    def _gated(self, value: Tensor, log_p: Tensor) -> Tensor:
        drawn = F.logsigmoid(-self.gate) + log_p
        return torch.where(value == 0, torch.logaddexp(F.logsigmoid(self.gate), drawn), drawn)
