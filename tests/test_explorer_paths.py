"""Paths between codes: straight ones are the model's, those along the density avoid holes."""

import numpy as np

from explorers import pixels
from latentmap.explorer.density import CodeDensity
from latentmap.explorer.paths import Ways


def test_paths_end_at_their_rows_and_avoid_holes():
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 1.5 * np.pi, 2000)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1) * 3 + 0.1 * rng.normal(size=(2000, 2))
    density = CodeDensity(ring, ring)
    ends = np.array([[3.0, 0.0], [0.0, -3.0]])
    way = Ways(density, ring).along(*ends, 30)
    np.testing.assert_allclose(way[[0, -1]], ends)
    radii = np.linalg.norm(way, axis=1)
    straight = np.linspace(*ends, 30)
    assert radii.min() > 2.3 and np.linalg.norm(straight, axis=1).min() < 2.2
    assert density(way)[3:-3].mean() > density(straight)[3:-3].mean() + 3
    steps = np.linalg.norm(np.diff(way, axis=0), axis=1)
    assert steps.max() < 1.2 * steps.min()


def crossed(density, way):
    return sum(density.holes(density(way)))


def test_paths_along_the_density_cross_no_more_holes():
    rng = np.random.default_rng(0)
    angle, islands = rng.uniform(0, 1.5 * np.pi, 1000), rng.normal(size=(8, 2)) * 5
    ring = np.stack([np.cos(angle), np.sin(angle)], 1) * 3 + 0.3 * rng.normal(size=(1000, 2))
    islands = np.concatenate([middle + rng.normal(size=(120, 2)) * rng.uniform(0.1, 1.5) for middle in islands])
    sums = []
    for codes in (ring, islands, rng.standard_t(2, size=(1000, 2))):
        density = CodeDensity(codes, codes)
        ways, far = Ways(density, codes), codes[np.argsort(density(codes))[:20]]  # some rows lie in holes
        for a, b in [*rng.permutation(codes)[:20].reshape(10, 2, 2), *far.reshape(10, 2, 2)]:
            along, straight = ways.along(a, b, 12), np.linspace(a, b, 12)
            np.testing.assert_allclose(along[[0, -1]], [a, b])
            assert crossed(density, along) <= crossed(density, straight)
            sums.append((crossed(density, along), crossed(density, straight)))
    along, straight = np.sum(sums, axis=0)
    assert along < 0.8 * straight, (along, straight)


def test_paths_stay_on_the_space_of_the_model():
    def onto(codes):
        return codes / np.linalg.norm(codes, axis=1, keepdims=True)

    codes = onto(np.random.default_rng(0).normal(size=(500, 3)))
    way = Ways(CodeDensity(codes, codes), codes, onto).along(codes[0], codes[1], 12)
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), 1)
    np.testing.assert_allclose(way[[0, -1]], codes[:2])


def test_paths_between_islands_cross_once():
    rng = np.random.default_rng(0)
    codes = np.concatenate([rng.normal(size=(300, 2)), rng.normal(size=(300, 2)) + [40.0, 0.0]])
    way = Ways(CodeDensity(codes, codes), codes).along(codes[0], codes[-1], 12)
    assert np.isfinite(way).all() and (np.diff(way[:, 0]) > 0).mean() > 0.9


def test_straight_paths_are_those_of_the_model(shown, images):
    vae, ends = shown.estimator, images[[3, 9]]
    between_means = (
        shown.path(*vae.posterior(ends)[0].tolist(), 5),
        vae.inverse_transform(np.linspace(*vae.posterior(ends)[0], 5)),
    )
    between_places = shown.path(3, 9, 5), vae.interpolate(*ends, 5)
    for answer, expected in (between_means, between_places):
        for item, row in zip(answer.items, expected, strict=True):
            assert np.abs(item.pixels.astype(int) - pixels(row)).max() <= 1
    np.testing.assert_allclose(shown.path([0.0, 1.0], [1.0, 0.0], 3).z[1], [0.5, 0.5])
