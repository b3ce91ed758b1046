"""Likelihood of values on a circle: hours, weekdays, months, angles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from latentmap.model.likelihoods.base import Likelihood
from latentmap.model.part import Learned, Sizes

LARGEST = 1e4
"""The largest concentration: a standard deviation of a hundredth of a radian."""


@dataclass(frozen=True)
class VonMises(Likelihood):
    r"""Von Mises likelihood of angles in radians (Mardia and Jupp 2000, section 3.5.4).

    .. math:: p(x|z) = \frac{\exp(\kappa \cos(x - \mu))}{2 \pi I_0(\kappa)}, \qquad
              (\kappa_0 \cos \mu, \kappa_0 \sin \mu) = d(z), \quad \kappa = \kappa_0 e^{s}

    with one learned scale s for each feature: the ends of the circle are neighbours, and a code that is sure of nothing
    has the uniform distribution. A table scales its cyclic columns to radians, and the encoder reads cosine and sine.

    Examples
    --------
    >>> p = VonMises().distribution(VonMises().build(Sizes((1,), 2)), torch.tensor([[[1.0, 0.0]]]))
    >>> p.mean, p.log_prob(torch.tensor([[0.0]])).equal(p.log_prob(torch.tensor([[2 * math.pi]])))
    (tensor([[0.]]), True)
    """

    @property
    def heads(self) -> int:
        """The two coordinates of the mean direction."""
        return 2

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return the logarithm of each feature's scale."""
        return {"log_scale": nn.Parameter(torch.zeros(sizes.features))}

    def distribution(self, own: Learned, raw: Float[Tensor, "*S P H"]) -> Circular:
        """Return the von Mises distribution in the decoder's direction."""
        x, y = raw.unbind(-1)
        concentration = _radius(x, y) * own.log_scale.clamp(-6.0, 6.0).exp()
        return Circular(x, y, concentration.clamp_max(LARGEST))


class Circular(Distribution):
    """Von Mises distributions in the directions (x, y)."""

    arg_constraints: dict[str, Any] = {}

    def __init__(self, x: Float[Tensor, "*S"], y: Float[Tensor, "*S"], concentration: Float[Tensor, "*S"]) -> None:
        self.x = x
        self.y = y
        self.concentration = concentration
        super().__init__(concentration.shape, validate_args=False)

    @property
    def mean(self) -> Float[Tensor, "*S"]:
        """Mean direction, in [0, 2 pi)."""
        return _direction(self.x, self.y)

    @property
    def variance(self) -> Float[Tensor, "*S"]:
        """Circular variance, 1 - I1(kappa) / I0(kappa)."""
        variance: Tensor = 1 - torch.special.i1e(self.concentration) / torch.special.i0e(self.concentration)
        return variance

    def log_prob(self, value: Float[Tensor, "*K"]) -> Float[Tensor, "*L"]:
        """Log-density of angles, of which those a whole circle apart are the same."""
        cosine = (self.x * value.cos() + self.y * value.sin()) / _radius(self.x, self.y)
        normaliser = math.log(2 * math.pi) + torch.special.i0e(self.concentration).log()
        return torch.where(value.isfinite(), self.concentration * (cosine - 1) - normaliser, -math.inf)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw angles in [0, 2 pi), by inversion of the distribution function on a grid."""
        shape = torch.Size((*sample_shape, *self._batch_shape))
        grid = torch.linspace(-math.pi, math.pi, 721, device=self.x.device, dtype=self.x.dtype)
        mass = (self.concentration[..., None] * (grid.cos() - 1)).exp()
        upper = F.normalize((mass[..., 1:] + mass[..., :-1]).cumsum(-1), p=float("inf"), dim=-1)
        uniform = torch.rand(shape, device=self.x.device, dtype=self.x.dtype)
        upper = upper.expand(*shape, -1)
        place = torch.searchsorted(upper.contiguous(), uniform[..., None])[..., 0].clamp_max(upper.shape[-1] - 1)
        step = torch.rand_like(uniform)
        angle = -math.pi + (place + step) * (2 * math.pi / 720) + self.mean
        return torch.remainder(angle, 2 * math.pi)

    def average(self, weight: Float[Tensor, "K B"]) -> Float[Tensor, "B P"]:
        """Average directions over draws by their weights and certainty."""
        length = torch.special.i1e(self.concentration) / torch.special.i0e(self.concentration)
        parts = [torch.einsum("kb,kbp->bp", weight, length * f(self.mean)) for f in (torch.cos, torch.sin)]
        return _direction(parts[0], parts[1])


def _radius(x: Tensor, y: Tensor) -> Tensor:
    """Return the distance from the origin, with a gradient there too."""
    return (x.square() + y.square() + 1e-12).sqrt()


def _direction(x: Tensor, y: Tensor) -> Tensor:
    return torch.remainder(torch.atan2(y, x), 2 * math.pi)
