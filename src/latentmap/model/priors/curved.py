"""Priors on curved spaces, beside the posteriors of the same spaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch.distributions import Distribution

from latentmap.model import manifolds
from latentmap.model.part import Learned, Sizes
from latentmap.model.priors.base import Encode, Prior


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
        """The middle, as a buffer: it follows the model to its device."""
        return {"loc": torch.zeros(sizes.latent)}

    def distribution(self, own: Learned, encode: Encode) -> Distribution:
        """One over the area of the sphere."""
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
        """Constants, as buffers."""
        return {"loc": torch.zeros(sizes.latent), "scale": torch.ones(sizes.latent)}

    def distribution(self, own: Learned, encode: Encode) -> Distribution:
        """Around 0."""
        return manifolds.WrappedNormal(own.loc, own.scale)
