"""Priors that are learned with the model: mixtures and a flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily, MultivariateNormal

from latentmap.exceptions import PartError
from latentmap.model.distributions import LATENT_LOG_SCALE_BOUND, normal, soft_bound
from latentmap.model.part import MOST_LAYERS, Learned, Sizes, whole
from latentmap.model.posteriors import Posterior
from latentmap.model.priors.base import Encode, Prior
from latentmap.model.transforms import Pushforward, autoregressive, flowing


@dataclass(frozen=True)
class Mixture(Prior):
    r"""Mixture of Gaussians for clustered data, learned with the model (Dilokthanakul et al. 2016) or after it.

    .. math:: p(z) = \sum_{c=1}^C \pi_c\, \mathcal{N}(z;\ m_c, L_c L_c^\top)

    with full covariances; the logarithm of the diagonal of L is bounded softly by 7. `fit_prior` fits it by expectation
    maximisation (Ghosh et al. 2020).

    Parameters
    ----------
    components : int, default=10
        Number C of Gaussians.

    Examples
    --------
    >>> own = Mixture(3).build(Sizes(event=(4,), latent=2))
    >>> Mixture(3).distribution(own, lambda x: None).sample((5,)).shape
    torch.Size([5, 2])
    """

    components: int = 10

    def __post_init__(self) -> None:
        whole("components", self.components)

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return means drawn from N(0, I), and L as log_scale and lower, its diagonal and the rest; equal weights."""
        loc = torch.randn(self.components, sizes.latent)
        values = {"loc": loc, "log_scale": torch.zeros_like(loc), "logits": torch.zeros(self.components)}
        values["lower"] = torch.zeros(*loc.shape, sizes.latent)
        return {name: nn.Parameter(value) for name, value in values.items()}

    def distribution(self, own: Learned, encode: Encode) -> Distribution:
        """Return the mixture."""
        diagonal = soft_bound(own.log_scale, LATENT_LOG_SCALE_BOUND).exp().diag_embed()
        components = MultivariateNormal(own.loc, scale_tril=diagonal + own.lower.tril(-1), validate_args=False)
        return _mixture(own.logits, components)

    def prepare(self, own: Learned, codes: Shaped[Tensor, "N D"], seed: int) -> bool:
        """Fit by scikit-learn's expectation maximisation."""
        if len(codes) < self.components:
            raise PartError(f"components={self.components} need as many codes to be fitted to, got {len(codes)}")
        mixture = GaussianMixture(self.components, random_state=seed).fit(codes.cpu().double().numpy())
        lower = torch.from_numpy(np.linalg.cholesky(mixture.covariances_))
        log_scale = lower.diagonal(dim1=-2, dim2=-1).log() / LATENT_LOG_SCALE_BOUND
        own.loc.copy_(torch.from_numpy(mixture.means_))
        own.log_scale.copy_(LATENT_LOG_SCALE_BOUND * log_scale.clamp(-0.999, 0.999).atanh())
        own.lower.copy_(lower)
        own.logits.copy_(torch.from_numpy(mixture.weights_).log())
        return True


@dataclass(frozen=True)
class Vamp(Prior):
    r"""VampPrior, the mixture of the posteriors of pseudo-inputs (Tomczak and Welling 2018).

    .. math:: p(z) = \frac1M \sum_{m=1}^M q(z|u_m)

    The u are learned rows in the model's units, and start from rows of the data. The encoder is the model's own.

    Parameters
    ----------
    inputs : int, default=100
        Number M of pseudo-inputs.

    Examples
    --------
    >>> Vamp(7).build(Sizes(event=(4,), latent=2)).inputs.shape
    torch.Size([7, 4])
    """

    manifold: ClassVar[str] = "any"

    inputs: int = 100

    def __post_init__(self) -> None:
        whole("inputs", self.inputs)

    def check_posterior(self, posterior: Posterior) -> None:
        """Raise a `PartError` for posteriors without a density at every point."""
        super().check_posterior(posterior)
        if not posterior.evaluates:
            raise PartError(
                f"priors.Vamp needs a density at every point, which {posterior} lacks; use posteriors.Gaussian()"
            )

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return pseudo-inputs, at random until `start`."""
        return {"inputs": nn.Parameter(torch.randn(self.inputs, sizes.features))}

    def start(self, own: Learned, x: Float[Tensor, "B P"]) -> None:
        """Initialise the pseudo-inputs by evenly spaced rows, some repeated where there are too few."""
        rows = torch.linspace(0, len(x) - 1, self.inputs, device=x.device).round().long()
        own.inputs.data.copy_(x[rows])

    def prepare(self, own: Learned, codes: Shaped[Tensor, "N D"], seed: int) -> bool:
        """Raise a `PartError`: the prior consists of the encoder."""
        raise PartError("priors.Vamp is learned with its model, VAE(prior=priors.Vamp()); use priors.Mixture() here")

    def distribution(self, own: Learned, encode: Encode) -> Distribution:
        """Return the mixture of the posteriors, of equal weights."""
        return _mixture(own.inputs.new_zeros(self.inputs), encode(own.inputs))


@dataclass(frozen=True)
class Flow(Prior):
    r"""Normalising flow, for a density of any shape (Chen et al. 2017); a draw takes a pass for each component.

    .. math:: \log p(z) = \log \mathcal{N}(f(z);\ 0, I) + \log \left| \det \frac{\partial f}{\partial z} \right|

    It needs ``latentmap[flows]``.

    Parameters
    ----------
    kind : {"nsf", "maf"}, default="nsf"
        Rational-quadratic splines, which separate clusters better (Durkan et al. 2019), or affine (Papamakarios et al.
        2017).
    transforms : int, default=3
        Transforms in sequence.
    width : int, default=64
        Width of their two hidden layers.

    Examples
    --------
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
        whole("transforms", self.transforms, most=MOST_LAYERS)
        whole("width", self.width)

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return the networks of the transforms, and the mean of the Gaussian."""
        flow = autoregressive(self.kind, sizes.latent, 0, self.transforms, self.width)
        return {"flow": flow, "loc": torch.zeros(sizes.latent)}

    def distribution(self, own: Learned, encode: Encode) -> Pushforward:
        """Return N(0, I) sent through the inverse of f."""
        return flowing(own.flow, normal(own.loc, torch.ones_like(own.loc)), None, inverse=True)


def _mixture(logits: Tensor, components: Distribution) -> MixtureSameFamily:
    return MixtureSameFamily(Categorical(logits=logits, validate_args=False), components, validate_args=False)
