"""Maps: where they start, how labels draw them together, and whether refits agree."""

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.spatial import procrustes
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.decomposition import PCA

from latentmap import VAE, likelihoods, load, networks, posteriors, priors
from latentmap.cli import main
from latentmap.estimators.graph import neighbor_graph, with_classes
from latentmap.evaluation.compare import compare
from latentmap.evaluation.neighborhood import silhouette
from latentmap.evaluation.stability import between_halves, procrustes_distance
from latentmap.exceptions import DataError, PartError
from latentmap.model.affinities import SHARES
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.layout import SPREAD, start_at_components
from latentmap.model.part import Sizes

X, y = load_digits(return_X_y=True)
X, y = X[:600], y[:600]
MLP = networks.MLP((64,))
SMALL = {"encoder": MLP, "decoder": MLP, "max_epochs": 15}
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


def model_of(posterior, prior=None):
    torch.manual_seed(0)
    parts = Parts(MLP, MLP, posterior, prior or priors.Normal(), likelihoods.Gaussian())
    return GenerativeAutoencoder(parts, Sizes((64,), 2))


# ---- where maps start


@pytest.mark.parametrize("posterior", [posteriors.Gaussian(), posteriors.Deterministic()], ids=str)
def test_codes_start_at_the_principal_components(posterior):
    model, x, pca = model_of(posterior), torch.from_numpy(X / 16).float(), PCA(2).fit(X / 16)
    largest = pca.components_[[0, 1], np.abs(pca.components_).argmax(1)]
    expected = pca.transform(X / 16) * np.sign(largest)  # the largest loading of each component is positive

    def likeness():
        codes = model.encode(x).mean.detach().numpy()
        return min(np.corrcoef(codes[:, i], expected[:, i])[0, 1] for i in range(2))

    assert likeness() < 0.9
    assert start_at_components(model, x)
    assert likeness() > 0.97 and model.training  # it is left in the mode that it was in
    spread = model.encode(x).mean.detach().std(0)
    np.testing.assert_allclose(spread, SPREAD * expected.std(0) / expected[:, 0].std(), rtol=0.1)


def test_codes_of_other_spaces_start_as_they_are_drawn():
    model = model_of(posteriors.Sphere(), priors.Uniform())
    before = [p.clone() for p in model.parameters()]
    assert not start_at_components(model, torch.from_numpy(X / 16).float())
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_maps_of_two_seeds_agree_from_one_start():
    def apart(init):
        return procrustes_distance(*(VAE(2, init=init, random_state=s, **SMALL).fit_transform(X) for s in (0, 1)))

    assert apart("pca") < 0.5 * apart("random")


def test_a_map_that_goes_on_is_not_laid_out_again():
    vae = VAE(2, warm_start=True, random_state=0, **SMALL).fit(X)
    before = vae.transform(X)
    vae.set_params(max_epochs=1, learning_rate=1e-6).fit(X)
    np.testing.assert_allclose(vae.transform(X), before, atol=0.05)


# ---- labels


def test_classes_take_the_place_of_the_farthest_neighbours():
    graph = torch.arange(1, 5).repeat(6, 1)
    classes = np.array([0, 0, 1, 1, -1, 2])
    found = with_classes(graph, classes, classes, 0.5, seed=0)
    assert torch.equal(found[:, :2], graph[:, :2])
    assert set(found[:2, 2:].flatten().tolist()) <= {0, 1} and set(found[2:4, 2:].flatten().tolist()) <= {2, 3}
    assert torch.equal(found[4], graph[4])  # no label
    assert torch.equal(with_classes(graph, classes, classes, 0.1, seed=0), graph)  # a tenth of four is none
    assert torch.equal(found, with_classes(graph, classes, classes, 0.5, seed=0))


def test_labels_draw_a_map_together_and_new_rows_need_none():
    noise = np.random.default_rng(0).normal(size=(400, 10))
    classes = np.arange(400) % 2
    noise[:, 0] += 1.5 * classes  # a difference that no neighbour graph sees
    settings = {"random_state": 0, **SMALL, "max_epochs": 30}
    plain, pulled = VAE(2, **settings).fit(noise, classes), VAE(2, supervised=0.8, **settings).fit(noise, classes)
    assert silhouette(pulled.transform(noise), classes) > silhouette(plain.transform(noise), classes) + 0.1
    some = np.where(np.arange(400) < 200, classes, -1)
    partly = VAE(2, supervised=0.8, **settings).fit(noise, some)
    assert silhouette(partly.transform(noise), classes) > silhouette(plain.transform(noise), classes)
    names = VAE(2, supervised=0.8, **settings).fit(noise, np.array(["a", "b"])[classes])
    np.testing.assert_array_equal(names.transform(noise), pulled.transform(noise))
    kept = VAE(2, supervised=0.8, likelihood=likelihoods.Gaussian(), **settings).fit(sparse.csr_array(noise), classes)
    np.testing.assert_allclose(kept.transform(noise), pulled.transform(noise), atol=0.05)


