"""Displays are computed once, drawn as often as needed in any theme and width, and say what is seen."""

import io
from datetime import date

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from latentmap import VAE, Autoencoder, plot
from latentmap.exceptions import DataError
from latentmap.plot.islands import Islands, describe_islands
from latentmap.plot.labels import read_column, read_labels
from latentmap.plot.style import STYLE, Display, panels, style
from test_plot_figures import FIT, digits, fit, wine

FIGURES = {
    "map": lambda model, X: plot.map(model, X, np.arange(len(X)) % 3),
    "map_quality": plot.map_quality,
    "reconstructions": plot.reconstructions,
    "samples": lambda model, X: plot.samples(model, X=X),
    "traversals": plot.traversals,
    "interpolations": plot.interpolations,
    "learning_curves": lambda model, X: plot.learning_curves(model),
    "rates": lambda model, X: plot.rates(model),
    "decoded_grid": lambda model, X: plot.decoded_grid(model, X, n=6),
}


@pytest.fixture(scope="module")
def grey():
    return fit(VAE(2, **FIT), digits()), digits()


@pytest.fixture(scope="module")
def table():
    return fit(VAE(2, **FIT), wine()), wine()


@pytest.fixture(scope="module")
def cube():
    return fit(VAE(3, **FIT), wine()), wine()


