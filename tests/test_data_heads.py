"""First lines of text tables, what separates their cells, and names: as pandas or a person would read them."""

import numpy as np
import pandas as pd
import pytest

from latentmap.data.sources import open_source
from latentmap.exceptions import DataError
from tables import read

rng = np.random.default_rng(0)


def columns_of(source):
    """All columns that came, as plain values by name."""
    if not source.cells:
        return dict(zip(source.names, np.asarray(source.read(slice(None))).T.tolist(), strict=True))
    return {one.name: one.plain() for one in source.cells}


CITIES = [("Paris", "France"), ("Rome", "Italy"), ("Bern", "Switzerland"), ("Oslo", "Norway")] * 5


def test_a_comment_of_names_above_rows_of_text_is_the_header(reader, tmp_path):
    text = "\n".join(["# city,country", *map(",".join, CITIES)])
    columns = columns_of(read(tmp_path / "x.csv", text))
    assert list(columns) == ["city", "country"] and list(zip(*columns.values(), strict=True)) == CITIES


@pytest.mark.parametrize(
    "comment", ["# exported in 2024, by hand", "# cities of the world that we know, countries", "# city,city"]
)
def test_a_comment_that_is_no_header_is_skipped(comment, reader, tmp_path):
    text = "\n".join([comment, "city,country", *map(",".join, CITIES)])
    assert list(columns_of(read(tmp_path / "x.csv", text))) == ["city", "country"]
    numbers = "\n".join(["# city, size", "a,b", *(f"{c[0]},{i}.5" for i, c in enumerate(CITIES))])
    assert list(columns_of(read(tmp_path / "y.csv", numbers))) == ["a", "b"]


@pytest.mark.parametrize("mark", ["#", "%"])
@pytest.mark.parametrize("rows", [2, 60])
def test_first_cells_with_a_mark_of_comments_are_cells(mark, rows, reader, tmp_path):
    colours = [f"{mark}{i:06x}" for i in range(rows)]
    text = "\n".join(f"{colour},{i}.5,{i}" for i, colour in enumerate(colours))
    columns = columns_of(read(tmp_path / "x.csv", text))
    assert list(columns.values())[0] == colours and list(columns.values())[1] == [i + 0.5 for i in range(rows)]
    mixed = columns_of(read(tmp_path / "y.csv", "\n".join([*text.split("\n")[:2], "red,7.5,3", "blue,8.5,4"])))
    assert list(mixed.values())[0] == [*colours[:2], "red", "blue"]
    with pytest.raises(DataError, match="no rows, only comments"):
        read(tmp_path / "z.csv", f"{mark} this, is\n{mark} a, comment\n")


@pytest.mark.parametrize("names", [[1, 2, 3], [0, 1, 2], [1, 2], [10, 20, 30], [2019, 2020]])
@pytest.mark.parametrize("end", [".csv", ".tsv", ".xlsx"])
def test_numbers_that_name_columns(names, end, reader, tmp_path):
    frame = pd.DataFrame(rng.normal(size=(40, len(names))).round(2), columns=names)
    path = tmp_path / f"x{end}"
    frame.to_excel(path, index=False) if end == ".xlsx" else frame.to_csv(
        path, index=False, sep="," if end == ".csv" else "\t"
    )
    source = open_source(path)
    assert source.names == tuple(map(str, names))
    np.testing.assert_array_equal(source.read(slice(None)), frame.to_numpy())


def test_counts_below_numbered_names(reader, tmp_path):
    counts = pd.DataFrame(rng.poisson(5, size=(40, 4)), columns=[1, 2, 3, 4])
    counts.to_csv(tmp_path / "x.csv", index=False)
    np.testing.assert_array_equal(open_source(tmp_path / "x.csv").read(slice(None)), counts.to_numpy())


@pytest.mark.parametrize("first", ["0.5,0.5,0.25", "1,2,3", "7,7,7"])
def test_a_first_line_of_numbers_is_a_row_and_said_to_be_one(first, reader, tmp_path):
    source = read(tmp_path / "x.csv", "\n".join([first, "4,5,6", "7,8,9", "4,4,4"]))
    assert len(source) == 4 and source.names is None
    assert "the first line holds numbers, no names: the columns are called 1, 2, ..." in source.remark


@pytest.mark.parametrize("end", [".csv", ".dat", ".txt"])
def test_blanks_and_tabs_together_separate_cells(end, reader, tmp_path):
    lines = [
        f"name{i}\t{i}   {2 * i}\t \t{i / 2}" if i % 3 else f"name{i}   \t{i}\t{2 * i}  {i / 2}" for i in range(30)
    ]
    columns = columns_of(read(tmp_path / f"x{end}", "\n".join(["who\tsize \tsubs  staff", *lines])))
    assert list(columns) == ["who", "size", "subs", "staff"] and columns["staff"] == [i / 2 for i in range(30)]
    even = ["name\tsize \tsubs staff", *(f"n{i}\t{i}\t{i + 1} {i / 2}" for i in range(30))]
    assert columns_of(read(tmp_path / f"y{end}", "\n".join(even)))["subs"] == [i + 1 for i in range(30)]
    towns = ["town\tsize", *(f"{'New York' if i % 2 else 'Los Angeles'}\t{i}" for i in range(30))]
    assert columns_of(read(tmp_path / f"z{end}", "\n".join(towns)))["town"][:2] == ["Los Angeles", "New York"]


