"""Tests of the places of a map: t-SNE with the term of distances, and what must stay stays."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_wine
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from latentmap import VAE
from latentmap.estimators import neighbors, places, tsne
from latentmap.estimators.tsne import Attraction, Distances, start_of_components
from latentmap.evaluation.neighborhood import neighbor_ranks
from latentmap.exceptions import DataError, DiagnosisWarning, InterruptedWarning

pytestmark = [
    pytest.mark.filterwarnings("ignore::latentmap.exceptions.UnderfitWarning"),
    pytest.mark.filterwarnings("ignore::latentmap.exceptions.PosteriorCollapseWarning"),
    pytest.mark.filterwarnings("ignore::latentmap.exceptions.OverfitWarning"),
]
N = 200


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def codes():
    return 3.0 + 4.0 * torch.randn(N, 2, generator=seeded(), dtype=torch.float64)


@pytest.fixture(scope="module")
def graph(codes):
    """The nearest rows of noisy codes: a little off those of the codes themselves."""
    noisy = codes + 0.8 * torch.randn(codes.shape, generator=seeded(1), dtype=torch.float64)
    return torch.cdist(noisy, noisy).fill_diagonal_(torch.inf).topk(8, largest=False).indices


def refined(codes, graph, iterations=50, **options):
    return tsne.tsne(codes, graph, early=0, iterations=iterations, **options)


def loss(codes, graph, exaggeration=1.0):
    """The loss of t-SNE, over all pairs, in double precision."""
    squares = (codes[:, None] - codes).square().sum(2)
    attraction = torch.log1p(squares.gather(1, graph)).mean()
    return exaggeration * attraction + (1 / (1 + squares)).masked_fill(torch.eye(len(codes)) > 0, 0.0).sum().log()


@pytest.mark.parametrize("d", [1, 2, 3])
def test_attraction_is_that_of_all_draws_of_neighbours(d):
    """Edges are merged: a neighbour that is drawn often, from both ends, or is the row itself."""
    n, drawn = 40, 6
    near = torch.randint(n, (n, drawn), generator=seeded())
    y = torch.randn(n, d, generator=seeded(2), dtype=torch.float64)
    expected = torch.zeros_like(y)
    for i in range(n):
        for j in near[i]:
            pull = (y[i] - y[j]) / (1 + (y[i] - y[j]).square().sum()) / (2 * n * drawn)
            expected[i] += pull
            expected[j] -= pull
    merged = Attraction.of(near)
    torch.testing.assert_close(merged(y), expected, rtol=1e-5, atol=1e-7)
    once = replace(merged, shares=torch.full_like(merged.shares, 1 / (2 * n * drawn)))
    assert not torch.allclose(once(y), expected, rtol=1e-2)


def test_the_descent_lowers_the_loss_of_all_rows(codes, graph):
    moved = refined(codes, graph)
    worse = codes + (codes - moved)
    assert loss(moved, graph) < loss(codes, graph) - 0.01 < loss(worse, graph)


@pytest.mark.parametrize("exaggeration", [1.0, 3.0])
def test_a_small_step_is_the_gradient_of_the_loss(codes, graph, exaggeration):
    """By autograd of all pairs."""
    leaf = codes.clone().requires_grad_()
    loss(leaf, graph, exaggeration).backward()
    expected = torch.nn.functional.normalize(leaf.grad.flatten(), dim=0)

    def step(rho):
        moved = refined(codes, graph, 1, exaggeration=rho)
        return torch.nn.functional.normalize((codes - moved).flatten(), dim=0)

    assert (step(exaggeration) - expected).norm() < 0.005  # of length 1
    assert (step(1.1 * exaggeration) - expected).norm() > 0.01


def test_the_gradient_of_distances_is_that_of_their_correlation(codes):
    points = torch.randn(N, 7, generator=seeded(2), dtype=torch.float64)
    distances = Distances.of(points, seeded(3))
    codes = codes.float()
    leaf = codes.double().requires_grad_()
    own, data = (
        torch.cat([(x - x[other]).square().sum(1).clamp_min(1e-30).sqrt() for other in distances.partners])
        for x in (leaf, points)
    )
    data = data.clamp_max(data.quantile(tsne.USUAL))
    r = torch.corrcoef(torch.stack([own, data]))[0, 1]
    (tsne.DISTANCES * (1 - r)).backward()
    torch.testing.assert_close(distances.gradient(codes), leaf.grad.float(), rtol=1e-3, atol=1e-7)
    assert not torch.allclose(distances.gradient(1.1 * codes[torch.arange(N).flip(0)]), leaf.grad.float(), rtol=1e-2)
    moved = refined(codes, torch.full((N, 1), -1), 100, distances=distances)
    ranked = [np.corrcoef(torch.pdist(z), torch.pdist(points))[0, 1] for z in (codes, moved)]
    assert ranked[1] > ranked[0] + 0.03


def test_fixed_rows_stay(codes, graph):
    fixed = torch.zeros(N, dtype=torch.bool)
    fixed[::3] = True
    held = refined(codes, graph, fixed=fixed)
    assert (held[fixed] == codes[fixed].float()).all() and ((held - codes)[~fixed].abs() > 1e-4).any(1).all()
    assert (refined(codes, graph, ended=lambda: True) == codes.float()).all()


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_few_rows_and_rows_in_one_place(n):
    points = torch.randn(n, 2, generator=seeded(), dtype=torch.float64)
    graph = torch.full((n, 4), -1)
    for rows in (points, torch.ones_like(points)):
        start = start_of_components(rows, 2)
        assert tsne.tsne(start, graph, Distances.of(rows, seeded())).isfinite().all()


def test_equal_rows_and_few_rows_have_maps():
    for X in (np.repeat(np.eye(5), 20, 0), np.arange(60.0)[:, None] * np.ones(3)):
        Z = VAE(2, neighbors=5, max_epochs=1, random_state=0).fit(X).transform(X)
        assert np.isfinite(Z).all()


def test_results_do_not_depend_on_global_state(codes, graph):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    moved = refined(codes, graph)
    assert (torch.get_rng_state() == before).all()
    assert (refined(codes, graph) == moved).all()


def test_places_keep_more_neighbours_than_components_and_their_order():
    X = load_digits().data
    vae = VAE(2, max_epochs=1, random_state=0).fit(X)
    alone = start_of_components(torch.from_numpy(X), 2).numpy()
    kept = [(neighbor_ranks(X, Z, 15) < 15).mean() for Z in (alone, vae.transform(X))]
    assert kept[1] > 0.5 > 0.2 > kept[0]


def test_the_encoder_learns_the_places():
    X = load_digits().data
    vae = VAE(2, max_epochs=40, random_state=0).fit(X)
    off = np.linalg.norm(vae.posterior(X)[0] - vae.transform(X), axis=1)
    assert np.median(off) < 0.05, "of a spread of 1"
    assert vae.history_[-1]["places"] < 0.3 * vae.history_[0]["places"]
    assert np.allclose(vae.transform(X).mean(0), 0, atol=1e-3) and np.isclose(vae.transform(X).std(), 1, atol=1e-3)


def test_rows_that_were_held_out_attract_others_too():
    """The neighbours are those of all rows."""
    X = load_digits().data[:400]
    X = X[:, X.std(0) > 0]
    vae = VAE(2, max_epochs=1, random_state=0).fit(X)
    graph = vae.state_.graphs.graph.numpy()
    assert graph.shape[0] == 400 and vae.state_.graphs.held_out_graph.shape[0] == 0
    assert len(np.setdiff1d(np.arange(400), np.unique(graph))) < 20
    scaled = vae.state_.scaling(torch.from_numpy(X)).numpy()
    near = NearestNeighbors(n_neighbors=61).fit(scaled).kneighbors(scaled)[1][:, 1:]
    assert all(set(row.tolist()) <= set(there) for row, there in zip(graph, near, strict=True))


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
    """Places in another order round otherwise, so that the same seed would give other bits in each process."""

    def recorded(start, graph, distances, **settings):
        seen.append(start)
        return start

    seen = []
    monkeypatch.setattr(places, "tsne", recorded)
    monkeypatch.setattr(places, "start_of_components", lambda points, d: points[:, :2])
    X = np.random.default_rng(0).normal(size=(100, 5))
    for rows in (X, np.concatenate([X, X[:30], X[50:60]])):
        VAE(2, max_epochs=1, random_state=0, neighbor_components=None, scaling="none").fit(rows)
    np.testing.assert_allclose(seen[0], X[:, :2], atol=1e-6)
    np.testing.assert_allclose(seen[1], X[:, :2], atol=1e-6)


@pytest.mark.filterwarnings("ignore::latentmap.exceptions.PosteriorCollapseWarning")
@pytest.mark.parametrize("exaggeration", [1.0, 4.0, 20.0])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_neighbours_are_kept_with_any_exaggeration(exaggeration, d):
    X = load_digits().data[:600]
    vae = VAE(d, neighbors=15, exaggeration=exaggeration, max_epochs=1, random_state=0).fit(X)
    alone = start_of_components(torch.from_numpy(X), d).numpy()
    before, after = (neighbor_ranks(X, Z, 15) < 15 for Z in (alone, vae.transform(X)))
    few = d == 3 and exaggeration == 20  # by 0.07 to 0.12 there, over eight seeds
    assert after.mean() > before.mean() + (0.05 if few else 0.1)


@pytest.mark.parametrize("d", [2, 3])
def test_of_many_rows_some_are_placed_first(d, monkeypatch):
    X = load_digits().data[:900]
    monkeypatch.setattr(places, "SOME_ROWS" if d == 2 else "SOME_ROWS_3D", 300)
    vae = VAE(d, max_epochs=1, random_state=0).fit(X)
    assert (neighbor_ranks(X, vae.transform(X), 15) < 15).mean() > 0.4


def test_codes_of_many_dimensions_have_places():
    X = np.random.default_rng(0).normal(size=(2600, 12))
    vae = VAE(8, neighbors=15, max_epochs=1, random_state=0).fit(X)
    assert np.isfinite(vae.transform(X)).all()


def test_density_is_not_traded_for_neighbours():
    X = np.random.default_rng(0).normal(size=(200, 5))
    vae = VAE(2, max_epochs=3, density_weight=0.1, random_state=0).fit(X)
    np.testing.assert_allclose(vae.transform(X), vae.posterior(X)[0], atol=1e-5)
    assert "places" not in vae.history_[0]


def test_rows_of_two_columns_lie_as_they_are():
    """The map of two columns keeps all neighbours, of which t-SNE would lose some."""
    X = np.random.default_rng(0).normal(size=(600, 2)) @ [[2.0, 1.0], [0.0, 1.0]]
    Z = VAE(2, max_epochs=1, random_state=0).fit(X).transform(X)
    scaled = X / X.std(0) if neighbors else X
    fitted = np.linalg.lstsq(np.column_stack([scaled, np.ones(600)]), Z, rcond=None)
    assert fitted[1].sum() < 1e-6 * Z.size


def test_a_warm_start_keeps_its_map():
    X = load_digits().data[:500]
    X = X[:, X[:400].std(0) > 0]
    vae = VAE(2, max_epochs=1, warm_start=True, random_state=0).fit(X[:400])
    before = vae.transform(X[:400])
    after = vae.fit(X).transform(X[:400])
    other = VAE(2, max_epochs=1, random_state=1, init="random").fit(X).transform(X[:400])
    moved, anew = (np.median(np.linalg.norm(Z - before, axis=1)) for Z in (after, other))
    assert moved < 0.3 < 0.6 < anew


@pytest.mark.filterwarnings("ignore:the places of anchor:latentmap.exceptions.DiagnosisWarning")
@pytest.mark.parametrize("known", [1, 2, 5, 10, 30, 300])
def test_rows_with_given_places_keep_them_and_the_others_lie_around(known):
    """Even where none of their neighbours has a place, on a map of other columns."""
    X = load_digits().data[:300]
    X = X[:, X.std(0) > 0]
    Z = VAE(2, max_epochs=1, random_state=0).fit(X[:, :30]).transform(X[:, :30])
    rows = np.random.default_rng(0).permutation(300)[:known]
    for unit in (0.05, 1.0, 20.0):
        given = unit * Z[rows]
        found = VAE(2, max_epochs=1, random_state=0, anchor=(rows, given)).fit(X).transform(X)
        np.testing.assert_allclose(found[rows], given, rtol=1e-6, atol=1e-6 * unit)
        if known >= 10:
            assert 0.5 * unit < found.std() < 2 * unit and np.abs(found).max() < 6 * unit


@pytest.mark.parametrize("d", [1, 3])
def test_given_places_are_kept_in_one_and_three_dimensions(d):
    X = load_digits().data[:200]
    X = X[:, X.std(0) > 0]
    rows, given = np.arange(0, 200, 20), np.random.default_rng(0).normal(size=(10, d))
    found = VAE(d, neighbors=15, max_epochs=1, random_state=0, anchor=(rows, given)).fit(X).transform(X)
    np.testing.assert_allclose(found[rows], given, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_an_earlier_map_goes_on_with_rows_of_any_precision(dtype):
    X = load_digits().data[:200].astype(dtype)
    X = X[:, X[:150].std(0) > 0]
    earlier = VAE(2, max_epochs=2, random_state=0).fit(X[:150])
    later = VAE(2, max_epochs=2, random_state=0, anchor=earlier).fit(X)
    Z, before = later.transform(X[:150]), earlier.transform(X[:150])
    stay = (np.abs(Z - before) < 1e-6).all(1)
    assert stay.mean() > 0.1 and np.median(np.abs(Z - before)) < 0.2
    again = earlier.set_params(warm_start=True).fit(X).transform(X[:150])
    assert np.isfinite(again).all() and np.median(np.abs(again - before)) < 0.5


def test_equal_rows_of_given_places_have_one():
    X = np.random.default_rng(0).normal(size=(60, 4))
    X[1] = X[0]
    with pytest.raises(DataError, match="two codes for equal rows"):
        VAE(2, max_epochs=1, anchor=([0, 1], [[0, 0], [1, 0]])).fit(X)
    Z = VAE(2, max_epochs=1, anchor=([1, 5], [[0, 0], [1, 0]])).fit(X).transform(X)
    assert (Z[0] == 0).all() and np.isfinite(Z).all()


def test_places_far_from_the_prior_are_told():
    X = np.random.default_rng(0).normal(size=(60, 4))
    for codes in (100 * X[:30, :2], X[:30, :2] + 20):
        with pytest.warns(DiagnosisWarning, match="far from the 0 and 1 of a prior"):
            VAE(2, max_epochs=1, anchor=(np.arange(30), codes)).fit(X)


def test_rows_in_one_place_and_few_rows_around_one():
    places_ = torch.ones(20, 2)
    distances = Distances.of(torch.randn(20, 4, generator=seeded()), seeded())
    assert (distances.gradient(places_) == 0).all()
    X = np.random.default_rng(0).normal(size=(8, 4))
    Z = VAE(2, neighbors=7, max_epochs=1, anchor=([3], [[1.0, 2.0]])).fit(X).transform(X)
    assert (Z[3] == [1, 2]).all() and np.isfinite(Z).all() and len(np.unique(Z, axis=0)) == 8


def test_a_warm_start_from_a_map_without_spread_makes_a_new_one():
    X = np.random.default_rng(0).normal(size=(200, 4))
    vae = VAE(2, max_epochs=2, learning_rate=1e-4, warm_start=True, random_state=0).fit(X)
    Z = vae.fit(1e-3 * X).transform(1e-3 * X)
    assert np.isclose(Z.std(), 1, atol=1e-3)


def test_one_row_far_from_all_others_leaves_them_room():
    rows = np.random.default_rng(0).normal(size=(300, 6))
    Z = VAE(2, max_epochs=1, random_state=0).fit(np.r_[rows, rows[:1] + 1e3]).transform(rows)
    assert Z.std(0).min() > 0.7


def test_a_time_budget_that_suffices_changes_nothing():
    X = np.random.default_rng(0).normal(size=(500, 6))
    free = VAE(2, max_epochs=3, random_state=0).fit(X)
    given = VAE(2, max_epochs=3, time_budget=600, random_state=0).fit(X)
    np.testing.assert_array_equal(given.transform(X), free.transform(X))


def test_a_resumed_fit_learns_the_places_that_it_began_with(tmp_path, monkeypatch):
    """Even on a machine that rounds otherwise: another t-SNE would have other places."""
    X = load_digits().data[:300]
    X = X[:, X.std(0) > 0]
    settings = {"max_epochs": 4, "batch_size": 8, "random_state": 0}
    whole = VAE(2, **settings).fit(X)

    def stop(row, progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt

    with pytest.warns(InterruptedWarning):
        VAE(2, callbacks=[stop], **settings).fit(X, checkpoint=tmp_path)
    original = places.tsne
    monkeypatch.setattr(places, "tsne", lambda *args, **more: original(*args, **more).flip(1))
    resumed = VAE(2, **settings).fit(X, checkpoint=tmp_path, resume=True)
    np.testing.assert_array_equal(resumed.transform(X), whole.transform(X))


def test_an_exaggerated_map_is_no_map_of_components_and_one_that_is_says_so():
    """Groups rather than neighbours is what is asked for."""
    X = StandardScaler().fit_transform(load_wine().data)
    alone = start_of_components(torch.from_numpy(X), 2).numpy()

    def fitted(rows, **options):
        return VAE(2, max_epochs=1, random_state=0, **options).fit(rows)

    vae = fitted(X, exaggeration=4)
    agreement = np.abs(np.corrcoef(vae.transform(X).T, alone.T)[:2, 2:])
    assert agreement.max(1).min() < 0.995 and "places" not in vae.choices_
    flat = np.random.default_rng(0).normal(size=(300, 2)) @ np.random.default_rng(1).normal(size=(2, 5))
    assert "principal components" in fitted(flat).choices_["places"]
