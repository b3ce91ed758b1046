"""Training loop, the same for every model, objective and number of players."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from latentmap.exceptions import InterruptedWarning, NumericsError
from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.processes import Processes, alone
from latentmap.objectives.base import Objective
from latentmap.training.callbacks import Callback, Progress, notify
from latentmap.training.checkpoint import Checkpoints
from latentmap.training.device import operations, threads_for
from latentmap.training.feed import Batch, Feed, Resident, shared_batch
from latentmap.training.gradients import has_finite_weights
from latentmap.training.held_out import HeldOut
from latentmap.training.metrics import HELD_OUT, RESTORED, Gain, Row
from latentmap.training.schedule import Clock, Timer, learning_rate_factor
from latentmap.training.settings import Settings
from latentmap.training.signals import after_the_step
from latentmap.training.state import Weights, as_of_now, changed, check_state, check_values, copied_state
from latentmap.training.step import GradientStep

__all__ = ["Callback", "Progress", "Settings", "Trainer"]

EVALUATION_STEPS = 20
"""Steps between two evaluations, at least."""
RESTORES = 5
"""Restarts from the best weights after which a fit ends."""
KNOWN_PLACES = "places"
"""Entry of a state with the places of the rows of a map."""
COUNTERS = (
    *("epoch", "step", "batches", "readers", "rate_scale", "restores", "interrupted"),
    *("best_evaluation", "evaluations_since_best"),
)


class Trainer:
    """Fit of a model: epochs, evaluations, recovery from bad steps, and early stopping.

    Parameters
    ----------
    model, objective
        What is trained, and for what.
    scaling
        Module that brings a batch to the model's units.
    data
        Training rows (N, P) on the device, as stored (uint8 stays uint8), or a feed of them.
    held_out
        Held-out rows, in the same units.
    settings
        Hyperparameters.
    graph, held_out_graph
        Neighbours (N, k) of each training or held-out row among the training rows; a step draws positives from them.
    condition, held_out_condition
        Condition (N, C) of each row, for a conditional model.
    held_out_places
        Places (M, D) of held-out rows on a map; those of training rows come with the feed.
    gain
        What the log-density of a row in the model's units gains in the data's own, for the history.
    processes
        Processes of the fit, among which the rows of each batch are divided.
    timer
        Source of the time, which a time budget is measured by.
    checkpoints
        Folder to which the state is written.

    Attributes
    ----------
    history
        One row for each evaluation.
    gradient_step
        The step, with the optimizers and everything else that it updates.
    epoch, step, batches, readers
        Epochs and steps taken, batches taken of the present epoch, and the processes with which it began.
    interrupted
        Whether a `KeyboardInterrupt` or `interrupt` ended the last run.
    places
        Places of training and held-out rows on a map, of a fit that learns them.
    within_step
        Whether a `KeyboardInterrupt` came in the middle of a step, so that the state holds a part of it.
    """

    def __init__(
        self,
        model: GenerativeAutoencoder,
        objective: Objective,
        scaling: nn.Module,
        data: Tensor | Feed,
        held_out: Tensor | None,
        settings: Settings,
        graph: Tensor | None = None,
        held_out_graph: Tensor | None = None,
        condition: Tensor | None = None,
        held_out_condition: Tensor | None = None,
        held_out_places: Tensor | None = None,
        gain: Gain = 0.0,
        processes: Processes = alone,
        timer: Timer = time.perf_counter,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self.model = model
        self.feed = data if isinstance(data, Feed) else Resident(data, graph, condition)
        self.held_out: HeldOut | None = None
        if held_out is not None and len(held_out):
            self.held_out = HeldOut(held_out, held_out_graph, held_out_condition, held_out_places)
        training_places = self.feed.places if isinstance(self.feed, Resident) else None
        places = {"training": training_places, "held_out": held_out_places}
        self.places = {name: part for name, part in places.items() if part is not None}
        self.settings = settings
        self.processes = processes
        self.batch = shared_batch(min(settings.batch_size, len(self.feed)), processes)
        self.steps_per_epoch = len(self.feed) // self.batch
        self.gradient_step = GradientStep(model, objective, scaling, self.feed, settings, gain, processes)
        self.metrics = self.gradient_step.metrics
        self.work = operations(self.gradient_step.learned, self.batch // processes.world_size)
        self.clock = Clock(max(1, settings.max_epochs * self.steps_per_epoch), settings.time_budget, timer)
        self.callbacks = list(settings.callbacks)
        self.history: list[Row] = []
        self.epoch, self.step, self.batches, self.readers = 0, 0, 0, 1
        self.skipped_before = self.gradient_step.skipped()
        """Skipped updates before the present epoch."""
        self.rate_scale = 1.0
        self.best = (float("inf"), self._snapshot())
        self.last: Weights | None = None
        """Weights at the end of a run, where the best ones have taken their place."""
        self.best_evaluation: int | None = None
        self.evaluations_since_best = self.restores = 0
        self.interrupted = self.stopped = self.within_step = False
        self._to_stop = self._to_interrupt = False
        """What this process asks for; ``stopped`` and ``interrupted`` are what all agree on."""
        self.checkpoints = checkpoints
        self.ended = False  # whatever the schedule says, as where a callback stopped the fit of a checkpoint
        self._hidden = self.gradient_step.hidden_state()

    def run(self) -> list[Row]:
        """Train to the end of the schedule or of patience, restore the best weights, and return the history."""
        self.interrupted = self.stopped = self.within_step = self._to_stop = self._to_interrupt = False
        if self.last is not None:
            self.gradient_step.load_weights(self.last)
            self.last = None
        with contextlib.ExitStack() as stack:
            for callback in self.callbacks:
                if isinstance(callback, contextlib.AbstractContextManager):
                    stack.enter_context(callback)
            self._train()
        if self.checkpoints is not None:
            self.checkpoints.end(self)
        self._require_sound_weights()
        if self.best_evaluation is not None:
            self.last = self._snapshot()
            self.gradient_step.load_weights(self.best[1])
        self.model.eval()
        if self.interrupted:
            message = f"the fit was interrupted after {self.step} steps; the best weights so far are kept"
            warnings.warn(message, InterruptedWarning, stacklevel=2)
        return self.history

    def _require_sound_weights(self) -> None:
        """Raise if all evaluations failed; before the first, set weights that are not finite to the initial ones."""
        if self.best_evaluation is not None or not self.restores and has_finite_weights(self.gradient_step.learned):
            return
        self.gradient_step.load_weights(self.best[1])
        if self.restores:
            raise NumericsError(
                f"the fit failed: the loss was not finite, or exploded, at all {len(self.history)} evaluations in "
                f"{self.step} steps; lower learning_rate (now {self.settings.learning_rate:g}), or check networks and "
                "parts of your own"
            )

    def _train(self) -> None:
        """Run epochs until the schedule, patience, `stop` or an interrupt ends them."""
        if self.checkpoints is not None:
            self.checkpoints.begin()
        processes = self.processes
        exact = after_the_step(self.interrupt) if processes.world_size == 1 else contextlib.nullcontext()
        with threads_for(self.work), self.clock, self.gradient_step.among(processes):
            try:
                with exact:
                    self._agree(now=True)
                    while not (self.stopped or self.ended or self._complete(self.epoch)):
                        self._run_epoch()
                        self._agree(now=True)
            except KeyboardInterrupt:
                if processes.world_size > 1:  # the others wait for this one
                    raise
                self.interrupted = True

    def stop(self) -> None:
        """End the run after the current step; a callback, a signal handler or another thread may call it.

        Of several processes, any may; all of them end at the latest after the step that follows.
        """
        self._to_stop = True

    def interrupt(self) -> None:
        """End the run as `stop` does, and say that it was interrupted."""
        self._to_stop = self._to_interrupt = True

    def _agree(self, *, now: bool = False) -> None:
        """Learn whether this process, or another one, is to stop, see `Clock.agree`."""
        self.stopped, self.interrupted = self.clock.agree(self.processes, self._to_stop, self._to_interrupt, now=now)

    def unsaved(self) -> list[str]:
        """Return what a state cannot restore: what modules of the user's own have changed in their attributes."""
        return changed(self._hidden, self.gradient_step.hidden_state())

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the fit depends on.

        Returns
        -------
        dict
            Tensors, numbers, strings and None, in lists and dicts with strings as keys. As in PyTorch, tensors are not
            copied: write or copy them before training continues. The state is that between two steps, in a callback
            or after `run`, which then has the last weights of the run, not the best ones; a `KeyboardInterrupt` in
            the middle of a step leaves part of this step in it. The order of rows follows from seed, epoch and
            batches taken, and the recorded noise of a compiled step from the model, so neither is included.
        """
        step = self.gradient_step
        best, weights = self.best
        return {
            "setup": {
                "rows": len(self.feed),
                "batch_size": self.batch,
                "seed": self.settings.seed,
                "held_out": 0 if self.held_out is None else len(self.held_out),
                "losses": list(self.metrics.parts),
                "likelihood": repr(self.model.parts.likelihood),
            },
            **(self.last or step.weights()),
            **step.state_dict(),
            "skipped_before": self.skipped_before,
            "best": {"criterion": best, **weights},
            "counters": {name: getattr(self, name) for name in COUNTERS},
            "seconds": self.clock.seconds,
            "first_step": self.clock.lead,
            "history": [dict(row) for row in self.history],
            **({KNOWN_PLACES: self.places} if self.places else {}),
            "metrics": {"gained": dict(self.metrics.gained), "unnamed": self.metrics.unnamed},
        }

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Copy a state into this trainer, which then continues the fit where the state was taken.

        With the same data and settings as before, `run` gives bit for bit the weights of a fit without interruption.
        A longer schedule (``max_epochs``), or another learning rate, applies from here on.

        Parameters
        ----------
        state
            Return value of `state_dict`, of a trainer of the same model, objective, rows, batch size and seed.
        strict
            Whether the state must be complete. Without, a part of it will do: ``objective`` and ``optimizers`` are what
            `partial_fit` passes from one piece of data to the next.

        Raises
        ------
        ModelError
            If the state does not fit; it says what differs.
        RuntimeError
            If this trainer has taken steps, which may have been recorded on the present tensors.
        """
        if self.step:
            raise RuntimeError(f"a state is loaded before the first step, this trainer has taken {self.step}")
        state, step = as_of_now(state), self.gradient_step
        moments = state.get("optimizers") if isinstance(state, Mapping) else None
        expected = self.state_dict() | {"optimizers": step.expected_moments(moments)}
        check_state(expected if strict else {name: expected[name] for name in expected if name in state}, state)
        check_values(state, self.steps_per_epoch, step.generator)
        step.load_weights({name: state[name] for name in step.learned if name in state})
        step.load_state_dict(state)
        for name, value in state.get("counters", {}).items():
            setattr(self, name, value)
        if "skipped_before" in state:
            self.skipped_before.copy_(state["skipped_before"])
        if "best" in state:
            best = {name: state["best"][name] for name in step.learned}
            self.best = (state["best"]["criterion"], copied_state(best, self.feed.device))
        for name, places in self.places.items() if KNOWN_PLACES in state else ():
            places.copy_(state[KNOWN_PLACES][name])
        if "metrics" in state:
            self.metrics.gained = dict(state["metrics"]["gained"])
            self.metrics.unnamed = state["metrics"]["unnamed"]
        self.clock.elapsed, self.clock.lead = state.get("seconds", 0.0), state.get("first_step", 0.0)
        self.history = [dict(row) for row in state.get("history", ())]

    @property
    def skipped(self) -> int:
        """Number of updates skipped because of a gradient that was not finite, over all players."""
        return int(self.gradient_step.skipped().item())

    @property
    def seconds(self) -> float:
        """Training time, including that before the fit was resumed."""
        return self.clock.seconds

    def _run_epoch(self) -> None:
        self.model.train()
        seed, generator, processes = self.settings.seed, self.gradient_step.generator, self.processes
        self.readers = self.readers if self.batches else processes.world_size
        for batch in self.feed.epoch(seed, self.epoch, self.batch, generator, self.batches, processes, self.readers):
            self.within_step = True
            self._take_step(batch, self.clock.progress(self.step))
            self.step += 1
            self.batches += 1
            self.within_step = False
            if self.checkpoints is not None:
                self.checkpoints.after_step(self)
            self._agree()
            if self.clock.progress(self.step) >= 1.0:
                break
            if self.stopped and self.batches < self.steps_per_epoch:
                return  # the rest of the epoch is for a fit that resumes this one
        self._end_epoch()

    def _take_step(self, batch: Batch, progress: float) -> None:
        self.gradient_step(batch, self._learning_rate(progress), progress)

    def _learning_rate(self, progress: float) -> float:
        rate = self.settings.learning_rate * self.rate_scale
        return rate if self.settings.constant_rate else rate * learning_rate_factor(progress)

    def _end_epoch(self) -> None:
        """Evaluate, unless the last evaluation was too few steps ago.

        Held-out rows are measured before anything changes, so that a fit that is interrupted there resumes there.
        """
        step, taken, skipped = self.gradient_step, self.batches, self.gradient_step.skipped()
        many = self.step // EVALUATION_STEPS > (self.step - taken) // EVALUATION_STEPS
        due = taken and (many or self._complete(self.epoch + 1))
        held_out = self.held_out_losses() if due else None
        sound = taken - int(step.sums[-1])
        training, rate = self.processes.average(step.sums[:-1], sound).tolist(), float(skipped - self.skipped_before)
        self.epoch += 1
        self.batches, self.skipped_before = 0, skipped
        step.sums.zero_()
        if due:
            self._evaluate(training, held_out, rate / taken)

    def _evaluate(self, training: list[float], held_out: list[float] | None, skipped: float) -> None:
        """Add a row to the history, keep the weights if they are the best, and call the callbacks."""
        progress = self.clock.progress(self.step)
        row: Row = {"epoch": self.epoch, "step": self.step, "seconds": self.seconds, **self.settings.marks}
        row |= self.metrics.entries(training) | self.metrics.entries(held_out, HELD_OUT)
        row |= {"rows_per_second": self.step * self.batch / self.seconds, "progress": progress}
        self.history.append(row)
        criterion = training[0] if held_out is None else held_out[0]
        if skipped > 0.5 or not self.gradient_step.is_sound(training[0], criterion):
            row[RESTORED] = 1.0
            self._recover()
        elif criterion < self.best[0] or held_out is None or self.settings.keep_last:
            self.best = (criterion, self._snapshot())
            self.best_evaluation, self.evaluations_since_best = len(self.history) - 1, 0
        else:
            self.evaluations_since_best += 1
        facts = self.progress()
        for callback in self.callbacks:
            notify(callback, dict(row), facts)

    def progress(self) -> Progress:
        """Return the state of the fit that callbacks get."""
        fraction, best = self.clock.progress(self.step), self.best_evaluation
        return Progress(
            *(self.epoch, self.step, self.clock.total_steps, fraction, self.seconds, self._learning_rate(fraction)),
            rows_per_second=self.step * self.batch / self.seconds,
            best=None if best is None else self.history[best],
            model=self.model,
            stop=self.stop,
            state_dict=self.state_dict,
        )

    def held_out_losses(self) -> list[float] | None:
        """Return the mean loss of the held-out rows and its parts."""
        if self.held_out is None:
            return None
        total = self.held_out.total(self.gradient_step, self.feed, self.batch, self.settings.seed)
        values: list[float] = self.processes.average(total, len(self.held_out) / self.processes.world_size).tolist()
        return values

    def _complete(self, epochs: int) -> bool:
        """Return whether the fit is complete after so many epochs."""
        patience = self.settings.patience
        exhausted = patience is not None and self.held_out is not None and self.evaluations_since_best >= patience
        done = epochs >= self.settings.max_epochs or self.clock.progress(self.step) >= 1.0
        return done or exhausted or self.restores > RESTORES

    def _recover(self) -> None:
        """Restore the best weights and lower the learning rate, more with each time."""
        self.gradient_step.load_weights(self.best[1])
        self.gradient_step.reset_averages()
        self.restores += 1
        self.rate_scale *= 0.5**self.restores

    def _snapshot(self) -> Weights:
        snapshot: Weights = copied_state(self.gradient_step.weights())
        return snapshot
