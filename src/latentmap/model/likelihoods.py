"""Likelihoods p(x|z): how a decoder's output becomes a distribution over data.

Data arrive scaled (see `latentmap.data.scaling`); a new likelihood is one class here and one line in the law tests.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, distributions, nn

from latentmap.exceptions import PartError
from latentmap.model.part import Learned, Part, Sizes, positive
from latentmap.model.posteriors import soft_bound

LOG_SCALE_BOUND = 6.0


@dataclass(frozen=True)
class Likelihood(Part, ABC):
    """Base of likelihoods over features that are independent given the code."""

    heads: ClassVar[int] = 1
    """Numbers that the decoder gives for each feature."""
    discrete: ClassVar[bool] = False
    """True for a probability mass (no change of units), False for a density."""
    support: ClassVar[tuple[float, float]] = (-float("inf"), float("inf"))
    """Values that (scaled) data may take, ends included."""

    @abstractmethod
    def distribution(self, own: Learned, raw: Float[Tensor, "*S P H"]) -> distributions.Distribution:
        """p(x|z), one independent distribution for each of the P features."""

    def check_range(self, low: float, high: float) -> None:
        """Refuse data outside the support, with a `PartError` that names the alternative."""
        lowest, highest = self.support
        if low < lowest or high > highest:
            raise PartError(
                f"likelihood {type(self).__name__} takes values from {lowest:g} to {highest:g}, "
                f"got {low:g} to {high:g} after scaling; use likelihoods.Gaussian() or scaling='range'"
            )


@dataclass(frozen=True)
class Bernoulli(Likelihood):
    r"""Probability of a bit, from logits: :math:`\log p(x|z) = x \log \pi + (1 - x) \log(1 - \pi)`.

    For grey values between 0 and 1 this is the cross-entropy that the literature reports on MNIST; it is a
    log-probability only for bits, and `ContinuousBernoulli` is the density for values in between.

    >>> p = Bernoulli().distribution(Learned(), torch.zeros(3, 1))
    >>> p.log_prob(torch.ones(3)).exp()
    tensor([0.5000, 0.5000, 0.5000])
    """

    discrete: ClassVar[bool] = True
    support: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def distribution(self, own: Learned, raw: Float[Tensor, "*S P H"]) -> distributions.Distribution:
        """Bernoulli with these logits."""
        return distributions.Bernoulli(logits=raw[..., 0], validate_args=False)


@dataclass(frozen=True)
class ContinuousBernoulli(Likelihood):
    r"""Density on [0, 1] (Loaiza-Ganem and Cunningham 2019); its mean is not its parameter.

    .. math:: p(x|z) = C(\lambda)\, \lambda^x (1 - \lambda)^{1 - x}, \qquad
              C(\lambda) = \frac{2 \tanh^{-1}(1 - 2\lambda)}{1 - 2\lambda}

    >>> p = ContinuousBernoulli().distribution(Learned(), torch.tensor([[2.0]]))
    >>> round(p.mean.item(), 3), round(torch.sigmoid(torch.tensor(2.0)).item(), 3)
    (0.656, 0.881)
    """

    support: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def distribution(self, own: Learned, raw: Float[Tensor, "*S P H"]) -> distributions.Distribution:
        """Continuous Bernoulli with these logits, kept where its normaliser is exact in single precision."""
        return distributions.ContinuousBernoulli(logits=soft_bound(raw[..., 0], 15.0), validate_args=False)


@dataclass(frozen=True)
class Gaussian(Likelihood):
    r"""Normal density with mean from the decoder and a scale learned with the model, the default for real values.

    .. math:: p(x|z) = \mathcal{N}(x;\ d(z), \sigma^2 I)

    ``scale`` is "shared" (one learned sigma: the calibrated decoder of Rybkin et al. 2021), "feature" (one for each
    feature) or a positive number that stays fixed, in scaled units. A learned log-scale is bounded softly by 6.

    >>> Gaussian(scale=0.0)
    Traceback (most recent call last):
    latentmap.exceptions.PartError: scale must be a finite number > 0, got 0.0
    """

    scale: float | Literal["shared", "feature"] = "shared"

    def __post_init__(self) -> None:
        if isinstance(self.scale, str):
            if self.scale not in ("shared", "feature"):
                raise PartError(f"scale must be 'shared', 'feature' or a positive number, got {self.scale!r}")
        else:
            positive("scale", self.scale)

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """The log-scale, where it is learned; it starts at sigma = e^-1, below the spread of scaled data."""
        if isinstance(self.scale, str):
            return {"log_scale": nn.Parameter(torch.full((1 if self.scale == "shared" else sizes.features,), -1.0))}
        return {"log_scale": torch.tensor([float(self.scale)]).log()}

    def distribution(self, own: Learned, raw: Float[Tensor, "*S P H"]) -> distributions.Distribution:
        """N(d(z), sigma^2)."""
        log_scale = soft_bound(own.log_scale, LOG_SCALE_BOUND) if isinstance(self.scale, str) else own.log_scale
        return distributions.Normal(raw[..., 0], log_scale.exp(), validate_args=False)
