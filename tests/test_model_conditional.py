"""Conditional models: the evidence given a condition, and what the estimator does with labels and covariates."""

import copy
import math

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from torch.distributions import MultivariateNormal

from conftest import fit
from latentmap import VAE, likelihoods, load, networks, posteriors, priors
from latentmap.exceptions import DataError, PartError
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.part import Sizes
from parts import NETWORKS, OBJECTIVES, name

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

LINEAR = networks.MLP(())
TINY = {"encoder": networks.MLP((16,)), "decoder": networks.MLP((16,)), "max_epochs": 2, "random_state": 0}
P, D, C, S = 4, 2, 3, 0.7


def linear_gaussian():
    """z | c ~ N(Ac, I), x | z, c ~ N(Wz + Vc, s^2 I), with the exact posterior; rows, conditions and log p(x|c)."""
    torch.manual_seed(0)
    w = torch.linalg.qr(torch.randn(P, D))[0] * torch.tensor([2.0, 0.5])  # W'W is diagonal, and so is the posterior
    v, a = torch.randn(P, C), torch.randn(D, C)
    parts = Parts(LINEAR, LINEAR, posteriors.Gaussian(), priors.Conditional(), likelihoods.Gaussian(scale=S))
    model = GenerativeAutoencoder(parts, Sizes(event=(P,), latent=D, condition=C))
    gram = w.T @ w
    variance = 1 / (gram.diagonal() / S**2 + 1)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
        encoder, decoder = model.encoder[0], model.decoder[0][0]
        encoder.weight[:D] = variance[:, None] * w.T / S**2
        encoder.bias[D:] = 7 * torch.atanh(0.5 * variance.log() / 7)
        model.shift.weight.copy_(S**2 * w @ torch.linalg.inv(gram) @ a - v)
        model.prior_state.loc.copy_(a.T)
        decoder.weight.copy_(torch.cat([w, v], 1))
    x, c = torch.randn(5, P), torch.randn(5, C)
    evidence = MultivariateNormal(c @ (w @ a + v).T, w @ w.T + S**2 * torch.eye(P)).log_prob(x)
    return model, x, c, evidence


def test_with_the_exact_posterior_every_weight_is_the_evidence_given_the_condition():
    model, x, c, evidence = linear_gaussian()
    assert (model.given(c).trace(x, 7).log_w - evidence).abs().max() < 1e-4
    elbo = -(trace := model.given(c).trace(x, 20_000)).distortion - trace.rate
    assert (elbo - evidence).abs().max() < 0.1
    control = model.given(c.roll(1, 0)).trace(x, 7)
    assert (control.log_w - evidence).abs().max() > 0.1


def test_a_fit_reaches_the_evidence_given_covariates():
    rng = np.random.default_rng(0)
    w, v = rng.normal(size=(6, 2)), rng.normal(size=(6, 2)) * 2
    c = rng.normal(size=(4000, 2)) * [1.0, 30.0] + [5.0, -7.0]
    mean = ((c - [5.0, -7.0]) / [1.0, 30.0]) @ v.T
    X = mean + rng.normal(size=(4000, 2)) @ w.T + 0.5 * rng.normal(size=(4000, 6))
    covariance = torch.as_tensor(w @ w.T + 0.25 * np.eye(6))
    evidence = MultivariateNormal(torch.as_tensor(mean), covariance).log_prob(torch.as_tensor(X)).mean().item()
    settings = {"encoder": LINEAR, "decoder": LINEAR, "neighbors": None, "scaling": "none", "random_state": 0}
    settings |= {"max_epochs": 70, "batch_size": 128, "learning_rate": 0.02}
    model = VAE(2, condition="covariates", **settings).fit(X, c)
    assert abs(model.score(X, c) - evidence) < 0.1
    assert VAE(2, **settings).fit(X).score(X) < evidence - 1


@pytest.mark.parametrize("objective", OBJECTIVES, ids=name)
def test_every_objective_sees_the_condition(objective, rows):
    y = np.arange(60) % 3
    model = VAE(2, condition="labels", objective=objective, **TINY).fit(rows[:60], y)
    assert np.isfinite(model.transform(rows[:5], y[:5])).all()


@pytest.mark.parametrize("network", NETWORKS, ids=name)
def test_every_network_takes_a_condition(network):
    sizes = Sizes(event=(6, 5), latent=3, condition=2)
    torch.manual_seed(0)
    parts = Parts(network, network, posteriors.Gaussian(), priors.Normal(), likelihoods.Gaussian())
    model = GenerativeAutoencoder(parts, sizes).eval()
    x, c = torch.randn(4, 30), torch.randn(4, 2)
    one, other = (model.given(each).trace(x, 2, lambda shape, like: like.new_zeros(shape)) for each in (c, -c))
    assert one.px.mean.shape == (2, 4, 30)
    assert not torch.allclose(one.levels[0].q.mean, other.levels[0].q.mean)
    assert not torch.allclose(model.given(c).decode(x[:, :3]).mean, model.given(-c).decode(x[:, :3]).mean)
    with pytest.raises(PartError, match="needs the condition"):
        model.trace(x)
    assert model.condition is None  # lending it leaves no trace


