"""A stranger's data: what they unpack to is bounded by the memory that is allowed, and nothing of them is run."""

import bz2
import gzip
import io
import lzma
import os
import sqlite3
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tools.fuzz_child import peak, resource_reset
from tools.specimens import write_h5ad as write_data_h5ad
from tools.specimens import write_zarr

from latentmap import VAE
from latentmap.cli import main
from latentmap.data.formats.arrays import ArraySource
from latentmap.data.sources import open_source
from latentmap.exceptions import DataError

MEMORY = "5MB"
MEGABYTES = 80
"""The most that the reader of such a file takes: the memory that is allowed, and its own."""
SIZE = 4 * 10**7
ALLOWED = "more than 0.005 GB, the memory that is allowed; raise memory if it is yours"

pytestmark = [pytest.mark.timeout(60), pytest.mark.filterwarnings("ignore::UserWarning")]


def refused(path, match=ALLOWED, memory=MEMORY):
    """The message of an error that takes little memory."""
    resource_reset()
    before = peak()
    with pytest.raises(DataError, match=match) as caught:
        open_source(path, memory=memory)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert peak() - before < MEGABYTES * 2**10
    return str(caught.value)


def write_npz(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("X.npy", "w") as member:
        header = {"descr": "<f8", "fortran_order": False, "shape": (SIZE // 80, 10)}
        np.lib.format.write_array_header_1_0(member, header)
        for _ in range(SIZE // 10**6):
            member.write(bytes(10**6))


def write_npz_that_lies(path):
    member = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**6)}
    np.lib.format.write_array_header_1_0(member, header)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X.npy", member.getvalue() + bytes(80))


def write_idx(path):
    axes = np.array([SIZE // 100, 100], ">u4").tobytes()
    path.write_bytes(gzip.compress(b"\0\0\x08\x02" + axes + bytes(SIZE), 1))


def write_arrow(path, codec="zstd"):
    table = pa.table({"x": np.zeros(SIZE // 8)})
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema, options=options) as writer:
        writer.write_table(table)


def write_stream(path):
    batch = pa.record_batch({"x": np.zeros(SIZE // 8)})
    with (
        pa.OSFile(str(path), "wb") as file,
        pa.ipc.new_stream(file, batch.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer,
    ):
        writer.write_batch(batch)


def write_texts(path):
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(10**5, np.int32)), pa.array(["x" * 10**4]))
    pq.write_table(pa.table({"text": text, "v": np.arange(10**5) % 7}), path)


def write_generated(path):
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE t (a, b TEXT GENERATED ALWAYS AS (hex(zeroblob(400000))) VIRTUAL)")
        database.executemany("INSERT INTO t (a) VALUES (?)", [(1,)] * 200)
    database.close()


def write_duckdb(path):
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(str(path)) as database:
        database.execute("CREATE TABLE t AS SELECT 0::DOUBLE AS a FROM range(10000000)")


def write_h5ad(path, shape, chunks):
    h5py = pytest.importorskip("h5py")
    pytest.importorskip("anndata")
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        for name in ("obs", "var"):
            file.create_group(name).attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0"})
        matrix = file.create_dataset("X", shape, "f8", chunks=chunks, compression="gzip", fillvalue=1.0)
        matrix.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        names = [str(i) for i in range(3)]
        for name in ("obs", "var"):
            file[name].attrs.update({"_index": "_index", "column-order": np.array([], dtype="S1")})
            index = file[name].create_dataset("_index", data=names, dtype=h5py.string_dtype())
            index.attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})


def write_xlsx(path):
    pytest.importorskip("python_calamine")
    pd.DataFrame({"a": [1], "b": [2]}).to_excel(path, index=False)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    main_name = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    members["xl/sharedStrings.xml"] = f'<sst xmlns="{main_name}"><si><t>{"q" * 30000}</t></si></sst>'.encode()
    rows = "".join(f'<row r="{i}"><c r="A{i}" t="s"><v>0</v></c></row>' for i in range(1, 5001))
    members["xl/worksheets/sheet1.xml"] = (
        f'<worksheet xmlns="{main_name}"><sheetData>{rows}</sheetData></worksheet>'.encode()
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def write_sheet(path, sheet=b"", texts=b""):
    pytest.importorskip("python_calamine")
    pd.DataFrame({"a": [1], "b": [2]}).to_excel(path, index=False)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    space = b'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    if sheet:
        members["xl/worksheets/sheet1.xml"] = b"<worksheet %b><sheetData>%b</sheetData></worksheet>" % (space, sheet)
    if texts:
        members["xl/sharedStrings.xml"] = b"<sst %b>%b</sst>" % (space, texts)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def write_wide_zarr(path):
    zarr = pytest.importorskip("zarr")
    zarr.open_group(str(path), mode="w").create_array("X", shape=(10, 10**9), chunks=(1, 1000), dtype="f8")


def write_chunked_zarr(path):
    zarr = pytest.importorskip("zarr")
    array = zarr.open_group(str(path), mode="w").create_array("X", shape=(10**6, 20), chunks=(10**6, 20), dtype="f8")
    array[:] = 1.0


BOMBS = {
    "x.npz": write_npz,
    "lies.npz": write_npz_that_lies,
    "x-ubyte.gz": write_idx,
    "x.json.gz": lambda path: path.write_bytes(gzip.compress(b"[" + b"[1,2]," * (SIZE // 6) + b"[1,2]]", 1)),
    "x.feather": write_arrow,
    "x.arrow": write_stream,
    "texts.parquet": write_texts,
    "generated.sqlite": write_generated,
    "x.duckdb": write_duckdb,
    "chunk.h5ad": lambda path: write_h5ad(path, (10**6, 20), (10**6, 20)),
    "wide.h5ad": lambda path: write_h5ad(path, (10, 10**8), (1, 1000)),
    "shared.xlsx": write_xlsx,
    "cells.xlsx": lambda path: write_sheet(path, sheet=b"<row><c><v>1</v></c><c/></row>" * 10**5),
    "texts.xlsx": lambda path: write_sheet(path, texts=b"<si><t>q</t></si>" * 10**5),
    "wide.zarr": write_wide_zarr,
    "chunk.zarr": write_chunked_zarr,
}


@pytest.mark.parametrize("name", BOMBS)
def test_content_beyond_the_memory_that_is_allowed(name, tmp_path):
    BOMBS[name](tmp_path / name)
    refused(tmp_path / name)


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz", "zst", "zip"])
def test_packed_text_far_larger_than_its_file(ending, tmp_path, monkeypatch):
    monkeypatch.setattr("latentmap.data.formats.streams.UNPACKED", 2 * 10**6)
    path, text = tmp_path / f"x.csv.{ending}", b"a,b\n" + b"1,2\n" * 10**6
    match ending:
        case "gz":
            path.write_bytes(gzip.compress(text, 9))
        case "bz2":
            path.write_bytes(bz2.compress(text))
        case "xz":
            path.write_bytes(lzma.compress(text, preset=0))
        case "zst":
            path.write_bytes(pa.Codec("zstd").compress(text, asbytes=True))
        case _:
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("x.csv", text)
    refused(path, "as files do that are made to fill the memory")


def test_packed_text_is_counted_before_it_is_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr("latentmap.data.formats.streams.UNPACKED", 2 * 10**6)
    monkeypatch.setattr("latentmap.data.formats.delimited_columns.read_arrow", None)
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 10**6, 9))
    refused(tmp_path / "x.csv.gz", "as files do that are made to fill the memory", "100MB")


def test_short_cells_count_as_the_numbers_that_they_become(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"a,b\n" + b"1,2\n" * 5 * 10**5)  # 2 MB, and 8 MB of numbers
    sources = [open_source(tmp_path / "x.csv", memory=memory) for memory in ("5MB", "20MB")]
    assert [isinstance(source, ArraySource) for source in sources] == [False, True]
    assert [len(source) for source in sources] == [5 * 10**5] * 2


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "gif"])
def test_images_of_very_many_pixels(ending, tmp_path):
    Image.new("L", (5000, 4000)).save(tmp_path / f"0.{ending}")
    refused(tmp_path, "cannot be read as an image")


def test_claims_of_values_that_are_not_there(tmp_path):
    write_h5ad(tmp_path / "x.h5ad", (10**12, 3), (1000, 3))
    refused(tmp_path / "x.h5ad", "nearly all of it is not there")


@pytest.mark.parametrize("where", ["a column", "an attribute"])
def test_texts_of_damaged_lengths(where, tmp_path):
    path = tmp_path / "x.h5ad"
    h5py = pytest.importorskip("h5py")
    write_data_h5ad(path)
    with h5py.File(path, "a") as file:
        index = file["obs/_index"]
        index.attrs["note"] = "a note, which nothing else has"
        place = index.id.get_offset()
    open_source(path)  # the control
    content = bytearray(path.read_bytes())
    if where == "an attribute":
        object_at = content.index(b"a note, which nothing else has") - 16
        collection = content.rindex(b"GCOL", 0, object_at)
        cell = collection.to_bytes(8, "little") + content[object_at : object_at + 2] + b"\0\0"
        place = content.index(cell) - 4
    content[place : place + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    refused(path, "is to have 4,294,967,295 bytes, and has")


def test_queries_without_end(tmp_path):
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c WHERE x < 0"
    with sqlite3.connect(tmp_path / "x.sqlite") as database:
        database.execute(f"CREATE VIEW v AS {endless}")
    database.close()
    with pytest.raises(DataError, match="interrupted"):
        open_source(f"{tmp_path / 'x.sqlite'}::v")


def test_the_memory_of_a_fit_bounds_what_its_data_unpack_to(tmp_path, capsys):
    path = tmp_path / "x.npz"
    write_npz(path)
    assert main(["fit", str(path), "-o", str(tmp_path / "run"), "--memory", MEMORY]) == 1
    assert ALLOWED in capsys.readouterr().err
    with pytest.raises(DataError, match=ALLOWED):
        VAE(memory=MEMORY).fit(str(path))
    assert len(open_source(path, memory="200MB")) == SIZE // 80  # the control


@pytest.mark.parametrize("ending", [".csv", ".npy", ".npz", ".parquet", ".h5ad", ".json", ".xlsx", ".sqlite", ".arrow"])
def test_pipes_and_devices_are_not_opened(ending, tmp_path):
    os.mkfifo(tmp_path / f"pipe{ending}")
    refused(tmp_path / f"pipe{ending}", "is a named pipe, expected a file")
    os.symlink("/dev/zero", tmp_path / f"zero{ending}")
    refused(tmp_path / f"zero{ending}", "is a device, expected a file")


def test_pipes_within_folders(tmp_path):
    store = tmp_path / "x.zarr"
    write_zarr(store, 3)
    chunk = next(file for file in store.rglob("*") if file.is_file() and file.suffix != ".json")
    chunk.unlink()
    os.mkfifo(chunk)
    refused(store, "is a named pipe, expected a file")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    os.mkfifo(pictures / "0.png")
    Image.new("L", (4, 4)).save(pictures / "1.png")
    assert len(open_source(pictures)) == 1  # what is no file is no picture


def test_links_in_a_circle_and_names_with_nul(tmp_path):
    (tmp_path / "again").symlink_to(tmp_path)
    Image.new("L", (4, 4)).save(tmp_path / "0.png")
    assert len(open_source(tmp_path)) == 1
    (tmp_path / "x.csv").symlink_to(tmp_path / "x.csv")
    for name in (tmp_path / "x.csv", "x\0.csv"):
        refused(name, "no such file|symbolic links|null byte")
