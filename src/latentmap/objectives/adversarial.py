"""Critics: networks trained against the model, each with a loss of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentmap.exceptions import PartError
from latentmap.model.autoencoder import at_least_single
from latentmap.model.likelihoods.incomplete import ObservedCells
from latentmap.model.networks import MLP, Network
from latentmap.model.part import Learned, Sizes, positive, whole
from latentmap.model.trace import Model, Trace
from latentmap.objectives.base import (
    DISTORTION,
    GENERATIVE,
    INFERENCE,
    MONITOR,
    RATE,
    RATE_WEIGHTING,
    Critic,
    Objective,
    extra_cost,
    only_level,
    own_parts,
    require_density,
)
from latentmap.objectives.penalties import prior_draws

CRITIC = "critic"
"""The player that holds the parameters of the critic of rows."""

softplus = nn.functional.softplus


@dataclass(frozen=True)
class CodeCritic(Critic):
    """Base of critics that classify codes as those of data, by a positive logit, or as others."""

    network: Network = MLP((256, 256))

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return the critic's network, from a code to a logit."""
        return {"critic": self.network.encoder(Sizes((sizes.latent,), 1), 1)}

    def check_model(self, model: Model, trace: Trace) -> None:
        """Raise a `PartError` for models with several layers of codes."""
        only_level(f"objectives.{type(self).__name__}", trace)

    @abstractmethod
    def _others(self, own: Learned, trace: Trace) -> Float[Tensor, "N D"]:
        """Draw the codes that are not of data."""

    def opposition(self, own: Learned, model: Model, trace: Trace) -> Float[Tensor, ""]:
        """Compute the cross-entropy of the classification, without gradient for the encoder."""
        data, others = trace.levels[0].z.detach(), self._others(own, trace).detach()
        return softplus(-self._logit(own, data)).mean() + softplus(self._logit(own, others)).mean()

    def _logit(self, own: Learned, z: Tensor) -> Tensor:
        return at_least_single(own.critic(z.flatten(0, -2))[:, 0])


@dataclass(frozen=True)
class PriorCritic(CodeCritic):
    r"""Critic that discriminates codes of data from draws of the prior (Makhzani et al. 2015).

    .. math:: \text{cost} = -\mathbb{E}\, \log \sigma(-c(z)), \quad z \sim q(z), \qquad
              \text{critic} = -\mathbb{E}_{q(z)} \log \sigma(c(z)) - \mathbb{E}_{p(z)} \log \sigma(-c(z))

    ``ELBO(beta=0, penalties=(PriorCritic(),))`` with `posteriors.Deterministic` is the paper's adversarial autoencoder.
    It needs no density.

    Parameters
    ----------
    weight : float, default=1.0
        Weight of the cost.
    network : Network, default=MLP((256, 256))
        The critic's network.

    Examples
    --------
    >>> PriorCritic(weight=10.0).weight
    10.0
    """

    def _others(self, own: Learned, trace: Trace) -> Float[Tensor, "N D"]:
        """Draw as many codes from the prior as there are rows."""
        return prior_draws(trace.levels[0], trace.noise)

    def cost(self, own: Learned, model: Model, trace: Trace) -> Float[Tensor, ""]:
        """Compute the non-saturating cost of the codes."""
        return softplus(self._logit(own, trace.levels[0].z)).mean()


@dataclass(frozen=True)
class FactorCritic(CodeCritic):
    r"""Total correlation, by a critic that discriminates codes from shuffled ones (FactorVAE, Kim and Mnih 2018).

    .. math:: \text{cost} = \mathbb{E}_{q(z)}\, c(z), \qquad
              c(z) \to \log \frac{q(z)}{\prod_d q(z_d)} \text{ as the critic learns}

    Shuffling each component over the batch by itself makes draws of the product of the marginals. It needs no density,
    so it takes any posterior, where `TotalCorrelation` needs one that factorises.

    Parameters
    ----------
    weight : float, default=1.0
        Weight of the total correlation.
    network : Network, default=MLP((256, 256))
        The critic's network.

    Examples
    --------
    >>> FactorCritic(weight=10.0).needs_batch
    True
    """

    needs_batch: ClassVar[bool] = True

    def _others(self, own: Learned, trace: Trace) -> Float[Tensor, "N D"]:
        """Return the codes of the batch, each component in an order of its own."""
        z = trace.levels[0].z.detach()  # (K, B, D)
        uniform, z = (own.processes.gather(x, 1).flatten(0, 1) for x in (trace.noise.uniform(z.shape, z), z))
        return own.processes.share(z.gather(0, uniform.argsort(0)))

    def cost(self, own: Learned, model: Model, trace: Trace) -> Float[Tensor, ""]:
        """Return the critic's estimate of the total correlation."""
        return self._logit(own, trace.levels[0].z).mean()


