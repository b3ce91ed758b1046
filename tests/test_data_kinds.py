"""What columns of tables are, as a person would say; what is left out; and what comes back."""

import datetime
import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentmap import Columns
from latentmap.data.column_kinds import learn_column, learn_table
from latentmap.data.columns import Cells, Column, Requested, Table
from latentmap.data.decoding import frame_of
from latentmap.data.sources import open_source
from latentmap.data.template import template
from latentmap.data.text import cells_of_text
from latentmap.exceptions import DataError

rng = np.random.default_rng(0)
N = 240


def some(values, p=None):
    return rng.choice(np.array(values, dtype=object), N, p=p)


def holes(values, share=0.2):
    return pd.Series([None if gone else value for value, gone in zip(values, rng.random(N) < share, strict=True)])


GROUPS = [f"group {i}" for i in range(150)]
COLUMNS = {
    "PassengerId": (np.arange(N) + 892, "left out"),
    "user_id": (rng.permutation(10**6)[:N], "left out"),
    "number": (np.arange(1, N + 1), "left out"),
    "phone": (rng.integers(10**9, 10**10, N), "left out"),
    "key": (np.arange(N) + 2 * 10**17, "left out"),
    "store_id": (rng.integers(1, 9, N), "categorical"),
    "zip": (rng.choice([2139, 10001, 94105, 60601], N), "categorical"),
    "Name": ([f"Person {i}" for i in range(N)], "left out"),
    "name with blanks": (holes([f"Person {i}" for i in range(N)]), "left out"),
    "lyrics": ([f"one two three four five six {i // 2}" for i in range(N)], "left out"),
    "Ticket": ([f"A/5 {i}" if i % 3 else i for i in range(N)], "left out"),
    "unit": (["kg"] * N, "left out"),
    "unit or blank": (holes(["kg"] * N), "left out"),
    "company": (rng.choice(GROUPS, N * 10)[:N], "categorical"),
    "survived": (rng.integers(0, 2, N), "binary"),
    "member": (holes(some([True, False])), "binary"),
    "class": (rng.integers(1, 4, N), "ordinal"),
    "stars": (rng.integers(1, 6, N), "ordinal"),
    "level": (some(["low", "medium", "high"]), "ordinal"),
    "how often": (some(["never", "sometimes", "often", "always"]), "ordinal"),
    "opinion": (some(["strongly disagree", "disagree", "neutral", "agree", "strongly agree"]), "ordinal"),
    "shirt": (some(["S", "M", "L", "XL"]), "ordinal"),
    "grade": (some([*"ABCD"]), "ordinal"),
    "arm": (some([*"ABC"]), "categorical"),
    "port": (some([*"SCQ"]), "categorical"),
    "years": (some(["20-29", "30-39", "40-49", "50+"]), "ordinal"),
    "school": (some(["6th grade", "9th grade", "10th grade"]), "ordinal"),
    "education": (some(["1. < HS Grad", "2. HS Grad", "3. Some College"]), "ordinal"),
    "wind": (some(["calm", "light breeze", "fresh breeze", "gale"]), "ordinal"),
    "mnth": (some(["Jan", "Feb", "Mar", "Sep"]), "cyclic"),
    "wday": (some(["Montag", "Dienstag", "Sonntag"]), "ordinal"),
    "score of a match": (some(["1-2", "1-3", "3-2"]), "categorical"),
    "quarter": (pd.Series(pd.period_range("1961Q1", periods=N, freq="Q").astype(str)).str.replace("Q", " Q"), "date"),
    "month of a year": (pd.date_range("1991-07-01", periods=N, freq="MS").strftime("%Y %b"), "date"),
    "graduation": (np.clip(np.rint(rng.normal(65, 17, N)), 10, 118), "real"),
    "cowcode2": (rng.integers(2, 90, N), "categorical"),
    "Subject": (rng.integers(1, 40, N), "categorical"),
    "siblings": (rng.poisson(0.6, N), "count"),
    "visits": (rng.negative_binomial(2, 0.1, N), "count"),
    "price": (np.rint(rng.lognormal(8, 1, N)), "real"),
    "age": (rng.integers(18, 80, N), "real"),
    "year": (rng.integers(1990, 2020, N), "real"),
    "year of the series": (1700 + np.arange(N), "real"),
    "weight in objects": (pd.Series(rng.normal(70, 5, N), dtype=object), "real"),
    "hour": (rng.integers(0, 24, N), "cyclic"),
    "weekday": (rng.integers(0, 7, N), "cyclic"),
    "month": (rng.integers(1, 13, N), "cyclic"),
    "wind_direction": (rng.uniform(0, 360, N), "cyclic"),
    "lat": (rng.uniform(-60, 60, N), "real"),
    "longitude": (rng.uniform(-170, 170, N), "real"),
    "day": (pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, N), unit="D"), "date"),
    "wait": (pd.to_timedelta(rng.integers(0, 9000, N), unit="s"), "real"),
}
TABLE = pd.DataFrame({name: values for name, (values, _) in COLUMNS.items()})


