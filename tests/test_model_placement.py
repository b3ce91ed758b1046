"""Tests of the placement of rows among those that a map was fitted to."""

import copy

import numpy as np
import pytest
import torch

from latentmap import VAE, load
from latentmap.estimators.neighbors import without_placement
from latentmap.model.networks import MLP
from latentmap.model.part import Sizes
from latentmap.model.placement import ATTRACTION, Layout, PlacedEncoder, Placement

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


def placed(x, components=None, out=4):
    network = Placement(MLP((16,)), len(x), x.shape[1], components)
    torch.manual_seed(0)
    encoder = network.encoder(Sizes((x.shape[1],), 2), out).double().eval()
    axes = torch.eye(x.shape[1], dtype=torch.float64)[:, : components or 1]
    with torch.no_grad():
        codes = torch.cat([encoder(some)[:, :2] for some in x.split(7)])
        encoder.place(x.split(7), codes, x.mean(0), axes)
    return encoder


def places(encoder, x):
    with torch.no_grad():
        return encoder.placed(x, encoder(x)[:, :2])


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("out", [2, 4])
def test_landmarks_lie_where_the_encoder_has_them(offset, out):
    x = normal(100, 3) + offset
    encoder = placed(x, out=out)
    torch.testing.assert_close(places(encoder, x), encoder(x)[:, :2].detach())


