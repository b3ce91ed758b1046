"""The decoder of a map, fitted further once the codes of its rows have been refined."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import AdamW

from latentmap.model.noise import Generated, generator_for
from latentmap.model.trace import Trace
from latentmap.training.feed import Resident
from latentmap.training.held_out import HeldOut
from latentmap.training.schedule import learning_rate_factor
from latentmap.training.step import GradientStep

STEPS, SHARE = 300, 0.5
"""Steps at the most, and as a share of those of the fit."""
RATE = 0.3
"""Learning rate, as a multiple of that of the fit."""
EVERY, ROWS = 100, 2048
"""Steps between two evaluations, and held-out rows that are looked at, at the most."""
ERRORS = 2.0
"""Standard errors by which the cost of held-out rows must fall."""
LARGEST = 10.0
"""Norm to which gradients are clipped."""
SECONDS = 2.0
"""What this takes, about."""


def decoding(step: GradientStep) -> nn.ModuleList:
    """Return what decodes: the modules of p(x|z)."""
    return nn.ModuleList([step.model.decoder, step.model.likelihood_state])


def fit_decoder(
    step: GradientStep,
    feed: Resident,
    places: Float[Tensor, "N D"],
    held_out: HeldOut,
    held_out_places: Float[Tensor, "M D"],
    steps: int,
    *,
    ended: Callable[[], bool] = lambda: False,
) -> bool:
    r"""Fit the decoder of a model to the places of its rows on a map, and return whether it is another one.

    Half of the rows of a batch are decoded from :math:`\mu' + \sigma(x) \epsilon`, where the place :math:`\mu'` takes
    the place of the mean of q(z|x), and the others from draws of q(z|x), of which scores are made. The objective is
    that of the fit. Weights are kept only where the held-out rows cost less by two standard errors, and no more when
    they are decoded from q(z|x) alone.

    Parameters
    ----------
    step : GradientStep
        The model, its objective and the scaling of its rows.
    feed : Resident
        Training rows.
    places : Tensor of shape (N, D)
        Places of these.
    held_out : HeldOut
        Held-out rows.
    held_out_places : Tensor of shape (M, D)
        Places of these.
    steps : int
        Steps that the fit took.
    ended : callable, optional
        Whether the time is over.
    """
    model, generator, learned = step.model, generator_for(step.settings.seed, feed.device), decoding(step)
    parameters = [parameter for parameter in learned.parameters() if parameter.requires_grad]
    steps, size = min(STEPS, int(SHARE * steps)), min(step.settings.batch_size, len(feed))
    if not parameters or not steps:
        return False
    rate = RATE * step.settings.learning_rate
    optimizer = AdamW(parameters, rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    kept, changed = copy.deepcopy(learned.state_dict()), False
    with step.modules_draw_from(generator):
        first = best = _HeldOutCost(step, held_out, held_out_places)
        for number in range(1, steps + 1):
            over = ended()
            if not over:
                for group in optimizer.param_groups:
                    group["lr"] = rate * learning_rate_factor((number - 1) / steps)
                index = torch.randint(len(feed), (size,), device=feed.device, generator=generator)
                model.train()
                model.encoder.eval()
                trace = _trace(step, step.scaling(feed.data[index]), places[index], generator)
                optimizer.zero_grad()
                _loss(step, trace).backward(inputs=parameters)
                nn.utils.clip_grad_norm_(parameters, LARGEST)
                optimizer.step()
            if over or number % EVERY == 0 or number == steps:
                cost = _HeldOutCost(step, held_out, held_out_places)
                sound = all(bool(value.isfinite().all()) for value in parameters)
                if sound and cost.total < best.total and cost.is_less_than(first):
                    best, kept, changed = cost, copy.deepcopy(learned.state_dict()), True
            if over:
                break
    learned.load_state_dict(kept)
    model.eval()
    return changed


@torch.no_grad()
def training_metrics(step: GradientStep, feed: Resident) -> Float[Tensor, " M"]:
    """Return the metrics of some training rows, with the same noise each time and without neighbours."""
    step.model.eval()
    generator, total, count = generator_for(step.settings.seed, feed.device), torch.zeros_like(step.sums[:-1]), 0
    for batch in feed.sample(step.settings.batch_size, ROWS):
        trace = _trace(step, step.scaling(batch.rows), None, generator)
        total += step.metrics.of(_losses(step, trace), trace) * len(trace.x)
        count += len(trace.x)
    return total / count


class _HeldOutCost:
    """Cost of held-out rows: of each, and by the objective, from places and from q(z|x), with the same noise."""

    @torch.no_grad()
    def __init__(self, step: GradientStep, held_out: HeldOut, places: Float[Tensor, "M D"]) -> None:
        step.model.eval()
        generator = generator_for(step.settings.seed, places.device)
        rows, self.total, self.encoded = [], 0.0, 0.0
        for x, at in _pieces(step, held_out, places):
            placed, encoded = _trace(step, x, at, generator), _trace(step, x, None, generator)
            rows.append(placed.distortion.double() + encoded.distortion.double())
            own = len(x) * float(_loss(step, encoded))
            self.encoded, self.total = self.encoded + own, self.total + own + len(x) * float(_loss(step, placed))
        self.rows = torch.cat(rows)

    def is_less_than(self, other: _HeldOutCost) -> bool:
        """Return whether rows cost less, beyond chance, and no more from q(z|x) alone."""
        gain = other.rows - self.rows
        error = float(gain.std()) / math.sqrt(len(gain)) if len(gain) > 1 else math.inf
        return float(gain.mean()) > ERRORS * error and self.encoded <= other.encoded


def _trace(
    step: GradientStep, x: Float[Tensor, "B P"], places: Float[Tensor, "B D"] | None, generator: torch.Generator
) -> Trace:
    """Return the trace of rows, decoded from q(z|x) or from around their places; in training, from either by turns."""
    model = step.model
    with torch.no_grad():
        q = model.encode(x)
        means = q.mean.clone()
        if places is not None:
            every = slice(None, None, 2 if model.training else 1)
            means[every] = places[every].to(means)
    return model.trace_at(x, means, q.stddev, step.objective.samples, Generated(generator))


def _loss(step: GradientStep, trace: Trace) -> Float[Tensor, ""]:
    """Return the loss of the player that learns p(x|z)."""
    learned = {id(parameter) for parameter in decoding(step).parameters()}
    player = next(name for name, parameters in step.players.items() if any(id(p) in learned for p in parameters))
    return _losses(step, trace)[player]


def _losses(step: GradientStep, trace: Trace) -> Mapping[str, Tensor]:
    """Return the losses of the objective at the end of its schedule."""
    return step.objective.losses(step.objective_state, step.model, trace, torch.ones((), device=trace.x.device))


def _pieces(
    step: GradientStep, held_out: HeldOut, places: Float[Tensor, "M D"]
) -> Iterator[tuple[Float[Tensor, "B P"], Float[Tensor, "B D"]]]:
    """Yield held-out rows with their places."""
    size = step.settings.batch_size
    for rows, at in zip(held_out.rows[:ROWS].split(size), places[:ROWS].split(size), strict=True):
        yield step.scaling(rows), at
