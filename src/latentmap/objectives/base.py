"""The interface of objectives: losses by player, from a model's trace alone; and of what can be added to them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from latentmap.exceptions import NoDensityError, PartError
from latentmap.model.part import Learned, Part, positive
from latentmap.model.trace import Level, Model, Trace

MODEL = "model"
"""The player that holds the model's parameters, in every objective that does not split them."""
INFERENCE, GENERATIVE = "inference", "generative"
"""The players of q(z|x) and of p(x, z), in objectives that split them."""
MONITOR = "monitor"
"""What to watch, where the loss of the first player hangs on a critic, which is a yardstick that moves."""
DISTORTION, RATE, RATE_WEIGHTING = "distortion", "rate", "rate_weighting"
"""Parts of the loss that is watched: the cost of a row given its code, that of the code, and what weights add to it."""
RESERVED = frozenset(
    f"val_{name}" if held_out else name for name in ("loss", DISTORTION, RATE) for held_out in (False, True)
) | {MODEL, INFERENCE, GENERATIVE, MONITOR, "critic", "epoch", "step", "seconds", "progress", "rows_per_second"}
"""Names that no other part of a loss may have."""


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

    @property
    def needs_batch(self) -> bool:
        """Whether the loss of a batch is more than a mean over its rows, so that its parts cannot be averaged."""
        return False

    @property
    def adversarial(self) -> bool:
        """Whether a critic plays against the model: such games circle under momentum, and the engine lowers it."""
        return False

    @property
    def pace(self) -> float:
        """Share of the usual learning rate that this objective bears."""
        return 1.0

    def check_model(self, model: Model, trace: Trace) -> None:
        """Refuse a model that this cannot train, by its trace of some rows: a `PartError` that says what to use."""

    def players(self, own: Learned, model: Model) -> dict[str, list[nn.Parameter]]:
        """Name the players and the parameters that each one moves."""
        return {MODEL: [*model.parameters(), *own.parameters()]}

    @abstractmethod
    def losses(self, own: Learned, model: Model, trace: Trace, progress: Float[Tensor, ""]) -> Mapping[str, Tensor]:
        """Loss of each player, nats a row, and `MONITOR` where needed; ``progress`` runs from 0 to 1 over the fit.

        What comes beside, under any other name, are the parts that add up to the loss that is watched, for the history
        of the fit: `DISTORTION`, `RATE` and the rest by their names, the same ones in every step. An objective that
        gives none has the distortion and rate of the trace, and ``penalty`` for what they leave of its loss.
        """

    def losses_of_copies(
        self, own: Learned, model: Model, trace: Trace, progress: Float[Tensor, ""]
    ) -> Mapping[str, Tensor]:
        """Loss of each player for copies of rows with some of their cells hidden, by their own trace.

        That of rows with missing cells, without what concerns a batch of whole rows as such.
        """
        return self.losses(own, model, trace, progress)


@dataclass(frozen=True)
class Penalty(Part, ABC):
    """Base of what `ELBO` can add to its cost, times ``weight``; a new penalty is one class with one method."""

    needs_batch: ClassVar[bool] = False
    """As `Objective.needs_batch`."""

    weight: float = 1.0

    _part: ClassVar[str]
    """Name of the part of a loss that this is: `TotalCorrelation` is total_correlation."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls._part = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__.strip("_")).lower()

    def __post_init__(self) -> None:
        positive("weight", self.weight, zero=True)

    def check_model(self, model: Model, trace: Trace) -> None:
        """As `Objective.check_model`."""

    @abstractmethod
    def cost(self, own: Learned, model: Model, trace: Trace) -> Float[Tensor, ""]:
        """Cost of a batch before the weight, a mean over its rows."""


@dataclass(frozen=True)
class Critic(Penalty, ABC):
    """Base of penalties that an opponent learns: ``own`` is the critic's, and it minimises a loss of its own."""

    @abstractmethod
    def opposition(self, own: Learned, model: Model, trace: Trace) -> Float[Tensor, ""]:
        """Loss of the critic; the model's parameters get no gradient from it."""


def monitored(losses: Mapping[str, Tensor]) -> Tensor:
    """Give the loss to watch: `MONITOR` where there is one, else that of the first player."""
    return losses[MONITOR] if MONITOR in losses else next(iter(losses.values()))


def unused(name: str, names: Container[str]) -> str:
    """Give a part of a loss its name, or the name and a number where that is taken.

    >>> unused("mmd", {"distortion", "mmd"}), unused("rate", {})
    ('mmd_2', 'rate_2')
    """
    found, number = name, 1
    while found in names or found in RESERVED:
        number += 1
        found = f"{name}_{number}"
    return found


def own_parts(trace: Trace) -> dict[str, Tensor]:
    """Give distortion, rate, if any, and the costs that parts bring along (`Trace.aux`), means over the batch."""
    found = {DISTORTION: trace.distortion.mean()}
    if trace.has_density:
        found[RATE] = trace.rate.mean()
    for name, cost in trace.aux.items():
        found[unused(name, found)] = cost.mean()
    return found


def extra_cost(trace: Trace) -> Float[Tensor, ""]:
    """Mean over the batch of the costs that parts bring along (`Trace.aux`)."""
    return sum((cost.mean() for cost in trace.aux.values()), start=trace.x.new_zeros(()))


def require_density(name: str, trace: Trace) -> None:
    """Refuse a model whose posterior has no density; ``name`` is what needs one."""
    try:
        _ = trace.rate
    except NoDensityError as error:
        raise PartError(
            f"{name} needs a posterior with a density, and this one has none; use posteriors.Gaussian(), "
            "or objectives.ELBO(beta=0) for a model without rate"
        ) from error


def only_level(name: str, trace: Trace) -> Level:
    """Give the level of a model with one layer of latent variables; refuse others."""
    if len(trace.levels) != 1:
        raise PartError(f"{name} takes models with one layer of codes, got {len(trace.levels)}; use objectives.ELBO()")
    return trace.levels[0]


def require_factors(name: str, trace: Trace, alternative: str) -> Distribution:
    """Give q(z_d|x), over (B, D); refuse a posterior that does not factorise, where ``name`` needs one that does."""
    q = only_level(name, trace).q
    if not isinstance(q, Independent):
        raise PartError(
            f"{name} needs a posterior that factorises over components, got {type(q).__name__}; "
            f"use posteriors.Gaussian(), or {alternative} with this one"
        )
    factors: Distribution = q.base_dist
    return factors