@dataclass(frozen=True)
class VAEGAN(Objective):
    r"""Distortion in the features of a critic of rows, and an adversarial loss (VAE-GAN, Larsen et al. 2016).

    .. math:: \text{encoder: } \beta\, \text{rate} + \tfrac12 \|f(x) - f(\hat x)\|^2, \qquad
              \text{decoder: } \gamma\, \tfrac12 \|f(x) - f(\hat x)\|^2 - \log \sigma(c),

    with :math:`\hat x` the mean of p(x|z) and f the critic's features. The critic discriminates rows of the data from
    decoded codes, of data and of the prior; the decoder minimises :math:`-\log \sigma(c)` of both. The monitored loss
    is distortion + beta rate in the data's own space, because the critic's changes during the fit; for the same cause a
    learned scale of the likelihood stays as it starts.

    Parameters
    ----------
    beta : float, default=1.0
        Weight of the rate.
    gamma : float, default=1.0
        Weight of content against style.
    network : Network, default=MLP((256,))
        Network of the critic's features.
    width : int, default=128
        Number of features f.

    Examples
    --------
    >>> VAEGAN(width=0)
    Traceback (most recent call last):
    latentmap.exceptions.PartError: width must be a whole number >= 1, got 0
    """

    beta: float = 1.0
    gamma: float = 1.0
    network: Network = MLP((256,))
    width: int = 128

    def __post_init__(self) -> None:
        positive("beta", self.beta, zero=True)
        positive("gamma", self.gamma, zero=True)
        whole("width", self.width)

    @property
    def adversarial(self) -> bool:
        """True."""
        return True

    @property
    def pace(self) -> float:
        """Learning-rate multiplier, a tenth: the optimum moves with the critic."""
        return 0.1

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return the critic: features of a row, and its logit from them."""
        score = nn.Sequential(nn.SiLU(), nn.Linear(self.width, 1))
        return {"features": self.network.encoder(sizes, self.width), "score": score}

    def check_model(self, model: Model, trace: Trace) -> None:
        """Raise a `PartError` for a rate without density, several layers of codes, or missing cells."""
        only_level("objectives.VAEGAN", trace)
        if isinstance(trace.px, ObservedCells):
            raise PartError("objectives.VAEGAN compares whole rows; use objectives.ELBO(), or fill what is missing")
        if self.beta:
            require_density(f"objectives.VAEGAN(beta={self.beta:g})", trace)

    def players(self, own: Learned, model: Model) -> dict[str, list[nn.Parameter]]:
        """Return encoder, decoder and critic."""
        return {
            INFERENCE: [*model.inference_parameters()],
            GENERATIVE: [*model.generative_parameters()],
            CRITIC: [*own.parameters()],
        }

    def losses(self, own: Learned, model: Model, trace: Trace, progress: Float[Tensor, ""]) -> Mapping[str, Tensor]:
        """Compute the loss of each player, and the cost in the data's own space to monitor."""
        (level,) = trace.levels
        parts, extra = own_parts(trace), extra_cost(trace)
        rate = self.beta * parts[RATE] if self.beta else torch.zeros_like(extra)
        if self.beta != 1 and RATE in parts:
            parts[RATE_WEIGHTING] = rate - parts[RATE]
        invented = model.decode(prior_draws(level, trace.noise)).mean  # (B, P)
        features = [at_least_single(own.features(rows)) for rows in (trace.x, trace.px.mean[0], invented)]
        content = 0.5 * (features[0] - features[1]).square().sum(-1).mean()
        real, *fakes = (at_least_single(own.score(f)) for f in features)  # (B, 1) each
        fake = torch.cat(fakes)
        return {
            INFERENCE: rate + content + extra,
            GENERATIVE: self.gamma * content + softplus(-fake).mean() + extra,
            CRITIC: softplus(-real).mean() + softplus(fake).mean(),
            MONITOR: parts[DISTORTION] + rate + extra,
        } | parts
