"""A stranger's data: what they unpack to is bounded by the memory that is allowed, and nothing of them is run."""

import bz2
import gzip
import lzma
import os
import sqlite3
import zipfile

import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import feather
from tools.fuzz_child import peak, resource_reset
from tools.specimens import write_h5ad as write_data_h5ad
from tools.specimens import write_zarr

from bombs import BOMBS, SIZE, write_h5ad, write_npz, write_sparse_h5ad
from latentmap import VAE
from latentmap.cli import main
from latentmap.data.formats.arrays import ArraySource
from latentmap.data.formats.sparse import SparseSource
from latentmap.data.sources import open_source
from latentmap.exceptions import DataError

MEMORY = "5MB"
MEGABYTES = 80
"""The most that the reader of such a file takes: the memory that is allowed, and its own."""
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
    with pytest.raises(DataError, match="takes far longer than reading it does; take a table of it"):
        open_source(f"{tmp_path / 'x.sqlite'}::v")


def test_queries_of_duckdb_without_end(tmp_path, monkeypatch):
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(str(tmp_path / "x.duckdb")) as database:
        database.execute("CREATE TABLE t AS SELECT range AS a FROM range(10)")
        database.execute("CREATE VIEW v AS SELECT sum(a.range * b.range) s FROM range(10000000) a, range(10000000) b")
        database.execute("CREATE VIEW w AS SELECT a FROM t")
    assert len(open_source(f"{tmp_path / 'x.duckdb'}::w")) == 10  # the control
    monkeypatch.setattr("latentmap.data.formats.databases.MOST_SECONDS", 0.5)
    with pytest.raises(DataError, match=r"'v' takes more than 1 s; take a table of it"):
        open_source(f"{tmp_path / 'x.duckdb'}::v")


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


@pytest.mark.parametrize("ending", ["csv", "txt", "json", "jsonl", "xlsx", "parquet", "arrow", "duckdb"])
def test_tables_of_very_many_columns(ending, tmp_path, monkeypatch):
    monkeypatch.setattr("latentmap.data.formats.unpacked.MOST_COLUMNS", 50)
    for count in (60, 40):
        path = tmp_path / f"x{count}.{ending}"
        names = [f"c{i}" for i in range(count)]
        frame = pd.DataFrame([[float(i) for i in range(count)]] * 3, columns=names)
        match ending:
            case "csv" | "txt":
                frame.to_csv(path, index=False, sep="," if ending == "csv" else " ")
            case "json" | "jsonl":
                frame.to_json(path, orient="records", lines=ending == "jsonl")
            case "xlsx":
                pytest.importorskip("python_calamine")
                frame.to_excel(path, index=False)
            case "parquet":
                frame.to_parquet(path)
            case "arrow":
                feather.write_feather(frame, path)
            case _:
                duckdb = pytest.importorskip("duckdb")
                with duckdb.connect(str(path)) as database:
                    database.execute(f"CREATE TABLE t ({', '.join(f'{name} DOUBLE' for name in names)})")
                    database.execute(f"INSERT INTO t VALUES ({', '.join(['1'] * count)})")
        if count == 60:
            refused(path, r"has 60 columns, and a table has 50 at most: take some of them, or save them as one array")
        else:
            assert open_source(path).schema.n_features == 40  # the control


def test_sparse_matrices_that_store_more_values_than_cells(tmp_path):
    write_sparse_h5ad(tmp_path / "x.h5ad", 90, [0, 30, 60, 90], 10)
    refused(tmp_path / "x.h5ad", "stores 90 values of 3 x 10 cells")


def test_rows_of_sparse_matrices_are_read_within_the_memory(tmp_path, monkeypatch):
    path, columns = tmp_path / "x.h5ad", 40_000
    write_sparse_h5ad(path, 3 * columns, [0, columns, 2 * columns, 3 * columns], columns)
    made = []
    monkeypatch.setattr(
        "latentmap.data.formats.annotated.SparseSource", lambda rows, **given: made.append(rows) or SparseSource(rows)
    )
    source = open_source(path, memory="1MB")
    assert not source.is_sparse and [block.sum() for _, block in source.blocks()] == [0.0]
    assert {rows.shape for rows in made} == {(1, columns)}


def test_links_in_a_circle_and_names_with_nul(tmp_path):
    (tmp_path / "again").symlink_to(tmp_path)
    Image.new("L", (4, 4)).save(tmp_path / "0.png")
    assert len(open_source(tmp_path)) == 1
    (tmp_path / "x.csv").symlink_to(tmp_path / "x.csv")
    for name in (tmp_path / "x.csv", "x\0.csv"):
        refused(name, "no such file|symbolic links|null byte")
