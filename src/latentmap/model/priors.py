"""Priors p(z): where codes are expected to lie."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily, MultivariateNormal

from latentmap.exceptions import PartError
from latentmap.model.distributions import LOG_SCALE_BOUND, normal, soft_bound
from latentmap.model.part import Learned, Part, Sizes, whole
from latentmap.model.posteriors import Posterior
from latentmap.model.transforms import Pushforward, autoregressive, flowing

Encode = Callable[[Tensor], Distribution]
"""x (B, P) -> q(z|x): lent to priors that are made of posteriors; never stored by them."""


@dataclass(frozen=True)
class Prior(Part, ABC):
    """Base of priors."""

    @abstractmethod
    def distribution(self, own: Learned, encode: Encode) -> Distribution:
        """p(z), over (D,)."""

    def given(self, own: Learned, condition: Float[Tensor, "B C"] | None, encode: Encode) -> Distribution:
        """p(z|c), over (B, D); most priors are the same whatever the condition, p(z), over (D,)."""
        return self.distribution(own, encode)

    def check_posterior(self, posterior: Posterior) -> None:
        """Refuse a posterior that this prior cannot go with, with a `PartError`."""

    def start(self, own: Learned, x: Float[Tensor, "B P"]) -> None:
        """Look at training rows before the first step, as `Likelihood.start`."""

    def fit(self, own: Learned, codes: Float[Tensor, "N D"]) -> None:
        """Fit to the codes of the training rows, after training; only priors that are fitted ex post do anything."""


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
        return normal(own.loc, own.scale)


@dataclass(frozen=True)
class FittedNormal(Prior):
    r"""Gaussian with full covariance, fitted to the codes after training (ex-post density, Ghosh et al. 2020).

    .. math:: p(z) = \mathcal{N}(m, S), \quad m, S \text{ the mean and covariance of the codes of the training rows}

    It lets an autoencoder, which has no prior, be sampled.

    >>> own = FittedNormal().build(Sizes(event=(4,), latent=2))
    >>> FittedNormal().fit(own, torch.tensor([[0.0, 1.0], [2.0, 1.0], [1.0, 4.0]]))
    >>> FittedNormal().distribution(own, lambda x: None).mean
    tensor([1., 2.])
    """

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Mean and Cholesky factor of the covariance, as buffers."""
        return {"loc": torch.zeros(sizes.latent), "cholesky": torch.eye(sizes.latent)}

    def distribution(self, own: Learned, encode: Encode) -> Distribution:
        """N(m, S)."""
        return MultivariateNormal(own.loc, scale_tril=own.cholesky, validate_args=False)

    def fit(self, own: Learned, codes: Float[Tensor, "N D"]) -> None:
        """Take the mean and covariance of the codes; a floor keeps the covariance of few or equal codes positive."""
        z = codes.double()
        centred = z - z.mean(0)
        covariance = centred.T @ centred / max(len(z) - 1, 1)  # (D, D)
        floor = 1e-6 * covariance.diagonal().mean().clamp_min(1e-12)
        own.loc.copy_(z.mean(0))
        own.cholesky.copy_(torch.linalg.cholesky(covariance + floor * torch.eye(z.shape[1], device=z.device)))


