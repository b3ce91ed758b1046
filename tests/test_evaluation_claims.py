"""The claims are judged by several fits: known verdicts on numbers and on models made for it."""

import json
import warnings

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_digits
from torch import nn

from latentmap import VAE, Autoencoder
from latentmap.evaluation import claims as cl
from latentmap.evaluation import codes, generation, latent, probes, realism, samplers
from latentmap.evaluation.conclusions import conclude, outcome
from latentmap.evaluation.intervals import paired_difference, rounded
from latentmap.evaluation.methods import Units
from latentmap.exceptions import DataError

NAMES = {name for measure in cl.MEASURES for name in (measure.name, measure.other or measure.name)}


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


def measured(model, digits, space, seed=0):
    X, _ = digits
    units = Units(X)
    real = realism.RealRows(space, units(X[1200:]))
    return probes.measure_model(model, X[:1200], X[1200:], real, units, n_draws=500, random_state=seed)


@pytest.fixture(scope="module")
def floor(digits, space):
    X, _ = digits
    real = realism.RealRows(space, Units(X)(X[1200:]))
    return [probes.measure_real(X[:1200], real, Units(X), n_draws=500, random_state=seed) for seed in (0, 1)]


@pytest.fixture(scope="module")
def fits(models, digits, space):
    return [[measured(model, digits, space, seed) for seed in (0, 1)] for model in models]


# ---- verdicts


def claim(expected, autoencoder, vae, scale="difference"):
    return cl.Claim(cl.Measure("name", "smooth", "text", expected, scale), 2, autoencoder, vae)


@pytest.mark.parametrize(
    ("expected", "autoencoder", "vae", "verdict"),
    [
        ("lower", (2.0, 2.1, 1.9), (1.0, 1.1, 1.0), "holds"),
        ("lower", (1.0, 1.1, 1.0), (2.0, 2.1, 1.9), "fails"),
        ("higher", (1.0, 1.1, 1.0), (2.0, 2.1, 1.9), "holds"),
        ("higher", (2.0, 2.1, 1.9), (1.0, 1.1, 1.0), "fails"),
        ("higher", (1.0, 1.1, 0.9), (1.1, 0.9, 1.0), "even"),
        ("lower", (1.0, 1.1, 0.9), (1.0, 1.1, 0.9), "even"),
        ("lower", (1.0, 5.0), (0.9, 2.0), "even"),  # larger, but not than the spread
        ("lower", (0.0, 0.0), (0.0, 0.0), "even"),
    ],
)
def test_a_verdict_needs_a_difference_beyond_the_spread_between_fits(expected, autoencoder, vae, verdict):
    assert claim(expected, autoencoder, vae).verdict == verdict


def test_pairs_decide_where_splits_move_both_models_alike():
    """Values overlap, but in each pair one is lower."""
    splits = np.array([1.0, 5.0, 9.0, 3.0, 7.0])
    lower, other = tuple(splits), tuple(splits + [1.0, 1.1, 0.9, 1.0, 1.0])
    assert claim("lower", other, lower).verdict == "holds"
    assert claim("lower", other[::-1], lower).verdict == "even"


def test_the_interval_is_students():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=5) + 10, rng.normal(size=5) + 8
    found = paired_difference(a, b)
    low, high = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (found.estimate, found.low, found.high) == pytest.approx(((a - b).mean(), low, high))
    ratio = paired_difference(a, b, "ratio")
    low, high = stats.ttest_rel(np.log(a), np.log(b)).confidence_interval(0.95)
    assert (ratio.low, ratio.high) == pytest.approx((np.exp(low), np.exp(high)))
    assert paired_difference(a, -b, "ratio").scale == "difference"
    with pytest.raises(DataError, match="two fits or more"):
        paired_difference([1.0], [2.0])


def test_chance_gets_a_verdict_no_more_often_than_the_interval_says():
    rng = np.random.default_rng(0)
    verdicts = [claim("lower", tuple(rng.normal(size=5)), tuple(rng.normal(size=5))).verdict for _ in range(600)]
    assert np.mean([verdict != "even" for verdict in verdicts]) < 0.08


def test_one_fit_has_no_verdict_and_says_why(fits):
    found = cl.judge(2, *[of[:1] for of in fits], [])
    assert {each.verdict for each in found} == {"cannot"}
    assert all("seeds of 2 or more" in each.reason for each in found)
    assert "it cannot be said whether" in conclude(found)[0]


def test_every_measure_is_taken_of_both_models_and_judged(fits, floor):
    assert all(not of.reasons and set(of.values) >= NAMES for model in fits for of in model)
    found = cl.judge(2, *fits, floor)
    assert [each.measure for each in found] == list(cl.MEASURES)
    counts = cl.verdicts(found)
    assert sum(sum(tally[2].values()) for tally in counts.values()) == len(cl.MEASURES)
    plain = [each.to_json() for each in found]
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert not any("confidence" in each.measure.name for each in found)  # reported, not counted


def test_a_model_is_even_with_itself(fits, floor):
    for model in fits:
        found = [each for each in cl.judge(2, model, model, floor) if each.measure.claim != "repaired"]
        assert {each.verdict for each in found} == {"even"}


