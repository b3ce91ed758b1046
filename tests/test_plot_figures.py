"""Every figure, made from real fitted models on every kind of data."""

import io
import re
import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import image
from matplotlib.figure import Figure
from sklearn.datasets import load_digits, load_wine

from latentmap import VAE, Autoencoder, plot
from latentmap.exceptions import DataError, DiagnosisWarning
from latentmap.model.networks import MLP
from latentmap.plot.labels import read_labels

SMALL = MLP((32,))
FIT = {"random_state": 0, "max_epochs": 5, "encoder": SMALL, "decoder": SMALL, "compile": False}


def fit(model, X):
    """Fit briefly: that the fit says so is no matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DiagnosisWarning)
        return model.fit(X)


def colour_images(n=80, side=12):
    """Discs of one colour each, at random places."""
    rng = np.random.default_rng(0)
    at, radius = rng.uniform(3, side - 3, (n, 2)), rng.uniform(2, 4, n)
    grid = np.stack(np.mgrid[:side, :side], axis=-1)
    disc = np.linalg.norm(grid - at[:, None, None], axis=-1) < radius[:, None, None]
    return (disc[..., None] * rng.uniform(0.2, 1, (n, 1, 1, 3))).astype("float32")


def curves(n=80, p=60):
    """Bumps at random places: more features than have room for a name."""
    at = np.random.default_rng(0).uniform(0.2, 0.8, (n, 1))
    return np.exp(-((np.linspace(0, 1, p) - at) ** 2) / 0.01).astype("float32")


def digits():
    return (load_digits().images[:300] / 16).astype("float32")


def wine():
    return load_wine(as_frame=True).data


DATA = {"grey": digits, "colour": colour_images, "table": wine, "curves": curves}
FIGURES = {
    "map": lambda model, X: plot.map(model, X),
    "map_quality": lambda model, X: plot.map_quality(model, X),
    "reconstructions": lambda model, X: plot.reconstructions(model, X),
    "samples": lambda model, X: plot.samples(model, X=X),
    "samples without rows": lambda model, X: plot.samples(model, 5),
    "traversals": lambda model, X: plot.traversals(model, X),
    "interpolations": lambda model, X: plot.interpolations(model, X),
    "learning curves": lambda model, X: plot.learning_curves(model),
    "rates": lambda model, X: plot.rates(model),
    "decoded grid": lambda model, X: plot.decoded_grid(model, X, n=6),
}
CASES = [(figure, data, VAE, 2) for figure in FIGURES for data in DATA] + [
    ("map", "grey", VAE, 1),
    ("map", "table", Autoencoder, 3),
    ("decoded grid", "table", Autoencoder, 2),
    ("traversals", "grey", VAE, 1),
    ("traversals", "grey", Autoencoder, 3),
    ("samples", "table", Autoencoder, 3),
    ("learning curves", "grey", Autoencoder, 2),
    ("rates", "grey", VAE, 30),
    ("rates", "table", Autoencoder, 3),
]


@pytest.fixture(scope="module")
def fitted():
    """Give models by data, kind and size, each fitted once."""
    known = {}

    def get(data, kind=VAE, size=2):
        if (data, kind, size) not in known:
            X = DATA[data]()
            known[data, kind, size] = fit(kind(size, **FIT), X), X
        return known[data, kind, size]

    return get


def pixels(display):
    return image.imread(io.BytesIO(display.png(60)))


@pytest.mark.parametrize(("figure", "data", "kind", "size"), CASES)
def test_a_figure_shows_something_says_what_and_touches_no_global_state(fitted, figure, data, kind, size):
    model, X = fitted(data, kind, size)
    before = dict(mpl.rcParams)
    display = FIGURES[figure](model, X)
    shown = pixels(display)
    assert dict(mpl.rcParams) == before
    assert np.std(shown[..., :3]) > 0.02  # an empty page has no spread
    assert isinstance(display.figure_, Figure)
    assert np.isfinite(display.data_).any()
    assert re.fullmatch(r"[A-Z0-9−].*\.", display.caption)


@pytest.mark.parametrize("data", ["grey", "table"])
@pytest.mark.parametrize("figure", FIGURES)
def test_figures_draw_into_the_axes_they_are_given(fitted, figure, data):
    model, X = fitted(data)
    page = Figure(figsize=(8, 4))
    left, right = page.subplots(1, 2)
    functions = {"map": lambda: plot.map(model, X, ax=right), "rates": lambda: plot.rates(model, ax=right)}
    functions |= {
        "learning curves": lambda: plot.learning_curves(model, ax=right),
        "samples": lambda: plot.samples(model, X=X, ax=right),
        "samples without rows": lambda: plot.samples(model, 4, ax=right),
        "decoded grid": lambda: plot.decoded_grid(model, X, n=4, ax=right),
    }
    simple = {
        "reconstructions": plot.reconstructions,
        "map_quality": plot.map_quality,
        "traversals": plot.traversals,
        "interpolations": plot.interpolations,
    }
    display = functions[figure]() if figure in functions else simple[figure](model, X, ax=right)
    assert display.figure_ is page
    assert not left.has_data()
    assert all(axes.figure is page for axes in np.ravel(display.ax_))
    assert len(display.png(50)) > 2000


def test_the_map_is_the_codes(fitted):
    model, X = fitted("grey")
    np.testing.assert_allclose(plot.map(model, X).data_, model.transform(X), rtol=1e-5)


def test_a_map_of_many_components_shows_their_two_main_axes_and_says_so(fitted):
    model, X = fitted("grey", VAE, 5)
    display = plot.map(model, X)
    codes = model.transform(X).astype(float)
    variances = np.linalg.eigvalsh(np.cov(codes.T))[::-1]
    np.testing.assert_allclose(display.data_.var(0, ddof=1), variances[:2], rtol=1e-6)
    assert "of 5 components" in display.ax_.get_xlabel()
    assert f"{variances[0] / variances.sum():.0%}" in display.ax_.get_xlabel()


def test_the_decoded_grid_decodes_quantiles_upwards(fitted):
    from scipy.stats import norm

    model, X = fitted("grey")
    rows = plot.decoded_grid(model, n=5).data_  # without rows, of the prior
    high, low = norm.ppf(0.98), norm.ppf(0.02)
    corner = model.inverse_transform(np.array([[low, high]], dtype="float32"))[0]
    np.testing.assert_allclose(rows[4, 0], corner, atol=1e-5)  # second component up, first one left
    assert np.abs(rows[0, 4] - corner).max() > 0.01

    model, X = fitted("grey", Autoencoder, 2)
    low, high = np.quantile(model.transform(X), [0.02, 0.98], axis=0)
    corner = model.inverse_transform(np.array([[low[0], high[1]]], dtype="float32"))[0]
    np.testing.assert_allclose(plot.decoded_grid(model, X, n=5).data_[4, 0], corner, atol=1e-4)


def test_reconstructions_samples_and_paths_are_the_models(fitted):
    model, X = fitted("grey")
    chosen = np.linspace(0, len(X) - 1, 4).round().astype(int)
    shown = plot.reconstructions(model, X, n=4).data_
    np.testing.assert_allclose(shown, [X[chosen], model.reconstruct(X[chosen])], atol=1e-5)
    np.testing.assert_allclose(plot.samples(model, 6, random_state=3).data_, model.sample(6, random_state=3), atol=1e-6)
    path = plot.interpolations(model, X, n=1, n_steps=5).data_[0]
    np.testing.assert_allclose(path[0], model.reconstruct(X[:1])[0], atol=1e-4)


def test_random_points_show_every_model_by_the_same_rule(fitted):
    models = {"VAE": fitted("grey")[0], "<autoencoder>": fitted("grey", Autoencoder, 2)[0]}
    X = digits()
    display = plot.random_points(models, X, n=9, random_state=1)
    assert [panel.get_title(loc="left") for panel in display.ax_] == [*models, "real rows"]
    assert display.data_.shape == (3, 9, 8, 8)
    assert {row.tobytes() for row in display.data_[-1]} <= {row.tobytes() for row in X.astype(float)}
    np.testing.assert_array_equal(display.data_, plot.random_points(models, X, n=9, random_state=1).data_)
    assert len(display.png(50)) > 3000
    table, X = fitted("table")
    assert plot.random_points({"VAE": table}, X).data_.shape == (2, 64, 13)
    with pytest.raises(DataError, match="no distribution is called 'gausian': did you mean 'gaussian'"):
        plot.random_points(models, X, sampler="gausian")


def test_random_points_are_decoded_from_the_distribution_that_is_named(fitted):
    model, X = fitted("grey")
    codes = np.random.default_rng(3).normal(size=(9, 2)).astype(np.float32)
    drawn = plot.random_points({"VAE": model}, X, n=9, random_state=3).data_[0]
    np.testing.assert_allclose(drawn, np.asarray(model.inverse_transform(codes)).reshape(9, 8, 8), rtol=1e-5)


def test_gaps_are_shaded_where_no_codes_lie(fitted):
    model, X = fitted("grey")
    display = plot.latent_gaps({"VAE": model, "again": model}, X, np.arange(len(X)) % 3)
    (low, high), gaps = display.boxes[0], display.gaps[0]
    cells = len(gaps)
    codes = display.data_[0]
    inside = ((codes > low) & (codes < high)).all(1)
    at = ((codes[inside] - low) / (high - low) * (cells - 1)).round().astype(int)
    assert gaps[at[:, 1], at[:, 0]].mean() < 0.1 < gaps.mean()  # few of the cells with a code, many of the others
    assert f"{gaps.mean():.0%} in gaps" in display.ax_[0].get_title(loc="left") and f"{gaps.mean():.0%}" in display.alt


def test_decoded_grids_and_lines_show_the_same_points_of_each_model(fitted):
    model, X = fitted("grey")
    grids = plot.decoded_grids({"VAE": model, "again": model}, X, n=4)
    assert grids.data_.shape == (2, 16, 8, 8)
    np.testing.assert_array_equal(grids.data_[0], grids.data_[1])
    lines = plot.lines({"VAE": model, "again": model}, X, n=2, n_steps=5)
    assert lines.data_.shape == (2, 2, 5, 8, 8)
    ends = lines.ends[:, 0].reshape(2, *X.shape[1:]).astype(X.dtype)
    np.testing.assert_allclose(lines.data_[:, 0, 0], np.reshape(model.reconstruct(ends), (2, 8, 8)), atol=1e-4)
    three = fitted("grey", VAE, 5)[0]
    for draw in (plot.decoded_grids, plot.latent_gaps):
        with pytest.raises(DataError, match="models with 2 components, but five has 5"):
            draw({"five": three}, X)
    with pytest.raises(DataError, match="pass one or more"):
        plot.lines({}, X)


def test_traversals_start_with_the_component_that_carries_most(fitted):
    model, X = fitted("grey", VAE, 5)
    display = plot.traversals(model, X, n_components=2, n_steps=3)
    best = np.argsort(-model.kl_per_component_)[:2]
    labels = [tick.get_text() for tick in display.ax_.get_yticklabels()]
    assert [int(re.search(r"z_\{(\d+)\}", label)[1]) - 1 for label in labels] == best.tolist()
    np.testing.assert_allclose(display.data_[0, 1], display.data_[1, 1], atol=1e-5)  # all pass through the middle


def test_rates_are_nats_for_a_vae_and_variance_for_an_autoencoder(fitted):
    model, X = fitted("grey", VAE, 5)
    np.testing.assert_allclose(plot.rates(model).data_, model.kl_per_component_)
    model, X = fitted("grey", Autoencoder, 2)
    np.testing.assert_allclose(plot.rates(model).data_, model.transform(X).var(0), rtol=0.01)


def test_learning_curves_show_the_history(fitted):
    model, _ = fitted("grey")
    display = plot.learning_curves(model)
    assert [panel.get_title(loc="left") for panel in display.ax_] == [
        f"{x}, nats a row" for x in ("−ELBO", "distortion", "rate")
    ]
    np.testing.assert_allclose(display.ax_[2].lines[0].get_ydata(), [entry["rate"] for entry in model.history_])
    auto, _ = fitted("grey", Autoencoder, 2)
    assert plot.learning_curves(auto).ax_.get_title(loc="left") == "distortion, nats a row"
    alone = fit(VAE(2, early_stopping=False, **FIT), digits())
    assert "No rows were held out" in plot.learning_curves(alone).caption


def test_flattened_images_are_pictures_when_their_shape_is_given(fitted):
    X = digits()
    flat = fit(VAE(2, **FIT), X.reshape(len(X), -1))
    assert plot.samples(flat, 4, image_shape=(8, 8)).data_.shape == (4, 8, 8)
    assert plot.samples(flat, 4).data_.shape == (4, 64)
    with pytest.raises(DataError, match=r"image_shape \(9, 9\)"):
        plot.samples(flat, 4, image_shape=(9, 9))
    with pytest.raises(DataError, match="feature_names has 2 names, but a row has 64"):
        plot.samples(flat, 4, feature_names=["a", "b"])


def test_the_names_of_features_are_written(fitted):
    model, X = fitted("table")
    for display in (plot.reconstructions(model, X), plot.samples(model, X=X), plot.interpolations(model, X)):
        assert [tick.get_text() for tick in display.ax_.get_xticklabels()][:2] == ["alcohol", "malic_acid"]
    assert plot.decoded_grid(model, X, n=4).ax_[0].get_title(loc="left") == "alcohol"
    renamed = plot.samples(model, 3, feature_names=[f"f{i}" for i in range(13)])
    assert renamed.ax_.get_xticklabels()[12].get_text() == "f12"


HOSTILE = ["<script>alert(1)</script>", "$\\frac{", "a$b$c", "x" * 300, "two\nlines", "", "%s {0}"]


def test_hostile_names_are_drawn_letter_by_letter(fitted):
    model, X = fitted("grey")
    y = np.array(HOSTILE, dtype=object)[np.arange(len(X)) % len(HOSTILE)]
    display = plot.map(model, X, y)
    written = [text.get_text() for text in display.ax_.texts]
    assert r"a\$b\$c" in written
    assert max(map(len, written)) <= 30
    display.png(50)
    X = wine()
    X.columns = (HOSTILE * 2)[: X.shape[1] - 1] + ["last"]
    table = fit(VAE(2, **FIT), X.to_numpy())
    for function in (plot.reconstructions, plot.decoded_grid):
        function(table, X.to_numpy(), feature_names=list(X.columns)).png(50)


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (["a", "b"] * 150, "classes"),
        ([True, False] * 150, "classes"),
        ([0.0, 1.0] * 150, "classes"),
        (np.linspace(0, 1, 300), "numbers"),
        (np.arange(300), "numbers"),
        (np.where(np.arange(300) % 3, np.linspace(0, 1, 300), np.nan), "numbers"),
        (np.full(300, np.nan), "classes"),
        ([None, "b", "c"] * 100, "classes"),
        (pd.Series([pd.NA, 1, 2] * 100, dtype="Int64", name="grade"), "classes"),
        (pd.Categorical(["x", "y", "z"] * 100), "classes"),
        ([f"class {i % 35}" for i in range(300)], "classes"),
        (np.array([b"x", b"y"] * 150), "classes"),
        (np.arange(300)[:, None] % 2, "classes"),
        ([10, 9, 8] * 100, "classes"),
    ],
)
def test_labels_of_every_kind_colour_the_map(fitted, y, kind):
    model, X = fitted("grey")
    labels = read_labels(y, len(X))
    assert (labels.values is not None) == (kind == "numbers")
    display = plot.map(model, X, y)
    assert len(display.png(50)) > 5000
    assert len(set(labels.colours)) == len(labels.names)
    names = {text.get_text() for text in display.ax_.texts}
    assert names == (set() if labels.n_other else set(labels.names))
    if labels.n_other:
        assert labels.names[-1] == "other (16 classes)"
        assert len(display.ax_.get_legend().get_texts()) == 20
    if kind == "numbers":
        assert len(display.figure_.axes) == 2  # the map and its colour bar


def test_class_names_do_not_lie_on_each_other(fitted):
    model, X = fitted("grey")
    display = plot.map(model, X, [f"name of class {i % 12}" for i in range(len(X))])  # all medians coincide
    display.figure_.canvas.draw()
    boxes = [text.get_window_extent() for text in display.ax_.texts]
    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    assert sum(a.overlaps(b) for a, b in pairs) <= 2
    assert len(pairs) >= 66  # a name each, another where a class lies in two places


def test_stray_points_do_not_shrink_the_map(fitted):
    from latentmap.plot.points import Frame, draw_points

    points = np.random.default_rng(0).normal(size=(1000, 2))
    points[0] = 1e6
    axes = Figure().add_subplot()
    draw_points(axes, points, None)
    assert axes.get_xlim()[1] < 10
    assert Frame.of(points).note == " 1 stray point lies outside the frame."
    assert Frame.of(points[1:]).note == ""


def test_what_cannot_be_drawn_is_said(fitted):
    model, X = fitted("grey", VAE, 5)
    with pytest.raises(DataError, match=r"2 components, but this one has 5: use plot\.traversals"):
        plot.decoded_grid(model, X)
    with pytest.raises(DataError, match="one label for each of the 300 rows"):
        plot.map(model, X, [1, 2, 3])
    with pytest.raises(DataError, match="pass X"):
        plot.map(model, None)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_display_saves_itself_whole(fitted, tmp_path, suffix):
    model, _ = fitted("grey")
    assert plot.rates(model)._repr_png_().startswith(b"\x89PNG")
    path = plot.rates(model).save(tmp_path / "new" / f"rates.{suffix}")
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert path.read_bytes().startswith(start)
    assert [file.name for file in path.parent.iterdir()] == [f"rates.{suffix}"]


def test_one_row_and_one_class_are_enough(fitted):
    model, X = fitted("grey")
    for display in (
        plot.map(model, X[:1], ["a"]),
        plot.reconstructions(model, X[:1]),
        plot.interpolations(model, X[:1]),
    ):
        assert len(display.png(50)) > 1000