def picture(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(float)


@pytest.mark.parametrize("data", ["grey", "table"])
@pytest.mark.parametrize("name", FIGURES)
def test_a_display_is_drawn_again_without_computing(request, monkeypatch, name, data):
    model, X = request.getfixturevalue(data)
    display = FIGURES[name](model, X)
    assert type(display).__name__ == f"{name.title().replace('_', '')}Display"
    assert type(display).from_estimator is getattr(plot, name)
    assert display.alt[0].isupper() or display.alt[0].isdigit()
    assert display.alt.endswith(".") and len(display.alt) < 300
    for forbidden in ("transform", "inverse_transform", "sample", "posterior"):
        monkeypatch.setattr(VAE, forbidden, None)
    figure, before = display.figure_, dict(mpl.rcParams)
    dark, narrow = (picture(display.png(50, **kind)) for kind in ({"theme": "dark"}, {"width": "narrow"}))
    assert display.figure_ is figure and dict(mpl.rcParams) == before
    light = picture(display.png(50))
    assert np.median(light) > 200 and (dark[:, :2].mean() < 60 or name == "decoded_grid")
    assert narrow.shape[1] < 240 and (light.shape[1] > 260 or name == "rates")
    page = Figure()
    assert display.plot(ax=page.add_subplot()) is display and display.figure_ is page


def test_a_figure_that_was_drawn_once_says_so():
    display = Display(Figure(), None, np.zeros(1), "Nothing.")
    assert display.png(20, theme="dark") == display.png(20)
    with pytest.raises(DataError, match="drawn once"):
        display.plot()


def test_themes_and_widths_that_are_unknown_are_named(grey):
    display = plot.rates(grey[0])
    with pytest.raises(DataError, match="theme must be 'light' or 'dark', got 'sepia'"):
        display.png(theme="sepia")
    with pytest.raises(DataError, match="width must be 'wide' or 'narrow', got 3"):
        display.plot(width=3)


def test_settings_reach_matplotlib_and_stay_when_drawn_again(table):
    display = plot.map(*table).plot(s=77)
    assert display.ax_.collections[0].get_sizes() == [77]
    assert display.png(30, theme="dark") != plot.map(*table).png(30, theme="dark")


def test_narrow_figures_have_fewer_columns():
    with mpl.rc_context(style(width="narrow")):
        figure, axes = panels(None, 4, (7.4, 3.7), 4)
    assert axes[0].get_subplotspec().get_gridspec().ncols == 2
    assert figure.get_figwidth() == 3.7 and figure.get_figheight() == pytest.approx(7.4)
    assert STYLE["font.size"] == style(width="narrow")["font.size"]


def test_three_components_are_drawn_in_three_dimensions(cube):
    model, X = cube
    display = plot.map(model, X, np.arange(len(X)) % 2)
    np.testing.assert_allclose(display.data_, model.transform(X), rtol=1e-5)
    assert display.ax_.name == "3d" and [display.ax_.get_zlabel()] == ["$z_3$"]
    own = Figure().add_subplot(projection="3d")
    assert plot.map(model, X, ax=own).ax_ is own
    assert plot.map(model, X, ax=Figure().add_subplot()).data_.shape == (len(X), 2)  # on a plane, its main axes
    with pytest.raises(DataError, match="projection='3d'"):
        display.plot(ax=Figure().add_subplot())


def test_what_is_said_of_a_line_of_codes_is_not_of_the_labels_above_it():
    model = fit(VAE(1, **FIT), digits())
    display = plot.map(model, digits(), np.arange(300) % 2)  # each class has a height of its own
    assert "0 with 1" in display.alt and "overlaps most" in display.alt


def test_a_map_in_three_dimensions_turns(cube, table, tmp_path, monkeypatch):
    monkeypatch.setattr("latentmap.plot.maps.TURN", 4)
    display = plot.map(*cube)
    view = display.ax_.azim
    with Image.open(display.save(tmp_path / "map.gif", dpi=20)) as turn:
        frames = [np.asarray(turn.convert("RGB")) for i in range(turn.n_frames) if turn.seek(i) is None]
    assert len(frames) == 4 and (frames[0] != frames[1]).any()
    assert display.ax_.azim == view
    with pytest.raises(DataError, match="a map that turns"):
        plot.map(*table).save(tmp_path / "flat.gif")
    assert [file.name for file in tmp_path.iterdir()] == ["map.gif"]


def frame():
    days = pd.date_range("2024-01-31", periods=60, freq="D")
    kinds = ["oak", None, "elm"] * 20
    return pd.DataFrame({"size": np.linspace(0, 1, 60), "kind": kinds, "day": days, "count": range(60)})


@pytest.mark.parametrize(("column", "kind"), [("size", "number"), ("kind", "classes"), ("day", "date"), (-1, "number")])
def test_any_column_colours_the_map(column, kind):
    X = frame()
    model = fit(Autoencoder(2, **FIT), X)
    display = plot.map(model, X, color=column)
    name = column if isinstance(column, str) else "count"
    assert display.labels.title == name
    if kind == "classes":
        assert display.labels.names == ("elm", "oak") and (display.labels.codes == -1).sum() == 20
    else:
        assert display.figure_.axes[1].get_ylabel() == name
        assert f"coloured by {name} from" in display.alt and display.labels.dates == (kind == "date")
    if kind == "date":
        assert "from 2024-01-31 to 2024-03-30" in display.alt
        display.figure_.draw_without_rendering()
        assert "Mar" in [label.get_text() for label in display.figure_.axes[1].get_yticklabels()]


def test_columns_of_arrays_are_found_by_index_or_by_the_names_of_the_fit(table):
    model, X = table
    rows = X.to_numpy()
    unnamed = fit(Autoencoder(2, **FIT), rows)
    np.testing.assert_array_equal(plot.map(unnamed, rows, color=1).labels.values, rows[:, 1])
    np.testing.assert_array_equal(plot.map(model, X, color="malic_acid").labels.values, rows[:, 1])
    np.testing.assert_array_equal(read_column(rows, "b", [*"abcdefghijklm"]).values, rows[:, 1])
    np.testing.assert_array_equal(read_column(digits(), 20).values, digits()[:, 2, 4])
    with pytest.raises(DataError, match=r"color must be a column of X, got 'alcool': did you mean 'alcohol'\?"):
        plot.map(model, X, color="alcool")
    with pytest.raises(DataError, match="got 13: X has 13 columns"):
        plot.map(unnamed, rows, color=13)
    with pytest.raises(DataError, match="pass one of them"):
        plot.map(model, X, np.arange(len(X)), color=0)


@pytest.mark.parametrize(
    "dates",
    [
        pd.Series(pd.date_range("2024-01-01", periods=3, tz="Europe/Paris")),
        [date(2024, 1, 1), None, date(2024, 1, 3)],
        np.array(["2024-01-01", "NaT", "2024-01-03"], dtype="datetime64[ns]"),
    ],
)
def test_dates_are_numbers_in_order(dates):
    labels = read_labels(dates, 3)
    assert labels.dates and labels.values[2] - labels.values[0] == 2
    assert np.isnan(labels.values[1]) == (not isinstance(dates, pd.Series))


def test_thumbnails_are_rows_and_do_not_overlap(grey, table):
    model, X = grey
    for width in ("wide", "narrow"):
        display = plot.map(model, X, np.arange(len(X)) % 3, thumbnails=True).plot(width=width)
        boxes = np.array([image.get_extent() for image in display.ax_.images])
        middles = boxes.reshape(-1, 2, 2).mean(2)
        assert 5 < len(boxes) <= 200
        gaps = np.abs(middles[:, None] - middles).max(2) + 1e9 * np.eye(len(middles))
        assert gaps.min() >= boxes[0, 1] - boxes[0, 0]
        assert all(np.isclose(display.data_, middle, atol=1e-6).all(1).any() for middle in middles)
    assert len(plot.map(model, X, thumbnails=3).ax_.images) == 3
    with pytest.raises(DataError, match=r"pass image_shape=\(h, w\)"):
        plot.map(*table, thumbnails=True)


def test_names_stand_at_each_island_of_a_class():
    rng = np.random.default_rng(0)
    middles = np.array([(-3, 0), (3, 0), (0, 3)])
    points = np.concatenate([rng.normal(middle, 0.3, (100, 2)) for middle in middles] + [[(8, 8)]])
    codes = np.repeat([0, 0, 1, 0], [100, 100, 100, 1])
    islands = Islands(points, codes, points.min(0), points.max(0))
    places = np.array([place for _, place, _ in islands.places])
    assert [code for code, *_ in islands.places] == [0, 0, 1]  # a stray row is no island
    assert all(np.abs(places - middle).max(1).min() < 0.2 for middle in middles)
    text = "2 classes form 3 islands; elm and oak lie apart from all others"
    assert describe_islands(islands, ("elm", "oak")) == text
    both = Islands(points, np.arange(301) % 2, points.min(0), points.max(0))
    assert "elm with oak (" in describe_islands(both, ("elm", "oak"))


def test_trust_has_one_scale_with_a_mark(grey):
    display = plot.map_quality(*grey)
    trust = display.ax_[0].collections[0]
    assert trust.get_clim() == (0.5, 1.0)
    bar = trust.colorbar
    assert 0.8 in bar.get_ticks() and list(bar.ax.lines[0].get_ydata()) == [0.8, 0.8]
    assert all(panel.collections[0].colorbar.ax.get_ylabel() or panel is display.ax_[2] for panel in display.ax_)
    assert f"below 0.8 for {np.mean(display.data_[:, 0] < 0.8):.0%}" in display.alt


@pytest.mark.parametrize("data", ["grey", "table"])
def test_the_decoded_grid_fades_where_no_rows_lie(request, data):
    model, X = request.getfixturevalue(data)
    display = plot.decoded_grid(model, X, n=10)
    axes, codes = display.values, model.transform(X)
    cells = [np.abs(codes[:, [k]] - axes[k]).argmin(1) for k in (0, 1)]
    rows = np.zeros((10, 10), dtype=int)
    np.add.at(rows, (cells[1], cells[0]), 1)
    faded = ~display.occupied
    assert rows[faded].sum() < 0.1 * len(X) and (rows[faded] == 0).mean() > 0.5  # the grid's cells have another shape
    assert (f"{faded.mean():.0%} of the points" in display.caption) == faded.any()
    image = np.ravel(display.ax_)[0].images[0]
    assert np.unique(image.get_alpha()).size == 1 + faded.any() + (data == "grey")
    prior = plot.decoded_grid(model, n=4)
    assert prior.occupied is None and "Faded" not in prior.caption


def test_few_rates_are_numbers_and_many_are_bars(grey):
    few = plot.rates(grey[0])
    assert not few.ax_.patches and len(few.ax_.texts) == 4
    assert len(plot.rates(fit(VAE(5, **FIT), digits())).ax_.patches) == 5


def test_pictures_say_what_is_across_and_down_and_profiles_their_ranges(grey, table):
    assert plot.samples(*grey[:1], X=grey[1]).ax_.get_xlabel() == (
        "each picture is a sample of 8 by 8 pixels from 0, blank, to 1, ink"
    )
    paths = plot.interpolations(*grey)
    assert "share of the path" in paths.ax_.get_xlabel() and paths.ax_.get_yticklabels()[0].get_text() == "0 – 163"
    assert plot.reconstructions(*grey).ax_.get_xlabel() == "row of the data"
    profiles = plot.reconstructions(*table)
    low, high = np.percentile(table[1]["ash"], [1, 99])
    written = [text.get_text() for text in profiles.ax_.texts]
    assert written[4:6] == [f"{low:.3g}", f"{high:.3g}"]
