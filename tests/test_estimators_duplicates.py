"""Rows that are equal, many times over: the same seed gives the same map, and one place to each."""

import numpy as np
import pytest
import torch

from latentmap import VAE
from latentmap.estimators.graph import neighbor_graph
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
