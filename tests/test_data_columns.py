"""Tables of mixed columns: kinds, numbers, and the way back, whatever holds them."""

import contextlib
import json
import sqlite3

import numpy as np
import pandas as pd
import polars as pl
import pytest

from latentmap.cli.describe import column_in_words
from latentmap.data.column_kinds import learn_column, learn_table
from latentmap.data.columns import Cells, Requested, Table
from latentmap.data.decoding import frame_of
from latentmap.data.sources import open_source
from latentmap.data.text import cells_of_text
from latentmap.exceptions import DataError
from tables import read

DAYS = pd.Timestamp("2024-02-28") + pd.to_timedelta([0, 1, 2, 400], unit="D")
FRAME = pd.DataFrame({
    "height": [1.5, 2.25, np.nan, 3.0],
    "age": np.array([30, 2, 71, 14], dtype=np.int16),
    "city": ["Rome", None, "Lima", "Oslo"],
    "size": pd.Categorical(["S", "L", "M", "S"], categories=["S", "M", "L", "XL"], ordered=True),
    "member": [True, False, True, True],
    "since": DAYS,
    "single": np.array([0.5, 1.5, 2.5, -1.0], dtype=np.float32),
})  # fmt: skip
KINDS = ["real", "real", "categorical", "ordinal", "binary", "date", "real"]


def learned(values, **asked):
    values = np.asarray(values, dtype=float if np.asarray(values).dtype.kind in "iufb" else object)
    return learn_column(Cells("x", values), asked)


def test_kinds_are_told_by_types_and_values():
    table = open_source(FRAME).table
    assert [column.kind for column in table.columns] == KINDS
    assert table.columns[3].categories == ("S", "M", "L", "XL")
    rng = np.random.default_rng(0)
    assert learned(rng.poisson(4, 500)).kind == "count"
    assert learned(1990 + rng.integers(0, 30, 500)).kind == "real"  # years vary less than counts of their size
    assert learned(rng.integers(1, 6, 500)).kind == "ordinal"  # marks from 1 to 5 too
    assert learned(-rng.poisson(4, 500)).kind == "real"
    assert learned([0, 1, 1, 0]).kind == "binary"
    assert learned(rng.lognormal(5, 1.5, 500)).scaling == "log"
    assert learned(rng.normal(5, 1.5, 500)).scaling == "standard"


def test_generated_cells_look_like_the_column():
    assert not np.signbit(learned([-0.5, 0.2, 0.7, 1.4, 3.1]).within(np.array([-0.01, -0.0]))).any()
    for texts in (
        ["2020-09-12 00:00:00", "2020-10-03 00:00:00", "2021-01-05 00:00:00"],
        ["2 Jun 2020 08:10:57 +0000", "12 Jul 2020 18:10:57 +0000", "13 Jul 2020 09:00:00 +0000"],
    ):
        cells = cells_of_text("at", texts)
        column = learn_column(cells)
        assert column.write(cells.values).tolist() == texts
        if column.integral:
            assert column.write(cells.values + 0.3).tolist() == texts


def test_ranges_keep_their_exponents():
    assert column_in_words(learned([3e-8, 0.35, -1.356e50])) == "real, -1.356e+50 to 0.35"


def test_whole_numbers_with_blanks_stay_whole(tmp_path):
    frame = pd.DataFrame({"n": pd.array([157, None, 12, 99, 1200], "Int64"), "g": [*"abaab"]})
    frame.to_json(tmp_path / "x.json", orient="records")
    frame.to_json(tmp_path / "x.jsonl", orient="records", lines=True)
    with contextlib.closing(sqlite3.connect(tmp_path / "x.sqlite")) as base:
        frame.to_sql("x", base, index=False)
    for name in ("x.json", "x.jsonl", "x.sqlite"):
        source = open_source(tmp_path / name)
        assert source.table.completed(np.full((5, 2), 40.0), source.cells)["n"].tolist() == [157, 40, 12, 99, 1200]
        assert source.table.kinds["n"].decode(np.array([40.2])).dtype == np.int64


def test_constants_are_shown_as_the_data_have_them():
    for text in ("2026-10-18", "12:30:00", "$5.00", "3"):
        table = learn_table([cells_of_text("upd", [text] * 9), Cells("x", np.arange(9.0) ** 2)])
        assert table.dropped["upd"] == f"it always holds {text}"


