"""Likelihoods of counts: whole numbers from 0 on, unscaled.

The encoder reads them on a logarithmic scale, and the decoder returns by how much the log-mean of a feature differs
from that of the training rows: counts of any size are as easy to learn as scaled values.

With ``library=True`` the likelihood is conditional on the total of a row, and the code describes the proportions alone:
for rows such as cells sequenced to different depths (Lopez et al. 2018).
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
from latentmap.model.distributions import LOG_DISPERSION_BOUND, LOG_MEAN_BOUND, Within, log_prob_inside, soft_bound
from latentmap.model.likelihoods.base import Likelihood
from latentmap.model.part import Learned, Sizes, forwarded, positive
from latentmap.model.sparse import with_values

LARGE = 20.0
"""Counts beyond which log-gammas are Stirling's series, to 1e-9."""
FEW = 0.25
"""Fraction of counts above zero below which rows count as sparse."""
MOST = 1e30
"""Counts beyond which there is no mass: their logarithms overflow single precision."""


@dataclass(frozen=True)
class Counts(Likelihood, ABC):
    """Base of likelihoods of counts; a subclass defines ``library``, `times` and `distribution`."""

    discrete: ClassVar[bool] = True
    support: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    takes_sparse: ClassVar[bool] = True

    @property
    @abstractmethod
    def library(self) -> bool:
        """Whether the likelihood is conditional on the total of a row, so that the code describes proportions."""

    @abstractmethod
    def times(self, px: distributions.Distribution, factor: Float[Tensor, "*S 1"]) -> distributions.Distribution:
        """Return the distribution with the mean times the exponential of ``factor``."""

    def scaling(self, schema: Schema) -> Scaling | None:
        """Return the identity."""
        return Scaling(0.0, 1.0, "none")

    def encoder_inputs(self, own: Learned, x: Float[Tensor, "B P"]) -> Float[Tensor, "B P"]:
        """Return asinh(x), about x for small and log(2x) for large counts; with ``library``, x of the mean total."""
        factor = (-self._depth(own, x)).exp() if self.library else None
        if x.is_sparse:
            values = x.values() if factor is None else x.values() * factor[x.indices()[0], 0]
            return with_values(x, values.asinh())
        return torch.asinh(x if factor is None else x * factor)

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return the log-mean of each feature over the training rows, and of their totals."""
        return {"log_mean": torch.zeros(sizes.features)} | ({"log_library": torch.zeros(1)} if self.library else {})

    def start(self, own: Learned, x: Float[Tensor, "B P"]) -> None:
        """Compute the mean of each feature; one count for a feature without any."""
        own.log_mean.copy_(x.mean(0).clamp_min(1 / len(x)).log())
        if self.library:
            own.log_library.copy_(x.sum(1).mean().clamp_min(1 / len(x)).log())

    def condition_on(
        self, own: Learned, x: Float[Tensor, "B P"], px: distributions.Distribution
    ) -> distributions.Distribution:
        """Return p(x|z, total) with ``library``, else p(x|z)."""
        return self.times(px, self._depth(own, x)) if self.library else px

    def _depth(self, own: Learned, x: Float[Tensor, "B P"]) -> Float[Tensor, "B 1"]:
        """Return the logarithm of the total of each row, of its observed cells, over the mean total."""
        totals = torch.sparse.sum(x, 1).to_dense()[:, None] if x.is_sparse else x.nansum(-1, keepdim=True)
        depth: Tensor = totals.clamp(1.0, MOST).log() - own.log_library
        return depth

    def _log_mean(self, own: Learned, raw: Float[Tensor, "*S P"]) -> Float[Tensor, "*S P"]:
        """Return the log-mean of each feature; with ``library``, that of a row with the mean total."""
        log_mean: Tensor = own.log_mean + soft_bound(raw, LOG_MEAN_BOUND)
        return own.log_library + log_mean.log_softmax(-1) if self.library else log_mean

    def check(self, sizes: Sizes) -> None:
        """Raise a `PartError` for the total of a single feature, which is the feature itself."""
        if self.library and sizes.features < 2:
            raise PartError(
                f"{self} conditions on the total of a row, and a row of one feature is its total; use library=False"
            )

    def check_data(self, schema: Schema, low: float, high: float) -> None:
        """Raise a `PartError` for values that are negative or not whole."""
        if low < 0 or not schema.integral:
            kind = "values in between" if low >= 0 else "negative values"
            other = "ContinuousBernoulli() or likelihoods.Gaussian()" if schema.within(0.0, 1.0) else "Gaussian()"
            raise PartError(
                f"likelihood {type(self).__name__} takes counts, whole numbers >= 0, got {kind} "
                f"({schema.lowest:g} to {schema.highest:g}); use likelihoods.{other}"
            )


@dataclass(frozen=True)
class Poisson(Counts):
    r"""Poisson likelihood: counts whose variance is their mean.

    .. math:: P(x|z) = \frac{\lambda^x e^{-\lambda}}{x!}, \qquad \log \lambda = \log \bar x + d(z)

    with the mean of the training rows, and d(z) bounded softly by 15.

    Parameters
    ----------
    library : bool, default=False
        Whether to condition on the total of each row, also in `score_samples`; codes without a row take the mean total.
        Then :math:`\lambda = (\sum_j x_j)\, \mathrm{softmax}(\log \bar x + d(z))`.

    Examples
    --------
    >>> p = Poisson().distribution(Poisson().build(Sizes((1,), 2)), torch.zeros(1, 1))
    >>> p.mean, p.log_prob(torch.tensor([0.0]))
    (tensor([1.]), tensor([-1.]))
    """

    library: bool = False

    def distribution(self, own: Learned, raw: Float[Tensor, "*S P H"]) -> distributions.Distribution:
        """Return the Poisson distribution with this log-mean."""
        return PoissonCounts(self._log_mean(own, raw[..., 0]).exp(), validate_args=False)

    def times(self, px: distributions.Distribution, factor: Float[Tensor, "*S 1"]) -> distributions.Distribution:
        """Return the Poisson distribution with the mean times the factor's exponential."""
        return PoissonCounts(px.mean * factor.exp(), validate_args=False)