@pytest.mark.parametrize("components", [None, 2])
def test_known_rows_are_found_without_a_search(components, monkeypatch):
    x = torch.cat([normal(60, 3), normal(60, 3, seed=1).round(), 1e6 + normal(60, 3, seed=2)])
    encoder = placed(x, components)
    encoder.codes.copy_(normal(180, 2, seed=3))
    rounded = x[60:120, :components].unique(dim=0, return_inverse=True)[1]
    encoder.codes[60:120] = normal(60, 2, seed=4)[rounded]  # equal rows have one code
    searched = []
    search = PlacedEncoder._neighbors
    monkeypatch.setattr(
        PlacedEncoder, "_neighbors", lambda own, rows, k: searched.append(len(rows)) or search(own, rows, k)
    )
    order = torch.randperm(180, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(places(encoder, x[order]), encoder.codes[order], rtol=0, atol=0)
    assert sum(searched) < 5  # of more than three rows that have the same product, some are searched
    near = x + 1e-7 * normal(180, 3, seed=5)
    assert places(encoder, near).shape == (180, 2) and sum(searched) > 170
    other = {
        name: value.flip(0) if name in ("landmarks", "codes") else value for name, value in encoder.state_dict().items()
    }
    encoder.load_state_dict({name: value.clone() for name, value in other.items()})
    torch.testing.assert_close(places(encoder, x[order]), encoder.codes.flip(0)[order], rtol=0, atol=0)
    with torch.inference_mode():
        assert (places(copy.deepcopy(encoder).double(), x[order]) == encoder.codes.flip(0)[order]).all()


def test_new_rows_lie_among_their_neighbours_also_of_groups_far_apart():
    encoder = placed(torch.cat([normal(50, 3), normal(50, 3, seed=1) + 1e6]))
    encoder.codes[:50], encoder.codes[50:] = normal(50, 2, seed=2), normal(50, 2, seed=3) + 100
    new = torch.cat([normal(10, 3, seed=4), normal(10, 3, seed=5) + 1e6, torch.full((1, 3), 1e12, dtype=torch.float64)])
    means = places(encoder, new)
    assert (means[:10] < 50).all() and (means[10:] > 50).all()


def test_posteriors_are_those_of_the_encoder():
    x, new = normal(40, 3), normal(5, 3, seed=9)
    encoder = placed(x)
    torch.testing.assert_close(encoder(new), encoder.encoder(new))
    assert not torch.allclose(places(encoder, new), encoder(new)[:, :2])
    assert places(encoder, new[:0]).shape == (0, 2)


def test_wide_rows_are_compared_by_principal_components():
    encoder = placed(normal(60, 30), components=5)
    assert encoder.landmarks.shape == (60, 5)
    assert torch.isfinite(places(encoder, normal(4, 30, seed=2))).all()


def test_places_do_not_depend_on_the_rows_beside_even_where_distances_tie():
    rows = (np.random.default_rng(0).random((600, 12)) < 0.3).astype(float)
    vae = VAE(2, max_epochs=3, random_state=0).fit(rows[:500])
    alone = np.concatenate([vae.transform(row[None]) for row in rows[500:]])
    np.testing.assert_allclose(vae.transform(rows[500:]), alone, atol=1e-6)


def test_gaps_are_no_likeness():
    """Rows are placed by their values, filled, and not by which of them are missing."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 8))
    rows[rng.random(rows.shape) < 0.15] = np.nan
    vae = VAE(2, max_epochs=20, random_state=0).fit(rows[:400])
    encoder = vae.state_.model.encoder
    inputs = torch.from_numpy(np.asarray(vae.encoder_inputs(rows[:400]), dtype=np.float64))
    torch.testing.assert_close(encoder.landmarks + encoder.centre, inputs, rtol=0, atol=1e-5)


def test_scores_are_those_of_the_encoder(vae, rows):
    alone = copy.deepcopy(vae)
    without_placement(alone.state_.model)
    new = np.random.default_rng(1).normal(size=(40, 6))
    np.testing.assert_array_equal(vae.score_samples(new), alone.score_samples(new))
    np.testing.assert_array_equal(vae.reconstruct(new), alone.reconstruct(new))
    moved = np.linalg.norm(vae.transform(rows) - alone.transform(rows), axis=1)
    assert 0 < np.median(moved) < 0.2 * np.sqrt(alone.transform(rows).var(0).sum()), "codes are refined, and stay near"
    assert np.abs(vae.transform(new) - alone.transform(new)).max() > 1e-3


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
    assert "placed" not in vae.choices_["neighbors"]
    assert not isinstance(vae.state_.model.parts.encoder, Placement), "its landmarks would be where they were"


@pytest.mark.parametrize("apart", [0.0, 1e6, 1e8])
def test_wide_rows_find_their_landmarks_whatever_the_batch(apart):
    """Beyond 2^20 values nearest landmarks are found by products, which cancel where groups lie far apart."""
    x = normal(5300, 200)
    x[:, 3:] *= 0.01
    x[2000:] += apart
    encoder = placed(x)
    encoder.codes.copy_(normal(5300, 2, seed=3))
    own = torch.zeros(40, 2, dtype=torch.float64)
    some = torch.arange(0, 5300, 133)
    torch.testing.assert_close(encoder.placed(x[some], own), encoder.codes[some], rtol=0, atol=0)
    near = x[some] + 1e-3
    together = encoder.placed(near, own)
    alone = torch.cat([encoder.placed(row[None], own[:1]) for row in near])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)


def test_single_precision_finds_its_landmarks_over_wide_ranges():
    X = np.exp(np.random.default_rng(0).normal(0, 6, (300, 3))).astype(np.float32)
    vae = VAE(2, scaling="standard", **FIT).fit(X)
    np.testing.assert_allclose(vae.transform(X), vae.state_.model.encoder.codes, atol=1e-5)
    np.testing.assert_allclose(vae.transform(X.astype(np.float64)), vae.transform(X), atol=1e-5)


def test_only_known_rows_are_placed_where_others_have_places_of_their_own():
    x = normal(200, 3)
    for landmarks in (x, torch.cat([x, x]), torch.cat([x, x + 1e-9]), torch.cat([x, 30 + normal(1, 3)])):
        encoder = placed(landmarks)
        encoder.known_only = True
        own = torch.full((200, 2), 7.0, dtype=torch.float64)
        known = (encoder.placed(x + 1e-6, own) != 7).all(1)
        assert known.all(), "rows of the fit in another precision"
        fresh = (encoder.placed(normal(200, 3, seed=5), own) != 7).all(1)
        assert fresh.double().mean() > 0.7, "rows of the same kind"
        assert (encoder.placed(x + 6, own) == 7).all(1).double().mean() > 0.9, "rows of another kind"


@pytest.mark.parametrize("columns", [4, 250])
def test_rows_of_the_fit_in_single_precision_have_their_places_without_a_search(columns, monkeypatch):
    rng = np.random.default_rng(0)
    rows = 300 + rng.normal(size=(3000, 3)) @ rng.normal(size=(3, columns)) + 0.01 * rng.normal(size=(3000, columns))
    vae = VAE(2, max_epochs=1, random_state=0).fit(rows)
    searched = []
    search = PlacedEncoder._neighbors
    monkeypatch.setattr(
        PlacedEncoder, "_neighbors", lambda own, rows, k: searched.append(len(rows)) or search(own, rows, k)
    )
    expected = vae.transform(rows)
    single = rows.astype(np.float32)
    assert not np.array_equal(single, rows)
    np.testing.assert_allclose(vae.transform(single), expected, atol=1e-6)
    assert sum(searched) < 5
    vae.transform((rows + 1e-3 * rng.normal(size=rows.shape)).astype(np.float32))
    assert sum(searched) > 2900, "control"


def test_rows_in_single_precision_that_are_one_of_a_crowd_are_searched():
    """Of many that are alike but for rounding, the nearest has to be the nearest of all."""
    x = 1e5 + normal(3000, 2).double()
    encoder = placed(x)
    encoder.codes.copy_(normal(3000, 2, seed=3))
    single = x.float().double()
    nearest = torch.cdist(single, x, p=torch.inf).argmin(1)
    off = torch.tensor([0.004, 0.05], dtype=torch.float64).repeat(1500)[:, None].expand_as(single)
    found = encoder._found(encoder._projected(single), off)
    assert (found[::2] >= 0).float().mean() > 0.9 and (found[1::2] < 0).float().mean() > 0.5
    assert (found[found >= 0] == nearest[found >= 0]).all()


def groups(n=400, d=2, seed=0):
    """Codes of four groups that touch, and the nearest fifteen of each."""
    codes = normal(n, d, seed=seed) + 4 * torch.arange(n).remainder(2)[:, None] * torch.eye(d, dtype=torch.float64)[0]
    return codes, torch.cdist(codes, codes).topk(16, largest=False).indices


def loss(z, points, weights, layout, codes):
    """The loss of t-SNE of rows beside landmarks, pair by pair."""
    attraction = (weights * ((points - z[:, None]) / layout.unit).square().sum(2).log1p()).sum(1)
    return ATTRACTION * attraction + (1 / (1 + ((z[:, None] - codes) / layout.unit).square().sum(2))).sum(1).log()


@pytest.mark.parametrize("d", [1, 2, 3])
def test_new_rows_lie_where_the_loss_of_tsne_is_least(d):
    codes, near = groups(d=d)
    layout = Layout(codes, torch.arange(400), near)
    points, weights = codes[near[:50, 1:]], normal(50, 15, seed=1).softmax(1)
    found = layout.place(points, weights).requires_grad_()
    start = points.median(1).values.requires_grad_()

    def steepness(z):
        slope = torch.autograd.grad(loss(z, points, weights, layout, codes).sum(), z)[0] * layout.unit
        return slope.norm(dim=1).median()

    assert (loss(found, points, weights, layout, codes) < loss(start, points, weights, layout, codes)).all()
    assert steepness(found) < 0.25 * steepness(start)  # not all, by the spacing of the grid
    alone = Layout(codes, torch.arange(400), near)
    alone.potential = None  # control: attraction by itself ends elsewhere
    assert steepness(alone.place(points, weights).requires_grad_()) > 2 * steepness(found)


@pytest.mark.parametrize("d", [1, 2, 3, 10])
def test_rows_that_are_torn_between_far_groups_stay_beside_one(d):
    codes, near = groups(d=d)
    codes[::2] += 1e4
    layout = Layout(codes, torch.arange(400), near)
    points, weights = codes[torch.arange(15).expand(30, 15)], normal(30, 15, seed=1).softmax(1)
    places = layout.place(points, weights)
    assert torch.isfinite(places).all()
    assert ((places > points.amin(1) - layout.unit) & (places < points.amax(1) + layout.unit)).all()


def test_codes_in_one_place_and_few_landmarks_place_rows_too():
    x = normal(100, 3)
    for landmarks in (x, x[:3], x[:1]):
        encoder = placed(landmarks)
        encoder.codes.fill_(5.0)
        assert (places(encoder, x + 0.5) == 5).all()
        encoder = placed(landmarks)
        lowest, highest = encoder.codes.aminmax()
        assert ((places(encoder, x + 0.5) - lowest) > -1).all() and (places(encoder, x + 0.5) < highest + 1).all()


def test_places_follow_the_codes_that_are_loaded():
    x = normal(200, 3)
    encoder = placed(x)
    before = places(encoder, x + 0.1)
    encoder.load_state_dict(encoder.state_dict() | {"codes": 3 * encoder.codes + 1})
    torch.testing.assert_close(places(encoder, x + 0.1), 3 * before + 1, atol=1e-3, rtol=0)