def test_floats_of_pandas_stay_floats_where_categories_are_filled():
    rows = Cells("mark", np.array([1.0, 2.0, 2.0, 3.0, 1.0] * 10), "Int64")
    table = learn_table([rows, Cells("x", np.arange(50.0) / 7)], Requested({"mark": {"kind": "ordinal"}}))
    frame = pd.DataFrame({"mark": [1.0, np.nan] * 25, "x": np.arange(50.0) / 7})
    source = open_source(frame, columns=table)
    filled = frame_of(table, np.nan_to_num(source.read(slice(None))), frame, given=source.cells)
    assert filled["mark"].dtype == np.float64 and filled["mark"].notna().all()


@pytest.mark.parametrize("unit", [1.0, 1e-10, 1e12])
def test_amounts_stay_positive_on_a_logarithmic_scale_in_any_unit(unit):
    rng = np.random.default_rng(0)
    paid = rng.lognormal(0, 2, 300)
    column = learned(paid * unit)
    assert column.scaling == "log" and column.unit == paid.min() * unit
    assert column.deviation == pytest.approx(learned(paid).deviation)
    assert column.within(np.array([-unit, 0.0])).min() == paid.min() * unit
    assert learned(np.where(rng.random(300) < 0.3, 0.0, paid) * unit).bounds[0] == 0.0
    assert learned(rng.normal(100, 5, 300) * unit).bounds[0] == 0.0  # as far from 0 as it needs no bound


@pytest.mark.parametrize("convert", [lambda f: f, pl.from_pandas, lambda f: pl.from_pandas(f).to_arrow()])
def test_every_library_gives_the_same_numbers_and_gets_its_own_back(convert):
    frame = convert(FRAME)
    source = open_source(frame)
    kinds = [kind if kind != "ordinal" else column.kind for kind, column in zip(KINDS, source.table.columns)]
    assert [column.kind for column in source.table.columns] == kinds  # only pandas knows of an order
    numbers = open_source(FRAME).read(slice(None))
    others = [0, 1, 2, 4, 5, 6]
    np.testing.assert_array_equal(source.read(slice(None))[:, others], numbers[:, others])
    whole = np.where(np.isnan(numbers), 0, source.read(slice(None)))
    back = frame_of(source.table, whole)
    assert type(back) is type(frame)
    np.testing.assert_array_equal(open_source(back, columns=source.table).read(slice(None)), whole)


def test_pandas_gets_its_types_and_categories_back():
    source = open_source(FRAME)
    back = frame_of(source.table, np.nan_to_num(source.read(slice(None))), FRAME.set_axis(list("wxyz")))
    pd.testing.assert_series_equal(back.dtypes, FRAME.dtypes)
    assert back["size"].cat.ordered and back["size"].cat.categories.tolist() == ["S", "M", "L", "XL"]
    assert back.index.tolist() == list("wxyz")
    zoned = pd.DataFrame({"at": DAYS.tz_localize("Europe/Rome"), "n": [1, 2, 3, 4]})
    source = open_source(zoned)
    pd.testing.assert_frame_equal(frame_of(source.table, source.read(slice(None))), zoned)


def test_files_give_what_frames_give(tmp_path):
    FRAME.to_csv(tmp_path / "x.csv", index=False)
    FRAME.to_parquet(tmp_path / "x.parquet")
    FRAME.to_feather(tmp_path / "x.feather")
    numbers = open_source(FRAME).read(slice(None))
    for name in ("x.csv", "x.parquet", "x.feather"):
        source = open_source(tmp_path / name)
        kinds = ["categorical" if kind == "ordinal" else kind for kind in KINDS]  # text has no order
        found = [column.kind for column in source.table.columns]
        assert found in (kinds, KINDS), name
        np.testing.assert_array_equal(open_source(tmp_path / name, columns=open_source(FRAME).table).read(slice(None)),
                                      numbers)  # fmt: skip


def test_a_table_is_plain_json():
    table = open_source(FRAME).table
    assert Table.from_json(json.loads(json.dumps(table.to_json()))) == table


def test_numbers_alone_stay_an_array_unless_more_is_asked():
    numbers = FRAME[["height", "age", "member"]]
    assert open_source(numbers).table is None
    table = open_source(numbers, columns=Requested({"age": {"kind": "categorical"}})).table
    assert table.columns[1].categories == (2, 14, 30, 71)
    back = frame_of(table, np.array([[1.0, 3.0, 0.0]]))
    assert back["age"].tolist() == [71] and back["age"].dtype == np.int16 and back["member"].tolist() == [False]


