"""Curved spaces of codes: the unit sphere and the Poincare ball, their geodesics and their distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, register_kl

from latentmap.model.distributions import normal
from latentmap.model.noise import Noise
from latentmap.model.transforms import Pushforward

RIM = 1 - 1e-6
"""Codes in the ball stay this far inside of its rim, which single precision cannot tell from the rim itself."""


def sphere_geodesic(a: Float[Tensor, "*#S D"], b: Float[Tensor, "*#S D"], t: Tensor) -> Float[Tensor, "*K D"]:
    """Go the share t of the way from a to b along the great circle through both.

    >>> sphere_geodesic(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), torch.tensor([[0.0], [0.5]]))
    tensor([[1.0000, 0.0000],
            [0.7071, 0.7071]])
    """
    half = torch.atan2((b - a).norm(dim=-1, keepdim=True), (b + a).norm(dim=-1, keepdim=True))  # of the angle
    across = torch.nn.functional.normalize(b - a * (a * b).sum(-1, keepdim=True), dim=-1)
    z: Tensor = torch.cos(2 * half * t) * a + torch.sin(2 * half * t) * across
    return z


def mobius_add(x: Float[Tensor, "*#S D"], y: Float[Tensor, "*#S D"]) -> Float[Tensor, "*K D"]:
    """Add on the ball: y, moved by the isometry that takes 0 to x (Ungar 2008)."""
    xy, xx, yy = ((a * b).sum(-1, keepdim=True) for a, b in ((x, y), (x, x), (y, y)))
    z: Tensor = ((1 + 2 * xy + yy) * x + (1 - xx) * y) / (1 + 2 * xy + xx * yy)
    return within(z)


def within(z: Float[Tensor, "*S D"]) -> Float[Tensor, "*S D"]:
    """Bring points outside of the ball to its rim."""
    inside: Tensor = z * (RIM / z.norm(dim=-1, keepdim=True).clamp_min(RIM))
    return inside


def ball_exp(x: Float[Tensor, "*#S D"], v: Float[Tensor, "*#S D"]) -> Float[Tensor, "*K D"]:
    r"""Follow the geodesic of the Poincare ball (curvature -1) from x, in the direction of v and as far as |v|.

    .. math:: \exp_x(v) = x \oplus \tanh\frac{|v|}{2}\, \frac{v}{|v|}

    The length of v is measured at x, as v is there when carried from 0 (Nickel and Kiela 2017; Ganea et al. 2018).

    >>> ball_log(torch.tensor([0.3, 0.0]), ball_exp(torch.tensor([0.3, 0.0]), torch.tensor([0.0, 2.0])))
    tensor([0.0000, 2.0000])
    """
    length = v.norm(dim=-1, keepdim=True).clamp_min(1e-15)
    return mobius_add(x, (length / 2).tanh() * v / length)


def ball_log(x: Float[Tensor, "*#S D"], z: Float[Tensor, "*#S D"]) -> Float[Tensor, "*K D"]:
    """Give the v that `ball_exp` takes from x to z; its length is the distance between the two."""
    w = mobius_add(-x, z)
    length = w.norm(dim=-1, keepdim=True).clamp_min(1e-15)
    v: Tensor = 2 * length.clamp(max=RIM).atanh() * w / length
    return v


def ball_log_det(v: Float[Tensor, "*S D"]) -> Float[Tensor, "*S"]:
    r"""Give the logarithm of what `ball_exp` does to volume: :math:`(D - 1) \log(\sinh |v| / |v|)`."""
    r = v.norm(dim=-1).clamp_min(1e-4)
    log_det: Tensor = (v.shape[-1] - 1) * (r + (-torch.expm1(-2 * r) / (2 * r)).log())
    return log_det


class WrappedNormal(Pushforward):
    r"""A Gaussian of the tangent space at 0, carried to the point loc of the Poincare ball and wrapped around there.

    .. math:: z = \exp_\mu(v), \quad v \sim \mathcal{N}(0, \mathrm{diag}\,\sigma^2), \qquad
              \log q(z) = \log \mathcal{N}(v) - (D - 1) \log \frac{\sinh |v|}{|v|}

    with respect to hyperbolic volume (Nagano et al. 2019; Mathieu et al. 2019).

    >>> WrappedNormal(torch.tensor([[0.5, 0.0]]), torch.ones(1, 2)).sample((3,)).shape
    torch.Size([3, 1, 2])
    """

    def __init__(self, loc: Float[Tensor, "*S D"], scale: Float[Tensor, "*S D"]) -> None:
        self.loc = loc

        def forward(v: Tensor) -> tuple[Tensor, Tensor]:
            return ball_exp(loc, v), ball_log_det(v)

        def inverse(z: Tensor) -> tuple[Tensor, Tensor]:
            v = ball_log(loc, z)
            return v, -ball_log_det(v)

        super().__init__(normal(torch.zeros_like(loc), scale), forward, inverse)

    @property
    def mean(self) -> Float[Tensor, "*S D"]:
        """The point that the draws lie around."""
        return self.loc

    @property
    def stddev(self) -> Float[Tensor, "*S D"]:
        """Scale in the coordinates of the ball, which shrink towards its rim: to first order in sigma."""
        scale: Tensor = self.base.stddev * (1 - self.loc.square().sum(-1, keepdim=True)) / 2
        return scale


class UniformOnSphere(Distribution):
    """All points of the unit sphere in D dimensions alike.

    >>> UniformOnSphere(torch.zeros(3)).log_prob(torch.tensor([0.0, 0.0, 1.0])).exp()  # 1 / (4 pi)
    tensor(0.0796)
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(self, like: Float[Tensor, " D"]) -> None:
        self.like, d = like, len(like)
        self.log_area = math.log(2) + d / 2 * math.log(math.pi) - math.lgamma(d / 2)
        super().__init__(event_shape=like.shape, validate_args=False)

    @property
    def mean(self) -> Float[Tensor, " D"]:
        """The middle of the sphere, which is not on it."""
        return torch.zeros_like(self.like)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw."""
        draws = torch.randn(*sample_shape, len(self.like), dtype=self.like.dtype, device=self.like.device)
        return torch.nn.functional.normalize(draws, dim=-1)

    def draw(self, shape: Sequence[int], noise: Noise) -> Tensor:
        """Draw from noise that is passed."""
        return torch.nn.functional.normalize(noise((*shape, len(self.like)), self.like), dim=-1)

    def log_prob(self, value: Float[Tensor, "*S D"]) -> Float[Tensor, "*S"]:
        """Minus the logarithm of the sphere's area."""
        return value.new_full(value.shape[:-1], -self.log_area)


