"""Settings of columns: read alike from files and frames, written as they were given, and refused where they err."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from latentmap import Columns
from latentmap.cli import main
from latentmap.data.sources import open_source
from latentmap.data.template import template
from latentmap.exceptions import DataError, PartError

N = 40
rng = np.random.default_rng(0)
BASE = pd.DataFrame({"x": rng.normal(size=N), "c": rng.choice(["a", "b"], N)})
READERS = {"csv": lambda path: path, "pandas": pd.read_csv, "polars": pl.read_csv}


def written(path, **columns):
    BASE.assign(**columns).to_csv(path, index=False)
    return path


def rows_of(data, spec, column=2):
    return np.asarray(open_source(data, columns=getattr(spec, "requested", spec)).read(slice(None)))[:, column]


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("pattern", ["%Y%m%d", "%Y"])
def test_dates_written_as_whole_numbers(read, pattern, tmp_path):
    days = pd.date_range("2001-05-05", periods=N, freq="300D")
    path = written(tmp_path / "x.csv", d=days.strftime(pattern))
    spec = Columns({"d": {"kind": "date", "format": pattern}})
    expected = (pd.to_datetime(days.strftime(pattern), format=pattern) - pd.Timestamp(0)).days
    assert rows_of(read(path), spec).tolist() == expected.tolist()
    table = open_source(path, columns=spec.requested).table
    assert rows_of(read(path), table).tolist() == expected.tolist()


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_whole_numbers_are_no_dates_without_a_format(read, tmp_path):
    with pytest.raises(DataError, match="'d'"):
        open_source(
            read(written(tmp_path / "x.csv", d=rng.permutation(N) + 1990)), columns=Columns({"d": "date"}).requested
        )


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    ("cells", "mark"), [([-99.0, 1.5], "-99"), ([-99, 2], "-99.0"), (["none seen", "oak"], "none seen")]
)
def test_marks_of_missing_cells(read, cells, mark, tmp_path):
    path = written(tmp_path / "x.csv", k=[*cells] * (N // 2))
    assert np.isnan(rows_of(read(path), Columns({"k": "categorical"}, missing=(mark,)))[::2]).all()


@pytest.mark.parametrize("of", [lambda f: f.astype({"w": "category"}), lambda f: pl.from_pandas(f).with_columns(
    pl.col("w").cast(pl.Categorical))])  # fmt: skip
def test_categories_of_frames_are_read_as_text_of_files(of, tmp_path):
    cells = rng.choice(["oak ", " elm", "NA", "gone"], N)
    path = written(tmp_path / "x.csv", w=cells)
    spec, frame = Columns(missing=("gone",)), of(BASE.assign(w=cells))
    tables = [open_source(data, columns=spec.requested).table for data in (path, frame)]
    assert [table.columns[2].categories for table in tables] == [(" elm", "oak ")] * 2
    rows = [rows_of(data, table).tolist() for data in (path, frame) for table in tables]
    np.testing.assert_array_equal(rows, [rows[0]] * 4)


def test_words_of_truth_for_zero_and_one(tmp_path):
    numbers = rng.integers(0, 2, N)
    table = open_source(written(tmp_path / "a.csv", k=numbers), columns=Columns().requested).table
    path = written(tmp_path / "b.csv", k=numbers == 1)
    for read in READERS.values():
        assert rows_of(read(path), table).tolist() == numbers.tolist()
    assert rows_of(pd.read_csv(path, dtype={"k": str}), table).tolist() == numbers.tolist()


def test_a_template_keeps_marks_and_formats(tmp_path):
    days = pd.Series(pd.date_range("2024-01-01", periods=N)).dt.strftime("%d/%m/%Y")
    path = written(
        tmp_path / "x.csv", k=np.where(np.arange(N) % 4, rng.exponential(9, N), -99.0), d=days.where(BASE.x < 9)
    )
    new = written(tmp_path / "y.csv", k=1.0, d="05/06/2024")
    spec = Columns({"d": {"kind": "date", "format": "%d/%m/%Y"}}, missing=("-99.0",))
    table = open_source(path, columns=spec.requested).table
    (tmp_path / "t.toml").write_text(template(table, "x.csv"))
    again = open_source(path, columns=Columns.read(tmp_path / "t.toml").requested).table
    assert again == table
    assert rows_of(new, Columns.read(tmp_path / "t.toml"), 3)[0] == (pd.Timestamp("2024-06-05") - pd.Timestamp(0)).days


@pytest.mark.parametrize("zones", [("+02:00", "+00:00"), ("+0200", "+0000")])
def test_a_template_keeps_zones(zones, tmp_path):
    times = [f"{1 + i % 9:02d}/02/2024 10:00:00{zones[i % 4 > 0]}" for i in range(N)]
    path = written(tmp_path / "x.csv", d=times)
    table = open_source(path).table
    (tmp_path / "t.toml").write_text(template(table, "x.csv"))
    assert '%z"' in (tmp_path / "t.toml").read_text()
    read, again = (rows_of(path, spec, 0) for spec in (table, Columns.read(tmp_path / "t.toml")))
    np.testing.assert_allclose(again, read)
    assert np.isfinite(read).all()


@pytest.mark.parametrize(
    "text",
    ["d = 3", "[columns.d]\ncategories = 3", '[columns.d]\ncategories = "xy"', '[columns.d]\ncategories = ["a", "a"]',
     "[columns.d]\nlowest = nan", '[columns.d]\nkind = "categorical"\nscaling = "standard"', "[columns.d]\nkind = 3",
     "[columns.d]\nformat = 3", '[columns.d]\nkind = "real"\nperiod = 3'],
)  # fmt: skip
def test_settings_that_err_name_the_specification(text, tmp_path, capsys):
    (tmp_path / "s.toml").write_text(text if text.startswith("[") else f"[columns]\n{text}")
    path = written(tmp_path / "x.csv", d=BASE["c"])
    assert main(["fit", str(path), "-o", str(tmp_path / "run"), "--columns", str(tmp_path / "s.toml")]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "s.toml: column 'd'" in line


@pytest.mark.parametrize("setting", [{"x": {"period": 3}}, {"c": {"scaling": "standard"}}, {"c": {"lowest": 0}},
    {"d": "count"}, {"d": "categorical"}, {"d": {"kind": "cyclic", "period": 7}}])  # fmt: skip
def test_settings_that_a_column_has_no_use_for(setting):
    frame = BASE.assign(d=pd.date_range("2020-01-01", periods=N))
    with pytest.raises((DataError, PartError), match="column '[xcd]'"):
        open_source(frame, columns=Columns(setting).requested)
