"""Rows that are explored: which, how they are found and saved, and those that come from outside."""

import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import explorers
from conftest import fit
from explorers import pixels
from latentmap import VAE
from latentmap.exceptions import DataError
from latentmap.explorer import Exploration, ExploredRows
from latentmap.explorer.answers import as_json


def test_search_finds_ids_numbers_labels_and_text(trees, plain, shown):
    assert [one.i for one in plain.search("ID-17")] == [17, *range(170, 180)]
    assert plain.search("199")[0].i == 199
    assert trees.search("tree 77")[0].i == 77 and trees.search("77")[0].i == 77
    assert {trees.rows.columns["kind"].values[one.i] for one in trees.search("ELM")} == {"elm"}
    assert len(shown.search("digit")) == 0 and len(trees.search("tree")) == 50
    assert not trees.search("   ") and not trees.search("no such row")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("STRASSE", {0}),
        ("stra\u00dfe", {0}),
        ("CAFE\u0301", {1, 5}),
        ("caf\u00e9", {1, 5}),
        ("fin", {6}),
        (".*", {2}),
        ("(x", {3}),
        ("<B", {4}),
        ("\u0645\u0631", {7}),
        ("%", set()),
        ("\0", set()),
        ("a\u0308-4", {4}),
        ("\uff15", {5}),
    ],
)
def test_text_is_found_in_any_case_and_form_and_as_it_stands(text, found):
    kinds = ["Stra\u00dfe", "Caf\u00e9", "a.*b", "(x", "<b>", "Cafe\u0301", "\ufb01n", "\u0645\u0631\u062d\u0628\u0627"]
    plain = explorers.numbers(n=8)
    rows = replace(plain.rows, labels=np.array(kinds), ids=np.array([f"\u00c4-{i}" for i in range(8)]))
    assert {one.i for one in Exploration(plain.estimator, rows).search(text)} == found


def test_files_hold_ids_and_columns_as_they_came(trees, plain):
    text = trees.save([4, 2], "csv", "rows").decode().splitlines()
    lines = explorers.trees().splitlines()
    assert text[0] == f"row,{lines[0]}" and text[1:] == [f"{i},{lines[i + 1]}" for i in (2, 4)]
    marks = plain.save([1, 3], "csv", "label").decode().splitlines()
    assert marks[:5] == ["id,selected", "id-0,0", "id-1,1", "id-2,0", "id-3,1"] and len(marks) == 201
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = parquet.read_table(io.BytesIO(plain.save([3, 7], "parquet", "rows"))).to_pydict()
    assert rows["id"] == ["id-3", "id-7"] and rows["x1"][0] is None
    np.testing.assert_array_equal(rows["x0"], plain.rows.values[[3, 7], 0])


def test_frames_are_explored_with_their_types(tmp_path):
    n = 60
    rng = np.random.default_rng(0)
    spans = pd.to_timedelta(60 * rng.integers(1, 99, n), "s")
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), "D")
    sizes = pd.Categorical(["S", "M", "L"] * (n // 3), categories=["S", "M", "L"], ordered=True)
    frame = pd.DataFrame({"size": sizes, "span": spans, "day": days, "text": [f"word {i}" for i in range(n)], "k": "x"})
    frame.loc[3, "size"] = None
    vae = fit(VAE(2, max_epochs=1, neighbors=None, random_state=0), frame)
    explored = Exploration(vae, ExploredRows.of(vae, frame, frame["size"].astype(object), np.arange(n) + 7))
    texts = [cell.text for cell in explored.row(3).original.cells]
    assert texts == ["", str(spans[3].to_pytimedelta()), str(days[3].date()), "x"]
    columns = {one.name: one for one in explored.items.columns}
    assert columns["size"].levels == ("S", "M", "L") and columns["span"].unit == "s" and columns["day"].kind == "date"
    saved = pd.read_csv(io.BytesIO(explored.save([3, 5], "csv", "rows")), index_col=0)
    assert saved.columns.tolist() == ["size", "span", "day", "text", "k"] and saved.index.tolist() == [10, 12]
    assert saved["size"].isna().tolist() == [True, False] and saved["text"].tolist() == ["word 3", "word 5"]
    assert pd.to_timedelta(saved["span"]).tolist() == spans[[3, 5]].tolist()
    assert pd.to_datetime(saved["day"]).tolist() == days[[3, 5]].tolist()
    numbers = frame.assign(a=rng.normal(size=n), b=rng.normal(size=n))[["a", "b"]]
    model = fit(VAE(2, max_epochs=1, neighbors=None, random_state=0), numbers)
    plain = Exploration(model, ExploredRows.of(model, numbers, pd.Series(np.arange(n) % 3, name="third")))
    assert plain.fields["label"].name == "third" and [one.name for one in plain.items.columns] == ["a", "b"]
    json.dumps(as_json([plain.row(0), plain.meta(), plain.samples(1), plain.encode(b"a,b\n1,2", "text/plain")]))


def test_files_keep_columns_whose_names_are_those_of_ids_labels_and_marks():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(80, 4)), columns=["row", "label", "selected", "id"])
    vae = fit(VAE(2, max_epochs=1, neighbors=None, random_state=0), frame)
    kinds = np.array(["a", "b"])[np.arange(80) % 2]
    for ids, key in ((None, "row_"), ([f"tree {i}" for i in range(80)], "id_")):
        explored = Exploration(vae, ExploredRows.of(vae, frame, kinds, ids))
        saved = pd.read_csv(io.BytesIO(explored.save([5, 3], "csv", "rows")), float_precision="round_trip")
        assert list(saved) == [key, "label_", *frame]
        np.testing.assert_array_equal(saved[list(frame)], frame.iloc[[3, 5]])
        assert saved[key].tolist() == ([3, 5] if ids is None else ["tree 3", "tree 5"])
        assert saved["label_"].tolist() == ["b", "b"]
    marks = Exploration(vae, ExploredRows.of(vae, pd.DataFrame(frame), None, frame["id"])).save([1], "csv", "rows")
    assert marks.decode().splitlines()[0] == "id,row,label,selected"


