"""Base of priors, those without parameters, and Gaussians that are fitted or depend on the condition."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal

from latentmap.exceptions import PartError
from latentmap.model import manifolds
from latentmap.model.distributions import LATENT_LOG_SCALE_BOUND, StandardNormal, independent, normal, soft_bound
from latentmap.model.part import Learned, Part, Sizes
from latentmap.model.posteriors import Posterior

Encode = Callable[[Tensor], Distribution]
"""x (B, P) -> q(z|x), for priors that consist of posteriors."""


@dataclass(frozen=True)
class Prior(Part, ABC):
    """Base of priors p(z); a subclass defines `distribution`."""

    draws: ClassVar[bool] = False
    """Whether the log-density draws noise by itself in training."""
    ex_post: ClassVar[bool] = False
    """Whether every fit of a model ends with fitting it to the codes."""
    manifold: ClassVar[str] = "flat"
    """Its latent space, as `Posterior.manifold`, or "any"."""
    standard: ClassVar[bool] = False
    """Whether it is N(0, I), under which standardised codes have the lowest rate."""

    @abstractmethod
    def distribution(self, own: Learned, encode: Encode) -> Distribution:
        """Return p(z).

        Parameters
        ----------
        own : Learned
            State of this prior, from `build`.
        encode : callable
            Maps x (B, P) to q(z|x), for priors that consist of posteriors.

        Returns
        -------
        Distribution
            Over (D,).
        """

    def given(self, own: Learned, condition: Float[Tensor, "B C"] | None, encode: Encode) -> Distribution:
        """Return p(z|c), which for most priors is p(z).

        Parameters
        ----------
        own : Learned
            State of this prior, from `build`.
        condition : Tensor of shape (B, C) or None
            Condition c of each row.
        encode : callable
            As for `distribution`.

        Returns
        -------
        Distribution
            Over (B, D), or over (D,) if it does not depend on c.
        """
        return self.distribution(own, encode)

    def check_posterior(self, posterior: Posterior) -> None:
        """Raise a `PartError` for a posterior on another latent space.

        Parameters
        ----------
        posterior : Posterior
            Posterior of the model.
        """
        if self.manifold not in (posterior.manifold, "any"):
            raise PartError(
                f"the codes of {posterior} lie on a {posterior.manifold} space, and {self} is a prior on a "
                f"{self.manifold} one; leave the prior out for the plain one of that space"
            )

    def start(self, own: Learned, x: Float[Tensor, "B P"]) -> None:
        """Initialise the state from training rows, before the first step.

        Parameters
        ----------
        own, x : Learned, Tensor of shape (B, P)
            State of this prior, and scaled rows.
        """

    def prepare(self, own: Learned, codes: Shaped[Tensor, "N D"], seed: int) -> bool:
        """Initialise the state from the codes of a trained model.

        Parameters
        ----------
        own, codes : Learned, Tensor of shape (N, D)
            State of this prior, and codes.
        seed : int
            Seed.

        Returns
        -------
        bool
            Whether the prior is fitted, without gradient steps.
        """
        return not list(own.parameters())


@dataclass(frozen=True)
class Normal(Prior):
    r"""Standard normal, :math:`p(z) = \mathcal{N}(0, I)`.

    >>> own = Normal().build(Sizes(event=(4,), latent=2))
    >>> Normal().distribution(own, lambda x: None).log_prob(torch.zeros(2))
    tensor(-1.8379)
    """

    standard: ClassVar[bool] = True

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return constants, as buffers, which follow the model to its device."""
        return {"loc": torch.zeros(sizes.latent), "scale": torch.ones(sizes.latent)}

    def distribution(self, own: Learned, encode: Encode) -> Distribution:
        """Return N(0, I)."""
        return independent(StandardNormal(own.loc, own.scale))


