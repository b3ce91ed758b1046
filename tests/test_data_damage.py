"""Damaged files: whatever bytes they hold, one line says which file is wrong, and nothing else is raised, quickly."""

import json
import random
import resource
import warnings
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse
from tools.mutations import mutated
from tools.specimens import FORMATS, FRAME, X, write_h5ad, write_ods, write_zarr

from latentmap.cli import main
from latentmap.data.sources import open_source
from latentmap.exceptions import DataError

MUTANTS = 150
"""Of each format, of which every fifth position or so is hit."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_bytes_are_refused_in_one_line(name, tmp_path):
    path, draw = tmp_path / name, random.Random(0)
    try:
        FORMATS[name](path)
    except ImportError as error:
        pytest.skip(str(error))
    files = (
        [file for file in sorted(path.rglob("*")) if file.is_file() and file.stat().st_size]
        if path.is_dir()
        else [path]
    )
    whole = {file: file.read_bytes() for file in files}
    refused, before = 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(MUTANTS):
        file = draw.choice(files)
        file.write_bytes(mutated(whole[file], draw))
        try:
            source = open_source(path)
            assert len(source) == source.schema.n_rows  # reads all rows
        except DataError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 500
            assert str(tmp_path) in str(error)
        file.write_bytes(whole[file])
    assert 0 < refused <= MUTANTS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18  # 256 MB
    open_source(path)  # the control: the file as it was


def refused(path):
    with pytest.raises(DataError) as caught:
        open_source(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999, 3), }", "not a readable .npy file"),
        (
            "{'descr': '<f8', 'fortran_order': False, 'shape': (3000000000, 300), }",
            "truncated: shorter than its header",
        ),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (-12, 3), }", "not a readable .npy file"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (12, 3", "not a readable .npy file"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (12.5, 3), }", "not a readable .npy file"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': 12, }", "not a readable .npy file"),
        ("{'descr': 3, 'fortran_order': False, 'shape': (12, 3), }", "not a readable .npy file"),
        (
            "{'descr': '|O', 'fortran_order': False, 'shape': (12, 3), }",
            "holds pickled Python objects, which are never",
        ),
        ("(" * 5000, "not a readable .npy file"),
    ],
)
def test_headers_of_arrays(header, message, tmp_path):
    path = tmp_path / "x.npy"
    text = header.encode() + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + X.tobytes())
    assert message in refused(path)
    assert main(["info", str(path)]) == 1 == main(["fit", str(path), "-o", str(tmp_path / "run")])


@pytest.mark.parametrize("name", ["x.parquet", "x.feather"])
@pytest.mark.parametrize(
    "pandas", [b"{", b'{"index_columns": 3}', b"[1]", b"\xff\xfe", b'{"index_columns": [{"a": []}]}', b"[" * 10**5]
)
def test_what_pandas_wrote_beside_a_table(name, pandas, tmp_path):
    path = tmp_path / name
    table = pa.Table.from_pandas(FRAME).replace_schema_metadata({b"pandas": pandas})
    if name == "x.parquet":
        import pyarrow.parquet

        pyarrow.parquet.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    try:
        assert len(open_source(path)) == 12
    except DataError as error:
        assert "\n" not in str(error) and str(path) in str(error)
        assert "what pandas wrote beside its columns" in str(error) or "index_columns" not in pandas.decode("latin1")


def test_text_that_lies_beyond_its_column(tmp_path):
    offsets = pa.py_buffer(np.array([0, 2**30, 2, 3], np.int32).tobytes())
    broken = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"abc"))
    path = tmp_path / "x.arrow"
    table = pa.table({"text": broken})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    assert "Offset invariant failure" in refused(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a,b\n1," + b"9" * 200_000 + b"\n", "line 2: field larger than field limit (131072)"),
        (b"a" * 200_000 + b",b\n1,2\n", "line 1: field larger than field limit (131072)"),
        (b'a,b\n1,2\n3,"4\n' + b"5,6\n" * 60_000, "field larger than field limit (131072); check the quotes"),
        (b'a,b\n1,2\n3,"4\n5,6\n', "unexpected end of data; check the quotes"),
        (b"a,b\n1,2\n3,\x004\n", "line 3 holds a NUL byte"),
        (b"a,b\n1,\x00\x00\n", "line 2 holds a NUL byte"),
    ],
)
def test_cells_of_text_tables(text, message, tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(text)
    assert message in refused(path)
    assert len(refused(path)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize("axes", [2, 200, 255])
def test_idx_files_of_absurd_sizes(axes, tmp_path):
    path = tmp_path / "x-ubyte"
    path.write_bytes(b"\0\0\x08" + bytes([axes]) + b"\xff" * 4 * axes + bytes(9))
    assert "truncated" in refused(path)
    path.write_bytes(b"\0\0\x08" + bytes([axes]) + b"\0\0\0\1" * axes + bytes(1))
    if axes > 64:
        assert "not a readable IDX file" in refused(path)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_names_of_another_number_than_columns(kind, tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "x.h5ad"
    write_h5ad(path, X if kind == "dense" else sparse.csr_matrix(np.abs(np.rint(X))))
    assert len(open_source(path).names) == 3  # the control
    with h5py.File(path, "r+") as file:
        del file["var/_index"]
        file["var/_index"] = np.array(["a", "b"], h5py.string_dtype())
        file["var/_index"].attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
    assert "x.h5ad has 2 names for 3 columns: expected a name for each" in refused(path)


def test_places_outside_a_sparse_matrix(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "x.h5ad"
    write_h5ad(path, sparse.csr_matrix(np.abs(np.rint(X)) + 1))
    with h5py.File(path, "r+") as file:
        file["X/indices"][5] = 2**30
    assert "is no valid sparse matrix" in refused(path)


def test_rows_that_end_before_they_begin(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "x.h5ad"
    write_h5ad(path, sparse.csr_matrix(np.abs(np.rint(X)) + 1))
    with h5py.File(path, "r+") as file:
        file["X/indptr"][:] = [0, 2**22] * 6 + [0]
    assert "a row ends before it begins" in refused(path)


def test_text_of_hdf5_that_ends_after_its_file(tmp_path):
    path = tmp_path / "x.h5ad"
    write_h5ad(path)
    content = bytearray(path.read_bytes())
    at = content.find(b"GCOL")
    content[at + 11] = 0x50  # a collection of 1.3 GB
    path.write_bytes(content)
    assert "ends after the file" in refused(path)


@pytest.mark.timeout(60)
def test_sheets_that_are_no_xml(tmp_path):
    pytest.importorskip("python_calamine")
    path = tmp_path / "x.ods"
    write_ods(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["content.xml"] = members["content.xml"].replace(b"<table:table-row>", b"<table:table-row<", 1)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert "not well-formed" in refused(path)


@pytest.mark.parametrize("change", [{"shape": [10**12, 10**6]}, {"shape": [-4, 3]}, {"shape": [12, "x"]}, {"shape": 3}])
def test_zarr_arrays_of_absurd_sizes(change, tmp_path):
    path = tmp_path / "x.zarr"
    write_zarr(path, 3)
    file = path / "X" / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refused(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**19  # half a gigabyte
    file.write_text("[" * 10**5)
    refused(path)


@pytest.mark.parametrize(
    "error", [MemoryError(), RecursionError("too deep"), KeyError("x"), SystemError("a\nb"), IndexError()]
)
def test_whatever_a_reader_raises_becomes_one_line(error, tmp_path, monkeypatch):
    path = tmp_path / "x.npy"
    np.save(path, X)

    def fail(*_, **__):
        raise error

    monkeypatch.setattr("latentmap.data.formats.npy.open_memmap", fail)
    assert refused(path).startswith(f"{path}: ")
    monkeypatch.setattr("latentmap.data.formats.npy.open_memmap", lambda *_, **__: 1 / 0)
    assert "ZeroDivisionError" in refused(path) or "division by zero" in refused(path)
