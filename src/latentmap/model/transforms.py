"""Distributions made by transforming a Gaussian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.distributions import Distribution

from latentmap.exceptions import NoDensityError, PartError
from latentmap.model.distributions import draw
from latentmap.model.noise import Noise

Map = Callable[[Tensor], tuple[Tensor, Tensor]]
"""u -> f(u), log |det df/du|."""


class Pushforward(Distribution):
    r"""Distribution of z = f(u) for u from a Gaussian; it caches the log-density of its last draw, without inverting f.

    .. math:: \log q(f(u)) = \log \mathcal{N}(u) - \log \left| \det \frac{\partial f}{\partial u} \right|

    Other points need the inverse. Mean and standard deviation are those over 2D points around the mean of u, exact for
    affine f, the mean also for cubic f (spherical cubature, Stroud 1957).

    >>> from latentmap.model.distributions import normal
    >>> q = Pushforward(normal(torch.zeros(2), torch.ones(2)), lambda u: (2 * u, u.new_tensor(2 * 2.0).log()))
    >>> q.stddev, q.log_prob(q.push(torch.zeros(2)))
    (tensor([2., 2.]), tensor(-3.2242))
    """

    arg_constraints: dict[str, Any] = {}
    has_rsample = True

    def __init__(self, base: Distribution, forward: Map, inverse: Map | None = None) -> None:
        self.base, self.forward, self.inverse = base, forward, inverse
        self.last: tuple[Tensor, Tensor] | None = None  # the last draw and its log-density
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    def push(self, u: Float[Tensor, "*S D"]) -> Float[Tensor, "*S D"]:
        """Return f(u) as a draw, and cache its log-density."""
        with torch.autocast(u.device.type, enabled=False):
            z, log_det = self.forward(u)
        self.last = z, self.base.log_prob(u) - log_det
        return z

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw from torch's generator."""
        return self.push(self.base.rsample(sample_shape))

    def draw(self, shape: Sequence[int], noise: Noise) -> Tensor:
        """Draw from noise that is passed."""
        return self.push(draw(self.base, shape, noise))

    def log_prob(self, value: Float[Tensor, "*S D"]) -> Tensor:
        """Return the log-density, cached for the last draw; other points are inverted."""
        if self.last is not None and value is self.last[0]:
            return self.last[1]
        if self.inverse is None:
            raise NoDensityError("this posterior has the density of its own draws alone; use posteriors.Gaussian()")
        shape = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)  # a density for each of the batch
        with torch.autocast(value.device.type, enabled=False):
            u, log_det = self.inverse(value.expand(*shape, -1))
        return self.base.log_prob(u) + log_det

    def replace(self, which: Bool[Tensor, "*S 1"], z: Float[Tensor, "*S D"], others: Tensor) -> None:
        """Replace the last draw by z, which holds points of another distribution where ``which`` is true."""
        assert self.last is not None
        self.last = z, torch.where(which[..., 0], self.log_prob(others), self.last[1])

    def place(self, z: Float[Tensor, "*S D"]) -> Tensor:
        """Return the position of the last draw, which may hold more than its coordinates."""
        return z

    @property
    def mean(self) -> Float[Tensor, "*S D"]:
        """Mean over the cubature points."""
        return self._points().mean(0)

    @property
    def stddev(self) -> Float[Tensor, "*S D"]:
        """Standard deviation over the cubature points."""
        return self._points().std(0, correction=0)

    def _points(self) -> Float[Tensor, "N *S D"]:
        mean, d = self.base.mean, self.event_shape[0]
        axes = d**0.5 * torch.eye(d, dtype=mean.dtype, device=mean.device)
        with torch.autocast(mean.device.type, enabled=False):
            return torch.stack([self.forward(mean + self.base.stddev * step)[0] for step in (*axes, *-axes)])


def planar(raw: Float[Tensor, "B H"], transforms: int) -> Map:
    r"""Return planar flows with parameters from the encoder's output (Rezende and Mohamed 2015).

    .. math:: f(u) = u + \hat a \tanh(w^\top u + b), \qquad
              \hat a = a + \big(\log(1 + e^{w^\top a}) - 1 - w^\top a\big) \frac{w}{|w|^2}

    Each has 2D + 1 numbers: a, w and b. There is no inverse in closed form.
    """
    steps = raw.unflatten(-1, (transforms, -1)).unbind(-2)

    def forward(u: Tensor) -> tuple[Tensor, Tensor]:
        log_det = u.new_zeros(u.shape[:-1])
        for step in steps:
            a, w, b = step.split([u.shape[-1], u.shape[-1], 1], -1)
            along = (w * a).sum(-1, keepdim=True)
            a = a + (nn.functional.softplus(along) - 1 - along) * w / w.square().sum(-1, keepdim=True).clamp_min(1e-6)
            h = torch.tanh((w * u).sum(-1, keepdim=True) + b)
            slope = 1 + (1 - h**2) * (w * a).sum(-1, keepdim=True)
            u, log_det = u + a * h, log_det + slope[..., 0].clamp_min(1e-6).log()
        return u, log_det

    return forward


FlowKind = Literal["iaf", "maf", "nsf", "planar"]
MOST_FEATURES, MOST_WIDTH = 2**12, 2**13


def autoregressive(kind: FlowKind, features: int, context: int, transforms: int, width: int) -> nn.Module:
    """Return the transforms of an autoregressive flow from zuko; "nsf" are splines, the others are affine."""
    try:
        from zuko.flows import MAF, NSF
    except ImportError as error:
        raise PartError('flows need zuko: pip install "latentmap[flows]"') from error
    if features > MOST_FEATURES or width > MOST_WIDTH:  # zuko's masks take the square of both
        most = f"{MOST_FEATURES:,} components and {MOST_WIDTH:,} units a layer"
        raise PartError(f"an autoregressive flow takes at most {most}, got {features:,} and {width:,}")
    make = NSF if kind == "nsf" else MAF
    flow: nn.Module = make(features, context, transforms=transforms, hidden_features=(width, width)).transform
    return flow


def flowing(flow: nn.Module, base: Distribution, context: Tensor | None, *, inverse: bool) -> Pushforward:
    """Return a Gaussian sent through a flow in one pass, or, with ``inverse``, in one for each component."""
    f = flow(context)
    ways = f.inv.call_and_ladj, f.call_and_ladj
    return Pushforward(base, *(ways if inverse else ways[::-1]))
