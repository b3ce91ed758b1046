"""The neighbour term against values computed by hand, and what it does to a map."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from latentmap.data.graph import neighbor_graph
from latentmap.exceptions import DataError, PartError
from latentmap.objectives.neighbors import NeighborEmbedding, contrast


def test_the_contrast_by_hand():
    codes = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    kernel = 1 / (1 + torch.cdist(codes[:4], codes) ** 2)
    terms = []
    for i in range(4):
        others = sum(kernel[i, j] for j in range(8) if j != i)
        terms.append(-math.log(kernel[i, 4 + i] / others))
    assert contrast(codes).item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_equal_codes_tell_nothing():
    assert contrast(torch.zeros(32, 2)).item() == pytest.approx(math.log(31), rel=1e-5)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_graph_agrees_with_scikit_learn(metric):
    x = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    expected = NearestNeighbors(n_neighbors=6, metric=metric).fit(x).kneighbors(return_distance=False)
    got = neighbor_graph(x, 6, metric).numpy()
    same = [set(a) == set(b) for a, b in zip(expected, got)]
    # the cosine graph is taken after centring, which keeps the distances between unit vectors
    assert np.mean(same) > 0.99


def test_equal_rows_still_have_neighbours():
    graph = neighbor_graph(torch.zeros(10, 3), 4)
    assert graph.shape == (10, 4)
    assert not (graph == torch.arange(10)[:, None]).any()


def test_too_few_rows_are_refused():
    with pytest.raises(DataError, match="more than 15 rows"):
        neighbor_graph(torch.randn(15, 3), 15)
    with pytest.raises(DataError, match="metric must be"):
        neighbor_graph(torch.randn(15, 3), 2, "manhattan")
    with pytest.raises(PartError, match="weight"):
        NeighborEmbedding(weight=-1.0)


def test_neighbours_make_a_better_map_and_keep_the_model(digits):
    from latentmap import VAE

    digit_labels = load_digits().target
    order = np.random.default_rng(0).permutation(len(digits))
    train, test = order[:1400], order[1400:]

    def measure(neighbors):
        vae = VAE(2, neighbors=neighbors, max_epochs=40, random_state=0).fit(digits[train])
        classifier = KNeighborsClassifier(10).fit(vae.transform(digits[train]), digit_labels[train])
        return classifier.score(vae.transform(digits[test]), digit_labels[test]), vae.score(digits[test])

    with_neighbours, score = measure(15)
    plain, plain_score = measure(None)
    assert with_neighbours > plain + 0.03
    assert score > plain_score - 4  # nats
