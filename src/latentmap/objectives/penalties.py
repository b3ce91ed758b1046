"""Penalties that `ELBO` can add to its cost, on codes and on the decoder."""

from __future__ import annotations

import contextlib
import functools
import math
import threading
import warnings
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import forward_ad
from torch.distributions import Distribution

from latentmap.exceptions import PartError
from latentmap.model.distributions import draw
from latentmap.model.noise import Noise
from latentmap.model.part import Learned, Sizes, positive, whole
from latentmap.model.processes import Processes, alone
from latentmap.model.trace import Level, Model, Trace
from latentmap.objectives.base import Penalty, only_level, require_factors

PAIRS = 2**18
"""Densities of codes under posteriors that are computed at a time: as many as caches hold."""


@dataclass(frozen=True)
class TotalCorrelation(Penalty):
    r"""Total correlation of the aggregate posterior, the dependence between components (Chen et al. 2018).

    .. math:: \mathrm{TC} = \mathrm{KL}\Big(q(z) \,\Big\|\, \prod_d q(z_d)\Big), \qquad
              q(z) = \frac1N \sum_{n=1}^N q(z|x_n)

    ``ELBO(beta=1, penalties=(TotalCorrelation(5),))`` is their beta-TCVAE with beta = 6. The densities are estimated
    from a batch (`aggregate_density`); their logarithms, and so the penalty, are exact once the batch is all the data.

    Parameters
    ----------
    weight : float, default=1.0
        Weight of the total correlation.

    Examples
    --------
    >>> TotalCorrelation(weight=-1.0)
    Traceback (most recent call last):
    latentmap.exceptions.PartError: weight must be a finite number >= 0, got -1.0
    """

    needs_batch: ClassVar[bool] = True
    invariant: ClassVar[bool] = True

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return N, the number of rows that q(z) is the mean over."""
        if sizes.rows is None:
            raise PartError("TotalCorrelation needs the number of rows of the data, as Sizes(..., rows=N)")
        return {"rows": torch.tensor(float(sizes.rows))}

    def check_model(self, model: Model, trace: Trace) -> None:
        """Raise a `PartError` for posteriors that do not factorise over components."""
        self._factors(trace)

    def cost(self, own: Learned, model: Model, trace: Trace) -> Float[Tensor, ""]:
        """Compute the mean of log q(z) - sum_d log q(z_d) over the codes of the batch."""
        joint, marginals = aggregate_density(self._factors(trace), trace.levels[0].z, own.rows, own.processes)
        return (joint - marginals.sum(-1)).mean()

    def _factors(self, trace: Trace) -> Distribution:
        return require_factors("objectives.TotalCorrelation", trace, "objectives.FactorCritic()")


def aggregate_density(
    factors: Distribution, z: Float[Tensor, "K B D"], rows: Float[Tensor, ""], processes: Processes = alone
) -> tuple[Float[Tensor, "K B"], Float[Tensor, "K B D"]]:
    r"""Estimate log q(z) and log q(z_d) of each code from a batch of B rows, q(z) being the mean over all N rows.

    .. math:: q(z_i) \approx \frac1N q(z_i|x_i) + \frac{N - 1}{N}\, \frac1{B - 1} \sum_{j \ne i} q(z_i|x_j)

    The row that a code was drawn from is in the data for certain and has weight 1/N; the others of the batch stand for
    the rest. That makes the densities unbiased, and exact for B = N: the stratified estimate of Chen et al. (2018),
    averaged over the order of the batch. A batch of one holds its own row alone. Each of several processes takes the
    posteriors of its rows, at the codes of all.
    """
    k, own, d = z.shape
    z = processes.gather(z, 1)
    b = z.shape[1]
    n = rows.clamp(min=b) if b > 1 else torch.ones_like(rows)
    log_weight = torch.full((b, own), -math.log(max(b - 1, 1)), device=rows.device) + ((n - 1) / n).log()
    itself = processes.share(torch.eye(b, dtype=torch.bool, device=rows.device), 1)
    log_weight = torch.where(itself, -n.log(), log_weight)  # (B, B)
    joint, marginals = [], []
    step = max(1, PAIRS // (k * own * d))
    for some, weight in zip(z.split(step, dim=1), log_weight.split(step), strict=True):
        pairs = factors.log_prob(some[:, :, None])  # (K, step, B, D): log q(z_i,d | x_j)
        joint.append((pairs.sum(-1) + weight).logsumexp(2))
        marginals.append((pairs + weight[..., None]).logsumexp(2))
    densities = torch.cat(joint, 1), torch.cat(marginals, 1)
    if processes.world_size == 1:
        return densities
    joint_of_all, marginals_of_all = (processes.gather(part[..., None], -1).logsumexp(-1) for part in densities)
    return joint_of_all, marginals_of_all


@dataclass(frozen=True)
class MMD(Penalty):
    r"""Maximum mean discrepancy of codes and prior (WAE, Tolstikhin et al. 2018; InfoVAE, Zhao et al. 2019).

    .. math:: \mathrm{MMD}^2 = \mathbb{E}\, \kappa(z, z') + \mathbb{E}\, \kappa(y, y') - 2\, \mathbb{E}\, \kappa(z, y),
              \qquad z, z' \sim q(z), \quad y, y' \sim p(z)

    The estimate is unbiased, so it may be negative. With :math:`r = \|a - b\|^2 / 2D`, whose mean under N(0, I) is 1,
    the kernel is a mean over scales c. It needs no density; a batch of one has no pairs and costs nothing.

    Parameters
    ----------
    weight : float, default=1.0
        Weight of the discrepancy.
    kernel : {"imq", "rbf"}, default="imq"
        Inverse multiquadric, :math:`\kappa = c / (c + r)`, whose tails reach far codes, or Gaussian,
        :math:`\kappa = \exp(-r / c)`.
    scales : tuple of float, default=(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
        The scales c.

    Examples
    --------
    >>> MMD(weight=10.0, kernel="cosine")
    Traceback (most recent call last):
    latentmap.exceptions.PartError: kernel must be 'imq' or 'rbf', got 'cosine'
    """

    needs_batch: ClassVar[bool] = True

    kernel: Literal["imq", "rbf"] = "imq"
    scales: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel not in ("imq", "rbf"):
            raise PartError(f"kernel must be 'imq' or 'rbf', got {self.kernel!r}")
        if not self.scales:
            raise PartError("scales must hold at least one width of the kernel, got ()")
        for scale in self.scales:
            positive("scales", scale)

    def check_model(self, model: Model, trace: Trace) -> None:
        """Raise a `PartError` for models with several layers of codes."""
        only_level("objectives.MMD", trace)

    def cost(self, own: Learned, model: Model, trace: Trace) -> Float[Tensor, ""]:
        """Estimate it from the codes of the batch and as many draws from the prior, a mean over the K samples."""
        (level,) = trace.levels
        z = own.processes.gather(level.z, 1)
        b = z.shape[1]
        if b == 1:
            return z.new_zeros(())
        y = own.processes.gather(torch.stack([prior_draws(level, trace.noise) for _ in z]), 1)  # (K, B, D)
        apart = ~torch.eye(b, dtype=torch.bool, device=z.device)
        within = (self._kernel(z, z) + self._kernel(y, y)) * apart
        return (within.sum((1, 2)) / (b * (b - 1)) - 2 * self._kernel(z, y).mean((1, 2))).mean()

    def _kernel(self, a: Tensor, b: Tensor) -> Tensor:
        centre = a.mean(-2, keepdim=True)  # an offset would cancel in the products
        a, b = a - centre, b - centre
        squares = a.square().sum(-1)[..., None] + b.square().sum(-1)[..., None, :]  # (K, B, B)
        with torch.autocast(a.device.type, enabled=False):  # half precision would cancel for close codes
            distance = (squares - 2 * a @ b.mT).clamp(min=0) / (2 * a.shape[-1])
        scales = torch.stack([distance.new_full((1, 1, 1), scale) for scale in self.scales])  # (S, 1, 1, 1)
        values = scales / (scales + distance) if self.kernel == "imq" else (-distance / scales).exp()
        return values.mean(0)


def prior_draws(level: Level, noise: Noise) -> Float[Tensor, "B D"]:
    """Draw a code from the prior for each row of a batch; the prior is a fixed target and gets no gradient."""
    return draw(level.p, (1,) if level.p.batch_shape else (1, level.z.shape[1]), noise)[0]


@dataclass(frozen=True)
class CodeNorm(Penalty):
    r"""Half the squared length of the code, which keeps an autoencoder's codes together (RAE, Ghosh et al. 2020).

    .. math:: \tfrac12\, \mathbb{E}\, \|z\|^2

    Parameters
    ----------
    weight : float, default=1.0
        Weight of the norm.

    Examples
    --------
    >>> CodeNorm(weight=0.1)
    CodeNorm(weight=0.1)
    """

    def cost(self, own: Learned, model: Model, trace: Trace) -> Float[Tensor, ""]:
        """Compute the sum over all layers of codes."""
        return 0.5 * sum((level.z.square().sum(-1).mean() for level in trace.levels), start=trace.x.new_zeros(()))


@dataclass(frozen=True)
class DecoderNorm(Penalty):
    r"""Half the squared length of the decoder's weights, biases left out (RAE-L2, Ghosh et al. 2020).

    .. math:: \tfrac12\, \|\theta\|^2

    Parameters
    ----------
    weight : float, default=1.0
        Weight of the norm.

    Examples
    --------
    >>> DecoderNorm(weight=1e-4)
    DecoderNorm(weight=0.0001)
    """

    invariant: ClassVar[bool] = True

    def cost(self, own: Learned, model: Model, trace: Trace) -> Float[Tensor, ""]:
        """Compute the norm, the same for every batch."""
        weights = [p.square().sum() for p in model.decoder.parameters() if p.ndim > 1]
        return 0.5 * sum(weights, start=trace.x.new_zeros(()))


@dataclass(frozen=True)
class DecoderGradient(Penalty):
    r"""Squared Frobenius norm of the decoder's Jacobian, which keeps the decoder smooth (RAE-GP, Ghosh et al. 2020).

    .. math:: \|J\|_F^2 = \sum_d \Big\| \frac{\partial\, \mathbb{E}[x|z]}{\partial z_d} \Big\|^2
              = \mathbb{E}_v \|J v\|^2, \qquad v_d = \pm 1

    Parameters
    ----------
    weight : float, default=1.0
        Weight of the norm.
    projections : int, default=4
        Random directions v of an unbiased estimate (Hutchinson 1990), each with a pass of the decoder. For codes of no
        more components it is exact, with a pass for each.

    Examples
    --------
    >>> DecoderGradient(projections=0)
    Traceback (most recent call last):
    latentmap.exceptions.PartError: projections must be a whole number >= 1, got 0
    """

    projections: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("projections", self.projections)

    def check_model(self, model: Model, trace: Trace) -> None:
        """Raise a `PartError` for several layers of codes, or a decoder without forward-mode derivatives."""
        only_level("objectives.DecoderGradient", trace)
        try:
            _scripted()
            self.cost(Learned(), model, trace)
        except RuntimeError as error:
            raise PartError(
                "objectives.DecoderGradient needs a decoder that torch differentiates forwards; use "
                f"networks.SpectralNorm() or objectives.DecoderNorm() with this one ({str(error).splitlines()[0]})"
            ) from error

    def cost(self, own: Learned, model: Model, trace: Trace) -> Float[Tensor, ""]:
        """Compute the norm in the model's units, a mean over the codes of the batch."""
        z = trace.levels[0].z  # (K, B, D)
        d = z.shape[-1]
        if exact := d <= self.projections:
            v = torch.eye(d, dtype=z.dtype, device=z.device)[:, None, None].repeat(1, *z.shape[:2], 1)
        else:
            uniform = trace.noise.uniform((self.projections * len(z), *z.shape[1:]), z)
            v = torch.where(uniform < 0.5, 1.0, -1.0).to(z.dtype).unflatten(0, (self.projections, -1))
        with _forward_derivatives():
            decoded = model.decode(forward_ad.make_dual(z.repeat(len(v), 1, 1, 1), v)).mean  # (S, K, B, P)
            slope: Tensor = forward_ad.unpack_dual(decoded).tangent
        squares = slope.square().sum(-1)
        return (squares.sum(0) if exact else squares.mean(0)).mean()


_TURN = threading.RLock()


def _forward_derivatives() -> AbstractContextManager[object]:
    """Enter torch's forward derivatives, of which a process has one at a time: other threads wait for their turn."""
    level = forward_ad.dual_level()
    if torch.compiler.is_compiling():  # a compiled step has none left
        return level
    stack = contextlib.ExitStack()
    stack.enter_context(_TURN)
    stack.enter_context(level)
    return stack


@functools.cache
def _scripted() -> None:
    """Let torch script its forward derivatives, which it does on their first use, with a warning of its own."""
    with _TURN, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with forward_ad.dual_level():
            forward_ad.unpack_dual(forward_ad.make_dual(torch.ones(1), torch.ones(1)).tanh())
