"""Every likelihood through the estimators: fitted, scored, sampled, saved; and data that one cannot carry, refused."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import load_digits

from latentmap import VAE, Autoencoder, likelihoods, load, networks
from latentmap.exceptions import NoDensityError, PartError

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

DIGITS = load_digits().data[:300].reshape(-1, 8, 8)  # whole numbers from 0 to 16
GREY = DIGITS / 16
MLP = networks.MLP((32,))

REAL = [
    likelihoods.Gaussian(),
    likelihoods.Gaussian(scale="optimal"),
    likelihoods.Laplace(scale="optimal"),
    likelihoods.StudentT(scale="feature"),
]
COUNTS = [
    likelihoods.Poisson(),
    likelihoods.NegativeBinomial(),
    likelihoods.ZeroInflated(likelihoods.Poisson()),
    likelihoods.ZeroInflated(),
]
LEVELS = [
    likelihoods.DiscretizedLogistic(levels=17),
    likelihoods.LogisticMixture(components=2, levels=17),
    likelihoods.Categorical(levels=17),
]
CASES = [*((part, GREY) for part in REAL), *((part, DIGITS) for part in COUNTS + LEVELS)]
CASES += [
    (likelihoods.ContinuousBernoulli(), GREY),
    (likelihoods.MSSSIM(), GREY),
    (likelihoods.Bernoulli(), GREY > 0.5),
]


def fit(part, X, **settings):
    settings = {"max_epochs": 12, "batch_size": 16, "learning_rate": 1e-2, "random_state": 0} | settings
    return VAE(4, likelihood=part, encoder=MLP, decoder=MLP, **settings).fit(X)


@pytest.mark.parametrize(("part", "X"), CASES, ids=lambda value: repr(value) if hasattr(value, "to_json") else "")
def test_every_likelihood_goes_all_the_way(part, X, tmp_path):
    X = X.astype(np.float64)
    vae = fit(part, X)
    assert vae.history_[-1]["val_loss"] < vae.history_[0]["val_loss"]
    codes = vae.transform(X)
    assert np.array_equal(codes, vae.transform(X)) and np.allclose(codes[5:6], vae.transform(X[5:6]), atol=1e-10)
    assert vae.reconstruct(X[:7]).shape == (7, 8, 8)
    error, spread = np.square(X - vae.reconstruct(X)).mean(), np.square(X - X.mean(0)).mean()
    assert error < spread or part in (likelihoods.MSSSIM(),)  # which cares for likeness, not for error
    vae.save(tmp_path / "run")
    again = load(tmp_path / "run")
    assert np.array_equal(again.transform(X), codes)
    assert np.array_equal(again.sample(3, random_state=1), vae.sample(3, random_state=1))
    assert again.likelihood == part
    if not part.has_density:
        with pytest.raises(NoDensityError, match=r"its likelihood is MSSSIM; use likelihoods.Gaussian\(\)"):
            vae.score_samples(X)
        assert vae.score(X) == pytest.approx(-error)
        return
    scores = vae.score_samples(X)
    assert np.array_equal(again.score_samples(X), scores) and np.isfinite(scores).all()
    assert np.allclose(vae.score_samples(X[9:10], n_samples=3), vae.score_samples(X, n_samples=3)[9:10])
    draws = vae.sample(50, random_state=0, noise=True)
    assert draws.min() >= part.support[0] * X.max() and draws.max() <= part.support[1] * X.max() + 1e-6
    if part.discrete:
        assert np.allclose(draws, draws.round(), atol=1e-4)
        assert (scores <= 0).all()  # the bound on the logarithm of a mass


@pytest.mark.parametrize("part", REAL, ids=repr)
def test_densities_change_with_the_units_of_the_data(part):
    small, large = (fit(part, X, max_epochs=2, scaling="range") for X in (GREY, 10 * GREY))
    gap = small.score_samples(GREY) - large.score_samples(10 * GREY)
    assert gap == pytest.approx(64 * math.log(10), rel=1e-3)


@pytest.mark.parametrize("part", LEVELS, ids=repr)
def test_masses_do_not(part):
    whole, fractions = (fit(part, X, max_epochs=3) for X in (DIGITS.astype(np.uint8), GREY))
    assert whole.score_samples(DIGITS) == pytest.approx(fractions.score_samples(GREY), rel=1e-3)
    bits = -whole.score(DIGITS) / (64 * math.log(2))
    assert bits < math.log2(17)  # what levels cost that nobody has looked at


def test_bytes_are_levels_whatever_the_brightest_is():
    dim = (DIGITS * 7).astype(np.uint8)  # up to 112
    vae = fit(likelihoods.DiscretizedLogistic(), dim, max_epochs=2)
    assert vae.scaling_.scale.item() == 255
    assert vae.choices_["scaling"].startswith("range (chosen")


def test_a_poisson_finds_the_rates_of_counts():
    rates = np.array([0.3, 2.0, 8.0, 30.0, 300.0])
    X = np.random.default_rng(0).poisson(rates, (600, 5))
    vae = VAE(1, likelihood=likelihoods.Poisson(), encoder=MLP, decoder=MLP, max_epochs=20, random_state=0).fit(X)
    assert vae.reconstruct(X).mean(0) == pytest.approx(X.mean(0), rel=0.1)
    truth = stats.poisson.logpmf(X, rates).sum(1).mean()
    assert truth - 0.2 < vae.score(X) < truth + 0.1


def test_an_optimal_scale_ends_at_the_error_of_the_fit():
    vae = fit(likelihoods.Gaussian(scale="optimal"), GREY)
    scale = vae.model_.decode(vae.model_.prior().mean[None]).stddev[0, 0].item()
    error = math.sqrt(np.square(GREY - vae.reconstruct(GREY)).mean())
    assert error < scale < 1.5 * error  # the reconstruction is of the mean code, without its noise


@pytest.mark.parametrize("part", [likelihoods.MSSSIM(), likelihoods.NegativeBinomial(), LEVELS[0]], ids=repr)
def test_autoencoders_take_them_too(part):
    X = GREY if part == likelihoods.MSSSIM() else DIGITS
    settings = {"encoder": MLP, "decoder": MLP, "max_epochs": 6, "batch_size": 32, "random_state": 0}
    model = Autoencoder(4, likelihood=part, **settings).fit(X)
    assert model.history_[-1]["val_loss"] < model.history_[0]["val_loss"]
    with pytest.raises(NoDensityError, match="its posterior is Deterministic; use VAE"):
        model.score_samples(X)


# ---- bad input

GENERATOR = np.random.default_rng(0)
FEW, MANY = GENERATOR.poisson(5, (60, 4)), GENERATOR.poisson(5, (60, 30)).astype(float)
VECTORS = GREY.reshape(-1, 64)


@pytest.mark.parametrize(
    ("part", "X", "settings", "message"),
    [
        (likelihoods.Bernoulli(), FEW, {}, r"Bernoulli takes values from 0 to 1.*NegativeBinomial\(\) for counts"),
        (likelihoods.Bernoulli(), MANY, {}, "got whole numbers from 0 to .*scaling='range' for grey values"),
        (likelihoods.ContinuousBernoulli(), MANY, {}, "use likelihoods.NegativeBinomial"),
        (likelihoods.Bernoulli(), MANY, {"scaling": "none"}, "Bernoulli takes values from 0 to 1, got 0 to"),
        (likelihoods.Bernoulli(), VECTORS - 0.5, {"scaling": "none"}, "takes values from 0 to 1, got -0.5"),
        (likelihoods.NegativeBinomial(), VECTORS, {}, r"NegativeBinomial takes counts, whole numbers >= 0.*in between"),
        (likelihoods.Poisson(), VECTORS, {}, r"Poisson takes counts.*ContinuousBernoulli\(\)"),
        (likelihoods.ZeroInflated(), FEW - 3, {}, "ZeroInflated takes counts.*negative values"),
        (likelihoods.Poisson(), FEW, {"scaling": "standard"}, "Poisson needs scaling='none'.*got 'standard'"),
        (likelihoods.DiscretizedLogistic(), DIGITS, {"scaling": "none"}, "needs scaling='range'.*got 'none'"),
        (likelihoods.DiscretizedLogistic(levels=16), DIGITS, {}, r"0 to 15.*DiscretizedLogistic\(levels=17"),
        (likelihoods.Categorical(), DIGITS - 1, {}, r"got values from -1 to 15; use likelihoods.Gaussian\(\)"),
        (likelihoods.LogisticMixture(), 3 * GREY, {}, "fractions from 0 to 1, got values from 0 to 3"),
        (likelihoods.MSSSIM(), VECTORS, {}, "MSSSIM takes images"),
        (likelihoods.MSSSIM(), GREY, {"scaling": "standard"}, "MSSSIM takes values from 0 to 1.*scaling='range'"),
    ],
)
def test_data_that_a_likelihood_cannot_carry_are_refused(part, X, settings, message):
    with pytest.raises(PartError, match=message):
        fit(part, X, **settings)


@pytest.mark.parametrize(
    ("part", "X", "settings"),
    [
        (likelihoods.Bernoulli(), MANY, {"scaling": "range"}),
        (likelihoods.Bernoulli(), (15 * DIGITS).astype(np.uint8).reshape(-1, 64), {}),
        (likelihoods.Poisson(), FEW, {"scaling": "none"}),
        (likelihoods.Poisson(), GREY > 0.5, {}),
        (likelihoods.DiscretizedLogistic(), DIGITS, {"scaling": "range"}),
    ],
)
def test_controls_what_it_can_carry_is_taken(part, X, settings):
    fit(part, X.astype(X.dtype if X.dtype != bool else float), max_epochs=1, **settings)