@pytest.fixture(scope="module")
def table():
    return open_source(TABLE).table


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_is_what_a_person_would_say(table, name):
    found = {column.name: column.kind for column in table.columns}
    assert found.get(name, "left out") == COLUMNS[name][1], table.dropped.get(name)


def test_scales_have_their_order(table):
    orders = {c.name: c.categories for c in table.columns if c.kind == "ordinal"}
    assert orders["level"] == ("low", "medium", "high")
    assert orders["how often"] == ("never", "sometimes", "often", "always")
    assert orders["opinion"][0] == "strongly disagree" and orders["opinion"][-1] == "strongly agree"
    assert orders["shirt"] == ("S", "M", "L", "XL") and orders["grade"] == ("D", "C", "B", "A")
    assert orders["class"] == (1, 2, 3)
    assert orders["wday"] == ("Montag", "Dienstag", "Sonntag")
    assert next(c for c in table.columns if c.name == "mnth").categories == ("Jan", "Feb", "Mar", "Sep")
    assert orders["school"][-1] == "10th grade" and orders["years"][-1] == "50+"


@pytest.mark.parametrize(
    "texts", [["1970 Q1", "2021 Q4"], ["2021-Q1", "2021-Q3"], ["Q12011", "Q42012"], ["1991 Jul", "1992 Aug"]]
)
def test_quarters_and_months_of_years_are_dates_and_are_written_alike(texts):
    cells = cells_of_text("at", texts)
    assert cells.type == "Date" and cells.format.write(cells.values + 20).tolist() == texts


def test_scales_of_one_range_have_one_kind():
    marks = {f"m{i}": rng.integers(0, 10, N) for i in range(3)}
    thin = np.minimum(rng.geometric(0.4, N) - 1, 9)
    thin[:10] = np.arange(10)
    kinds = {
        c.name: c.kind for c in open_source(pd.DataFrame({"g": some([*"ab"]), **marks, "seldom": thin})).table.columns
    }
    assert {kinds[name] for name in (*marks, "seldom")} == {"ordinal"}
    assert open_source(pd.DataFrame({"g": some([*"ab"]), "seldom": thin})).table.kinds["seldom"].kind == "count"


def test_what_was_left_out_is_said(table):
    for name, why in {
        "PassengerId": "an id, as its name and 240 different whole numbers say",
        "number": "an id: 240 whole numbers in unbroken order",
        "key": "an id: whole numbers beyond 2^53",
        "Name": "240 different texts in 240 cells, rather names than categories",
        "lyrics": "free text: 120 different texts in 240 cells, of 7 words on average",
        "unit or blank": "it always holds 'kg'",
    }.items():
        assert table.dropped[name] == why


def test_ranks_are_no_ids():
    ranks = {f"rank{i}": np.random.default_rng(i).permutation(60) + 1 for i in range(2)}
    table = open_source(pd.DataFrame({"x": ["a", "b"] * 30, "n": np.arange(60)[::-1], **ranks})).table
    assert [column.name for column in table.columns] == ["x", "rank0", "rank1"]


def test_rare_categories_are_grouped_and_new_ones_join_them():
    values = [f"city {i}" for i in range(30)] * 8 + [f"village {i // 2}" for i in range(200)]
    table = open_source(pd.DataFrame({"place": values, "x": np.arange(440.0)})).table
    place = table.columns[0]
    assert place.kind == "categorical" and len(place.categories) == 100 and place.other == place.categories[-1]
    assert "column 'place': rare categories are grouped as 'other'" in table.remark
    new = Cells("place", np.array(["city 3", "never seen", None], dtype=object))
    encoded = place.encode(new, "error", "X")
    assert encoded[1] == 99 and np.isnan(encoded[2]) and place.decode(encoded[:2]).tolist() == ["city 3", "other"]


