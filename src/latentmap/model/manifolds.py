"""Curved latent spaces: geodesics and distributions of the unit sphere and the Poincare ball."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.distributions import Distribution, register_kl

from latentmap.model.distributions import normal
from latentmap.model.noise import Noise
from latentmap.model.transforms import Pushforward

RIM = 1 - 1e-6
"""Largest norm of coordinates in the ball, which single precision distinguishes from its rim."""


def sphere_geodesic(a: Float[Tensor, "*#S D"], b: Float[Tensor, "*#S D"], t: Tensor) -> Float[Tensor, "*K D"]:
    """Return the point at the fraction t of the great circle from a to b.

    >>> sphere_geodesic(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), torch.tensor([[0.0], [0.5]]))
    tensor([[1.0000, 0.0000],
            [0.7071, 0.7071]])
    """
    half = torch.atan2((b - a).norm(dim=-1, keepdim=True), (b + a).norm(dim=-1, keepdim=True))  # of the angle
    across = torch.nn.functional.normalize(b - a * (a * b).sum(-1, keepdim=True), dim=-1)
    z: Tensor = torch.cos(2 * half * t) * a + torch.sin(2 * half * t) * across
    return z


def within(z: Float[Tensor, "*S D"]) -> Float[Tensor, "*S D"]:
    """Project points outside of the ball to its rim."""
    inside: Tensor = z * (RIM / z.norm(dim=-1, keepdim=True).clamp_min(RIM))
    return inside


def polar(z: Float[Tensor, "*S D"]) -> Float[Tensor, "*S E"]:
    """Return direction and distance from the origin, D + 1 numbers in double precision, of coordinates in the ball.

    They distinguish points at any distance, where coordinates in single precision end about 14 from the origin.

    >>> polar(torch.tensor([0.0, 0.5]))
    tensor([0.0000, 1.0000, 1.0986], dtype=torch.float64)
    """
    r = z.double().norm(dim=-1, keepdim=True)
    return torch.cat([z / r.clamp_min(1e-15), 2 * r.clamp(max=RIM).atanh()], -1)


def in_ball(place: Float[Tensor, "*S E"]) -> Float[Tensor, "*S D"]:
    """Return coordinates in the ball of a direction and distance, in double precision, no nearer to its rim than RIM.

    >>> in_ball(polar(torch.tensor([0.3, 0.4])))
    tensor([0.3000, 0.4000], dtype=torch.float64)
    """
    z: Tensor = place[..., :-1] * (place[..., -1:] / 2).tanh().clamp(max=RIM)
    return z


def polar_exp(to: Float[Tensor, "*#S D"], v: Float[Tensor, "*#S D"]) -> Float[Tensor, "*K E"]:
    r"""Follow the geodesic of the hyperbolic space from :math:`\exp_0(to)` along v; return direction and distance.

    On the hyperboloid, with a = |to| and s = |v|, the point b in the direction f from the middle is

    .. math:: \sinh b\; f = \frac{to}{a} \big(\sinh a \cosh s + (\cosh a - 1) \sinh s \cos\phi\big)
              + \frac{v}{s} \sinh s, \qquad \cos\phi = \frac{to^\top v}{a s}

    which is computed over :math:`e^{a + s}`, so that nothing overflows, and without differences of large numbers.
    """
    to, v = to.double(), v.double()
    a, s = (x.norm(dim=-1, keepdim=True).clamp_min(1e-15) for x in (to, v))
    beyond = 0.5 * (to / a + v / s).square().sum(-1, keepdim=True)  # 1 + cos phi
    rise, turn = -torch.expm1(-a), -torch.expm1(-2 * s) / 2  # (cosh a - 1 and sinh s are made of these)
    along = rise * ((-a).exp() + (-2 * s).exp()) / 2 + rise**2 * turn * beyond / 2
    spot = to / a * along + v / s * turn * (-a).exp()  # sinh(b) f exp(-a - s)
    size = spot.norm(dim=-1, keepdim=True).clamp_min(1e-300)
    b = a + s + (size + (size**2 + (-2 * (a + s)).exp()).sqrt()).log()
    return torch.cat([spot / size, b], -1)


def ball_exp(x: Float[Tensor, "*#S D"], v: Float[Tensor, "*#S D"]) -> Float[Tensor, "*K D"]:
    r"""Follow the geodesic of the Poincare ball (curvature -1) from x, in the direction of v and as far as |v|.

    .. math:: \exp_x(v) = x \oplus \tanh\frac{|v|}{2}\, \frac{v}{|v|}

    The length of v is that at x after parallel transport from 0 (Nickel and Kiela 2017; Ganea et al. 2018).

    >>> ball_log(torch.tensor([0.3, 0.0]), ball_exp(torch.tensor([0.3, 0.0]), torch.tensor([0.0, 2.0])))[1]
    tensor(2.0000)
    """
    return in_ball(polar_exp(_tangent(polar(x)), v)).to(v)


def ball_log(x: Float[Tensor, "*#S D"], z: Float[Tensor, "*#S D"]) -> Float[Tensor, "*K D"]:
    """Return the v that `ball_exp` takes from x to z; its length is their distance."""
    return _tangent(polar_exp(-_tangent(polar(x)), _tangent(polar(z)))).to(z)


def ball_log_det(v: Float[Tensor, "*S D"]) -> Float[Tensor, "*S"]:
    r"""Return the log-determinant of `ball_exp`, :math:`(D - 1) \log(\sinh |v| / |v|)`."""
    r = v.norm(dim=-1).clamp_min(1e-4)
    log_det: Tensor = (v.shape[-1] - 1) * (r + (-torch.expm1(-2 * r) / (2 * r)).log())
    return log_det


def _tangent(place: Float[Tensor, "*S E"]) -> Float[Tensor, "*S D"]:
    """Return the tangent vector at 0 of the geodesic to a point."""
    return place[..., :-1] * place[..., -1:]


class WrappedNormal(Pushforward):
    r"""A Gaussian of the tangent space at 0, transported to the point :math:`\mu = \exp_0(to)` of the Poincare ball.

    .. math:: z = \exp_\mu(v), \quad v \sim \mathcal{N}(0, \mathrm{diag}\,\sigma^2), \qquad
              \log q(z) = \log \mathcal{N}(v) - (D - 1) \log \frac{\sinh |v|}{|v|}

    with respect to hyperbolic volume (Nagano et al. 2019; Mathieu et al. 2019). Points are coordinates in the ball, or
    direction and distance (`polar`): those of the last draw are exact at any distance, so that its densities under this
    and other distributions are of the same point, also where its coordinates end at the rim.

    >>> WrappedNormal(torch.tensor([[0.5, 0.0]]), torch.ones(1, 2)).sample((3,)).shape
    torch.Size([3, 1, 2])
    """

    def __init__(self, to: Float[Tensor, "*S D"], scale: Float[Tensor, "*S D"]) -> None:
        self.to = to
        self.drawn = to
        super().__init__(normal(torch.zeros_like(to), scale), self._forward, self._inverse)

    def push(self, u: Float[Tensor, "*S D"]) -> Float[Tensor, "*S D"]:
        """Return u, wrapped, as a draw, and cache its log-density and position."""
        with torch.autocast(u.device.type, enabled=False):
            self.drawn = polar_exp(self.to, u)
            self.last = in_ball(self.drawn).to(u), self.base.log_prob(u) - ball_log_det(u)
        return self.last[0]

    def replace(self, which: Bool[Tensor, "*S 1"], z: Float[Tensor, "*S D"], others: Tensor) -> None:
        """Replace the last draw, and cache the position of each point."""
        others = others if others.shape[-1] > z.shape[-1] else polar(others)
        super().replace(which, z, others)
        self.drawn = torch.where(which, others, self.drawn)

    def place(self, z: Float[Tensor, "*S D"]) -> Tensor:
        """Return direction and distance of the last draw; of other points the coordinates."""
        return self.drawn if self.last is not None and z is self.last[0] else z

    @property
    def mean(self) -> Float[Tensor, "*S D"]:
        """The point mu."""
        r = self.to.norm(dim=-1, keepdim=True).clamp_min(1e-15)
        z: Tensor = self.to * ((r / 2).tanh().clamp(max=RIM) / r)
        return z

    @property
    def stddev(self) -> Float[Tensor, "*S D"]:
        """Scale in the coordinates of the ball, which shrink towards its rim: to first order in sigma."""
        scale: Tensor = self.base.stddev / (1 + self.to.norm(dim=-1, keepdim=True).cosh())
        return scale

    def _forward(self, v: Tensor) -> tuple[Tensor, Tensor]:
        return in_ball(polar_exp(self.to, v)).to(v), ball_log_det(v)

    def _inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        at = z if z.shape[-1] > self.to.shape[-1] else polar(z)
        v = _tangent(polar_exp(-self.to, _tangent(at))).to(self.to)
        return v, -ball_log_det(v)


class UniformOnSphere(Distribution):
    """Uniform distribution on the unit sphere in D dimensions.

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
        """Draw from torch's generator."""
        draws = torch.randn(*sample_shape, len(self.like), dtype=self.like.dtype, device=self.like.device)
        return torch.nn.functional.normalize(draws, dim=-1)

    def draw(self, shape: Sequence[int], noise: Noise) -> Tensor:
        """Draw from noise that is passed."""
        return torch.nn.functional.normalize(noise((*shape, len(self.like)), self.like), dim=-1)

    def log_prob(self, value: Float[Tensor, "*S D"]) -> Float[Tensor, "*S"]:
        """Return minus the logarithm of the sphere's area."""
        return value.new_full(value.shape[:-1], -self.log_area)


