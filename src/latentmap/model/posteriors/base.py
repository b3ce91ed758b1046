"""Base of posteriors, the point mass and the diagonal Gaussian."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Independent

from latentmap.exceptions import PartError
from latentmap.model.distributions import LATENT_LOG_SCALE_BOUND, Delta, normal, soft_bound
from latentmap.model.noise import Noise
from latentmap.model.part import Learned, Part, Sizes

LogJoint = Callable[[Tensor], Tensor]
"""z (K, B, D) -> log p(x, z) (K, B): for posteriors that move their draws towards the true one."""
Draw = tuple[Tensor, Distribution, dict[str, Tensor]]
"""z (K, B, D), the q that it was drawn from, and further costs of a row by name."""


@dataclass(frozen=True)
class Posterior(Part, ABC):
    """Base of posteriors q(z|x): `distribution` interprets the ``heads`` numbers that the encoder returns for a row."""

    has_density: ClassVar[bool] = True
    """Whether q(z|x) has a density, so that there is a rate, a bound and a score."""
    manifold: ClassVar[str] = "flat"
    """Latent space: "flat", "sphere" or "ball", the same as the prior's."""
    standardises: ClassVar[bool] = False
    """Whether codes can be standardised: `standardise` changes what `distribution` returns, with exact moments."""
    takes_moments: ClassVar[bool] = False
    """Whether mean and log-variance determine q(z|x), see `from_moments`."""

    @property
    def evaluates(self) -> bool:
        """Whether `distribution` has the density of any point, not of its own draws alone."""
        return self.has_density

    def heads(self, latent: int) -> int:
        """Return how many numbers the encoder returns for a row.

        Parameters
        ----------
        latent : int
            Number D of latent components.

        Returns
        -------
        int
            Number H.
        """
        return latent

    def from_moments(self, mean: Float[Tensor, "B D"], log_variance: Float[Tensor, "B D"]) -> Float[Tensor, "B H"]:
        """Return the encoder output of the posterior with this mean and log-variance, where it has these.

        Parameters
        ----------
        mean, log_variance : Tensor of shape (B, D)
            Moments of q(z|x).

        Returns
        -------
        Tensor of shape (B, H)
            What `distribution` takes.
        """
        raise PartError(f"mean and log-variance do not determine {self}; use posteriors.Gaussian()")

    @abstractmethod
    def distribution(self, own: Learned, raw: Float[Tensor, "B H"]) -> Distribution:
        """Return q(z|x), whose mean is the posterior mean that `transform` returns.

        Parameters
        ----------
        own : Learned
            State of this posterior, from `build`.
        raw : Tensor of shape (B, H)
            Encoder output.

        Returns
        -------
        Distribution
            Over (B, D).
        """

    @abstractmethod
    def draw(self, own: Learned, raw: Float[Tensor, "B H"], k: int, noise: Noise, log_joint: LogJoint) -> Draw:
        """Draw k codes for each row, reparameterised.

        Parameters
        ----------
        own, raw : Learned, Tensor of shape (B, H)
            As for `distribution`.
        k : int
            Draws of each row.
        noise : Noise
            Source of standard normal noise.
        log_joint : callable
            Maps z (K, B, D) to log p(x, z) (K, B), for posteriors that move their draws towards the true one.

        Returns
        -------
        z, q, costs
            Codes (K, B, D), the distribution they come from, and further costs of each row by name.
        """

    def geodesic(self, a: Float[Tensor, "*#S D"], b: Float[Tensor, "*#S D"], t: Tensor) -> Float[Tensor, "*K D"]:
        """Return a point of the shortest path between two codes.

        Parameters
        ----------
        a, b : Tensor of shape (*S, D)
            Codes.
        t : Tensor
            Fraction of the path from a to b.

        Returns
        -------
        Tensor of shape (*K, D)
            Code.
        """
        return a + t * (b - a)

    def standardise(self, own: Learned, mean: Float[Tensor, " D"], scale: Float[Tensor, " D"]) -> None:
        r"""Change the codes to :math:`z' = (z - m) / s`, on top of earlier changes.

        The state holds the whole change, which `distribution` applies to the encoder's codes, and `decoder_inputs`
        undoes.

        Parameters
        ----------
        own : Learned
            State of this posterior, from `build`.
        mean, scale : Tensor of shape (D,)
            Shift m and scale s, in double precision on the CPU.

        Raises
        ------
        PartError
            If the posterior does not standardise codes.
        """
        raise PartError(f"the codes of {self} cannot be shifted and scaled; use posteriors.Gaussian()")

    def decoder_inputs(self, own: Learned, z: Float[Tensor, "*S D"]) -> Float[Tensor, "*S D"]:
        """Return codes as the decoder takes them, before any `standardise`.

        Parameters
        ----------
        own : Learned
            State of this posterior, from `build`.
        z : Tensor of shape (*S, D)
            Codes.

        Returns
        -------
        Tensor of shape (*S, D)
            Codes in the units of the encoder's output.
        """
        return z

    def onto(self, z: Float[Tensor, "*S D"]) -> Float[Tensor, "*S D"]:
        """Return the nearest point of the latent space.

        Parameters
        ----------
        z : Tensor of shape (*S, D)
            Points.

        Returns
        -------
        Tensor of shape (*S, D)
            Codes.
        """
        return z


