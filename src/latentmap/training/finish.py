"""What follows the last step of a fit: standardised codes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn

from latentmap.training.device import threads_for
from latentmap.training.loop import Trainer
from latentmap.training.metrics import HELD_OUT, STANDARDISED, with_lower_rate
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
