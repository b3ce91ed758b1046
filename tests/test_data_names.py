"""Names of columns as files, pandas and polars spell them, in a fit and in new data."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from latentmap.data.columns import Requested
from latentmap.data.decoding import frame_of
from latentmap.data.selection import Selection
from latentmap.data.sources import open_source
from latentmap.estimators.rows import as_given

rng = np.random.default_rng(0)
HEADS = ["a, b, k", "# of rooms,price,k", "#id of,price,k", "% change,price,k", "a,,k", " a ,b\t,k"]
ROWS = [f"{a:.2f},{b:.2f},{'uv'[i % 2]}" for i, (a, b) in enumerate(rng.normal(size=(40, 2)))]
WAYS = ["csv", "pandas", "polars", "parquet", "json"]


def data_as(way, path, text):
    """The same table as a file, or as libraries read it."""
    file = path / "x.csv"
    file.write_text(text)
    if way == "csv":
        return file
    if way == "polars":
        return pl.read_csv(file)
    frame = pd.read_csv(file)
    if way == "parquet":
        frame.to_parquet(path / "x.parquet")
    elif way == "json":
        frame.to_json(path / "x.json", orient="records")
    return frame if way == "pandas" else path / f"x.{way}"


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("fitted", WAYS)
@pytest.mark.parametrize("new", WAYS)
def test_names_agree_between_files_and_frames(head, fitted, new, tmp_path):
    text = "\n".join([head, *ROWS])
    table = open_source(data_as(fitted, tmp_path, text)).table
    given = data_as(new, tmp_path, text)
    source = open_source(given, columns=table)
    assert source.names == tuple(table.names) and len(source) == 40 and source.ignored == ()
    np.testing.assert_allclose(source.read(slice(None))[:, 1], [float(row.split(",")[1]) for row in ROWS])
    if not isinstance(given, (pd.DataFrame, pl.DataFrame)):
        return
    back = frame_of(table, source.read(slice(None)), given, given=source.cells)
    assert list(back.columns) == list(given.columns)


@pytest.mark.parametrize("first", ["", "Unnamed: 0"])
@pytest.mark.parametrize("fitted", ["pandas", "polars"])
@pytest.mark.parametrize("new", ["csv", "pandas", "polars"])
def test_row_names_that_repeat_are_a_column_where_the_fit_had_them(first, fitted, new, tmp_path):
    text = "\n".join([f"{first},b,c", *(f"g{i % 3},{i}.5,{i % 7}.25" for i in range(60))])
    table = open_source(data_as(fitted, tmp_path, text)).table
    source = open_source(data_as(new, tmp_path, text), columns=table)
    np.testing.assert_array_equal(source.read(slice(None))[:3, 0], [0, 1, 2])
    assert len(open_source(tmp_path / "x.csv").names) == 2


@pytest.mark.parametrize("way", WAYS)
def test_settings_labels_and_ids_are_found_by_either_spelling(way, tmp_path):
    text = "\n".join(["#id, b, k", *ROWS])
    for named in (("id", "b", "k"), ("#id", " b", " k")):
        columns = Requested({named[1]: {"kind": "drop"}})
        source = open_source(data_as(way, tmp_path, text), labels=named[2], columns=columns)
        assert source.label_name == named[2] and source.table.names[0] in ("id", "#id")
        beside = open_source(data_as(way, tmp_path, text), selection=Selection(named[:1], named[:1]))
        assert list(beside.beside) == [named[0]] and "id" not in [name.strip("#") for name in beside.names]


def test_names_that_leave_a_choice_are_taken_as_they_are(tmp_path):
    table = open_source(pd.DataFrame({"a": [0.5] * 3 + [1.5], "#a": [1.0, 2, 3, 4], "k": list("uvuv")})).table
    both = open_source(pd.DataFrame({"#a": [1.0], "k": ["u"], "a": [0.5], " a": [7.0]}), columns=table)
    assert both.read(slice(None)).tolist() == [[0.5, 1.0, 0.0]] and both.ignored == (" a",)
    with pytest.raises(Exception, match="lacks column 'a'"):
        open_source(pd.DataFrame({"#a": [1.0], "k": ["u"], " a": [0.5], "a ": [7.0]}), columns=table)


def test_filled_frames_of_numbers_keep_their_own_names():
    for frame in (
        pd.DataFrame({" a": [1.0, np.nan], "b": [3.0, 4.0]}),
        pl.DataFrame({" a": [1.0, None], "b": [3.0, 4.0]}),
    ):
        back = as_given(frame, np.array([[1.0, 3.0], [2.0, 4.0]]), ["a", "b"])
        assert list(back.columns) == [" a", "b"] and back[" a"].to_list() == [1.0, 2.0]