def test_a_given_model_shares_its_weights():
    model, x, c, _ = linear_gaussian()
    bound = model.given(c)
    assert [*bound.parameters()] == [*model.parameters()] and bound.decoder is model.decoder
    assert {*model.inference_parameters()} | {*model.generative_parameters()} == {*model.parameters()}


@pytest.fixture(scope="module")
def labels():
    from sklearn.datasets import load_digits

    return load_digits().target


@pytest.fixture(scope="module")
def conditional(digits, labels):
    settings = {"condition": "labels", "prior": priors.Conditional(), "max_epochs": 20, "random_state": 0}
    return fit(VAE(8, **settings), digits, labels)


def test_samples_are_of_the_class_that_was_asked_for(conditional, digits, labels):
    asked = np.arange(500) % 10
    vote = KNeighborsClassifier(5).fit(digits, labels)
    assert (vote.predict(conditional.sample(500, y=asked, random_state=0)) == asked).mean() > 0.9
    one = conditional.sample(50, y=3, random_state=0)
    assert one.shape == (50, 64) and (vote.predict(one) == 3).mean() > 0.9
    control = fit(VAE(8, max_epochs=20, random_state=0), digits).sample(500, random_state=0)
    assert (vote.predict(control) == asked).mean() < 0.3


def test_a_code_decodes_to_whatever_class_is_asked_for(conditional, digits, labels):
    vote = KNeighborsClassifier(5).fit(digits, labels)
    Z = conditional.transform(digits[:100], labels[:100])
    for digit in (0, 7):
        assert (vote.predict(conditional.inverse_transform(Z, digit)) == digit).mean() > 0.8
    assert (vote.predict(conditional.reconstruct(digits[:100], labels[:100])) == labels[:100]).mean() > 0.9


def test_scores_are_repeatable_and_independent_of_batching(conditional, digits, labels):
    together = conditional.score_samples(digits[:20], 5, y=labels[:20])
    alone = [conditional.score_samples(digits[i : i + 1], 5, y=labels[i : i + 1])[0] for i in range(20)]
    np.testing.assert_allclose(together, alone, rtol=1e-6)
    wrong = conditional.score_samples(digits[:200], 5, y=(labels[:200] + 1) % 10)
    assert conditional.score_samples(digits[:200], 5, y=labels[:200]).mean() > wrong.mean() + 10


def test_a_saved_conditional_model_is_the_same(conditional, digits, labels, tmp_path):
    conditional.save(tmp_path / "run")
    again = load(tmp_path / "run")
    np.testing.assert_array_equal(
        again.transform(digits[:9], labels[:9]), conditional.transform(digits[:9], labels[:9])
    )
    np.testing.assert_array_equal(again.sample(3, 0, y=[1, 2, 3]), conditional.sample(3, 0, y=[1, 2, 3]))
    np.testing.assert_array_equal(again.classes_, np.arange(10))


@pytest.mark.parametrize(
    "y",
    [["a", "b"] * 30, np.array([True, False] * 30), pd.Series(["x", "y"] * 30, dtype="category"), [-1, 1] * 30],
    ids=["text", "bool", "categorical", "signs"],
)
def test_labels_of_any_type(y, rows, tmp_path):
    model = VAE(2, condition="labels", **TINY).fit(rows[:60], y)
    assert sorted(set(np.asarray(y).tolist())) == model.classes_.tolist()
    model.save(tmp_path / "run")
    np.testing.assert_array_equal(load(tmp_path / "run").transform(rows[:60], y), model.transform(rows[:60], y))
    model.partial_fit(rows[:30], y[:30])
    assert model.transform(rows[:1], y[:1]).shape == (1, 2)


def test_covariates_are_standardised_and_saved(rows, tmp_path):
    rng = np.random.default_rng(0)
    c = rng.normal(size=(60, 2)) * [1, 1e6]
    model = VAE(2, condition="covariates", **TINY).fit(rows[:60], c)
    rescaled = VAE(2, condition="covariates", **TINY).fit(rows[:60], c * [1000, 1e-3] + 5)
    np.testing.assert_allclose(
        model.transform(rows[:9], c[:9]), rescaled.transform(rows[:9], c[:9] * [1000, 1e-3] + 5), rtol=1e-4, atol=1e-5
    )
    model.save(tmp_path / "run")
    np.testing.assert_array_equal(load(tmp_path / "run").sample(4, 0, y=c[0]), model.sample(4, 0, y=c[0]))
    single = VAE(2, condition="covariates", **TINY).fit(rows[:60], c[:, 0])
    assert single.sample(3, 0, y=0.5).shape == (3, 64)


