"""The decoder of a map, fitted further to the places of its rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import AdamW

from latentmap.model.noise import Generated, generator_for
from latentmap.model.trace import Trace
from latentmap.training.feed import Resident
from latentmap.training.held_out import HeldOut
from latentmap.training.schedule import learning_rate_factor
from latentmap.training.state import copied_state
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
    player, kept, changed = _player(step), copied_state(learned.state_dict()), False
    with step.modules_draw_from(generator):
        judges = _Judges(step, player, held_out, held_out_places)
        first = best = judges.cost()
        for number in range(1, steps + 1):
            over = ended()
            if not over:
                for group in optimizer.param_groups:
                    group["lr"] = rate * learning_rate_factor((number - 1) / steps)
                index = torch.randint(len(feed), (size,), device=feed.device, generator=generator)
                model.train()
                model.encoder.eval()
                x = step.scaling(feed.data[index])
                means, deviations = _encoded(step, x)
                means[::2] = places[index[::2]].to(means)
                trace = _trace(step, x, means, deviations, generator)
                optimizer.zero_grad()
                _loss(step, player, trace).backward(inputs=parameters)
                nn.utils.clip_grad_norm_(parameters, LARGEST)
                optimizer.step()
            if over or number % EVERY == 0 or number == steps:
                cost = judges.cost()
                sound = all(bool(value.isfinite().all()) for value in parameters)
                if sound and cost.total < best.total and cost.is_less_than(first):
                    best, kept, changed = cost, copied_state(learned.state_dict()), True
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
    with step.modules_draw_from(generator):
        for batch in feed.sample(step.settings.batch_size, ROWS):
            x = step.scaling(batch.rows)
            trace = _trace(step, x, *_encoded(step, x), generator)
            total += step.metrics.of(_losses(step, trace), trace) * len(x)
            count += len(x)
    return total / count


@dataclass(frozen=True, eq=False)
class _Cost:
    """Cost of held-out rows: of each, and by the objective in all and from q(z|x) alone."""

    rows: Float[Tensor, " M"]
    total: float
    encoded: float

    def is_less_than(self, other: _Cost) -> bool:
        """Return whether rows cost less, beyond chance, and no more from q(z|x) alone."""
        gain = other.rows - self.rows
        error = float(gain.std()) / math.sqrt(len(gain)) if len(gain) > 1 else math.inf
        return float(gain.mean()) > ERRORS * error and self.encoded <= other.encoded


class _Judges:
    """Held-out rows with their places, encoded once, as the encoder stays: each is decoded from both."""

    @torch.no_grad()
    def __init__(self, step: GradientStep, player: str, held_out: HeldOut, places: Float[Tensor, "M D"]) -> None:
        step.model.eval()
        size, some = step.settings.batch_size, held_out.order(step.settings.seed)[:ROWS]
        self.step, self.player, self.device = step, player, places.device
        self.pieces = [
            (rows, at, *_encoded(step, step.scaling(rows)))
            for rows, at in zip(held_out.rows[some].split(size), places[some].split(size), strict=True)
        ]

    @torch.no_grad()
    def cost(self) -> _Cost:
        """Return what the rows cost now, with the same noise each time."""
        step = self.step
        step.model.eval()
        generator = generator_for(step.settings.seed, self.device)
        rows, total, from_codes = [], 0.0, 0.0
        for stored, at, means, deviations in self.pieces:
            x = step.scaling(stored)
            placed = _trace(step, x, at.to(means), deviations, generator)
            encoded = _trace(step, x, means, deviations, generator)
            rows.append(placed.distortion.double() + encoded.distortion.double())
            own = len(x) * float(_loss(step, self.player, encoded))
            from_codes += own
            total += own + len(x) * float(_loss(step, self.player, placed))
        return _Cost(torch.cat(rows), total, from_codes)


@torch.no_grad()
def _encoded(step: GradientStep, x: Float[Tensor, "B P"]) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
    """Return means and deviations of q(z|x)."""
    q = step.model.encode(x)
    return q.mean.clone(), q.stddev


def _trace(
    step: GradientStep,
    x: Float[Tensor, "B P"],
    means: Float[Tensor, "B D"],
    deviations: Float[Tensor, "B D"],
    generator: torch.Generator,
) -> Trace:
    """Return the trace of rows decoded from around some means, with as many draws as the objective takes."""
    return step.model.trace_at(x, means, deviations, step.objective.samples, Generated(generator))


def _player(step: GradientStep) -> str:
    """Return the name of the player that learns p(x|z)."""
    learned = {id(parameter) for parameter in decoding(step).parameters()}
    return next(name for name, parameters in step.players.items() if any(id(p) in learned for p in parameters))


def _loss(step: GradientStep, player: str, trace: Trace) -> Float[Tensor, ""]:
    """Return the loss of a player."""
    return _losses(step, trace)[player]


def _losses(step: GradientStep, trace: Trace) -> Mapping[str, Tensor]:
    """Return the losses of the objective at the end of its schedule."""
    return step.objective.losses(step.objective_state, step.model, trace, torch.ones((), device=trace.x.device))
