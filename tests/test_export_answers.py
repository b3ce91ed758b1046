"""An exported page answers as the model does: the same questions to its data, by Node, and to the exploration."""

import base64
import copy
import io

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits

from latentmap import VAE
from latentmap.explorer import Exploration, ExploredRows
from latentmap.explorer.answers import as_json
from latentmap.explorer.density import CodeDensity
from latentmap.explorer.export_data import fewer_rows, page_data
from latentmap.explorer.export_items import pack_rows
from pages import bundle, run

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
DIGITS = load_digits()
ROOM = 3_000_000


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    script = bundle("local.ts", tmp_path_factory.mktemp("local"))
    return lambda data, *calls: run(script, {"data": data, "calls": calls})


@pytest.fixture(scope="module")
def digits():
    vae = VAE(2, max_epochs=15, neighbors=None, random_state=0).fit(DIGITS.images[:600])
    return Exploration(vae, ExploredRows.of(vae, DIGITS.images[:600], DIGITS.target[:600]), name="digits")


@pytest.fixture(scope="module")
def table():
    generator = np.random.default_rng(0)
    n = 240
    kind = generator.integers(0, 3, n)
    frame = pd.DataFrame(
        {
            "size": np.round(generator.normal(3 * kind, 1), 1),
            "kind": pd.Categorical(np.array(["elm", "oak", "pine"])[kind]),
            "count": generator.poisson(np.exp(2 * kind)),
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(generator.integers(0, 900, n), "D"),
            "alive": generator.random(n) < 0.2 + 0.3 * kind,
            "ratio": np.exp(generator.normal(kind, 1, n)),
            "hour": np.round(generator.normal(2 * kind, 2, n), 2) % 24,
        }
    )
    frame.loc[5, "size"], frame.loc[6, "kind"] = np.nan, None
    vae = VAE(2, max_epochs=15, neighbors=None, random_state=0).fit(frame)
    ids = np.array([f"tree {i}" for i in range(n)])
    labels = np.array(["low", "high"], dtype=object)[(kind > 1).astype(int)]
    return Exploration(vae, ExploredRows.of(vae, frame, labels, ids), name="trees")


def pixels(item):
    return np.frombuffer(base64.b64decode(item["pixels"]), np.uint8).astype(int)


def codes_of(exploration, n=20):
    low, high = exploration.extent
    return np.random.default_rng(0).uniform(low, high, (n, len(low))).round(6).tolist()


def test_pictures_are_those_of_python(ask, digits):
    codes = codes_of(digits)
    data = page_data(digits, ROOM)
    decoded, row = ask(data, ["decode", codes], ["row", 7])
    expected = as_json(digits.decode(codes))
    for got, item in zip(decoded["items"], expected["items"], strict=True):
        assert np.abs(np.array(got["pixels"]) - pixels(item)).max() <= 1
    own = as_json(digits.row(7))
    np.testing.assert_array_equal(row["original"]["pixels"], pixels(own["original"]))
    assert np.abs(np.array(row["reconstruction"]["pixels"]) - pixels(own["reconstruction"])).max() <= 1
    assert (row["label"], row["neighbours"]) == (own["label"], own["neighbours"])
    assert row["evidence"] == pytest.approx(own["evidence"], abs=0.02)
    assert row["percentile"] == pytest.approx(own["percentile"], abs=0.5)
    np.testing.assert_allclose(row["z"], own["z"], atol=1e-3)


def test_density_and_holes_are_those_of_python(ask, digits):
    codes = np.random.default_rng(1).uniform(*digits.extent, (200, 2)).tolist()
    (decoded, plane) = ask(page_data(digits, ROOM), ["decode", codes], ["density", 1, 0])
    expected = digits.decode(codes)
    assert np.mean(np.array(decoded["hole"]) == np.array(expected.hole)) > 0.95
    assert np.median(np.abs(np.array(decoded["density"]) - expected.density)) < 0.3
    own = digits.density(0, 1)
    step = np.ptp(own.values) / 254
    np.testing.assert_allclose(np.array(plane["values"]).reshape(own.size, -1).T, own.values, atol=step)
    np.testing.assert_array_equal(np.array(plane["hole"]).reshape(own.size, -1).T, own.hole)


def test_cells_are_written_as_python_writes_them(ask, table):
    codes = codes_of(table)
    decoded, *rows = ask(page_data(table, ROOM), ["decode", codes], *(["row", i] for i in range(12)))
    expected = as_json(table.decode(codes))
    got = [[cell["text"] for cell in item["cells"]] for item in decoded["items"]]
    wanted = [[cell["text"] for cell in item["cells"]] for item in expected["items"]]
    assert np.mean(np.array(got) == np.array(wanted)) > 0.97, "all but what rounding decides"
    for one, other in zip(decoded["items"], expected["items"], strict=True):
        for cell, own in zip(one["cells"], other["cells"], strict=True):
            assert cell["at"] == pytest.approx(own["at"], abs=2e-3) or cell["text"] != own["text"]
            assert cell["p"] == pytest.approx(own["p"], abs=2e-3) or cell["text"] != own["text"]
    for i, row in enumerate(rows):
        own = as_json(table.row(i))
        assert [c["text"] for c in row["original"]["cells"]] == [c["text"] for c in own["original"]["cells"]]
        assert (row["id"], row["missing"], row["label"]) == (f"tree {i}", own["missing"], own["label"])


