"""Training by an estimator: seeds, warm starts, pieces, budgets, early stopping, callbacks and interrupts."""

import numpy as np
import pytest
import torch
from torch import nn

from latentmap import VAE, Autoencoder, networks
from latentmap.estimators.history import best_row
from latentmap.exceptions import InterruptedWarning
from test_estimators_laws import QUICK, TINY

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


@pytest.mark.parametrize("cls", [VAE, Autoencoder])
def test_a_seed_decides_on_everything(cls, rows):
    one, same, other = (cls(2, max_epochs=3, random_state=seed).fit(rows) for seed in (7, 7, 8))
    torch.rand(3)
    np.testing.assert_array_equal(one.fit(rows).transform(rows), same.transform(rows))
    assert [row["loss"] for row in one.history_] == [row["loss"] for row in same.history_]
    assert not np.allclose(one.transform(rows), other.transform(rows))
    drawn = [cls(2, max_epochs=1).fit(rows).transform(rows) for _ in range(2)]
    assert not np.allclose(*drawn)


def test_a_seed_may_be_a_generator(rows):
    for make in (np.random.default_rng, np.random.RandomState):
        one, same = (VAE(2, **QUICK | {"random_state": make(5)}).fit(rows) for _ in range(2))
        np.testing.assert_array_equal(one.transform(rows), same.transform(rows))


def test_a_warm_start_goes_on(rows):
    settings = {"learning_rate": 1e-3, "neighbors": None, **QUICK | {"max_epochs": 10}}
    warm = VAE(2, warm_start=True, **settings).fit(rows)
    first, epochs = warm.score(rows), warm.n_iter_
    warm.fit(rows)
    assert warm.score(rows) > first and warm.n_iter_ == 2 * epochs
    cold = VAE(2, **settings).fit(rows).fit(rows)
    assert cold.score(rows) == first and cold.n_iter_ == epochs  # the control


def test_a_partial_fit_goes_on(rows):
    vae = VAE(2, learning_rate=1e-3, **QUICK)
    scores = []
    for _ in range(12):
        scores.append(vae.partial_fit(rows).score(rows))
    assert scores[-1] > scores[5] > scores[0] and vae.n_iter_ == 12 and len(vae.history_) == 12
    pieces = VAE(2, **QUICK)
    for part in np.array_split(rows, 9):
        pieces.partial_fit(part)
    assert pieces.transform(rows).shape == (400, 2)


def test_pieces_are_seen_with_other_noise_each_time(rows):
    """Two passes over one piece draw different codes; the same noise would show as equal losses at rate zero."""
    vae = VAE(2, learning_rate=1e-12, **QUICK)
    losses = [vae.partial_fit(rows).history_[-1]["loss"] for _ in range(2)]
    assert losses[0] != pytest.approx(losses[1], rel=1e-7)


def test_the_time_budget_ends_a_fit(rows):
    vae = VAE(2, encoder=TINY, decoder=TINY, time_budget=0.5, early_stopping=False, random_state=0).fit(rows)
    assert vae.fit_seconds_ < 10  # seconds of a busy machine; the fit would go on for hours without
    assert vae.history_[-1]["progress"] == 1.0 and vae.choices_["compile"].startswith("False")
    brief = VAE(2, max_epochs=3, time_budget=3600.0, random_state=0).fit(rows)
    assert brief.n_iter_ == 3  # the steps end it, where they are fewer


def overfitting(**settings):
    wide = networks.MLP((256, 256))
    return VAE(20, encoder=wide, decoder=wide, neighbors=None, batch_size=16, learning_rate=5e-3, max_epochs=100,
               validation_fraction=0.3, random_state=0, **settings)  # fmt: skip


def test_early_stopping_restores_the_best_weights(rows):
    vae = overfitting().fit(rows[:200])
    best = min(vae.history_, key=lambda row: row["val_loss"])
    assert best is not vae.history_[-1] and vae.n_iter_ < 100
    assert vae.loss_ == best["loss"]
    to_the_end = overfitting(early_stopping=False).fit(rows[:200])
    assert to_the_end.n_iter_ == 100
    assert vae.score(rows[200:]) > to_the_end.score(rows[200:]) + 10  # the control: the last weights are worse


def test_the_weights_kept_are_those_of_the_best_evaluation(rows):
    """Stopped right after its best evaluation, the same fit ends with the same weights."""
    vae = overfitting().fit(rows[:200])
    best = min(range(len(vae.history_)), key=lambda i: vae.history_[i]["val_loss"])
    seen = []

    def stop(row):
        seen.append(row)
        if len(seen) == best + 1:
            raise KeyboardInterrupt

    stopped = overfitting(callbacks=[stop]).fit(rows[:200])
    np.testing.assert_array_equal(stopped.transform(rows), vae.transform(rows))


def test_callbacks_get_every_row_of_the_history(rows):
    seen, last = [], []
    vae = VAE(2, callbacks=[seen.append, lambda row: last.append(row["epoch"])], **QUICK | {"max_epochs": 8})
    vae.fit(rows)
    kept = best_row(vae.history_)  # which describes standardised codes after the fit
    assert [row["epoch"] for row in seen] == [row["epoch"] for row in vae.history_] and last[-1] == vae.n_iter_
    assert [row for row in seen if row["epoch"] != kept["epoch"]] == [row for row in vae.history_ if row is not kept]
    names = {"epoch", "step", "seconds", "loss", "distortion", "rate", "val_loss", "val_distortion", "val_rate"}
    assert names <= seen[0].keys() and all(np.isfinite(list(row.values())).all() for row in seen)
    steps = [row["step"] for row in seen]
    assert steps == sorted(set(steps))


def test_an_interrupt_keeps_the_best_weights(rows):
    weights = []

    def interrupt(row):
        weights.append(row["val_loss"])
        if len(weights) == 4:
            raise KeyboardInterrupt

    vae = VAE(2, callbacks=[interrupt], neighbors=None, **QUICK | {"max_epochs": 40})
    with pytest.warns(InterruptedWarning, match=r"after \d+ steps; the best weights so far are kept"):
        vae.fit(rows[:150])
    assert vae.interrupted_ and len(vae.history_) == 4 and vae.n_iter_ < 40
    assert np.isfinite(vae.score(rows[:150]))
    undisturbed = VAE(2, neighbors=None, **QUICK | {"max_epochs": 40}).fit(rows[:150])
    assert not undisturbed.interrupted_ and undisturbed.score(rows[:150]) > vae.score(rows[:150])


class Interrupt(nn.Module):
    """A network that is interrupted at its n-th batch."""

    def __init__(self, after):
        super().__init__()
        self.left = after
        self.layer = nn.Linear(64, 8)

    def forward(self, x):
        if self.training:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        return self.layer(x)


@pytest.mark.parametrize("after", [1, 3])
def test_an_interrupt_before_the_first_evaluation_leaves_a_model(rows, after):
    vae = VAE(2, encoder=Interrupt(after), decoder=TINY, max_epochs=5, random_state=0)
    with pytest.warns(InterruptedWarning):
        vae.fit(rows)
    assert vae.history_ == [] and vae.loss_ is None and np.isfinite(vae.transform(rows)).all()
