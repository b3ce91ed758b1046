"""What follows the last step of a fit: standardised codes, and a decoder that learns the places of a map."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from torch import Tensor, nn

from latentmap.training.decoder import decoding, fit_decoder, training_metrics
from latentmap.training.device import threads_for
from latentmap.training.feed import Resident
from latentmap.training.loop import Trainer
from latentmap.training.metrics import HELD_OUT, LOSS, REFITTED, STANDARDISED, with_lower_rate
from latentmap.training.standardise import standardisation
from latentmap.training.state import copied_state

STANDARDISATION_ROWS = 2**17
"""Training rows over which the codes are standardised, at the most."""


@contextlib.contextmanager
def _undone_by_errors(module: nn.Module) -> Iterator[None]:
    """Let a module be as before where what is done to it fails, or is interrupted and begins again."""
    before = copied_state(module.state_dict())
    try:
        yield
    except BaseException:
        module.load_state_dict(before)
        raise


def standardise(trainer: Trainer) -> None:
    """Standardise the codes of the kept weights, where that is exact, after the last run.

    The row of the history of these weights then describes them: the rate of the training rows falls by the closed form,
    and held-out rows are measured again, with the noise of all evaluations.
    """
    step = trainer.gradient_step
    with threads_for(trainer.work):
        change = standardisation(step, trainer.feed, STANDARDISATION_ROWS)
        if change is None:
            return
        with _undone_by_errors(step.learned):
            change.apply(step)
            held_out = trainer.metrics.entries(trainer.held_out_losses(), HELD_OUT)
    if trainer.best_evaluation is not None:
        row = trainer.history[trainer.best_evaluation]
        row |= with_lower_rate(row, change.nats) | held_out | {STANDARDISED: 1.0}


def fit_to_places(trainer: Trainer, places: Tensor, held_out_places: Tensor, ended: Callable[[], bool]) -> None:
    """Fit the decoder of the kept weights to the places of training and held-out rows on a map, after the last run.

    The row of the history of these weights then describes them: its training part changes by as much as the losses of
    some training rows do, and held-out rows are measured again. The decoder stays as it is without held-out rows, where
    some of these may have been trained on before, and where it plays against another network.
    """
    step = trainer.gradient_step
    if trainer.held_out is None or trainer.settings.keep_last or step.objective.adversarial:
        return
    assert isinstance(trainer.feed, Resident)
    with threads_for(trainer.work), _undone_by_errors(decoding(step)):
        was = training_metrics(step, trainer.feed)
        changed = fit_decoder(step, trainer.feed, places, trainer.held_out, held_out_places, trainer.step, ended=ended)
        gains = (training_metrics(step, trainer.feed) - was).tolist()
        held_out = trainer.metrics.entries(trainer.held_out_losses(), HELD_OUT)
    if changed and trainer.best_evaluation is not None:
        row = trainer.history[trainer.best_evaluation]
        for name, gain in zip((LOSS, *trainer.metrics.parts), gains, strict=False):
            row[name] = (row[name] or 0.0) + gain
        row |= held_out | {REFITTED: 1.0}
