"""Laws of the generation measures: analytic distances, chance levels, and controls that must differ."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from latentmap.evaluation import generation as gen
from latentmap.exceptions import DataError


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    return X[order] / 16, y[order]


@pytest.fixture(scope="module")
def space(digits):
    X, y = digits
    return gen.classifier_features(X[:1200], y[:1200])


def moment_matched(rng, n, mean, root):
    """Rows whose sample mean and covariance are exactly `mean` and root @ root.T."""
    x = rng.normal(size=(n, len(mean)))
    x = x - x.mean(0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    return x @ root.T + mean


def test_frechet_distance_of_commuting_gaussians_is_analytic():
    rng = np.random.default_rng(0)
    sd_a, sd_b, shift = np.array([1.0, 2.0, 0.5]), np.array([3.0, 2.0, 1.0]), np.array([1.0, -2.0, 0.0])
    a = moment_matched(rng, 400, np.zeros(3), np.diag(sd_a))
    b = moment_matched(rng, 300, shift, np.diag(sd_b))
    assert gen.frechet_distance(a, b) == pytest.approx((shift**2).sum() + ((sd_a - sd_b) ** 2).sum())


def test_frechet_distance_of_general_gaussians_agrees_with_the_matrix_root():
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(1)
    roots = rng.normal(size=(2, 4, 4))
    a, b = (moment_matched(rng, 200, mean, root) for mean, root in zip(rng.normal(size=(2, 4)), roots))
    s1, s2 = (root @ root.T for root in roots)
    gap = a.mean(0) - b.mean(0)
    expected = gap @ gap + np.trace(s1 + s2 - 2 * sqrtm(s1 @ s2).real)
    assert gen.frechet_distance(a, b) == pytest.approx(expected)
    assert gen.frechet_distance(b, a) == pytest.approx(expected)
    assert abs(expected - (gap @ gap + np.trace(s1 + s2) - 2 * np.sqrt(np.trace(s1 @ s2)))) > 0.1  # a wrong formula


def test_frechet_distance_bears_flat_clouds():
    a = np.c_[np.arange(10.0), np.zeros(10), np.ones(10)]
    assert gen.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert gen.frechet_distance(a[:, :1], a[:, :1] + 3) == pytest.approx(9)


def test_classifier_space_is_named_seeded_and_knows_its_accuracy(digits, space):
    X, y = digits
    again = gen.classifier_features(X[:1200], y[:1200])
    assert space.name == again.name and space.name.startswith("MLP-classifier-128 penultimate, trained on ")
    np.testing.assert_array_equal(space.features(X[:5]), again.features(X[:5]))
    assert gen.classifier_features(X[:1200] + 0.01, y[:1200]).name != space.name
    assert space.accuracy > 0.9 and space.features(X[:7].reshape(7, 8, 8)).shape == (7, 128)
    probabilities = space.probabilities(X[1200:])
    assert (probabilities.argmax(1) == y[1200:]).mean() > 0.9
    np.testing.assert_allclose(probabilities.sum(1), 1)


def test_hidden_layer_explains_the_probabilities(digits, space):
    """The features are those the classifier decides by: one linear layer of them separates what it separates."""
    from sklearn.linear_model import LinearRegression

    X, _ = digits
    logits = np.log(space.probabilities(X))
    logits -= logits.mean(1, keepdims=True)
    assert LinearRegression().fit(space.features(X), logits).score(space.features(X), logits) > 1 - 1e-6


def test_confidence_tells_digits_from_noise_and_from_blends(digits, space):
    X, _ = digits
    real = X[1200:]
    noise = np.random.default_rng(0).random(real.shape)
    blends = (real + real[::-1]) / 2
    sure = gen.confidence(space, real)
    for fake in (noise, blends):
        unsure = gen.confidence(space, fake)
        assert unsure.mean < sure.mean - 0.15 and unsure.fraction_sure < sure.fraction_sure - 0.3


@pytest.mark.parametrize("labelled", [True, False])
def test_frechet_distance_ranks_worse_images_worse(digits, space, labelled):
    X, _ = digits
    features = (space if labelled else gen.pca_features(X[:1200])).features
    rng = np.random.default_rng(0)
    real, other = features(X[:597]), X[1200:]
    distances = [gen.frechet_distance(real, features(other + s * rng.normal(size=other.shape))) for s in (0, 0.2, 0.5)]
    assert distances[0] < distances[1] / 2 < distances[2] / 4


def test_overlap_of_equal_sets_is_near_its_expected_value():
    rng = np.random.default_rng(0)
    k, a, b = 5, rng.normal(size=(2000, 3)), rng.normal(size=(2000, 3))
    same = gen.overlap(a, b, k)
    assert same.density == pytest.approx(1, abs=0.1)
    assert same.coverage == pytest.approx(1 - 2.0**-k, abs=0.02)  # exact for equal sets: Naeem et al., section 3.4
    assert same.precision == pytest.approx(same.recall, abs=0.03)


def test_overlap_tells_lost_variety_from_lost_realism():
    rng = np.random.default_rng(0)
    two_groups = np.r_[rng.normal(size=(400, 2)), rng.normal(size=(400, 2)) + 20]
    one_group = rng.normal(size=(800, 2))
    dropped = gen.overlap(two_groups, one_group)
    invented = gen.overlap(one_group, two_groups)
    assert dropped.precision > 0.95 and dropped.recall == pytest.approx(0.5, abs=0.05) and dropped.coverage < 0.55
    assert invented.precision == pytest.approx(0.5, abs=0.05) and invented.recall > 0.95 and invented.density < 0.7


def test_overlap_agrees_with_its_formula_and_exchanges_precision_with_recall():
    rng = np.random.default_rng(2)
    k, a, b = 3, rng.normal(size=(60, 2)), rng.normal(size=(50, 2)) + 0.7
    distances = np.linalg.norm(a[:, None] - b, axis=-1)
    radii = np.sort(np.linalg.norm(a[:, None] - a, axis=-1), axis=1)[:, k]  # column 0 is the row itself
    inside = distances <= radii[:, None]
    result = gen.overlap(a, b, k)
    assert result.precision == pytest.approx(inside.any(0).mean())
    assert result.density == pytest.approx(inside.sum() / (k * len(b)))
    assert result.coverage == pytest.approx(inside.any(1).mean())
    assert gen.overlap(b, a, k).precision == result.recall


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X: gen.classifier_features(X, np.zeros(len(X))), "at least two classes"),
        (lambda X: gen.classifier_features(X, [0, 1]), "2 labels for"),
        (lambda X: gen.confidence(gen.pca_features(X), X), "confidence needs a classifier"),
        (lambda X: gen.frechet_distance(X, X[:, :3]), "widths 64 and 3"),
        (lambda X: gen.frechet_distance(X, X[:1]), "at least two rows"),
        (lambda X: gen.overlap(X, X[:5], 5), "more rows than that"),
    ],
)
def test_bad_input_is_one_clear_line(call, message, digits):
    with pytest.raises(DataError, match=message):
        call(digits[0][:100])
