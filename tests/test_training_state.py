"""A fit that is stopped, saved and loaded into a new trainer continues bit for bit; a state of another is refused."""

import io

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from latentmap.data.formats.arrays import ArraySource
from latentmap.data.streaming import Stream
from latentmap.exceptions import ModelError
from latentmap.model import likelihoods, networks, posteriors, priors
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.noise import drawing_from, generator_for
from latentmap.model.part import Sizes
from latentmap.model.processes import Processes, alone
from latentmap.objectives import ELBO, FactorCritic, NeighborEmbedding, PriorCritic
from latentmap.training.feed import Streamed
from latentmap.training.loop import Settings, Trainer

MLP = networks.MLP((8,))
DATA = torch.rand(60, 6, generator=generator_for(0))
HOLES = DATA.where(DATA > 0.1, torch.nan)
HELD_OUT = torch.rand(30, 6, generator=generator_for(1))
GRAPH = torch.stack([torch.arange(1, 61).remainder(60), torch.arange(2, 62).remainder(60), torch.full((60,), -1)], 1)
GAME = ELBO(penalties=(PriorCritic(network=MLP), FactorCritic(network=MLP)))


class Dropout(nn.Module):
    """A network of a user's own, which draws in every step."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.3), nn.Tanh())

    def forward(self, x):
        return self.layers(x)


def stream():
    """Rows in several blocks, which are no multiples of a batch."""
    source = Stream(ArraySource(DATA.numpy()), held_out=0.0, seed=0, memory=17 * 6 * 4 * 12)
    assert source.block == 17
    return Streamed(source, lambda block: block, torch.device("cpu"))


FITS = {
    "elbo": {},
    "without held-out rows": {"held_out": None},
    "two critics": {"objective": GAME},
    "neighbours": {"objective": NeighborEmbedding(), "graph": GRAPH, "held_out_graph": GRAPH[:30]},
    "a stream": {"data": stream},
    "layers of several rates": {"largest_lr_multiplier": 3.0},
    "a codebook": {"posterior": posteriors.Quantized(8), "objective": ELBO(beta=0.0)},
    "a schedule of the objective": {"objective": ELBO(beta=4.0, warmup=0.5, cycles=4)},
    "normalised weights": {"network": networks.SpectralNorm(MLP)},
    "dropout": {"network": Dropout},
    "masked cells": {"likelihood": likelihoods.Incomplete(likelihoods.Gaussian()), "data": HOLES},
    "gain by row": {"gain": lambda x: x[:, 0]},
    "half precision": {"dtype": torch.bfloat16},
}  # fmt: skip


def trainer_of(
    objective=ELBO(),
    posterior=posteriors.Gaussian(),
    likelihood=likelihoods.Gaussian(),
    network=MLP,
    data=DATA,
    held_out=HELD_OUT,
    graph=None,
    held_out_graph=None,
    gain=0.0,
    processes=alone,
    **settings,
):
    """A fit that has not begun; its critics and noise follow from the seed, its weights from another."""
    with drawing_from(generator_for(0)):
        encoder = network() if network is Dropout else network
        model = GenerativeAutoencoder(Parts(encoder, MLP, posterior, priors.Normal(), likelihood), Sizes((6,), 2))
    settings = Settings(**{"max_epochs": 24, "batch_size": 12, "learning_rate": 1e-2, "seed": 0} | settings)
    data = data() if data is stream else data
    graphs = {"graph": graph, "held_out_graph": held_out_graph}
    return Trainer(model, objective, nn.Identity(), data, held_out, settings, **graphs, gain=gain, processes=processes)


def outcome(trainer):
    """Everything that a fit leaves, but for the seconds."""
    timed = ("seconds", "rows_per_second")
    history = [{name: value for name, value in row.items() if name not in timed} for row in trainer.history]
    state = {name: value for name, value in trainer.state_dict().items() if name not in ("seconds", "history")}
    return trainer.gradient_step.weights(), history, state


def same(one, other):
    """Compare nested values, tensors by their bits."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    return one == other or (one != one and other != other)  # the loss of spoiled rows is NaN