@dataclass(frozen=True)
class Deterministic(Posterior):
    """Point mass at the encoder's output, z = e(x): the plain autoencoder. It has no density.

    >>> Deterministic().heads(2)
    2
    """

    has_density: ClassVar[bool] = False

    def distribution(self, own: Learned, raw: Float[Tensor, "B H"]) -> Delta:
        """Return the point mass at the encoder's output."""
        return Delta(raw)

    def draw(self, own: Learned, raw: Float[Tensor, "B H"], k: int, noise: Noise, log_joint: LogJoint) -> Draw:
        """Return the point k times."""
        q = self.distribution(own, raw)
        return q.loc.expand(k, *q.loc.shape), q, {}


@dataclass(frozen=True)
class Gaussian(Posterior):
    r"""Diagonal Gaussian, the default (Kingma and Welling 2014; Rezende et al. 2014).

    .. math:: q(z|x) = \mathcal{N}(z;\ \mu(x), \mathrm{diag}\,\sigma^2(x)), \qquad
              \log \sigma = b \tanh(s / b)

    The soft bound b = 7 of the log-scale keeps its exponential finite for any input. Where codes are standardised,
    q(z|x) is the distribution of :math:`(z - m) / s`, with m and log s as buffers of the state.

    >>> q = Gaussian().distribution(Learned(), torch.tensor([[0.5, 0.0]]))
    >>> q.mean, q.stddev
    (tensor([[0.5000]]), tensor([[1.]]))
    """

    standardises: ClassVar[bool] = True
    takes_moments: ClassVar[bool] = True

    def heads(self, latent: int) -> int:
        """Return two numbers for each component: mu and s."""
        return 2 * latent

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return m and log s of the codes, 0, as buffers."""
        return {"shift": torch.zeros(sizes.latent), "log_scale": torch.zeros(sizes.latent)}

    def from_moments(self, mean: Float[Tensor, "B D"], log_variance: Float[Tensor, "B D"]) -> Float[Tensor, "B H"]:
        """Return mu and s, with log sigma at most 0.99 b from 0."""
        log_scale = (log_variance / (2 * LATENT_LOG_SCALE_BOUND)).clamp(-0.99, 0.99)
        return torch.cat([mean, LATENT_LOG_SCALE_BOUND * log_scale.atanh()], -1)

    def distribution(self, own: Learned, raw: Float[Tensor, "B H"]) -> Independent[Distribution]:
        """Return N(mu, sigma^2) from the two halves of the encoder's output."""
        loc, s = raw.chunk(2, -1)  # (B, D) each
        log_scale = soft_bound(s, LATENT_LOG_SCALE_BOUND)
        if (shift := getattr(own, "shift", None)) is not None:  # other posteriors pass a state of their own
            loc, log_scale = (loc - shift) * (-own.log_scale).exp(), log_scale - own.log_scale
        return normal(loc, log_scale.exp(), log_scale)

    def standardise(self, own: Learned, mean: Float[Tensor, " D"], scale: Float[Tensor, " D"]) -> None:
        """Compose the change with earlier ones, in double precision."""
        shift, log_scale = own.shift.cpu().double(), own.log_scale.cpu().double()
        own.shift.copy_((shift + log_scale.exp() * mean).to(own.shift.dtype))
        own.log_scale.copy_((log_scale + scale.log()).to(own.log_scale.dtype))

    def decoder_inputs(self, own: Learned, z: Float[Tensor, "*S D"]) -> Float[Tensor, "*S D"]:
        """Return m + s z."""
        return z if getattr(own, "shift", None) is None else torch.addcmul(own.shift, own.log_scale.exp(), z)

    def draw(self, own: Learned, raw: Float[Tensor, "B H"], k: int, noise: Noise, log_joint: LogJoint) -> Draw:
        """Return mu(x) + sigma(x) * noise."""
        q = self.distribution(own, raw)
        return torch.addcmul(q.mean, q.stddev, noise((k, *q.mean.shape), q.mean)), q, {}
