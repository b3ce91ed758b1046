"""Tables at the edges of what files and frames say: short rows, several headers, blanks, ids of many digits."""

import numpy as np
import pandas as pd
import pytest

from latentmap.data.categories import word
from latentmap.data.sources import open_source
from latentmap.exceptions import DataError
from tables import read

rng = np.random.default_rng(0)
ROWS = rng.normal(size=(30, 4)).round(2)
LINES = [",".join(map(str, row)) for row in ROWS.tolist()]


def rows_of(source):
    return np.asarray(source.read(slice(None)))


@pytest.mark.parametrize("block", [False, True])
def test_short_rows_end_in_missing_cells(block, reader, tmp_path, monkeypatch):
    if block:
        monkeypatch.setattr("latentmap.data.formats.delimited.LARGE", 0)
    short = [line.rsplit(",", 2)[0] if i in (4, 9) else line for i, line in enumerate(LINES)]
    source = read(tmp_path / "x.csv", "\n".join(["a,b,c,d", *short]))
    twin = pd.read_csv(tmp_path / "x.csv")
    np.testing.assert_array_equal(rows_of(source), twin.to_numpy())
    assert source.name == str(tmp_path / "x.csv")
    assert "2 of 30 rows have fewer than 4 cells, the others of which are missing (rows 5, 10)" in source.remark


def test_rows_that_are_too_long_are_refused(reader, tmp_path):
    with pytest.raises(DataError, match=r"row 3 \(line 4\) has 5 cells, expected 4 as in the first line; 2 of 30 rows"):
        read(tmp_path / "x.csv", "\n".join(["a,b,c,d", *(x + ",1" if i in (2, 5) else x for i, x in enumerate(LINES))]))
    source = read(tmp_path / "r.csv", "\n".join(["a,b,c", *LINES]))  # as R writes row names
    np.testing.assert_array_equal(rows_of(source), ROWS[:, 1:])


@pytest.mark.parametrize("mark", ['"{}"', "{}", '"$ {}"'])
def test_one_column_of_thousands(mark, reader, tmp_path):
    cells = [mark.format(f"{1000 + 37 * i:,}") for i in range(30)]
    source = read(tmp_path / "x.csv", "\n".join(["income", *cells]))
    assert source.names == ("income",) and rows_of(source)[:, 0].tolist() == [1000 + 37 * i for i in range(30)]


def test_one_column_of_quoted_names(reader, tmp_path):
    source = read(tmp_path / "x.csv", "\n".join(["name", *['"Smith, J"', '"Doe, A"'] * 20]))
    assert source.table.columns[0].categories == ("Doe, A", "Smith, J")


@pytest.mark.parametrize("end", [".csv", ".xlsx"])
@pytest.mark.parametrize("names", [None, "tree"])
@pytest.mark.parametrize("levels", [[["x", "y"], ["m", "s"]], [["x", "y"], ["m", "s"], ["q"]]])
def test_headers_of_several_rows(levels, names, end, tmp_path):
    frame = pd.DataFrame(ROWS, columns=pd.MultiIndex.from_product(levels)).rename_axis(names)
    path = tmp_path / f"x{end}"
    frame.to_csv(path) if end == ".csv" else frame.to_excel(path)
    source = open_source(path)
    assert source.names == tuple("_".join(column) for column in frame.columns)
    np.testing.assert_allclose(rows_of(source), ROWS)


def test_headers_above_two_columns_of_groups(tmp_path):
    frame = pd.DataFrame(
        {"g": list("abc") * 20, "h": list("xy") * 30, "v": rng.normal(size=60), "w": rng.normal(size=60)}
    )
    grouped = frame.groupby(["g", "h"]).agg(["mean", "std"])
    grouped.to_csv(tmp_path / "x.csv")
    source = open_source(tmp_path / "x.csv")
    assert source.names == ("g", "h", "v_mean", "v_std", "w_mean", "w_std") and len(source) == 6


