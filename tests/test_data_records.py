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
