"""The claims are judged by their numbers alone: known verdicts on models made for it, honest ones on fitted models."""

import json
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from latentmap import VAE, Autoencoder
from latentmap.evaluation import claims as cl
from latentmap.evaluation import generation, latent
from latentmap.evaluation.methods import Units

ALL = {measure.name for measure in cl.MEASURES}
GENERATED = {f"{kind}_{of}" for kind in ("precision", "frechet", "confidence", "sure") for of in ("uniform", "sampler")}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    return X[order].astype(np.float32), y[order]


@pytest.fixture(scope="module")
def models(digits):
    X, _ = digits
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few epochs: the diagnosis says so
        models = Autoencoder(2, max_epochs=12, random_state=0), VAE(2, neighbors=None, max_epochs=12, random_state=0)
        return [model.fit(X[:1200]) for model in models]


@pytest.fixture(scope="module")
def space(digits):
    X, y = digits
    return generation.classifier_features(Units(X)(X[:1200]), y[:1200])


def measured(models, digits, space, **settings):
    X, _ = digits
    return cl.measure_claims(*models, X[:1200], X[1200:], space, Units(X), n_draws=500, **settings)


@pytest.fixture(scope="module")
def claims(models, digits, space):
    return measured(models, digits, space)


@pytest.mark.parametrize(
    ("expected", "autoencoder", "vae", "verdict"),
    [
        ("lower", 2.0, 1.0, "holds"),
        ("lower", 1.0, 2.0, "fails"),
        ("higher", 1.0, 2.0, "holds"),
        ("higher", 2.0, 1.0, "fails"),
        ("higher", 1.0, 1.02, "even"),
        ("lower", 1.0, 1.02, "even"),
        ("lower", -1.0, -2.0, "holds"),
        ("lower", 0.0, 0.0, "even"),
        ("lower", None, 1.0, "cannot"),
        ("lower", 1.0, None, "cannot"),
    ],
)
def test_verdict_follows_from_the_numbers(expected, autoencoder, vae, verdict):
    measure = cl.Measure("name", "smooth", "text", expected)
    assert cl.Claim(measure, autoencoder, vae).verdict == verdict


def test_every_measure_is_taken_once_and_of_both_models(claims):
    assert {claim.measure.name for claim in claims} == ALL and len(claims) == len(cl.MEASURES)
    assert all(np.isfinite([claim.autoencoder, claim.vae]).all() for claim in claims)
    assert sum(sum(counts.values()) for counts in cl.verdicts(claims).values()) == len(cl.MEASURES)
    assert [claim["name"] for claim in json.loads(json.dumps([c.to_json() for c in claims]))][0] == "spread"


def test_measures_are_seeded(models, digits, space, claims):
    assert measured(models, digits, space) == claims
    assert measured(models, digits, space, random_state=1) != claims


def test_a_model_is_even_with_itself(models, digits, space):
    for model in models:
        assert {claim.verdict for claim in measured((model, model), digits, space)} == {"even"}


def test_exchanged_models_turn_every_verdict(models, digits, space, claims):
    turned = {"holds": "fails", "fails": "holds"}
    for claim, other in zip(claims, measured(models[::-1], digits, space)):
        assert (claim.autoencoder, claim.vae) == (other.vae, other.autoencoder)
        assert other.verdict == turned.get(claim.verdict, claim.verdict)


def test_real_rows_score_better_than_noise_in_the_place_of_generated_ones(digits, space, claims):
    X, _ = digits
    units = Units(X)
    real = space.features(units(X[1200:]))
    noise = cl.realism("noise", lambda: np.random.default_rng(0).random((500, 64)), real, space)
    floor = {claim.measure.name: claim.real for claim in claims}
    for kind, better in (("precision", max), ("frechet", min), ("confidence", max), ("sure", max)):
        values = floor[f"{kind}_uniform"], noise[f"{kind}_noise"]()
        assert values[0] != values[1] and better(values) == values[0]
    assert all((floor[name] is not None) == (name in GENERATED or name.endswith("middle")) for name in ALL)


def test_what_needs_labels_cannot_be_said_without_them(models, digits):
    X, _ = digits
    claims = measured(models, digits, generation.pca_features(Units(X)(X[:1200])))
    silent = {claim.measure.name for claim in claims if claim.verdict == "cannot"}
    assert silent == {name for name in ALL if name.startswith(("confidence", "sure"))}


class Crumple(nn.Module):
    """Codes on a fast wave, which no weights that follow can leave out."""

    def forward(self, z):
        return z + 0.3 * torch.sin(25 * z)


def test_a_crumpled_decoder_fails_against_a_plain_one(digits, space):
    """The same training, the same networks, but for waves on the codes: smoothness must tell them apart."""
    X, _ = digits
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain, crumpled = (
            VAE(2, decoder=decoder, neighbors=None, max_epochs=12, random_state=0).fit(X[:1200])
            for decoder in (nn.Linear(2, 64), nn.Sequential(Crumple(), nn.Linear(2, 64)))
        )
    by_name = {claim.measure.name: claim for claim in measured((crumpled, plain), digits, space)}
    assert {by_name[name].verdict for name in ("length_ratio", "largest_step", "sensitivity")} == {"holds"}
    assert by_name["sensitivity"].vae == pytest.approx(1, abs=0.1)
    assert by_name["length_ratio"].vae == pytest.approx(1, abs=0.01)


def test_latent_vectors_are_draws_from_the_posterior_and_codes_without_one(models, digits):
    X, _ = digits
    autoencoder, vae = models
    np.testing.assert_array_equal(cl.latent_vectors(autoencoder, X), autoencoder.transform(X))
    mean, deviation = vae.posterior(X)
    standard = (cl.latent_vectors(vae, X) - mean) / deviation
    assert standard.mean() == pytest.approx(0, abs=0.06) and standard.std() == pytest.approx(1, abs=0.05)


def test_sampled_codes_come_from_each_models_own_distribution(models, digits):
    X, _ = digits
    autoencoder, vae = models
    codes, drawn = autoencoder.transform(X[:1200]), cl.sample_codes(autoencoder, 4000, 0)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(codes.T), atol=0.1 * np.cov(codes.T).max())
    assert latent.spread(cl.sample_codes(vae, 4000, 0)) == pytest.approx(1, abs=0.05)
    np.testing.assert_array_equal(cl.sample_codes(vae, 5, 3), cl.sample_codes(vae, 5, 3))


def test_decoded_samples_are_those_of_the_estimator(models):
    for model in models:
        np.testing.assert_allclose(
            model.inverse_transform(cl.sample_codes(model, 8, 7).astype(np.float32)), model.sample(8, 7), rtol=1e-5
        )
