"""Bounds with error bars against known evidence, and the two parts of the rate against their closed forms."""

import numpy as np
import pytest
from scipy.stats import norm

from latentmap.evaluation.evidence import evidence, importance_bound, rate_parts
from latentmap.exceptions import DataError, NoDensityError


def log_weights(k, rows, seed=0):
    """z ~ N(0, 1) and x | z ~ N(z, 1), under a q that is wider than the posterior N(x/2, 1/2) and beside it."""
    rng = np.random.default_rng(seed)
    mean, scale = rows / 2 + 0.2, 0.9
    z = mean + scale * rng.normal(size=(k, len(rows)))
    return norm.logpdf(z) + norm.logpdf(rows, z, 1) - norm.logpdf(z, mean, scale)


def test_the_bound_meets_the_evidence_within_its_error():
    rows = np.random.default_rng(1).normal(size=200) * np.sqrt(2)
    exact = norm.logpdf(rows, 0, np.sqrt(2)).mean()
    bound = importance_bound(log_weights(5000, rows))
    assert abs(bound.mean - exact) < 4 * bound.sampling_error < 0.02
    assert bound.error == pytest.approx(norm.logpdf(rows, 0, np.sqrt(2)).std(ddof=1) / np.sqrt(200), rel=0.05)
    assert abs(log_weights(5000, rows).mean() - exact) > 20 * bound.sampling_error  # the ELBO is not the evidence


def test_the_sampling_error_is_the_spread_over_repeated_draws():
    rows = np.random.default_rng(1).normal(size=50)
    bounds = [importance_bound(log_weights(200, rows, seed)) for seed in range(100)]
    spread = np.std([each.mean for each in bounds])
    assert np.mean([each.sampling_error for each in bounds]) == pytest.approx(spread, rel=0.3)
    assert 1 < bounds[0].effective_draws < 200


def test_far_weights_do_not_overflow():
    bound = importance_bound(np.array([[-1e5, 1e5], [-1e5 + 1, 1e5]]))
    assert np.isfinite(bound.mean) and np.isfinite(bound.sampling_error)


def test_the_bound_of_a_model_is_its_score(vae, rows):
    bound = evidence(vae, rows, k=100)
    assert bound.mean == pytest.approx(vae.score_samples(rows, 100).mean(), abs=1e-9)
    assert evidence(vae, rows, 5).mean < bound.mean + 2 * bound.sampling_error
    assert vae.log_weights(rows[:3], 7).shape == (3, 7)
    np.testing.assert_allclose(vae.log_weights(rows[:1], 70), vae.log_weights(rows[:3], 70)[:1], rtol=1e-6)


def test_models_without_density_are_refused(autoencoder, rows):
    with pytest.raises(NoDensityError):
        evidence(autoencoder, rows)


def test_codes_that_fill_the_prior_have_no_divergence():
    rng = np.random.default_rng(0)
    a = 0.9  # means N(0, a^2) and variances 1 - a^2 add up to the prior
    parts = rate_parts(a * rng.normal(size=(4000, 1)), np.full((4000, 1), np.sqrt(1 - a**2)))
    assert parts.information == pytest.approx(-0.5 * np.log(1 - a**2), abs=0.03)
    assert parts.divergence == pytest.approx(0, abs=0.03)


def test_codes_that_all_agree_carry_nothing():
    parts = rate_parts(np.full((300, 2), 1.5), np.full((300, 2), 0.5))
    assert parts.information == pytest.approx(0, abs=1e-9)
    assert parts.divergence == pytest.approx(parts.rate) and parts.rate > 2


def test_information_is_at_most_log_n():
    parts = rate_parts(100.0 * np.random.default_rng(0).normal(size=(64, 3)), np.full((64, 3), 0.1))
    assert parts.information == pytest.approx(np.log(64), abs=1e-6)
    assert parts.rate == pytest.approx(parts.information + parts.divergence)


def test_a_fitted_model_splits_its_rate(vae, rows):
    parts = rate_parts(*vae.posterior(rows))
    assert parts.rate == pytest.approx(vae.kl_per_component_.sum(), rel=1e-4)
    assert 0 < parts.information < np.log(len(rows)) and parts.divergence > -0.05


@pytest.mark.parametrize(
    "means, scales, message",
    [
        (np.ones((3, 2)), np.ones((3, 1)), "same shape"),
        (np.ones((3, 2)), np.zeros((3, 2)), "scales must be positive"),
    ],
)
def test_bad_input(means, scales, message):
    with pytest.raises(DataError, match=message):
        rate_parts(means, scales)