class PowerSpherical(Distribution):
    r"""Unimodal on the unit sphere, with a density that falls as a power (De Cao and Aziz 2020).

    .. math:: q(z) = \frac{\Gamma(\alpha + \beta)}{2^{\alpha + \beta} \pi^\beta\, \Gamma(\alpha)}
              (1 + \mu^\top z)^\kappa, \qquad \alpha = \beta + \kappa, \quad \beta = \frac{D - 1}{2}

    A draw is a stereographic projection: of the tangent vector :math:`w / s` at mu, w Gaussian with variance 1/2 and
    :math:`s^2 \sim \mathrm{Gamma}(\alpha)`.

    >>> q = PowerSpherical(torch.tensor([[1.0, 0.0]]), torch.tensor([5.0]))
    >>> q.push(torch.randn(3, 1, 2)).norm(dim=-1).shape
    torch.Size([3, 1])
    """

    arg_constraints: dict[str, Any] = {}
    has_rsample = True

    def __init__(self, loc: Float[Tensor, "*S D"], concentration: Float[Tensor, "*S"]) -> None:
        self.loc, self.concentration = loc, concentration
        self.beta = (loc.shape[-1] - 1) / 2
        self.alpha = self.beta + concentration.double()  # differences of large log-gammas follow
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Float[Tensor, "*S D"]:
        """Mean direction, a point of the sphere."""
        return self.loc

    @property
    def stddev(self) -> Float[Tensor, "*S D"]:
        """Standard deviation of each coordinate."""
        a, b = self.alpha[..., None], self.beta
        along = self.loc.double() ** 2  # share of the direction of mu in each coordinate
        variance = 4 * a / ((a + b) * (a + b + 1)) * (b / (a + b) * along + (1 - along) / 2)
        return variance.sqrt().to(self.loc)

    def push(self, noise: Float[Tensor, "*K D"]) -> Float[Tensor, "*K D"]:
        """Draw from standard normal noise: what of it points along mu makes s, and the rest is w."""
        e = (noise * self.loc).sum(-1, keepdim=True)
        w = (noise - e * self.loc) / math.sqrt(2)
        s = gamma_quantile(self.alpha[..., None].expand_as(e), e.double()).sqrt().to(noise)
        ww = w.square().sum(-1, keepdim=True)
        return ((s**2 - ww) * self.loc + 2 * s * w) / (s**2 + ww)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw from torch's generator."""
        return self.push(torch.randn(*sample_shape, *self.loc.shape, dtype=self.loc.dtype, device=self.loc.device))

    def draw(self, shape: Sequence[int], noise: Noise) -> Tensor:
        """Draw from noise that is passed."""
        return self.push(noise((*shape, *self.loc.shape), self.loc))

    def log_prob(self, value: Float[Tensor, "*K D"]) -> Float[Tensor, "*L"]:
        """With respect to area."""
        cosine = 0.5 * (self.loc + value).square().sum(-1) - 1  # exact near -1
        return (self.concentration * torch.log1p(cosine.clamp(min=-1 + 1e-7)) - self._log_total()).to(value)

    def entropy(self) -> Float[Tensor, "*S"]:
        """In nats, with respect to area."""
        fall = math.log(2) + self.alpha.digamma() - (self.alpha + self.beta).digamma()
        return (self._log_total() - self.concentration * fall).to(self.loc)

    def _log_total(self) -> Tensor:
        a, b = self.alpha, self.beta
        return (a + b) * math.log(2) + b * math.log(math.pi) + a.lgamma() - (a + b).lgamma()


