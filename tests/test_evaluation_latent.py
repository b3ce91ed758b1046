"""Laws of the latent measures: known answers on codes and decoders made for it, invariance, and controls."""

import numpy as np
import pytest
from scipy.stats import chi2

from latentmap.evaluation import latent
from latentmap.exceptions import DataError

DIMENSIONS = [1, 2, 20]


def gaussian(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def ring(n, seed=0):
    """Codes with a hole in the middle: a Gaussian without its inner half."""
    rng = np.random.default_rng(seed)
    radius, angle = np.sqrt(2 * np.log(2) + rng.chisquare(2, n)), rng.uniform(0, 2 * np.pi, n)
    return np.c_[radius * np.cos(angle), radius * np.sin(angle)]


def clusters(n, d=2, seed=0):
    """Codes in separate islands."""
    rng = np.random.default_rng(seed)
    return 10 * rng.normal(size=(8, d))[rng.integers(0, 8, n)] + 0.3 * rng.normal(size=(n, d))


def affine(codes):
    return codes @ np.random.default_rng(5).normal(size=(codes.shape[1],) * 2) * 40 - 7


@pytest.mark.parametrize("d", DIMENSIONS)
def test_gaussian_codes_have_the_known_values(d):
    codes = gaussian(4000, d)
    assert latent.spread(3 * codes) == pytest.approx(3, rel=0.03)
    assert latent.tail_ratio(codes) == pytest.approx(np.sqrt(chi2.ppf(0.99, d) / chi2.ppf(0.5, d)), rel=0.05)
    assert latent.negentropy(codes, random_state=1) == pytest.approx(0, abs=0.05 * d)
    assert latent.gap_fraction(codes, gaussian(4000, d, 1), gaussian(4000, d, 2)) == pytest.approx(2**-5, abs=0.02)


@pytest.mark.parametrize(
    "codes", [ring(1500), clusters(1500), gaussian(1500, 2) ** 3], ids=["ring", "islands", "tails"]
)
def test_measures_do_not_change_under_an_affine_map_except_spread(codes):
    draws = [gaussian(1500, 2, seed) * 2 for seed in (1, 2)]
    for measure in (latent.tail_ratio, latent.negentropy):
        assert measure(affine(codes)) == pytest.approx(measure(codes))
    assert latent.gap_fraction(affine(codes), *map(affine, draws)) == latent.gap_fraction(codes, *draws)
    assert latent.spread(affine(codes)) > 5 * latent.spread(codes)


def test_a_hole_in_the_middle_is_counted():
    """A ring around an empty disk, probed by the Gaussian whose inner half it lacks: half of the probes are in the gap.

    Outside the disk the ring has twice the density of the draws, which leaves (1 + 2)^-5 of those probes in gaps.
    """
    codes, draws, probes = ring(6000), gaussian(6000, 2, 1), gaussian(6000, 2, 2)
    inside = np.linalg.norm(probes, axis=1) < np.sqrt(2 * np.log(2))
    assert latent.gap_fraction(codes, draws, probes) == pytest.approx(0.5 + 0.5 * 3.0**-5, abs=0.03)
    assert latent.gap_fraction(codes, draws, probes[inside]) > 0.93
    assert latent.gap_fraction(codes, draws, probes[~inside]) < 0.05


@pytest.mark.parametrize("d", [2, 20])
@pytest.mark.parametrize("rarer", [2, 10])
def test_gap_fraction_is_the_stated_function_of_relative_density(d, rarer):
    """Codes that come from the draws' distribution with probability 1/rarer, and else from far away."""
    codes = gaussian(6000, d)
    codes[len(codes) // rarer :] += 1000
    fraction = latent.gap_fraction(codes, gaussian(6000, d, 1), gaussian(4000, d, 2))
    assert fraction == pytest.approx((1 + 1 / rarer) ** -5, abs=0.03)


@pytest.mark.parametrize("n", [500, 4000])
def test_islands_leave_gaps_between_them_at_any_number_of_rows(n):
    codes = clusters(n)
    rng = np.random.default_rng(1)
    draws, probes = (rng.multivariate_normal(codes.mean(0), np.cov(codes.T), n) for _ in range(2))
    assert latent.gap_fraction(codes, draws, probes) > 0.8
    assert latent.negentropy(codes) > 1.5


def test_divergence_from_the_prior_is_analytic_for_gaussians():
    mean, sd = np.array([1.0, 0.0, -0.5]), np.array([1.0, 0.5, 2.0])
    analytic = 0.5 * (sd**2 + mean**2 - 1 - 2 * np.log(sd)).sum()
    codes = gaussian(5000, 3) * sd + mean
    assert latent.divergence_from_standard_normal(codes, random_state=1) == pytest.approx(analytic, abs=0.1)
    assert latent.divergence_from_standard_normal(gaussian(5000, 3), random_state=1) == pytest.approx(0, abs=0.06)


def test_negentropy_of_uniform_codes_is_analytic():
    codes = np.random.default_rng(0).uniform(size=(20_000, 2))
    assert latent.negentropy(codes) == pytest.approx(np.log(2 * np.pi * np.e / 12), abs=0.03)


def test_equal_codes_and_flat_axes_are_no_obstacle():
    codes = np.repeat(gaussian(200, 2), 8, axis=0)
    assert latent.negentropy(codes) == pytest.approx(latent.negentropy(codes[::8]), abs=0.02)
    flat = np.c_[gaussian(800, 1), np.zeros(800)]
    draws = [np.c_[gaussian(800, 1, seed), np.zeros(800)] for seed in (1, 2)]
    assert latent.gap_fraction(flat, *draws) == pytest.approx(2**-5, abs=0.02)


def test_active_components_are_those_whose_means_vary():
    means = gaussian(500, 3) * [1.0, 0.05, 0.2]
    assert latent.active_components(means).tolist() == [True, False, True]


@pytest.mark.parametrize("d", DIMENSIONS)
def test_an_affine_decoder_is_perfectly_smooth(d):
    weights = np.random.default_rng(3).normal(size=(d, 12))
    codes = affine(gaussian(3000, d))
    curves = latent.lines(lambda z: (z @ weights + 4).reshape(-1, 3, 4), codes[:50], codes[50:100])
    assert curves.length_ratio == pytest.approx(1) and curves.largest_step == pytest.approx(1)
    np.testing.assert_allclose(
        curves.midpoints.reshape(50, 12), (codes[:50] + codes[50:100]) @ weights / 2 + 4, atol=1e-9
    )
    assert latent.sensitivity(lambda z: z @ weights + 4, codes) == pytest.approx(1, rel=0.1)


def test_a_detour_a_jump_and_a_crumpled_decoder_differ():
    half_circle = latent.lines(lambda z: np.c_[np.cos(z), np.sin(z)], [[0.0]], [[np.pi]], 256)
    assert half_circle.length_ratio == pytest.approx(np.pi / 2, rel=1e-3)
    assert half_circle.largest_step == pytest.approx(1)
    jump = latent.lines(lambda z: (z > 0.3).astype(float), [[0.0]], [[1.0]], 32)
    assert jump.length_ratio == 1 and jump.largest_step == 32
    codes = gaussian(2000, 2)
    assert latent.sensitivity(lambda z: np.sign(z), codes) > 2
    assert latent.sensitivity(lambda z: np.sin(20 * z), codes) > 50


def test_smoothness_does_not_depend_on_the_scale_of_codes_or_rows():
    def decode(z):
        return np.tanh(3 * z) @ [[1.0, 2.0, 0.0], [0.0, 1.0, -1.0]]

    codes = gaussian(1000, 2)
    one, other = (
        (latent.lines(d, z[:50], z[50:100]), latent.sensitivity(d, z))
        for d, z in ((decode, codes), (lambda z: 9 * decode((z + 3) / 40), codes * 40 - 3))
    )
    assert (one[0].length_ratio, one[0].largest_step) == pytest.approx((other[0].length_ratio, other[0].largest_step))
    assert one[1] == pytest.approx(other[1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: latent.negentropy(0 * z), "5 neighbours need more distinct codes than that, got 1"),
        (lambda z: latent.tail_ratio(0 * z), "collapsed to a point"),
        (lambda z: latent.gap_fraction(z, z[:, :1], z), "equal widths, got 2, 1, 2"),
        (lambda z: latent.gap_fraction(z, z[:4], z), "got 4"),
        (lambda z: latent.lines(np.zeros_like, z[:2], z[2:4]), "same row"),
        (lambda z: latent.lines(np.copy, z[:2], z[2:4], 3), "even number"),
        (lambda z: latent.sensitivity(np.zeros_like, z), "same row"),
        (lambda z: latent.spread([[np.inf]]), "NaN or infinity"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(DataError, match=message):
        call(gaussian(100, 2))