def test_exchanged_models_turn_every_verdict(fits, floor):
    turned = {"holds": "fails", "fails": "holds"}
    for one, other in zip(cl.judge(2, *fits, floor), cl.judge(2, *fits[::-1], floor)):
        if one.measure.claim != "repaired":
            assert other.verdict == turned.get(one.verdict, one.verdict)


def test_a_repaired_autoencoder_is_sampled_from_its_gaussian(fits):
    by = {each.measure.name: each for each in cl.judge(2, *fits, []) if each.measure.claim == "repaired"}
    assert by["frechet_normal"].autoencoder == tuple(of.values["frechet_gaussian"] for of in fits[0])
    assert by["frechet_normal"].vae == tuple(of.values["frechet_normal"] for of in fits[1])


def test_measures_are_seeded(models, digits, space, fits):
    assert measured(models[1], digits, space) == fits[1][0] != fits[1][1]


# ---- sentences


def test_sentences_follow_from_verdicts():
    low, high = (1.0, 1.1, 1.0), (2.0, 2.1, 1.9)
    holds, fails, even = claim("lower", high, low), claim("lower", low, high), claim("lower", low, low)
    found = {
        "holds": [holds],
        "fails": [fails, fails, even],
        "even": [even],
        "mixed": [holds, holds, fails, fails],
        "partly holds": [holds, holds, even, even, even],
        "partly fails": [holds, fails, fails, fails],
    }
    assert {name: outcome(each) for name, each in found.items()} == {name: name for name in found}
    assert outcome([holds, even, even]) == "even"  # one of several may be chance
    assert "more smooth than" in conclude([holds])[0] and "1 holds of 1 measure, 3 fits each" in conclude([holds])[0]
    assert "less smooth than" in conclude([fails])[0] and "differ no more than their fits do" in conclude([even])[0]


def test_the_number_in_a_sentence_has_its_verdict():
    """The measure that stands for a part is left out where it says otherwise."""
    measure = next(m for m in cl.MEASURES if m.name == "sensitivity")
    other = next(m for m in cl.MEASURES if m.name == "largest_step")
    low, high = (1.0, 1.1, 1.0), (2.0, 2.1, 1.9)
    claims = [cl.Claim(measure, 2, low, low), *[cl.Claim(other, 2, high, low)] * 3]
    assert "largest step" in conclude(claims)[0] and measure.text not in conclude(claims)[0]


def test_values_beyond_those_of_real_rows_are_no_merit():
    """Blurred rows lie in denser places than real ones: density is judged by how near it is to that of real rows."""
    density = next(m for m in cl.MEASURES if m.name == "density_normal")
    real, near, blurred = (1.0, 1.0, 1.0), (0.95, 0.96, 0.94), (1.7, 1.8, 1.75)
    assert cl.Claim(density, 2, near, blurred, real).verdict == "fails"
    assert cl.Claim(density, 2, blurred, near, real).verdict == "holds"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((12345.6, 789.0), "12,300 ± 800"),
        ((0.5, 0.0), "0.500 ± 0.000"),
        ((0.98765, 0.00123), "0.9877 ± 0.0012"),
        ((98.765, None), "98.8"),
        ((np.inf, 1.0), "inf"),
    ],
)
def test_numbers_have_the_digits_that_their_spread_deserves(values, text):
    assert rounded(*values) == text


# ---- measures


def test_measures_of_generated_rows_are_those_of_the_field(space, digits):
    """The same values by the functions that take distances one by one, also under an offset."""
    X, _ = digits
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(300, 5)), rng.normal(size=(200, 5)) * 0.7
    for offset in (0.0, 1e6):
        plain = generation.FeatureSpace("plain", features=(offset + np.zeros(5)).__add__)
        found = realism.RealRows(plain, real).compare(generated)
        expected = generation.overlap(real, generated)
        assert (found["coverage"](), found["density"]()) == pytest.approx((expected.coverage, expected.density))
        nearest = np.linalg.norm(generated[:, None] - real, axis=-1).min(1).mean()
        assert found["nearest"]() == pytest.approx(nearest, rel=1e-6)
    labelled = realism.RealRows(space, Units(X)(X[1200:]))
    one_class = labelled.compare(np.repeat(Units(X)(X[1200:1201]), 50, axis=0))
    frequency = (space.probabilities(Units(X)(X[1200:])).argmax(1) == one_class_of(space, X)).mean()
    assert one_class["balance"]() == pytest.approx(1 - frequency)
    assert labelled.compare(Units(X)(X[1200:]))["balance"]() == 0.0


def one_class_of(space, X):
    return space.probabilities(Units(X)(X[1200:1201])).argmax()


def test_real_rows_score_better_than_noise_in_the_place_of_generated_ones(digits, space):
    X, _ = digits
    units = Units(X)
    real = realism.RealRows(space, units(X[1200:]))
    noise = real.compare(np.random.default_rng(0).random((500, 64)))
    floor = probes.measure_real(X[:1200], real, units, n_draws=500).values
    assert floor["coverage"] > 0.9 and noise["coverage"]() < 0.5 and noise["density"]() < 0.5 * floor["density"]
    assert all(noise[name]() > 1.2 * floor[name] for name in ("frechet", "nearest", "balance"))