@register_kl(PowerSpherical, UniformOnSphere)  # type: ignore[untyped-decorator]
def _kl(q: PowerSpherical, p: UniformOnSphere) -> Tensor:
    return p.log_area - q.entropy()


def gamma_quantile(shape: Float[Tensor, "*S"], e: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """Give the quantile of Gamma(shape, 1) at which the standard normal distribution function of e stands.

    That makes Gamma draws of normal noise, differentiable in both arguments (implicitly, Figurnov et al. 2018). Newton
    steps on the logarithm of the nearer tail, from the greater of Wilson and Hilferty's guess and a lower bound.

    >>> gamma_quantile(torch.ones(1).double(), torch.zeros(1).double())  # the median of an exponential: log 2
    tensor([0.6931], dtype=torch.float64)
    """
    with torch.no_grad():
        low = e < 0
        target = torch.special.log_ndtr(torch.where(low, e, -e))
        guess = shape * (1 - 1 / (9 * shape) + e / (3 * shape.sqrt())).clamp(min=1e-3) ** 3
        x = guess.log().maximum((torch.special.log_ndtr(e) + (shape + 1).lgamma()) / shape)

        def tail(a: Tensor, z: Tensor) -> Tensor:
            return torch.where(low, torch.special.gammainc(a, z), torch.special.gammaincc(a, z)).clamp(min=1e-300)

        sign = torch.where(low, -1.0, 1.0)
        for _ in range(8):
            mass, density = tail(shape, x.exp()), (shape * x - x.exp() - shape.lgamma()).exp()  # density of x = log z
            x = x + (sign * (mass.log() - target) * mass / density).clamp(-2, 2)
        z = x.exp()
        density = (shape * x - z - shape.lgamma()).exp() / z
        h = 1e-4 * shape.sqrt()
        by_shape = sign * (tail(shape + h, z) - tail(shape - h, z)) / (2 * h * density)
        by_e = (-(e**2) / 2).exp() / (math.sqrt(2 * math.pi) * density)
    return z + by_shape * (shape - shape.detach()) + by_e * (e - e.detach())