def test_pictures_are_encoded_in_any_size_and_polarity(shown, images):
    def png(values, size=None):
        buffer = io.BytesIO()
        picture = Image.fromarray(values)
        (picture if size is None else picture.resize(size)).save(buffer, "png")
        return buffer.getvalue()

    own = shown.encode(png(pixels(images[5])), "image/png")
    np.testing.assert_allclose(own.z, shown.points[5], atol=1e-3)
    np.testing.assert_array_equal(own.item.pixels, pixels(images[5]))
    assert not own.unlike and own.percentile is not None
    inverted = shown.encode(png(255 - pixels(images[5]), (80, 80)), "image/png")
    assert "inverted" in inverted.why and "resized from 80 x 80" in inverted.why
    assert np.abs(inverted.item.pixels.astype(int) - pixels(images[5])).mean() < 40
    noise = shown.encode(png(np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)), "image/png")
    assert noise.unlike and "lower than that of" in noise.why


@pytest.mark.parametrize(
    ("mode", "suffix"), [("I;16", "png"), ("I;16", "tiff"), ("I;16B", "tiff"), ("I", "tiff"), ("F", "tiff")]
)
def test_deep_pictures_are_those_of_folders(shown, images, mode, suffix):
    shares = images[5] / 16
    types = {"I;16": "<u2", "I;16B": ">u2", "I": "<i4", "F": "<f4"}
    values = (shares if mode == "F" else np.rint(65535 * shares)).astype(types[mode])
    buffer = io.BytesIO()
    Image.frombytes(mode, (8, 8), values.tobytes()).save(buffer, suffix)
    answer = shown.encode(buffer.getvalue(), f"image/{suffix}")
    assert np.abs(answer.item.pixels.astype(int) - pixels(images[5])).max() <= 16 and not answer.unlike


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deep_pictures_have_the_units_of_deep_rows(images, dtype):
    rows = (images[:200] * 250).astype(dtype) if dtype == np.uint16 else images[:200].astype(dtype) / 7
    vae = fit(VAE(2, max_epochs=1, neighbors=None, random_state=0), rows)
    explored = Exploration(vae, ExploredRows.of(vae, rows))
    for row in (rows[5], rows[5] // 2 if dtype == np.uint16 else rows[5] / 2):  # half as bright
        buffer = io.BytesIO()
        Image.fromarray(row).save(buffer, "tiff")
        answer = explored.encode(buffer.getvalue(), "image/tiff")
        expected = 255 * row.astype(float) / rows.max()
        assert np.abs(answer.item.pixels - expected).max() < 6


@pytest.mark.parametrize("size", [(1000, 1), (1, 1000), (1, 1)])
def test_pictures_of_any_form_have_an_answer(shown, size):
    buffer = io.BytesIO()
    Image.new("L", size).save(buffer, "png")
    assert shown.encode(buffer.getvalue(), "image/png").item.pixels.shape == (8, 8)


def test_rows_are_unlike_where_fewer_than_one_in_a_hundred_score_as_low():
    explored = explorers.numbers(n=200)
    scores = explored._scores
    row = explored.rows.values[:1]
    scores.__dict__["reference"] = np.sort(np.r_[np.full(3, -np.inf), np.arange(197.0)])
    for score, below, as_low, unlike in ((-np.inf, 0, 1.5, False), (0.0, 1.5, 2, False), (np.nan, None, None, True)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(scores), "__call__", lambda self, rows, score=score: np.array([score]))
            rank = scores.rank(row, score)
        assert rank == (None if below is None else (below, as_low))
        assert scores.judged(score, rank, None)[0] is unlike
    scores.__dict__["reference"] = np.arange(200.0)
    assert scores.judged(-5.0, (0.0, 0.0), None) == (
        True,
        "log-evidence, −5 nats, is lower than that of 100.0% of the rows",
    )
    assert scores.judged(0.0, (0.0, 0.5), None)[0] and "99.5%" in scores.judged(0.0, (0.0, 0.5), None)[1]


@pytest.mark.parametrize(
    "text",
    [
        "kind,height,planted,alive,price\noak,15.5,2001-02-11,True,$1007.00",
        "oak;15.5;2001-02-11;True;$1007.00",
        "price\tkind\theight\tplanted\talive\n$1007.00\toak\t15.5\t2001-02-11\tTrue",
        json.dumps({"kind": "oak", "height": 15.5, "planted": "2001-02-11", "alive": True, "price": "$1007.00"}),
        "tree 1,oak,15.5,2001-02-11,True,$1007.00",
    ],
)
def test_rows_of_text_are_encoded_as_those_of_files(trees, text):
    answer = trees.encode(text.encode(), "text/plain")
    assert [cell.text for cell in answer.item.cells] == ["oak", "15.5", "2001-02-11", "True", "$1007.00"]


def test_missing_cells_of_pasted_rows_stay_missing(trees, plain):
    answer = trees.encode(b'{"kind": "elm"}', "text/plain")
    assert [cell.text for cell in answer.item.cells] == ["elm", "", "", "", ""] and answer.percentile is not None
    assert plain.encode(b"1,,3,4,5", "text/plain").item.cells[1].text == ""
    far = plain.encode(b"1e6,1e6,-1e6,1e6,-1e6", "text/plain")
    assert far.unlike and far.percentile == 0


@pytest.mark.parametrize(
    ("name", "body", "kind", "message"),
    [
        ("shown", b"", "image/png", "no picture that can be read"),
        ("shown", b"\x89PNG\r\n\x1a\n", "image/png", "no picture that can be read"),
        ("shown", b"1,2", "text/plain", "expected 64 values"),
        ("trees", b"\x89PNG", "image/png", "are no pictures"),
        ("trees", b"\xff\xfe", "text/plain", "UTF-8"),
        ("trees", b"  ", "text/plain", "one row"),
        ("trees", b"1,2", "text/plain", "expected 5 values separated by commas"),
        ("trees", b'{"kind": [1]}', "text/plain", "'kind': expected text, a number"),
        ("trees", b'{"hieght": 3}', "text/plain", "none of the columns: expected kind, height"),
        ("plain", b"{}", "text/plain", "none of the columns: expected x0, x1"),
        ("trees", b'{"kind": "pine"}', "text/plain", "pine"),
        ("trees", b'{"kind"', "text/plain", "expected a JSON object"),
        ("plain", b"1,2,3,4,x", "text/plain", "x4: expected a number, got 'x'"),
        ("plain", b"1,2,3,4,1e400", "text/plain", "finite"),
    ],
)
def test_what_is_no_row_is_refused(request, name, body, kind, message):
    with pytest.raises(DataError, match=message) as error:
        request.getfixturevalue(name).encode(body, kind)
    assert "\n" not in str(error.value)


def test_large_pictures_are_refused_before_they_are_decoded(shown):
    buffer = io.BytesIO()
    Image.new("L", (5000, 5000)).save(buffer, "png")
    with pytest.raises(DataError, match="more than 16,777,216 pixels"):
        shown.encode(buffer.getvalue(), "image/png")


def test_rows_beyond_a_million_are_sampled_evenly(monkeypatch, plain):
    monkeypatch.setattr("latentmap.explorer.rows.MOST_ROWS", 50)
    rows = ExploredRows.of(plain.estimator, plain.rows.values, np.arange(200), np.arange(200) + 1000)
    assert len(rows) == 50 and rows.total == 200 and rows.notes == ("50 of 200 rows are shown, evenly spaced",)
    assert rows.labels.tolist() == rows.numbers.tolist() == (rows.ids - 1000).tolist()
    np.testing.assert_array_equal(rows.values, plain.rows.values[rows.numbers])
    assert np.diff(rows.numbers).min() >= 3


def test_rows_of_other_lengths_are_refused(plain):
    with pytest.raises(DataError, match="y must hold one value for each of 200 rows"):
        ExploredRows.of(plain.estimator, plain.rows.values, [1, 2])
