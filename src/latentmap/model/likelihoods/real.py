"""Likelihoods of real values: a location from the decoder, and a scale that is learned, estimated or fixed."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch import distributions as td

from latentmap.exceptions import PartError
from latentmap.model.distributions import DATA_LOG_SCALE_BOUND, LOG_DEGREES_BOUND, DiagonalNormal, soft_bound
from latentmap.model.likelihoods.base import Likelihood
from latentmap.model.part import Learned, Sizes, positive

Scale = float | Literal["shared", "feature", "optimal"]

START = -1.0
"""Log of the initial scale, below the spread of scaled data."""
RATE, FAINT = 0.02, 1e-3
"""Weight of a batch in the running average, and of the initial value before the first batch."""


@dataclass(frozen=True)
class LocationScale(Likelihood, ABC):
    """Base of likelihoods with a location and a scale; a subclass defines `family`."""

    scale: Scale = "shared"

    moment: ClassVar[int] = 0
    """Power p of the maximum-likelihood scale, (mean of |x - d(z)|^p)^(1/p); 0 where it has no closed form."""

    def __post_init__(self) -> None:
        if not isinstance(self.scale, str):
            positive("scale", self.scale)
        elif self.scale not in (allowed := ["shared", "feature", "optimal"][: 3 if self.moment else 2]):
            raise PartError(f"scale must be {', '.join(map(repr, allowed))} or a positive number, got {self.scale!r}")

    @abstractmethod
    def family(self, own: Learned, loc: Float[Tensor, "*S P"], scale: Float[Tensor, " Q"]) -> td.Distribution:
        """Return the distribution with this location and scale."""

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return the log-scale; or, for an optimal scale, the running average of |x - d(z)|^p and its weight."""
        if self._estimates_scale:
            return {"running": torch.tensor([FAINT * math.exp(START * self.moment), FAINT])}
        if isinstance(self.scale, str):
            return {"log_scale": nn.Parameter(torch.full((1 if self.scale == "shared" else sizes.features,), START))}
        return {"log_scale": torch.tensor([float(self.scale)]).log()}

    def distribution(self, own: Learned, raw: Float[Tensor, "*S P H"]) -> td.Distribution:
        """Return the distribution around the decoder's output."""
        return self.family(own, raw.squeeze(-1), self._scale(own))

    def condition_on(self, own: Learned, x: Float[Tensor, "B P"], px: td.Distribution) -> td.Distribution:
        """Return p(x|z); an optimal scale is in training that of the batch, without gradient."""
        if not (self._estimates_scale and own.training):
            return px
        return self.family(own, px.mean, self._optimum(self._deviation(own, x, px)))

    @torch.no_grad()
    def update(self, own: Learned, x: Float[Tensor, "B P"], px: td.Distribution) -> None:
        """Add the batch to the running average from which evaluation takes an optimal scale."""
        if self._estimates_scale:
            batch = self._deviation(own, x, px)
            batch_and_weight = torch.stack([batch.nan_to_num(), torch.ones_like(batch)]).to(own.running)
            own.running.lerp_(batch_and_weight, RATE * batch.isfinite().to(own.running))

    @property
    def _estimates_scale(self) -> bool:
        return self.scale == "optimal"

    @torch.no_grad()
    def _deviation(self, own: Learned, x: Tensor, px: td.Distribution) -> Tensor:
        """Return the mean of |x - d(z)|^p over the observed cells of the whole batch."""
        deviations = (x - px.mean).abs().pow(self.moment)
        if own.processes.world_size == 1:
            deviation: Tensor = deviations.nanmean()
            return deviation
        total, count = own.processes.sum(torch.stack([deviations.nansum(), (~deviations.isnan()).sum()])).unbind()
        return total / count

    def _scale(self, own: Learned) -> Tensor:
        if self._estimates_scale:
            total, weight = own.running.unbind()
            return self._optimum(total / weight)
        log_scale: Tensor = own.log_scale
        return (soft_bound(log_scale, DATA_LOG_SCALE_BOUND) if isinstance(self.scale, str) else log_scale).exp()

    def _optimum(self, deviation: Tensor) -> Tensor:
        scale: Tensor = deviation.pow(1 / self.moment).clamp_min(math.exp(-DATA_LOG_SCALE_BOUND)).view(1)
        return scale


