"""Standardisation of the codes after a fit: the shift and scale with the lowest rate, in closed form."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from latentmap.data.moments import Moments
from latentmap.training.feed import Feed
from latentmap.training.loop import EVALUATION_ROWS, Trainer

MOST = 2**17
"""Training rows over which moments are taken, at the most."""


@torch.no_grad()
def standardise_codes(trainer: Trainer) -> bool:
    r"""Shift and scale the codes of a trained model to mean 0 and variance 1 over training rows, where that is exact.

    .. math:: z' = \frac{z - m}{s}, \qquad m_i = \mathbb{E}\, z_i, \quad s_i^2 = \mathrm{Var}\, z_i, \qquad
              z \sim \frac1N \sum_{n=1}^N q(z|x_n)

    The decoder takes m + s z', so every p(x|z) stays as it is. Under the prior N(0, I) the mean rate falls by

    .. math:: \frac12 \sum_i \big(\mathbb{E}[z_i^2] - 1 - \log \mathrm{Var}\, z_i\big) \ge 0,

    and no other shift and scale lower it further: all of these terms are 0 at any optimum of the evidence lower bound.
    Where the objective takes one scale for all components, s^2 is the mean of their variances. Posterior, prior and
    objective tell whether nothing else changes (`Posterior.standardises`, `Prior.standard`, `Objective.standardises`).
    Of more than `MOST` rows, so many evenly spaced ones are taken. The row of the history of the kept weights is
    brought up to date.

    Parameters
    ----------
    trainer : Trainer
        A trainer after its last run.

    Returns
    -------
    bool
        Whether the codes were standardised.
    """
    model, step = trainer.model, trainer.gradient_step
    parts, scales = model.parts, step.objective.standardises
    exact = parts.posterior.claims("standardises", "distribution") and parts.prior.claims("standard", "distribution")
    if scales is None or not (exact and step.objective.claims("standardises", "losses")):
        return False
    mean, variance = moments_of_codes(trainer, trainer.feed)
    scale = (variance if scales == "each" else variance.mean().expand_as(variance)).sqrt()
    if not (mean.isfinite() & scale.log().isfinite()).all():
        return False
    model.standardise(mean, scale)
    step.objective.standardise(step.objective_state, scale)
    nats = 0.5 * (mean.square() + variance - variance / scale.square()).sum() - scale.log().sum()
    trainer.describe_standardised(float(nats))
    return True


def moments_of_codes(trainer: Trainer, feed: Feed) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
    """Return mean and variance of the aggregate posterior over the rows of a feed, in double precision."""
    model, total = trainer.model.eval(), None
    for batch in feed.sample(EVALUATION_ROWS, MOST):
        q = model.given(batch.condition).encode(trainer.gradient_step.scaling(batch.rows))
        moments = Moments.of(torch.cat([q.mean, q.variance], -1).cpu().numpy())
        total = moments if total is None else total + moments
    assert total is not None
    (mean, within), (between, _) = (torch.from_numpy(v).chunk(2) for v in (total.mean, total.deviation**2))
    return mean, within + between
