"""Laws of the neighbourhood measures: perfect maps score one, maps that lost the data score chance."""

import numpy as np
import pytest

from latentmap.evaluation import neighborhood as nb
from latentmap.evaluation.rows import sample_rows
from latentmap.exceptions import DataError

RANK_MEASURES = [nb.trustworthiness, nb.continuity, nb.neighbor_recall, nb.distance_rank_correlation]


@pytest.fixture(scope="module")
def cloud():
    rng = np.random.default_rng(0)
    return rng.normal(size=(1000, 4)), rng.normal(size=(1000, 4))


@pytest.mark.parametrize("measure", RANK_MEASURES)
def test_a_rotated_and_scaled_map_is_perfect_and_an_unrelated_one_is_not(measure, cloud):
    X, unrelated = cloud
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))
    assert measure(X, 7 * X @ rotation + 3) == pytest.approx(1)
    chance = {nb.trustworthiness: 0.5, nb.continuity: 0.5, nb.neighbor_recall: 15 / 999}.get(measure, 0)
    assert measure(X, unrelated) == pytest.approx(chance, abs=0.05)


@pytest.mark.parametrize("measure", RANK_MEASURES)
def test_images_and_their_vectors_score_alike(measure, cloud):
    X, Z = cloud
    assert measure(X.reshape(-1, 2, 2), Z[:, :2]) == measure(X, Z[:, :2])


@pytest.mark.parametrize("measure", RANK_MEASURES)
def test_a_sample_of_rows_is_seeded_and_measured_like_any_rows(measure, cloud):
    X, Z = cloud[0], cloud[0] + 0.5 * cloud[1]
    values = [measure(X, Z, max_rows=80, random_state=seed) for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]
    kept = sample_rows(len(X), 80, 0)
    assert values[0] == measure(X[kept], Z[kept])


def test_tearing_costs_continuity_and_gluing_costs_trustworthiness():
    circle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    ring = np.c_[np.cos(circle), np.sin(circle)]
    torn = circle[:, None]  # the ring cut open: no false neighbours, some lost
    glued = np.cos(circle)[:, None]  # the ring pressed flat: false neighbours
    assert nb.continuity(ring, torn) < nb.trustworthiness(ring, torn)
    assert nb.trustworthiness(ring, glued) < nb.continuity(ring, glued)


def test_neighbor_recall_counts_shared_neighbours():
    line = np.array([0.0, 1.0, 3.0, 6.0])[:, None]  # nearest: 1, 0, 1, 2
    stretched = np.array([0.0, 2.0, 3.0, 6.0])[:, None]  # nearest: 1, 2, 1, 2
    assert nb.neighbor_recall(line, stretched, 1) == 0.75


def test_neighbor_accuracy_reads_labels_off_the_map_and_chance_off_noise():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 800)
    map_of_labels = 10 * np.c_[y % 2, y // 2] + rng.normal(size=(800, 2))
    noise = rng.normal(size=(800, 2))
    for k in (1, 5, 10):
        assert nb.neighbor_accuracy(map_of_labels[:400], y[:400], map_of_labels[400:], y[400:], k) == 1
        assert nb.neighbor_accuracy(noise[:400], y[:400], noise[400:], y[400:], k) == pytest.approx(0.25, abs=0.08)


def test_silhouette_is_one_for_tight_groups_and_none_for_mixed_ones():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    noise = rng.normal(size=(300, 2))
    assert nb.silhouette(np.c_[y, -y] + 1e-6 * noise, y) == pytest.approx(1, abs=1e-4)
    assert nb.silhouette(noise, y) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X: nb.trustworthiness(X, X[1:]), "same rows, got 1000 and 999"),
        (lambda X: nb.trustworthiness(X[:9], X[:9]), "n_neighbors must be 1 to 4 for these rows, got 5"),
        (lambda X: nb.neighbor_recall(X[:15], X[:15]), "n_neighbors must be 1 to 14"),
        (lambda X: nb.neighbor_accuracy(X[:3], [0, 1, 1], X, X[:, 0] > 0, 5), "n_neighbors must be 1 to 3"),
        (lambda X: nb.distance_rank_correlation(X, 0 * X), "all distances in the map are equal"),
        (lambda X: nb.distance_rank_correlation(X[:2], X[:2]), "at least three rows, got 2"),
        (lambda X: nb.silhouette(X, np.zeros(1000)), "got 1"),
        (lambda X: nb.continuity(X, np.full_like(X, np.nan)), "NaN or infinity"),
        (lambda X: nb.continuity(X[:0], X[:0]), "at least one row"),
    ],
)
def test_bad_input_is_one_clear_line(call, message, cloud):
    with pytest.raises(DataError, match=message):
        call(cloud[0])


def test_trustworthiness_accepts_the_most_neighbours_it_says():
    X = np.random.default_rng(0).normal(size=(9, 2))
    assert nb.trustworthiness(X, X, 4) == 1


@pytest.mark.parametrize("k", [1, 5, 50])
def test_trustworthiness_is_scikit_learns(cloud, k):
    from sklearn.manifold import trustworthiness

    X, Z = cloud[0], (cloud[0] + cloud[1])[:, :2]
    assert nb.trustworthiness(X, Z, k) == pytest.approx(trustworthiness(X, Z, n_neighbors=k), abs=1e-12)


def test_blocks_give_the_ranks_that_all_rows_at_once_give(cloud, monkeypatch):
    X, Z = cloud[0], (cloud[0] + cloud[1])[:, :2]
    whole = nb.neighbor_ranks(X, Z, 7)
    monkeypatch.setattr(nb, "BLOCK", 3 * len(X))
    assert np.array_equal(nb.neighbor_ranks(X, Z, 7), whole)
    assert not np.array_equal(nb.neighbor_ranks(X, Z[::-1], 7), whole)


def test_a_misplaced_row_alone_loses_trust_among_the_rows_of_a_reference():
    rng = np.random.default_rng(0)
    X = np.r_[rng.normal(size=(200, 5)), 30 + rng.normal(size=(200, 5))]
    Z, moved = X[:, :5], X[[0, 300]].copy()
    moved[1] = Z[1]  # a row of the second group is placed in the first
    trust = nb.row_trust(nb.neighbor_ranks(X[[0, 300]], moved, 10, reference=(X, Z)), len(X) + 1)
    assert trust[0] > 0.9 and trust[1] < 0.6
