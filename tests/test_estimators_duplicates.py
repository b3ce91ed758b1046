"""Rows that are equal, many times over: the same seed gives the same map, and one place to each."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from latentmap import VAE, objectives
from latentmap.estimators.graph import neighbor_graph
from latentmap.estimators.supervision import targets_of_groups
from latentmap.model.networks import MLP

RNG = np.random.default_rng(0)
FEW = RNG.normal(size=(12, 5))
SETS = {
    "repeated": np.repeat(FEW, 10, 0)[RNG.permutation(120)],
    "ties": RNG.integers(0, 2, (120, 5)).astype(float),
    "equal": np.ones((120, 5)),
    "far": np.repeat(FEW[:6], 20, 0) + 1e8 * (np.arange(120) % 2)[:, None],
}
SMALL = {"encoder": MLP((16, 16)), "decoder": MLP((16,)), "device": "cpu", "random_state": 0, "max_epochs": 3}
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


@pytest.fixture(scope="module")
def digits():
    return load_digits().data


@pytest.fixture
def threads():
    """Set the number of threads, and restore it."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("metric", ["euclidean", "jaccard"])
@pytest.mark.parametrize("name", SETS)
def test_neighbours_among_equal_rows_do_not_depend_on_threads(name, metric, threads):
    rows = torch.from_numpy(SETS[name] if metric == "euclidean" else np.sign(np.abs(SETS[name]).round()))
    found = []
    for number in (1, 2, 1):
        threads(number)
        found.append([neighbor_graph(rows, 7, metric=metric), neighbor_graph(rows, 7, queries=rows[:9], metric=metric)])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
    assert not (found[0][0] == torch.arange(120)[:, None]).any()


@pytest.mark.parametrize("name", SETS)
def test_the_same_seed_gives_the_same_map_and_equal_rows_one_place(name, threads):
    X, codes = SETS[name], []
    for number in (1, 1, 2):
        threads(number)
        codes.append(VAE(2, **SMALL).fit(X).transform(X))
    np.testing.assert_array_equal(codes[0], codes[1])
    np.testing.assert_allclose(codes[0], codes[2], atol=1e-5)
    _, which = np.unique(X, axis=0, return_inverse=True)
    for one in np.unique(which):
        np.testing.assert_allclose(codes[0][which == one], codes[0][which == one][:1].repeat((which == one).sum(), 0),
                                   rtol=0, atol=1e-6)  # fmt: skip
    if name != "equal":
        other = VAE(2, **SMALL | {"random_state": 1}).fit(X).transform(X)
        assert np.abs(other - codes[0]).max() > 1e-3, "control"


def trust(X, Z, k=15):
    """The fraction of the neighbours of distinct rows that are among the nearest on the map."""
    X, first = np.unique(X, axis=0, return_index=True)
    near = [neighbor_graph(torch.from_numpy(np.asarray(rows, dtype=float)), k).numpy() for rows in (X, Z[first])]
    return np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(*near, strict=True)])


@pytest.mark.parametrize("placed", [True, False])
def test_repeated_rows_change_nothing_of_a_map(placed, digits):
    """Copies of a row are no neighbours of it that tell anything."""
    X = digits[:300]
    more = {"unequal": np.concatenate([X, np.repeat(X[:1], 900, 0)]), "each": np.repeat(X, 20, 0)}
    own = {} if placed else {"objective": objectives.NeighborEmbedding(objectives.ELBO())}

    def kept(rows, epochs):
        return trust(X, VAE(2, max_epochs=epochs, random_state=0, **own).fit(rows).transform(X))

    alone = kept(X, 1 if placed else 40)
    assert alone > 0.4
    assert kept(more["unequal"], 1 if placed else 40) > alone - 0.1
    assert kept(more["each"], 1 if placed else 30) > alone - 0.1
    assert trust(X, PCA(2).fit_transform(X)) < alone - 0.1, "control"


def test_answers_of_a_short_questionnaire_have_a_map():
    """Few distinct rows, many times over, of which principal components keep little."""
    rng = np.random.default_rng(0)
    answers = (rng.normal(size=(3000, 6)) @ rng.normal(size=(6, 10)) > 0).astype(float)
    distinct = np.unique(answers, axis=0)
    alone, many = (VAE(2, max_epochs=1, random_state=0).fit(X).transform(distinct) for X in (distinct, answers))
    assert trust(distinct, many, 8) > trust(distinct, alone, 8) - 0.05
    assert trust(distinct, many, 8) > trust(distinct, PCA(2).fit_transform(distinct), 8) + 0.1


def test_rows_beside_repeated_ones_are_placed_among_several(digits):
    """The nearest landmarks of a new row are distinct rows."""
    X, new = digits[:300], digits[300:400]
    alone, many = (VAE(2, max_epochs=1, random_state=0).fit(rows) for rows in (X, np.repeat(X, 20, 0)))
    assert len(many.model_.encoder.landmarks) == 300
    Z = many.transform(new)
    assert (np.linalg.norm(Z[:, None] - many.transform(X), axis=2).min(1) > 1e-6).mean() > 0.9
    assert np.isfinite(Z).all() and len(alone.model_.encoder.landmarks) == 300


def test_groups_of_a_supervised_map_have_the_target_of_most_of_their_rows():
    X = np.repeat(FEW, 10, 0)
    y = np.repeat(np.arange(12) % 3, 10)
    y[::10] = (y[::10] + 1) % 3
    assert (targets_of_groups(y, np.repeat(np.arange(12), 10)) == np.arange(12) % 3).all()
    assert np.isfinite(VAE(2, supervised=0.5, **SMALL).fit(X, y).transform(X)).all()
