"""Tests of the placement of rows among those that a map was fitted to."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from latentmap import VAE, load
from latentmap.model.networks import MLP
from latentmap.model.part import Sizes
from latentmap.model.placement import PlacedEncoder, Placement, geometric_median

FIT = {"max_epochs": 5, "early_stopping": False, "random_state": 0}
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.UnderfitWarning")


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(300, 6)) + 8 * rng.integers(0, 3, (300, 1))


@pytest.fixture(scope="module")
def vae(rows):
    return VAE(2, **FIT).fit(rows)


def test_the_geometric_median_is_the_least_sum_of_distances():
    points, weights = normal(20, 7, 2), normal(20, 7, seed=1).softmax(1)
    for some, weight, found in zip(points.numpy(), weights.numpy(), geometric_median(points, weights).numpy()):

        def total(z, some=some, weight=weight):
            return (weight * np.linalg.norm(some - z, axis=1)).sum()

        best = min(minimize(total, start, method="Nelder-Mead").fun for start in [*some, found])
        assert total(found) <= best * (1 + 1e-3)


def test_points_in_one_place_have_it_as_their_median():
    points = torch.full((2, 5, 2), 3.0, dtype=torch.float64)
    torch.testing.assert_close(geometric_median(points, torch.full((2, 5), 0.2, dtype=torch.float64)), points[:, 0])


def placed(x, components=None, out=4):
    network = Placement(MLP((16,)), len(x), components)
    torch.manual_seed(0)
    encoder = network.encoder(Sizes((x.shape[1],), 2), out).double()
    axes = torch.eye(x.shape[1], dtype=torch.float64)[:, : components or 1]
    encoder.place(x.split(7), x.mean(0), axes)
    return encoder.eval()


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("out", [2, 4])
def test_landmarks_lie_where_the_encoder_has_them(offset, out):
    x = normal(100, 3) + offset
    encoder = placed(x, out=out)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x), encoder.encoder(x))


def test_new_rows_lie_among_their_neighbours_also_of_groups_far_apart():
    groups = torch.cat([normal(50, 3), normal(50, 3, seed=1) + 1e6])
    encoder = placed(groups)
    encoder.codes[:50], encoder.codes[50:] = normal(50, 2, seed=2), normal(50, 2, seed=3) + 100
    new = torch.cat([normal(10, 3, seed=4), normal(10, 3, seed=5) + 1e6, torch.full((1, 3), 1e12, dtype=torch.float64)])
    with torch.no_grad():
        means = encoder(new)[:, :2]
    assert (means[:10] < 50).all() and (means[10:] > 50).all()


def test_the_encoder_is_as_it_is_in_training():
    x = normal(40, 3)
    encoder = placed(x)
    new = normal(5, 3, seed=9)
    torch.testing.assert_close(encoder.train()(new), encoder.encoder(new))
    assert not torch.allclose(encoder.eval()(new), encoder.encoder(new))
    assert encoder(new[:0]).shape == (0, 4)


def test_wide_rows_are_compared_by_principal_components():
    x = normal(60, 30)
    assert placed(x, components=5).landmarks.shape == (60, 5)
    with torch.no_grad():
        assert torch.isfinite(placed(x, components=5)(normal(4, 30, seed=2))).all()


def test_maps_place_rows_among_those_of_the_fit(vae, rows, tmp_path):
    model = vae.state_.model
    assert isinstance(model.parts.encoder, Placement) and isinstance(model.encoder, PlacedEncoder)
    assert "placed" in vae.choices_["neighbors"]
    near = rows + 1e-7
    np.testing.assert_allclose(vae.transform(near), vae.transform(rows), atol=1e-4)
    vae.save(tmp_path / "run")
    assert "holds the rows" in (tmp_path / "run" / "README.md").read_text()
    loaded = load(tmp_path / "run")
    new = np.random.default_rng(1).normal(size=(20, 6))
    np.testing.assert_array_equal(loaded.transform(new), vae.transform(new))
    np.testing.assert_allclose(loaded.transform(new)[3:4], loaded.transform(new[3:4]), rtol=1e-9)  # not by the batch


def test_placed_rows_keep_the_labels_of_their_neighbours(digits):
    from sklearn.datasets import load_digits
    from sklearn.neighbors import KNeighborsClassifier

    x, y = load_digits(return_X_y=True)
    x, y, new, labels = x[:800], y[:800], x[800:1200], y[800:1200]

    def accuracy(**given):
        fit = VAE(2, max_epochs=30, random_state=0, **given).fit(x)
        return KNeighborsClassifier(1).fit(fit.transform(x), y).score(fit.transform(new), labels)

    alone = accuracy(encoder=MLP((192,) * 6), decoder=MLP((128,) * 6))
    assert accuracy() > alone + 0.02


@pytest.mark.parametrize("given", [{"encoder": MLP((32,))}, {"metric": "cosine"}, {"neighbors": None}])
def test_other_models_encode_alone(given, rows):
    assert not isinstance(VAE(2, **FIT | given).fit(rows).state_.model.parts.encoder, Placement)


def test_a_fit_that_goes_on_trains_the_encoder_alone(rows):
    vae = VAE(2, warm_start=True, **FIT).fit(rows)
    before = vae.transform(rows)
    vae.fit(rows)
    assert isinstance(vae.state_.model.parts.encoder, Placement)
    assert not isinstance(vae.state_.model.parts.encoder.network, Placement)
    assert np.abs(vae.transform(rows) - before).max() > 1e-3
    vae.partial_fit(rows[:100])
    assert not isinstance(vae.state_.model.parts.encoder, Placement), "its landmarks would be where they were"
