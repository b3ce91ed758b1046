"""Files of a few bytes that unpack to far more: writers by the name of a file of that format."""

import gzip
import io
import sqlite3
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

SIZE = 4 * 10**7


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


def write_columns(path, **columns):
    table = pa.table({name: column() for name, column in columns.items()})
    if path.suffix == ".parquet":
        pq.write_table(table, path, store_schema=False)
    else:
        feather.write_feather(table, path, compression="zstd")


def one_text(rows=10**5):
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * 10**4]))


def lists(values=10**6):
    return pa.ListArray.from_arrays(pa.array([0, values // 2, values], pa.int32()), pa.array(np.zeros(values)))


def text_lists():
    return pa.ListArray.from_arrays(pa.array([0, 1000, 2000], pa.int32()), one_text(2000))


def shared_lists():
    """Lists of a million values each, all of which are the same ones."""
    starts, sizes = pa.array(np.zeros(1000, np.int32)), pa.array(np.full(1000, 1000, np.int32))
    return pa.ListViewArray.from_arrays(starts, sizes, pa.array(np.zeros(1000, np.int8)))


def runs():
    return pa.RunEndEncodedArray.from_arrays(pa.array([10**5], pa.int32()), pa.array(["x" * 10**4]))


def shared_text():
    """Views of one text: length, its first four bytes, and where it lies."""
    views = np.zeros((10**4, 4), "<i4")
    views[:, 0], views[:, 1] = 10**4, int.from_bytes(b"xxxx", "little")
    buffers = [None, pa.py_buffer(views.tobytes()), pa.py_buffer(b"x" * 10**4)]
    return pa.Array.from_buffers(pa.string_view(), len(views), buffers)


def write_list_duckdb(path):
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(str(path)) as database:
        lists = "SELECT list(0::TINYINT) AS l FROM range(50000)"
        database.execute(f"CREATE TABLE t AS SELECT a, l FROM range(4) t(a), ({lists})")


def write_sparse_h5ad(path, stored, ends, columns, kind="csr_matrix"):
    """Write a sparse matrix of zeros that are stored: so many, in rows that end there."""
    h5py = pytest.importorskip("h5py")
    write_h5ad(path, (3, 3), (3, 3))
    with h5py.File(path, "a") as file:
        del file["X"], file["var"]
        names = file.create_group("var")
        names.attrs.update(file["obs"].attrs)
        index = names.create_dataset("_index", data=[str(i) for i in range(columns)], dtype=h5py.string_dtype())
        index.attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
        shape = np.array([3, columns])
        matrix = file.create_group("X")
        matrix.attrs.update({"encoding-type": kind, "encoding-version": "0.1.0", "shape": shape})
        values = {"data": np.zeros(stored), "indices": np.resize(np.arange(min(columns, stored)), stored)}
        for name, array in values.items():
            matrix.create_dataset(name, data=array, chunks=(min(10**4, stored),), compression="gzip")
        matrix["indptr"] = np.array(ends)


def compress_runs(path):
    """Write a column of Arrow that stores one text for all rows."""
    table = pa.table({"a": runs()})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


BOMBS = {
    "lists.parquet": lambda path: write_columns(path, a=lists),
    "texts_of_lists.parquet": lambda path: write_columns(path, a=text_lists),
    "footer.parquet": lambda path: write_columns(path, **{f"c{i}": lambda: pa.array([1.0]) for i in range(3000)}),
    "lists.arrow": lambda path: write_columns(path, a=lambda: lists(10**5)),
    "dictionary.arrow": lambda path: write_columns(path, a=one_text),
    "views.arrow": lambda path: write_columns(path, a=shared_text),
    "shared.arrow": lambda path: write_columns(path, a=shared_lists),
    "runs.arrow": compress_runs,
    "lists.duckdb": write_list_duckdb,
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
    "row.h5ad": lambda path: write_sparse_h5ad(path, 350_000, [0, *[350_000] * 3], 120_000),
    "csc.h5ad": lambda path: write_sparse_h5ad(path, 350_000, [0, *[350_000] * 120_000], 120_000, "csc_matrix"),
    "empty.json": lambda path: path.write_bytes(b"[" + b"[]," * 80_000 + b"[]]"),
    "shared.xlsx": write_xlsx,
    "cells.xlsx": lambda path: write_sheet(path, sheet=b"<row><c><v>1</v></c><c/></row>" * 10**5),
    "texts.xlsx": lambda path: write_sheet(path, texts=b"<si><t>q</t></si>" * 10**5),
    "wide.zarr": write_wide_zarr,
    "chunk.zarr": write_chunked_zarr,
}