class PowerSpherical(Distribution):
    r"""Power spherical distribution, unimodal on the unit sphere (De Cao and Aziz 2020).

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
        along = self.loc.double() ** 2  # of mu
        variance = 4 * a / ((a + b) * (a + b + 1)) * (b / (a + b) * along + (1 - along) / 2)
        return variance.sqrt().to(self.loc)

    def push(self, noise: Float[Tensor, "*K D"]) -> Float[Tensor, "*K D"]:
        """Return a draw by standard normal noise: its component along mu makes s, and the rest is w."""
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
        """Return the log-density with respect to area."""
        cosine = 0.5 * (self.loc + value).square().sum(-1) - 1  # exact about -1
        return (self.concentration * torch.log1p(cosine.clamp(min=-1 + 1e-7)) - self._log_total()).to(value)

    def entropy(self) -> Float[Tensor, "*S"]:
        """Return the entropy in nats, with respect to area."""
        fall = math.log(2) + self.alpha.digamma() - (self.alpha + self.beta).digamma()
        return (self._log_total() - self.concentration * fall).to(self.loc)

    def _log_total(self) -> Tensor:
        a, b = self.alpha, self.beta
        return (a + b) * math.log(2) + b * math.log(math.pi) + a.lgamma() - (a + b).lgamma()


@register_kl(PowerSpherical, UniformOnSphere)  # type: ignore[untyped-decorator]
def _kl(q: PowerSpherical, p: UniformOnSphere) -> Tensor:
    return p.log_area - q.entropy()


def gamma_quantile(shape: Float[Tensor, "*S"], e: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    r"""Return the quantile of Gamma(shape, 1) at the probability :math:`\Phi(e)`.

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
