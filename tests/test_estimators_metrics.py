"""Metrics of the neighbours of a map, beside scikit-learn's, and graphs that come from other tools."""

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import haversine_distances
from sklearn.neighbors import NearestNeighbors

from latentmap import VAE, load, networks
from latentmap.estimators.graph import Edges, neighbor_graph
from latentmap.exceptions import DataError, PartError
from latentmap.objectives.metrics import normalise_for, set_distances
from latentmap.objectives.neighbors import NeighborEmbedding

SMALL = networks.MLP((16,))
FIT = {"encoder": SMALL, "decoder": SMALL, "max_epochs": 2, "random_state": 0, "early_stopping": False}
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


def sets(n=200, columns=12):
    """Sets of different sizes, some of them empty, all of them twice."""
    rng = np.random.default_rng(0)
    x = (rng.uniform(size=(n // 2, columns)) < rng.uniform(0, 0.8, (n // 2, 1))).astype(float)
    return np.concatenate([x, x])


def places(n=200):
    """Longitudes and latitudes, many of them on both sides of the date line and at a pole."""
    rng = np.random.default_rng(0)
    longitude = np.r_[(359 + rng.normal(size=n // 2) * 3) % 360 - 180, rng.uniform(-180, 180, n // 2)]
    return np.stack([longitude, np.r_[rng.normal(size=n // 2), 88 + rng.uniform(0, 2, n // 2)]], 1)


def numbers(n=150, columns=6):
    return np.random.default_rng(0).normal(size=(n, columns))


def distances(x, metric):
    """Distances of all pairs by scikit-learn and scipy."""
    if metric == "haversine":
        return haversine_distances(np.deg2rad(x[:, ::-1]))
    x = x.astype(bool) if metric == "jaccard" else x
    return cdist(x, x, metric)


@pytest.mark.parametrize("metric", ["jaccard", "haversine", "correlation"])
@pytest.mark.parametrize("queries", [False, True])
def test_the_neighbours_are_the_nearest_by_each_metric(metric, queries):
    x = {"jaccard": sets(), "haversine": places(), "correlation": numbers() + 1e4}[metric]

    def found(rows, metric):
        rows, asked = (rows[20:], rows[:20]) if queries else (rows, None)
        return neighbor_graph(rows, 5, queries=asked, metric=metric).numpy()

    got = found(normalise_for(torch.from_numpy(x), metric), metric)
    d = distances(x, metric)
    if queries:
        d = d[:20, 20:]
    else:
        np.fill_diagonal(d, np.inf)
    nearest = np.sort(np.take_along_axis(d, got, axis=1), axis=1)
    np.testing.assert_allclose(nearest, np.sort(d, axis=1)[:, :5], atol=1e-6)  # any of equal rows
    assert all(len(set(row)) == 5 for row in got)
    plain = np.take_along_axis(d, found(torch.from_numpy(x), "euclidean"), axis=1)
    assert plain.sum() > nearest.sum() + 1e-3, "control: the Euclidean neighbours are others"


def test_distances_of_sets_are_jaccards():
    x = sets(60)
    found = set_distances(torch.from_numpy(x), torch.from_numpy(x))
    np.testing.assert_allclose(found.numpy(), distances(x, "jaccard"), atol=1e-12)


def test_the_global_term_compares_the_distances_of_the_metric(monkeypatch):
    seen, trained = {}, {}
    original = NeighborEmbedding._agreement

    def noted(self, own, model, x, codes):
        value = original(self, own, model, x, codes)
        trained[self.metric] = trained.get(self.metric, False) or value.requires_grad
        seen[self.metric] = float(value.detach()), x.detach(), codes.detach(), self.units
        return value

    monkeypatch.setattr(NeighborEmbedding, "_agreement", noted)
    for metric, x in (("jaccard", sets()), ("correlation", np.random.default_rng(0).normal(size=(150, 6)))):
        VAE(2, metric=metric, neighbors=5, **FIT).fit(x)
        value, scaled, codes, units = seen[metric]
        rows = units.inverse(scaled).double().numpy()
        rows = rows.round() if metric == "jaccard" else rows
        a, b = distances(rows, metric), cdist(codes.double().numpy(), codes.double().numpy())
        if metric == "correlation":
            a = np.sqrt(2 * a)  # between unit vectors
        upper = np.triu_indices(len(a), 1)
        assert trained[metric], "the term has a gradient"
        assert value == pytest.approx(np.corrcoef(a[upper], b[upper])[0, 1], abs=0.03)


@pytest.mark.parametrize(
    ("metric", "x", "message"),
    [
        ("jaccard", numbers(), r"rows of 0 and 1; got -?\d.*pass X > 0"),
        ("haversine", numbers(), "longitude and latitude in degrees, in this order; got 6 columns"),
        ("haversine", places()[:, ::-1].copy(), "got a latitude of -?1"),
        (lambda a, b: -1.0, numbers(), "returned -1, expected distances"),
        (lambda a, b: "far", numbers(), "returned 'far' for two rows, expected their distance"),
        (lambda a, b: a - b, numbers(), "for two rows, expected their distance, a number >= 0"),
    ],
    ids=["jaccard", "columns", "order", "function", "text", "array"],
)
def test_a_metric_that_does_not_fit_the_data_is_refused(metric, x, message):
    with pytest.raises(DataError, match=message):
        VAE(2, metric=metric, neighbors=5, **FIT).fit(x)


def test_unknown_and_precomputed_metrics_say_what_to_do():
    x = np.random.default_rng(0).normal(size=(40, 3))
    with pytest.raises(PartError, match=r"give fit the rows, and their neighbours as neighbors=\(indices, distances\)"):
        VAE(2, metric="precomputed").fit(cdist(x, x))
    with pytest.raises(PartError, match="euclidean, cosine, correlation, jaccard, haversine or a function"):
        VAE(2, metric="manhattan").fit(x)


def manhattan(a, b):
    return float(np.abs(a - b).sum())


def test_a_function_of_two_rows_is_a_metric(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 3)) * [1, 10, 100]
    by_function = VAE(2, metric=manhattan, neighbors=5, **FIT).fit(x)
    expected = NearestNeighbors(n_neighbors=10, metric="manhattan").fit(x).kneighbors(return_distance=False)
    for drawn, nearest in zip(by_function.state_.graphs.graph.numpy(), expected, strict=True):
        names, counts = np.unique(drawn, return_counts=True)
        assert 5 <= len(names) and set(names) <= set(nearest)
        assert counts[names == nearest[0]] >= counts.max() - 1  # to a share
    assert "manhattan" in by_function.choices_["neighbors"]
    by_function.save(tmp_path / "run")
    loaded = load(tmp_path / "run")
    np.testing.assert_array_equal(loaded.transform(x), by_function.transform(x))
    with pytest.raises(PartError, match="the metric was a function, which a run does not hold"):
        loaded.fit(x)


def test_graphs_of_other_tools_are_read_alike():
    x = np.random.default_rng(0).normal(size=(50, 3))
    far, near = NearestNeighbors(n_neighbors=4).fit(x).kneighbors()
    expected = Edges.read(near, 50)
    rows = np.repeat(np.arange(50), 4)
    matrix = sparse.csr_array((far.ravel(), (rows, near.ravel())), shape=(50, 50))
    coo = torch.sparse_coo_tensor(np.stack([rows, near.ravel()]), far.ravel(), (50, 50), check_invariants=True)
    padded = np.c_[near, np.full(50, -1)], np.c_[far, np.full(50, np.inf)]
    graphs = [(near, far), (far, near), torch.from_numpy(near), matrix, coo, padded]
    for graph in graphs:
        read = Edges.read(graph, 50)
        np.testing.assert_array_equal(read.starts, expected.starts)
        assert all(set(read.ends[a:b]) == set(expected.ends[a:b]) for a, b in zip(read.starts, read.starts[1:]))
    fits = [VAE(2, neighbors=graph, **FIT).fit(x).transform(x) for graph in (near, (near, far), torch.from_numpy(near))]
    np.testing.assert_array_equal(fits[0], fits[1])
    np.testing.assert_array_equal(fits[0], fits[2])


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ((np.zeros((5, 2), int),), r"\(indices, distances\) takes two arrays"),
        ((np.zeros((5, 2), int), np.ones((5, 3))), r"got shapes \(5, 2\) and \(5, 3\)"),
        ((np.zeros((5, 2)), np.ones((5, 2))), "indices are whole numbers"),
        ((np.ones((5, 2), int), -np.ones((5, 2))), "must be numbers >= 0"),
        (sparse.csr_array(-np.eye(5)[::-1]), "holds -1, expected distances or weights >= 0"),
        ((np.full((5, 2), -1), np.full((5, 2), np.inf)), "no edge"),
        ((np.full((5, 2), -1), np.ones((5, 2))), "names rows -1"),
    ],
)
def test_graphs_that_make_no_sense_are_refused(graph, message):
    with pytest.raises(DataError, match=message):
        Edges.read(graph, 5)
