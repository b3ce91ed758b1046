"""Text tables as files: layouts, headers, row names, settings of columns, and files that are no tables."""

import bz2
import gzip
import io
import lzma
import time
import zipfile

import numpy as np
import pandas as pd
import pytest

from latentmap import VAE, Columns
from latentmap.data.columns import Requested, Table
from latentmap.data.sources import open_source
from latentmap.exceptions import DataError, PartError
from tables import read


def opened(folder, content, name="x.csv", **more):
    return read(folder / name, content, **more)


def refused(folder, content, name="x.csv"):
    with pytest.raises(DataError) as caught:
        opened(folder, content, name)
    message = str(caught.value)
    assert "\n" not in message and name in message and len(message) < 400 + len(str(folder))
    return message


LAYOUTS = {
    "white space": ("x   y\n1.5 2\n  3     4\n", ["x", "y"], [[1.5, 2], [3, 4]]),
    "white space without names": ("1.5 2\n3 4\n", None, [[1.5, 2], [3, 4]]),
    "tabs and spaces": ("x \t y\n1 \t 2\n3 \t 4\n", ["x", "y"], [[1, 2], [3, 4]]),
    "R's write.table": ('"x" "y"\n"1" 1.5 2\n"2" 3 4\n', ["x", "y"], [[1.5, 2], [3, 4]]),
    "R's write.csv": ('"","x","y"\n"1",1.5,2\n"2",3,4\n', ["x", "y"], [[1.5, 2], [3, 4]]),
    "R's write.csv2": ('"";"x";"y"\n"1";1,5;2\n"2";3;4\n', ["x", "y"], [[1.5, 2], [3, 4]]),
    "row names saved twice": ("Unnamed: 0.1,Unnamed: 0,x,y\n0,0,1,2\n1,1,3,4\n", ["x", "y"], [[1, 2], [3, 4]]),
    "delimiters behind": ("x,y\n1,2,\n3,4,\n", ["x", "y"], [[1, 2], [3, 4]]),
    "delimiters behind all lines": ("x,y,\n1,2,\n3,4,\n", ["x", "y"], [[1, 2], [3, 4]]),
    "years": ("1990,1991,1992\n5,6,7\n8,9,1\n", ["1990", "1991", "1992"], [[5, 6, 7], [8, 9, 1]]),
    "every fifth year": ("n,1990,1995\n1,5,6\n2,7,8\n", ["n", "1990", "1995"], [[1, 5, 6], [2, 7, 8]]),
    "units below names": ("x,y\ncm,kg\n1,2\n3,4\n", ["x_cm", "y_kg"], [[1, 2], [3, 4]]),
    "merged names": ("a,,b\nu,v,w\n1,2,3\n4,5,6\n", ["a_u", "a_v", "b_w"], [[1, 2, 3], [4, 5, 6]]),
    "comments in between": ("x,y\n1,2\n# a pause\n3,4\n", ["x", "y"], [[1, 2], [3, 4]]),
    "comments with delimiters": ("# a, b\nx,y\n1,2\n3,4\n", ["x", "y"], [[1, 2], [3, 4]]),
    "old Macintosh": ("x,y\r1,2\r3,4\r", ["x", "y"], [[1, 2], [3, 4]]),
    "one column": ("x\n1\n2\n", ["x"], [[1], [2]]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_give_names_and_rows(layout, tmp_path, reader):
    content, names, rows = LAYOUTS[layout]
    source = opened(tmp_path, content)
    found = [column.name for column in source.table.columns] if source.table else source.names
    assert (None if names is None else list(found)) == names
    np.testing.assert_array_equal(source.read(slice(None)), rows)


def test_columns_of_fixed_width(tmp_path):
    rows = "Large oak      12.5 2024-05-01\nelm             3.0 2024-05-02\nold ash tree  100.5 2024-05-03\n"
    text = "name          size  day\n" + rows
    source = opened(tmp_path, text, "x.txt", columns=Requested())
    assert [column.kind for column in source.table.columns] == ["categorical", "real", "date"]
    assert source.table.columns[0].categories == ("Large oak", "elm", "old ash tree")
    assert source.read(slice(None))[:, 1].tolist() == [12.5, 3.0, 100.5]


def test_numbers_that_rise_above_a_blank_corner_are_headers(tmp_path, reader):
    path = tmp_path / "x.csv"
    path.write_text('"","9.5","10","12.5"\n"a",3,0,4\n"b",1,2,0\n"c",0,5,1\n')
    source = open_source(path)
    assert source.names == ("9.5", "10", "12.5") and len(source) == 3
    path.write_text(",9.5,10,12.5\n1,3,4,5\n,1,2,7\n2,0,5,1\n")  # rows of numbers, of which the first is not whole
    assert len(open_source(path)) == 4


def test_headers_of_several_rows_as_pandas_writes_them(tmp_path, reader):
    columns = pd.MultiIndex.from_tuples([("size", "cm"), ("size", "in"), ("weight", "kg")], names=["what", "unit"])
    frame = pd.DataFrame(np.arange(12.0).reshape(4, 3) + 0.5, columns=columns)
    frame.index.name = "tree"
    frame.to_csv(tmp_path / "x.csv")
    source = open_source(tmp_path / "x.csv")
    np.testing.assert_array_equal(source.read(slice(None))[:, -3:], frame.to_numpy())
    assert [name.rpartition("_")[2] for name in source.names[-3:]] == ["cm", "in", "kg"]


def test_what_was_assumed_is_said(tmp_path, reader):
    source = opened(tmp_path, "# by hand\nwhen,x\n01/02/2024,größe\n03/04/2024,klein\n".encode("cp1252"))
    said = source.remark
    assert "1 comment above the table skipped" in said and "the text is read as cp1252" in said
    assert "'01/02/2024' are read with the month first; the column setting format='%d/%m/%Y' reads them other" in said
    first, other = (
        opened(tmp_path, "when,x\n01/02/2024,1\n", columns=Requested({"when": given} if given else {}))
        for given in ({}, {"format": "%d/%m/%Y"})
    )
    assert (first.table.decode(first.read(slice(None)))["when"][0], other.remark) == (np.datetime64("2024-01-02"), None)
    assert other.table.decode(other.read(slice(None)))["when"][0] == np.datetime64("2024-02-01")
    with pytest.raises(DataError, match="'01/13/2024' is not of the format '%d/%m/%Y' that was given for it"):
        opened(tmp_path, "when,x\n01/13/2024,1\n", columns=Requested({"when": {"format": "%d/%m/%Y"}}))


def test_the_order_of_day_and_month_is_that_of_the_fit(tmp_path):
    table = opened(tmp_path, "when,x\n13/02/2024,1\n02/03/2024,2\n").table
    table = Table.from_json(table.to_json())
    source = opened(tmp_path, "when,x\n01/02/2024,1\n", columns=table)
    assert source.table.decode(source.read(slice(None)))["when"][0] == np.datetime64("2024-02-01")
    table = opened(tmp_path, "x;y\n1.234,5;1\n").table
    assert opened(tmp_path, "x;y\n2.345;1\n", columns=table).read(slice(None))[0, 0] == 2345


def test_further_marks_of_missing_cells(tmp_path, reader):
    text = "x,y,kind\n-99,1.5,oak\n2,unknown,unknown\n3,2.5,elm\n"
    source = opened(tmp_path, text, columns=Requested(missing=("-99", "Unknown")))
    np.testing.assert_array_equal(
        np.isnan(source.read(slice(None))), np.eye(3)[[0, 1, 2]][:, [0, 1, 1]] * [[1], [1], [0]]
    )
    assert source.table.missing == ("-99", "Unknown")
    again = opened(tmp_path, "x,y,kind\n1,-99,oak\n", columns=Table.from_json(source.table.to_json()))
    assert np.isnan(again.read(slice(None))[0, 1])
    (tmp_path / "spec.toml").write_text('missing = ["-99", "unknown"]\n')
    assert Columns.read(tmp_path / "spec.toml").requested.missing == ("-99", "unknown")
    with pytest.raises(PartError, match="missing must be marks of missing cells"):
        Columns(missing="-99")


def test_a_column_that_is_dropped_is_never_read(tmp_path, reader):
    rows = "\n".join(f"{2**70 + i},A/{i},{i % 7}.5" for i in range(30))
    source = opened(
        tmp_path, f"id,ticket,x\n{rows}\n", columns=Requested({"id": {"kind": "drop"}, "ticket": {"kind": "drop"}})
    )
    assert source.names == ("x",) and source.table.dropped == {"id": "as requested", "ticket": "as requested"}
    again = opened(tmp_path, "id,ticket,x\nyes,1,2.5\n", columns=source.table)
    assert again.read(slice(None)).tolist() == [[2.5]]


def test_a_mixed_column_never_refuses_a_file(tmp_path, reader):
    rows = "\n".join(f"{'A/5 ' if i % 4 == 0 else ''}{21171 + i},{i % 5}" for i in range(40))
    source = opened(tmp_path, f"ticket,x\n{rows}\n")
    assert source.names == ("x",) and "ticket" in source.table.dropped


@pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
def test_a_fit_takes_numbers_in_any_form_that_it_can_read(tmp_path):
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)).round(3), columns=["x", "y"])
    vae = VAE(1, max_epochs=1, random_state=0, neighbors=None).fit(X)
    X.map(lambda v: f"{v:.3f} kg").to_csv(tmp_path / "x.csv", index=False)
    np.testing.assert_allclose(vae.transform(tmp_path / "x.csv"), vae.transform(X), atol=1e-6)
    np.testing.assert_allclose(vae.transform(pd.read_csv(tmp_path / "x.csv")), vae.transform(X), atol=1e-6)
    (tmp_path / "t.csv").write_text("x,y\noak,1\nelm,2\noak,3\n")
    with pytest.raises(DataError, match="expected numeric columns, as in fit, got 'x', which is categorical"):
        vae.transform(tmp_path / "t.csv")


