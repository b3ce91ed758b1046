"""The answers of an exploration agree with the model, the data and independent computations."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from conftest import fit
from explorers import pixels
from latentmap import VAE, recipes
from latentmap.evaluation.details import log_density
from latentmap.exceptions import DataError
from latentmap.explorer import Exploration, ExploredRows, spaces
from latentmap.explorer.answers import as_json
from latentmap.explorer.fields import NO_CODE, plain_field
from latentmap.explorer.islands import islands
from latentmap.explorer.items import Record
from latentmap.explorer.selections import effects


def test_the_facts_are_plain_values(shown, trees, plain):
    for one in (shown, trees, plain):
        meta = json.loads(json.dumps(as_json(one.meta()), allow_nan=False))
        assert meta["n"] == meta["total"] == len(one.points) and meta["components"] == 2 and meta["dims"] == [0, 1]
        assert {field["group"] for field in meta["fields"]} <= {"label", "column", "model"}
        for field in meta["fields"]:
            values = one.field(field["key"])
            assert (
                values.dtype == (np.uint16 if field["kind"] == "category" else np.float32) and len(values) == meta["n"]
            )
            if field["kind"] == "category":
                assert set(np.unique(values)) <= {*range(len(field["levels"])), NO_CODE}
    assert shown.meta()["item"] == {"kind": "picture", "width": 8, "height": 8, "channels": 1, "paper": True}
    assert [one.label for one in shown.islands]


def test_points_and_pictures_are_those_of_the_model(shown, images):
    model = shown.estimator
    np.testing.assert_allclose(shown.points, model.transform(images), rtol=1e-6)
    answer = shown.row(7)
    np.testing.assert_array_equal(answer.original.pixels, pixels(images[7]))
    decoded = model.inverse_transform(shown.points[7:8])[0]
    np.testing.assert_array_equal(answer.reconstruction.pixels, pixels(decoded))
    np.testing.assert_array_equal(shown.decode(shown.points[7:8]).items[0].pixels, pixels(decoded))
    assert answer.label == "7" and answer.id is None and not answer.missing and not answer.imputed
    assert answer.evidence == pytest.approx(float(model.score_samples(images[7:8])[0]), rel=1e-5)
    below = (model.score_samples(images) < answer.evidence).mean()
    assert answer.percentile == pytest.approx(100 * below, abs=1)
    distances = np.square((images - images[7]).reshape(len(images), -1)).sum(1)
    assert answer.neighbours == [i for i in np.argsort(distances, kind="stable").tolist() if i != 7][:8]


@pytest.mark.parametrize("kept", [2**26, 0])
def test_nearest_rows_are_exact_where_rounding_would_change_their_order(kept, monkeypatch):
    X = 1000 + np.random.default_rng(0).random((500, 12)).astype(np.float32)
    X[7] = X[6] = X[5]
    monkeypatch.setattr(spaces, "MOST_KEPT", kept)
    monkeypatch.setattr(spaces, "BLOCK", 1000)
    monkeypatch.setattr(spaces, "encoder_inputs", lambda estimator, rows: rows.copy())
    space = spaces.DataSpace(None, X)
    for i in (0, 5, 6, 499):
        distances = np.square(X - X[i]).sum(1)
        order = [j for j in np.argsort(distances, kind="stable").tolist() if j != i]
        assert space.nearest(i, 8) == order[:8]
    assert spaces.DataSpace(None, X[:3]).nearest(1, 8) == sorted([0, 2], key=lambda j: ((X[j] - X[1]) ** 2).sum())
    assert spaces.DataSpace(None, X[:1]).nearest(0, 8) == []


def test_density_and_holes_follow_the_codes(shown):
    codes = np.array([[50.0, 50.0], *shown.points[:3].tolist()])
    answer = shown.decode(codes)
    np.testing.assert_allclose(answer.density, log_density(shown._density.draws, codes), rtol=1e-5)
    assert answer.hole[0] is True and answer.density[0] < min(answer.density[1:])
    holes = [shown.decode(part).hole for part in np.array_split(shown.points, 4)]
    assert np.concatenate(holes).mean() == pytest.approx(0.01, abs=0.006)
    plane = shown.density(0, 1)
    assert plane.values.shape == plane.hole.shape == (plane.size,) * 2 and plane.levels == sorted(plane.levels)
    low, high = np.array(plane.low), np.array(plane.high)
    assert (low < shown.points.min(0)).all() and (high > shown.points.max(0)).all()
    across, up = (np.rint((shown.points - low) / (high - low) * (plane.size - 1)).astype(int)).T
    assert plane.hole[up, across].mean() < 0.05 < plane.hole.mean()
    turned = shown.density(1, 0)
    np.testing.assert_allclose(turned.values, plane.values.T, atol=1e-4)


def test_samples_repeat_and_are_those_of_the_model(shown):
    first, again, other = (shown.samples(4, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.z, again.z)
    assert not np.array_equal(first.z, other.z)
    for item, row in zip(first.items, shown.estimator.sample(4, random_state=1), strict=True):
        assert np.abs(item.pixels.astype(int) - pixels(row)).max() <= 1


def test_selections_agree_with_tests_of_scipy(plain):
    selected = np.arange(0, 60)
    answer = plain.selection(selected)
    X = plain.rows.values
    inside = np.zeros(len(X), dtype=bool)
    inside[selected] = True
    found = {one.name: one for one in answer.columns}
    p = []
    for i in range(5):
        a, b = (X[side, i][np.isfinite(X[side, i])] for side in (inside, ~inside))
        squares = (len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)
        pooled = np.sqrt(squares / (len(a) + len(b) - 2))
        assert found[f"x{i}"].effect == pytest.approx((a.mean() - b.mean()) / pooled, rel=1e-5, abs=1e-6)
        p.append(stats.ttest_ind(a, b, equal_var=False).pvalue)
    adjusted = stats.false_discovery_control(p)
    np.testing.assert_allclose([found[f"x{i}"].q for i in range(5)], adjusted, rtol=1e-3)
    sizes = [abs(one.effect) for one in answer.columns]
    assert sizes == sorted(sizes, reverse=True) and answer.count == 60
    shares = {one.name: one for one in answer.labels}
    assert shares["True"].count == (X[:60, 0] > 0).sum() == round(60 * shares["True"].inside)
    assert not set(answer.typical) & set(answer.odd) and set(answer.typical + answer.odd) <= set(range(60))


def test_categories_are_compared_by_cramers_v(trees):
    inside = np.zeros(120, dtype=bool)
    inside[::3] = True  # all elms
    found = {one.name: one for one in effects([trees.fields["column:kind"], trees.fields["column:alive"]], inside)}
    assert found["kind"].effect == pytest.approx(1) and found["kind"].q < 1e-20
    assert found["kind"].inside == "elm 100%" and found["alive"].effect < 0.1 < found["alive"].q
    nothing = trees.selection([])
    assert nothing.count == 0 and not nothing.typical and all(one.q is None for one in nothing.columns)
    everything = trees.selection(np.arange(120))
    assert everything.count == 120 and all(one.q is None for one in everything.columns)


@pytest.mark.parametrize("shape", ["round", "square", "flat", "one place", "heavy", "without rows"])
def test_a_plane_reaches_until_its_contours_and_its_holes_close(shape):
    """Rows end at no border of the picture: a contour that is cut there would say that they do."""
    from latentmap.explorer.density import CodeDensity

    rng = np.random.default_rng(0)
    rows = {
        "square": lambda: rng.uniform(size=(500, 2)),
        "flat": lambda: rng.normal(size=(500, 2)) * [2, 0.01],
        "one place": lambda: np.zeros((50, 2)),
        "heavy": lambda: rng.standard_t(2, size=(500, 2)),
    }.get(shape, lambda: rng.normal(size=(500, 2)))()
    draws = rows + rng.normal(size=rows.shape) * [0.1, 1.0]
    plane = CodeDensity(draws, None if shape == "without rows" else rows).plane(0, 1)
    border = np.ones(plane.values.shape, bool)
    border[1:-1, 1:-1] = False
    assert plane.values[border].max() < plane.levels[0] < plane.values.max()
    assert plane.hole[border].all() or shape == "without rows"
    assert (np.array(plane.low) < rows.min(0)).all() and (np.array(plane.high) > rows.max(0)).all()


@pytest.mark.parametrize("d", [2, 20])
def test_a_search_warns_of_nothing_while_another_thread_has_reset_the_filters(d):
    from latentmap.evaluation.details import NeighborDensity

    codes = np.random.default_rng(0).normal(size=(500, d))
    density = NeighborDensity(codes)
    with warnings.catch_warnings(record=True) as seen:
        warnings.resetwarnings()
        assert np.isfinite(density(codes)).all()
    assert seen == []


def test_a_single_row_has_no_deviation_and_no_test(trees):
    one, two = ({c.name: c for c in trees.selection(rows).columns} for rows in ([3], [3, 5]))
    assert one["price"].inside == "1,021 $" and one["price"].q is None and one["planted"].inside == "2001-04-11"
    assert "±" in two["price"].inside and "±" in one["price"].outside


def test_trust_of_some_of_the_rows_alone_is_said(shown, monkeypatch):
    from latentmap.explorer import scores

    assert shown.fields["trust"].described()["note"] is None
    monkeypatch.setattr(scores, "MOST_TRUST", 100)
    monkeypatch.setattr(scores, "SEARCHED", 100)
    few = Exploration(shown.estimator, shown.rows).fields["trust"]
    assert few.described()["note"] == "of 100 of the rows, evenly spaced" and np.isfinite(few.values).sum() == 100


def test_cells_of_tables_come_as_they_are_written(trees):
    columns = {one["name"]: one for one in as_json(trees.meta()["item"]["columns"])}
    assert columns["kind"]["levels"] == ["ash", "elm", "oak"] and columns["price"]["unit"] == "$"
    assert [columns[name]["kind"] for name in ("height", "planted", "alive")] == ["number", "date", "category"]
    names, answer = list(columns), trees.row(4)
    original = dict(zip(names, answer.original.cells, strict=True))
    assert original["price"].text == "$1028.00" and original["planted"].text == "2001-05-11"
    assert original["alive"].text == "True" and original["kind"].text == "oak" and original["kind"].p is None
    assert original["height"].text == "" and original["height"].at is None
    assert answer.missing == [names.index("height")]
    (filled,) = answer.imputed
    assert filled.column == names.index("height") and float(filled.low) < float(filled.text) < float(filled.high)
    decoded = dict(zip(names, answer.reconstruction.cells, strict=True))
    assert 1 / 3 <= decoded["kind"].p <= 1 and decoded["alive"].p >= 0.5 and decoded["price"].text.startswith("$")
    assert all(0 <= cell.at <= 1 for cell in decoded.values())
    frame = trees.estimator
    assert frame is not None and isinstance(answer.original, Record)


@pytest.fixture(scope="module")
def hours():
    rng = np.random.default_rng(0)
    hour = np.round(rng.normal(0, 2, 240), 2) % 24
    hour[:3] = np.nan
    frame = pd.DataFrame({"hour": hour, "height": rng.normal(size=240), "kind": ["oak", "elm", "ash"] * 80})
    vae = fit(VAE(2, max_epochs=20, neighbors=None, random_state=0), frame)
    assert vae.table_.columns[0].kind == "cyclic"
    return Exploration(vae, ExploredRows.of(vae, frame))


def test_missing_hours_lie_around_midnight(hours):
    draws = hours._scores.draws(hours.rows.values[:1], 100)[:, 0, 0]
    (filled,) = hours.row(0).imputed
    mean = stats.circmean(draws, 24)
    away = [abs((float(one) - mean + 12) % 24 - 12) for one in (filled.text, filled.low, filled.high)]
    assert away[0] < 1 and all(away[0] < one < 12 for one in away[1:])
    inside = [(one - float(filled.low)) % 24 <= (float(filled.high) - float(filled.low)) % 24 for one in draws]
    assert np.mean(inside) == pytest.approx(0.9, abs=0.02)


def test_hours_on_both_sides_of_midnight_are_near(hours):
    hour = hours.rows.values[:, 0]
    late = np.flatnonzero(hour > 12)
    (found,) = (one for one in hours.selection(late).columns if one.name == "hour")
    turned = (hour + 12) % 24
    a, b = turned[late], turned[(hour <= 12)]
    pooled = np.sqrt((np.square(a - a.mean()).sum() + np.square(b - b.mean()).sum()) / (len(a) + len(b) - 2))
    assert found.effect == pytest.approx((a.mean() - b.mean()) / pooled, rel=1e-4)
    assert found.inside.split()[0] == f"{a.mean() + 12:.3g}" and found.outside.split()[0] == f"{b.mean() - 12:.3g}"


def test_large_numbers_are_compared_with_all_their_digits():
    inside = np.arange(100) < 40
    times = 1.7e9 + np.where(inside, 1.0, 2.0) + np.arange(100) % 7 / 10
    (found,) = effects([plain_field("column:t", "t", "column", times)], inside)
    a, b = times[inside], times[~inside]
    pooled = np.sqrt((39 * a.var(ddof=1) + 59 * b.var(ddof=1)) / 98)
    assert found.effect == pytest.approx((a.mean() - b.mean()) / pooled, rel=1e-6)
    assert found.q == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue, rel=1e-3)
    (found,) = effects([plain_field("column:t", "t", "column", np.full(100, 0.1))], inside)
    assert abs(found.effect) < 1e-6 and found.q is None


def test_without_rows_the_latent_space_is_explored_alone(shown):
    alone = Exploration(shown.estimator, None, name="alone")
    meta = as_json(alone.meta())
    assert (
        meta["n"] == 0
        and not meta["fields"]
        and not meta["can"]["rows"]
        and "the rows are not here" in meta["notes"][0]
    )
    answer = alone.decode([[0.0, 0.0], [9.0, 9.0]])
    assert answer.hole == [None, None] and answer.density[0] > answer.density[1]
    assert alone.density(0, 1).hole.sum() == 0 and len(alone.path([0.0, 0.0], [1.0, 1.0], 3, "density").items) == 3
    assert alone.samples(2).hole == [None, None]
    with pytest.raises(DataError, match="no rows here"):
        alone.row(0)


def test_an_autoencoder_has_no_evidence(autoencoder, rows):
    explored = Exploration(autoencoder, ExploredRows.of(autoencoder, rows))
    assert explored.meta()["item"]["kind"] == "line" and explored.dims == [0, 1, 2]
    assert not {"evidence", "uncertainty"} & explored.fields.keys() and explored.row(0).evidence is None
    like = explored.encode(",".join(map(str, rows[3])).encode(), "text/plain")
    unlike = explored.encode(",".join(["16"] * 64).encode(), "text/plain")
    assert not like.unlike and unlike.unlike and like.evidence is None


def test_one_component_and_a_collapsed_model(rows):
    one = fit(VAE(1, max_epochs=2, neighbors=None, random_state=0), rows)
    explored = Exploration(one, ExploredRows.of(one, rows, np.arange(400) % 3))
    explored.prepare()
    assert explored.dims == [0] and not explored.meta()["can"]["density"] and not explored.islands
    assert len(explored.path(0, 1, 4, "density").items) == 4
    with pytest.raises(DataError, match="x and y"):
        explored.density(0, 0)
    noise = np.random.default_rng(0).normal(size=(200, 4))
    flat = fit(VAE(2, max_epochs=2, neighbors=None, objective=_strong(), random_state=0), noise)
    collapsed = Exploration(flat, ExploredRows.of(flat, noise, np.arange(200) % 2))
    collapsed.prepare()
    assert not flat.active_components_.any() and "collapsed" in collapsed.notes[-1]
    json.dumps(
        as_json([collapsed.meta(), collapsed.row(0), collapsed.density(0, 1), collapsed.path(0, 5, 4, "density")])
    )


def _strong():
    from latentmap.objectives import ELBO

    return ELBO(beta=1e4)


@pytest.mark.parametrize("recipe", recipes.every())
def test_every_recipe_is_explored(recipe, images):
    X, y = images[:120] / 16, np.arange(120) % 4
    settings = {"max_epochs": 1, "random_state": 0} | recipes.every()[recipe]()
    model = fit(VAE(**settings), X, y)
    model = model.given(3) if model.condition_ is not None else model
    explored = Exploration(model, ExploredRows.of(model, X, y))
    explored.prepare()
    decoded = model.inverse_transform(explored.points[:2])
    for item, row in zip(explored.decode(explored.points[:2]).items, decoded, strict=True):
        assert np.abs(item.pixels.astype(int) - np.rint(255 * np.clip(row, 0, 1)).astype(int)).max() <= 1
    ways = [explored.path(0, 5, 4, along) for along in ("straight", "density")]
    for way in ways:
        np.testing.assert_allclose(way.z[[0, -1]], explored.points[[0, 5]], atol=1e-4)
    answers = [explored.meta(), explored.row(1), *ways, explored.samples(2), explored.selection([1, 2, 3])]
    answers += [explored.density(0, 1), *(explored.field(key)[:5] for key in explored.fields)]
    assert len(json.dumps(as_json(answers), allow_nan=False)) > 1000
    alone = Exploration(model, None)
    assert len(alone.samples(3).items) == 3 and alone.meta()["range"]["low"].shape == (explored.n_components,)


def test_labels_of_equal_points_are_written_there():
    points = np.full((40, 2), 3.0, dtype=np.float32)
    label = plain_field("label", "kind", "label", np.array(["oak", "elm"] * 20))
    assert {(one.label, one.x, one.y) for one in islands(points, label)} == {("oak", 3.0, 3.0), ("elm", 3.0, 3.0)}


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda x: x.decode([[0.0]]), "codes of 2 numbers"),
        (lambda x: x.decode([["0", "1"]]), "codes of 2 numbers"),
        (lambda x: x.decode([[0.0, np.nan]]), "codes of 2 numbers"),
        (lambda x: x.decode([[0.0, 1e30]]), "up to 1e"),
        (lambda x: x.decode(np.zeros((257, 2))), "1 to 256 codes"),
        (lambda x: x.decode([[0.0, 1.0], [1.0]]), "codes of 2 numbers"),
        (lambda x: x.row(200), "a row from 0 to 199"),
        (lambda x: x.row(-1), "a row from 0 to 199"),
        (lambda x: x.path(0, 1, 1), "from 2 to 64"),
        (lambda x: x.path(0, True, 3), "codes of 2 numbers"),
        (lambda x: x.nearest(0, 0), "from 1 to 100"),
        (lambda x: x.samples(65), "n from 1 to 64"),
        (lambda x: x.selection([200]), "rows from 0 to 199"),
        (lambda x: x.field("nothing"), "the key of a field"),
        (lambda x: x.save([1], "xlsx", "rows"), "format=csv or parquet"),
    ],
)
def test_what_cannot_be_asked(plain, ask, message):
    with pytest.raises(DataError, match=message):
        ask(plain)
