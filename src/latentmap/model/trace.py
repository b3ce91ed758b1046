"""The interface of models, which return a `Trace`, whatever their parts.

Shapes: K samples, B rows, D latent components, P features. Densities are in nats, one number a row.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, kl_divergence

from latentmap.exceptions import PartError
from latentmap.model.distributions import Delta, Distortion, log_prob_inside
from latentmap.model.noise import Noise, fresh
from latentmap.model.transforms import Pushforward

T = TypeVar("T")


class once(Generic[T]):
    """A property that is computed on first use, as `functools.cached_property`; without its lock, it compiles."""

    def __init__(self, function: Callable[[Any], T]) -> None:
        self.function, self.name, self.__doc__ = function, function.__name__, function.__doc__

    def __get__(self, instance: Any, owner: type) -> T:
        value = self.function(instance)
        object.__setattr__(instance, self.name, value)
        return value


@dataclass(frozen=True)
class Level:
    """One layer of latent variables: a draw from q(z|x), with q and the prior p."""

    z: Float[Tensor, "K B D"]
    q: Distribution
    p: Distribution

    @once
    def log_q(self) -> Float[Tensor, "K B"]:
        """log q(z|x)."""
        return self.q.log_prob(self.z)

    @once
    def log_p(self) -> Float[Tensor, "K B"]:
        """log p(z), of the point that q drew."""
        return self.p.log_prob(self.q.place(self.z) if isinstance(self.q, Pushforward) else self.z)

    @once
    def rate(self) -> Float[Tensor, " B"]:
        """KL(q(z|x) || p(z)): in closed form where torch has one, else the mean of log q - log p over the K samples."""
        try:
            return _over_rows(kl_divergence(self.q, self.p), 1)
        except NotImplementedError:  # no closed form
            return (self.log_q - self.log_p).mean(0)

    @property
    def rate_per_component(self) -> Float[Tensor, "B D"]:
        """KL(q(z_d|x) || p(z_d)), for q and p that factorise over components; raises `PartError` for others."""
        if not (isinstance(self.q, Independent) and isinstance(self.p, Independent)):
            raise PartError(
                "a rate per component needs parts that factorise (posteriors.Gaussian, priors.Normal), "
                f"got {type(self.q).__name__} and {type(self.p).__name__}"
            )
        try:
            return _over_rows(kl_divergence(self.q.base_dist, self.p.base_dist), 2)
        except NotImplementedError as error:
            raise PartError(f"a rate per component needs a closed form of it; use priors.Normal() ({error})") from error


def _over_rows(rate: Tensor, axes: int) -> Tensor:
    """Average over the K samples, where q depends on draws of the levels above it."""
    return rate.mean(0) if rate.ndim > axes else rate


@dataclass(frozen=True)
class Trace:
    """Result of a model for a batch: draws and distributions of each level, and p(x|z) given the draws."""

    x: Float[Tensor, "B P"]
    levels: tuple[Level, ...]
    px: Distribution
    """p(x|z), over (K, B, P)."""
    aux: dict[str, Float[Tensor, " B"]] = field(default_factory=dict)
    """Further costs of a row from its parts, such as a commitment cost."""
    noise: Noise = fresh
    """Source of the draws, for further ones."""
    positives: Float[Tensor, "N D"] | None = None
    """Posterior means of the positives of a contrastive batch, view by view: B rows each, in the order of the batch."""
    from_prior: Float[Tensor, " B"] | None = None
    """Fraction of the draws of each row that come from the prior, not from q (see `latentmap.model.defence`)."""
    positive_rows: Float[Tensor, "N P"] | None = None
    """Scaled rows of the positives, sparse where the batch is."""
    off: Float[Tensor, "B D"] | None = None
    """Posterior means less the places of the rows on a map, which the encoder learns."""
    inside: bool = False
    """Whether the rows are known to lie in the support of p(x|z), as those of a fit, which are checked once."""

    @property
    def has_density(self) -> bool:
        """Whether q(z|x) has a density on every level, so that there is a rate and a bound."""
        return not any(isinstance(level.q, Delta) for level in self.levels)

    @once
    def log_px(self) -> Float[Tensor, "K B"]:
        """log p(x|z)."""
        return log_prob_inside(self.px, self.x) if self.inside else self.px.log_prob(self.x)

    @once
    def log_w(self) -> Float[Tensor, "K B"]:
        """log p(x, z) - log q(z|x), the log importance weight: its mean over draws is the ELBO.

        Where some draws come from the prior, q is replaced by the mixture with it.
        """
        gains = [level.log_p - level.log_q for level in self.levels]
        log_w: Tensor = sum(gains, start=self.log_px)
        if self.from_prior is None:
            return log_w
        alpha = self.from_prior.to(log_w.dtype)
        mixture = torch.logaddexp(alpha.log(), torch.log1p(-alpha) - functools.reduce(torch.add, gains))  # over p
        return torch.where(alpha > 0, self.log_px - mixture, log_w)

    @once
    def rate(self) -> Float[Tensor, " B"]:
        """KL divergence of a row in nats: the sum over levels of KL(q(z|x) || p(z))."""
        return functools.reduce(torch.add, [level.rate for level in self.levels])

    @once
    def distortion(self) -> Float[Tensor, " B"]:
        """-E_q log p(x|z) of a row, nats. The ELBO is -(distortion + rate)."""
        if isinstance(self.px, Distortion):
            return self.px.cost(self.x).mean(0)
        return -self.log_px.mean(0)

    def bound(self, groups: int = 1) -> Float[Tensor, " B"]:
        r"""Return a lower bound on log p(x): the importance-weighted bound of Burda et al. (2016).

        .. math:: \mathcal{L}_k = \mathbb{E} \log \frac1k \sum_{i=1}^k \frac{p(x, z_i)}{q(z_i|x)}

        Parameters
        ----------
        groups : int, default=1
            Number M of bounds, of K/M draws each, of which the mean is taken. K = M is the ELBO.
        """
        w: Tensor = self.log_w.unflatten(0, (groups, -1))  # (M, K/M, B)
        return (w.logsumexp(1) - math.log(w.shape[1])).mean(0)


class Model(Protocol):
    """Interface of a model for objectives, training and evaluation; see `GenerativeAutoencoder`."""

    @property
    def decoder(self) -> nn.Module:
        """The decoder network."""

    @property
    def condition(self) -> Tensor | None:
        """Condition of the rows of the batch, (B, C)."""

    def given(self, condition: Float[Tensor, "*K B C"] | None) -> Self:
        """Return this model with the condition of the rows of a batch."""

    def encoder_inputs(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B E"]:
        """Return rows in the encoder's units."""

    def complete(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B P"]:
        """Return rows with missing cells filled."""

    def classify(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B C"]:
        """Return log q(c|x) of each class; raise a `PartError` for a model without classes to infer."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return all parameters."""

    def trace(
        self,
        x: Float[Tensor, "M P"],
        k: int = 1,
        noise: Noise = fresh,
        batch: int | None = None,
        defence: Noise | None = None,
        places: Float[Tensor, "B D"] | None = None,
    ) -> Trace:
        """Encode rows, draw k codes for each, and decode them; rows beyond a ``batch`` of the first are only encoded.

        With places on a map, some rows are decoded from draws around these in training. With noise for a
        `latentmap.model.defence.Defence`, some codes of rows with missing cells come from the prior.
        """

    def encode(self, x: Float[Tensor, "B P"]) -> Distribution:
        """Return q(z|x), over (B, D)."""

    def decode(self, z: Float[Tensor, "*S D"]) -> Distribution:
        """Return p(x|z), over (*S, P)."""

    def prior(self) -> Distribution:
        """Return p(z), over (D,)."""

    def inference_parameters(self) -> Iterable[nn.Parameter]:
        """Return the parameters of q(z|x)."""

    def generative_parameters(self) -> Iterable[nn.Parameter]:
        """Return the parameters of p(z) and p(x|z)."""
