"""Tests of the refinement of a map: codes move to their neighbours, and what must stay stays."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from latentmap import VAE
from latentmap.estimators import neighbors, refinement
from latentmap.estimators.refinement import refined
from latentmap.evaluation.neighborhood import neighbor_ranks
from latentmap.model import repulsion

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.UnderfitWarning")
N = 200


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def codes():
    return 3.0 + 0.5 * torch.randn(N, 2, generator=seeded(), dtype=torch.float64)


@pytest.fixture(scope="module")
def graph(codes):
    """The nearest rows of noisy codes: a little off those of the codes themselves."""
    noisy = codes + 0.1 * torch.randn(codes.shape, generator=seeded(1), dtype=torch.float64)
    return torch.cdist(noisy, noisy).fill_diagonal_(torch.inf).topk(8, largest=False).indices


def loss(codes, graph, scale):
    """The loss of t-SNE, over all pairs, in double precision."""
    codes = scale * codes
    squares = torch.cdist(codes, codes).square()
    attraction = torch.log1p(squares.gather(1, graph)).mean()
    return attraction + (1 / (1 + squares)).fill_diagonal_(0).sum().log()


def test_refinement_lowers_the_loss_of_all_rows(codes, graph):
    moved = refined(codes, graph)
    worse = codes + (codes - moved)
    for scale in (4.0, 8.0):
        assert loss(moved, graph, scale) < loss(codes, graph, scale) < loss(worse, graph, scale)
    assert 0.01 < (moved - codes).norm(dim=1).max() < 0.5 * codes.std()


@pytest.mark.parametrize("exaggeration", [1.0, 3.0])
def test_a_small_step_is_the_gradient_of_the_loss(codes, graph, exaggeration, monkeypatch):
    """By autograd of all pairs; equal rows share a code, whose gradient is the mean of theirs."""
    same = torch.arange(N)
    same[1] = 0
    same = same.unique(return_inverse=True)[1]
    alike = codes.clone()
    alike[1] = codes[0]
    scale = 8.0
    leaf = (scale * (alike - alike.mean(0)) / alike.var(0, correction=0).mean().sqrt()).requires_grad_()
    squares = (leaf[:, None] - leaf).square().sum(2)
    total = (1 / (1 + squares)).masked_fill(torch.eye(N, dtype=torch.bool), 0.0).sum().log()
    (exaggeration * torch.log1p(squares.gather(1, graph)).mean() + total).backward()
    monkeypatch.setattr(refinement, "ITERATIONS", 1)
    monkeypatch.setattr(repulsion, "SCALES", torch.tensor([scale]))
    kept = iter([1.0, 0.0])  # the moved codes are kept
    monkeypatch.setattr(refinement, "_kept", lambda codes, graph: next(kept))
    moved = refined(alike, graph, same=same, exaggeration=exaggeration)
    step = torch.nn.functional.normalize((alike - moved).flatten(), dim=0)
    expected = leaf.grad.clone()
    expected[:2] = expected[:2].mean(0)
    expected = torch.nn.functional.normalize(expected.flatten(), dim=0)
    assert (step - expected).norm() < 0.005  # of length 1
    kept = iter([1.0, 0.0])
    other = refined(alike, graph, same=same, exaggeration=1.1 * exaggeration)
    assert (torch.nn.functional.normalize((alike - other).flatten(), dim=0) - expected).norm() > 0.01


def test_fixed_rows_stay_and_equal_ones_share_a_code(codes, graph):
    fixed = torch.zeros(N, dtype=torch.bool)
    fixed[::3] = True
    same = torch.arange(N)
    same[1], same[4], same[7] = 0, 0, 0
    same = same.unique(return_inverse=True)[1]
    alike = codes.clone()
    alike[[0, 1, 4, 7]] = codes[1]
    moved = refined(alike, graph, same=same)
    assert (moved[[0, 1, 4, 7]] == moved[0]).all() and (moved != alike).any(1).mean(dtype=torch.float) > 0.99
    held = refined(codes, graph, fixed=fixed)
    assert (held[fixed] == codes[fixed]).all() and (held[~fixed] != codes[~fixed]).any(1).all()
    assert (refined(codes, graph, ended=lambda: True) == codes).all()


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_few_rows_and_rows_in_one_place(n):
    codes = torch.randn(n, 2, generator=seeded(), dtype=torch.float64)
    graph = torch.full((n, 4), -1)
    assert refined(codes, graph).isfinite().all()
    one = torch.ones(n, 2, dtype=torch.float64)
    assert (refined(one, graph) == one).all()


def test_results_do_not_depend_on_the_units_or_on_global_state(codes, graph):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    moved = refined(codes, graph)
    assert (torch.get_rng_state() == before).all()
    torch.testing.assert_close(refined(1e3 * codes - 1e5, graph), 1e3 * moved - 1e5, rtol=0, atol=2)


def test_a_refined_map_keeps_more_neighbours_than_its_encoder():
    X = load_digits().data
    kept = {"encoder": [], "refined": []}
    for seed in range(3):
        vae = VAE(2, max_epochs=20, random_state=seed).fit(X)
        for name, Z in (("encoder", vae.posterior(X)[0]), ("refined", vae.transform(X))):
            kept[name].append((neighbor_ranks(X, Z, 15) < 15).mean())
    assert min(kept["refined"]) > max(kept["encoder"])


@pytest.mark.parametrize("most", [10**6, 0])
def test_rows_that_were_held_out_attract_others_too(most, monkeypatch):
    """The neighbours are those of all rows, of a wider perplexity, but of many rows those of the fit."""
    graphs, X = [], load_digits().data[:400]
    X = X[:, X.std(0) > 0]
    monkeypatch.setattr(neighbors, "WIDER_ROWS", most)
    monkeypatch.setattr(neighbors, "refined", lambda codes, graph, **more: (graphs.append(graph), codes)[1])
    vae = VAE(2, max_epochs=1, random_state=0).fit(X)
    held_out = np.setdiff1d(np.arange(400), np.unique(graphs[0].numpy()))
    if not most:
        assert 20 < len(held_out) < 60  # which no row has among its neighbours
        return
    scaled = vae.state_.scaling(torch.from_numpy(X)).numpy()
    near = NearestNeighbors(n_neighbors=101).fit(scaled).kneighbors(scaled)[1][:, 1:]
    assert len(held_out) < 20 and all(
        set(row.tolist()) <= set(there) for row, there in zip(graphs[0], near, strict=True)
    )
    sizes = [len(set(row.tolist())) for row in graphs[0]]
    assert 20 < np.median(sizes) <= 32


def test_equal_rows_have_one_place():
    X = np.random.default_rng(0).normal(size=(300, 5)).round()
    X = np.concatenate([X, X[:150], -0.0 * X[:1], 0.0 * X[:1]])
    vae = VAE(2, max_epochs=5, random_state=0).fit(X)
    Z = vae.transform(X)
    assert (Z[:150] == Z[300:450]).all() and (Z[-2] == Z[-1]).all()
    np.testing.assert_array_equal(vae.transform(X[300:310]), Z[:10])
    np.testing.assert_allclose(vae.transform(X[::-1].astype(np.float32))[::-1], Z, atol=1e-6)


@pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
def test_equal_rows_are_numbered_in_order_not_by_the_hashes_of_a_process(monkeypatch):
    """Codes in another order round otherwise, so that the same seed would give other bits in each process."""
    seen = []

    def recorded(codes, graph, *, same, **settings):
        seen.extend(same.tolist())
        return codes

    monkeypatch.setattr(neighbors, "refined", recorded)
    X = np.random.default_rng(0).normal(size=(100, 5))
    VAE(2, max_epochs=1, random_state=0).fit(np.concatenate([X, X[:30], X[50:60]]))
    assert seen == [*range(100), *range(30), *range(50, 60)]


@pytest.mark.parametrize("rows", [600, 3000])
def test_many_equal_rows_do_not_drive_the_others_apart(rows):
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(rows, 2, generator=generator, dtype=torch.float64)
    codes[: rows // 2] = codes[0]
    noisy = codes + 0.1 * torch.randn(codes.shape, generator=generator, dtype=torch.float64)
    graph = torch.cdist(noisy, noisy).fill_diagonal_(torch.inf).topk(8, largest=False).indices
    same = torch.arange(rows)
    same[: rows // 2] = 0
    same = same.unique(return_inverse=True)[1]
    moved = refined(codes, graph, same=same)
    assert (moved[: rows // 2] == moved[0]).all()
    assert (moved - codes).norm(dim=1).max() <= 0.51 * (codes - codes.mean(0)).square().mean().sqrt()
    assert 0.8 < moved[rows // 2 :].std() / codes[rows // 2 :].std() < 1.2


@pytest.mark.filterwarnings("ignore::latentmap.exceptions.PosteriorCollapseWarning")
@pytest.mark.parametrize("exaggeration", [1.0, 4.0, 20.0])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_neighbours_are_gained_with_any_exaggeration(exaggeration, d):
    X = load_digits().data[:600]
    vae = VAE(d, neighbors=15, exaggeration=exaggeration, max_epochs=20, random_state=0).fit(X)
    before, after = (neighbor_ranks(X, Z, 15) < 15 for Z in (vae.posterior(X)[0], vae.transform(X)))
    assert after.mean() > before.mean()


def test_codes_of_many_dimensions_are_refined():
    X = np.random.default_rng(0).normal(size=(2500, 12))
    vae = VAE(8, neighbors=15, max_epochs=1, random_state=0).fit(X)
    assert np.isfinite(vae.transform(X)).all()


def test_density_is_not_traded_for_neighbours():
    X = np.random.default_rng(0).normal(size=(200, 5))
    vae = VAE(2, max_epochs=3, density_weight=0.1, random_state=0).fit(X)
    np.testing.assert_allclose(vae.transform(X), vae.posterior(X)[0], atol=1e-5)


def test_codes_stay_where_refinement_keeps_no_more_neighbours():
    """Rows of two columns are on a map as they are; the noise of the refinement would lose near ones."""
    X = np.random.default_rng(0).normal(size=(600, 2))
    vae = VAE(2, max_epochs=30, random_state=0).fit(X)
    np.testing.assert_allclose(vae.transform(X), vae.posterior(X)[0], atol=1e-6)


def test_a_time_budget_that_suffices_changes_nothing():
    X = np.random.default_rng(0).normal(size=(500, 6))
    free = VAE(2, max_epochs=3, random_state=0).fit(X)
    given = VAE(2, max_epochs=3, time_budget=600, random_state=0).fit(X)
    np.testing.assert_array_equal(given.transform(X), free.transform(X))