def through_file(state):
    """Write a state and read it again without pickled code."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def at_step(step):
    """Replace a trainer's step by one that stops it, as a signal handler would."""

    def stopping(trainer):
        take = trainer._take_step

        def taken(batch, progress):
            take(batch, progress)
            if trainer.step + 1 == step:
                trainer.stop()

        trainer._take_step = taken

    return stopping


def at_epoch(epoch):
    """Stop a trainer from a callback."""
    return lambda trainer: trainer.callbacks.append(
        lambda row, progress: progress.stop() if row["epoch"] >= epoch else None
    )


def resumed(stops, **given):
    """A fit that is stopped once or several times, and continued by another trainer each time."""
    state = None
    for stop in (*stops, lambda trainer: None):
        trainer = trainer_of(**given)
        if state is not None:
            trainer.load_state_dict(state)
        stop(trainer)
        trainer.run()
        state = through_file(trainer.state_dict())
    return trainer


STOPS = {"after epochs": (at_epoch(4),), "within epochs": (at_step(7), at_epoch(8), at_step(69))}


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("stops", STOPS.values(), ids=STOPS)
def test_a_resumed_fit_is_the_uninterrupted_one(fit, stops):
    whole = trainer_of(**FITS[fit])
    whole.run()
    assert len(whole.history) == 6 and whole.step == 120
    assert same(outcome(resumed(stops, **FITS[fit])), outcome(whole))


@pytest.mark.parametrize("fit", ["elbo", "two critics"])
@pytest.mark.parametrize("entry", ["model", "optimizers", "generator", "counters", "guards"])
def test_every_entry_matters(fit, entry):
    """The control: without an entry, the resumed fit is another one."""
    whole, first, second = (trainer_of(**FITS[fit]) for _ in range(3))
    whole.run()
    at_step(33)(first)
    first.run()
    state = first.state_dict()
    second.load_state_dict({name: state[name] for name in state if name != entry}, strict=False)
    second.run()
    assert not same(outcome(second), outcome(whole))


def test_a_fit_that_stopped_early_or_recovered_resumes_so():
    def spoil(trainer):
        take = trainer._take_step

        def taken(batch, progress):
            take(batch._replace(rows=batch.rows * torch.nan) if 35 <= trainer.step < 40 else batch, progress)

        trainer._take_step = taken

    whole, first, second = (trainer_of(patience=2, held_out=HELD_OUT + 5) for _ in range(3))
    for trainer in (whole, first, second):
        spoil(trainer)
    at_step(42)(first)
    whole.run()
    first.run()
    assert [row.get("restored") for row in whole.history][1:3] == [1.0, None]
    second.load_state_dict(first.state_dict())
    assert second.rate_scale == 0.5 and second.restores == 1
    second.run()
    assert whole.epoch < 24 and same(outcome(second), outcome(whole))


def test_a_state_in_a_callback_is_that_after_run():
    states = []
    trainer = trainer_of(callbacks=(lambda row, progress: states.append(through_file(progress.state_dict())),))
    at_epoch(8)(trainer)
    trainer.run()
    last = trainer.state_dict()
    for state in (states[-1], last):
        state.pop("seconds")
    assert same(states[-1], last)


def test_a_state_counts_the_seconds_before():
    first, second = trainer_of(), trainer_of()
    at_epoch(4)(first)
    first.run()
    second.load_state_dict(first.state_dict() | {"seconds": 1000.0})
    second.run()
    assert second.history[0]["seconds"] < 1000 < second.history[1]["seconds"] <= second.seconds < 1100


