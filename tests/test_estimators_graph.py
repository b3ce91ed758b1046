"""The neighbour graph: found exactly or by descent, or given; and a fit on each."""

import warnings

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors, kneighbors_graph

from latentmap import VAE, exceptions, networks
from latentmap.estimators import graph as graphs
from latentmap.estimators.graph import Edges, neighbor_graph
from latentmap.exceptions import DataError, PartError
from latentmap.training.feed import POSITIVES
from latentmap.training.step import GradientStep

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
MLP = networks.MLP((64,))
PAIRS = [np.array([[1], [0], [3], [2]]), sparse.csr_matrix(np.kron(np.eye(2), 1 - np.eye(2)))]


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


@pytest.mark.parametrize("queries", [False, True])
def test_descent_finds_nearly_what_all_distances_find(digits, monkeypatch, queries):
    x = torch.from_numpy(digits[0]).float()
    train, asked = (x[:1500], x[1500:]) if queries else (x, None)
    exact = neighbor_graph(train, 10, queries=asked)
    monkeypatch.setattr(graphs, "EXACT_ROWS", {"cpu": 100})
    monkeypatch.setattr(graphs, "nearest", None)  # what needs all distances fails
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = neighbor_graph(train, 10, queries=asked)
    shared = np.mean([np.isin(a, b).mean() for a, b in zip(found.numpy(), exact.numpy())])
    assert found.shape == exact.shape and shared > 0.95
    if not queries:
        assert not (found == torch.arange(len(x))[:, None]).any()
    threads, again = torch.get_num_threads(), torch.cat([train, train[:50], train[:50]])
    try:
        twice = [torch.set_num_threads(number) or neighbor_graph(again, 10, queries=asked) for number in (1, 2)]
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*twice), "with equal rows, too"


def test_descent_keeps_neighbours_of_groups_far_apart(monkeypatch):
    monkeypatch.setattr(graphs, "EXACT_ROWS", {"cpu": 100})
    rows = np.random.default_rng(0).normal(size=(400, 5)) + 1e4 * (np.arange(400) % 2)[:, None] + 1e8
    found = neighbor_graph(torch.from_numpy(rows), 15).numpy()
    exact = NearestNeighbors(n_neighbors=15, algorithm="kd_tree").fit(rows).kneighbors(return_distance=False)
    assert np.mean([np.isin(a, b).mean() for a, b in zip(found, exact, strict=True)]) > 0.95


def test_without_the_package_all_distances_are_taken(monkeypatch):
    monkeypatch.setattr(graphs, "EXACT_ROWS", {"cpu": 1})
    assert graphs.is_approximate(4, "cpu")
    monkeypatch.setattr(graphs.importlib.util, "find_spec", lambda name: None)
    assert not graphs.is_approximate(4, "cpu")
    assert neighbor_graph(torch.tensor([[0.0], [1.0], [10.0], [12.0]]), 1).tolist() == [[1], [0], [3], [2]]


@pytest.mark.parametrize("given", PAIRS)
def test_a_given_graph_is_read_alike_from_indices_and_from_a_matrix(given):
    everything = np.arange(4)
    assert Edges.read(given, 4).among(everything, everything).tolist() == [[1], [0], [3], [2]]


def test_neighbours_that_are_held_out_are_left_out_and_the_others_keep_their_rows():
    ring = np.c_[np.roll(np.arange(6), 1), np.roll(np.arange(6), -1)]
    train, held_out = np.array([0, 1, 3, 4]), np.array([2, 5])
    edges = Edges.read(ring, 6)
    near = [set(row) for row in edges.among(train, train).tolist()]
    assert near == [{1}, {0}, {3}, {2}]  # by place among the training rows
    assert [set(row) for row in edges.among(held_out, train).tolist()] == [{1, 2}, {0, 3}]


