"""Posteriors on curved latent spaces: the sphere, and the Poincare ball for trees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from latentmap.exceptions import PartError
from latentmap.model import manifolds
from latentmap.model.distributions import LATENT_LOG_SCALE_BOUND, LOG_CONCENTRATION_BOUND, soft_bound
from latentmap.model.noise import Noise
from latentmap.model.part import Learned, Sizes
from latentmap.model.posteriors.base import Draw, LogJoint, Posterior

CONCENTRATION = 10.0
"""Kappa / (D - 1) where the encoder returns 0: the mean of q then has the length 10 / 11."""


@dataclass(frozen=True)
class Sphere(Posterior):
    r"""Power spherical posterior, for directions and cycles (Davidson et al. 2018; De Cao and Aziz 2020).

    .. math:: q(z|x) \propto (1 + \mu(x)^\top z)^{\kappa(x)}, \qquad |z| = |\mu| = 1

    D components are a sphere of D - 1 dimensions. Its prior is `priors.Uniform`, and the rate has a closed form. Where
    kappa is 0 no gradient reaches mu, so it stays above D - 1, and the rate is best warmed up: ``ELBO(warmup=0.3)``.

    >>> import torch
    >>> Sphere().distribution(Learned(), torch.tensor([[3.0, 4.0, 0.0]])).mean
    tensor([[0.6000, 0.8000]])
    """

    manifold: ClassVar[str] = "sphere"

    def check(self, sizes: Sizes) -> None:
        """Raise a `PartError` for a sphere of two points."""
        _two_or_more("Sphere", sizes)

    def heads(self, latent: int) -> int:
        """Return D + 1: a direction, and a number for kappa."""
        return latent + 1

    def distribution(self, own: Learned, raw: Float[Tensor, "B H"]) -> manifolds.PowerSpherical:
        """Return mu, the direction of the first D numbers, with a kappa from the last: 10 (D - 1) where that is 0."""
        loc = normalize(raw[..., :-1], dim=-1)
        above = (CONCENTRATION - 1) * soft_bound(raw[..., -1], LOG_CONCENTRATION_BOUND).exp()
        return manifolds.PowerSpherical(loc, (loc.shape[-1] - 1) * (1 + above))

    def draw(self, own: Learned, raw: Float[Tensor, "B H"], k: int, noise: Noise, log_joint: LogJoint) -> Draw:
        """Draw on the sphere, differentiably in mu and kappa."""
        q = self.distribution(own, raw)
        return q.push(noise((k, *q.mean.shape), q.mean)), q, {}

    def geodesic(self, a: Float[Tensor, "*#S D"], b: Float[Tensor, "*#S D"], t: Tensor) -> Float[Tensor, "*K D"]:
        """Return a point of the great circle."""
        return manifolds.sphere_geodesic(a, b, t)

    def onto(self, z: Float[Tensor, "*S D"]) -> Float[Tensor, "*S D"]:
        """Return the direction, at length 1."""
        return normalize(z, dim=-1)


@dataclass(frozen=True)
class Poincare(Posterior):
    r"""Wrapped normal posterior in the Poincare ball, for trees (Nagano et al. 2019; Mathieu et al. 2019).

    .. math:: z = \exp_{\mu(x)}(v), \quad v \sim \mathcal{N}(0, \mathrm{diag}\,\sigma^2(x)), \qquad |z| < 1

    with curvature -1. Its prior is `priors.WrappedNormal`. Densities are with respect to hyperbolic volume, and exact
    at any distance from the origin; the decoder and `transform` use coordinates, which stay 1e-6 inside of the rim,
    14.5 from the origin.

    >>> import torch
    >>> Poincare().distribution(Learned(), torch.tensor([[2.0, 0.0, 0.0, 0.0]])).mean  # 2 from the origin: tanh(2 / 2)
    tensor([[0.7616, 0.0000]])
    """

    manifold: ClassVar[str] = "ball"

    def check(self, sizes: Sizes) -> None:
        """Raise a `PartError` for a line, which has no curvature."""
        _two_or_more("Poincare", sizes)

    def heads(self, latent: int) -> int:
        """Return 2D: the tangent vector at 0 that leads to mu, and log sigma."""
        return 2 * latent

    def distribution(self, own: Learned, raw: Float[Tensor, "B H"]) -> manifolds.WrappedNormal:
        """Return the wrapped normal around the end of the geodesic from 0."""
        to, s = raw.chunk(2, -1)
        return manifolds.WrappedNormal(to, soft_bound(s, LATENT_LOG_SCALE_BOUND).exp())

    def draw(self, own: Learned, raw: Float[Tensor, "B H"], k: int, noise: Noise, log_joint: LogJoint) -> Draw:
        """Draw by wrapping sigma(x) * noise around mu(x)."""
        q = self.distribution(own, raw)
        return q.push(q.base.stddev * noise((k, *q.to.shape), q.to)), q, {}

    def geodesic(self, a: Float[Tensor, "*#S D"], b: Float[Tensor, "*#S D"], t: Tensor) -> Float[Tensor, "*K D"]:
        """Return a point of the arc that meets the rim at right angles."""
        return manifolds.ball_exp(a, t * manifolds.ball_log(a, b))

    def onto(self, z: Float[Tensor, "*S D"]) -> Float[Tensor, "*S D"]:
        """Return the point, within the rim."""
        return manifolds.within(z)


def _two_or_more(name: str, sizes: Sizes) -> None:
    if sizes.latent < 2:
        raise PartError(f"posteriors.{name} needs n_components of 2 or more, got {sizes.latent}")