def plain(value):
    if isinstance(value, dict):
        return all(isinstance(name, str) and plain(entry) for name, entry in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    return type(value) in (Tensor, int, float, str, bool) or value is None


@pytest.mark.parametrize("fit", FITS)
def test_a_state_is_plain(fit):
    trainer = trainer_of(**FITS[fit], max_epochs=4)
    trainer.run()
    assert plain(trainer.state_dict())


REFUSED = {
    "setup.rows is 60, expected 50": {"data": DATA[:50]},
    "setup.batch_size is 12, expected 10": {"batch_size": 10},
    "setup.seed is 0, expected 1": {"seed": 1},
    r"setup.losses is \['distortion', 'rate'\], expected \['distortion', 'rate', 'rate_weighting'\]": {
        "objective": ELBO(beta=2.0)
    },
    r"model.encoder.*.weight is of shape \(8, 6\), expected of shape \(9, 6\)": {"network": networks.MLP((9,))},
    "objective.penalty_0.* is missing": {"objective": GAME},
    "model.posterior_state.log_scale is unknown here": {
        "posterior": posteriors.Deterministic(),
        "objective": ELBO(beta=0.0),
    },
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_state_of_another_fit_is_refused(message):
    first = trainer_of(max_epochs=1)
    first.run()
    with pytest.raises(ModelError, match=message) as found:
        trainer_of(**REFUSED[message]).load_state_dict(first.state_dict())
    assert "\n" not in str(found.value) and "load it into a trainer of the same" in str(found.value)


def test_incomplete_and_late_states_are_refused():
    first = trainer_of(max_epochs=1)
    first.run()
    state = first.state_dict()
    without = {name: state[name] for name in state if name != "history"}
    with pytest.raises(ModelError, match="history is missing"):
        trainer_of().load_state_dict(without)
    trainer_of().load_state_dict(without, strict=False)
    with pytest.raises(ModelError, match="weights is unknown here"):
        trainer_of().load_state_dict({"weights": {}}, strict=False)
    with pytest.raises(RuntimeError, match="before the first step, this trainer has taken 5"):
        first.load_state_dict(state)


def test_a_loaded_state_is_a_copy():
    first, second = trainer_of(), trainer_of()
    at_epoch(4)(first)
    first.run()
    state, before = first.state_dict(), through_file(first.state_dict())
    second.load_state_dict(state)
    second.run()
    assert same(state, before)


# ---- callbacks, and the reduction over processes


def test_callbacks_of_two_arguments_get_the_progress():
    seen, rows = [], []
    trainer = trainer_of(callbacks=(rows.append, lambda row, progress: seen.append((row, progress))))
    trainer.run()
    assert rows == [row for row, _ in seen] == trainer.history
    for number, (row, progress) in enumerate(seen):
        assert (progress.epoch, progress.step, progress.total_steps) == (row["epoch"], row["step"], 120)
        assert progress.fraction == row["progress"] == progress.step / 120
        best = min(trainer.history[: number + 1], key=lambda row: row["val_loss"])
        assert progress.best is best and progress.model is trainer.model
    assert [progress.learning_rate for _, progress in seen] == sorted((p.learning_rate for _, p in seen), reverse=True)
    with pytest.raises(AttributeError, match="cannot assign"):
        seen[0][1].step = 0


def test_a_callback_that_stops_keeps_the_best_weights():
    trainer = trainer_of()
    at_epoch(8)(trainer)
    trainer.run()
    assert trainer.epoch == 8 and not trainer.interrupted
    assert same(trainer.gradient_step.weights(), trainer.best[1])


class Silent(Processes):
    """Averages with a process that saw nothing but zeros."""

    def average_gradients(self, gradients):
        for gradient in gradients:
            gradient.zero_()

    def average(self, total, count):
        return torch.full_like(total, 3.0)


def test_gradients_sums_and_held_out_totals_are_reduced():
    trainer, other = trainer_of(objective=GAME, processes=Silent()), trainer_of(objective=GAME)
    before = [p.clone() for p in trainer.gradient_step.learned.parameters()]
    for each in (trainer, other):
        each.run()
    assert all(map(torch.equal, trainer.gradient_step.learned.parameters(), before))
    assert not any(map(torch.equal, other.gradient_step.learned.parameters(), before))  # the control
    assert all(row["loss"] == row["val_loss"] == 3.0 for row in trainer.history)
    assert np.ptp([row["loss"] for row in other.history]) > 0
