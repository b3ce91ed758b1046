"""What posteriors share, and the two plain ones: a point and a diagonal Gaussian."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Independent

from latentmap.model.distributions import LATENT_LOG_SCALE_BOUND, Delta, normal, soft_bound
from latentmap.model.noise import Noise
from latentmap.model.part import Learned, Part

LogJoint = Callable[[Tensor], Tensor]
"""z (K, B, D) -> log p(x, z) (K, B): what a posterior that moves its draws towards the true one may ask."""

Draw = tuple[Tensor, Distribution, dict[str, Tensor]]
"""z (K, B, D), the q that it was drawn from, and further costs of a row by name."""


@dataclass(frozen=True)
class Posterior(Part, ABC):
    """Base of posteriors: `heads` says how many numbers the encoder gives, `distribution` what they mean."""

    has_density: ClassVar[bool] = True
    """Whether q(z|x) has a density, so that there is a rate, a bound and a score."""
    manifold: ClassVar[str] = "flat"
    """The space of codes: "flat", "sphere" or "ball"; a prior has to live on the same one."""

    @property
    def evaluates(self) -> bool:
        """Whether `distribution` gives the density of any point, and not of its own draws alone."""
        return self.has_density

    def heads(self, latent: int) -> int:
        """Numbers a row that the encoder has to give, for this many latent components."""
        return latent

    @abstractmethod
    def distribution(self, own: Learned, raw: Float[Tensor, "B H"]) -> Distribution:
        """q(z|x) over (B, D), from the encoder's output; its mean is the code that `transform` gives."""

    @abstractmethod
    def draw(self, own: Learned, raw: Float[Tensor, "B H"], k: int, noise: Noise, log_joint: LogJoint) -> Draw:
        """Draw k codes a row, differentiably (reparameterised), from standard normal noise."""

    def geodesic(self, a: Float[Tensor, "*#S D"], b: Float[Tensor, "*#S D"], t: Tensor) -> Float[Tensor, "*K D"]:
        """Go the share t of the shortest way from a to b."""
        return a + t * (b - a)

    def onto(self, z: Float[Tensor, "*S D"]) -> Float[Tensor, "*S D"]:
        """Give the point of the space of codes that is nearest to z."""
        return z


@dataclass(frozen=True)
class Deterministic(Posterior):
    """One point a row, z = e(x): the plain autoencoder. It has no density.

    >>> Deterministic().heads(2)
    2
    """

    has_density: ClassVar[bool] = False

    def distribution(self, own: Learned, raw: Float[Tensor, "B H"]) -> Delta:
        """All mass on the encoder's output."""
        return Delta(raw)

    def draw(self, own: Learned, raw: Float[Tensor, "B H"], k: int, noise: Noise, log_joint: LogJoint) -> Draw:
        """Give the point itself, k times."""
        q = self.distribution(own, raw)
        return q.loc.expand(k, *q.loc.shape), q, {}


@dataclass(frozen=True)
class Gaussian(Posterior):
    r"""Diagonal Gaussian with two heads, mu(x) and sigma(x) (Kingma and Welling 2014; Rezende et al. 2014).

    .. math:: q(z|x) = \mathcal{N}(z;\ \mu(x), \mathrm{diag}\,\sigma^2(x)), \qquad
              \log \sigma = b \tanh(s / b)

    The log-scale is bounded softly (b = 7), so that no input overflows the exponential.

    >>> q = Gaussian().distribution(Learned(), torch.tensor([[0.5, 0.0]]))
    >>> q.mean, q.stddev
    (tensor([[0.5000]]), tensor([[1.]]))
    """

    def heads(self, latent: int) -> int:
        """Two numbers for each component: mu and s."""
        return 2 * latent

    def distribution(self, own: Learned, raw: Float[Tensor, "B H"]) -> Independent[Distribution]:
        """N(mu, sigma^2) from the two halves of the encoder's output."""
        loc, s = raw.chunk(2, -1)  # (B, D) each
        log_scale = soft_bound(s, LATENT_LOG_SCALE_BOUND)
        return normal(loc, log_scale.exp(), log_scale)

    def draw(self, own: Learned, raw: Float[Tensor, "B H"], k: int, noise: Noise, log_joint: LogJoint) -> Draw:
        """z = mu(x) + sigma(x) * noise."""
        q = self.distribution(own, raw)
        return torch.addcmul(q.mean, q.stddev, noise((k, *q.mean.shape), q.mean)), q, {}
