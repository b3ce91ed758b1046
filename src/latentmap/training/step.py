"""Gradient step: the losses of a batch, compiled or recorded where that pays, and one update of every player."""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from latentmap.exceptions import CompileWarning, PartError
from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.noise import Generated, Noise, Recorded, Replayed, drawing_from, generator_for
from latentmap.model.processes import Processes, alone
from latentmap.objectives.base import Objective, monitored
from latentmap.training.capture import Captured, Graphs
from latentmap.training.device import compiled
from latentmap.training.feed import Batch, Feed
from latentmap.training.gradients import GradientGuard, has_finite_weights
from latentmap.training.metrics import Gain, Metrics
from latentmap.training.schedule import learning_rate_multipliers
from latentmap.training.settings import Settings
from latentmap.training.state import Moments, Weights, hidden_state, load_moments, own_generators, read_moments

EXPLODED = 1000.0
"""Multiple of the loss before the first step (plus a nat for each feature) from which on a loss has exploded."""

Losses = tuple[Mapping[str, Tensor], Tensor]
"""Loss of each player, and the metrics of the batch."""


class GradientStep:
    """One update of the parameters of every player; no other code of a fit changes them by gradient.

    A step reads and adds to the same tensors each time, so that it can be recorded, see `Captured`.

    Parameters
    ----------
    model, objective, scaling, settings, gain, processes
        As in `Trainer`.
    feed
        Training rows; the objective checks the model on two of them before the first step.

    Attributes
    ----------
    learned
        Modules with everything that a fit learns: ``model`` and ``objective``.
    players, optimizers, guards
        Parameters, optimizer and gradient guard of each player, by name.
    generator
        Source of all noise of the steps.
    sums
        Sums of the metrics over the steps since they were last set to zero, of batches where all are finite; the last
        entry counts the others.
    first_loss
        Monitored loss of two rows before the first step.
    move
        Recording of the step; None takes it anew, without a reference of this object to itself.
    """

    def __init__(
        self,
        model: GenerativeAutoencoder,
        objective: Objective,
        scaling: nn.Module,
        feed: Feed,
        settings: Settings,
        gain: Gain,
        processes: Processes = alone,
    ) -> None:
        self.model = model
        self.objective = objective
        self.scaling = scaling
        self.settings = settings
        self.processes = processes
        self.device = feed.device
        self.views = feed.views
        with drawing_from(generator_for(settings.seed)):
            self.objective_state = objective.build(replace(model.sizes, rows=len(feed))).to(self.device)
        self.learned = nn.ModuleDict({"model": model, "objective": self.objective_state})
        processes.copy_first([*self.learned.parameters(), *self.learned.buffers()])  # modules of the user's own differ
        players = objective.players(self.objective_state, model)
        self.players = {name: learned for name, of in players.items() if (learned := _not_frozen(of))}
        if not self.players:
            raise PartError("nothing is left to learn: all parameters are frozen; set requires_grad of some to True")
        self.optimizers = {name: self._optimizer(parameters) for name, parameters in self.players.items()}
        self.guards = {name: GradientGuard(self.device) for name in self.players}
        self.generator = generator_for(settings.seed, self.device)
        # a recording includes compiled kernels like any others, so the compiler's own graphs are not needed
        self.compiled = compiled(self._replayed) if settings.compile and not self._has_dropout() else None
        self.draws: Recorded | None = None
        on_gpu = self.device.type == "cuda"  # elsewhere, optimizers read the rate on the host
        self.rate = torch.zeros((), device=self.device) if on_gpu else torch.zeros((), dtype=torch.float64)
        self.progress = torch.zeros((), device=self.device)
        losses = self._check(feed)
        self.first_loss = monitored(losses).item()
        self.metrics = Metrics(losses, players, gain)
        self.sums = torch.zeros(len(self.metrics) + 1, device=self.device)
        captured = settings.capture and on_gpu and processes.world_size == 1
        self.move = Captured(self._move, Graphs(self.generator)) if captured else None

    def __call__(self, batch: Batch, rate: float, progress: float) -> None:
        """Update every player once, at this learning rate and completed fraction of the fit."""
        self.rate.fill_(rate)
        self.progress.fill_(progress)
        (self._move if self.move is None else self.move)(batch)

    @contextlib.contextmanager
    def among(self, processes: Processes) -> Iterator[None]:
        """Let the parts compute over batches whose rows are divided among these processes."""
        modules: list[Any] = [module for module in self.learned.modules() if hasattr(type(module), "processes")]
        before = [module.processes for module in modules]
        try:
            for module in modules:
                module.processes = processes
            yield
        finally:
            for module, one in zip(modules, before, strict=True):
                module.processes = one

    @torch.no_grad()
    def measure(self, batch: Batch, generator: torch.Generator, processes: Processes = alone) -> Tensor:
        """Return the metrics of a batch at the end of the schedule, without a step."""
        with self.among(processes), self.modules_draw_from(generator, processes):
            end = torch.ones((), device=self.device)
            return self.losses(batch.rows, end, batch.condition, processes.noise(generator), batch.places)[1]

    def losses(
        self, rows: Tensor, progress: Tensor, condition: Tensor | None, noise: Noise, places: Tensor | None = None
    ) -> Losses:
        """Return the loss of each player and the metrics of a batch."""
        model = self.model if condition is None else self.model.given(condition)
        batch = None if self.views == 1 else len(rows) // self.views
        single = self.settings.dtype == torch.float32
        with contextlib.nullcontext() if single else torch.autocast(rows.device.type, self.settings.dtype):
            x = self.scaling(rows)
            at = None if places is None else places.float()
            trace = model.trace(x, self.objective.samples, noise, batch, places=at)
            losses = self.objective.losses(self.objective_state, model, trace, progress)
            metrics = self.metrics.of(losses, trace).detach()
            losses = {name: losses[name] for name in self.players}
            if model.training and (copies := model.parts.likelihood.copies(trace.x, noise)) is not None:
                masked = self._masked_losses(model, copies, progress, noise)
                fraction = len(copies) / len(trace.x)
                losses = {n: loss + fraction * masked[n] if n in masked else loss for n, loss in losses.items()}
        return losses, metrics

    def is_sound(self, training: float, criterion: float) -> bool:
        """Return whether an evaluation is finite, its losses have not exploded, and the weights are finite."""
        limit = EXPLODED * (abs(self.first_loss) + self.model.sizes.features)
        limit = limit if math.isfinite(limit) else math.inf
        sound = math.isfinite(criterion) and (training < limit or criterion < limit)
        return sound and has_finite_weights(self.learned)

    def hidden_state(self) -> dict[str, str]:
        """Return the state of modules of a user's own that is no part of their weights, as hashes by name."""
        parts = {"encoder": self.model.encoder, "decoder": self.model.decoder}
        return hidden_state(parts) if self.model.has_own_modules else {}

    def skipped(self) -> Tensor:
        """Return the number of updates skipped because of a gradient that was not finite, over all players."""
        return torch.stack([guard.skipped for guard in self.guards.values()]).sum()

    def weights(self) -> Weights:
        """Return the tensors of model and objective, not copied."""
        return {name: module.state_dict() for name, module in self.learned.items()}

    def load_weights(self, weights: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Copy these tensors into model and objective, or into one of them."""
        for name, values in weights.items():
            self.learned[name].load_state_dict(values)

    def reset_averages(self) -> None:
        """Set the running averages of optimizers and guards to zero, in place."""
        for optimizer, guard in zip(self.optimizers.values(), self.guards.values(), strict=True):
            guard.usual.zero_()
            for state in optimizer.state.values():
                for value in state.values():
                    value.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of optimizers, guards, generator and sums; the weights are apart."""
        named = self._named_players()
        return {
            "optimizers": {name: read_moments(optimizer, named[name]) for name, optimizer in self.optimizers.items()},
            "guards": {name: {"usual": g.usual, "skipped": g.skipped} for name, g in self.guards.items()},
            "generator": self.generator.get_state(),
            "own_generators": {name: g.get_state() for name, g in own_generators(self.learned).items()},
            "sums": self.sums,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy the entries of a state of `state_dict` that are present."""
        for name, parameters in self._named_players().items():
            if "optimizers" in state:
                load_moments(self.optimizers[name], parameters, state["optimizers"][name])
            if "guards" in state:
                self.guards[name].usual.copy_(state["guards"][name]["usual"])
                self.guards[name].skipped.copy_(state["guards"][name]["skipped"])
        if "generator" in state:
            self.generator.set_state(state["generator"])
        for name, own in own_generators(self.learned).items():
            if "own_generators" in state:
                own.set_state(state["own_generators"][name])
        if "sums" in state:
            self.sums.copy_(state["sums"])

    def expected_moments(self, given: Any) -> dict[str, Moments]:
        """Return tensors of the shapes that the optimizers' state has, for the given parameters."""
        return {
            player: {
                name: {"step": self.progress, "exp_avg": p, "exp_avg_sq": p}
                for name, p in parameters.items()
                if isinstance(given, Mapping) and name in given.get(player, ())
            }
            for player, parameters in self._named_players().items()
        }

    def _named_players(self) -> dict[str, dict[str, nn.Parameter]]:
        names = {parameter: name for name, parameter in self.learned.named_parameters()}
        return {player: {names[p]: p for p in parameters} for player, parameters in self.players.items()}

    def _move(self, batch: Batch) -> None:
        """Take the step without synchronizing with the device, and add the metrics to the sums."""
        losses, metrics = self._forward(batch.rows, self.progress, batch.condition, batch.places)
        finite = metrics.isfinite().all()
        self.sums += torch.cat([metrics.where(finite, 0.0), (~finite)[None]])
        last = len(self.players) - 1
        gradients = {
            name: torch.autograd.grad(losses[name], parameters, retain_graph=i < last, allow_unused=True)
            for i, (name, parameters) in enumerate(self.players.items())
        }
        for name in self.players:
            self._update(name, gradients[name])
        self.processes.average_buffers(self._own_statistics)

    def _update(self, player: str, gradients: Sequence[Tensor | None]) -> None:
        optimizer = self.optimizers[player]
        for group in optimizer.param_groups:
            group["lr"] = self.rate * group["lr_multiplier"]
        for parameter, gradient in zip(self.players[player], gradients, strict=True):
            parameter.grad = gradient
        present = [gradient for gradient in gradients if gradient is not None]
        self.processes.average_gradients(present)
        self.guards[player].apply(optimizer, present)
        optimizer.step()

    def _forward(
        self, rows: Tensor, progress: Tensor, condition: Tensor | None, places: Tensor | None = None
    ) -> Losses:
        noise = self.processes.noise(self.generator)
        if self.compiled is not None:
            try:
                draws = self._drawn(rows, progress, condition)
                noise = Replayed(draws)  # for a step that turns out not to compile
                if self.compiled is not None:
                    with self._kept_graph():
                        return self.compiled(rows, progress, condition, draws, places)
            except (torch._dynamo.exc.BackendCompilerFailed, PartError) as error:  # no C++ compiler, for instance
                reason = str(error).splitlines()[0]
                warnings.warn(f"compiling failed, training goes on without ({reason})", CompileWarning, stacklevel=2)
                self.compiled = None
        with self.modules_draw_from(self.generator, self.processes):
            return self.losses(rows, progress, condition, noise, places)

    def _drawn(self, rows: Tensor, progress: Tensor, condition: Tensor | None) -> list[Tensor]:
        """Draw the noise of a compiled step in the order of the plain step, which a trial records once."""
        if self.draws is None:
            buffers = [(buffer, buffer.clone()) for buffer in self.learned.buffers()]
            recorded = Recorded(self.processes.noise(generator_for(0, self.device)))
            before_all = self.processes.collectives
            with torch.no_grad():
                self.losses(rows, progress, condition, recorded)
                for buffer, before in buffers:
                    buffer.copy_(before)
            self.draws = recorded
            if self.processes.collectives > before_all:  # no graph holds what waits for other processes
                self.compiled = None
        return self.draws.again(self.processes.noise(self.generator))

    def _replayed(
        self,
        rows: Tensor,
        progress: Tensor,
        condition: Tensor | None,
        draws: list[Tensor],
        places: Tensor | None = None,
    ) -> Losses:
        return self.losses(rows, progress, condition, Replayed(draws), places)

    def _masked_losses(
        self, model: GenerativeAutoencoder, copies: Tensor, progress: Tensor, noise: Noise
    ) -> Mapping[str, Tensor]:
        """Return the losses of copies of the first rows with masked cells."""
        model = model if model.condition is None else model.given(model.condition[: len(copies)])
        trace = model.trace(copies, self.objective.samples, noise)
        return self.objective.losses_of_copies(self.objective_state, model, trace, progress)

    def modules_draw_from(
        self, generator: torch.Generator, processes: Processes = alone
    ) -> AbstractContextManager[object]:
        """Let parts that draw by themselves do so from a generator: modules of a user's own, or a second VAE.

        The modules of each process draw for its rows alone, a second VAE for those of all.
        """
        if self.model.has_own_modules:
            return drawing_from(processes.own_generator(generator))
        return drawing_from(generator) if self.model.parts.prior.draws else contextlib.nullcontext()

    @functools.cached_property
    def _own_statistics(self) -> list[Tensor]:
        """Running statistics of modules of the user's own, which each process updates by its rows."""
        own = [network for network in (self.model.encoder, self.model.decoder) if self.model.has_own_modules]
        return [buffer for network in own for buffer in network.buffers() if buffer.is_floating_point()]

    def _has_dropout(self) -> bool:
        """Return whether a part draws by itself, which a compiled step could not do from the fit's generator."""
        return self.model.parts.prior.draws or any(
            isinstance(m, nn.modules.dropout._DropoutNd | nn.RReLU) for m in self.model.modules()
        )

    def _kept_graph(self) -> AbstractContextManager[object]:
        """Retain a compiled graph for as many backward passes as there are players."""
        if not self.settings.compile or len(self.players) == 1:
            return contextlib.nullcontext()
        patch: AbstractContextManager[object] = torch._functorch.config.patch(donated_buffer=False)
        return patch

    def _check(self, feed: Feed) -> Mapping[str, Tensor]:
        """Let the objective refuse the model by its trace of two rows, and return the losses of these."""
        self.model.eval()
        generator = generator_for(self.settings.seed, self.device)
        with self.modules_draw_from(generator):
            model = self.model.given(None if feed.condition is None else feed.condition[:2])
            trace = model.trace(self.scaling(feed.first), self.objective.samples, Generated(generator))
            self.objective.check_model(model, trace)
            return self.objective.losses(self.objective_state, model, trace, torch.ones((), device=self.device))

    def _optimizer(self, parameters: Sequence[nn.Parameter]) -> AdamW:
        networks = nn.ModuleList([self.model.encoder, self.model.decoder])
        largest, groups = self.settings.largest_lr_multiplier, dict[float, list[nn.Parameter]]()
        multipliers = {} if largest is None else learning_rate_multipliers(networks, largest)
        for parameter in parameters:
            groups.setdefault(multipliers.get(parameter, 1.0), []).append(parameter)
        betas = (0.5 if self.objective.adversarial else 0.9, 0.98)  # games circle under momentum (Gidel et al. 2019)
        options: dict[str, Any] = {"betas": betas, "weight_decay": 0.0, "fused": True}
        scaled = [{"params": group, "lr_multiplier": multiplier} for multiplier, group in groups.items()]
        return AdamW(scaled, self.settings.learning_rate, capturable=self.device.type == "cuda", **options)


def _not_frozen(parameters: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    """Return the parameters that are learned: a module of the user's own may have frozen ones."""
    return [parameter for parameter in parameters if parameter.requires_grad]