def test_invalid_text_far_into_a_file_is_read_as_western(tmp_path, reader):
    source = opened(tmp_path, b"x,kind\n" + b"1,oak\n" * 180_000 + b"2,\xe9lan\n")
    assert source.table.columns[1].categories == ("oak", "élan") and source.remark == "the text is read as cp1252"


def test_quotes_across_blocks_stay_whole(tmp_path):
    rows = "".join(f'{i % 9},"{("two" if i % 2 else "three")}\nlines"\n' for i in range(120_000))
    source = opened(tmp_path, "x,kind\n" + "".join(f"{i % 9},none here\n" for i in range(1500)) + rows)
    assert len(source) == 121_500 and source.table.columns[1].categories == ("none here", "three\nlines", "two\nlines")


def test_standard_input_and_addresses(tmp_path, monkeypatch):
    class Stream:
        buffer = io.BytesIO(b"x,y\n1,2\n")

    monkeypatch.setattr("sys.stdin", Stream)
    source = open_source("-")
    assert source.read(slice(None)).tolist() == [[1, 2]] and source.name == "-"
    assert open_source("-").read(slice(None)).tolist() == [[1, 2]]  # for another pass over the same data
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(DataError, match="^standard input is empty"):
        open_source("-")
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://folder/x.csv.gz", "wb") as stream:
        stream.write(gzip.compress(b"x,y\n1,2\n"))
    assert open_source("memory://folder/x.csv.gz").read(slice(None)).tolist() == [[1, 2]]
    with pytest.raises(DataError, match="cannot read memory://folder/none.csv"):
        open_source("memory://folder/none.csv")
    with fsspec.open("memory://folder/bad.csv", "wb") as stream:
        stream.write(b"x,y\n1,2,3\n4,5\n")
    with pytest.raises(DataError, match="^memory://folder/bad.csv: row 1"):
        open_source("memory://folder/bad.csv")