@pytest.mark.parametrize("second", [["cm", "kg", "-"], ["height", "mass", "kind"]])
def test_a_second_header_of_a_sheet(second, tmp_path):
    rows = [second, *([1.5 + i, 2.5 * i, "ab"[i % 2]] for i in range(30))]
    pd.DataFrame(rows, columns=["height", "mass", "kind"]).to_excel(tmp_path / "x.xlsx", index=False)
    source = open_source(tmp_path / "x.xlsx")
    assert [one.split("_")[0] for one in source.names] == ["height", "mass", "kind"]
    assert len(source) == 30 and rows_of(source)[1].tolist() == [2.5, 2.5, 1.0]


@pytest.mark.parametrize("comma", [", ", ","])
@pytest.mark.parametrize("cells", [['"x, 1"', '"x, 2"'], ["x", '"x, y"'], ['"x"', '"y"']])
def test_quotes_after_a_blank(cells, comma, reader, tmp_path):
    lines = [f"{i}.5{comma} {cells[i % 2]}{comma}{i % 3}" for i in range(40)]
    source = read(tmp_path / "x.csv", "\n".join([f"a{comma}b{comma}c", *lines]))
    twin = pd.read_csv(tmp_path / "x.csv", skipinitialspace=True)
    assert source.names == ("a", "b", "c") and source.table.columns[1].categories == tuple(sorted(set(twin["b"])))
    assert rows_of(source)[:, 0].tolist() == twin["a"].tolist() and rows_of(source)[5].tolist() == [5.5, 1.0, 2.0]


@pytest.mark.parametrize(
    ("head", "form", "names"),
    [
        ("height cm  body mass  age", "{:<11}{:<11}{:<3}", ("height cm", "body mass", "age")),
        ("  height cm   body mass  age", "{:>11}{:>12}{:>5}", ("height cm", "body mass", "age")),
        ("height     mass       age", "{:<11}{:<11}{:<3}", ("height", "mass", "age")),
    ],
)
def test_columns_of_fixed_width_with_names_of_two_words(head, form, names, tmp_path):
    lines = [head, *(form.format(150.5 + i, 40 + 1.5 * i, 20 + i).rstrip() for i in range(30))]
    source = read(tmp_path / "x.txt", "\n".join(lines))
    assert source.names == names and rows_of(source)[1].tolist() == [151.5, 41.5, 21.0]


@pytest.mark.parametrize(
    "name", ["PID", "pid", "UID", "SSN", "sku", "isbn", "mrn", "VIN", "userId", "order_no", "uuid", "customer number"]
)
def test_columns_called_as_ids_are(name):
    numbers = rng.permutation(2000)[:60] * 7 + 1000
    for values in (numbers, [f"k{number}" for number in numbers]):
        table = open_source(pd.DataFrame({name: values, "kind": list("ab") * 30})).table
        assert table.dropped[name].startswith("an id, as its name and 60 different")
    few = open_source(pd.DataFrame({name: numbers % 3, "kind": list("ab") * 30})).table
    assert name in few.names


def test_numbers_with_letters_make_codes(tmp_path):
    houses = [f"{1 + i % 30}{'a' if i % 20 == 7 else ''}" for i in range(200)]
    frame = pd.DataFrame({"house": houses, "x": rng.normal(size=200)})
    table = open_source(frame).table
    assert table.columns[0].kind == "categorical" and "8a" in table.columns[0].categories
    frame["house"] = ["8a" if i == 0 else str(1 + i % 30) for i in range(200)]  # one in two hundred: a slip
    source = open_source(frame)
    assert source.table.columns[0].kind != "categorical" and "('8a') is taken as missing" in source.remark


def test_keys_of_many_digits_are_told_apart():
    assert word(2**60 + 1) == word(str(2**60 + 1)) != word(str(2**60 + 2))
    few = pd.DataFrame({"key": 2**60 + rng.integers(0, 3, 60), "x": rng.normal(size=60)})
    table = open_source(few).table
    assert table.names == ["key", "x"]
    np.testing.assert_array_equal(
        open_source(few.astype({"key": str}), columns=table).read(slice(None)), open_source(few).read(slice(None))
    )
    many = few.assign(key=2**60 + rng.integers(0, 12, 60))
    assert open_source(many).table.dropped == {"key": "an id: whole numbers beyond 2^53"}