@pytest.mark.parametrize(
    "values", [[[1, 2], [3]] * 6, [1j] * 12, pd.period_range("2020", periods=12, freq="M"), np.arange(12) + 2**60]
)
def test_a_column_that_cannot_be_read_is_left_out_or_dropped_unread(values):
    frame = pd.DataFrame({"x": rng.normal(size=12), "odd": pd.Series(values)})
    assert open_source(frame).table.names == ["x"]
    assert open_source(frame, columns=Requested({"odd": {"kind": "drop"}})).table.dropped == {"odd": "as requested"}
    with pytest.raises(DataError, match="'odd'"):
        open_source(frame, columns=Requested({"odd": {"kind": "real"}}))


def test_a_frame_of_numbers_stays_an_array_unless_a_column_is_an_id():
    numbers = pd.DataFrame({"a": rng.normal(size=50), "b": rng.integers(0, 9, 50)})
    assert open_source(numbers).table is None
    assert open_source(numbers.assign(id=rng.permutation(10**6)[:50])).table.names == ["a", "b"]


def test_declared_bounds_and_periods():
    table = open_source(
        TABLE[["age", "lat", "siblings", "hour"]],
        columns=Requested({"age": {"lowest": 18, "highest": 120}, "hour": {"kind": "cyclic", "period": 48}}),
    ).table
    far = np.array([[500.0, 91.0, -3.0, 49.0], [-4.0, -400.0, 1e6, -1.0]])
    made = table.decode(far, generated=True)
    assert made["age"].tolist() == [120, 18] and made["lat"].tolist() == [90, -90]
    assert made["siblings"].tolist() == [0, TABLE["siblings"].max()] and made["hour"].tolist() == [1, 47]
    with pytest.raises(DataError, match="column 'age' holds 18 to 79, beyond the bounds 30.0 to None"):
        learn_column(Cells("age", np.arange(18.0, 80.0)), {"lowest": 30})
    with pytest.raises(DataError, match="column 'age': lowest must be a number or a date, got 'low'"):
        learn_column(Cells("age", np.arange(18.0, 80.0)), {"lowest": "low"})
    since = learn_column(Cells("day", np.arange(50.0), "Date"), {"highest": datetime.date(1970, 2, 20)})
    assert since.bounds == (None, 50.0) and since.within(np.array([900.0])) == 50
    with pytest.raises(DataError, match="to be cyclic, with no known period: give it"):
        learn_column(Cells("age", np.arange(18.0, 80.0)), {"kind": "cyclic"})


def dependent(n=N):
    port = rng.choice([*"SCQ"], n, p=[0.7, 0.2, 0.1])
    survived = rng.integers(0, 2, n)
    city = rng.choice(["Rome", "Milan", "Lyon", "Oslo"], n)
    return pd.DataFrame({
        "port": port, "town": [{"S": "Southampton", "C": "Cherbourg", "Q": "Queenstown"}[p] for p in port],
        "survived": survived, "alive": np.where(survived == 1, "yes", "no"),
        "country": pd.Series(city).map({"Rome": "Italy", "Milan": "Italy", "Lyon": "France", "Oslo": "Norway"}),
        "city": city, "free": rng.choice([*"abc"], n), "x": rng.normal(size=n), "unit": "kg",
    })  # fmt: skip


def test_columns_that_follow_from_others_are_found():
    table = open_source(dependent()).table
    assert {one.column.name: one.source for one in table.derived} == {
        "town": "port", "alive": "survived", "country": "city", "unit": None
    }  # fmt: skip
    assert table.names == ["port", "survived", "city", "free", "x"]
    assert [c.name for c in table.generated] == list(dependent().columns)
    assert Table.from_json(json.loads(json.dumps(table.to_json()))) == table
    asked = open_source(dependent(), columns=Requested({"town": {"kind": "categorical"}})).table
    assert "town" in asked.names and "port" not in asked.names  # what is asked for is part of the model


def test_chance_is_no_dependency():
    few = pd.DataFrame({"a": [*"abcabcabc"], "b": [*"xyzxyzxyz"], "rare": [*"nnnnnnnny"], "x": np.arange(9.0)})
    assert {one.column.name for one in open_source(few).table.derived} <= {"b"}
    many = pd.DataFrame(
        {"a": rng.integers(0, 60, 200).astype(str), "b": ["n"] * 199 + ["y"], "x": rng.normal(size=200)}
    )
    assert not open_source(many).table.derived


