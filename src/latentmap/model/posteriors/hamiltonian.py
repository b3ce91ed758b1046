"""Hamiltonian posteriors, which move their draws towards the true posterior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal

from latentmap.exceptions import PartError
from latentmap.model.distributions import normal
from latentmap.model.noise import Noise
from latentmap.model.part import MOST_LAYERS, Learned, Sizes, positive, whole
from latentmap.model.posteriors.base import Draw, Gaussian, LogJoint, Posterior
from latentmap.model.transforms import Pushforward

STEEPEST = 1e12
"""Slope that a row far from all others may have; steps keep volume whatever the slope is."""
FIXED_POINT = 6
"""Iterations for each implicit half of a step."""
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
    :math:`\beta_0^{D/2}`, and the scale of r_0 undoes that. The bound is on z and r together:

    .. math:: \log q = \log q_0(z_0|x) + \log \mathcal{N}(\eta) - \log \mathcal{N}(r_T)

    `transform` returns the mean of the Gaussian; q has the density of its own draws alone.

    Parameters
    ----------
    steps : int, default=3
        Number T of leapfrog steps.
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

    takes_moments: ClassVar[bool] = True

    steps: int = 3
    step: float = 0.1
    tempering: float = 0.5

    def __post_init__(self) -> None:
        whole("steps", self.steps, most=MOST_LAYERS)
        positive("step", self.step)
        if not 0 < self.tempering <= 0.99:
            raise PartError(f"tempering is beta_0, above 0 and at most 0.99, got {self.tempering!r}")

    def heads(self, latent: int) -> int:
        """Return the numbers of the Gaussian's mu and s."""
        return Gaussian().heads(latent)

    def from_moments(self, mean: Float[Tensor, "B D"], log_variance: Float[Tensor, "B D"]) -> Float[Tensor, "B H"]:
        """Return mu and s of the Gaussian."""
        return Gaussian().from_moments(mean, log_variance)

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return logarithms of the steps, and the logit of the square root of beta_0."""
        start = {"log_step": torch.full((sizes.latent,), self.step).log()}
        start["tempering"] = torch.tensor(self.tempering).sqrt().logit()
        return {name: nn.Parameter(value) for name, value in start.items()}

    def distribution(self, own: Learned, raw: Float[Tensor, "B H"]) -> Distribution:
        """Return the Gaussian that the draws start from."""
        return Gaussian().distribution(own, raw)

    def _momenta(self, own: Learned, z: Float[Tensor, "*S D"]) -> Distribution:
        """Return the distribution of momenta at z."""
        return normal(torch.zeros_like(z), z.new_ones(()))

    def _leapfrog(self, own: Learned, z: Tensor, r: Tensor, step: Tensor, force: Force) -> tuple[Tensor, Tensor]:
        """Return z and r after one leapfrog step."""
        r = r + step / 2 * force(z, None)
        z = z + step * r
        return z, r + step / 2 * force(z, None)

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # compiled graphs are not differentiated twice
    def draw(self, own: Learned, raw: Float[Tensor, "B H"], k: int, noise: Noise, log_joint: LogJoint) -> Draw:
        """Draw from the Gaussian and take leapfrog steps, which need gradients also where these are off."""
        training, start = torch.is_grad_enabled(), self.distribution(own, raw)

        def force(z: Tensor, r: Tensor | None) -> Tensor:
            with torch.enable_grad():
                z = z.view_as(z) if training and z.requires_grad else z.detach().requires_grad_()  # apart from r's past
                log_p = log_joint(z) if r is None else self._momenta(own, z).log_prob(r)
                (slope,) = torch.autograd.grad(log_p.sum(), z, create_graph=training)
            return slope if training else slope.nan_to_num().clamp(-STEEPEST, STEEPEST)

        z, eta = (noise((k, *start.mean.shape), start.mean) for _ in range(2))
        z = start.mean + start.stddev * z
        momenta = self._momenta(own, z)
        r = scaled(momenta, eta)
        log_q = start.log_prob(z) + momenta.log_prob(r)
        root = own.tempering.sigmoid()  # of beta_0
        r, step = r / root, own.log_step.exp() * start.stddev
        for t in range(self.steps):
            z, r = self._leapfrog(own, z, r, step, force)
            after, before = (1 / root + (1 - 1 / root) * (s / self.steps) ** 2 for s in (t + 1, t))  # beta^(-1/2)
            r = r * after / before
        q = Pushforward(start, lambda u: (u, u.new_zeros(())))
        q.last = z, log_q - self._momenta(own, z).log_prob(r)
        return z, q, {}


@dataclass(frozen=True)
class RiemannianHamiltonian(Hamiltonian):
    r"""Riemannian Hamiltonian VAE: the metric of the momenta is learned (Chadebec et al. 2020).

    .. math:: r \sim \mathcal{N}(0, G(z)), \qquad G^{-1}(z) = \lambda I +
              \sum_m L_m L_m^\top \exp\left(-\frac{|z - c_m|^2}{T^2 D}\right)

    Steps are those of the generalised leapfrog (Girolami and Calderhead 2011). Centres c and factors L are parameters
    here; the paper's are those of all rows, from a network.

    A step keeps volume where its implicit halves are solved. They are iterated 6 times to a fixed point, and their
    determinant is not counted, so the bound holds as far as these converge, which takes steps that are short against T.
    On a linear model of two components with T = 2, the logarithm of a step's determinant is at most 1e-8 nats for the
    initial steps of 0.1, 2e-4 for 0.3 and 0.05 for 0.5; for 1 it may be nats, and scores are no bounds. Learned steps
    are in ``model_.posterior_state.log_step``. Steps of `Hamiltonian` keep volume at any length.

    Parameters
    ----------
    steps, step, tempering : int, float, float
        As for `Hamiltonian`.
    centres : int, default=20
        Number of centres c.
    temperature : float, default=1.0
        Width T, in units of the Gaussian's sigma(x).
    floor : float, default=0.1
        Lambda.

    Examples
    --------
    >>> RiemannianHamiltonian(centres=0)
    Traceback (most recent call last):
    latentmap.exceptions.PartError: centres must be a whole number >= 1, got 0
    """

    centres: int = 20
    temperature: float = 1.0
    floor: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("centres", self.centres)
        positive("temperature", self.temperature)
        positive("floor", self.floor)

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return centres drawn from N(0, I), factors L for which G is about I there, and the state of `Hamiltonian`."""
        centres, d = torch.randn(self.centres, sizes.latent), sizes.latent
        metric = {"centres": centres, "factors": (1 / self.centres**0.5) * torch.eye(d).repeat(self.centres, 1, 1)}
        return super().init(sizes) | {name: nn.Parameter(value) for name, value in metric.items()}

    def _momenta(self, own: Learned, z: Float[Tensor, "*S D"]) -> Distribution:
        """Return N(0, G(z))."""
        return MultivariateNormal(torch.zeros_like(z), precision_matrix=self._inverse(own, z), validate_args=False)

    def _leapfrog(self, own: Learned, z: Tensor, r: Tensor, step: Tensor, force: Force) -> tuple[Tensor, Tensor]:
        """Return z and r after implicit half steps of both, then explicit ones."""
        slope = force(z, None)
        half = r
        for _ in range(FIXED_POINT):
            half = r + step / 2 * (slope + force(z, half))
        start = z + step / 2 * self._speed(own, z, half)
        z = start + step / 2 * self._speed(own, z, half)
        for _ in range(FIXED_POINT):
            z = start + step / 2 * self._speed(own, z, half)
        return z, half + step / 2 * (force(z, None) + force(z, half))

    def _speed(self, own: Learned, z: Tensor, r: Tensor) -> Tensor:
        with torch.autocast(z.device.type, enabled=False):
            return torch.einsum("...de,...e->...d", self._inverse(own, z), r)

    def _inverse(self, own: Learned, z: Float[Tensor, "*S D"]) -> Float[Tensor, "*S D D"]:
        d = z.shape[-1]
        lower = own.factors.tril()
        distance = (z[..., None, :] - own.centres).square().sum(-1) / (self.temperature**2 * d)  # (*S, M)
        with torch.autocast(z.device.type, enabled=False):  # in half precision it need not be positive definite
            inverse = torch.einsum("...m,mde->...de", (-distance).exp(), lower @ lower.mT)
        return inverse + self.floor * torch.eye(d, dtype=z.dtype, device=z.device)


def scaled(p: Distribution, eta: Tensor) -> Tensor:
    """Return a draw from a Gaussian of mean 0, by standard normal noise."""
    if isinstance(p, MultivariateNormal):
        return torch.einsum("...de,...e->...d", p.scale_tril, eta)
    return p.stddev * eta
