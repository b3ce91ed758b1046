"""Base of priors, and the plain ones: a Gaussian that is fixed, fitted, or depends on the condition."""

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
from latentmap.model.distributions import LATENT_LOG_SCALE_BOUND, StandardNormal, independent, normal, soft_bound
from latentmap.model.part import Learned, Part, Sizes
from latentmap.model.posteriors import Posterior

Encode = Callable[[Tensor], Distribution]
"""x (B, P) -> q(z|x): lent to priors that are made of posteriors; never stored by them."""


@dataclass(frozen=True)
class Prior(Part, ABC):
    """Base of priors p(z); a subclass defines `distribution`."""

    draws: ClassVar[bool] = False
    """Whether the log-density draws noise by itself in training."""
    ex_post: ClassVar[bool] = False
    """Whether every fit of a model ends with fitting it to the codes."""
    manifold: ClassVar[str] = "flat"
    """The space of codes that it lies on, as `Posterior.manifold`, or "any"."""

    @abstractmethod
    def distribution(self, own: Learned, encode: Encode) -> Distribution:
        """Return p(z), over (D,).

        Parameters
        ----------
        own : Learned
            State of this prior, from `build`.
        encode : callable
            x (B, P) -> q(z|x), for priors that are made of posteriors.
        """

    def given(self, own: Learned, condition: Float[Tensor, "B C"] | None, encode: Encode) -> Distribution:
        """Return p(z|c), over (B, D); for most priors p(z), over (D,), whatever the condition."""
        return self.distribution(own, encode)

    def check_posterior(self, posterior: Posterior) -> None:
        """Raise a `PartError` for a posterior on another latent space."""
        if self.manifold not in (posterior.manifold, "any"):
            raise PartError(
                f"the codes of {posterior} lie on a {posterior.manifold} space, and {self} is a prior on a "
                f"{self.manifold} one; leave the prior out for the plain one of that space"
            )

    def start(self, own: Learned, x: Float[Tensor, "B P"]) -> None:
        """Initialise the state from training rows, as `Likelihood.start`."""

    def prepare(self, own: Learned, codes: Shaped[Tensor, "N D"], seed: int) -> bool:
        """Begin a fit to the codes of a trained model; return whether it is complete, or takes gradient steps."""
        return not list(own.parameters())


@dataclass(frozen=True)
class Normal(Prior):
    r"""Standard normal, :math:`p(z) = \mathcal{N}(0, I)`.

    >>> own = Normal().build(Sizes(event=(4,), latent=2))
    >>> Normal().distribution(own, lambda x: None).log_prob(torch.zeros(2))
    tensor(-1.8379)
    """

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Constants, as buffers: they follow the model to its device."""
        return {"loc": torch.zeros(sizes.latent), "scale": torch.ones(sizes.latent)}

    def distribution(self, own: Learned, encode: Encode) -> Distribution:
        """N(0, I)."""
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
        """Mean and Cholesky factor of the covariance, as buffers."""
        return {"loc": torch.zeros(sizes.latent), "cholesky": torch.eye(sizes.latent)}

    def distribution(self, own: Learned, encode: Encode) -> Distribution:
        """N(m, S)."""
        return MultivariateNormal(own.loc, scale_tril=own.cholesky, validate_args=False)

    def prepare(self, own: Learned, codes: Shaped[Tensor, "N D"], seed: int) -> bool:
        """Take the mean and covariance of the codes; a floor keeps the covariance of few or equal codes positive."""
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
        """Refuse models without condition."""
        if not sizes.condition:
            raise PartError("priors.Conditional needs a conditional model, VAE(condition=...); use priors.Normal()")

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """The matrices A and S."""
        return {name: nn.Parameter(torch.zeros(sizes.condition, sizes.latent)) for name in ("loc", "log_scale")}

    def distribution(self, own: Learned, encode: Encode) -> Distribution:
        """Refuse: without a condition there is none."""
        raise PartError("priors.Conditional needs the condition of each row; use model.given(condition)")

    def given(self, own: Learned, condition: Float[Tensor, "B C"] | None, encode: Encode) -> Distribution:
        """N(A c, exp(S c)^2)."""
        if condition is None:
            return self.distribution(own, encode)
        with torch.autocast(condition.device.type, enabled=False):
            log_scale = soft_bound(condition @ own.log_scale, LATENT_LOG_SCALE_BOUND)
            return normal(condition @ own.loc, log_scale.exp(), log_scale)
