"""The decoder of a map, fitted to the places of its rows once these are refined."""

from pkgutil import resolve_name
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from latentmap import VAE, likelihoods, networks, objectives
from latentmap.data.sampling import split_rows
from latentmap.estimators import fit as fitting
from latentmap.estimators.history import best_row
from latentmap.exceptions import InterruptedWarning, PartError
from latentmap.model.noise import Generated, generator_for
from latentmap.training import decoder, finish
from latentmap.training.metrics import METADATA, REFITTED, parts_of


@pytest.fixture(scope="module")
def rings():
    """Rows on three noisy rings in ten columns."""
    rng = np.random.default_rng(0)
    angle, which = rng.uniform(0, 2 * np.pi, 900), rng.integers(3, size=900)
    flat = np.c_[np.cos(angle) + 3 * which, np.sin(angle), (which == 1) * 1.0]
    return (flat @ rng.normal(size=(3, 10)) + 0.05 * rng.normal(size=(900, 10))).astype(np.float32)


def fitted(X, **options):
    return VAE(2, random_state=0, max_epochs=options.pop("max_epochs", 20), **options).fit(X)


def error(vae, X):
    return float(np.square(vae.inverse_transform(vae.transform(X)) - X).mean())


def without(monkeypatch):
    monkeypatch.setattr(decoder, "STEPS", 0)


def test_places_decode_better_than_without(rings, monkeypatch):
    train, new = split_rows(len(rings), 0.2, 0)
    with_it = fitted(rings[train])
    without(monkeypatch)
    plain = fitted(rings[train])
    np.testing.assert_array_equal(with_it.transform(rings[new]), plain.transform(rings[new]))  # the map is the same
    assert error(with_it, rings[new]) < 0.9 * error(plain, rings[new])
    assert with_it.score(rings[new]) > plain.score(rings[new]) - 0.1


def test_only_decoder_and_likelihood_change(rings, monkeypatch):
    changed = fitted(rings).model_.state_dict()
    without(monkeypatch)
    before = fitted(rings).model_.state_dict()
    names = {name for name in before if not torch.equal(before[name], changed[name])}
    assert names and all(name.startswith(("decoder.", "likelihood_state.")) for name in names)


def test_weights_that_do_not_help_held_out_rows_are_not_kept(rings, monkeypatch):
    monkeypatch.setattr(decoder, "RATE", 1e3)
    wild = fitted(rings).model_.state_dict()
    without(monkeypatch)
    before = fitted(rings).model_.state_dict()
    assert all(torch.equal(wild[name], before[name]) for name in before)


def test_a_fall_that_may_be_chance_is_not_kept(rings, monkeypatch):
    monkeypatch.setattr(decoder, "ERRORS", 1e6)
    unsure = fitted(rings)
    without(monkeypatch)
    before = fitted(rings)
    assert all(torch.equal(p, q) for p, q in zip(unsure.model_.parameters(), before.model_.parameters(), strict=True))
    assert not any(REFITTED in row for row in unsure.history_)


def test_rows_that_cannot_judge_it_leave_the_decoder_as_it_is(rings, monkeypatch):
    """Nothing is held out, or some of what an earlier fit learned."""
    earlier = fitted(rings[:450])

    def made():
        return [fitted(rings, **options) for options in ({"early_stopping": False}, {"anchor": earlier})]

    one = made()
    without(monkeypatch)
    for vae, plain in zip(one, made(), strict=True):
        assert all(torch.equal(p, q) for p, q in zip(vae.model_.parameters(), plain.model_.parameters(), strict=True))


@pytest.mark.filterwarnings("ignore::latentmap.exceptions.UnderfitWarning")
@pytest.mark.parametrize(
    "objective", [objectives.IWAE(20), objectives.DReG(), objectives.PIWAE(3, 2), objectives.IWAE(8, groups=4)]
)
def test_the_bound_of_the_fit_rises_with_its_own_number_of_draws(rings, objective, monkeypatch):
    train, new = split_rows(len(rings), 0.2, 0)
    with_it = fitted(rings[train], objective=objective)
    without(monkeypatch)
    plain = fitted(rings[train], objective=objective)
    k = objective.samples
    assert with_it.score_samples(rings[new], k).mean() > plain.score_samples(rings[new], k).mean() - 0.05


