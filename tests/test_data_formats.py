"""Sheets, JSON, databases and old layouts of cells: what is read, what is said about it, and what is refused."""

import contextlib
import gzip
import json
import sqlite3
import struct
import sys
import zipfile
import zlib
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tools.specimens import write_duckdb, write_ods, write_old_h5ad

from latentmap.cli import main
from latentmap.data.sources import open_source
from latentmap.data.writing import writing
from latentmap.exceptions import DataError, MissingExtraError

FRAME = pd.DataFrame(
    {
        "height": [1.5, None, 2.25, 3.0] * 5,
        "rings": [3, 0, 5, 9, 1, 14, 2, 2, 7, 25, 0, 3, 4, 1, 11, 6, 19, 8, 1, 2],
        "species": ["elm", "oak", None, "elm"] * 5,
        "alive": [True, False, False, True, True] * 4,
        "felled": pd.date_range("2020-03-01", periods=20),
    }
)
KINDS = ["real", "count", "categorical", "binary", "date"]


def excel(path, sheets):
    pytest.importorskip("python_calamine")
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook(write_only=True)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def database(path, **frames):
    with contextlib.closing(sqlite3.connect(path)) as opened:
        for name, frame in frames.items():
            frame.to_sql(name, opened, index=False)
        opened.commit()
    return path


def refused(path, **options):
    with pytest.raises(DataError) as caught:
        open_source(path, **options)
    assert "\n" not in str(caught.value) and str(path).partition("::")[0] in str(caught.value)
    return str(caught.value)


def assert_is_frame(source, *, dates=True, truth=True):
    names = [name for name in FRAME if dates or name != "felled"]
    assert [column.name for column in source.table.columns] == names
    kinds = KINDS if dates else KINDS[:-1]
    assert [column.kind for column in source.table.columns] == kinds
    expected = open_source(FRAME[names]).all_rows()
    np.testing.assert_array_equal(source.all_rows(), expected)


def test_sheets_hold_what_the_frame_held(tmp_path):
    pytest.importorskip("python_calamine")
    path = tmp_path / "trees.xlsx"
    with pd.ExcelWriter(path) as book:
        FRAME.to_excel(book, sheet_name="plain", index=False)
        FRAME.to_excel(book, sheet_name="indexed")
        pd.DataFrame([["Trees of 2020"], [None]]).to_excel(book, sheet_name="titled", header=False, index=False)
        FRAME.to_excel(book, sheet_name="titled", startrow=2, index=False)
    assert_is_frame(source := open_source(path))
    assert source.remark == "sheet 'plain' of 3 is taken; another is trees.xlsx::indexed"
    assert_is_frame(open_source(f"{path}::indexed"))
    assert_is_frame(source := open_source(f"{path}::titled"))
    assert source.remark == "1 line above the table left out: 'Trees of 2020'"
    assert "has no sheet 'plan': did you mean 'plain'" in refused(f"{path}::plan")
    labelled = open_source(path, labels="species")
    assert labelled.labels[:3].tolist() == ["elm", "oak", "missing"] and "species" not in labelled.names
    path.rename(tmp_path / "alike.xls")
    assert_is_frame(open_source(tmp_path / "alike.xls"))  # the content counts, not the version in the name


def test_cells_of_sheets_that_mix_types(tmp_path):
    rows = [["code", "when", "span", "n"]]
    rows += [["a1", datetime(2020, 1, 2, 3), timedelta(hours=30), 1.0], [7, date(2020, 1, 3), None, None]] * 5
    rows[4][3] = 3.0
    source = open_source(excel(tmp_path / "x.xlsx", {"one": rows, "none": []}))
    columns = {column.name: column for column in source.table.columns}
    assert columns["code"].categories == ("7", "a1") and columns["n"].type == "Int64"
    assert columns["when"].kind == "date" and source.remark is not None and "'one' of 2" in source.remark
    bare = open_source(excel(tmp_path / "y.xlsx", {"one": [[1, 2], [3, 4.5]]}))
    assert bare.names == ("1", "2") and bare.all_rows().tolist() == [[1, 2], [3, 4.5]]
    blank = open_source(excel(tmp_path / "z.xlsx", {"one": [["a", "b"], [1, 2], [None, None], [3, 4]]}))
    np.testing.assert_array_equal(blank.all_rows(), [[1, 2], [np.nan, np.nan], [3, 4]])


@pytest.mark.parametrize(
    ("sheets", "member", "message"),
    [
        ({"a": [], "b": []}, "", "holds no cells"),
        ({"a": [], "b": [["x"], [1]]}, "::a", "sheet 'a' is empty"),
        ({"a": [["x", "y"]]}, "", "has a header and no rows below it"),
        ({"a": [["x", "x"], [1, 2]]}, "", "2 columns are called 'x'"),
    ],
)
def test_sheets_without_a_table_are_refused(sheets, member, message, tmp_path):
    path = excel(tmp_path / "x.xlsx", sheets)
    assert message in refused(f"{path}{member}")