def test_a_held_out_row_without_a_neighbour_to_learn_from_is_its_own():
    pairs = np.array([[1], [0], [3], [2], [5], [4]])
    train, held_out = np.array([0, 1, 2]), np.array([3, 4])
    near = Edges.read(pairs, 6).among(held_out, train)
    assert near.tolist() == [[2], [-1]]
    seen = []

    def losses(self, rows, *given):
        seen.append(rows)
        return taken(self, rows, *given)

    taken = GradientStep.losses
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GradientStep, "losses", losses)
        X = np.arange(24.0).reshape(24, 1) + np.zeros((1, 4))
        lonely = sparse.csr_matrix((np.ones(1), ([0], [1])), (24, 24))  # but for one, no row has a neighbour
        VAE(2, neighbors=lonely, max_epochs=1, random_state=0).fit(X)
    assert len(seen) > 1
    for views in seen:
        rows, neighbors = views.tensor_split([len(views) // (1 + POSITIVES)])
        assert (rows.repeat(POSITIVES, 1) != neighbors).any(1).sum() <= POSITIVES


def test_rows_of_many_neighbours_keep_as_many_as_fit_and_rows_of_few_repeat_theirs():
    star = sparse.lil_matrix((200, 200))
    star[0, 1:] = 1
    star[1:, 0] = 1
    near = Edges.read(star, 200).among(np.arange(200), np.arange(200)).numpy()
    assert near.shape == (200, graphs.WIDTH)
    assert len(set(near[0])) == graphs.WIDTH and (near[1:] == 0).all()


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (np.zeros((3, 2), int), r"indices \(4, k\), got shape \(3, 2\)"),
        (np.zeros(4, int), r"got shape \(4,\)"),
        (np.array([[1], [2], [3], [4]]), "names rows 1 to 4, there are 0 to 3"),
        (np.array([[1], [2], [3], [-1]]), "names rows -1 to 3"),
        (np.array([[1.0], [2.0], [np.nan], [0.0]]), "whole numbers"),
        (np.arange(4)[:, None], "no edge between two rows"),
        (sparse.eye(3), r"matrix \(4, 4\), got \(3, 3\)"),
        (sparse.csr_matrix(np.diag([np.nan], 3)), "NaN or infinity"),
        (sparse.csr_matrix((4, 4)), "no edge between two rows"),
    ],
)
def test_a_graph_that_cannot_be_read_is_refused_in_one_line(graph, message):
    with pytest.raises(DataError, match=message) as raised:
        VAE(2, neighbors=graph, max_epochs=1).fit(np.random.default_rng(0).normal(size=(4, 3)))
    assert "\n" not in str(raised.value)


def test_a_map_keeps_the_neighbours_that_it_is_given(digits):
    """A graph of rows that share a label, against the graph of the data: the map shows what was asked for."""
    from latentmap.evaluation.neighborhood import neighbor_accuracy

    X, y = digits[0][:600], digits[1][:600] % 2
    rng = np.random.default_rng(0)
    of_label = np.stack([rng.choice(np.flatnonzero(y == label), 15) for label in y])
    accuracy = {}
    for name, graph in (("data", kneighbors_graph(X, 15, mode="distance")), ("labels", of_label)):
        vae = VAE(2, encoder=MLP, decoder=MLP, neighbors=graph, max_epochs=20, random_state=0).fit(X)
        Z = vae.transform(X)
        accuracy[name] = neighbor_accuracy(Z[::2], y[::2], Z[1::2], y[1::2])
        assert vae.choices_["neighbors"].startswith("a graph")
    assert accuracy["labels"] > 0.95 and accuracy["labels"] > accuracy["data"]


@pytest.mark.parametrize("neighbors", [61, 60, 15])
def test_more_neighbours_than_rows_are_refused(neighbors):
    X, vae = np.random.default_rng(0).normal(size=(60, 3)), VAE(2, neighbors=neighbors, max_epochs=1)
    if neighbors == 15:
        vae.fit(X)
        return
    with pytest.raises(DataError, match="lower neighbors"):
        vae.fit(X)


def test_equal_rows_and_graphs_in_pieces_give_finite_maps():
    rng = np.random.default_rng(0)
    equal = np.ones((60, 3))
    pieces = np.r_[rng.normal(size=(40, 3)), 1e4 + rng.normal(size=(40, 3))]
    for X in (equal, pieces):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", exceptions.DiagnosisWarning)
            Z = VAE(2, neighbors=5, max_epochs=5, random_state=0).fit(X).transform(X)
        assert np.isfinite(Z).all()
    assert np.ptp(VAE(2, max_epochs=1, random_state=0).fit(equal).transform(equal), axis=0).max() < 1e-5


def test_the_metric_is_that_of_the_graph():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 5)) * rng.uniform(0.1, 10, size=(200, 1))  # directions at random lengths
    maps = [
        VAE(2, metric=metric, scaling="none", max_epochs=2, random_state=0).fit(X).transform(X)
        for metric in ("euclidean", "cosine")
    ]
    assert not np.allclose(*maps)


def test_a_conditional_model_takes_no_graph():
    X, y = np.random.default_rng(0).normal(size=(4, 3)), np.array([0, 1, 0, 1])
    with pytest.raises(PartError, match="leave neighbors='auto'"):
        VAE(2, condition="labels", neighbors=PAIRS[0], max_epochs=1).fit(X, y)


def test_a_map_with_a_graph_is_cloned_and_saved_without_it(tmp_path, digits):
    from sklearn.base import clone

    X = digits[0][:100]
    vae = VAE(2, neighbors=kneighbors_graph(X, 5), max_epochs=1, random_state=0).fit(X)
    assert (clone(vae).neighbors != vae.neighbors).nnz == 0
    vae.save(tmp_path / "run")
    loaded = VAE.load(tmp_path / "run")
    assert loaded.neighbors is None and np.array_equal(loaded.transform(X), vae.transform(X))
