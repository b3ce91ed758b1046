"""The interface of objectives: losses by player, from a model's trace alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from latentmap.model.part import Learned, Part
from latentmap.model.trace import Model, Trace

MODEL = "model"
"""The player that holds the model's parameters, in every objective that does not split them."""


@dataclass(frozen=True)
class Objective(Part, ABC):
    """Base of objectives.

    The engine differentiates each player's loss with respect to that player's parameters alone, so a game of several
    players (a critic, separate bounds for encoder and decoder) takes the same step as a single minimisation.
    """

    @property
    def samples(self) -> int:
        """K, the draws a row that the trace must hold."""
        return 1

    def players(self, own: Learned, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        """Name the players and the parameters that each one moves."""
        return {MODEL: [*model.parameters(), *own.parameters()]}

    @abstractmethod
    def losses(self, own: Learned, model: Model, trace: Trace, progress: Float[Tensor, ""]) -> Mapping[str, Tensor]:
        """Loss of each player, nats a row; ``progress`` runs from 0 to 1 over the fit."""