def test_a_tsv_that_blanks_separate(reader, tmp_path):
    columns = columns_of(read(tmp_path / "x.tsv", "\n".join(["who  size", *(f"n{i}   {i}.5" for i in range(30))])))
    assert columns["size"] == [i + 0.5 for i in range(30)]


@pytest.mark.parametrize("blank", ["", "  "])
@pytest.mark.parametrize("row", [0, 3, 1500])
def test_backslashes_before_quotes(blank, row, reader, tmp_path):
    lines = [f'"{i}",{blank}"plain",{blank}0.5' for i in range(2000)]
    lines[row] = f'"{row}",{blank}"a \\"quoted\\" name, of one",{blank}{row}.5'
    columns = columns_of(read(tmp_path / "x.csv", "\n".join(["a,b,c", *lines])))
    assert [columns[name][row] for name in "abc"] == [row, 'a "quoted" name, of one', row + 0.5]
    paths = columns_of(read(tmp_path / "y.csv", "\n".join(["a,b", *(f'"C:\\dir{i % 2}\\",{i}' for i in range(40))])))
    assert paths["a"][:2] == ["C:\\dir0\\", "C:\\dir1\\"]


@pytest.mark.parametrize("cell", ['a \\"quoted\\" name, of one', 'all \\"quoted\\"', '\\"\\"', 'five feet \\"'])
def test_backslashes_before_quotes_beyond_the_first_lines(cell, reader, tmp_path):
    lines = [f'"{i}","plain","{"x" * 40} {i % 7}",0.5' for i in range(30_000)]
    lines[-2] = f'"{len(lines) - 2}","{cell}","y",1.5'
    assert len("\n".join(lines)) > 2**20
    columns = columns_of(read(tmp_path / "x.csv", "\n".join(["a,b,c,d", *lines])))
    assert columns["b"][-2:] == [cell.replace("\\", ""), "plain"] and columns["d"][-2] == 1.5
    paths = columns_of(read(tmp_path / "y.csv", "\n".join([*lines[:-2], '"1","C:\\dir\\","z",0.5', lines[-1]])))
    assert list(paths.values())[1][-2] == "C:\\dir\\"


def test_lines_longer_than_a_cell_may_be_are_split_where_they_are(tmp_path):
    rows = np.arange(60_000).reshape(3, 20_000) / 7
    path = tmp_path / "wide.csv"
    pd.DataFrame(rows, columns=[f"column{i}" for i in range(20_000)]).to_csv(path, index=False)
    assert len(path.read_text().splitlines()[0]) > 131_072
    assert np.array_equal(open_source(path).read(slice(None)), rows)


@pytest.mark.parametrize("way", [1, -1])
@pytest.mark.parametrize("end", [".csv", ".tsv", ".xlsx"])
def test_wavelengths_above_spectra_are_their_header(way, end, reader, tmp_path):
    axis = np.linspace(428, 471.5, 30).round(1)[::way]
    frame = pd.DataFrame(rng.normal(size=(12, 30)).round(4), columns=axis)
    path = tmp_path / f"x{end}"
    frame.to_excel(path, index=False) if end == ".xlsx" else frame.to_csv(
        path, index=False, sep="," if end == ".csv" else "\t"
    )
    columns = columns_of(open_source(path))
    assert [float(name) for name in columns] == axis.tolist()
    np.testing.assert_array_equal(np.array(list(columns.values())).T, frame.to_numpy())


def test_rows_that_all_rise_have_no_header(reader, tmp_path):
    rows = np.sort(rng.normal(size=(12, 30)).round(4), axis=1)
    text = "\n".join(",".join(map(str, row)) for row in rows)
    assert len(read(tmp_path / "x.csv", text)) == 12
    totals = np.cumsum(rng.poisson(0.8, size=(40, 20)), axis=1)
    totals[0] = np.arange(5, 25)
    assert len(read(tmp_path / "z.csv", "\n".join(",".join(map(str, row)) for row in totals))) == 40
    gaps = [[str(cell) for cell in row] for row in rows[:, :20]]
    for row in gaps[1:]:
        row[5] = "NaN"
    assert len(read(tmp_path / "w.csv", "\n".join(map(",".join, gaps)))) == 12
    several = np.vstack([rows[:1], rng.normal(size=(11, 30)).round(4)])  # one of many rises by chance below 16 columns
    assert len(read(tmp_path / "y.csv", "\n".join(",".join(map(str, row[:15])) for row in several))) == 12
