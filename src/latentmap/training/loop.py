"""The training loop, the same for every model, objective and number of players."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from latentmap.exceptions import CompileWarning, InterruptedWarning, NumericsWarning, PartError
from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.networks import Network
from latentmap.model.noise import Generated, Noise, Recorded, Replayed, drawing_from, generator_for
from latentmap.objectives.base import Objective
from latentmap.training.capture import Captured, Graphs
from latentmap.training.device import autocast, compiled, operations, threads_for
from latentmap.training.feed import Batch, Feed, Resident
from latentmap.training.guard import GradientGuard
from latentmap.training.metrics import HELD_OUT, Gain, Metrics, Row
from latentmap.training.schedule import Clock, learning_rate_factor, rate_shares

Callback = Callable[[Row], object]

EVALUATION_ROWS = 4096
EVALUATION_VALUES = 2**26
"""Numbers that the decoder gives in one pass over held-out rows, at the most: rows x features x heads x draws."""
EVALUATION_STEPS = 20
"""Steps between two evaluations, at the least."""
RESTORES = 5


@dataclass(frozen=True)
class Settings:
    """How to train: every choice made, nothing left to find out."""

    max_epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    patience: int | None = None
    """Evaluations without improvement after which to stop; None trains to the end of the schedule."""
    time_budget: float | None = None
    dtype: torch.dtype = torch.float32
    compile: bool = False
    capture: bool = False
    """Record the step as a CUDA graph and replay it, where the device is a GPU."""
    constant_rate: bool = False
    """Keep the learning rate: for data that arrive in pieces, whose end nobody knows."""
    largest_share: float | None = None
    """How many times the learning rate a layer's parameters have at the most, see `rate_shares`; None: all have one."""
    callbacks: tuple[Callback, ...] = field(default=())


