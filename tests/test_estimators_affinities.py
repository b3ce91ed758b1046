"""Tests of the affinities of rows to their neighbours, which t-SNE's are."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from latentmap.estimators.affinities import SHARES, affinities, shares, squared_distances
from latentmap.estimators.graph import neighbor_graph
from latentmap.objectives.metrics import normalise_for


def rows(n=60, columns=4, seed=0):
    return torch.randn(n, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e150])
def test_affinities_are_those_of_scikit_learn(scale):
    from sklearn.manifold import _utils

    x = rows()
    found = neighbor_graph(x, 30)
    squares = squared_distances(x, found)
    expected = _utils._binary_search_perplexity(squares.float().numpy(), 15.0, 0)
    np.testing.assert_allclose(affinities(squares * scale, 15.0), expected, atol=2e-3)


@pytest.mark.parametrize("perplexity", [1.0, 2.0, 10.0, 29.0])
def test_the_entropy_is_that_of_the_perplexity(perplexity):
    x = rows()
    p = affinities(squared_distances(x, neighbor_graph(x, 30)), perplexity)
    np.testing.assert_allclose((-(p * p.clamp_min(1e-300).log()).sum(1)).exp(), perplexity, rtol=1e-3)
    np.testing.assert_allclose(p.sum(1), 1)
    assert (p.diff(dim=1) <= 1e-12).all(), "the nearer a neighbour, the stronger"


@pytest.mark.parametrize("squares", [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [1e300, 1e300, 1e300]])
def test_neighbours_equally_far_have_equal_affinities(squares):
    np.testing.assert_allclose(affinities(torch.tensor([squares], dtype=torch.float64), 2.0), 1 / 3)


def test_equal_rows_share_what_there_is():
    """Of two equal rows and one far away, the far one takes no share; where all are needed, it does."""
    squares = torch.tensor([[0.0, 0.0, 4.0]], dtype=torch.float64)
    np.testing.assert_allclose(affinities(squares, 2.0), [[0.5, 0.5, 0.0]], atol=1e-6)


def test_shares_are_the_weights_to_a_share():
    x = rows()
    found = neighbor_graph(x, 30)
    p = affinities(squared_distances(x, found), 10.0)
    drawn = shares(found, p)
    assert drawn.shape == (60, SHARES)
    for row in range(60):
        counted = torch.stack([(drawn[row] == one).sum() for one in found[row]]) / SHARES
        assert (counted - p[row]).abs().max() <= 1 / SHARES
        assert (counted.cumsum(0) - p[row].cumsum(0)).abs().max() <= 0.5 / SHARES + 1e-9


def manhattan(a, b):
    return float(np.abs(a - b).sum())


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "jaccard", manhattan])
def test_distances_are_those_of_the_search(metric):
    x, q = rows(), rows(7, seed=1)
    if metric == "jaccard":
        x, q = x > 0, q > 0
    elif metric == "cosine":
        x, q = normalise_for(x, metric), normalise_for(q, metric)
    searched = "euclidean" if metric == "cosine" else metric
    found = neighbor_graph(x.double(), 5, queries=q.double(), metric=searched)
    got = squared_distances(x.double(), found, q.double(), searched)
    every = cdist(q, x, "cityblock" if metric is manhattan else searched)
    np.testing.assert_allclose(got, np.take_along_axis(every, found.numpy(), 1) ** 2, atol=1e-9)
    assert (np.sqrt(got.numpy()).max(1) <= np.sort(every, 1)[:, 4] + 1e-9).all()
    assert squared_distances(x.double(), found[:0], q[:0].double(), searched).shape == (0, 5)
