"""Settings of a fit, every choice made."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from latentmap.training.callbacks import Callback
from latentmap.training.metrics import KEPT, Row


@dataclass(frozen=True)
class Settings:
    """Hyperparameters of a `Trainer`.

    Attributes
    ----------
    patience
        Evaluations without improvement after which the fit stops; None trains to the end of the schedule.
    capture
        Whether to record the step as a CUDA graph and replay it, on a GPU.
    constant_rate
        Whether the learning rate stays constant: for data that arrive in pieces, where the end is unknown.
    keep_last
        Whether to keep the last weights, not those that are best on held-out rows, of which some may have been trained
        on before.
    largest_lr_multiplier
        Upper bound of the multipliers of `learning_rate_multipliers`; None uses one learning rate for all layers.
    """

    max_epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    patience: int | None = None
    time_budget: float | None = None
    dtype: torch.dtype = torch.float32
    compile: bool = False
    capture: bool = False
    constant_rate: bool = False
    keep_last: bool = False
    largest_lr_multiplier: float | None = None
    callbacks: tuple[Callback, ...] = ()

    @property
    def marks(self) -> Row:
        """What each row of the history says of the weights."""
        return {KEPT: 1.0} if self.keep_last else {}