@dataclass(frozen=True)
class FittedNormal(Prior):
    r"""Gaussian with full covariance, fitted to the codes after training (Ghosh et al. 2020).

    .. math:: p(z) = \mathcal{N}(m, S), \quad m, S \text{ the mean and covariance of the codes of the training rows}

    With it an autoencoder, which has no prior, can be sampled.

    >>> own = FittedNormal().build(Sizes(event=(4,), latent=2))
    >>> FittedNormal().prepare(own, torch.tensor([[0.0, 1.0], [2.0, 1.0], [1.0, 4.0]]), seed=0)
    True
    >>> FittedNormal().distribution(own, lambda x: None).mean
    tensor([1., 2.])
    """

    ex_post: ClassVar[bool] = True

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return the mean and the Cholesky factor of the covariance, as buffers."""
        return {"loc": torch.zeros(sizes.latent), "cholesky": torch.eye(sizes.latent)}

    def distribution(self, own: Learned, encode: Encode) -> Distribution:
        """Return N(m, S)."""
        return MultivariateNormal(own.loc, scale_tril=own.cholesky, validate_args=False)

    def prepare(self, own: Learned, codes: Shaped[Tensor, "N D"], seed: int) -> bool:
        """Compute the mean and covariance of the codes; a floor keeps that of few or equal codes positive definite."""
        z = codes.double()
        centred = z - z.mean(0)
        covariance = centred.T @ centred / max(len(z) - 1, 1)  # (D, D)
        floor = 1e-6 * covariance.diagonal().mean().clamp_min(1e-12)
        own.loc.copy_(z.mean(0))
        own.cholesky.copy_(torch.linalg.cholesky(covariance + floor * torch.eye(z.shape[1], device=z.device)))
        return True


@dataclass(frozen=True)
class Conditional(Prior):
    r"""Diagonal Gaussian that depends on the condition, for conditional models (Sohn et al. 2015).

    .. math:: p(z|c) = \mathcal{N}(z;\ A c,\ \mathrm{diag}\, e^{2 S c})

    with learned matrices A and S that start at 0, the standard normal, and S c bounded softly by 7. For labels that is
    a Gaussian for each class.

    >>> own = Conditional().build(Sizes(event=(4,), latent=2, condition=3))
    >>> Conditional().given(own, torch.eye(3), lambda x: None).mean.shape
    torch.Size([3, 2])
    """

    def check(self, sizes: Sizes) -> None:
        """Raise a `PartError` for models without condition."""
        if not sizes.condition:
            raise PartError("priors.Conditional needs a conditional model, VAE(condition=...); use priors.Normal()")

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return the matrices A and S."""
        return {name: nn.Parameter(torch.zeros(sizes.condition, sizes.latent)) for name in ("loc", "log_scale")}

    def distribution(self, own: Learned, encode: Encode) -> Distribution:
        """Raise a `PartError`: there is no p(z) without a condition."""
        raise PartError("priors.Conditional needs the condition of each row; use model.given(condition)")

    def given(self, own: Learned, condition: Float[Tensor, "B C"] | None, encode: Encode) -> Distribution:
        """Return N(A c, exp(S c)^2)."""
        if condition is None:
            return self.distribution(own, encode)
        with torch.autocast(condition.device.type, enabled=False):
            log_scale = soft_bound(condition @ own.log_scale, LATENT_LOG_SCALE_BOUND)
            return normal(condition @ own.loc, log_scale.exp(), log_scale)


@dataclass(frozen=True)
class Uniform(Prior):
    r"""Uniform prior on the unit sphere, for `posteriors.Sphere`.

    .. math:: p(z) = \Gamma(D/2)\, /\, (2 \pi^{D/2})

    >>> own = Uniform().build(Sizes(event=(4,), latent=2))
    >>> Uniform().distribution(own, lambda x: None).log_prob(torch.tensor([1.0, 0.0])).exp()  # 1 / (2 pi)
    tensor(0.1592)
    """

    manifold: ClassVar[str] = "sphere"

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return the middle, as a buffer."""
        return {"loc": torch.zeros(sizes.latent)}

    def distribution(self, own: Learned, encode: Encode) -> Distribution:
        """Return the uniform distribution."""
        return manifolds.UniformOnSphere(own.loc)


@dataclass(frozen=True)
class WrappedNormal(Prior):
    r"""Standard normal of the tangent space at the origin of the Poincare ball (Nagano et al. 2019).

    .. math:: z = \exp_0(v), \quad v \sim \mathcal{N}(0, I)

    with a density with respect to hyperbolic volume; for `posteriors.Poincare`.

    >>> own = WrappedNormal().build(Sizes(event=(4,), latent=2))
    >>> WrappedNormal().distribution(own, lambda x: None).sample((5,)).norm(dim=-1).max() < 1
    tensor(True)
    """

    manifold: ClassVar[str] = "ball"

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return constants, as buffers."""
        return {"loc": torch.zeros(sizes.latent), "scale": torch.ones(sizes.latent)}

    def distribution(self, own: Learned, encode: Encode) -> Distribution:
        """Return the wrapped normal around 0."""
        return manifolds.WrappedNormal(own.loc, own.scale)