def test_what_was_asked_for_is_done():
    asked = {"size": {"kind": "categorical"}, "age": {"kind": "drop"}, "city": {"categories": ["Oslo", "Rome", "Lima"]}}
    table = open_source(FRAME, columns=Requested(asked)).table
    assert table.names == ["height", "city", "size", "member", "since", "single"]
    assert table.columns[1].categories == ("Oslo", "Rome", "Lima") and table.columns[2].kind == "categorical"
    assert "column 'age' left out: as requested" in table.remark


def test_names_of_rows_are_left_out_and_that_is_said():
    frame = pd.DataFrame({"x": np.arange(200.0), "name": [f"row {i}" for i in range(200)], "nothing": [None] * 200})
    source = open_source(frame)
    assert source.table.names == ["x"]
    assert "column 'name' left out: 200 different texts in 200 cells" in source.remark
    assert "column 'nothing' left out: it holds nothing" in source.remark


def test_a_category_that_the_fit_did_not_see():
    table = open_source(FRAME).table
    new = FRAME.assign(city=["Rome", "Bonn", "Lima", "Lima"])
    with pytest.raises(DataError, match=r"X: row 2, column 'city': 'Bonn' is not among the categories"):
        open_source(new, columns=table)
    tolerant = open_source(FRAME, columns=Requested(unseen="missing")).table
    assert np.isnan(open_source(new, columns=tolerant).read(slice(None))[:, 2]).tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("frame", "asked", "message"),
    [
        (FRAME.drop(columns="age"), None, "X lacks column 'age', which the data of the fit had"),
        (FRAME.assign(height="tall"), None, r"column 'height' holds text \('tall'\), expected numbers as in the fit"),
        (FRAME, {"ages": {"kind": "count"}}, "X has no column 'ages': did you mean 'age'"),
        (FRAME, {"age": {"kind": "counts"}}, "column 'age': no kind is called 'counts': did you mean 'count'"),
        (FRAME, {"age": {"kinds": "count"}}, "column 'age' has no setting 'kinds': did you mean 'kind'"),
        (FRAME, {"height": {"kind": "count"}}, "column 'height' is to hold counts, whole numbers >= 0, but holds 1.5"),
        (FRAME, {"city": {"kind": "real"}}, r"column 'city' holds text \('Rome'\), and is to be real"),
        (FRAME, {"city": {"kind": "binary"}}, "column 'city' is to be binary, but holds 3 different values"),
        (FRAME, {"age": {"kind": "binary"}}, "column 'age' is to be binary, but holds numbers from 2 to 71"),
        (FRAME, {"single": {"scaling": "log1p"}}, "column 'single' holds -1, of which log1p has no value"),
        (FRAME, {"single": {"scaling": "log1"}}, "column 'single': no scaling is called 'log1': did you mean 'log1p'"),
    ],
)
def test_refusals_name_the_column(frame, asked, message):
    with pytest.raises(DataError, match=message):
        open_source(frame, columns=Requested(asked) if asked else open_source(FRAME).table)


def test_text_files_with_dates_and_truth(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("day,at,ok,n\n2024-02-29,2024-02-29T12:00,true,1\n,2024-03-01 06:30:00,False,NA\n")
    table = open_source(path).table
    assert [column.kind for column in table.columns] == ["date", "date", "binary", "binary"]
    values = open_source(path).read(slice(None))
    assert values[0, 1] - values[0, 0] == 0.5 and np.isnan(values[1, [0, 3]]).all()
    assert str(table.decode(values[:1])["day"][0]) == "2024-02-29"


def test_cells_stay_as_they_came_where_numbers_are_categories(tmp_path, reader):
    """Rows lie in the memory of the cells of a file, and the places of categories are no such cells."""
    years = [2007, 2008, 2009] * 20
    text = "year,mass\n" + "".join(f"{year},{i / 8}\n" for i, year in enumerate(years))
    source = read(tmp_path / "x.csv", text, columns=Requested({"year": {"kind": "ordinal"}}))
    assert source.read(slice(0, 3))[:, 0].tolist() == [0, 1, 2]
    assert source.cells[0].values.tolist() == years and source.cells[1].values.tolist() == [i / 8 for i in range(60)]
