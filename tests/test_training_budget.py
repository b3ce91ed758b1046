"""A time budget ends a fit, and changes nothing else: by clocks of the tests, but for one fit in real time."""

import numpy as np
import pandas as pd
import pytest
from torch import nn

from latentmap import VAE, networks
from latentmap.data.sources import open_source
from latentmap.estimators.choices import choose_compile
from latentmap.estimators.fit import Fit
from latentmap.estimators.history import best_row
from latentmap.estimators.neighbors import plan_neighbors
from latentmap.training.schedule import FEWEST_STEPS, Clock

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

TINY = networks.MLP((16,))
RNG = np.random.default_rng(0)
CODES = RNG.normal(size=(300, 2))
NUMBERS = CODES @ RNG.normal(size=(2, 6)) + 0.2 * RNG.normal(size=(300, 6))
TABLES = {
    "numbers": NUMBERS,
    "missing cells": np.where(RNG.random(NUMBERS.shape) < 0.2, np.nan, NUMBERS),
    "bits": (NUMBERS > 0).astype(float),
    "mixed columns": pd.DataFrame(NUMBERS[:, :3], columns=list("abc")).assign(d=np.where(CODES[:, 0] > 0, "x", "y")),
}


class Ticks:
    """A clock that moves by one second whenever it is read, and by a lead at a time of its own."""

    def __init__(self, lead=0.0, at=-1):
        self.now, self.calls, self.lead, self.at = 0.0, 0, lead, at

    def __call__(self):
        self.calls += 1
        self.now += 1.0 + self.lead * (self.calls == self.at)
        return self.now


def fit(table, budget, **settings):
    vae = VAE(2, encoder=TINY, decoder=TINY, neighbors=None, time_budget=budget, random_state=0, **settings)
    return Fit(vae, open_source(table), seed=0, timer=Ticks()).run()


def held_out_loss(state):
    row = best_row(state.history)
    assert row is not None
    return row["val_loss"]


def progress(clock, steps):
    return [clock.progress(step) for step in range(steps)]


def test_a_budget_for_all_steps_leaves_the_schedule_as_it_is():
    with (clock := Clock(200, time_budget=1e4, timer=Ticks())):
        assert progress(clock, 201) == [step / 200 for step in range(201)]


def test_a_budget_for_fewer_steps_shortens_the_schedule():
    with (clock := Clock(2000, time_budget=500.0, timer=Ticks())):
        fractions = progress(clock, 510)
    assert fractions[0] == 0 and fractions[-1] == 1 and np.all(np.diff(fractions) >= 0)
    np.testing.assert_allclose(fractions[60:480], np.arange(60, 480) / 500, atol=0.01)


def test_the_first_step_does_not_move_the_schedule():
    """Where compiling took half of the budget, the warm-up of the learning rate is still to come."""
    with (clock := Clock(10**4, time_budget=2000.0, timer=Ticks(lead=1000.0, at=2))):
        fractions = progress(clock, 1100)
    assert fractions[100] == pytest.approx(0.1, abs=0.01) and fractions[-1] == 1


def test_a_budget_of_less_than_a_step_still_trains():
    with (clock := Clock(1000, time_budget=0.1, timer=Ticks())):
        assert progress(clock, FEWEST_STEPS + 1) == [step / FEWEST_STEPS for step in range(FEWEST_STEPS + 1)]


@pytest.mark.parametrize("table", TABLES)
def test_a_larger_budget_gives_no_worse_model(table):
    losses = [held_out_loss(fit(TABLES[table], budget, max_epochs=50)) for budget in (60.0, 240.0, 1e6)]
    noise = 0.05 * (max(losses) - min(losses)) + 0.05
    assert all(later <= earlier + noise for earlier, later in zip(losses, losses[1:]))
    assert losses[-1] == held_out_loss(fit(TABLES[table], None, max_epochs=50))


def test_a_generous_budget_changes_nothing():
    """Neither epochs, learning rates, patience nor compilation, so the weights are the same."""
    free, limited = fit(NUMBERS, None), fit(NUMBERS, 1e6)
    assert limited.choices.pop("time_budget").startswith("1e+06 s (given): ")
    assert limited.choices == free.choices and limited.n_iter == free.n_iter
    for name, weights in free.module.state_dict().items():
        np.testing.assert_array_equal(limited.module.state_dict()[name], weights, err_msg=name)


def test_a_short_budget_is_told():
    state = fit(NUMBERS, 100.0)
    assert state.history[-1]["progress"] == 1.0
    steps = int(state.history[-1]["step"])
    assert state.choices["time_budget"] == f"100 s (given): {steps} of 1000 steps" and FEWEST_STEPS <= steps < 100


def test_a_budget_is_not_spent_on_compiling():
    wide = nn.Linear(2000, 2000)
    assert choose_compile(wide, 512, 10**4) and choose_compile(wide, 512, 10**4, time_budget=600.0)
    assert not choose_compile(wide, 512, 10**4, time_budget=60.0)


def test_a_budget_is_not_spent_on_the_search_for_neighbors():
    brief, long, given = (VAE(2, time_budget=10.0), VAE(2, time_budget=600.0), VAE(2, neighbors=15, time_budget=1.0))
    planned = [plan_neighbors(vae, 100_000, 110_000, "cpu") for vae in (brief, long, given)]
    assert [neighbors for neighbors, _ in planned] == [0, 30, 15]
    assert planned[0][1].endswith("100000 rows, among which a search takes more than half of 10 s)")


def test_two_seconds_give_a_useful_model():
    """In real time, with the defaults: better than independent columns by what the two codes explain."""
    vae = VAE(2, time_budget=2.0, random_state=0).fit(NUMBERS)
    marginal = -0.5 * np.log(2 * np.pi * np.e * NUMBERS.var(0)).sum()
    assert vae.score(NUMBERS) > marginal + 1 and vae.fit_seconds_ < 20