@dataclass(frozen=True)
class Gaussian(LocationScale):
    r"""Gaussian likelihood of real values, the default.

    .. math:: p(x|z) = \mathcal{N}(x;\ d(z), \sigma^2 I)

    Parameters
    ----------
    scale : {"shared", "feature", "optimal"} or float, default="shared"
        Sigma in scaled units: one learned value, one for each feature, the maximum-likelihood value (the root mean
        squared error of the batch in training, of a running average in evaluation; Rybkin et al. 2021), or a fixed
        number. A learned log-scale is bounded softly by 6.

    Examples
    --------
    >>> Gaussian(scale=0.0)
    Traceback (most recent call last):
    latentmap.exceptions.PartError: scale must be a finite number > 0, got 0.0
    """

    moment: ClassVar[int] = 2

    def family(self, own: Learned, loc: Float[Tensor, "*S P"], scale: Float[Tensor, " Q"]) -> td.Distribution:
        """Return N(loc, scale^2)."""
        return DiagonalNormal(loc, scale)


@dataclass(frozen=True)
class Laplace(LocationScale):
    r"""Laplace likelihood: the absolute error, which is less sensitive to outliers than the squared one.

    .. math:: p(x|z) = \prod_p \frac{1}{2b} \exp\left(-\frac{|x_p - d_p(z)|}{b}\right)

    Parameters
    ----------
    scale : {"shared", "feature", "optimal"} or float, default="shared"
        Scale b, as sigma of `Gaussian`; its optimum is the mean absolute error.

    Examples
    --------
    >>> own = Laplace(scale=1.0).build(Sizes((1,), 2))
    >>> Laplace(scale=1.0).distribution(own, torch.zeros(1, 1)).log_prob(torch.zeros(1)).exp()
    tensor([0.5000])
    """

    moment: ClassVar[int] = 1

    def family(self, own: Learned, loc: Float[Tensor, "*S P"], scale: Float[Tensor, " Q"]) -> td.Distribution:
        """Return Laplace(loc, scale)."""
        return LaplaceDensity(loc, scale, validate_args=False)


class LaplaceDensity(td.Laplace):
    """Laplace distribution with `exponential_mean`."""

    def exponential_mean(self, rate: Tensor) -> Tensor:
        """Return the mean of a log-Laplace on the logarithmic scale; the location where that is infinite."""
        spread = (rate * self.scale).square()
        return torch.where(spread < 1, self.loc - torch.log1p(-spread.clamp_max(1)) / rate, self.loc)


@dataclass(frozen=True)
class StudentT(LocationScale):
    r"""Student's t likelihood, with heavy tails for data with outliers (Takahashi et al. 2018).

    .. math:: p(x|z) = \prod_p \frac{\Gamma(\frac{\nu + 1}{2})}{\Gamma(\frac{\nu}{2}) \sqrt{\nu \pi}\, s}
              \left(1 + \frac{(x_p - d_p(z))^2}{\nu s^2}\right)^{-\frac{\nu + 1}{2}}

    Parameters
    ----------
    scale : {"shared", "feature"} or float, default="shared"
        Scale s, as sigma of `Gaussian`.
    degrees : "learned" or float, default="learned"
        Nu, always above 1, so that the mean exists. A learned log(nu - 1) is bounded softly by 6.

    Examples
    --------
    >>> StudentT(degrees=1.0)
    Traceback (most recent call last):
    latentmap.exceptions.PartError: degrees must be 'learned' or a finite number > 1, got 1.0
    """

    degrees: float | Literal["learned"] = "learned"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.degrees == "learned" if isinstance(self.degrees, str) else 1 < self.degrees < math.inf):
            raise PartError(f"degrees must be 'learned' or a finite number > 1, got {self.degrees!r}")

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return the log-scale, and log(nu - 1), which starts at nu = 5."""
        learned = isinstance(self.degrees, str)
        log_excess = torch.tensor([4.0 if isinstance(self.degrees, str) else self.degrees - 1.0]).log()
        return {**super().init(sizes), "log_excess": nn.Parameter(log_excess) if learned else log_excess}

    def family(self, own: Learned, loc: Float[Tensor, "*S P"], scale: Float[Tensor, " Q"]) -> td.Distribution:
        """Return Student's t with nu degrees of freedom."""
        excess = soft_bound(own.log_excess, LOG_DEGREES_BOUND) if isinstance(self.degrees, str) else own.log_excess
        return td.StudentT(1 + excess.exp(), loc, scale, validate_args=False)