def test_what_tells_a_selection_apart(ask, table):
    chosen = np.flatnonzero(table.fields["label"].values == 0)[:40]
    (got,) = ask(page_data(table, ROOM), ["selection", chosen.tolist()])
    expected = as_json(table.selection(chosen))
    assert got["count"] == len(chosen) == expected["count"] and got["labels"] == expected["labels"]
    assert {*got["typical"], *got["odd"]} <= set(chosen.tolist()) and len(got["odd"]) == 6
    own = {one["name"]: one for one in expected["columns"]}
    assert [one["name"] for one in got["columns"]] == [one["name"] for one in expected["columns"]]
    for one in got["columns"]:
        assert one["effect"] == pytest.approx(own[one["name"]]["effect"], abs=2e-3)
        assert one["q"] == pytest.approx(own[one["name"]]["q"], rel=0.02, abs=1e-9)
        assert one["inside"] == own[one["name"]]["inside"]


def test_selections_of_any_size_are_told_apart_as_in_python(ask, table):
    n = len(table.rows)
    sides = np.array([one.kind == "category" for one in table.fields.values()])
    assert sides.any() and not sides.all()
    chosen = [[], [7], [7, 9, 11], list(range(7)), list(range(n - 1)), list(range(n))]
    for rows, got in zip(chosen, ask(page_data(table, ROOM), *(["selection", one] for one in chosen)), strict=True):
        expected = as_json(table.selection(np.array(rows, int)))
        assert (len(got["typical"]), len(got["odd"])) == (len(expected["typical"]), len(expected["odd"]))
        own = {one["name"]: one for one in expected["columns"]}
        for one in got["columns"]:
            other = own[one["name"]]
            assert (one["inside"], one["outside"]) == (other["inside"], other["outside"])
            assert one["effect"] == (None if other["effect"] is None else pytest.approx(other["effect"], abs=2e-3))
            assert one["q"] == (None if other["q"] is None else pytest.approx(other["q"], rel=0.02, abs=1e-9))


def test_rows_are_found_and_saved(ask, table):
    data = page_data(table, ROOM)
    by_id, by_number, by_text, none, rows, marks, parquet = ask(
        data,
        ["search", "TREE 17"],
        ["search", "17"],
        ["search", "oak"],
        ["search", " "],
        ["save", [3, 5], "csv", "rows"],
        ["save", [3, 5], "csv", "label"],
        ["save", [3], "parquet", "rows"],
    )
    assert [one["i"] for one in by_id["rows"]][:1] == [17] and {one["i"] for one in by_number["rows"]} >= {17, 170}
    oaks = np.flatnonzero(table.fields["column:kind"].values == 1)
    assert {one["i"] for one in by_text["rows"]} <= set(oaks.tolist()) and len(by_text["rows"]) == min(50, len(oaks))
    assert none == {"rows": []} and parquet["error"] == "This file writes CSV alone."
    head, first, second = rows["blob"].splitlines()
    assert head.startswith("id,label,") and first.startswith("tree 3,") and second.startswith("tree 5,")
    assert marks["blob"].splitlines()[:5] == ["id,selected", "tree 0,0", "tree 1,0", "tree 2,0", "tree 3,1"]
    assert marks["name"] == "selection.csv"


def test_saved_and_shown_cells_have_their_digits(ask):
    rng = np.random.default_rng(0)
    n = 120
    seconds = rng.integers(0, 90_000_000, n)
    frame = pd.DataFrame(
        {
            "kind": np.array(["=1+1", "<img src=x onerror=alert(1)>", 'a"b\nc'])[np.arange(n) % 3],
            "at": pd.Timestamp("2020-01-01") + pd.to_timedelta(seconds, "s"),
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(seconds // 86_400, "D"),
            "unix": 1.7e9 + seconds % 10_000,
            "span": pd.to_timedelta(seconds % 200_000 - 50_000, "s"),
            "price": 1_000_000.25 + rng.integers(0, 9999, n),
        }
    )
    vae = VAE(2, max_epochs=2, neighbors=None, random_state=0).fit(frame)
    explored = Exploration(vae, ExploredRows.of(vae, frame))
    saved, *rows = ask(page_data(explored, ROOM), ["save", [3, 5], "csv", "rows"], *(["row", i] for i in range(20)))
    got = pd.read_csv(io.StringIO(saved["blob"]), parse_dates=["at", "since"])
    expected = frame.iloc[[3, 5]].reset_index(drop=True)
    for name in ("kind", "at", "since", "unix", "price"):
        assert got[name].tolist() == expected[name].tolist(), name
    assert got["span"].tolist() == expected["span"].dt.total_seconds().tolist() and got["row"].tolist() == [3, 5]
    for i, row in enumerate(rows):
        own = as_json(explored.row(i))["original"]["cells"]
        assert [cell["text"] for cell in row["original"]["cells"]] == [cell["text"] for cell in own]


def test_ways_avoid_holes(ask, digits):
    ends = digits.points[[0, 1]].tolist()
    straight, along = ask(page_data(digits, ROOM), ["path", *ends, 9, "straight"], ["path", 0, 1, 9, "density"])
    np.testing.assert_allclose(straight["z"], np.linspace(*ends, 9), atol=1e-5)
    np.testing.assert_allclose(np.array(along["z"])[[0, -1]], ends, atol=1e-3)
    steps = np.linalg.norm(np.diff(along["z"], axis=0), axis=1)
    assert steps.max() < 1.3 * steps.min() and len(along["items"]) == 9
    worst = [min(digits.decode(way["z"]).density) for way in (straight, along)]
    assert worst[1] >= worst[0] - 0.1


def test_ways_along_the_density_cross_no_more_holes(ask, digits):
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 1.5 * np.pi, 1000)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1) * 3 + 0.3 * rng.normal(size=(1000, 2))
    around = copy.copy(digits)
    around.__dict__["_density"] = CodeDensity(ring, ring)
    ends = [*rng.permutation(ring)[:20].reshape(10, 2, 2), *rng.uniform(-4, 4, (10, 2, 2))]
    pairs = [["path", *pair.tolist(), 12, way] for pair in ends for way in ("straight", "density")]
    crossed = np.array([sum(one["hole"]) for one in ask(page_data(around, ROOM), *pairs)]).reshape(-1, 2)
    assert (crossed[:, 1] <= crossed[:, 0]).all() and crossed[:, 1].sum() < 0.8 * crossed[:, 0].sum()


