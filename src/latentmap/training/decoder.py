"""The decoder of a map, fitted further once the codes of its rows have been refined."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import AdamW

from latentmap.model.noise import Generated, generator_for
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
SECONDS = 2.0
"""What this takes, about."""
LARGEST = 10.0
"""Norm to which gradients are clipped."""


def fit_decoder(
    step: GradientStep,
    feed: Resident,
    places: Float[Tensor, "N D"],
    held_out: HeldOut | None,
    held_out_places: Float[Tensor, "M D"],
    steps: int,
    *,
    ended: Callable[[], bool] = lambda: False,
) -> None:
    r"""Fit the decoder of a model to the places of its rows on a map.

    Half of the rows of a batch are decoded from :math:`\mu' + \sigma(x) \epsilon`, where the place :math:`\mu'` takes
    the place of the mean of q(z|x), and the others from draws of q(z|x), of which scores are made. The objective is
    that of the fit. The weights that are best on the held-out rows are kept, those before the first step among them;
    the last ones where none are held out.

    Parameters
    ----------
    step : GradientStep
        The model, its objective and the scaling of its rows.
    feed : Resident
        Training rows.
    places : Tensor of shape (N, D)
        Places of these.
    held_out : HeldOut, optional
        Held-out rows.
    held_out_places : Tensor of shape (M, D)
        Places of these.
    steps : int
        Steps that the fit took.
    ended : callable, optional
        Whether the time is over.
    """
    model, generator = step.model, generator_for(step.settings.seed, feed.device)
    learned = nn.ModuleList([model.decoder, model.likelihood_state])
    parameters = [parameter for parameter in learned.parameters() if parameter.requires_grad]
    steps, size = min(STEPS, int(SHARE * steps)), min(step.settings.batch_size, len(feed))
    if not parameters or not steps:
        return
    rate = RATE * step.settings.learning_rate
    optimizer = AdamW(parameters, rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    before = copy.deepcopy(learned.state_dict())
    best, kept = _cost_of_held_out(step, held_out, held_out_places), before
    try:
        with step.modules_draw_from(generator):
            for number in range(steps):
                if ended():
                    break
                for group in optimizer.param_groups:
                    group["lr"] = rate * learning_rate_factor(number / steps)
                index = torch.randint(len(feed), (size,), device=feed.device, generator=generator)
                model.train()
                model.encoder.eval()
                loss = _cost(step, step.scaling(feed.data[index]), places[index], generator)
                optimizer.zero_grad()
                loss.backward(inputs=parameters)
                nn.utils.clip_grad_norm_(parameters, LARGEST)
                optimizer.step()
                if (number + 1) % EVERY == 0 or number + 1 == steps:
                    cost = _cost_of_held_out(step, held_out, held_out_places)
                    sound = all(bool(value.isfinite().all()) for value in parameters)
                    if sound and (cost is None or best is None or cost < best):
                        best, kept = cost, copy.deepcopy(learned.state_dict())
    except KeyboardInterrupt:
        kept = before
        raise
    finally:
        learned.load_state_dict(kept)
        model.eval()


def _cost(
    step: GradientStep, x: Float[Tensor, "B P"], places: Float[Tensor, "B D"], generator: torch.Generator
) -> Float[Tensor, ""]:
    """Return the loss of the decoder's player for a batch, every second row of which is decoded from its place."""
    model = step.model
    with torch.no_grad():
        q = model.encode(x)
        means = q.mean.clone()
        means[::2] = places[::2].to(means)
    trace = model.trace_at(x, means, q.stddev, Generated(generator))
    losses = step.objective.losses(step.objective_state, model, trace, torch.ones((), device=x.device))
    return losses[_player(step)]


@torch.no_grad()
def _cost_of_held_out(step: GradientStep, held_out: HeldOut | None, places: Float[Tensor, "M D"]) -> float | None:
    """Return the loss of held-out rows, each from its place and from q(z|x), with the same noise each time."""
    if held_out is None:
        return None
    step.model.eval()
    generator = generator_for(step.settings.seed, places.device)
    costs = [_cost(step, x, at, generator) * len(x) for x, at in _pieces(step, held_out, places)]
    return float(sum(costs))


def _pieces(
    step: GradientStep, held_out: HeldOut, places: Float[Tensor, "M D"]
) -> Iterator[tuple[Float[Tensor, "B P"], Float[Tensor, "B D"]]]:
    """Yield held-out rows with their places, each row twice: decoded from its place, and from q(z|x)."""
    size = step.settings.batch_size
    for rows, at in zip(held_out.rows[:ROWS].split(size), places[:ROWS].split(size), strict=True):
        yield step.scaling(rows).repeat_interleave(2, 0), at.repeat_interleave(2, 0)


def _player(step: GradientStep) -> str:
    """Return the name of the player that learns p(x|z)."""
    learned = {id(p) for module in (step.model.decoder, step.model.likelihood_state) for p in module.parameters()}
    return next(name for name, parameters in step.players.items() if any(id(p) in learned for p in parameters))
