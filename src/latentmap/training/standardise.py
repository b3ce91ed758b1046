"""Standardisation of the codes: the shift and scale with the lowest rate, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from latentmap.training.feed import Feed
from latentmap.training.step import GradientStep

BATCH, VALUES = 4096, 2**24
"""Rows that are encoded at a time, and values in them, at the most."""


@dataclass(frozen=True, eq=False)
class Standardisation:
    r"""Shift and scale of codes, to mean 0 and variance 1.

    .. math:: z' = \frac{z - m}{s}, \qquad m_i = \mathbb{E}\, z_i, \quad s_i^2 = \mathrm{Var}\, z_i, \qquad
              z \sim \frac1N \sum_{n=1}^N q(z|x_n)

    The decoder takes m + s z', so every p(x|z) stays as it is. Under the prior N(0, I) the mean rate falls by

    .. math:: \frac12 \sum_i \big(\mathbb{E}[z_i^2] - 1 - \log \mathrm{Var}\, z_i\big) \ge 0,

    and no other shift and scale lower it further: all of these terms are 0 at any optimum of the evidence lower bound.
    Where the objective takes one scale for all components, s^2 is the mean of their variances.

    Attributes
    ----------
    mean, scale
        m and s, in double precision on the CPU.
    nats
        What the mean rate of the rows falls by.
    """

    mean: Float[Tensor, " D"]
    scale: Float[Tensor, " D"]
    nats: float

    @torch.no_grad()
    def apply(self, step: GradientStep) -> None:
        """Change the codes of a model, and the state of its objective, in place."""
        step.model.standardise(self.mean, self.scale)
        step.objective.standardise(step.objective_state, self.scale)


def is_exact(step: GradientStep) -> bool:
    """Return whether standardised codes change nothing but the rate, by what posterior, prior and objective claim."""
    parts = step.model.parts
    return (
        step.objective.claims("standardises", "losses")
        and parts.posterior.claims("standardises", "distribution", "init")
        and parts.prior.claims("standard", "distribution")
    )


@torch.no_grad()
def standardisation(step: GradientStep, feed: Feed, most: int) -> Standardisation | None:
    """Return the best shift and scale for the training rows; None where they are not exact, or moments not finite.

    Parameters
    ----------
    step : GradientStep
        The model, its objective and the scaling of its rows.
    feed : Feed
        Training rows.
    most : int
        Rows that are encoded, at the most; of more, evenly spaced ones.
    """
    if not is_exact(step):
        return None
    mean, variance = _moments(step, feed, most)
    scale = (variance if step.objective.standardises == "each" else variance.mean().expand_as(variance)).sqrt()
    if not (mean.isfinite() & scale.log().isfinite()).all():
        return None
    nats = 0.5 * (mean.square() + variance - variance / scale.square()).sum() - scale.log().sum()
    return Standardisation(mean, scale, float(nats))


def _moments(step: GradientStep, feed: Feed, most: int) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
    """Return mean and variance of the aggregate posterior over rows, in double precision."""
    model = step.model.eval()
    total, centre = torch.zeros(3, model.sizes.latent, dtype=torch.float64), None
    processes = step.processes
    size = max(1, min(BATCH, VALUES // model.sizes.features))
    for number, batch in enumerate(feed.sample(size, most)):
        if number and number % processes.world_size != processes.rank:
            continue  # all processes encode the first batch, for the same centre
        for q, weight in step.objective.encodings(model.given(batch.condition), step.scaling(batch.rows)):
            mean, variance, w = q.mean.cpu().double(), q.variance.cpu().double(), weight.cpu().double()
            centre = mean.mean(0) if centre is None else centre  # an offset would cancel in the squares
            mean = mean - centre
            if number % processes.world_size == processes.rank:
                total += torch.einsum("b,cbd->cd", w, torch.stack([torch.ones_like(mean), mean, mean**2 + variance]))
    assert centre is not None
    count, first, second = processes.sum(total)
    return centre + first / count, second / count - (first / count) ** 2