def test_what_needs_labels_says_so_without_them(models, digits):
    X, _ = digits
    found = measured(models[1], digits, generation.pca_features(Units(X)(X[:1200])))
    assert {name.partition("_")[0] for name in found.reasons} == {"balance", "confidence"}
    (balance,) = (each for each in cl.judge(2, [found] * 2, [found] * 2, []) if each.measure.name == "balance_normal" and not each.measure.other)  # fmt: skip  # noqa: E501
    assert balance.verdict == "cannot" and "rows without labels" in balance.reason


class Collapsed(VAE):
    """A fitted model whose codes are all equal."""

    active_components_ = np.zeros(2, dtype=bool)

    def posterior(self, X):
        return np.zeros((len(X), 2)), np.zeros((len(X), 2))

    def transform(self, X):
        return np.zeros((len(X), 2))


def test_a_collapsed_model_is_measured_where_it_can_be(models, digits, space):
    collapsed = Collapsed(2)
    collapsed.__dict__.update(vars(models[1]))
    found = measured(collapsed, digits, space)
    assert "collapsed" in found.reasons["gaps_normal"] and np.isfinite(found.values["coverage_normal"])
    claims = cl.judge(2, [found] * 2, [found] * 2, [])
    assert {each.verdict for each in claims if each.measure.claim in ("compact", "smooth")} == {"cannot"}
    assert next(each.verdict for each in claims if each.measure.name == "coverage_normal") == "even"
    assert "none of its components is active" in conclude(claims)[0]


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
            VAE(2, decoder=decoder, neighbors=None, max_epochs=25, random_state=0).fit(X[:1200])
            for decoder in (nn.Linear(2, 64), nn.Sequential(Crumple(), nn.Linear(2, 64)))
        )
    sides = [[measured(model, digits, space, seed) for seed in range(3)] for model in (crumpled, plain)]
    by_name = {each.measure.name: each for each in cl.judge(2, *sides, [])}
    assert {by_name[name].verdict for name in ("length_ratio", "largest_step", "sensitivity")} == {"holds"}
    assert np.mean(by_name["sensitivity"].vae) == pytest.approx(1, abs=0.1)
    assert np.mean(by_name["length_ratio"].vae) == pytest.approx(1, abs=0.01)


# ---- codes and their distributions


def test_latent_vectors_are_draws_from_the_posterior_and_codes_without_one(models, digits):
    X, _ = digits
    autoencoder, vae = models
    np.testing.assert_array_equal(codes.latent_vectors(autoencoder, X), autoencoder.transform(X))
    mean, deviation = vae.posterior(X)
    standard = (codes.latent_vectors(vae, X) - mean) / deviation
    assert standard.mean() == pytest.approx(0, abs=0.06) and standard.std() == pytest.approx(1, abs=0.05)


def test_sampled_codes_come_from_each_models_own_distribution(models, digits):
    X, _ = digits
    autoencoder, vae = models
    given, drawn = autoencoder.transform(X[:1200]), codes.sample_codes(autoencoder, 4000, 0)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(given.T), atol=0.1 * np.cov(given.T).max())
    assert latent.spread(codes.sample_codes(vae, 4000, 0)) == pytest.approx(1, abs=0.05)
    np.testing.assert_array_equal(codes.sample_codes(vae, 5, 3), codes.sample_codes(vae, 5, 3))


def test_decoded_samples_are_those_of_the_estimator(models):
    for model in models:
        np.testing.assert_allclose(
            model.inverse_transform(codes.sample_codes(model, 8, 7).astype(np.float32)), model.sample(8, 7), rtol=1e-5
        )


def test_samplers_draw_from_what_they_are_named_after():
    rng = np.random.default_rng(0)
    two = np.concatenate([rng.normal(size=(1000, 2)) * 0.1 + [5, 0], rng.normal(size=(1000, 2)) * 0.1 - [5, 0]])
    draws = {name: sampler.draw(two, 4000, 0) for name, sampler in samplers.SAMPLERS.items()}
    assert stats.kstest(draws["normal"][:, 0], "norm").pvalue > 1e-3
    low, high = samplers.box(two)
    assert (draws["uniform"] >= low).all() and (draws["uniform"] <= high).all()
    np.testing.assert_allclose(np.cov(draws["gaussian"].T), np.cov(two.T), atol=1.5)
    between = {name: (np.abs(drawn[:, 0]) < 4).mean() for name, drawn in draws.items()}
    assert between["mixture"] < 0.01 < 0.5 < between["gaussian"]  # only the mixture leaves the gap between them empty
    for sampler in samplers.SAMPLERS.values():
        np.testing.assert_array_equal(sampler.draw(two, 7, 3), sampler.draw(two, 7, 3))
    with pytest.raises(DataError, match="collapsed to one value"):
        samplers.SAMPLERS["mixture"].draw(np.zeros((50, 2)), 5, 0)