def test_a_cell_far_away_needs_no_memory(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    pytest.importorskip("python_calamine")
    book = openpyxl.Workbook()
    book.active["A1"], book.active["XFD1048576"] = "x", 3
    book.save(tmp_path / "x.xlsx")
    assert "spans 1,048,576 rows and 16,384 columns, but holds" in refused(tmp_path / "x.xlsx")
    write_ods(tmp_path / "x.ods", rows=10**7, columns=10**6)
    assert "delete what lies far outside of the table" in refused(tmp_path / "x.ods")
    write_ods(tmp_path / "x.ods", rows=3)
    assert len(open_source(tmp_path / "x.ods")) == 15  # the control


def test_a_password_is_said(tmp_path):
    pytest.importorskip("python_calamine")
    name = "EncryptedPackage".encode("utf-16-le")
    free, chain, end = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
    header = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16) + struct.pack("<5H", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    header += struct.pack("<9I", 0, 1, 1, 0, 4096, chain, 0, chain, 0) + struct.pack("<109I", 0, *[free] * 108)

    def entry(text, kind, child):
        return (
            text.ljust(64, b"\0")
            + struct.pack("<HBB3I", len(text) + 2, kind, 1, free, free, child)
            + bytes(36)
            + (struct.pack("<IQ", chain, 0))
        )

    fat = struct.pack("<128I", end, chain, *[free] * 126)
    folder = entry("Root Entry".encode("utf-16-le"), 5, 1) + entry(name, 2, free) + 2 * entry(b"", 0, free)
    (tmp_path / "x.xlsx").write_bytes(header + fat + folder)
    assert "is protected by a password: save it without one" in refused(tmp_path / "x.xlsx")


@pytest.mark.parametrize("orient", ["records", "columns", "split", "table", "values"])
def test_json_holds_what_the_frame_held(orient, tmp_path):
    path = tmp_path / "trees.json"
    frame = FRAME.drop(columns="felled")
    frame.to_json(path, orient=orient)
    source = open_source(path)
    if orient == "table":  # pandas writes its index as a column
        assert "index" in source.table.dropped
    if orient == "values":
        assert source.names == ("1", "2", "3", "4")
        np.testing.assert_array_equal(source.all_rows(), open_source(frame).all_rows())
        return
    assert_is_frame(source, dates=False)


@pytest.mark.parametrize("name", ["x.jsonl", "x.ndjson", "x.jsonl.gz", "x.json"])
def test_records_a_line(name, tmp_path):
    FRAME.drop(columns="felled").to_json(tmp_path / name, orient="records", lines=True)
    assert_is_frame(open_source(tmp_path / name), dates=False)


def test_objects_within_records(tmp_path):
    path = tmp_path / "x.json"
    records = [{"id": i % 3, "size": {"h": i + 0.5, "w": {"deep": 1}}, "tags": ["a"], "at": None} for i in range(6)]
    records[2] |= {"size": None, "late": 4}
    path.write_text(json.dumps({"count": 6, "items": records}), encoding="utf-16")
    source = open_source(path)
    assert source.names == ("id", "size.h", "late") and np.isnan(source.all_rows()[2, 1])
    left = "left out, as no numbers, text or dates: size.w, tags"
    assert source.remark == f"{left}; column 'at' left out: it holds nothing"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.json", "3", "holds a number, which is no table: expected records"),
        ("x.json", '{"a": 1}', "holds an object with 'a', which is no table"),
        ("x.json", '{"a": [1], "b": [1, 2]}', "holds columns of different lengths ('a' 1, 'b' 2)"),
        ("x.json", "[1, 2]", "item 1 is a number, so it is no table"),
        ("x.json", '[{"a": 1}, [2]]', "item 2 is a list, so it is no table"),
        ("x.json", "[[1, 2], [3]]", "row 2 is 1 cells, expected 2 cells as in the first"),
        ("x.json", '{"columns": ["a", "a"], "data": [[1, 2]]}', "2 columns are called 'a'"),
        ("x.json", "[]", "has no rows"),
        ("x.json", "{}", "holds an object with no entries"),
        ("x.json", '{"a": [}', "not JSON (Expecting value: line 1 column 8 (char 7))"),
        ("x.json", "[" * 10**5, "not a readable JSON file (maximum recursion depth"),
        ("x.json", "[" + "9" * 5000 + "]", "not a readable JSON file"),
        ("x.jsonl", '{"a": 1}\n{"a": \n', "line 2 is not JSON"),
        ("x.json", json.dumps([{f"k{i}": 1} for i in range(5000)]), "5,000 records with 5,000 different keys"),
    ],
)
def test_json_that_is_no_table_is_refused(name, text, message, tmp_path):
    (tmp_path / name).write_text(text)
    assert message in refused(tmp_path / name)


