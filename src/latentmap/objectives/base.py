"""Base of objectives, which return losses by player from a model's trace, and of the penalties added to them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

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
"""The loss to monitor, where that of the first player depends on a critic, which changes during the fit."""
DISTORTION, RATE, RATE_WEIGHTING = "distortion", "rate", "rate_weighting"
"""Terms of the monitored loss: the cost of a row given its code, that of the code, and what weights add to it."""
Scales = Literal["each", "all"]
"""Whether codes take a scale for each component, or one for all."""
RESERVED = (
    frozenset(f"val_{name}" if held_out else name for name in ("loss", DISTORTION, RATE) for held_out in (False, True))
    | {"standardised", "kept", "refitted", MODEL, INFERENCE, GENERATIVE, MONITOR, "critic", "epoch", "step"}
    | {"seconds", "progress", "rows_per_second"}
)
"""Names that no other term of a loss may have."""


@dataclass(frozen=True)
class Objective(Part, ABC):
    """Base of objectives.

    The engine differentiates each player's loss with respect to that player's parameters alone, so a game of several
    players (a critic, separate bounds for encoder and decoder) takes the same step as a single minimisation.
    """

    @property
    def samples(self) -> int:
        """K, the draws of each row that the trace must hold."""
        return 1

    @property
    def needs_batch(self) -> bool:
        """Whether the loss of a batch is more than a mean over its rows, so that its terms cannot be averaged."""
        return False

    @property
    def adversarial(self) -> bool:
        """Whether a critic plays against the model: such games circle under momentum, and the engine lowers it."""
        return False

    @property
    def pace(self) -> float:
        """Learning-rate multiplier."""
        return 1.0

    @property
    def standardises(self) -> Scales | None:
        """How the codes are standardised after a fit: None leaves them as they are.

        "each" divides every component by a scale of its own, "all" divides all of them by one. Either requires that
        shift and scale change no term of the loss but the rate, in which it is linear.
        """
        return None

    def encodings(self, model: Model, x: Float[Tensor, "B P"]) -> Iterator[tuple[Distribution, Float[Tensor, " B"]]]:
        """Yield every posterior of rows whose rate counts in the loss, with its weight for each row.

        Parameters
        ----------
        model : Model
            Model to train.
        x : Tensor of shape (B, P)
            Scaled rows.

        Yields
        ------
        q, weight
            A distribution over (B, D), and weights (B,) that add up to 1 over the posteriors of a row.
        """
        yield model.encode(x), x.new_ones(len(x))

    def standardise(self, own: Learned, scale: Float[Tensor, " D"]) -> None:
        """Adapt the state to standardised codes, so that all terms but the rate stay as they are.

        Parameters
        ----------
        own : Learned
            State of this objective, from `build`.
        scale : Tensor of shape (D,)
            What each component was divided by.
        """

    def check_model(self, model: Model, trace: Trace) -> None:
        """Raise a `PartError` if this objective cannot train the model; the message names an alternative.

        Parameters
        ----------
        model : Model
            Model to train.
        trace : Trace
            Its trace of some rows.
        """

    def players(self, own: Learned, model: Model) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of each player.

        Parameters
        ----------
        own : Learned
            State of this objective, from `build`.
        model : Model
            Model to train.

        Returns
        -------
        dict of str to list of Parameter
            Parameters by player.
        """
        return {MODEL: [*model.parameters(), *own.parameters()]}

    @abstractmethod
    def losses(self, own: Learned, model: Model, trace: Trace, progress: Float[Tensor, ""]) -> Mapping[str, Tensor]:
        """Compute the loss of each player, and the terms of the monitored loss.

        Parameters
        ----------
        own : Learned
            State of this objective, from `build`.
        model : Model
            Model to train.
        trace : Trace
            Its trace of a batch.
        progress : Tensor
            Progress of the fit, from 0 to 1.

        Returns
        -------
        dict of str to Tensor
            Losses by player, nats a row, and `MONITOR` where needed. Any other names are the terms of the monitored
            loss, for the history: `DISTORTION`, `RATE` and others, the same ones in every step. Without them the
            history holds the distortion and rate of the trace, and ``penalty`` for the rest of the loss.
        """

    def losses_of_copies(
        self, own: Learned, model: Model, trace: Trace, progress: Float[Tensor, ""]
    ) -> Mapping[str, Tensor]:
        """Compute the loss of each player for copies of rows with hidden cells, without terms over whole batches.

        Parameters
        ----------
        own, model, trace, progress : Learned, Model, Trace, Tensor
            As for `losses`; the trace is that of the copies.

        Returns
        -------
        dict of str to Tensor
            Losses by player.
        """
        return self.losses(own, model, trace, progress)