def test_a_column_that_is_mostly_missing_determines_no_other():
    other = np.where(rng.random(2000) < 0.07, "x", "y")
    beside = np.where(other == "x", rng.random(2000) < 0.8, rng.random(2000) < 0.05)
    cause = np.where(beside, np.where(other == "x", rng.choice(["p", "q"], 2000), rng.choice(["r", "s"], 2000)), None)
    frame = pd.DataFrame({"cause": cause, "other": other, "x": rng.normal(size=2000)})
    assert not open_source(frame).table.derived
    some = dependent().mask(rng.random(dependent().shape) < 0.2)  # as many are missing of each
    assert {one.column.name for one in open_source(some).table.derived} == {"town", "alive", "country", "unit"}


def test_all_levels_of_a_column_that_determines_another_are_kept():
    country = np.repeat([f"land {i:03d}" for i in range(142)], 8)
    place = np.repeat(np.arange(142), 8)
    frame = pd.DataFrame({
        "country": country, "continent": np.array([*"VWXYZ"])[place % 5], "iso": [f"I{i}" for i in place],
        "free": rng.choice([f"f{i}" for i in range(142)], len(country)), "x": rng.normal(size=len(country)),
    })  # fmt: skip
    table = open_source(frame).table
    assert {one.column.name: one.source for one in table.derived} == {"continent": "country", "iso": "country"}
    assert len(table.kinds["country"].categories) == 143 and len(table.kinds["free"].categories) == 100
    rows = open_source(frame, columns=table).read(slice(None))
    assert table.decode(rows)["iso"].tolist() == frame["iso"].tolist()


def test_what_follows_tells_of_what_it_follows_from():
    frame = dependent()
    table = open_source(frame).table
    new = frame.assign(port=None, city=None)
    rows = open_source(new, columns=table).read(slice(None))
    known = open_source(frame, columns=table).read(slice(None))
    np.testing.assert_array_equal(rows[:, 0], known[:, 0])
    one_city = frame["country"].isin(["France", "Norway"]).to_numpy()
    np.testing.assert_array_equal(rows[one_city, 2], known[one_city, 2])
    assert np.isnan(rows[~one_city, 2]).all()  # either of two cities


def test_the_template_reads_back_to_the_same_table(tmp_path):
    for frame in (TABLE, dependent()):
        table = open_source(frame).table
        (tmp_path / "spec.toml").write_text(template(table, "x"), encoding="utf-8")
        again = open_source(frame, columns=Columns.read(tmp_path / "spec.toml").requested).table
        assert again.columns == table.columns and again.derived == table.derived


# ---- the same table, read by other libraries


@pytest.mark.parametrize("reader", [pd.read_csv, pl.read_csv, lambda path: pd.read_csv(path, dtype_backend="pyarrow")])
def test_a_fit_from_a_file_takes_what_libraries_read_and_the_other_way_round(tmp_path, reader):
    path = tmp_path / "x.csv"
    member = pd.Series([True, None, False, True] * 10, dtype=object)
    frame = pd.DataFrame({
        "member": member, "count": [1, None, 3, 7] * 10, "code": ["a", None, "b", "c"] * 10,
        "x": rng.normal(size=40).round(3),
        "day": [datetime.date(2024, 1, 1 + i % 28) if i % 5 else None for i in range(40)],
        "stars": rng.integers(1, 4, 40), "truth": rng.random(40) < 0.5,
    })  # fmt: skip
    frame.to_csv(path, index=False)
    read = reader(path)
    of_file = open_source(path).table
    numbers = open_source(path, columns=of_file).read(slice(None))
    np.testing.assert_array_equal(open_source(read, columns=of_file).read(slice(None)), numbers)
    kinds = Requested({"day": {"kind": "drop"}})  # text to a library that does not read dates
    of_frame = open_source(read, columns=kinds).table
    kept = [of_file.names.index(name) for name in of_frame.names]
    for data in (path, read, frame):
        np.testing.assert_array_equal(open_source(data, columns=of_frame).read(slice(None)), numbers[:, kept])


