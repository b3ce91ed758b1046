"""Priors fitted to the codes of a trained model: a second VAE, and a network over indices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution

from latentmap.exceptions import PartError
from latentmap.model.distributions import draw
from latentmap.model.likelihoods import Gaussian as GaussianLikelihood
from latentmap.model.networks import MLP
from latentmap.model.noise import Noise, RowNoise, fresh
from latentmap.model.part import Learned, Sizes, whole
from latentmap.model.posteriors import Gaussian
from latentmap.model.priors.base import Encode, Normal, Prior


@dataclass(frozen=True)
class TwoStage(Prior):
    r"""Second VAE over the standardised codes of the first, for `fit_prior` (Dai and Wipf 2019).

    .. math:: p(z) = \int \mathcal{N}(u;\ 0, I)\, \mathcal{N}(z;\ d(u), \gamma^2 I)\, du

    with as many components u as z has. Its log-density is a lower bound from a few draws.

    Parameters
    ----------
    width : int, default=256
        Width of the two hidden layers of encoder and decoder.

    Examples
    --------
    >>> own = TwoStage().build(Sizes(event=(4,), latent=2))
    >>> TwoStage().distribution(own, lambda x: None).sample((5,)).shape
    torch.Size([5, 2])
    """

    width: int = 256
    draws: ClassVar[bool] = True

    def __post_init__(self) -> None:
        whole("width", self.width)

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return a model of codes, and their moments."""
        from latentmap.model.autoencoder import GenerativeAutoencoder, Parts  # these import priors

        network, d = MLP((self.width, self.width)), sizes.latent
        parts = Parts(network, network, Gaussian(), Normal(), GaussianLikelihood())
        model = GenerativeAutoencoder(parts, Sizes((d,), d))
        return {"model": model, "loc": torch.zeros(d), "scale": torch.ones(d)}

    def prepare(self, own: Learned, codes: Shaped[Tensor, "N D"], seed: int) -> bool:
        """Compute the moments of the codes; the model remains to be trained."""
        own.loc.copy_(codes.mean(0))
        own.scale.copy_(codes.std(0).clamp_min(1e-6))
        return False

    def distribution(self, own: Learned, encode: Encode) -> Distribution:
        """Return the distribution of the second model's draws, whose log-density is its bound."""
        return _Marginal(own)


class _Marginal(Distribution):
    """Distribution of the codes that a second model generates, with a bound in place of the log-density."""

    arg_constraints: dict[str, Any] = {}

    def __init__(self, own: Learned) -> None:
        self.own = own
        super().__init__(event_shape=own.loc.shape, validate_args=False)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw from both stages."""
        with torch.no_grad():
            return self.draw(sample_shape, fresh)

    def draw(self, shape: Sequence[int], noise: Noise) -> Tensor:
        """Draw from both stages with noise."""
        z = draw(self.own.model.decode(draw(self.own.model.prior(), shape, noise)), (), noise)
        loc, scale = self._moments()
        return z * scale + loc

    def log_prob(self, value: Float[Tensor, "*S D"]) -> Tensor:
        """Return the bound from one draw in training, else from 16, whose noise depends on the code alone.

        Codes that differ by rounding, as those of one row in batches of several sizes do, have the same noise.
        Its exponential is an unbiased estimate of p(z), as importance weights need; that of an ELBO with its rate in
        closed form is not.
        """
        loc, scale = self._moments()
        x = ((value - loc) / scale).flatten(0, -2)
        draws, noise = (
            (1, self.own.processes.noise(None)) if self.own.training else (16, RowNoise((x * 256).round(), 0))
        )
        trace = self.own.model.trace(x, draws, noise)
        result: Tensor = trace.bound().unflatten(0, value.shape[:-1]) - scale.log().sum()
        return result

    def _moments(self) -> tuple[Tensor, Tensor]:
        return self.own.loc, self.own.scale


@dataclass(frozen=True)
class Autoregressive(Prior):
    r"""Recurrent network (GRU) over the indices of quantised codes, for `fit_prior` (van den Oord et al. 2017).

    .. math:: p(i_1 \dots i_L) = \prod_l p(i_l\,|\,i_1 \dots i_{l-1})

    It samples VQ models; draws are indices.

    Parameters
    ----------
    width : int, default=128
        Width of the network.

    Examples
    --------
    >>> own = Autoregressive().build(Sizes(event=(4,), latent=2, alphabet=(3, 8)))
    >>> Autoregressive().distribution(own, lambda x: None).sample((5,)).shape
    torch.Size([5, 3])
    """

    width: int = 128

    def __post_init__(self) -> None:
        whole("width", self.width)

    def check(self, sizes: Sizes) -> None:
        """Raise a `PartError` for codes without indices."""
        if not all(sizes.alphabet):
            raise PartError(
                "priors.Autoregressive is over the indices of quantised codes, and this model has none; use "
                "priors.Mixture(), or posteriors.Quantized()"
            )

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return the embedding of each index at each position, the network, and the layer of logits."""
        length, values = sizes.alphabet
        return {
            "embedding": nn.Parameter(0.1 * torch.randn(length, values + 1, self.width)),
            "network": nn.GRU(self.width, self.width, batch_first=True),
            "weight": nn.Parameter(0.1 / self.width**0.5 * torch.randn(length, self.width, values)),
            "bias": nn.Parameter(torch.zeros(length, values)),
        }

    def distribution(self, own: Learned, encode: Encode) -> Distribution:
        """Return the distribution over indices (L,)."""
        return _Chain(own)


class _Chain(Distribution):
    """Distribution of indices, each of which depends on those before it."""

    arg_constraints: dict[str, Any] = {}

    def __init__(self, own: Learned) -> None:
        self.own, self.length = own, own.embedding.shape[0]
        super().__init__(event_shape=torch.Size([self.length]), validate_args=False)

    def log_prob(self, value: Int[Tensor, "*S L"]) -> Tensor:
        """Return the sum over the indices of the log-mass of each, given those before it."""
        indices = value.flatten(0, -2)
        before = torch.cat([torch.zeros_like(indices[:, :1]), indices[:, :-1] + 1], 1)  # 0 stands for the beginning
        inputs = self.own.embedding[torch.arange(self.length, device=value.device), before]  # (N, L, W)
        logits = torch.einsum("nlw,lwv->nlv", self.own.network(inputs)[0], self.own.weight) + self.own.bias
        log_p = logits.log_softmax(-1).gather(-1, indices[..., None]).sum((-2, -1))
        result: Tensor = log_p.unflatten(0, value.shape[:-1])
        return result

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw one index after the other."""
        n = math.prod(sample_shape)
        last = torch.zeros(n, dtype=torch.long, device=self.own.embedding.device)
        state, drawn = None, []
        for place in range(self.length):
            h, state = self.own.network(self.own.embedding[place, last][:, None], state)
            logits = h[:, 0] @ self.own.weight[place] + self.own.bias[place]
            last = Categorical(logits=logits, validate_args=False).sample() + 1
            drawn.append(last - 1)
        return torch.stack(drawn, 1).reshape(*sample_shape, self.length)
