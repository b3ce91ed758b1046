"""The generative autoencoder: encoder, posterior, prior, decoder and likelihood in one module."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from latentmap.exceptions import PartError
from latentmap.model.defence import Defence, defensible
from latentmap.model.distributions import independent, normal
from latentmap.model.likelihoods import Bernoulli, ContinuousBernoulli, Incomplete, Likelihood
from latentmap.model.modules import WithHeads, adapt_decoder, adapt_encoder, module_name, note_of
from latentmap.model.networks import Network
from latentmap.model.noise import Noise, fresh
from latentmap.model.part import Part, Sizes
from latentmap.model.placement import PlacedEncoder
from latentmap.model.posteriors import Posterior, Quantizer
from latentmap.model.priors import Prior
from latentmap.model.probe import check_finite, check_network
from latentmap.model.sparse import SparseLinear, dense_rows, rows_from
from latentmap.model.trace import Level, Trace

FAR = 1e12
"""Bound of the encoder's inputs, so that codes of any row are finite."""
AT_PLACES = 0.2
"""Fraction of the rows of a batch that are decoded from draws around their places on a map."""


@dataclass(frozen=True)
class Parts:
    """Parts of a model; a network may be the user's own module."""

    encoder: Network | nn.Module
    decoder: Network | nn.Module
    posterior: Posterior
    prior: Prior
    likelihood: Likelihood

    def to_json(self) -> dict[str, Any]:
        """Return the parts as plain JSON; a user's own module as the name of its class."""
        return {
            name: part.to_json() if isinstance(part, Part) else {"module": module_name(part)}
            for name, part in vars(self).items()
        }


