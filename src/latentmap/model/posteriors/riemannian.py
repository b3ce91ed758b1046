"""Hamiltonian posteriors on a curved latent space whose metric is learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal

from latentmap.model.part import Learned, Sizes, positive, whole
from latentmap.model.posteriors.hamiltonian import Force, Hamiltonian

FIXED_POINT = 6
"""Rounds for the two implicit halves of a step."""


@dataclass(frozen=True)
class RiemannianHamiltonian(Hamiltonian):
    r"""Riemannian Hamiltonian VAE: momenta follow a metric that is learned (Chadebec et al. 2020).

    .. math:: r \sim \mathcal{N}(0, G(z)), \qquad G^{-1}(z) = \lambda I +
              \sum_m L_m L_m^\top \exp\left(-\frac{|z - c_m|^2}{T^2 D}\right)

    Steps are those of the generalised leapfrog (Girolami and Calderhead 2011). Centres c and factors L are parameters
    here; the paper's are those of all rows, from a network.

    A step keeps volume where its implicit halves are solved. They are found by 6 rounds of a fixed point, and their
    determinant is not counted, so the bound holds as far as these converge, which takes steps that are short against T.
    On a linear model of two components with T = 2, the logarithm of a step's determinant is 1e-8 nats at the most for
    steps of 0.1, as they start, 2e-4 for 0.3 and 0.05 for 0.5; for 1 it may be nats, and scores are no bounds. Learned
    steps are in ``model_.posterior_state.log_step``. Steps of `Hamiltonian` keep volume at any length.

    Parameters
    ----------
    steps, step, tempering
        As for `Hamiltonian`.
    centres : int, default=20
        Centres c.
    temperature : float, default=1.0
        T, in units of the Gaussian's sigma(x).
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
        """Centres as the prior's draws, with L so that G is about I among them; and what `Hamiltonian` learns."""
        centres, d = torch.randn(self.centres, sizes.latent), sizes.latent
        metric = {"centres": centres, "factors": (1 / self.centres**0.5) * torch.eye(d).repeat(self.centres, 1, 1)}
        return super().init(sizes) | {name: nn.Parameter(value) for name, value in metric.items()}

    def momenta(self, own: Learned, z: Float[Tensor, "*S D"]) -> Distribution:
        """N(0, G(z))."""
        return MultivariateNormal(torch.zeros_like(z), precision_matrix=self._inverse(own, z), validate_args=False)

    def roll(self, own: Learned, z: Tensor, r: Tensor, step: Tensor, force: Force) -> tuple[Tensor, Tensor]:
        """Half a step of r and of z that are implicit, then half a step of each that are not."""
        pull = force(z, None)
        half = r
        for _ in range(FIXED_POINT):
            half = r + step / 2 * (pull + force(z, half))
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
        away = (z[..., None, :] - own.centres).square().sum(-1) / (self.temperature**2 * d)  # (*S, M)
        with torch.autocast(z.device.type, enabled=False):  # in half precision it need not be positive definite
            found = torch.einsum("...m,mde->...de", (-away).exp(), lower @ lower.mT)
        return found + self.floor * torch.eye(d, dtype=z.dtype, device=z.device)