@dataclass(frozen=True)
class NegativeBinomial(Counts):
    r"""Negative binomial likelihood: a Poisson whose mean is drawn from a gamma (Lopez et al. 2018).

    .. math:: P(x|z) = \frac{\Gamma(x + \frac1\alpha)}{x!\, \Gamma(\frac1\alpha)}
              \left(\frac{\alpha\mu}{1 + \alpha\mu}\right)^x (1 + \alpha\mu)^{-1/\alpha}, \qquad
              \mathrm{Var}\, x = \mu + \alpha \mu^2, \quad \log \mu = \log \bar x + d(z)

    Parameters
    ----------
    dispersion : {"feature", "shared"} or float, default="feature"
        Alpha: one learned value for each feature, one for all, or a fixed number. A learned log alpha is bounded softly
        by 6, d(z) by 15.
    library : bool, default=False
        Whether to condition on the total of each row, as for `Poisson`.

    Examples
    --------
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
        """Return the log-mean of each feature, and the log of alpha."""
        log_alpha = torch.tensor([1.0 if isinstance(self.dispersion, str) else float(self.dispersion)]).log()
        if isinstance(self.dispersion, str):
            log_alpha = nn.Parameter(log_alpha.repeat(1 if self.dispersion == "shared" else sizes.features))
        return {**super().init(sizes), "log_dispersion": log_alpha}

    def distribution(self, own: Learned, raw: Float[Tensor, "*S P H"]) -> distributions.Distribution:
        """Return the negative binomial with 1 / alpha failures and log-odds log(alpha * mu)."""
        log_alpha: Tensor = own.log_dispersion
        if isinstance(self.dispersion, str):
            log_alpha = soft_bound(log_alpha, LOG_DISPERSION_BOUND)
        log_odds = self._log_mean(own, raw[..., 0]) + log_alpha
        return NegativeBinomialCounts((-log_alpha).exp(), logits=log_odds, validate_args=False)

    def times(self, px: distributions.Distribution, factor: Float[Tensor, "*S 1"]) -> distributions.Distribution:
        """Return the negative binomial of the same dispersion with the mean times the factor's exponential."""
        assert isinstance(px, distributions.NegativeBinomial)
        return NegativeBinomialCounts(px.total_count, logits=px.logits + factor, validate_args=False)


@dataclass(frozen=True)
class ZeroInflated(Counts):
    r"""Zero-inflated counts: 0 with a probability from the decoder, else a draw of another likelihood (Lambert 1992).

    .. math:: P(x|z) = \pi(z)\, [x = 0] + (1 - \pi(z))\, P_0(x|z)

    Parameters
    ----------
    counts : Poisson or NegativeBinomial, default=NegativeBinomial()
        P_0. The decoder returns the log-odds of pi besides its numbers.

    Examples
    --------
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
        """Numbers of the counts, and the log-odds of pi."""
        return self.counts.heads + 1

    def distribution(self, own: Learned, raw: Float[Tensor, "*S P H"]) -> ZeroInflatedCounts:
        """Return the mixture of 0 and counts."""
        return ZeroInflatedCounts(raw[..., -1], self.counts.distribution(own, raw[..., :-1]))

    def times(self, px: distributions.Distribution, factor: Float[Tensor, "*S 1"]) -> distributions.Distribution:
        """Return the mixture with the mean of the counts times the factor's exponential."""
        assert isinstance(px, ZeroInflatedCounts)
        return ZeroInflatedCounts(px.gate, self.counts.times(px.counts, factor))


