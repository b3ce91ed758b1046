"""Records of JSON, sheets and databases: names that meet, spans of time, dates as numbers."""

import bz2
import gzip
import lzma
import zipfile
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from latentmap.data.formats.base import Request
from latentmap.data.formats.records import columns_source
from latentmap.data.sources import open_source
from latentmap.exceptions import DataError


def cells_of(source, name):
    return next(one for one in source.cells if one.name == name)


@pytest.mark.parametrize("end", [".json", ".jsonl"])
@pytest.mark.parametrize(
    "record",
    [
        '{"a.b": 0.5, "a": {"b": 2.5}, "c": 1}',
        '{"a": {"b": 1}, "a.b": 2}',
        '{"c": 1, "c": 2}',
        '{"a": {"b": 1, "b": 2}}',
    ],
)
def test_entries_of_the_same_name_are_refused(record, end, tmp_path):
    path = tmp_path / f"x{end}"
    path.write_text(f"[{record}, {record}]" if end == ".json" else f"{record}\n{record}\n")
    with pytest.raises(
        DataError, match=r"x\.jsonl?: two entries of .* are called '(a\.b|b|c)'; give each its own name"
    ):
        open_source(path)


@pytest.mark.parametrize(
    "step", [timedelta(seconds=5.5), timedelta(milliseconds=-250), timedelta(hours=7, microseconds=20)]
)
def test_durations_of_sheets_keep_fractions_and_sign(step):

    spans = [i * step for i in range(30)]
    source = columns_source({"d": spans, "k": ["a", "b", "b"] * 10}, Request(None, name="x"))
    np.testing.assert_allclose(cells_of(source, "d").values, [span.total_seconds() for span in spans])


def test_durations_of_a_workbook_are_those_of_pandas(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in [("d", "k"), *((timedelta(seconds=5.5 * i), "ab"[i % 2]) for i in range(30))]:
        book.active.append(row)
    book.save(tmp_path / "x.xlsx")
    np.testing.assert_allclose(cells_of(open_source(tmp_path / "x.xlsx"), "d").values, 5.5 * np.arange(30), atol=1e-3)


def test_compressed_text_under_the_ending_of_its_compression_alone(tmp_path):
    text = b"x,y\n" + b"1.5,2\n2.5,4\n" * 10
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("inner.csv", text)
    for end, pack in ((".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)):
        (tmp_path / f"x{end}").write_bytes(pack(text))
    for end in (".zip", ".gz", ".bz2", ".xz"):
        path = tmp_path / f"x{end}"
        np.testing.assert_array_equal(open_source(path).read(slice(None)), pd.read_csv(path).to_numpy())


@pytest.mark.parametrize("orient", [None, "records", "split", "values", "index", "columns"])
@pytest.mark.parametrize("name", ["date", "planted"])
def test_dates_as_pandas_writes_them_to_json(name, orient, tmp_path):
    days = pd.date_range("2024-01-01", periods=30, freq="37D")
    frame = pd.DataFrame({name: days, "k": ["a", "b", "b"] * 10, "large": np.arange(30) * 7 + 1_704_067_200_123})
    frame.to_json(tmp_path / "x.json", orient=orient)
    source = open_source(tmp_path / "x.json")
    dates, large = (source.cells[i] for i in (0, 2))
    assert dates.type.startswith("Date") and not large.type.startswith("Date")
    np.testing.assert_array_equal(dates.values, [(day - pd.Timestamp(0)).days for day in days])


def test_times_as_pandas_writes_them_to_json(tmp_path):
    times = pd.date_range("2024-01-01 07:30", periods=30, freq="7h")
    pd.DataFrame({"created_at": times, "k": ["a", "b", "b"] * 10}).to_json(tmp_path / "x.json")
    values = cells_of(open_source(tmp_path / "x.json"), "created_at").values
    np.testing.assert_allclose(values, (times - pd.Timestamp(0)) / pd.Timedelta(days=1))


@pytest.mark.parametrize(
    "make", [pd.Timedelta, lambda s: pd.Timedelta(s).to_pytimedelta(), lambda s: np.timedelta64(pd.Timedelta(s))]
)
def test_durations_as_objects(make):
    spans = pd.Series([make(f"{1.5 * i}s") for i in range(30)] + [None], dtype=object)
    source = open_source(pd.DataFrame({"d": spans, "k": (["a", "b", "b"] * 11)[:31]}))
    np.testing.assert_array_equal(cells_of(source, "d").values, [*(1.5 * np.arange(30)), np.nan])
    assert source.table.names[0] == "d" and source.table.decode(source.read(slice(30)))["d"][2] == np.timedelta64(
        3, "s"
    )


def test_intervals_of_a_database(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(str(tmp_path / "x.duckdb")) as database:
        database.execute("CREATE TABLE t AS SELECT to_microseconds(i * 1500000) + to_days(1) AS d, i % 2 = 0 AS k, "
                         "to_months(i::INT) AS m FROM range(30) r(i)")  # fmt: skip
    source = open_source(tmp_path / "x.duckdb")
    np.testing.assert_array_equal(cells_of(source, "d").values, 86_400 + 1.5 * np.arange(30))
    assert "'m' left out" in source.remark
