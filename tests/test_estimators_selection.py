"""The number of components by held-out evidence, the parameters of each purpose, and the width of draws."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import latentmap
from latentmap import VAE, Autoencoder, likelihoods, networks, objectives, purpose
from latentmap.exceptions import PartError
from latentmap.training.loop import Trainer

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

TINY = networks.MLP((32,))
QUICK = {"encoder": TINY, "decoder": TINY, "max_epochs": 40, "random_state": 0}
RNG = np.random.default_rng(0)


def of_rank(rank, rows=400):
    """Six columns that so many numbers and some noise make."""
    return RNG.normal(size=(rows, rank)) @ RNG.normal(size=(rank, 6)) + 0.05 * RNG.normal(size=(rows, 6))


@pytest.fixture(scope="module")
def chosen():
    return VAE(**purpose("sample"), **QUICK).fit(of_rank(4))


def test_evidence_chooses_as_many_components_as_the_rows_have(chosen):
    assert chosen.model_.sizes.latent == 4 and chosen.transform(of_rank(4)).shape == (400, 4)
    told = chosen.choices_["n_components"]
    assert told.startswith("4 (chosen for held-out nats a row, 2: ") and ", 4: " in told and told.endswith(" s)")
    assert chosen.choices_["neighbors"].startswith("None")


def test_a_chosen_number_is_a_parameter_like_any_other(chosen, tmp_path):
    """It stays "auto", in clones and in saved runs, and what was chosen is part of the fit."""
    assert clone(chosen).get_params()["n_components"] == "auto"
    chosen.save(tmp_path / "run")
    again = latentmap.load(tmp_path / "run")
    assert again.n_components == "auto" and again.choices_ == chosen.choices_
    X = of_rank(4)
    np.testing.assert_array_equal(again.transform(X), chosen.transform(X))


def test_a_warm_start_and_pieces_keep_what_was_chosen():
    X = of_rank(1)
    vae = VAE("auto", warm_start=True, **QUICK | {"max_epochs": 4}).fit(X)
    first = vae.choices_["n_components"]
    assert vae.fit(X).choices_["n_components"] == first
    pieces = VAE("auto", **QUICK | {"max_epochs": 4}).partial_fit(X)
    size = pieces.model_.sizes.latent
    assert pieces.partial_fit(X).model_.sizes.latent == size


@pytest.mark.parametrize("rows, columns, size", [(10, 6, 2), (100, 1, 1), (100, 3, 2)])
def test_few_rows_or_columns_leave_no_choice(rows, columns, size):
    vae = VAE("auto", **QUICK | {"max_epochs": 1}).fit(RNG.normal(size=(rows, columns)))
    assert vae.choices_["n_components"] == f"{size} (chosen for {rows} rows of {columns} values)"


def test_the_choice_keeps_within_a_budget():
    """Short fits and the fit share it, in real time."""
    vae = VAE("auto", time_budget=2.0, **QUICK | {"max_epochs": 4000}).fit(of_rank(2))
    assert vae.fit_seconds_ < 8 and vae.choices_["time_budget"].startswith("2 s (given): ")


@pytest.mark.filterwarnings("ignore::latentmap.exceptions.InterruptedWarning")
def test_an_interrupt_ends_the_choice_too(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_take_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        VAE("auto", **QUICK).fit(of_rank(2))


def test_a_model_without_density_has_no_evidence():
    with pytest.raises(PartError, match="n_components='auto' is chosen by the density of held-out rows, which Autoenc"):
        Autoencoder("auto", **QUICK).fit(of_rank(2))
    with pytest.raises(PartError, match="n_components must be a whole number >= 1, got 'many'"):
        VAE("many").fit(of_rank(2))


def test_each_purpose_has_its_parameters():
    assert purpose("map") == {"n_components": 2} and purpose("score") == purpose("impute")
    assert purpose("impute")["objective"] == objectives.IWAE(5) and "objective" not in purpose("sample")
    with pytest.raises(PartError, match="no purpose is called 'imput'"):
        purpose("imput")


def covered(vae, X, removed):
    low, high = np.quantile(vae.impute(np.where(removed, np.nan, X), 60), (0.05, 0.95), axis=0)
    inside = (low <= X) & (high >= X)
    return [inside[removed[:, i], i].mean() for i in range(X.shape[1])]


def test_draws_are_as_wide_as_the_errors_of_each_column():
    """Of columns of several units, of which some are known from the others and some are noise."""
    X = np.concatenate([of_rank(2, 500)[:, :4], RNG.normal(size=(500, 2))], 1) * [1, 10, 1, 1, 100, 1]
    removed = np.random.default_rng(1).random(X.shape) < 0.2
    holes = np.where(removed, np.nan, X)
    vae = VAE(2, neighbors=None, **QUICK).fit(holes)
    assert vae.model_.parts.likelihood == likelihoods.Incomplete(likelihoods.Gaussian("feature"))
    assert min(covered(vae, X, removed)) > 0.8
    shared = VAE(2, neighbors=None, likelihood=likelihoods.Gaussian(), **QUICK).fit(holes)
    assert min(covered(shared, X, removed)) < 0.8  # the control: one scale for all


def test_whole_numbers_that_vary_less_than_counts_have_a_scale_of_their_own():
    """The draws of lengths in millimetres were twice as wide as their errors, as counts of 200 vary by 14."""
    code = RNG.normal(size=500)
    lengths, counts = np.rint(200 + 12 * code + 4 * RNG.normal(size=500)), RNG.poisson(np.exp(1 + 0.3 * code))
    frame = pd.DataFrame({"length": lengths, "count": counts, "kind": np.where(code > 0, "a", "b"), "size": code})
    vae = VAE(2, neighbors=None, **QUICK).fit(frame)
    length, count, *_ = vae.model_.parts.likelihood.likelihood.columns
    assert (length, count) == (likelihoods.Gaussian("feature"), likelihoods.NegativeBinomial())
    holes = frame.assign(length=np.nan)
    draws = np.stack([draw["length"] for draw in vae.impute(holes, 40)])
    assert draws.std(0).mean() < 8 and np.array_equal(draws, np.rint(draws))
    assert np.abs(draws.mean(0) - lengths).mean() < 6