def archive(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return stream.getvalue()


WHOLE = b"x,y\n" + b"1.25,2\n" * 500
NOISE = np.random.default_rng(0).integers(1, 256, 5000).astype(np.uint8).tobytes()
BAD = {
    "a picture": ("x.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 10, "holds an image, not what .csv stands for"),
    "parquet": ("x.csv", b"PAR1" + bytes(100), "a parquet table, not what .csv stands for: rename it so"),
    "zeros": ("x.csv", bytes(5000), "holds a NUL byte"),
    "noise": ("x.csv", NOISE, "control characters"),
    "a zero later": ("x.csv", WHOLE + b"1,\0\n", "line 502 holds a NUL byte"),
    "two delimiters": ("x.csv", b"x,y,z\n1;2;3\n4;5;6\n", "has 1 cells, expected 3 as in the first line; 2 of 2"),
    "rows of other lengths": ("x.csv", WHOLE + b"1\n1,2,3\n", "row 502 (line 503) has 3 cells, expected 2 as"),
    "an open quote": ("x.csv", WHOLE + b'1,"2\n' + WHOLE, "check the quotes, of which one may be open"),
    "equal names": ("x.csv", b"x,x\n1,2\n", "2 columns are called 'x'; give each its own name"),
    "several files": ("x.csv.zip", archive(a=b"1", b=b"2"), "holds 2 files (a, b): expected one; extract the one"),
    "an empty archive": ("x.csv.gz", gzip.compress(b""), "holds no text (0 bytes)"),
    "half a .gz": ("x.csv.gz", gzip.compress(WHOLE)[:40], "truncated or damaged"),
    "half a .bz2": ("x.csv.bz2", bz2.compress(WHOLE)[:40], "truncated or damaged"),
    "half a .xz": ("x.csv.xz", lzma.compress(WHOLE)[:60], "truncated or damaged"),
    "half a .zip": ("x.csv.zip", archive(a=WHOLE)[:200], "truncated or damaged"),
    "comments alone": ("x.csv", b"# one\n# two\n", "no rows, only comments"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_files_that_are_no_tables_are_refused_in_one_line(name, tmp_path, reader):
    file, content, message = BAD[name]
    assert message in refused(tmp_path, content, file)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_bomb_is_refused_before_it_fills_the_memory(pack, tmp_path, monkeypatch, reader):
    monkeypatch.setattr("latentmap.data.formats.streams.UNPACKED", 2**19)
    ending = {gzip.compress: "gz", bz2.compress: "bz2", lzma.compress: "xz"}[pack]
    assert "as files do that are made to fill the memory" in refused(
        tmp_path, pack(b"x,y\n" + b"1,2\n" * 2**19), f"x.csv.{ending}"
    )


def test_a_line_without_end_is_refused_in_bounded_time(tmp_path, monkeypatch, reader):
    monkeypatch.setattr("latentmap.data.formats.streams.LONGEST", 2**21)
    monkeypatch.setattr("latentmap.data.formats.delimited_arrow.LONGEST", 2**21)
    path = tmp_path / "x.csv"
    with path.open("wb") as stream:
        stream.truncate(10 * 2**30)  # a sparse file
    started = time.monotonic()
    with pytest.raises(DataError, match="x.csv: line 1 "):
        open_source(path)
    assert time.monotonic() - started < 20
    assert "line 1 is longer than" in refused(tmp_path, b"1," * 2**21)
    assert "line 2 " in refused(tmp_path, b"x,y\n" + b"1" * 2**22)