class GenerativeAutoencoder(nn.Module):
    """Latent variable model with one layer of latent variables: q(z|x), p(z), p(x|z).

    Rows are flat and scaled, (B, P). The initial weights are drawn as torch's modules draw theirs, from its
    process-wide generator; within `latentmap.model.noise.drawing_from`, from that one's.

    With a condition c of C numbers a row (``Sizes.condition``) it is q(z|x, c), p(z|c), p(x|z, c) (Kingma et al. 2014;
    Sohn et al. 2015): `given` returns a model with the condition of one batch. Any network serves: an encoder takes
    :math:`x + W c` with a learned matrix W, a decoder takes z and c, concatenated. Where c is a class that not every
    row has (``Sizes.some_labels``), rows of zeros stand for the missing, and q(c|x), a network like the encoder, infers
    them (Kingma et al. 2014).

    Parameters
    ----------
    parts : Parts
        Networks, posterior, prior and likelihood.
    sizes : Sizes
        Shape of a row, number of latent components, and size of the condition.

    Examples
    --------
    >>> from latentmap.model import likelihoods, networks, posteriors, priors
    >>> mlp = networks.MLP((16,))
    >>> parts = Parts(mlp, mlp, posteriors.Gaussian(), priors.Normal(), likelihoods.Gaussian())
    >>> model = GenerativeAutoencoder(parts, Sizes(event=(8,), latent=2))
    >>> trace = model.trace(torch.zeros(5, 8), k=3)
    >>> trace.log_w.shape, trace.rate.shape
    (torch.Size([3, 5]), torch.Size([5]))
    """

    def __init__(self, parts: Parts, sizes: Sizes) -> None:
        super().__init__()
        if isinstance(parts.posterior, Quantizer):
            sizes = replace(sizes, alphabet=parts.posterior.alphabet(sizes.latent))
        self.parts = parts
        self.sizes = sizes
        parts.prior.check_posterior(parts.posterior)
        self.takes_mask = isinstance(parts.encoder, Network)  # a module of the user's own takes rows without it
        likelihood = parts.likelihood
        inputs = likelihood.sizes_with_mask(sizes) if self.takes_mask else likelihood.encoder_sizes(sizes)
        _check_heads(parts, sizes)
        heads_of = None if sizes.below else parts.posterior
        self.encoder = _encoder(parts.encoder, inputs, self._outputs(), heads_of)
        self.classifier = _encoder(copy.deepcopy(parts.encoder), inputs, sizes.condition) if sizes.some_labels else None
        wide = replace(sizes, latent=sizes.latent + sum(sizes.below) + sizes.condition)
        output, heads = likelihood.decoder_sizes(wide)
        self.decoder = _decoder(parts.decoder, output, heads)
        self.outputs = output.features * heads
        self.posterior_state = parts.posterior.build(sizes)
        self.prior_state = parts.prior.build(sizes)
        self.likelihood_state = likelihood.build(sizes)
        self.shift = nn.Linear(sizes.condition, inputs.features, bias=False) if sizes.condition else None
        self.condition: Tensor | None = None

    def given(self, condition: Float[Tensor, "*K B C"] | None) -> Self:
        """Return this model with the condition of the rows of a batch, and the same weights."""
        model = object.__new__(type(self))
        model.__dict__.update(self.__dict__, condition=condition)
        return model

    def classify(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B C"]:
        """Return log q(c|x) of each class."""
        if self.classifier is None:
            raise PartError("a model infers classes where some rows have none; fit with condition='labels' and such y")
        return at_least_single(self.classifier(self.network_inputs(x))).log_softmax(-1)

    @property
    def has_own_modules(self) -> bool:
        """Whether encoder or decoder are modules of the user's own."""
        return any(isinstance(network, nn.Module) for network in (self.parts.encoder, self.parts.decoder))

    @property
    def takes_sparse(self) -> bool:
        """Whether `trace` takes sparse rows in training: where the first layer of the encoder does."""
        plain = type(self).trace is GenerativeAutoencoder.trace and not self.sizes.condition
        inputs = self.parts.likelihood.claims("takes_sparse", "encoder_inputs", "append_mask")
        return plain and inputs and isinstance(next(self.encoder.children(), None), SparseLinear)

    @property
    def notes(self) -> dict[str, str]:
        """What was added to modules of the user's own, in words, by the name of the network."""
        networks = {"encoder": self.encoder, "decoder": self.decoder}
        return {name: note for name, network in networks.items() if (note := note_of(network))}

    def check_modules(self, x: Float[Tensor, "B P"]) -> None:
        """Raise a `PartError` if a module of the user's own fails on rows or codes, or returns NaN."""
        if isinstance(self.parts.encoder, nn.Module):
            check_finite("encoder", self.encoder, self.network_inputs(x))
        if isinstance(self.parts.decoder, nn.Module):
            width = self.sizes.latent + sum(self.sizes.below) + self.sizes.condition
            check_finite("decoder", self.decoder, torch.linspace(-2, 2, 4 * width).to(x).view(4, width))

    def encoder_inputs(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B E"]:
        """Return rows in the encoder's units."""
        inputs = self.parts.likelihood.encoder_inputs(self.likelihood_state, x)
        return inputs if self.training else inputs.clamp(-FAR, FAR)  # training rows are not that far out

    def complete(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B P"]:
        """Return rows with missing cells filled."""
        return self.parts.likelihood.complete(self.likelihood_state, x)

    def encode(self, x: Float[Tensor, "B P"]) -> Distribution:
        """Return q(z|x), over (B, D)."""
        return self.parts.posterior.distribution(self.posterior_state, self._completed(x)._encoded(x))

    def locate(
        self,
        x: Float[Tensor, "B P"],
        precise: Float[Tensor, "B P"] | None = None,
        rounded: Float[Tensor, "B P"] | None = None,
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
        """Return places of rows on a map, the means of q(z|x) or what landmarks give (`Placement`), and deviations.

        Landmarks are compared with ``precise``, the rows in double precision; those as near as ``rounded``, the rows as
        far off as they may be rounded, are the rows themselves.
        """
        q = self.encode(x)
        if isinstance(self.encoder, PlacedEncoder):  # deviations are those of the encoder
            inputs, off = self._compared(x if precise is None else precise, rounded)
            return self.encoder.placed(inputs, q.mean, off), q.stddev
        return q.mean, q.stddev

    def holds(self, precise: Float[Tensor, "B P"], rounded: Float[Tensor, "B P"] | None = None) -> Bool[Tensor, " B"]:
        """Return which rows are landmarks, which `locate` gives the places that they had in the fit."""
        if not isinstance(self.encoder, PlacedEncoder):
            return torch.zeros(len(precise), dtype=torch.bool, device=precise.device)
        return self.encoder.holds(*self._compared(precise, rounded))

    def _compared(
        self, precise: Float[Tensor, "B P"], rounded: Float[Tensor, "B P"] | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return rows as they are compared with landmarks, and how far off they may be rounded."""
        inputs = self.encoder_inputs(precise)
        return inputs, None if rounded is None else (self.encoder_inputs(rounded) - inputs).abs()

    def decode(self, z: Float[Tensor, "*S D"]) -> Distribution:
        """Return p(x|z), over (*S, P)."""
        return self._decoded(self.parts.posterior.decoder_inputs(self.posterior_state, z))

    def generate(self, z: Shaped[Tensor, "*S L"], noise: Noise = fresh) -> Distribution:
        """Return p(x|z), over (*S, P), for draws of the prior: codes, L = D, or the indices of quantised ones."""
        return self.decode(self.codes(z))

    def codes(self, z: Shaped[Tensor, "*S L"]) -> Float[Tensor, "*S D"]:
        """Return draws of the prior as codes: the points of the indices, where codes are quantised."""
        return z if z.is_floating_point() else self._quantizer().embed(self.posterior_state, z)

    def reconstruct(self, x: Float[Tensor, "B P"]) -> Distribution:
        """Return p(x|z), over (B, P), at the mean of q(z|x)."""
        return self.condition_on(x, self._completed(x).decode(self.encode(x).mean))

    def condition_on(self, x: Float[Tensor, "B P"], px: Distribution) -> Distribution:
        """Return p(x|z), over (*S, B, P), given what the likelihood takes from the rows, such as their totals."""
        px = self.parts.likelihood.condition_on(self.likelihood_state, x, _features(px))
        return px if px.event_shape else independent(px)

    def path(self, a: Float[Tensor, " D"], b: Float[Tensor, " D"], t: Float[Tensor, " N"]) -> Float[Tensor, "N D"]:
        """Return codes on the shortest path from a to b, at the fractions t of it."""
        return self.parts.posterior.geodesic(a, b, t[:, None])

    def prior(self) -> Distribution:
        """Return p(z), over (D,), or p(z|c), over (B, D), where the prior depends on the condition."""
        free = self.given(None)  # pseudo-inputs of a prior have no condition
        prior: Distribution = self.parts.prior.given(self.prior_state, self.condition, free.encode)
        return prior

    def trace(
        self,
        x: Float[Tensor, "M P"],
        k: int = 1,
        noise: Noise = fresh,
        batch: int | None = None,
        defence: Noise | None = None,
        places: Float[Tensor, "B D"] | None = None,
    ) -> Trace:
        """Encode rows, draw k codes for each, and decode them; in training, update the likelihood's running statistics.

        Parameters
        ----------
        x : Tensor of shape (M, P)
            Scaled rows; in training they may be sparse, where the model `takes_sparse`.
        k : int, default=1
            Draws of each row.
        noise : Noise, default=fresh
            Source of the draws.
        batch : int, optional
            Rows that are decoded; those after them are only encoded, to `Trace.positives`.
        defence : Noise, optional
            Noise for a `Defence`: some codes of rows with missing cells then come from the prior, where they can.
        places : Tensor of shape (B, D), optional
            Places of the rows on a map. In training q(z|x) has them as means for some rows, drawn, so that the decoder
            learns the places, while the encoder learns them by `Trace.off`.
        """
        model = self._completed(x)
        raw = model._encoded(x)
        positives = None if batch is None else self.parts.posterior.distribution(self.posterior_state, raw[batch:]).mean
        rest = None if batch is None else rows_from(x, batch)
        x, raw = dense_rows(x, batch), raw[:batch]
        p = model.prior()
        z, q, aux = self.parts.posterior.draw(
            self.posterior_state, raw, k, noise, lambda z: p.log_prob(z) + model.decode(z).log_prob(x)
        )
        off = None if places is None else q.mean - places
        if off is not None and self.training:
            shift = -off * (noise.uniform((len(off), 1), off) < AT_PLACES)
            z, q = z + shift, normal(q.mean + shift, q.stddev)
        from_prior = None
        if defence is not None and defensible(q, p):
            mixture = Defence.of(x, k, defence)
            z, from_prior = mixture.replace(z, q, p), mixture.fraction
        px = self._conditioned(x, model.decode(z))
        return Trace(x, (Level(z, q, p),), px, aux, noise, positives, from_prior, rest, off, self.training)

    def indices(self, x: Float[Tensor, "B P"]) -> Int[Tensor, "B L"]:
        """Return the indices of each row's code, where codes are quantised."""
        return self._quantizer().indices(self.posterior_state, self._encoded(x))

    def with_prior(self, prior: Prior) -> Self:
        """Return this model with another, untrained prior, and the same weights otherwise."""
        prior.check_posterior(self.parts.posterior)
        model = self.given(None)
        model._modules = {**self._modules, "prior_state": prior.build(self.sizes)}
        model.parts = replace(self.parts, prior=prior)
        return model

    def standardise(self, mean: Float[Tensor, " D"], scale: Float[Tensor, " D"]) -> None:
        r"""Change the codes to :math:`z' = (z - m) / s` and leave every p(x|z) as it is: decode(z') is decode(z)."""
        self.parts.posterior.standardise(self.posterior_state, mean, scale)

    def inference_parameters(self) -> Iterator[nn.Parameter]:
        """Return the parameters of q(z|x)."""
        yield from self.encoder.parameters()
        yield from self.posterior_state.parameters()
        for inferring in (self.shift, self.classifier):
            if inferring is not None:
                yield from inferring.parameters()

    def generative_parameters(self) -> Iterator[nn.Parameter]:
        """Return the parameters of p(z) and p(x|z)."""
        yield from self.decoder.parameters()
        yield from self.prior_state.parameters()
        yield from self.likelihood_state.parameters()

    def _conditioned(self, x: Tensor, px: Distribution) -> Distribution:
        """Return p(x|z) given the rows; in training, update the statistics of the likelihood first."""
        if self.training:
            self.parts.likelihood.update(self.likelihood_state, x, _features(px))
        return self.condition_on(x, px)

    def _decoded(self, z: Float[Tensor, "*S D"]) -> Distribution:
        """Return p(x|z) of codes as the decoder takes them."""
        raw = at_least_single(self.decoder(self._with_condition(z)))  # (*S, P, heads)
        px = self.parts.likelihood.distribution(self.likelihood_state, raw)
        return px if px.event_shape else independent(px)

    def _encoded(self, x: Tensor) -> Tensor:
        x = self.network_inputs(x)
        if self.shift is not None and self.condition is not None:
            x = x + at_least_single(self.shift(self.condition))
        return at_least_single(self.encoder(x))

    def network_inputs(self, x: Tensor) -> Tensor:
        """Return the encoder's inputs, with the mask of missing cells where the network takes it."""
        inputs = self.encoder_inputs(x)
        return self.parts.likelihood.append_mask(inputs, x) if self.takes_mask else inputs

    def _quantizer(self) -> Quantizer:
        if not isinstance(self.parts.posterior, Quantizer):
            raise PartError(
                f"only quantised codes have indices, and this model's posterior is {self.parts.posterior}; "
                "use posteriors.Quantized(), as recipes.vq()"
            )
        return self.parts.posterior

    def _completed(self, x: Tensor) -> Self:
        """Return the model with missing classes replaced by their probabilities."""
        if self.classifier is None or self.condition is None:
            return self
        missing = 1 - self.condition.sum(-1, keepdim=True)
        return self.given(self.condition + missing * self.classify(x).exp())

    def _outputs(self) -> int:
        """Return how many numbers the encoder returns for a row."""
        return self.parts.posterior.heads(self.sizes.latent)

    def _with_condition(self, z: Tensor) -> Tensor:
        """Return codes with the condition of their rows, (*S, D + C)."""
        if not self.sizes.condition:
            return z
        if self.condition is None:
            raise PartError("a conditional model needs the condition of each row; use model.given(condition)")
        return torch.cat([z, self.condition.expand(*z.shape[:-1], -1)], -1)


def _encoder(network: Network | nn.Module, sizes: Sizes, outputs: int, posterior: Posterior | None = None) -> nn.Module:
    """Return a module from rows to this many numbers, those of a posterior where one is given."""
    if not isinstance(network, Network):
        return adapt_encoder(network, sizes, outputs, posterior)
    encoder = network.encoder(sizes, outputs)
    check_network(network, encoder, (2, sizes.features), (2, outputs))
    return encoder


def _decoder(network: Network | nn.Module, sizes: Sizes, heads: int) -> nn.Module:
    """Return a module from codes to this many numbers for each feature."""
    if not isinstance(network, Network):
        return adapt_decoder(network, sizes, heads)
    decoder = network.decoder(sizes, heads)
    check_network(network, decoder, (2, sizes.latent), (2, sizes.features, heads))
    return decoder


def _check_heads(parts: Parts, sizes: Sizes) -> None:
    """Refuse modules with heads of their own where a model needs others."""
    if isinstance(parts.encoder, WithHeads) and (sizes.below or sizes.some_labels):
        why = "a ladder has heads for each level" if sizes.below else "missing classes are inferred from features"
        raise PartError(f"{why}, and your encoder has those of q(z|x); return features, without networks.WithHeads")
    likelihood = parts.likelihood.likelihood if isinstance(parts.likelihood, Incomplete) else parts.likelihood
    if isinstance(parts.decoder, WithHeads) and isinstance(likelihood, Bernoulli | ContinuousBernoulli):
        *_, last = parts.decoder.modules()
        if isinstance(last, nn.Sigmoid):
            raise PartError(
                f"likelihood {type(likelihood).__name__} takes logits, and your decoder ends with a Sigmoid; leave it "
                "out, or use likelihoods.Gaussian()"
            )


def _features(px: Distribution) -> Distribution:
    """Return p(x|z) as from the likelihood: of each feature, or over all of them."""
    return px.base_dist if isinstance(px, Independent) else px


def at_least_single(x: Tensor) -> Tensor:
    """Return a network's output in single precision where autocast left less; densities need it."""
    return x if x.dtype == torch.float64 else x.float()