CELLS = {
    "real": st.floats(-1e6, 1e6, width=32),
    "count": st.integers(0, 50),
    "binary": st.booleans(),
    "categorical": st.sampled_from(["elm", "oak", "ash", "007", "1.5", "True"]),
    "ordinal": st.sampled_from([1, 2, 3, 9]),
    "date": st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2100, 1, 1)),
    "cyclic": st.integers(0, 23),
}


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(CELLS)).flatmap(
        lambda kind: st.tuples(st.just(kind), st.lists(CELLS[kind], min_size=2, max_size=30))
    )
)
def test_cells_come_back(case):  # fmt: skip
    kind, values = case
    requested = (
        {"kind": kind}
        | ({"period": 24} if kind == "cyclic" else {})
        | ({"categories": [1, 2, 3, 9]} if kind == "ordinal" else {})
    )
    for library in (pd.DataFrame, pl.DataFrame):
        frame = library({"x": values, "rest": [0.5, *np.arange(1.0, len(values))]})
        source = open_source(frame, columns=Requested({"x": requested}))
        back = frame_of(source.table, source.read(slice(None)), frame)
        assert list(back["x"]) == list(frame["x"]) and type(back) is type(frame)
        filled = frame_of(source.table, source.read(slice(None)), frame, given=source.cells)
        assert list(filled["x"]) == list(frame["x"])


def test_every_column_that_came_comes_back_with_index_and_names():
    frame = dependent().assign(id=np.arange(N) + 7, name=[f"n {i}" for i in range(N)], odd=[[i] for i in range(N)])
    frame = frame[["id", "town", "port", "odd", "x", "unit", "name", "city", "country", "survived", "alive", "free"]]
    frame.loc[3:5, ["port", "town"]] = None
    frame.loc[7, "x"] = np.nan
    frame.loc[8, "unit"] = None
    frame.loc[9, "country"] = None
    for index in (pd.RangeIndex(5, 5 + N), pd.MultiIndex.from_product([["a", "b"], range(N // 2)], names=["u", "v"])):
        whole = frame.set_axis(index)
        source = open_source(whole)
        rows = np.nan_to_num(source.read(slice(None)), nan=1.0)
        filled = frame_of(source.table, rows, whole, given=source.cells)
        assert filled.index.equals(whole.index) and filled.columns.equals(whole.columns)
        assert not filled.isna().to_numpy().any()
        there = whole.notna()
        for name in whole:
            assert (filled[name][there[name]] == whole[name][there[name]]).all()
        assert filled["unit"].tolist() == ["kg"] * N
    nested = pd.MultiIndex.from_tuples([("a", "x"), ("a", "kind"), ("b", "x")], names=["top", "below"])
    deep = pd.DataFrame([[1.0, "u", 2.0], [np.nan, "v", 3.5], [4.0, None, 6.0]], columns=nested)
    source = open_source(deep)
    filled = frame_of(source.table, np.nan_to_num(source.read(slice(None))), deep, given=source.cells)
    assert filled.columns.equals(nested) and filled.columns.names == ["top", "below"]


def test_tables_of_earlier_runs_have_neither_bounds_nor_derived_columns():
    value = Table((Column("x", "count", highest=3.0),)).to_json()
    for column in value["columns"]:
        for key in ("bounds", "period", "other", "decimals"):
            del column[key]
    earlier = Table.from_json({key: value[key] for key in ("columns", "unseen", "backend", "dropped")})
    assert earlier.decode(np.array([[9.0]]), generated=True)["x"].tolist() == [9.0]
    assert [column.name for column in earlier.generated] == ["x"] and not earlier.derived


def test_a_table_without_a_column_says_why():
    with pytest.raises(DataError, match=r"X has no column to learn from: 'id': an id, .*; 'note': it holds nothing"):
        learn_table([Cells("id", np.arange(30.0), "Int64"), Cells("note", np.full(30, np.nan))])


def test_constants_stay_where_nothing_else_is_left():
    unit = Cells("unit", np.array(["kg"] * 30, dtype=object))
    table = learn_table([Cells("id", np.arange(30.0), "Int64"), unit])
    assert table.names == ["unit"] and list(table.dropped) == ["id"] and not table.derived
    varied = learn_table([unit, Cells("x", np.arange(30.0) / 7)])  # the control
    assert varied.names == ["x"] and [one.column.name for one in varied.derived] == ["unit"]
