"""Ladder models: several layers of latent variables, each with a prior that depends on those above it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution

from latentmap.exceptions import PartError
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts, at_least_single
from latentmap.model.defence import Defence, defensible
from latentmap.model.distributions import normal
from latentmap.model.noise import Noise, drawing_from, fresh
from latentmap.model.part import Learned, Sizes
from latentmap.model.posteriors import Gaussian
from latentmap.model.processes import Processes, alone
from latentmap.model.trace import Level, Trace

WIDTH = 128
"""Width of the encoder's features, and of the layers between the levels."""


class Ladder(GenerativeAutoencoder):
    r"""Ladder VAE: levels of codes z_L ... z_1, top first, of sizes ``latent`` and ``below`` (Sonderby et al. 2016).

    .. math:: p(x, z) = p(z_L)\, p(x|z) \prod_{i<L} p(z_i|z_{>i}), \qquad p(z_i|z_{>i}) = \mathcal{N}(m_i(z_{>i}), I) \\
              q(z|x) = q(z_L|x) \prod_{i<L} q(z_i|x, z_{>i}), \qquad
              q(z_i|x, z_{>i}) \propto \mathcal{N}(z_i; \mu_i(x), \sigma_i^2(x))\, p(z_i|z_{>i})

    The encoder's features pass upwards through one deterministic block a level. Each level combines its own with the
    prior of the levels above, by precision: q and p have the path down in common. Two things differ from the paper. All
    levels are inputs, concatenated, of the decoder and of the levels below them; and the prior of a level has unit
    variance, since the layers that follow absorb any unit, and a learned variance shrinks until the level is a function
    of those above. As there, levels only become active with batch normalisation on the way up, and if the rate is
    warmed up: train with ``ELBO(warmup=0.3)``. The latent code of a row is its top level.

    Parameters
    ----------
    parts, sizes : Parts, Sizes
        As for `GenerativeAutoencoder`; the posterior has to be `posteriors.Gaussian`.

    Raises
    ------
    PartError
        For other posteriors, and where some rows have no class.

    Examples
    --------
    >>> from latentmap.model import likelihoods, networks, priors
    >>> parts = Parts(networks.MLP((16,)), networks.MLP((16,)), Gaussian(), priors.Normal(), likelihoods.Gaussian())
    >>> model = Ladder(parts, Sizes(event=(8,), latent=2, below=(3, 4)))
    >>> [tuple(level.z.shape) for level in model.trace(torch.zeros(5, 8), k=3).levels]
    [(3, 5, 2), (3, 5, 3), (3, 5, 4)]
    """

    def __init__(self, parts: Parts, sizes: Sizes) -> None:
        if not isinstance(parts.posterior, Gaussian):
            raise PartError(
                f"a ladder combines Gaussians level by level, got {type(parts.posterior).__name__}; "
                "use posteriors.Gaussian(), or a model of one level with this one"
            )
        if sizes.some_labels:
            raise PartError("a ladder needs the class of every row; drop the rows without, or leave ladder=None")
        super().__init__(parts, sizes)
        levels = (sizes.latent, *sizes.below)
        above = [sum(levels[:i]) + sizes.condition for i in range(1, len(levels))]
        self.up = nn.ModuleList(_rising(WIDTH) for _ in sizes.below)
        self.heads = nn.ModuleList(_rising(2 * d) for d in levels)
        self.down = nn.ModuleList(_falling(a, d) for a, d in zip(above, sizes.below, strict=True))

    def encode(self, x: Float[Tensor, "B P"]) -> Distribution:
        """Return q(z_L|x), over (B, D): the top level."""
        return self._top(self._rise(x)[0])

    def decode(self, z: Float[Tensor, "*S D"]) -> Distribution:
        """Return p(x|z), over (*S, P), with the levels below the top at their prior means."""
        return self._decoded(self._descend(z)[0])

    def generate(self, z: Float[Tensor, "*S D"], noise: Noise = fresh) -> Distribution:
        """Return p(x|z), over (*S, P), with the levels below the top drawn."""
        return self._decoded(self._descend(z, noise=noise)[0])

    def reconstruct(self, x: Float[Tensor, "B P"]) -> Distribution:
        """Return p(x|z), over (B, P), with every level at its posterior mean."""
        top, *raws = self._rise(x)
        return self.condition_on(x, self._decoded(self._descend(self._top(top).mean, raws)[0]))

    def trace(
        self,
        x: Float[Tensor, "M P"],
        k: int = 1,
        noise: Noise = fresh,
        batch: int | None = None,
        defence: Noise | None = None,
        places: Float[Tensor, "B D"] | None = None,
    ) -> Trace:
        """Encode rows, draw k codes for each from the top down, decode them; of those beyond a ``batch`` the top.

        A ladder has no places on a map.
        """
        risen = self._rise(x)
        positives = None if batch is None else self._top(risen[0][batch:]).mean
        rest = None if batch is None else x[batch:]
        x, (top, *raws) = x[:batch], [raw[:batch] for raw in risen]
        q = self._top(top)
        z = q.mean + q.stddev * noise((k, *q.mean.shape), q.mean)
        p, mixture = self.prior(), None
        if defence is not None and defensible(q, p):
            mixture = Defence.of(x, k, defence)
            z = mixture.replace(z, q, p)
        codes, levels = self._descend(z, raws, noise, mixture)
        px = self._conditioned(x, self._decoded(codes))
        traced = (Level(z, q, p), *(Level(*level) for level in levels))
        from_prior = None if mixture is None else mixture.fraction
        return Trace(
            x, traced, px, noise=noise, positives=positives, from_prior=from_prior, positive_rows=rest,
            inside=self.training,
        )  # fmt: skip

    def inference_parameters(self) -> Iterator[nn.Parameter]:
        """Return the parameters of the path up."""
        yield from super().inference_parameters()
        yield from self.up.parameters()
        yield from self.heads.parameters()

    def generative_parameters(self) -> Iterator[nn.Parameter]:
        """Return the parameters of p(z) and p(x|z), and of the path down, which q(z|x) uses too."""
        yield from super().generative_parameters()
        yield from self.down.parameters()

    def _outputs(self) -> int:
        return WIDTH

    def _rise(self, x: Tensor) -> list[Tensor]:
        """Return the encoder's output for each level, top first: (B, 2 D_i) each."""
        features = [self._encoded(x)]
        for block in self.up:
            features.append(features[-1] + block(features[-1]))
        return [at_least_single(head(h)) for head, h in zip(self.heads, reversed(features), strict=True)]

    def _descend(
        self, z: Tensor, raws: list[Tensor] | None = None, noise: Noise | None = None, mixture: Defence | None = None
    ) -> tuple[Tensor, list[tuple[Tensor, Distribution, Distribution]]]:
        """Return the decoder's codes of all levels, concatenated, from those of the top (*S, D), and their z, q and p.

        With noise codes are drawn, without it they are means: of q with ``raws``, else of p.
        """
        levels: list[tuple[Tensor, Distribution, Distribution]] = []
        z = self.parts.posterior.decoder_inputs(self.posterior_state, z)
        for i, down in enumerate(self.down):
            mean = at_least_single(down(self._with_condition(z)))
            p = normal(mean, torch.ones_like(mean))
            q = p if raws is None else combine(self._gaussian(raws[i]), p)
            new = q.mean if noise is None else q.mean + q.stddev * noise(q.mean.shape, q.mean)
            if mixture is not None:
                new = mixture.replace(new, q, p)
            levels.append((new, q, p))
            z = torch.cat([z, new], -1)
        return z, levels

    def _top(self, raw: Tensor) -> Distribution:
        return self.parts.posterior.distribution(self.posterior_state, raw)

    def _gaussian(self, raw: Tensor) -> Distribution:
        return self.parts.posterior.distribution(Learned(), raw)