def test_samples_are_of_the_prior(ask, digits):
    first, again, other = ask(page_data(digits, ROOM), ["samples", 5, 1], ["samples", 5, 1], ["samples", 5, 2])
    assert first == again and first["z"] != other["z"] and len(first["items"]) == 5


def test_a_model_of_more_components(ask):
    vae = VAE(4, max_epochs=3, neighbors=None, random_state=0).fit(DIGITS.data[:200])
    exploration = Exploration(vae, ExploredRows.of(vae, DIGITS.data[:200]))
    data = page_data(exploration, ROOM)
    decoded, plane, way, straight = ask(
        data,
        ["decode", codes_of(exploration, 2)],
        ["density", 2, 1],
        ["path", 0, 1, 3, "density"],
        ["path", 0, 1, 3, "straight"],
    )
    assert decoded["density"] == decoded["hole"] == [None, None] and "two components" in way["error"]
    assert plane["size"] ** 2 == len(plane["values"]) and len(straight["items"]) == 3
    assert data["meta"]["item"]["kind"] == "line" and data["originals"]["values"]["shape"] == [200, 64]


def test_a_decoder_of_the_users_own_is_replaced_by_a_grid(ask, digits):
    own = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh())
    vae = VAE(2, decoder=own, max_epochs=2, neighbors=None, random_state=0).fit(DIGITS.images[:200])
    exploration = Exploration(vae, ExploredRows.of(vae, DIGITS.images[:200]))
    data = page_data(exploration, ROOM)
    assert data["decoder"] is None and any("nearest of 24 by 24 places" in note for note in data["meta"]["notes"])
    grid = data["grid"]
    corner = [grid["low"], grid["high"], [0.9 * a + 0.1 * b for a, b in zip(grid["low"], grid["high"], strict=True)]]
    (decoded,) = ask(data, ["decode", corner])
    expected = as_json(exploration.decode(corner[:2]))["items"]
    for got, item in zip(decoded["items"], expected, strict=False):
        assert np.abs(np.array(got["pixels"]) - pixels(item)).max() <= 2


def test_less_room_makes_pictures_smaller_then_fewer(ask, digits):
    whole = page_data(digits, ROOM)
    notes = {}
    for share in (1.0, 0.5, 0.05):
        size = int(share * len(whole["originals"]["pixels"]["data"]))
        packed, said = pack_rows(digits.items, digits.rows.values, size + 20)
        assert len(packed["pixels"]["data"]) <= max(1.1 * size, 200)
        notes[share] = said
    assert notes[1.0] != notes[0.5]
    assert any("shades" in note for note in notes[0.5])
    assert any("can be seen beside" in note for note in notes[0.05])
    assert pack_rows(digits.items, digits.rows.values, 0) == (
        None,
        ["pictures of the rows are left out, for want of room: reconstructions are shown alone"],
    )


def test_fewer_rows_keep_their_numbers(ask, digits):
    fewer = fewer_rows(digits, 100)
    data = page_data(fewer, ROOM)
    assert "100 of 600 rows are in this file, evenly spaced" in data["meta"]["notes"]
    (found,) = ask(data, ["search", "599"])
    assert found["rows"] == [{"i": 99, "text": "row 599"}] and fewer_rows(digits, 600) is digits


def test_a_model_without_rows(ask, digits):
    alone = Exploration(digits.estimator, None)
    data = page_data(alone, ROOM)
    points, decoded = ask(data, ["points"], ["decode", [[0.0, 0.0]]])
    assert points == [] and len(decoded["items"]) == 1 and not data["meta"]["can"]["selection"]
