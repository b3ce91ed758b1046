"""A fit: from parameters and rows to what was learned."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from latentmap.data.schema import content_hash
from latentmap.data.sources import Source, require_finite
from latentmap.estimators.anchor import Anchor, Pinned, usual_cost
from latentmap.estimators.conditions import Condition, LabelCondition, condition_class
from latentmap.estimators.history import MARKS
from latentmap.estimators.memory import needs_of, require_memory
from latentmap.estimators.neighbors import (
    PLACES,
    PLACES_KNOWN,
    NeighborSearch,
    with_placement,
    without_placement,
)
from latentmap.estimators.parameters import Parameters
from latentmap.estimators.places import spread
from latentmap.estimators.plan import ModelPlan, RowCounts, TrainingPlan, plan, plan_training, trainer_settings
from latentmap.estimators.resuming import (
    describe_fit,
    describe_training,
    require_alike,
    require_same,
    require_shared,
    resumed_batch,
    resumed_settings,
    settings_of_first,
)
from latentmap.estimators.rows import ADVICE
from latentmap.estimators.scoring import require_inside
from latentmap.estimators.state import FitState, FloatArray, Graphs, as_tensor, require_unchanged
from latentmap.estimators.summary import summarise
from latentmap.estimators.supervision import Targets, read_targets
from latentmap.estimators.training_rows import training_rows
from latentmap.estimators.units import gain_of
from latentmap.exceptions import InterruptedWarning, ModelError, PartError
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.ladder import compose
from latentmap.model.noise import generator_for
from latentmap.model.part import Sizes
from latentmap.model.placement import PlacedEncoder, Placement
from latentmap.model.probe import copied
from latentmap.model.processes import current
from latentmap.model.scaling import Affine
from latentmap.objectives.places import Placed
from latentmap.training.checkpoint import Checkpoint, Checkpoints
from latentmap.training.device import resolve_device
from latentmap.training.feed import Resident
from latentmap.training.finish import standardise
from latentmap.training.loop import KNOWN_PLACES, Trainer
from latentmap.training.progress import ProgressBar
from latentmap.training.schedule import Timer
from latentmap.training.state import copied_state

Result = TypeVar("Result")
PASSED_ON = ("objective", "optimizers")
"""Entries of the state of a trainer from which the next piece continues."""


class Fit:
    """The fit of a model to rows, new or continued.

    Parameters
    ----------
    parameters : Parameters
        Parameters of the estimator; they are only read.
    source : Source
        The rows.
    y : object, default=None
        What each row is conditioned on, or its class or number for a supervised map.
    seed : int
        Seed of the split, the initial weights, the order of rows and the noise.
    state : FitState, default=None
        The fit to continue; None starts a new one.
    piece : bool, default=False
        Whether the rows are one of many pieces, over which a fit goes once at a constant rate.
    spent : float, default=0.0
        Seconds of the time budget that are spent already.
    timer : callable, default=time.perf_counter
        Source of the time, for the time budget.
    checkpoints : Checkpoints, default=None
        Folder to which the state of the trainer is written during the fit.
    saved : Checkpoint, default=None
        State to resume from; None begins with the first step.
    chosen : str, default=None
        The choice of the number of components in words, where it was made, to be kept in checkpoints.
    anchor : Anchor, default=None
        What keeps rows at their places.
    """

    def __init__(
        self,
        parameters: Parameters,
        source: Source,
        y: Any = None,
        *,
        seed: int,
        state: FitState | None = None,
        piece: bool = False,
        spent: float = 0.0,
        timer: Timer = time.perf_counter,
        checkpoints: Checkpoints | None = None,
        saved: Checkpoint | None = None,
        chosen: str | None = None,
        anchor: Anchor | None = None,
        graphs: Graphs | None = None,
    ) -> None:
        self.anchor, self.graphs = anchor, graphs
        self.placement: tuple[Placement, PlacedEncoder] | None = None
        self.earlier = state if state is not None and state.n_iter and anchor is None else None
        self.processes = current()
        self.checkpoints, self.saved, self.chosen = checkpoints, saved, chosen
        self.timer, self.begun = timer, timer() - spent
        self.parameters = parameters
        self.source = source
        self.y = y
        self.seed = seed
        self.piece = piece
        self.device = resolve_device(parameters.device) if state is None else state.device
        self.rows = training_rows(parameters, source, seed, self.device, piece=piece)
        if parameters.condition is not None and not self.rows.kept:
            raise PartError("a conditional model is fitted to rows in memory: leave condition=None, or raise memory=")
        self.state, self.training = self._begin() if state is None else self._continue(state)

    def run(self) -> FitState:
        """Train the model, and return what was learned."""
        self.state = replace(self.state, data_fingerprint=content_hash(self.source, self.source.schema))
        facts = {} if self.piece and self.processes.world_size == 1 else self._describe()
        given = self.state.given(self.y, len(self.source))
        trainer = self._trainer(given)
        if self.processes.rank:
            trainer.callbacks.clear()
        elif self.parameters.verbose:
            trainer.callbacks.append(ProgressBar())
        self._resume(trainer, facts)
        history = trainer.run()
        unfinished = self._unfinished(trainer, facts)
        if budget := self.parameters.time_budget:
            taken = f"{trainer.step} of {trainer.clock.total_steps} steps"
            self.state.choices["time_budget"] = f"{budget:g} s (given): {taken}"
        if not self.piece:  # which need not stand for all rows
            _despite_interrupt(trainer, lambda: standardise(trainer))
        if self.places:
            _despite_interrupt(trainer, lambda: self.search.place(list(trainer.places.values())))
        elif self.placement is not None:
            with_placement(self.state.model, *self.placement)
            self.state.choices["neighbors"] = self.state.choices.get("neighbors", "None") + PLACES_KNOWN
        earlier = self.state.history if self.piece and self.state.history_units == "data" else []
        earlier = [{name: value for name, value in row.items() if name not in MARKS} for row in earlier]
        state = replace(
            self.state,
            history=[*earlier, *history],
            history_units="data",
            n_iter=self.state.n_iter + trainer.epoch,
            fit_seconds=self.state.fit_seconds + trainer.seconds,
            interrupted=trainer.interrupted,
            annealed=self.state.annealed or not (self.piece or trainer.interrupted),
            trainer=unfinished,
        )
        given = None if given is None else given[self.rows.numbers]
        state = _despite_interrupt(trainer, lambda: summarise(state, self.rows.some, given, trainer))
        own = self.rows.held if len(self.rows.held) else self.rows.some
        return replace(state, usual_cost=usual_cost(state, own))

    def _find_places(self, search: NeighborSearch, targets: Targets | None, pinned: Pinned | None) -> tuple[Any, ...]:
        """Return the graphs to keep, the places of training and held-out rows, and their scale.

        Of a fit that is resumed, those of its checkpoint follow.
        """
        assert isinstance(self.training.neighbors, int)
        if pinned is None and self.earlier is not None:
            pinned = search.pinned(self.earlier)
        known = self.saved is not None and KNOWN_PLACES in self.saved.state
        kept, found = search.places(self.training.neighbors, targets, pinned, lambda: self._ends(1 / 2), known=known)
        codes = found.codes.double()
        self.processes.copy_first([codes])
        if found.anew or not self.state.n_iter and (self.anchor is None or self.anchor.estimator is None):
            search.start(codes)
        parts = (codes[torch.from_numpy(numbers)] for numbers in (self.rows.train, self.rows.held_out))
        return kept, *parts, found.scale

    def _trainer(self, given: FloatArray | None) -> Trainer:
        """Return the trainer of this fit, whatever its rows are: the only place that makes one."""
        p, rows, state, planned = self.parameters, self.rows, self.state, self.training
        targets = read_targets(p, self.y, len(self.source)) if rows.kept else None
        self.search = search = NeighborSearch(p, state, rows.source, rows.training_some, rows.train, rows.held_out)
        self.places = planned.placed
        objective = p._objective(state.model.sizes.some_labels)
        begun = self.anchor is not None and self.anchor.estimator is not None
        graphs: dict[str, Tensor] = {}
        training_places = held_out_places = pinned = None
        if not planned.tsne:
            kept, graphs = search.graphs(planned.neighbors, targets)
            self.processes.copy_first(graphs.values())  # other processors round to other neighbours
            objective = search.objective(objective) if graphs else objective
            if planned.neighbors and not begun:
                search.start()
        if self.anchor is not None:
            anchored = self.anchor.objective(objective, state, self.source, rows, piece=self.piece)
            objective = objective if planned.tsne else anchored[0]
            state.choices["anchor"], pinned = anchored[1:]
        if planned.tsne:
            kept, training_places, held_out_places, scale = self._find_places(search, targets, pinned)
            objective = Placed(objective, scale=scale, spread=spread(training_places) or 1.0)
        settings, described = trainer_settings(
            p, planned, state.model, objective, state.seed + state.n_iter, self._time_left()
        )
        if self.saved is not None:
            settings = resumed_settings(settings, self.saved.facts)
            settings = replace(settings, batch_size=resumed_batch(self.saved, settings.batch_size))
        if begun:  # held-out rows may be among those that the earlier model was trained on
            settings = replace(settings, patience=None, keep_last=True)
        settings = settings_of_first(settings, self.processes)
        self.state = replace(state, graphs=kept)
        self.state.choices.update(planned.choices | described | ({"memory": rows.memory} if rows.memory else {}))
        condition, held_out_condition = (
            None if given is None else as_tensor(given[some]).to(self.device) for some in (rows.train, rows.held_out)
        )
        sparse = state.model.takes_sparse and self.device.type == "cpu" and not settings.compile
        trainer = Trainer(
            state.model,
            objective,
            rows.batch_scaling(state.scaling),
            rows.feed(
                *(state.scaling, self.device, graphs.get("graph"), planned.positives, condition),
                places=training_places,
                sparse=sparse,
            ),
            rows.placed_held_out(state.scaling, self.device),
            settings,
            held_out_graph=graphs.get("held_out_graph"),
            held_out_condition=held_out_condition,
            held_out_places=held_out_places,
            gain=gain_of(state.model, state.scaling),
            processes=self.processes,
            timer=self.timer,
            checkpoints=self.checkpoints,
        )
        if self.processes.world_size > 1:
            share = f"{trainer.batch // self.processes.world_size} on each of {self.processes.world_size} processes"
            self.state.choices["processes"] = f"batches of {trainer.batch} rows, {share}"
        if self.piece and state.trainer is not None:
            passed_on = {name: value for name, value in state.trainer.state.items() if name in PASSED_ON}
            try:
                trainer.load_state_dict(passed_on, strict=False)
            except ModelError as error:
                raise PartError(
                    f"partial_fit continues earlier pieces, and objective or prior are others ({error}); call fit"
                ) from error
        return trainer

    def _describe(self) -> dict[str, Any]:
        """Return what tells this fit from others, before processes exchange anything that differs where that does."""
        facts = describe_fit(self.parameters, self.state, len(self.source), self.y, self.rows.block)
        facts |= {} if self.chosen is None else {"chosen": self.chosen}
        facts |= {} if self.anchor is None else {"anchor": self.anchor.described}
        require_alike(facts, self.processes)
        return facts

    def _resume(self, trainer: Trainer, facts: dict[str, Any]) -> None:
        """Complete what tells this fit from others; load the checkpoint that it resumes, if it is of this fit."""
        graph = trainer.feed.graph if isinstance(trainer.feed, Resident) else None
        facts |= describe_training(trainer.settings, graph)
        if self.saved is not None:
            require_same(self.saved.facts, facts)
            require_shared(trainer.settings.batch_size, self.processes)
            trainer.load_state_dict(self.saved.state)
            trainer.ended = bool(self.saved.facts.get("ended"))
        if self.checkpoints is not None:
            self.checkpoints.facts = facts

    def _unfinished(self, trainer: Trainer, facts: dict[str, Any]) -> Checkpoint | None:
        """Return what the next piece continues from beside the model, or the state of a fit that was interrupted."""
        if self.piece:
            state = trainer.state_dict()
            return Checkpoint({}, {name: state[name] for name in PASSED_ON})
        if trainer.interrupted:
            facts |= {"within_step": trainer.within_step, "unsaved": trainer.unsaved()}
            return Checkpoint(facts, copied_state(trainer.state_dict()))
        earlier = self.state.trainer
        return None if earlier is None or earlier.facts else earlier

    def _time_left(self) -> float | None:
        """Return the seconds of the budget that are left for training: a quarter of them, if the search took more."""
        budget = self.parameters.time_budget
        if budget is None:
            return None
        return max(budget / 4, budget - (self.timer() - self.begun))

    def _ends(self, share: float = 1.0) -> bool:
        """Return whether a share of the time budget is spent, in any of the processes."""
        budget = self.parameters.time_budget
        return budget is not None and self.processes.maximum([self.timer() - self.begun])[0] > share * budget

    def _begin(self) -> tuple[FitState, TrainingPlan]:
        """Plan the fit, and make the model with its initial weights."""
        p, source = self.parameters, self.source
        condition = condition_class(p.condition).learn(self.y, len(source)) if p.condition else None
        some_labels = isinstance(condition, LabelCondition) and condition.some
        width, below = condition.width if condition else 0, tuple(p.ladder or ())
        sizes = Sizes(
            source.schema.event_shape, int(p.n_components), condition=width, some_labels=some_labels, below=below
        )
        objective = p._objective(some_labels)
        model, training = plan(p, source, self._counts, sizes, objective, self.device.type, piece=self.piece)
        return self._initial(model, sizes, condition, training, objective.samples), training

    def _initial(
        self, planned: ModelPlan, sizes: Sizes, condition: Condition | None, training: TrainingPlan, samples: int
    ) -> FitState:
        scaling = planned.scaling
        affine = Affine(scaling.shift, scaling.scale, scaling.stretched, scaling.whole, scaling.unit).to(self.device)
        planned.likelihood.check_data(self.source.schema, *_scaled_range(self.source, affine))
        parts = self.parameters._parts(planned.encoder, planned.decoder, planned.likelihood)
        self._require_memory(parts, sizes, training, samples)
        encoder, decoder = copied(parts.encoder, "encoder"), copied(parts.decoder, "decoder")  # the user's stay as is
        model = compose(replace(parts, encoder=encoder, decoder=decoder), sizes, generator_for(self.seed))
        model = model.to(self.device)
        scaled = affine(as_tensor(self.rows.some).to(self.device))
        parts.likelihood.start(model.likelihood_state, scaled)
        parts.prior.start(model.prior_state, parts.likelihood.complete(model.likelihood_state, scaled))
        state = FitState(model, affine, self.source.schema, self.seed, table=self.source.table, condition=condition)
        state = replace(state, graphs=self.graphs)
        if self.source.remark and self.source.in_memory and self.source.table is None:
            state.choices["data"] = self.source.remark
        state.choices.update(planned.choices | {n: f"{planned.choices[n]}; {note}" for n, note in model.notes.items()})
        if model.has_own_modules:
            state.map(self.rows.some[:4], _checked)  # in the precision of the rows
        return state

    def _continue(self, state: FitState) -> tuple[FitState, TrainingPlan]:
        """Check that the model takes these rows, and plan how they are trained on."""
        require_unchanged(self.parameters, state)
        require_finite(self.source, missing=state.takes_missing, advice=ADVICE)
        if self.rows.dense is not None:
            require_inside(state, self.rows.dense, state.given(self.y, len(self.source)))
        objective = self.parameters._objective(state.model.sizes.some_labels)
        training = plan_training(
            self.parameters,
            self._counts,
            objective,
            self.device.type,
            piece=self.piece,
            later=state.annealed or self.anchor is not None,
        )
        self._require_memory(state.model.parts, state.model.sizes, training, objective.samples)
        own = copy.deepcopy(state.model)  # a fit that fails leaves the earlier one as it was
        placement = without_placement(own)
        kept = self.anchor is not None and (self.piece or self.anchor.estimator is not None)
        self.placement = placement if kept else None  # of the map that is kept
        schema = state.data_schema if self.anchor is None or state.n_iter else self.source.schema
        made = {name: text.replace(PLACES, "").replace(PLACES_KNOWN, "") for name, text in state.choices.items()}
        return replace(state, model=own, choices=made, data_schema=schema), training

    def _require_memory(self, parts: Parts, sizes: Sizes, training: TrainingPlan, samples: int) -> None:
        """Raise if the fit of a model needs more memory than is free, before memory is taken for it."""
        batch, precise = training.batch, self.rows.some.dtype == np.float64
        require_memory(needs_of(parts, sizes, batch, samples, self.rows.copied_bytes, precise), self.device)

    @property
    def _counts(self) -> RowCounts:
        return RowCounts(len(self.source), len(self.rows.train), self.rows.kept, self.source.name)


def _despite_interrupt(trainer: Trainer, work: Callable[[], Result]) -> Result:
    """Return what work after the last step returns; a first Ctrl-C begins it again, so that the model is not lost.

    Of several processes, one that is interrupted ends, and with it the others, which it may have left at any exchange.
    """
    try:
        return work()
    except KeyboardInterrupt:
        if trainer.interrupted or trainer.processes.world_size > 1:
            raise
        message = "the fit was interrupted after its last step, and is kept; a second interrupt gives it up"
        warnings.warn(message, InterruptedWarning, stacklevel=2)
        return work()


def _checked(model: GenerativeAutoencoder, scaling: Affine, x: Tensor) -> Tensor:
    """Check the user's modules on rows, and return these."""
    model.check_modules(scaling(x))
    return x


def _scaled_range(source: Source, scaling: Affine) -> tuple[float, float]:
    """Return the range of the values in the model's units; exact where one scale serves all features."""
    low, high = source.schema.lowest, source.schema.highest
    assert low is not None and high is not None
    ends = torch.tensor([[low], [high]], dtype=torch.float64, device=scaling.scale.device)
    ends = scaling(ends.expand(2, source.schema.n_features))
    return float(ends[0].min()), float(ends[1].max())
