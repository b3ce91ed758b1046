"""Posteriors that move their draws towards the true one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal

from latentmap.exceptions import PartError
from latentmap.model.distributions import normal
from latentmap.model.noise import Noise
from latentmap.model.part import Learned, Sizes, positive, whole
from latentmap.model.posteriors.base import Draw, Gaussian, LogJoint, Posterior
from latentmap.model.transforms import Pushforward

STEEPEST = 1e12
"""Slope that a row far from all others may have; steps keep volume whatever the slope is."""
Force = Callable[[Tensor, Tensor | None], Tensor]
"""z, r -> slope in z of log p(x, z) for no r, else of the log-density of the momenta r at z."""


@dataclass(frozen=True)
class Hamiltonian(Posterior):
    r"""Hamiltonian VAE: draws of a Gaussian, moved by leapfrog steps with tempering (Caterini et al. 2018).

    .. math:: r \leftarrow r + \tfrac{\epsilon}{2} \sigma \nabla_z \log p(x, z), \quad
              z \leftarrow z + \epsilon \sigma r, \quad
              r \leftarrow \sqrt{\beta_{t-1} / \beta_t}\, \big(r + \tfrac{\epsilon}{2} \sigma \nabla_z \log p(x, z)\big)

    Momenta start as :math:`r_0 = \eta / \sqrt{\beta_0}`, :math:`\eta \sim \mathcal{N}(0, I)`, and
    :math:`\beta_t^{-1/2}` falls quadratically to :math:`\beta_T = 1`. Steps keep volume exactly, tempering scales it by
    :math:`\beta_0^{D/2}`, and the scale of r_0 undoes that. The bound is that on z and r together:

    .. math:: \log q = \log q_0(z_0|x) + \log \mathcal{N}(\eta) - \log \mathcal{N}(r_T)

    `transform` returns the mean of the Gaussian; q has the density of its own draws alone.

    Parameters
    ----------
    steps : int, default=3
        T, leapfrog steps.
    step : float, default=0.1
        Initial length of a step, in units of the Gaussian's sigma(x); learned for each component.
    tempering : float, default=0.5
        Initial beta_0, above 0 and at most 0.99; learned.

    Examples
    --------
    >>> Hamiltonian(tempering=2.0)
    Traceback (most recent call last):
    latentmap.exceptions.PartError: tempering is beta_0, above 0 and at most 0.99, got 2.0
    """

    steps: int = 3
    step: float = 0.1
    tempering: float = 0.5

    def __post_init__(self) -> None:
        whole("steps", self.steps)
        positive("step", self.step)
        if not 0 < self.tempering <= 0.99:
            raise PartError(f"tempering is beta_0, above 0 and at most 0.99, got {self.tempering!r}")

    def heads(self, latent: int) -> int:
        """Mu and s of the Gaussian."""
        return Gaussian().heads(latent)

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Logarithms of the steps, and the logit of the square root of beta_0."""
        start = {"log_step": torch.full((sizes.latent,), self.step).log()}
        start["tempering"] = torch.tensor(self.tempering).sqrt().logit()
        return {name: nn.Parameter(value) for name, value in start.items()}

    def distribution(self, own: Learned, raw: Float[Tensor, "B H"]) -> Distribution:
        """Return the Gaussian that the draws start from."""
        return Gaussian().distribution(own, raw)

    def momenta(self, own: Learned, z: Float[Tensor, "*S D"]) -> Distribution:
        """N(0, I)."""
        return normal(torch.zeros_like(z), z.new_ones(()))

    def roll(self, own: Learned, z: Tensor, r: Tensor, step: Tensor, force: Force) -> tuple[Tensor, Tensor]:
        """One leapfrog step."""
        r = r + step / 2 * force(z, None)
        z = z + step * r
        return z, r + step / 2 * force(z, None)

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # compiled graphs are not differentiated twice
    def draw(self, own: Learned, raw: Float[Tensor, "B H"], k: int, noise: Noise, log_joint: LogJoint) -> Draw:
        """Start from the Gaussian and roll; log-densities are differentiated even where gradients are off."""
        training, start = torch.is_grad_enabled(), self.distribution(own, raw)

        def force(z: Tensor, r: Tensor | None) -> Tensor:
            with torch.enable_grad():
                z = z.view_as(z) if training and z.requires_grad else z.detach().requires_grad_()  # apart from r's past
                log_p = log_joint(z) if r is None else self.momenta(own, z).log_prob(r)
                (slope,) = torch.autograd.grad(log_p.sum(), z, create_graph=training)
            return slope if training else slope.nan_to_num().clamp(-STEEPEST, STEEPEST)

        z, eta = (noise((k, *start.mean.shape), start.mean) for _ in range(2))
        z = start.mean + start.stddev * z
        momenta = self.momenta(own, z)
        r = scaled(momenta, eta)
        log_q = start.log_prob(z) + momenta.log_prob(r)
        root = own.tempering.sigmoid()  # of beta_0
        r, step = r / root, own.log_step.exp() * start.stddev
        for t in range(self.steps):
            z, r = self.roll(own, z, r, step, force)
            after, before = (1 / root + (1 - 1 / root) * (s / self.steps) ** 2 for s in (t + 1, t))  # beta^(-1/2)
            r = r * after / before
        q = Pushforward(start, lambda u: (u, u.new_zeros(())))
        q.last = z, log_q - self.momenta(own, z).log_prob(r)
        return z, q, {}


def scaled(p: Distribution, eta: Tensor) -> Tensor:
    """Turn standard normal noise into a draw from a Gaussian of mean 0."""
    if isinstance(p, MultivariateNormal):
        return torch.einsum("...de,...e->...d", p.scale_tril, eta)
    return p.stddev * eta
