"""Objectives that add a term to another one, which they leave as it is otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution

from latentmap.model.part import Learned, Sizes, forwarded
from latentmap.model.trace import Model, Trace
from latentmap.objectives.base import INFERENCE, MONITOR, Objective
from latentmap.objectives.evidence import ELBO


@dataclass(frozen=True)
class Extended(Objective):
    """An objective with another one as its base, of which it has all but the `losses`, to which it adds a term.

    Parameters
    ----------
    base : Objective, default=ELBO()
        The objective to extend.
    """

    base: Objective = ELBO()

    needs_batch = forwarded("base")
    adversarial = forwarded("base")
    pace = forwarded("base")
    samples = forwarded("base")

    def encodings(self, model: Model, x: Float[Tensor, "B P"]) -> Iterator[tuple[Distribution, Float[Tensor, " B"]]]:
        """Yield those of the base."""
        return self.base.encodings(model, x)

    def check_model(self, model: Model, trace: Trace) -> None:
        """Check the model for the base."""
        self.base.check_model(model, trace)

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return the state of the base."""
        return {"base": self.base.build(sizes)}

    def players(self, own: Learned, model: Model) -> dict[str, list[nn.Parameter]]:
        """Return the base's players."""
        return self.base.players(own.base, model)

    def losses_of_copies(
        self, own: Learned, model: Model, trace: Trace, progress: Float[Tensor, ""]
    ) -> Mapping[str, Tensor]:
        """Compute the losses of the base."""
        return self.base.losses_of_copies(own.base, model, trace, progress)


def add_to_encoder(losses: dict[str, Tensor], term: Tensor) -> None:
    """Add a term to the loss of the player that learns the encoder, and to the monitored loss.

    >>> losses = {"model": 1.0, "critic": 2.0, "rate": 3.0}
    >>> add_to_encoder(losses, 0.5)
    >>> losses
    {'model': 1.5, 'critic': 2.0, 'rate': 3.0}
    """
    for name in {next(iter(losses)), INFERENCE, MONITOR} & losses.keys():
        losses[name] = losses[name] + term