def test_tables_of_databases(tmp_path):
    frame = FRAME.drop(columns=["felled", "alive"])
    path = database(tmp_path / "trees.sqlite", **{'odd "name"': frame})
    before = path.read_bytes()
    names = ["height", "rings", "species"]
    for place in (path, f'{path}::odd "name"'):
        source = open_source(place)
        assert list(source.names) == names
        np.testing.assert_array_equal(source.all_rows(), open_source(frame).all_rows())
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]  # it is only read
    two = database(tmp_path / "two.db", a=frame, b=frame.head(0))
    assert f"has 2 tables (a, b): name one, as in {two}::a" in refused(two)
    assert "table 'b' has no rows" in refused(f"{two}::b")
    assert "has no table 'c'" in refused(f"{two}::c")
    with contextlib.closing(sqlite3.connect(tmp_path / "none.db")) as opened:
        opened.execute("PRAGMA user_version = 3")
    assert "is a database without tables" in refused(tmp_path / "none.db")


def test_databases_of_values_that_are_no_text(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "x.db")) as opened:
        opened.execute("CREATE TABLE t (n, photo BLOB, mixed)")
        rows = [(i / 2, b"\xff", "a" if i % 2 else 3) for i in range(10)]
        opened.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
        endless = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT i FROM c"
        opened.execute(f"CREATE VIEW endless AS {endless}")
        opened.commit()
    source = open_source(tmp_path / "x.db")
    assert source.names == ("n", "mixed") and source.table.columns[1].categories == ("3", "a")
    assert "left out, as no numbers, text or dates: photo" in source.remark
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latentmap.data.formats.databases.MOST_VIEWED", 1000)
        assert "yields more rows than" in refused(f"{tmp_path / 'x.db'}::endless")