def test_history_describes_the_weights_that_are_kept(rings):
    trainers = []
    original = finish.fit_to_places

    def remembered(trainer, *args):
        trainers.append(trainer)
        original(trainer, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "fit_to_places", remembered)
        vae = fitted(rings)
    row = best_row(vae.history_)
    assert row[REFITTED] == 1 and REFITTED in METADATA and sum(REFITTED in row for row in vae.history_) == 1
    trainer = trainers[0]
    measured = trainer.metrics.entries(trainer.held_out_losses(), "val_")
    assert measured["val_loss"] == pytest.approx(row["val_loss"]) and vae.loss_ == row["loss"]
    assert row["loss"] == pytest.approx(sum(parts_of(row).values()))
    with pytest.MonkeyPatch.context() as patch:
        without(patch)
        before = best_row(fitted(rings).history_)
    assert row["rate"] == before["rate"] and row["distortion"] < before["distortion"] - 0.1
    x = trainer.gradient_step.scaling(trainer.feed.data[:])
    own = vae.model_.trace(x, 5, Generated(generator_for(0))).distortion.mean() - (trainer.metrics.gained[""])
    assert row["distortion"] == pytest.approx(own.item(), abs=0.3)


@pytest.mark.parametrize("target", ["decoder._loss", "loop.Trainer.held_out_losses"])
def test_interrupt_restores_the_weights_and_begins_again(rings, monkeypatch, target):
    original, calls = resolve_name(f"latentmap.training.{target}"), []

    def interrupted(*args):
        calls.append(0)
        if len(calls) == last:
            raise KeyboardInterrupt
        return original(*args)

    last = None
    monkeypatch.setattr(f"latentmap.training.{target}", interrupted)
    expected = fitted(rings).model_.state_dict()
    last = len(calls)  # the last step, or the measure of the fitted decoder
    del calls[:]
    with pytest.warns(InterruptedWarning, match="after its last step"):
        found = fitted(rings).model_.state_dict()
    assert len(calls) > last and all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_budget_that_is_spent_takes_no_step(rings, monkeypatch):
    monkeypatch.setattr(fitting.Fit, "_ends", lambda self, share=1.0: True)
    spent = fitted(rings).model_.state_dict()
    monkeypatch.undo()
    without(monkeypatch)
    monkeypatch.setattr(fitting.Fit, "_ends", lambda self, share=1.0: True)
    before = fitted(rings).model_.state_dict()
    assert all(torch.equal(spent[name], before[name]) for name in before)


def test_draws_around_the_means_are_those_of_the_posterior(rings):
    vae = fitted(rings, max_epochs=2)
    model, x = vae.model_, vae.state_.scaling(torch.from_numpy(rings[:50]))
    q = model.encode(x)
    noise = [Generated(generator_for(1)) for _ in range(3)]
    own, same = model.trace(x, 1, noise[0]), model.trace_at(x, q.mean, q.stddev, 1, noise[1])
    moved = model.trace_at(x, q.mean + 1, q.stddev, 1, noise[2])
    torch.testing.assert_close(own.distortion, same.distortion)
    torch.testing.assert_close(own.rate, same.rate)
    assert not torch.allclose(own.distortion, moved.distortion)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
def test_frozen_parameters_stay_and_cells_may_be_missing(rings, missing, layers):
    X = rings.copy()
    if missing:
        X[np.random.default_rng(1).random(X.shape) < 0.1] = np.nan
    net = torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.Tanh(), torch.nn.Linear(32, 10))
    net[:layers].requires_grad_(False)
    vae = VAE(2, decoder=net, random_state=0, max_epochs=3).fit(X)
    learned = dict(vae.model_.decoder.named_parameters())
    stay = [sum(torch.equal(p, q) for q in learned.values() if q.shape == p.shape) for p in net.parameters()]
    assert stay == [1, 1, layers == 3, layers == 3] and np.isfinite(vae.transform(X)).all()


def test_everything_frozen_is_named(rings):
    own = {"encoder": torch.nn.Linear(10, 4), "decoder": torch.nn.Linear(2, 10)}
    frozen = {name: networks.WithHeads(layer).requires_grad_(False) for name, layer in own.items()}
    with pytest.raises(PartError, match="all parameters are frozen"):
        VAE(2, neighbors=None, likelihood=likelihoods.Bernoulli(), **frozen).fit((rings > 0).astype(float))


def test_processes_end_together_when_the_budget_of_one_is_spent():
    one = fitting.Fit.__new__(fitting.Fit)
    one.parameters, one.timer, one.begun = VAE(2, time_budget=1.0), lambda: 0.5, 0.0
    for slowest, over in ((0.7, False), (1.2, True)):
        one.processes = SimpleNamespace(maximum=lambda own, slowest=slowest: [max(*own, slowest)])
        assert one._ends() == over