def test_pipelines_and_searches(rows, labels):
    y = labels[:200]
    model = VAE(2, condition="labels", **TINY)
    Z = clone(model).fit_transform(rows[:200], y)
    np.testing.assert_array_equal(Z, model.fit(rows[:200], y).transform(rows[:200], y))
    search = GridSearchCV(VAE(condition="labels", **TINY), {"n_components": [2, 3]}, cv=2).fit(rows[:200], y)
    assert np.isfinite(search.best_score_)
    assert math.isclose(search.best_estimator_.score(rows[:200], y), search.score(rows[:200], y))


def test_interpolation_under_one_condition_or_between_two(conditional, digits, labels):
    a, b = digits[0], digits[1]
    assert conditional.interpolate(a, b, 5, y=3).shape == (5, 64)
    ends = conditional.interpolate(a, b, 5, y=labels[:2])[[0, -1]]
    np.testing.assert_allclose(ends, conditional.reconstruct(digits[:2], labels[:2]), rtol=1e-4, atol=1e-3)


def test_double_precision(conditional, digits, labels):
    single = conditional.transform(digits[:5].astype(np.float32), labels[:5])
    double = conditional.transform(digits[:5], labels[:5])
    assert double.dtype == np.float64 and single.dtype == np.float32
    np.testing.assert_allclose(single, double, atol=1e-4)


def test_a_model_that_is_given_a_label_is_that_of_its_rows(conditional, digits):
    threes, X = conditional.given(3), digits[:20]
    assert np.array_equal(threes.transform(X), conditional.transform(X, 3))
    assert np.array_equal(threes.score_samples(X), conditional.score_samples(X, y=3))
    assert np.array_equal(threes.sample(4, 0), conditional.sample(4, 0, y=3))
    assert np.array_equal(threes.inverse_transform(threes.transform(X)), threes.reconstruct(X))
    assert np.array_equal(threes.interpolate(X[0], X[1]), conditional.interpolate(X[0], X[1], y=3))
    assert np.array_equal(threes.transform(X, 5), conditional.transform(X, 5))  # what is said counts
    assert not np.array_equal(threes.transform(X), conditional.transform(X, 5))
    with pytest.raises(DataError, match="needs y"):
        conditional.transform(X)


def test_only_what_a_model_was_conditioned_on_can_be_given(conditional, vae):
    with pytest.raises(DataError, match="expected labels among"):
        conditional.given(11)
    with pytest.raises(PartError, match="for conditional models"):
        vae.given(3)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m, X: m.transform(X), "a conditional model needs y, the labels"),
        (lambda m, X: m.sample(3), "a conditional model needs y"),
        (lambda m, X: m.transform(X, [1, 2]), r"one label for each of the 5 rows, got shape \(2,\)"),
        (lambda m, X: m.sample(3, y=11), "expected labels among 0, 1, 2.*got 11"),
        (lambda m, X: m.sample(3, y="a"), "expected labels among 0, 1, 2.*got a"),
        (lambda m, X: m.score_samples(X, y=[1, 2, 3, None, 5]), "a label for every row, got 1 missing"),
        (lambda m, X: m.fit(X, [0.1, 0.2, 0.3, 0.45, 0.7]), "got continuous numbers; use condition='covariates'"),
        (lambda m, X: m.fit(X, [1] * 5), "two or more classes"),
        (lambda m, X: m.fit(X, [1]), "one label for each of the 5 rows"),
        (lambda m, X: m.fit(X), "needs y"),
        (lambda m, X: m.set_params(condition="classes").fit(X), "condition must be None, 'labels' or"),
        (lambda m, X: m.set_params(neighbors=5).fit(X, [0, 1] * 2 + [0]), "keeps no neighbours"),
        (lambda m, X: m.set_params(condition="covariates").fit(X, ["a"] * 5), "covariates to be numbers"),
        (lambda m, X: m.set_params(condition="covariates").fit(X, [1, 2, 3, np.nan, 4]), "finite covariates"),
        (lambda m, X: m.set_params(condition="covariates").fit(X, [1.0, 2.0]), "one row for each row"),
        (lambda m, X: VAE(2, prior=priors.Conditional(), **TINY).fit(X), "needs a conditional model"),
    ],
)
def test_errors_are_one_clear_line(call, message, conditional, digits):
    with pytest.raises((DataError, PartError), match=message) as error:
        call(copy.deepcopy(conditional), digits[:5])
    assert "\n" not in str(error.value)
