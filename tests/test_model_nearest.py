"""Nearest rows where products of matrices cancel: against all differences, in double precision, by scipy."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from scipy.spatial.distance import cdist, pdist
from scipy.stats import pearsonr
from sklearn.base import clone
from sklearn.manifold import trustworthiness
from sklearn.metrics.pairwise import cosine_distances

from latentmap import VAE, load, networks
from latentmap.cli.settings import read_settings
from latentmap.data.sampling import split_rows
from latentmap.estimators import neighbors, training_rows
from latentmap.estimators.graph import neighbor_graph
from latentmap.evaluation import neighborhood as nb
from latentmap.evaluation.details import log_density
from latentmap.evaluation.generation import frechet_distance, overlap, pca_features
from latentmap.evaluation.latent import gap_fraction, negentropy
from latentmap.evaluation.rows import centred, squared_distances
from latentmap.model import components, nearest
from latentmap.model.components import principal_axes, projection
from latentmap.model.part import Sizes
from latentmap.model.posteriors import Quantized
from latentmap.objectives.neighbors import NeighborEmbedding, correlation
from latentmap.objectives.penalties import MMD

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
K, N = 15, 600
rng = np.random.default_rng(0)
CLOUD = rng.normal(size=(N, 5))
HALF = (np.arange(N) % 2)[:, None]
PLACES = np.array([[13.4, 52.5], [-74.0, 40.7], [139.7, 35.7], [151.2, -33.9], [-43.2, -22.9]])


@pytest.fixture(autouse=True)
def searched(monkeypatch):
    """Keep the neighbours that are searched, each once, in place of shares of them."""
    monkeypatch.setattr(neighbors, "SEARCHED", 1)
    monkeypatch.setattr(neighbors, "shares", lambda found, weights: found)


def with_cell(value):
    rows = CLOUD.copy()
    rows[0, 0] = value
    return rows


CASES = {
    "a cloud": CLOUD,
    "groups 1,000 apart": CLOUD + 1e3 * HALF,
    "groups 10,000 apart": CLOUD + 1e4 * HALF,
    "groups 1e8 apart": CLOUD + 1e8 * HALF,
    "groups of 50 columns": rng.normal(size=(N, 50)) + 1e4 * HALF,
    "five cities": PLACES[np.arange(N) % 5] + 0.001 * CLOUD[:, :2],
    "one cell of 1e6": with_cell(1e6),
    "one row far off": np.r_[CLOUD, np.full((1, 5), -1e12)],
    "an offset of 1.7e9": CLOUD + 1.7e9,
    "a column with heavy tails": np.c_[CLOUD, rng.standard_cauchy(N) ** 3],
    "duplicates": np.repeat(CLOUD[: N // 4], 4, 0),
    "nearly duplicates": np.repeat(10 * CLOUD[: N // 20], 20, 0) + 1e-6 * CLOUD,
    "whole numbers": rng.integers(0, 3, size=(N, 6)).astype(float),
    "scale of 1e-30": 1e-30 * CLOUD,
    "scale of 1e30": 1e30 * CLOUD,
    "scales of 1e-12 to 1e12": CLOUD * 10.0 ** rng.uniform(-12, 12, size=(N, 1)),
}


def recall(found, X, k=K):
    """Share of the rows found that are as near as the k-th nearest, by differences in double precision."""
    distances = cdist(X, X)
    np.fill_diagonal(distances, np.inf)
    kth = np.sort(distances, axis=1)[:, k - 1 : k]
    assert all(len(set(row)) == k for row in found.tolist())
    return (np.take_along_axis(distances, np.asarray(found), axis=1) <= kth * (1 + 1e-12)).mean()


def by_products(X, k=K):
    """The control: one product in single precision."""
    x = torch.from_numpy(np.asarray(X)).float()
    distances = x.square().sum(1) - 2 * x @ x.T
    return distances.fill_diagonal_(torch.inf).topk(k, largest=False).indices


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", CASES)
def test_neighbours_are_those_by_differences(name, dtype, agree):
    if dtype == np.float32 and name == "an offset of 1.7e9":
        pytest.skip("single precision holds none of these rows")
    X = CASES[name].astype(dtype)
    found = recall(neighbor_graph(torch.from_numpy(X), K), X)
    agree("recall of the neighbour graph, 1 - recall", "scipy's cdist", 1 - found, 0.0, 0.002)


def test_one_product_in_single_precision_loses_them():
    for name in ("groups 1,000 apart", "groups 10,000 apart", "groups 1e8 apart", "five cities", "an offset of 1.7e9"):
        assert recall(by_products(CASES[name]), CASES[name]) < 0.99, name


def test_queries_find_the_rows_nearest_to_them():
    X = CASES["groups 10,000 apart"]
    rows, queries = X[::2][:250], X[1::2]
    for asked in (X[500:], queries, queries[:1], queries[:0]):
        found = neighbor_graph(torch.from_numpy(X[:500]), 3, queries=torch.from_numpy(asked)).numpy()
        assert np.array_equal(found, np.argsort(cdist(asked, X[:500]), axis=1)[:, :3].reshape(-1, 3))
    assert not np.array_equal(neighbor_graph(*map(torch.from_numpy, [rows]), 3).numpy(), found), "control"


@pytest.mark.parametrize("stage", ["products in double precision", "differences"])
def test_each_stage_finds_them_by_itself(stage, monkeypatch):
    """Whatever the rounding of products in single precision is said to be."""
    monkeypatch.setitem(nearest.ROUNDING, torch.get_float32_matmul_precision(), np.inf)
    if stage == "differences":
        monkeypatch.setattr(nearest, "_by_products", lambda points, asked, rows, *_: rows)
    for name in ("a cloud", "groups 10,000 apart", "duplicates"):
        assert recall(nearest.nearest(torch.from_numpy(CASES[name]), K), CASES[name]) >= 0.998


@pytest.mark.parametrize("n", [2, 16, 17, 33])
def test_few_rows_have_neighbours(n):
    X = CLOUD[:n]
    assert recall(neighbor_graph(torch.from_numpy(X), min(K, n - 1)), X, min(K, n - 1)) == 1


# ---- principal components


@pytest.mark.parametrize("columns", [60, 300])
def test_principal_axes_are_those_of_scikit_learn_whatever_the_seed(columns, agree):
    from sklearn.decomposition import PCA

    X = rng.normal(size=(400, 8)) * np.arange(8, 0, -1) @ rng.normal(size=(8, columns)) + 1e4
    X += 0.01 * rng.normal(size=X.shape)
    before = torch.get_rng_state()
    centre, axes = principal_axes(torch.from_numpy(X), 5)
    assert torch.equal(before, torch.get_rng_state())
    expected = PCA(5, svd_solver="full").fit(X)
    np.testing.assert_allclose(centre, expected.mean_)
    found = np.abs(expected.components_ @ axes.numpy())
    agree("principal axes of the search", "sklearn.decomposition.PCA", found, np.eye(5), 1e-4)


def test_components_are_as_many_as_asked_or_as_the_variance_asks():
    flat = torch.from_numpy(rng.normal(size=(400, 300)))
    low = torch.from_numpy(rng.normal(size=(400, 10)) @ rng.normal(size=(10, 300))) + 0.1 * flat

    def width(rows, *given):
        return projection(rows, *given)(rows).shape[1]

    assert width(flat[:, :200]) == 200 and width(torch.cat([flat[:, :150], torch.ones(400, 900)], 1)) == 1050
    assert width(low) == components.FEWEST and components.FEWEST < width(flat) <= components.COLUMNS
    assert width(flat, None) == 300 and width(flat, 7) == 7 and width(flat[:, :20], 50) == 20


def test_the_map_searches_as_many_components_as_asked(tmp_path):
    X = rng.normal(size=(300, 40)) * np.r_[np.ones(20), np.full(20, 0.9)]
    small = {"encoder": networks.MLP((8,)), "decoder": networks.MLP((8,)), "max_epochs": 1, "early_stopping": False}

    def found(components):
        options = {"neighbors": K, "neighbor_components": components, "random_state": 0, **small}
        vae = VAE(2, scaling="none", **options).fit(X)
        vae.save(tmp_path / "run")
        assert load(tmp_path / "run").neighbor_components == clone(vae).neighbor_components == components
        return recall(vae.state_.graphs.graph, X), vae.choices_["neighbor_components"]

    assert found("auto") == found(None)[:1] + ("all columns (chosen for 40 columns)",)
    assert found("auto")[0] == 1 and found(40) == found(None) and found(None)[1] == "all columns (given)"
    asked = [read_settings(VAE, [f"neighbor-components={text}"]) for text in ("none", "auto", "10")]
    assert [one["neighbor_components"] for one in asked] == [None, "auto", 10]
    few, text = found(10)
    assert few < 0.7 and text == "10 principal components (given)"
    with pytest.raises(ValueError, match="neighbor_components must be a whole number >= 1, got 0"):
        found(0)


# ---- measures


@pytest.mark.parametrize("offset", [0.0, 1e6, 1.7e9, 1e12])
def test_measures_of_neighbourhoods_do_not_change_with_an_offset(offset, agree):
    X = CLOUD + offset
    Z = CLOUD[:, :2] + 0.5 * CLOUD[:, 2:4]
    shifted = np.c_[Z, -Z] - offset
    expected = [trustworthiness(a, b, n_neighbors=5) for a, b in ((X - offset, Z), (Z, X - offset))]
    for place in (Z, shifted):
        found, within = [nb.trustworthiness(X, place), nb.continuity(X, place)], 2e-4 if offset == 1e12 else 1e-12
        name = f"trustworthiness and continuity, offset {offset:g}"
        agree(name, "sklearn.manifold.trustworthiness, centred rows", found, expected, within)
    wide = np.tile(X, 4)  # 20 columns, where scikit-learn takes products, too
    assert nb.neighbor_recall(wide, X) >= 0.999
    y = (CLOUD[:, 0] > 0).astype(int)
    exact = nb.neighbor_accuracy(CLOUD[::2], y[::2], CLOUD[1::2], y[1::2])
    assert nb.neighbor_accuracy(wide[::2], y[::2], wide[1::2], y[1::2]) == pytest.approx(exact, abs=0.004)
    assert nb.silhouette(wide, y) == pytest.approx(nb.silhouette(np.tile(CLOUD, 4), y), abs=1e-5)
    same = log_density(np.tile(CLOUD, 4), np.tile(CLOUD[:9], 4))
    np.testing.assert_allclose(log_density(wide, wide[:9]), same, atol=0.01)


def test_the_ranks_are_those_by_differences_of_groups_far_apart():
    X, Z = CASES["groups 1e8 apart"], CLOUD[:, :2]
    in_data, on_map = cdist(X, X), cdist(Z, Z)
    for distances in (in_data, on_map):
        np.fill_diagonal(distances, np.inf)
    near = np.argsort(on_map, axis=1)[:, :7]
    expected = [[1 + (row < row[j]).sum() for j in js] for row, js in zip(in_data, near, strict=True)]
    assert np.array_equal(nb.neighbor_ranks(X, Z, 7), expected)


def test_squared_distances_are_those_of_scipy_and_zero_between_equal_rows():
    for name in ("groups 1e8 apart", "duplicates", "one row far off", "an offset of 1.7e9"):
        (X,) = centred(CASES[name])
        expected = cdist(X, X, "sqeuclidean")
        np.testing.assert_allclose(squared_distances(X, X), expected, rtol=1e-6)
        assert (squared_distances(X, X)[expected == 0] == 0).all()
    for scale in (1e300, 1e-300):
        assert nb.trustworthiness(scale * CLOUD, CLOUD[:, :2]) == nb.trustworthiness(CLOUD, CLOUD[:, :2])


@pytest.mark.parametrize("offset", [1e6, 1.7e9])
def test_overlap_does_not_change_with_an_offset(offset):
    a, b = rng.normal(size=(2, 300, 20)) * 1.1
    moved, expected = overlap(a + offset, b + offset), overlap(a, b)
    assert all(abs(getattr(moved, f) - getattr(expected, f)) < 0.004 for f in ("precision", "recall", "density"))
    assert moved.coverage == pytest.approx(expected.coverage, abs=0.004)


@pytest.mark.parametrize("offset", [1e6, 1.7e9])
def test_measures_of_codes_and_features_do_not_change_with_an_offset(offset):
    a, b, c = rng.normal(size=(3, 300, 20)) * np.linspace(1, 3, 20)
    near = {"rel": 1e-4, "abs": 1e-3}
    assert negentropy(a + offset) == pytest.approx(negentropy(a), **near)
    assert gap_fraction(*(rows + offset for rows in (a, b, c))) == pytest.approx(gap_fraction(a, b, c), **near)
    assert frechet_distance(a + offset, b + offset) == pytest.approx(frechet_distance(a, b), **near)
    features = [pca_features(rows, n_components=2).features(rows) for rows in (a, a + offset)]
    np.testing.assert_allclose(*map(np.abs, features), atol=1e-3)


# ---- terms of the loss, in single precision


def test_terms_of_the_loss_do_not_change_with_an_offset():
    x, z = torch.from_numpy(CLOUD[:100]).float(), torch.from_numpy(CLOUD[:100, :2]).float()
    moved = (x + 4096).sub(4096)  # as many digits as are left
    assert correlation(x + 4096, z + 512).item() == pytest.approx(correlation(moved, z).item(), abs=1e-4)
    kernel = MMD()._kernel
    a, b = (torch.from_numpy(CLOUD[i : i + 50]).float()[None] for i in (0, 50))
    a, b = ((rows + 4096).sub(4096) for rows in (a, b))
    torch.testing.assert_close(kernel(a + 4096, b + 4096), kernel(a, b), atol=1e-5, rtol=1e-4)


def test_the_nearest_vector_of_a_codebook_is_that_by_differences():
    part = Quantized(codes=64)
    own = part.build(Sizes((5,), 2)).eval()
    raw = torch.from_numpy(CLOUD[:200, : own.book.shape[-1] * own.book.shape[1]]).float()
    own.book.copy_(torch.from_numpy(rng.normal(size=tuple(own.book.shape))).float())
    own.book.add_(4096), raw.add_(4096)
    pieces = raw.unflatten(-1, (own.book.shape[1], -1)).transpose(0, 1)
    expected = (pieces[:, :, None] - own.book[0][:, None]).square().sum(-1).argmin(-1).T
    assert torch.equal(part.indices(own, raw)[:, : expected.shape[1]], expected)


# ---- what a metric means


SMALL = {"encoder": networks.MLP((8,)), "decoder": networks.MLP((8,)), "max_epochs": 1, "random_state": 0}
UNITS = np.logspace(-2, 2, 10)
TURNED = rng.normal(size=(400, 10))
COUNTS = np.r_[rng.poisson(0.4, size=(397, 30)), np.zeros((3, 30))] * 1.0
HOLES = np.where(rng.random(TURNED.shape) < 0.1, np.nan, TURNED)
GIVEN = {
    "negative values": (TURNED, {}),
    "an offset": (TURNED + np.tile([3.0, -2.0], 5), {}),
    "columns of their own units": (TURNED * UNITS + 5, {}),
    "one range": (TURNED * UNITS + 5, {"scaling": "range"}),
    "deviations": (TURNED - 1, {"scaling": "standard"}),
    "as they are": (TURNED, {"scaling": "none"}),
    "one unit": (rng.normal(size=(400, 20)) + 2, {}),
    "single precision": (TURNED.astype(np.float32), {}),
    "images": (rng.normal(size=(400, 6, 6)), {}),
    "bytes": (rng.integers(0, 256, size=(400, 6, 6)).astype(np.uint8), {}),
    "tensors": (torch.from_numpy(TURNED), {}),
    "a frame": (pd.DataFrame(TURNED, columns=list("abcdefghij")), {}),
    "counts, and rows of zeros": (sparse.csr_array(COUNTS), {}),
    "bytes, batch by batch": (rng.integers(0, 256, size=(400, 36)).astype(np.uint8), {}),
    "missing cells": (HOLES, {}),
}


def graph_of(X, metric, **settings):
    vae = VAE(2, metric=metric, neighbors=K, early_stopping=False, **SMALL | settings).fit(X)
    return vae.state_.graphs.graph.numpy().astype(int), vae


def angles_kept(found, X):
    """Share of the rows found whose cosine is that of the k-th nearest or more, by scikit-learn."""
    apart = cosine_distances(X)
    np.fill_diagonal(apart, np.inf)
    return (np.take_along_axis(apart, found, axis=1) <= np.sort(apart, axis=1)[:, K - 1 : K] + 1e-9).mean()


@pytest.mark.parametrize("name", GIVEN)
def test_cosine_is_the_angle_of_the_rows_as_they_are_given(name, monkeypatch, agree):
    X, settings = GIVEN[name]
    if "batch" in name:
        monkeypatch.setattr(training_rows, "fits_device", lambda *_: False)
    found, _ = graph_of(X, "cosine", **settings)
    rows = X.toarray() if sparse.issparse(X) else np.asarray(X, dtype=float).reshape(len(found), -1)
    rows = np.where(np.isnan(rows), np.nanmean(rows, axis=0), rows)
    agree(
        "recall of cosine neighbours, 1 - recall",
        "sklearn's cosine_distances",
        1 - angles_kept(found, rows),
        0.0,
        0.005,
    )
    if "one unit" not in name and "bytes" not in name:
        return
    assert angles_kept(graph_of(X, "euclidean", **settings)[0], rows) < 0.95, "control"


def test_held_out_rows_have_the_neighbours_of_their_angle():
    vae = VAE(2, metric="cosine", neighbors=K, **SMALL).fit(TURNED + 1)
    train, held_out = split_rows(400, 0.1, vae.seed_)
    apart = cosine_distances((TURNED + 1)[held_out], (TURNED + 1)[train])
    found = vae.state_.graphs.held_out_graph.numpy().astype(int)
    assert (np.take_along_axis(apart, found, 1) <= np.sort(apart, axis=1)[:, K - 1 : K] + 1e-9).mean() >= 0.995


def test_in_a_table_of_mixed_columns_it_is_the_angle_of_rows_as_the_encoder_sees_them():
    table = pd.DataFrame({"a": TURNED[:, 0] + 9, "b": TURNED[:, 1], "c": rng.choice(list("xyz"), 400)})
    found, vae = graph_of(table, "cosine")
    assert angles_kept(found, vae.encoder_inputs(table)) >= 0.995
    assert angles_kept(graph_of(table, "euclidean")[0], vae.encoder_inputs(table)) < 0.95, "control"


def test_the_global_term_compares_the_same_angles():
    X = TURNED[:100] * UNITS + 5
    vae = VAE(2, metric="cosine", neighbors=K, **SMALL).fit(X)
    x = vae.scaling_(torch.from_numpy(X)).float()
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    z = torch.from_numpy(unit[:, -2:]).float()
    expected = pearsonr(pdist(unit), pdist(z.numpy())).statistic
    objective = NeighborEmbedding(metric=vae.metric, units=vae.scaling_)
    own = objective.build(vae.model_.sizes)
    assert objective._agreement(own, vae.model_, x, z).item() == pytest.approx(expected, abs=1e-4)
    plain = NeighborEmbedding(metric="cosine")  # of rows that have no other units
    assert plain._agreement(own, vae.model_, x, z).item() != pytest.approx(expected, abs=1e-2), "control"


@pytest.mark.parametrize("name", ["groups 10,000 apart", "five cities", "one cell of 1e6", "an offset of 1.7e9"])
def test_a_fit_keeps_neighbours_that_are_far_from_others(name):
    X = CASES[name]
    found, _ = graph_of(X, "euclidean", scaling="standard")
    assert recall(found, (X - X.mean(0)) / X.std(0)) >= 0.995
    found, _ = graph_of(X, "euclidean", scaling="range")
    assert recall(found, X) >= 0.995


@pytest.mark.parametrize("lengths", ["half of them short", "log-normal", "one of 1e20"])
@pytest.mark.parametrize("scaling", ["standard", "range"])
def test_angles_do_not_depend_on_lengths(lengths, scaling):
    draw = np.random.default_rng(0)
    X = draw.normal(size=(300, 8))
    X *= {
        "half of them short": np.where(np.arange(300) < 150, 1e-20, 1.0),
        "log-normal": np.exp(12 * draw.normal(size=300)),
        "one of 1e20": np.where(np.arange(300) == 7, 1e20, 1.0),
    }[lengths][:, None]
    small = {"encoder": networks.MLP((8,)), "decoder": networks.MLP((8,)), "max_epochs": 1, "early_stopping": False}
    vae = VAE(2, metric="cosine", scaling=scaling, random_state=0, neighbors=K, **small).fit(X)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)  # scikit-learn takes rows shorter than 2e-15 for zeros
    assert angles_kept(vae.state_.graphs.graph.numpy(), unit) >= 0.999
