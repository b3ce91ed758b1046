"""Headline facts: of held-out or new rows, in units that every column shares, and never silent on what failed."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits, load_wine

from latentmap import VAE, Autoencoder, likelihoods, objectives
from latentmap.report.facts import headline_facts
from latentmap.report.numbers import with_error

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

DIGITS, WINE = load_digits(), load_wine(as_frame=True).data
QUICK = {"max_epochs": 3, "neighbors": None, "random_state": 0}
RNG = np.random.default_rng(0)


def facts(estimator, X, y=None, **options):
    return {fact.label: fact for fact in headline_facts(estimator, X, y, **options)}


@pytest.fixture(scope="module")
def wine():
    return VAE(2, **QUICK | {"max_epochs": 30}).fit(WINE)


@pytest.fixture(scope="module")
def digits():
    return VAE(2, **QUICK).fit(DIGITS.images[:300])


@pytest.mark.parametrize(
    "value, error, text",
    [(-1387.2, 37, "−1,390 ± 40"), (0.9, 0.0123, "0.900 ± 0.012"), (5.0, 0.0, "5"), (1.5, float("nan"), "1.5")],
)
def test_numbers_have_the_digits_of_their_error(value, error, text):
    assert with_error(value, error) == text


def test_the_elbo_is_of_held_out_or_new_rows_with_its_error(digits):
    own, new = (facts(digits, DIGITS.images[part])["ELBO"] for part in (slice(300), slice(300, 600)))
    assert "30 held-out rows" in own.note and "300 new rows" in new.note
    scores = digits.score_samples(DIGITS.images[300:600])
    assert new.value == f"{with_error(scores.mean(), scores.std(ddof=1) / np.sqrt(300))} nats"
    rest = VAE(2, **QUICK).fit(DIGITS.images[:15])
    assert "15 training rows" in facts(rest, DIGITS.images[:15])["ELBO"].note


def test_rows_that_the_likelihood_excludes_are_counted():
    X = (DIGITS.data[:200] > 7).astype(float)
    vae = VAE(2, likelihood=likelihoods.Bernoulli(), **QUICK).fit(X)
    new = X[:50] + 0.0
    new[:3, 0] = 2.0
    fact = facts(vae, new)["ELBO"]
    assert fact.warning and fact.value == "−∞ nats" and "3 of 50" in fact.note and "± " in fact.note


def test_errors_of_columns_are_in_their_standard_deviations(wine):
    note = facts(wine, WINE)["Reconstruction"].note
    assert "standard deviations (mean of 13 columns" in note and "18 held-out rows" in note
    new = WINE.iloc[:100] + 0.001
    off = np.asarray(new - wine.reconstruct(new))
    each = pd.Series(np.sqrt(np.square(off).mean(0)) / new.std(ddof=0).to_numpy(), WINE.columns)
    note = facts(wine, new)["Reconstruction"].note
    assert f"root mean squared error {each.mean():.2g} standard" in note
    assert f"worst {each.idxmax()} {each.max():.2g}, " in note
    assert np.square(off).mean(0)[-1] > 100 * np.square(off).mean(0)[:-1].sum(), "control: proline, in the hundreds"


def test_errors_of_images_are_in_their_unit(digits):
    note = facts(digits, DIGITS.images[300:600])["Reconstruction"].note
    off = DIGITS.images[300:600] - digits.reconstruct(DIGITS.images[300:600])
    assert f"a pixel is off by {np.sqrt(np.square(off).mean()):.2g} (root mean square) on a scale of 0 to 16" in note
    flat = VAE(2, **QUICK).fit(DIGITS.data[:200])
    assert "a pixel is off" in facts(flat, DIGITS.data[:200], image_shape=(8, 8))["Reconstruction"].note
    assert "standard deviations" in facts(flat, DIGITS.data[:200])["Reconstruction"].note


def test_a_reconstruction_worse_than_the_mean_is_shown_as_such(wine):
    fact = facts(wine, WINE.sample(frac=1, random_state=0) + 50 * WINE.std())["Reconstruction"]
    assert fact.value.startswith("−") and fact.warning and "no better than the mean of each column" in fact.note


def test_a_collapsed_model_is_said_to_be():
    X = RNG.normal(size=(100, 4))
    fact = facts(VAE(2, objective=objectives.ELBO(beta=1e4), **QUICK).fit(X), X)["Components"]
    assert fact.warning and "none active: collapsed" in fact.note


def test_missing_cells_do_not_count_as_reconstructed(tmp_path):
    holes = WINE.mask(np.random.default_rng(0).random(WINE.shape) < 0.3)
    vae = VAE(2, **QUICK).fit(holes)
    raw, filled = facts(vae, holes), facts(vae, vae.impute(holes))
    assert "30% of cells missing" in raw["Data"].note and "missing" not in filled["Data"].note
    assert raw["Reconstruction"].value != filled["Reconstruction"].value  # what the model imputed, it reconstructs


def test_categories_are_beside_the_commonest():
    table = pd.DataFrame({"size": RNG.normal(size=90), "kind": ["elm"] * 60 + ["oak"] * 30})
    vae = VAE(1, **QUICK).fit(table)
    note = facts(vae, table)["Reconstruction"].note
    assert "of categories right (67% by always naming a column's commonest)" in note


def test_one_row_and_rows_that_do_not_vary_have_no_percentage(wine, digits):
    assert "no variance to compare with" in facts(wine, WINE[:1])["Reconstruction"].note
    assert "%" not in facts(wine, WINE[:1])["Reconstruction"].value
    assert facts(digits, DIGITS.images[:1])["ELBO"].value.count("±") == 0


def test_few_components_are_a_fact(digits):
    note = facts(digits, DIGITS.images[:300])["Components"].note
    assert "nats a row, over the rows of the fit" in note
    many = VAE(5, **QUICK).fit(DIGITS.data[:100])
    assert "nats" not in facts(many, DIGITS.data[:100])["Components"].note
    auto = Autoencoder(2, max_epochs=3, random_state=0).fit(DIGITS.data[:100])
    assert "codes have variance" in facts(auto, DIGITS.data[:100])["Components"].note


def test_the_distortion_of_an_autoencoder_is_of_the_rows_of_the_fit():
    auto = Autoencoder(2, max_epochs=3, random_state=0).fit(DIGITS.data[:200])
    assert "20 held-out rows of the fit" in facts(auto, DIGITS.data[300:340])["Distortion"].note


def test_the_class_of_a_conditional_row_is_used():
    vae = VAE(2, condition="labels", **QUICK).fit(DIGITS.data[:300], DIGITS.target[:300])
    assert "30 held-out rows" in facts(vae, DIGITS.data[:300], DIGITS.target[:300].tolist())["ELBO"].note
    three = DIGITS.data[:300][DIGITS.target[:300] == 3]
    assert "perhaps trained on" in facts(vae.given(3), three)["ELBO"].note
