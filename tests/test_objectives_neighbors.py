"""The neighbour term against values computed by hand, and what it does to a map."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from latentmap.estimators.graph import neighbor_graph
from latentmap.exceptions import DataError, PartError
from latentmap.model import nearest as search
from latentmap.objectives.metrics import normalise_for
from latentmap.objectives.neighbors import NeighborEmbedding, contrast, correlation


def plain(codes, rows):
    """The contrast as its equation reads."""
    kernel = 1 / (1 + torch.cdist(codes, codes, compute_mode="donot_use_mm_for_euclid_dist") ** 2)
    pairs = [kernel[j % rows, j] for j in range(rows, len(codes))]
    others = kernel.sum(1) - kernel.diagonal()
    return -torch.stack(pairs).log().mean() + others.log().mean()


@pytest.mark.parametrize("rows", [4, 6])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_the_contrast_and_its_gradient_are_those_of_the_equation(scale, rows):
    noise = torch.Generator().manual_seed(0)
    codes = (scale * torch.randn(12, 3, generator=noise, dtype=torch.float64)).requires_grad_()
    expected = plain(codes.detach(), rows).item()
    assert contrast(codes, rows).item() == pytest.approx(expected, rel=1e-9)
    assert torch.autograd.gradcheck(lambda z: contrast(z, rows), codes, eps=1e-6 * scale, atol=1e-6)
    single = codes.detach().float()
    assert contrast(single, rows).item() == pytest.approx(expected, rel=1e-4)
    moved = codes.detach().clone()
    moved[0] += scale
    assert contrast(moved, rows).item() != pytest.approx(expected, rel=1e-9), "control"


def test_the_contrast_is_as_exact_where_networks_run_in_half_precision():
    codes = 20 * torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    codes.requires_grad_()
    alone = torch.autograd.grad(contrast(codes, 10), codes)[0]
    with torch.autocast("cpu", torch.bfloat16):
        beside = torch.autograd.grad(contrast(codes, 10), codes)[0]
    assert torch.equal(alone, beside) and alone.abs().sum() > 0


def test_the_correlation_of_distances_is_that_of_scipy():
    noise = torch.Generator().manual_seed(0)
    x, z = (torch.randn(9, p, generator=noise, dtype=torch.float64) for p in (5, 2))
    expected = pearsonr(pdist(x.numpy()), pdist(z.numpy())).statistic
    assert correlation(x, z).item() == pytest.approx(expected, rel=1e-9)
    assert torch.autograd.gradcheck(lambda z: correlation(x, z), z.clone().requires_grad_())
    assert correlation(x, 3 * x + 1).item() == pytest.approx(1.0), "no unit and no shift counts"
    assert correlation(x, z.flip(0)).item() != pytest.approx(expected, abs=1e-3), "control"
    with torch.autocast("cpu", torch.bfloat16):
        assert correlation(x.float(), z.float()).item() == pytest.approx(expected, rel=1e-4)


def test_equal_codes_have_no_correlation_and_a_finite_gradient():
    z = torch.zeros(6, 2, requires_grad=True)
    value = correlation(torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), z)
    value.backward()
    assert abs(value.item()) < 1e-6 and torch.isfinite(z.grad).all()


@pytest.mark.filterwarnings("ignore::latentmap.exceptions.OverfitWarning")  # of few rows
def test_the_global_term_keeps_distances(digits):
    from latentmap import VAE
    from latentmap.model.networks import MLP

    settings = {"neighbors": 10, "encoder": MLP((192,) * 6), "init": "random", "max_epochs": 40}
    rows = digits.reshape(len(digits), -1)[:600]

    def kept(weight):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(NeighborEmbedding, "__init__", _with_global_weight(weight))
            maps = [VAE(2, random_state=seed, **settings).fit(rows) for seed in (0, 1)]
        return np.mean([pearsonr(pdist(rows), pdist(one.transform(rows))).statistic for one in maps])

    assert kept(5.0) > kept(0.0) + 0.1


def _with_global_weight(weight, init=NeighborEmbedding.__init__):
    return lambda self, *args, **given: init(self, *args, **given | {"global_weight": weight})


def test_far_clusters_are_as_exact_in_single_precision():
    at = torch.randn(40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 100 + 1e4
    codes = torch.cat([at, at + 0.3])
    assert contrast(codes.float(), 40).item() == pytest.approx(plain(codes, 40).item(), abs=2e-3)


def test_equal_codes_tell_nothing():
    assert contrast(torch.zeros(32, 2), 16).item() == pytest.approx(math.log(31), rel=1e-5)


@pytest.mark.parametrize("n", [300, 320, 33])
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "correlation"])
def test_the_graph_agrees_with_scikit_learn(metric, n, monkeypatch):
    monkeypatch.setitem(search.BLOCK, "cpu", 7 * n)  # several blocks, the last one smaller
    x = torch.randn(n, 8, generator=torch.Generator().manual_seed(0))
    expected = NearestNeighbors(n_neighbors=6, metric=metric).fit(x).kneighbors(return_distance=False)
    got = neighbor_graph(normalise_for(x, metric), 6).numpy()
    same = [set(a) == set(b) for a, b in zip(expected, got)]
    # the cosine graph is taken after centring, which keeps the distances between unit vectors
    assert np.mean(same) > 0.99


def test_equal_rows_still_have_neighbours():
    found = neighbor_graph(torch.zeros(10, 3), 4)
    assert found.shape == (10, 4)
    assert not (found == torch.arange(10)[:, None]).any()


def test_too_few_rows_are_refused():
    with pytest.raises(DataError, match="more than 15 rows"):
        neighbor_graph(torch.randn(15, 3), 15)
    with pytest.raises(DataError, match="metric must be"):
        normalise_for(torch.randn(15, 3), "manhattan")
    for wrong in ({"weight": -1.0}, {"global_weight": -1.0}, {"global_weight": math.nan}):
        with pytest.raises(PartError, match="weight"):
            NeighborEmbedding(**wrong)


def test_neighbours_make_a_better_map_and_keep_the_model(digits):
    from latentmap import VAE, networks

    network = networks.MLP((64,))
    settings = {"encoder": network, "decoder": network, "max_epochs": 25, "random_state": 0}
    digit_labels = load_digits().target
    order = np.random.default_rng(0).permutation(len(digits))
    train, test = order[:1400], order[1400:]

    def measure(neighbors):
        vae = VAE(2, neighbors=neighbors, **settings).fit(digits[train])
        classifier = KNeighborsClassifier(10).fit(vae.transform(digits[train]), digit_labels[train])
        return classifier.score(vae.transform(digits[test]), digit_labels[test]), vae.score(digits[test])

    with_neighbours, score = measure(15)
    plain, plain_score = measure(None)
    assert with_neighbours > plain + 0.03
    assert score > plain_score - 4  # nats


def test_exaggeration_multiplies_the_attraction_alone():
    codes = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    attraction = contrast(codes, 10, exaggeration=1.0) - contrast(codes, 10, exaggeration=1e-9)
    views = codes.unflatten(0, (3, 10))
    torch.testing.assert_close(attraction, torch.log1p((views[1:] - views[0]).square().sum(-1)).mean())
    torch.testing.assert_close(contrast(codes, 10, exaggeration=3.0), contrast(codes, 10) + 2 * attraction)


@pytest.mark.filterwarnings("ignore::latentmap.exceptions.UnderfitWarning")
@pytest.mark.filterwarnings("ignore::latentmap.exceptions.ConstantFeatureWarning")
def test_the_more_exaggeration_the_tighter_the_neighbours(digits):
    from latentmap import VAE

    rows = digits.reshape(len(digits), -1)[:400]

    def tightness(exaggeration):
        fit = VAE(2, exaggeration=exaggeration, max_epochs=40, random_state=0).fit(rows)
        z = fit.transform(rows)
        near = NearestNeighbors(n_neighbors=10).fit(rows).kneighbors(return_distance=False)
        return np.linalg.norm(z[near] - z[:, None], axis=2).mean() / pdist(z).mean()

    assert tightness(8.0) < 0.8 * tightness(0.5)


@pytest.mark.parametrize("value", [0, -1.0, np.inf, np.nan, "high"])
def test_exaggeration_is_a_positive_number(value):
    from latentmap import VAE

    with pytest.raises(PartError, match="exaggeration must be a"):
        VAE(2, exaggeration=value).fit(np.random.default_rng(0).normal(size=(50, 3)))