@dataclass(frozen=True)
class Conditional(Prior):
    r"""Diagonal Gaussian that depends on the condition, for conditional models (Sohn et al. 2015).

    .. math:: p(z|c) = \mathcal{N}(z;\ A c,\ \mathrm{diag}\, e^{2 S c})

    with matrices A and S that are learned and start at 0, the standard normal. For labels that is a Gaussian for each
    class.

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
            return normal(condition @ own.loc, soft_bound(condition @ own.log_scale, LOG_SCALE_BOUND).exp())


@dataclass(frozen=True)
class Mixture(Prior):
    r"""Mixture of diagonal Gaussians, learned with the model, for data in clusters (Dilokthanakul et al. 2016).

    .. math:: p(z) = \sum_{c=1}^C \pi_c\, \mathcal{N}(z;\ m_c, \mathrm{diag}\, s_c^2)

    >>> own = Mixture(3).build(Sizes(event=(4,), latent=2))
    >>> Mixture(3).distribution(own, lambda x: None).sample((5,)).shape
    torch.Size([5, 2])
    """

    components: int = 10

    def __post_init__(self) -> None:
        whole("components", self.components)

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Centres drawn from N(0, I), unit scales, equal shares."""
        loc = torch.randn(self.components, sizes.latent)
        values = {"loc": loc, "log_scale": torch.zeros_like(loc), "logits": torch.zeros(self.components)}
        return {name: nn.Parameter(value) for name, value in values.items()}

    def distribution(self, own: Learned, encode: Encode) -> Distribution:
        """Sum over the components."""
        return _mixture(own.logits, normal(own.loc, soft_bound(own.log_scale, LOG_SCALE_BOUND).exp()))


@dataclass(frozen=True)
class Vamp(Prior):
    r"""Mixture of the posteriors of pseudo-inputs: the VampPrior (Tomczak and Welling 2018).

    .. math:: p(z) = \frac1M \sum_{m=1}^M q(z|u_m)

    The u are rows in the model's units that are learned; they start from rows of the data. The encoder is the model's
    own, so nothing of it is kept or saved here.

    >>> Vamp(7).build(Sizes(event=(4,), latent=2)).inputs.shape
    torch.Size([7, 4])
    """

    inputs: int = 100

    def __post_init__(self) -> None:
        whole("inputs", self.inputs)

    def check_posterior(self, posterior: Posterior) -> None:
        """Refuse posteriors that have no density."""
        if not posterior.has_density:
            raise PartError(f"priors.Vamp needs a posterior with a density, got {posterior}; use posteriors.Gaussian()")

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Pseudo-inputs, at random until `start` has seen the data."""
        return {"inputs": nn.Parameter(torch.randn(self.inputs, sizes.features))}

    def start(self, own: Learned, x: Float[Tensor, "B P"]) -> None:
        """Take rows at equal steps; the same ones again where there are too few."""
        rows = torch.linspace(0, len(x) - 1, self.inputs, device=x.device).round().long()
        own.inputs.data.copy_(x[rows])

    def distribution(self, own: Learned, encode: Encode) -> Distribution:
        """Equal shares of the posteriors."""
        return _mixture(own.inputs.new_zeros(self.inputs), encode(own.inputs))


@dataclass(frozen=True)
class Flow(Prior):
    r"""Normalising flow, for a density of any shape (Chen et al. 2017); a draw takes a pass for each component.

    .. math:: \log p(z) = \log \mathcal{N}(f(z);\ 0, I) + \log \left| \det \frac{\partial f}{\partial z} \right|

    ``kind`` is "maf", affine (Papamakarios et al. 2017), or "nsf", rational-quadratic splines (Durkan et al. 2019),
    which part clusters better. Needs ``latentmap[flows]``.

    >>> Flow("planar")
    Traceback (most recent call last):
    latentmap.exceptions.PartError: kind must be 'maf' or 'nsf', got 'planar'
    """

    kind: Literal["maf", "nsf"] = "nsf"
    transforms: int = 3
    width: int = 64

    def __post_init__(self) -> None:
        if self.kind not in ("maf", "nsf"):
            raise PartError(f"kind must be 'maf' or 'nsf', got {self.kind!r}")
        whole("transforms", self.transforms)
        whole("width", self.width)

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """The networks of the transforms, and where the Gaussian lies."""
        flow = autoregressive(self.kind, sizes.latent, 0, self.transforms, self.width)
        return {"flow": flow, "loc": torch.zeros(sizes.latent)}

    def distribution(self, own: Learned, encode: Encode) -> Pushforward:
        """N(0, I), sent back through f."""
        return flowing(own.flow, normal(own.loc, torch.ones_like(own.loc)), None, inverse=True)


def _mixture(logits: Tensor, components: Distribution) -> MixtureSameFamily:
    return MixtureSameFamily(Categorical(logits=logits, validate_args=False), components, validate_args=False)
