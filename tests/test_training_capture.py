"""A step that is recorded and replayed trains what the plain step trains, to the last bit, and what cannot be recorded
is trained all the same. The recordings are tapes, which have a CUDA graph's rules on the CPU."""

import pytest
import torch
from torch import nn

from latentmap.exceptions import CaptureWarning
from latentmap.model import likelihoods, networks, posteriors, priors
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.part import Sizes
from latentmap.objectives import ELBO, NeighborEmbedding
from latentmap.training.capture import WARM_UP, Captured
from latentmap.training.feed import Batch
from latentmap.training.loop import Settings, Trainer
from latentmap.training.step import GradientStep
from parts import OBJECTIVES, name
from tapes import Tape

MLP = networks.MLP((8,))
DATA = torch.rand(60, 6, generator=torch.Generator().manual_seed(0))
GRAPH = torch.stack([torch.arange(1, 61).remainder(60), torch.full((60,), -1)], 1)
CLASSES = torch.eye(3).repeat(20, 1)

FITS = {
    **{name(objective): {"objective": objective} for objective in OBJECTIVES},
    "neighbours": {"objective": NeighborEmbedding(), "graph": GRAPH},
    "condition": {"condition": CLASSES},
    "bfloat16": {"dtype": torch.bfloat16},
    "a running scale": {"likelihood": likelihoods.Gaussian("optimal")},
    "another posterior": {"posterior": posteriors.Hamiltonian()},
}


def trainer_of(
    objective=ELBO(),
    posterior=posteriors.Gaussian(),
    likelihood=likelihoods.Gaussian(),
    graph=None,
    condition=None,
    **settings,
):
    torch.manual_seed(0)
    sizes = Sizes((6,), 2, condition=0 if condition is None else condition.shape[1])
    model = GenerativeAutoencoder(Parts(MLP, MLP, posterior, priors.Normal(), likelihood), sizes)
    defaults = {"max_epochs": 6, "batch_size": 12, "learning_rate": 1e-2, "seed": 0}
    settings = Settings(**defaults | settings)
    return Trainer(model, objective, nn.Identity(), DATA, None, settings, graph=graph, condition=condition)


def recorded(recorder=None, captured=Captured, of=GradientStep, **given):
    """A fit that has not begun, whose steps are to be recorded."""
    trainer = trainer_of(**given)
    step = trainer.gradient_step
    step.__class__ = of
    step.move = captured(step._move, recorder or Tape())
    return trainer


def outcome(trainer):
    """Everything that a fit leaves, but for the seconds."""
    history = [[row[key] for key in ("step", "loss", "distortion", "rate")] for row in trainer.history]
    step = trainer.gradient_step
    optimizers = [optimizer.state_dict()["state"] for optimizer in step.optimizers.values()]
    return step.learned.state_dict(), optimizers, torch.tensor(history), trainer.skipped


def assert_same(one, other):
    torch.testing.assert_close(outcome(one), outcome(other), rtol=0, atol=0)


@pytest.mark.parametrize("fit", FITS)
def test_a_recorded_fit_is_the_plain_fit(fit):
    plain, replayed = trainer_of(**FITS[fit]), recorded(**FITS[fit])
    plain.run()
    replayed.run()
    assert replayed.history and replayed.gradient_step.move.rehearsals == WARM_UP
    assert_same(replayed, plain)


def test_python_takes_no_part_in_a_replay():
    trainer, calls = recorded(), []
    trainer.model.encoder.register_forward_hook(lambda *_: calls.append(1))
    trainer.run()
    assert trainer.step == 30 and len(calls) == WARM_UP + 1


class Stale(Captured):
    """Keeps the batch that was recorded: a control."""

    def __call__(self, batch):
        super().__call__(batch if self.rehearsals < WARM_UP else self.buffers)


class Forgetful(GradientStep):
    """Keeps its sums in a new tensor each step, which a recording cannot know of: a control."""

    def _move(self, batch):
        super()._move(batch)
        self.sums = self.sums.clone()


@pytest.mark.parametrize("given", [{"captured": Stale}, {"of": Forgetful}], ids=["stale batches", "state out of place"])
def test_a_recording_that_is_wrong_is_seen(given):
    plain, wrong = trainer_of(), recorded(**given)
    plain.run()
    wrong.run()
    with pytest.raises(AssertionError, match="not equal"):
        assert_same(wrong, plain)


def test_a_fit_that_goes_back_to_its_best_weights_goes_on_replaying():
    plain, replayed, steady = trainer_of(), recorded(), trainer_of()
    for fit in (plain, replayed):
        fit.callbacks.append(lambda row, fit=fit: fit._recover() if row["step"] == 20 else None)
        fit.run()
    assert_same(replayed, plain)
    steady.run()
    with pytest.raises(AssertionError, match="not equal"):  # the control: it matters that the fit went back
        assert_same(steady, plain)


def test_a_batch_of_another_shape_takes_the_plain_step():
    plain, replayed = trainer_of(), recorded()
    for fit in (plain, replayed):
        fit.run()
        fit.model.train()
        for rows in (DATA[:5], DATA[:12], DATA[:7]):
            fit._take_step(Batch(rows), 0.5)
    assert_same(replayed, plain)


# ---- what cannot be recorded


class _Asking(ELBO):
    """Asks the device for a number in each step."""

    def losses(self, own, model, trace, progress):
        losses = super().losses(own, model, trace, progress)
        return {player: loss * (2.0 if progress.item() > 0.5 else 1.0) for player, loss in losses.items()}


class Refusing(Tape):
    """A recorder that can record nothing."""

    def record(self, step):
        raise RuntimeError("out of memory\nand so on")


@pytest.mark.parametrize(
    ("given", "reason"),
    [({"objective": _Asking()}, "they wait in _local_scalar_dense"), ({"recorder": Refusing()}, "out of memory")],
    ids=["a step that waits", "a recorder that fails"],
)
def test_what_cannot_be_recorded_is_trained_all_the_same(given, reason):
    replayed = recorded(**given)
    plain = trainer_of(**{key: value for key, value in given.items() if key != "recorder"})
    plain.run()
    with pytest.warns(CaptureWarning, match=rf"cannot be recorded.*\({reason}\)") as found:
        replayed.run()
    assert len(found) == 1
    assert_same(replayed, plain)