class WholeNumbers(Within):
    """Distribution of whole numbers from 0 on."""

    def inside(self, value: Tensor) -> Tensor:
        """Return whether values are whole numbers >= 0."""
        return (value >= 0) & (value <= MOST) & (value.floor() == value)


class PoissonCounts(WholeNumbers, distributions.Poisson):
    """Poisson distribution, -inf off the counts and exact for large ones."""

    def log_prob_inside(self, value: Tensor) -> Tensor:
        r"""Return the log-mass, without terms that cancel for large counts x.

        .. math:: x \log \lambda - \lambda - \log x! = x\, (\log(1 + u) - u) - \tfrac12 \log(2 \pi x)
                  - \tfrac{1}{12 x} + \dots, \qquad u = \lambda / x - 1
        """
        x, few = value.clamp_min(LARGE), value.clamp_max(LARGE)
        small = few * self.rate.log() - self.rate - torch.lgamma(few + 1)
        u = (self.rate - x) / x
        inner = u.clamp(-0.02, 0.02)
        series = inner.square() * (-0.5 + inner * (1 / 3 + inner * (-0.25 + inner / 5)))  # of log(1 + u) - u
        difference = torch.where(u == inner, series, (self.rate / x).log() - u)
        large = x * difference - 0.5 * (2 * math.pi * x).log() - _series(x)
        return torch.where(value > LARGE, large, small)


class NegativeBinomialCounts(WholeNumbers, distributions.NegativeBinomial):
    """Negative binomial distribution, -inf off the counts and exact for large ones."""

    def log_prob_inside(self, value: Tensor) -> Tensor:
        """Return the log-mass, without the cancellation of log-gammas of large counts."""
        successes = value * F.logsigmoid(self.logits)
        if _is_sparse(value):
            failures = self.total_count * F.logsigmoid(-self.logits)
            return _log_coefficient(value, self.total_count) + failures + successes
        failures = self.total_count * F.logsigmoid(-self.logits) - torch.lgamma(self.total_count)
        return log_gamma_ratio(value, self.total_count) + failures + successes


def _is_sparse(x: Tensor) -> bool:
    """Return whether log-gammas are taken of the counts above zero alone: where these are few, on a CPU."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    return int(x.count_nonzero()) < FEW * x.numel()


def _log_coefficient(x: Tensor, r: Tensor) -> Tensor:
    r"""Return :math:`\log \Gamma(x + r) - \log \Gamma(x + 1) - \log \Gamma(r)`, which is 0 for x = 0."""
    x, r = torch.broadcast_tensors(x, r)
    places = x.nonzero(as_tuple=True)
    count, failures = x[places], r[places]
    there = log_gamma_ratio(count, failures) - torch.lgamma(failures)
    return there.new_zeros(x.shape).index_put(places, there)


def log_gamma_ratio(x: Tensor, r: Tensor) -> Tensor:
    r"""Return :math:`\log \Gamma(x + r) - \log \Gamma(x + 1)`, by Stirling's series for large x, where both cancel.

    >>> log_gamma_ratio(torch.tensor([3.0, 1e8]), torch.tensor(2.0))  # log(x + 1)
    tensor([ 1.3863, 18.4207])
    """
    few = x.clamp_max(LARGE)
    b, shift = x.clamp_min(LARGE) + 1, r - 1
    a = b + shift
    large = (a - 0.5) * torch.log1p(shift / b) + shift * (b.log() - 1)
    large = large + _series(a) - _series(b)
    return torch.where(x > LARGE, large, torch.lgamma(few + r) - torch.lgamma(few + 1))


def _series(x: Tensor) -> Tensor:
    """Return the terms of Stirling's series of log Gamma(x) that fall with x."""
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
        """Return the log-mass of counts."""
        return self._gated(value, self.counts.log_prob(value))

    def log_prob_inside(self, value: Tensor) -> Tensor:
        """Return the log-mass of values that are known to be counts."""
        return self._gated(value, log_prob_inside(self.counts, value))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw counts, and set those of the zero component to 0."""
        drawn = self.counts.sample(torch.Size(sample_shape))
        return drawn * (torch.rand_like(drawn) < torch.sigmoid(-self.gate))

    def _gated(self, value: Tensor, log_p: Tensor) -> Tensor:
        drawn = F.logsigmoid(-self.gate) + log_p
        return torch.where(value == 0, torch.logaddexp(F.logsigmoid(self.gate), drawn), drawn)
