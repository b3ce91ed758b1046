"""Draws from the prior among those of q(z|x), which bound the importance weights of rows that q may be wrong about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily, MultivariateNormal, Normal
from torch.nn.functional import normalize

from latentmap.model.distributions import Delta, normal
from latentmap.model.manifolds import UniformOnSphere
from latentmap.model.noise import Noise
from latentmap.model.transforms import Pushforward

SHARE = 0.25
"""Share of the draws that come from the prior."""


@dataclass(frozen=True)
class Defence:
    r"""A defensive mixture as proposal for the codes of rows with missing cells (Hesterberg 1995; Owen and Zhou 2000).

    .. math:: z_1 \dots z_{\alpha K} \sim p(z), \quad z_{\alpha K + 1} \dots z_K \sim q(z|x), \qquad
              w_i = \frac{p(x, z_i)}{\alpha\, p(z_i) + (1 - \alpha)\, q(z_i|x)} \le \frac{p(x|z_i)}{\alpha}

    The mean of the weights is p(x) in expectation, as with draws of q alone, and their variance is finite, wherever q
    may have too little mass. Rows without missing cells keep the draws of q.
    """

    noise: Noise
    """Of the draws from the prior."""
    which: Bool[Tensor, "K B 1"]
    """Which draws come from the prior."""

    @classmethod
    def of(cls, x: Float[Tensor, "B P"], k: int, noise: Noise) -> Self:
        """Let `SHARE` of k draws, at least one, come from the prior in rows with missing cells."""
        first = torch.arange(k, device=x.device) < max(1, round(SHARE * k))
        return cls(noise, (first[:, None] & x.isnan().any(1))[..., None])

    @property
    def share(self) -> Float[Tensor, " B"]:
        """Alpha of each row."""
        return self.which[..., 0].double().mean(0)

    def replace(self, z: Float[Tensor, "K B D"], p: Distribution) -> Float[Tensor, "K B D"]:
        """Put draws from p in the place of those of q."""
        return torch.where(self.which, push(p, z.shape, self.noise, z), z)


def defensible(q: Distribution, p: Distribution) -> bool:
    """Whether q has a density at every point, and p can be drawn from by standard normal noise.

    >>> p = normal(torch.zeros(2), torch.ones(2))
    >>> defensible(p, p), defensible(Delta(torch.zeros(2)), p)
    (True, False)
    """
    if isinstance(q, Delta) or (isinstance(q, Pushforward) and q.inverse is None):
        return False
    if isinstance(p, MixtureSameFamily):
        return isinstance(p.component_distribution, MultivariateNormal) or _factors(p.component_distribution)
    return isinstance(p, MultivariateNormal | UniformOnSphere | Pushforward) or _factors(p)


def push(p: Distribution, shape: Any, noise: Noise, like: Tensor) -> Tensor:
    """Draw from a prior, over the last axis of this shape, by standard normal noise.

    One number more of each draw, through the normal distribution function, chooses the component of a mixture.
    """
    if isinstance(p, MixtureSameFamily):
        uniform = torch.special.ndtr(noise((*shape[:-1], 1), like).double())
        shares = p.mixture_distribution.probs.double().cumsum(-1)
        p = _at(p.component_distribution, torch.searchsorted(shares, uniform[..., 0]).clamp_max(len(shares) - 1))
    eta = noise(shape, like)
    if isinstance(p, MultivariateNormal):
        return p.loc + torch.einsum("...de,...e->...d", p.scale_tril, eta)
    if isinstance(p, UniformOnSphere):
        return normalize(eta, dim=-1)
    if isinstance(p, Pushforward):
        return p.push(p.base.mean + p.base.stddev * eta)
    return p.mean + p.stddev * eta


def _factors(p: Distribution) -> bool:
    return isinstance(p, Independent) and isinstance(p.base_dist, Normal)


def _at(components: Distribution, places: Tensor) -> Distribution:
    """Take one of C Gaussians at each place."""
    if isinstance(components, MultivariateNormal):
        return MultivariateNormal(components.loc[places], scale_tril=components.scale_tril[places], validate_args=False)
    return normal(components.mean[places], components.stddev[places])