@pytest.mark.parametrize(
    ("settings", "labels", "error", "message"),
    [
        ({"supervised": 0.5}, None, DataError, "a supervised map needs y, the class or number of each row"),
        ({"supervised": 0.5}, y[:5], DataError, "one label for each of the 600 rows"),
        ({"supervised": 0.5}, np.full(600, 0.5), DataError, "y of a supervised map is 0.5 in all rows"),
        ({"supervised": 0.5}, np.full(600, np.nan), DataError, "y of a supervised map is missing in all rows"),
        ({"supervised": 0.5}, ["a"] * 600, DataError, "y of a supervised map is 'a' in all rows"),
        ({"supervised": 0.5}, X[:, 20] + np.inf, DataError, "y of a supervised map holds infinity"),
        ({"supervised": 1.5}, y, PartError, "supervised must lie between 0 and 1, got 1.5"),
        ({"supervised": -1}, y, PartError, "supervised must be a finite number > 0"),
        ({"supervised": 0.5, "neighbors": None}, y, PartError, "leave neighbors='auto'"),
        ({"init": "umap"}, y, PartError, "init must be 'pca' or 'random', got 'umap'"),
    ],
)
def test_maps_that_cannot_be_are_refused(settings, labels, error, message):
    with pytest.raises(error, match=message):
        VAE(2, **SMALL, **settings).fit(X, labels)


def test_the_command_draws_a_supervised_map(tmp_path, capsys):
    fit = ["fit", "digits", "-o", str(tmp_path / "run"), "--no-report", "--set", "max_epochs=1"]
    assert main([*fit, "--set", "supervised=0.5"]) == 0
    np.save(tmp_path / "x.npy", X)
    fit[1] = str(tmp_path / "x.npy")
    assert main([*fit, "--set", "supervised=0.5", "--overwrite"]) == 2
    assert "supervised needs labels: name their column with --labels" in capsys.readouterr().err


# ---- refits


def test_procrustes_distances_are_those_of_scipy():
    a, b = np.random.default_rng(0).normal(size=(2, 50, 2))
    assert procrustes_distance(a, b) == pytest.approx(procrustes(a, b)[2], abs=1e-10)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    assert procrustes_distance(a, 3 * a @ turn * [-1, 1] + 5) == 0.0 < procrustes_distance(a, a * [3, 1])
    assert procrustes_distance(a, b) == pytest.approx(procrustes_distance(b, a))


def test_a_comparison_over_seeds_gives_means_spreads_and_how_far_maps_move():
    found = compare(X, y, methods=["pca", "tsne", "neighbor_vae"], max_rows=200, seeds=2, halves=True)
    single = compare(X, y, methods=["pca"], max_rows=200, seeds=1)
    assert not single.spread and not single.stability and single.scores[0].method == "PCA"
    pca, tsne, ours = found.stability
    assert 0 < pca.seeds < pca.halves < 1  # a projection moves with the rows alone, and two splits share most of them
    assert tsne.halves is None and tsne.seeds >= 0  # t-SNE places no new rows
    assert 0 < ours.seeds < 1 and 0 < ours.halves < 1
    means, spreads = found.scores[2], found.spread[2]
    assert spreads.neighbor_accuracy[10] >= 0 and means.minus_elbo is not None and spreads.minus_elbo > 0
    assert set(means.trustworthiness_at) == {5, 15, 50} and means.trustworthiness_at[5] == means.trustworthiness
    table = found.table()
    assert table[0][-2:] == ["moves by seed", "moves by half of the rows"] and "±" in table[3][1]
    assert "cannot" in table[2] and "±" not in single.table()[1][1]
    assert found.to_json()["stability"][1]["halves"] is None


def test_halves_are_fitted_apart():
    class Mean:
        def fit_map(self, rows):
            self.rows = {row.tobytes() for row in rows}
            Mean.seen.append(self.rows)

        def embed(self, rows):
            return rows[:, :2]

    Mean.seen = []
    assert between_halves(Mean, X[:101], X[200:300], 0) == 0.0
    assert not Mean.seen[0] & Mean.seen[1] and sum(map(len, Mean.seen)) == 101


def test_neighbours_are_kept_with_the_run_and_sought_again_for_other_rows(tmp_path, monkeypatch):
    sought = []

    def counted(*given, **more):
        sought.extend([540] * (len(given[0]) == 540))  # the refinement searches among all 600
        return neighbor_graph(*given, **more)

    monkeypatch.setattr("latentmap.estimators.neighbors.neighbor_graph", counted)
    vae = VAE(2, warm_start=True, random_state=0, **SMALL | {"max_epochs": 1}).fit(X)
    assert sought == [540, 540]  # of the training rows, and of those held out
    vae.fit(X).save(tmp_path / "run")
    again = load(tmp_path / "run").fit(X)
    assert len(sought) == 2 and again.state_.graphs.graph.shape == (540, SHARES)
    again.fit(X[::-1])
    assert len(sought) == 4
    again.set_params(neighbors=5).fit(X[::-1])
    assert len(sought) == 6
    again.set_params(warm_start=False, neighbors=None).fit(X).save(tmp_path / "run")
    assert load(tmp_path / "run").set_params(warm_start=True).fit(X).n_iter_ == 2


@pytest.mark.parametrize("data", [load_wine, load_iris])
def test_decoded_places_of_few_rows_vary_along_both_axes(data):
    """A decoder of six layers of so few rows leaves one of the axes out (all of six seeds of iris)."""
    X = data().data
    scale = X.std(0)
    for seed in range(2):
        vae = VAE(2, random_state=seed).fit(X)
        Z = vae.transform(X)
        for axis in np.eye(2):
            change = vae.inverse_transform(Z + 0.5 * axis) - vae.inverse_transform(Z)
            assert np.square(change / scale).mean() > 0.01