class Trainer:
    """Fits a model's parameters; everything that a fit depends on is in `state_dict`.

    ``data``, or a feed of it, and ``held_out`` are rows (N, P) in data units on the device, as they are stored (uint8
    stays uint8); each batch is brought to the model's units by ``scaling``. ``graph`` (N, k) names the neighbours of
    each row among the data, and ``held_out_graph`` those of the held-out rows; a step draws one for each row of its
    batch. ``condition`` and ``held_out_condition`` (N, C) are what the rows are conditioned on, for a model that takes
    it. ``gain`` is what the log-density of a row in the model's units gains in the data's own, for the history.
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
        gain: Gain = 0.0,
    ) -> None:
        self.model = model
        self.objective = objective
        self.feed = data if isinstance(data, Feed) else Resident(data, graph, condition)
        self.device = self.feed.device
        with drawing_from(generator_for(settings.seed)):
            self.objective_state = objective.build(replace(model.sizes, rows=len(self.feed))).to(self.device)
        self.learned = nn.ModuleDict({"model": model, "objective": self.objective_state})
        self.scaling = scaling
        self.held_out = held_out if held_out is not None and len(held_out) else None
        self.settings = settings
        self.held_out_graph = held_out_graph
        self.held_out_condition = held_out_condition
        self.players = objective.players(self.objective_state, model)
        self.optimizers = {name: self._optimizer(parameters) for name, parameters in self.players.items()}
        self.guards = {name: GradientGuard(self.device) for name in self.players}
        self.batch = min(settings.batch_size, len(self.feed))
        self.steps_per_epoch = len(self.feed) // self.batch
        self.generator = generator_for(settings.seed, self.device)
        # compiled kernels are recorded like any others, so the compiler's own graphs, one a pass, are not needed
        self.compiled = compiled(self._replayed) if settings.compile and not self._draws_by_itself() else None
        self.draws: Recorded | None = None
        # what a step reads and adds to lies in the same tensors all along, so that it can be recorded; see `Captured`
        on_gpu = self.device.type == "cuda"  # elsewhere, optimizers read the rate on the host
        self.rate = torch.zeros((), device=self.device) if on_gpu else torch.zeros((), dtype=torch.float64)
        self.progress = torch.zeros((), device=self.device)
        self.metrics = Metrics(self._check(), self.players, gain)
        self.sums = torch.zeros(len(self.metrics), device=self.device)
        self.move = Captured(self._move, Graphs(self.generator)) if settings.capture and on_gpu else self._move
        self.history: list[Row] = []
        self.epoch = 0
        self.step = 0
        self.rate_scale = 1.0
        self.best: tuple[float, dict[str, Tensor]] = (float("inf"), self._snapshot())
        self.evaluations_since_best = 0
        self.restores = 0
        self.interrupted = False
        self.seconds = 0.0
        self.callbacks = list(settings.callbacks)

    def run(self) -> list[Row]:
        """Train to the end of the schedule or of patience, then restore the best weights; returns the history."""
        clock = Clock(max(1, self.settings.max_epochs * self.steps_per_epoch), self.settings.time_budget)
        work = operations(self.learned, self.batch)
        with threads_for(work):
            try:
                while not self._finished(clock):
                    self._run_epoch(clock)
            except KeyboardInterrupt:
                self.interrupted = True
        if self.best[0] < float("inf"):
            self._restore()
        self.model.eval()
        self.seconds = clock.seconds
        if self.interrupted:
            message = f"the fit was interrupted after {self.step} steps; the best weights so far are kept"
            warnings.warn(message, InterruptedWarning, stacklevel=2)
        return self.history

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the fit depends on."""
        return {
            "model": self.model.state_dict(),
            "objective": self.objective_state.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "guards": {name: {"usual": g.usual, "skipped": g.skipped} for name, g in self.guards.items()},
            "best": self.best,
            "counters": {
                name: getattr(self, name)
                for name in ("epoch", "step", "rate_scale", "evaluations_since_best", "restores")
            },
            "history": self.history,
            "generator": self.generator.get_state(),
        }

    def carry(self) -> dict[str, Any]:
        """Give what a fit in pieces hands on beside the model: running means, and what the objective has learned."""
        optimizers = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        return {"optimizers": optimizers, "objective": self.objective_state.state_dict()}

    def go_on(self, carried: Mapping[str, dict[str, Any]]) -> None:
        """Take what the fit of an earlier piece handed on, if anything."""
        for name, state in carried.get("optimizers", {}).items():
            self.optimizers[name].load_state_dict(state)
        if "objective" in carried:
            self.objective_state.load_state_dict(carried["objective"])

    @property
    def skipped(self) -> int:
        """Steps that were skipped because their gradient was not finite, over all players."""
        return sum(int(guard.skipped.item()) for guard in self.guards.values())

    def _run_epoch(self, clock: Clock) -> None:
        self.sums.zero_()
        skipped, since = self._skips(), 0
        self.model.train()
        for batch in self.feed.epoch(self.settings.seed, self.epoch, self.batch, self.generator):
            progress = clock.progress(self.step)
            if progress >= 1.0:
                break
            self._take_step(batch, progress)
            self.step += 1
            since += 1
        self.epoch += 1
        if since and (self.step // EVALUATION_STEPS > (self.step - since) // EVALUATION_STEPS or self._finished(clock)):
            self._evaluate(clock, (self.sums / since).tolist(), float(self._skips() - skipped) / since)

    def _take_step(self, batch: Batch, progress: float) -> None:
        """Move every player once; the only place where parameters change."""
        rate = self.settings.learning_rate * self.rate_scale
        self.rate.fill_(rate * (1.0 if self.settings.constant_rate else learning_rate_factor(progress)))
        self.progress.fill_(progress)
        self.move(batch)

    def _move(self, batch: Batch) -> None:
        """Take the step, without asking the device for anything; the loss and its parts go to the sums."""
        losses, metrics = self._forward(batch.rows, self.progress, batch.condition)
        self.sums += metrics
        last = len(self.players) - 1
        gradients = {
            name: torch.autograd.grad(losses[name], parameters, retain_graph=i < last, allow_unused=True)
            for i, (name, parameters) in enumerate(self.players.items())
        }
        for name, parameters in self.players.items():
            optimizer = self.optimizers[name]
            for group in optimizer.param_groups:
                group["lr"] = self.rate * group["share"]
            for parameter, gradient in zip(parameters, gradients[name], strict=True):
                parameter.grad = gradient
            self.guards[name].apply(optimizer, [g for g in gradients[name] if g is not None])
            optimizer.step()

    def _skips(self) -> Tensor:
        return torch.stack([guard.skipped for guard in self.guards.values()]).sum()

    def _forward(self, rows: Tensor, progress: Tensor, condition: Tensor | None) -> tuple[Mapping[str, Tensor], Tensor]:
        noise: Noise = Generated(self.generator)
        if self.compiled is not None:
            try:
                draws = self._drawn(rows, progress, condition)
                noise = Replayed(draws)  # for a step that turns out not to compile
                with self._kept_graph():
                    return self.compiled(rows, progress, condition, draws)
            except (torch._dynamo.exc.BackendCompilerFailed, PartError) as error:  # no C++ compiler, for instance
                reason = str(error).splitlines()[0]
                warnings.warn(f"compiling failed, training goes on without ({reason})", CompileWarning, stacklevel=2)
                self.compiled = None
        with self._own_draws(self.generator):
            return self._losses(rows, progress, condition, noise)

    def _drawn(self, rows: Tensor, progress: Tensor, condition: Tensor | None) -> list[Tensor]:
        """Draw what a compiled step will ask for, in the order of the plain step, which is tried once to know it."""
        if self.draws is None:
            buffers = [(buffer, buffer.clone()) for buffer in self.learned.buffers()]
            recorded = Recorded(generator_for(0, self.device))
            with torch.no_grad():
                self._losses(rows, progress, condition, recorded)
                for buffer, before in buffers:
                    buffer.copy_(before)
            self.draws = recorded
        return self.draws.again(self.generator)

    def _replayed(
        self, rows: Tensor, progress: Tensor, condition: Tensor | None, draws: list[Tensor]
    ) -> tuple[Mapping[str, Tensor], Tensor]:
        return self._losses(rows, progress, condition, Replayed(draws))

    def _own_draws(self, generator: torch.Generator) -> AbstractContextManager[object]:
        """Let modules of a user's own draw from a generator, for dropout; our networks draw nothing."""
        own = [self.model.parts.encoder, self.model.parts.decoder]
        return contextlib.nullcontext() if all(isinstance(n, Network) for n in own) else drawing_from(generator)

    def _draws_by_itself(self) -> bool:
        """Whether a network drops units at random, which a compiled step could not draw from the fit's generator."""
        return any(isinstance(m, nn.modules.dropout._DropoutNd | nn.RReLU) for m in self.model.modules())

    def _kept_graph(self) -> AbstractContextManager[object]:
        """Keep a compiled graph whole for as many backward passes as there are players."""
        if not self.settings.compile or len(self.players) == 1:
            return contextlib.nullcontext()
        patch: AbstractContextManager[object] = torch._functorch.config.patch(donated_buffer=False)
        return patch

    def _losses(
        self, rows: Tensor, progress: Tensor, condition: Tensor | None, noise: Noise
    ) -> tuple[Mapping[str, Tensor], Tensor]:
        model = self.model if condition is None else self.model.given(condition)
        batch = None if self.feed.lots == 1 else len(rows) // self.feed.lots
        with autocast(rows.device, self.settings.dtype):
            x = self.scaling(rows)
            trace = model.trace(x, self.objective.samples, noise, batch)
            losses = self.objective.losses(self.objective_state, model, trace, progress)
            metrics = self.metrics.of(losses, trace).detach()
            losses = {name: losses[name] for name in self.players}
            if model.training and (copies := model.parts.likelihood.copies(x[:batch], noise)) is not None:
                losses = self._beside(losses, model, copies, len(copies) / len(x[:batch]), progress, noise)
        return losses, metrics

    def _beside(
        self,
        losses: Mapping[str, Tensor],
        model: GenerativeAutoencoder,
        copies: Tensor,
        share: float,
        progress: Tensor,
        noise: Noise,
    ) -> Mapping[str, Tensor]:
        """Add the losses of copies of some rows with hidden cells, in the share that these are of the batch."""
        model = model if model.condition is None else model.given(model.condition[: len(copies)])
        trace = model.trace(copies, self.objective.samples, noise)
        beside = self.objective.losses_of_copies(self.objective_state, model, trace, progress)
        return {name: loss + share * beside[name] if name in beside else loss for name, loss in losses.items()}

    def _evaluate(self, clock: Clock, training: Sequence[float], skipped: float) -> None:
        """Measure on held-out rows, keep the best weights, tell the callbacks."""
        held_out = self._held_out_losses()
        row: Row = {"epoch": self.epoch, "step": self.step, "seconds": clock.seconds}
        row |= self.metrics.entries(training) | self.metrics.entries(held_out, HELD_OUT)
        row["rows_per_second"] = self.step * self.batch / clock.seconds
        row["progress"] = clock.progress(self.step)
        self.history.append(row)
        criterion = training[0] if held_out is None else held_out[0]
        if not criterion < float("inf") or skipped > 0.5:
            self._recover()
        elif criterion < self.best[0] or held_out is None:
            self.best = (criterion, self._snapshot())
            self.evaluations_since_best = 0
        else:
            self.evaluations_since_best += 1
        for callback in self.callbacks:
            callback(row)

    @torch.no_grad()
    def _held_out_losses(self) -> list[float] | None:
        """Loss and its parts of the held-out rows at the end of the schedule, always with the same noise."""
        if self.held_out is None:
            return None
        self.model.eval()
        total = torch.zeros_like(self.sums)
        generator = generator_for(self.settings.seed, self.device)
        with self._own_draws(generator):
            end = torch.ones((), device=self.device)
            everything = torch.arange(len(self.held_out), device=self.device)
            a_row = self.model.outputs * self.objective.samples
            rows = min(EVALUATION_ROWS, max(1, EVALUATION_VALUES // a_row))
            # a contrast is measured against the batch, so held-out batches must be as large as those of training
            for index in everything.split(rows if self.held_out_graph is None else self.batch):
                condition = None if self.held_out_condition is None else self.held_out_condition[index]
                batch = Batch(self.held_out[index], condition)
                if self.held_out_graph is not None:
                    batch = self.feed.beside(self.held_out_graph[index], batch, generator)
                total += self._losses(batch.rows, end, batch.condition, Generated(generator))[1] * len(index)
        values: list[float] = (total / len(self.held_out)).tolist()
        return values

    def _finished(self, clock: Clock) -> bool:
        patience = self.settings.patience
        exhausted = patience is not None and self.held_out is not None and self.evaluations_since_best >= patience
        done = self.epoch >= self.settings.max_epochs or clock.progress(self.step) >= 1.0
        return done or exhausted or self.restores > RESTORES

    def _recover(self) -> None:
        """Go back to the last good weights with half the learning rate."""
        self._restore()
        self.rate_scale *= 0.5
        self.restores += 1
        for optimizer, guard in zip(self.optimizers.values(), self.guards.values(), strict=True):
            guard.usual.zero_()
            for state in optimizer.state.values():
                for value in state.values():
                    value.zero_()
        message = (
            f"training was not finite around step {self.step}: the last good weights were restored and the learning "
            f"rate halved; lower learning_rate (now {self.settings.learning_rate:g}) or check the scaling of the data"
        )
        warnings.warn(message, NumericsWarning, stacklevel=2)

    def _snapshot(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.learned.state_dict().items()}

    def _restore(self) -> None:
        self.learned.load_state_dict(self.best[1])

    def _check(self) -> Mapping[str, Tensor]:
        """Let the objective refuse the model by what it gives for two rows, before the first step; gives its losses."""
        self.model.eval()
        generator = generator_for(self.settings.seed, self.device)
        with self._own_draws(generator):
            model = self.model.given(None if self.feed.condition is None else self.feed.condition[:2])
            trace = model.trace(self.scaling(self.feed.first), self.objective.samples, Generated(generator))
            self.objective.check_model(model, trace)
            return self.objective.losses(self.objective_state, model, trace, torch.ones((), device=self.device))

    def _optimizer(self, parameters: Sequence[nn.Parameter]) -> AdamW:
        networks = nn.ModuleList([self.model.encoder, self.model.decoder])
        largest, groups = self.settings.largest_share, dict[float, list[nn.Parameter]]()
        shares = {} if largest is None else rate_shares(networks, largest)
        for parameter in parameters:
            groups.setdefault(shares.get(parameter, 1.0), []).append(parameter)
        betas = (0.5 if self.objective.adversarial else 0.9, 0.98)  # games circle under momentum (Gidel et al. 2019)
        given: dict[str, Any] = {"betas": betas, "weight_decay": 0.0, "fused": True}
        shared = [{"params": group, "share": share} for share, group in groups.items()]
        return AdamW(shared, self.settings.learning_rate, capturable=self.device.type == "cuda", **given)