def test_databases_of_duckdb(tmp_path):
    write_duckdb(tmp_path / "x.db")  # by its content
    source = open_source(tmp_path / "x.db")
    assert source.names == ("number", "text") and source.table.columns[1].categories == ("u0", "u1")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.xlsx", b"a,b\n1,2\n", "holds text, not a .xlsx file: rename it to .csv"),
        ("x.parquet", b"<!DOCTYPE html><html>", "holds a web page (HTML)"),
        ("x.npy", b"PAR1" + bytes(20), "holds a parquet table, not what .npy stands for: rename it"),
        ("x.json", b"SQLite format 3\0" + bytes(90), "holds a database of SQLite"),
        ("x.csv", b"\x89HDF\r\n\x1a\n" + bytes(90), "holds HDF5"),
        ("x.parquet", bytes(30), "not a readable parquet file"),
    ],
)
def test_files_under_the_wrong_ending(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert message in refused(tmp_path / name)


def test_archives_under_the_wrong_ending(tmp_path):
    for name, member, what in [("x.csv", "xl/workbook.xml", "an Excel workbook"), ("y.npy", "X.npy", "an archive of")]:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(member, "x" * 100)
        assert f"holds {what}" in refused(tmp_path / name)


def test_bombs_are_refused_before_they_unpack(tmp_path, monkeypatch):
    monkeypatch.setattr("latentmap.data.formats.unpacked.read_memory", lambda _: 10**7)
    zeros = bytes(2 * 10**7)
    (tmp_path / "x.json.gz").write_bytes(gzip.compress(b"[" + zeros))
    (tmp_path / "x-ubyte.gz").write_bytes(gzip.compress(zeros))
    np.savez_compressed(tmp_path / "x.npz", X=np.zeros((10**6, 3)))
    with zipfile.ZipFile(tmp_path / "x.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", zeros)
    for path in sorted(tmp_path.iterdir()):
        if path.suffix != ".xlsx" or "python_calamine" in sys.modules:
            assert "unpacks to more than 0.01 GB, a quarter of the memory that is free" in refused(path)


def test_images_that_claim_more_pixels_than_they_hold(tmp_path):
    path = tmp_path / "0.png"
    Image.new("L", (4, 4)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">2I", 9000, 9000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    with pytest.raises(DataError, match="it claims 9000 x 9000 pixels in"):
        open_source(tmp_path)


def test_cells_of_old_layouts(tmp_path):
    path = tmp_path / "old.h5ad"
    write_old_h5ad(path)
    source = open_source(path, labels="k")
    assert source.names == ("g0", "g1", "g2") and source.is_sparse
    assert source.labels[:3].tolist() == ["p", "q", "missing"]
    assert open_source(f"{path}::raw").names == ("g0", "g1", "g2")
    assert open_source(f"{path}::time").names == ("time 1",)
    assert "has no matrix 'pca'" in refused(f"{path}::pca")


@pytest.mark.parametrize("name", ["x.h5ad", "x.zarr"])
@pytest.mark.filterwarnings("ignore")
def test_raw_and_obsm_of_cells(name, tmp_path):
    anndata = pytest.importorskip("anndata")
    X = np.random.default_rng(0).normal(size=(8, 3))
    obs = pd.DataFrame(index=[f"c{i}" for i in range(8)])
    pca, frame = X[:, :2].copy(), pd.DataFrame({"u": X[:, 0]}, index=obs.index)
    cells = anndata.AnnData(X[:, :2].copy(), obs=obs, obsm={"X_pca": pca, "t": frame}, layers={"l": pca})
    cells.raw = anndata.AnnData(X, obs=obs)
    path = tmp_path / name
    (cells.write_h5ad if name == "x.h5ad" else cells.write_zarr)(path)
    np.testing.assert_array_equal(open_source(f"{path}::raw").all_rows(), X)
    np.testing.assert_array_equal(open_source(f"{path}::X_pca").all_rows(), pca)
    assert open_source(f"{path}::X_pca").names == ("X_pca 1", "X_pca 2")
    assert open_source(f"{path}::t").names == ("u",)
    assert "there are: X, l, raw" in refused(f"{path}::none")


@pytest.mark.parametrize(
    ("name", "module"), [("x.xlsx", "python_calamine"), ("x.duckdb", "duckdb"), ("x.jsonl", "pandas")]
)
def test_missing_libraries_name_the_command(name, module, tmp_path, monkeypatch):
    if name == "x.duckdb":
        (tmp_path / name).write_bytes(bytes(8) + b"DUCK" + bytes(90))
    elif name == "x.xlsx":
        excel(tmp_path / name, {"a": [["x"], [1]]})
    else:
        (tmp_path / name).write_text('{"x": 1.5, "y": "a"}\n{"x": 2.5, "y": "a"}\n')
        for other in ("polars", "pyarrow"):
            monkeypatch.setitem(sys.modules, other, None)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match="pip install"):
        open_source(tmp_path / name)


@pytest.mark.parametrize("end", ["xlsx", "jsonl"])
def test_written_tables_are_read_back(end, tmp_path):
    if end == "xlsx":
        pytest.importorskip("openpyxl")
    source = open_source(FRAME.dropna().replace({"elm": "=1+1", "oak": '#N/A "x"'}).drop(columns="felled"))
    path = tmp_path / f"x.{end}"
    with writing(path, source.names, source.table) as writer:
        writer.write(source.all_rows()[:4])
        writer.write(source.all_rows()[4:])
    back = open_source(path)
    np.testing.assert_array_equal(back.all_rows(), source.all_rows())
    assert back.table.columns[2].categories == source.table.columns[2].categories
    with writing(path, ["a", "b"]) as writer:
        writer.write(single := np.array([[0.1, np.nan], [1e-9, 2]], np.float32))
    np.testing.assert_array_equal(open_source(path).all_rows().astype(np.float32), single)


def test_the_command_takes_a_sheet_and_writes_one(tmp_path, capsys):
    openpyxl = pytest.importorskip("openpyxl")
    sheets = {
        "a": [["x"], [1]],
        "b": [["x", "y", "k"], *([(i * i) % 37 + 0.5, i % 7, "uv"[i % 3 > 0]] for i in range(40))],
    }
    path = f"{excel(tmp_path / 'x.xlsx', sheets)}::b"
    run = str(tmp_path / "run")
    assert main(["info", path]) == 0 == main(["fit", path, "-o", run, "--max-epochs", "1", "--seed", "0"])
    assert main(["sample", run, "-n", "5", "-o", str(tmp_path / "out.xlsx")]) == 0
    written = openpyxl.load_workbook(tmp_path / "out.xlsx").active
    assert [cell.value for cell in written[1]] == ["x", "y", "k"] and written.max_row == 6
    assert main(["transform", run, "-o", str(tmp_path / "codes.jsonl")]) == 0
    assert len(open_source(tmp_path / "codes.jsonl")) == 40
    capsys.readouterr()


def test_years_head_a_sheet_as_they_do_a_text_table(tmp_path):
    rows = [["k", 2019, 2020], ["a", 1.5, 3.5], ["b", 2.5, 4.5], ["a", 0.5, 7.5]]
    assert open_source(excel(tmp_path / "x.xlsx", {"s": rows})).table.names == ["k", "2019", "2020"]
    (tmp_path / "x.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))
    assert open_source(tmp_path / "x.csv").table.names == ["k", "2019", "2020"]