@dataclass(frozen=True)
class Penalty(Part, ABC):
    """Base of penalties that `ELBO` adds to its cost; a new penalty is one class with one method.

    Parameters
    ----------
    weight : float, default=1.0
        Weight of the penalty.
    """

    needs_batch: ClassVar[bool] = False
    """As `Objective.needs_batch`."""
    invariant: ClassVar[bool] = False
    """Whether the cost stays the same when codes are standardised, each component by a shift and scale of its own."""

    weight: float = 1.0

    _part: ClassVar[str]
    """Name as a term of a loss: `TotalCorrelation` is total_correlation."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls._part = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__.strip("_")).lower()

    def __post_init__(self) -> None:
        positive("weight", self.weight, zero=True)

    def check_model(self, model: Model, trace: Trace) -> None:
        """Raise a `PartError` if the penalty does not apply to the model.

        Parameters
        ----------
        model, trace : Model, Trace
            As for `Objective.check_model`.
        """

    @abstractmethod
    def cost(self, own: Learned, model: Model, trace: Trace) -> Float[Tensor, ""]:
        """Compute the cost of a batch before the weight.

        Parameters
        ----------
        own : Learned
            State of this penalty, from `build`.
        model, trace : Model, Trace
            The model, and its trace of the batch.

        Returns
        -------
        Tensor
            Mean over the rows.
        """


@dataclass(frozen=True)
class Critic(Penalty, ABC):
    """Base of penalties that a critic estimates, a network that minimises a loss of its own.

    Parameters
    ----------
    weight : float, default=1.0
        Weight of the penalty.
    """

    @abstractmethod
    def opposition(self, own: Learned, model: Model, trace: Trace) -> Float[Tensor, ""]:
        """Compute the loss of the critic, without gradient for the model's parameters.

        Parameters
        ----------
        own, model, trace : Learned, Model, Trace
            As for `cost`.

        Returns
        -------
        Tensor
            Mean over the rows.
        """


def monitored(losses: Mapping[str, Tensor]) -> Tensor:
    """Return the monitored loss: `MONITOR` where there is one, else that of the first player."""
    return losses[MONITOR] if MONITOR in losses else next(iter(losses.values()))


def unused(name: str, names: Container[str]) -> str:
    """Return the name of a term of a loss, with a number where it is taken.

    >>> unused("mmd", {"distortion", "mmd"}), unused("rate", {})
    ('mmd_2', 'rate_2')
    """
    free, number = name, 1
    while free in names or free in RESERVED:
        number += 1
        free = f"{name}_{number}"
    return free


def own_parts(trace: Trace) -> dict[str, Tensor]:
    """Return distortion, rate, if any, and the further costs of parts (`Trace.aux`), means over the batch."""
    terms = {DISTORTION: trace.distortion.mean()}
    if trace.has_density:
        terms[RATE] = trace.rate.mean()
    for name, cost in trace.aux.items():
        terms[unused(name, terms)] = cost.mean()
    return terms


def extra_cost(trace: Trace) -> Float[Tensor, ""]:
    """Return the mean over the batch of the further costs of parts (`Trace.aux`)."""
    return sum((cost.mean() for cost in trace.aux.values()), start=trace.x.new_zeros(()))


def require_density(name: str, trace: Trace) -> None:
    """Raise a `PartError` if the posterior has no density, which ``name`` needs."""
    try:
        _ = trace.rate
    except NoDensityError as error:
        raise PartError(
            f"{name} needs a posterior with a density, and this one has none; use posteriors.Gaussian(), "
            "or objectives.ELBO(beta=0) for a model without rate"
        ) from error


def only_level(name: str, trace: Trace) -> Level:
    """Return the level of a model with one layer of latent variables; raise a `PartError` for others."""
    if len(trace.levels) != 1:
        raise PartError(f"{name} takes models with one layer of codes, got {len(trace.levels)}; use objectives.ELBO()")
    return trace.levels[0]


def require_factors(name: str, trace: Trace, alternative: str) -> Distribution:
    """Return q(z_d|x), over (B, D); raise a `PartError` if the posterior does not factorise, as ``name`` needs."""
    q = only_level(name, trace).q
    if not isinstance(q, Independent):
        raise PartError(
            f"{name} needs a posterior that factorises over components, got {type(q).__name__}; "
            f"use posteriors.Gaussian(), or {alternative} with this one"
        )
    factors: Distribution = q.base_dist
    return factors
