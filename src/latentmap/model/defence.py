"""Defensive mixtures of q(z|x) with the prior, which bound the importance weights of rows with missing cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily, MultivariateNormal, Normal

from latentmap.model.distributions import Delta, draw
from latentmap.model.manifolds import UniformOnSphere
from latentmap.model.noise import Noise
from latentmap.model.transforms import Pushforward

FRACTION = 0.25
"""Fraction of the draws that come from the prior."""


@dataclass(frozen=True)
class Defence:
    r"""A defensive mixture as proposal for the codes of rows with missing cells (Hesterberg 1995; Owen and Zhou 2000).

    .. math:: z_1 \dots z_{\alpha K} \sim p(z), \quad z_{\alpha K + 1} \dots z_K \sim q(z|x), \qquad
              w_i = \frac{p(x, z_i)}{\alpha\, p(z_i) + (1 - \alpha)\, q(z_i|x)} \le \frac{p(x|z_i)}{\alpha}

    The mean of the weights is p(x) in expectation, as with draws of q alone, and their variance is finite, wherever q
    may have too little mass. Rows without missing cells keep the draws of q.
    """

    noise: Noise
    """Source of the draws from the prior."""
    which: Bool[Tensor, "K B 1"]
    """Which draws come from the prior."""

    @classmethod
    def of(cls, x: Float[Tensor, "B P"], k: int, noise: Noise) -> Self:
        """Return the mixture with `FRACTION` of k draws, at least one, from the prior in rows with missing cells."""
        first = torch.arange(k, device=x.device) < max(1, round(FRACTION * k))
        return cls(noise, (first[:, None] & x.isnan().any(1))[..., None])

    @property
    def fraction(self) -> Float[Tensor, " B"]:
        """Alpha of each row."""
        return self.which[..., 0].double().mean(0)

    def replace(self, z: Float[Tensor, "K B D"], q: Distribution, p: Distribution) -> Float[Tensor, "K B D"]:
        """Replace some draws of q by draws from p."""
        others = draw(p, z.shape[: 2 - len(p.batch_shape)], self.noise)
        mixed = torch.where(self.which, others, z)
        if isinstance(q, Pushforward):
            q.replace(self.which, mixed, p.place(others) if isinstance(p, Pushforward) else others)
        return mixed


def defensible(q: Distribution, p: Distribution) -> bool:
    """Return whether q has a density at every point, and p can be drawn with standard normal noise.

    >>> from latentmap.model.distributions import normal
    >>> p = normal(torch.zeros(2), torch.ones(2))
    >>> defensible(p, p), defensible(Delta(torch.zeros(2)), p)
    (True, False)
    """
    if isinstance(q, Delta) or (isinstance(q, Pushforward) and q.inverse is None):
        return False
    if isinstance(p, MixtureSameFamily):
        return isinstance(p.component_distribution, MultivariateNormal) or _factors(p.component_distribution)
    return isinstance(p, MultivariateNormal | UniformOnSphere | Pushforward) or _factors(p)


def _factors(p: Distribution) -> bool:
    return isinstance(p, Independent) and isinstance(p.base_dist, Normal)