def combine(a: Distribution, b: Distribution) -> Distribution:
    """Return the normalised product of two diagonal Gaussians: precisions add, means are weighted by them.

    >>> q = combine(normal(torch.zeros(1), torch.ones(1)), normal(torch.ones(1), torch.ones(1)))
    >>> q.mean, q.variance
    (tensor([0.5000]), tensor([0.5000]))
    """
    precision = 1 / a.variance + 1 / b.variance
    return normal((a.mean / a.variance + b.mean / b.variance) / precision, precision.rsqrt())


class _BatchNorm(nn.BatchNorm1d):
    """Batch normalisation that uses the running moments for a batch of one, as after training."""

    processes: Processes = alone

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.processes.world_size > 1:
            return self._of_all(x)
        if self.training and len(x) > 1:
            return super().forward(x)
        return nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)

    def _of_all(self, x: Tensor) -> Tensor:
        """Normalise by the moments of the rows of all processes."""
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        with torch.autocast(x.device.type, enabled=False):
            rows, x = self.processes.world_size * len(x), x.float()
            mean = self.processes.mean(x.mean(0))
            variance = self.processes.mean((x - mean).square().mean(0))
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * rows / (rows - 1), self.momentum)
            scaled: Tensor = (x - mean) * (variance + self.eps).rsqrt() * self.weight + self.bias
            return scaled


def _rising(out: int) -> nn.Module:
    return nn.Sequential(_BatchNorm(WIDTH), nn.SiLU(), nn.Linear(WIDTH, out))


def _falling(above: int, out: int) -> nn.Module:
    return nn.Sequential(nn.Linear(above, WIDTH), nn.SiLU(), nn.Linear(WIDTH, out))


def compose(parts: Parts, sizes: Sizes, generator: torch.Generator) -> GenerativeAutoencoder:
    """Return the model of these parts: with one level of codes, or the ladder that ``sizes.below`` specifies.

    Initial weights are drawn from the generator.
    """
    with drawing_from(generator):
        return (Ladder if sizes.below else GenerativeAutoencoder)(parts, sizes)
