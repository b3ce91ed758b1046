"""Damaged files: whatever bytes they hold, one line says which file is wrong, and nothing else is raised, quickly."""

import contextlib
import gzip
import io
import json
import random
import resource
import sqlite3
import warnings
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from scipy import sparse

from latentmap.cli import main
from latentmap.data.sources import open_source
from latentmap.exceptions import DataError

X = np.random.default_rng(0).normal(size=(12, 3))
FRAME = pd.DataFrame(
    {
        "number": X[:, 0],
        "count": np.arange(12),
        "text": ["u", "v", None] * 4,
        "day": pd.date_range("2020-01-01", periods=12),
        "kind": pd.Categorical(["p", "q"] * 6),
    },
    index=pd.Index(range(5, 17), name="id"),
)
MUTANTS = 150
"""Of each format, of which every fifth position or so is hit."""
MANIFEST = """<?xml version="1.0" encoding="UTF-8"?>
<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>"""
SPREADSHEET = """<?xml version="1.0" encoding="UTF-8"?><office:document-content
xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"
xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><office:body><office:spreadsheet>
<table:table table:name="Sheet">{}</table:table></office:spreadsheet></office:body></office:document-content>"""


def write_h5ad(path, values=X):
    anndata = pytest.importorskip("anndata")
    obs = pd.DataFrame({"k": pd.Categorical(list("ab") * 6)}, index=[f"row {i}" for i in range(12)])
    anndata.AnnData(values, obs=obs, layers={"counts": values.copy()}).write_h5ad(path)


def write_old_h5ad(path):
    h5py = pytest.importorskip("h5py")
    counts = sparse.csr_matrix(np.abs(np.rint(X)))
    obs = np.zeros(12, [("index", "S4"), ("k", "i1")])
    obs["k"] = [0, 1, -1] * 4
    var = np.array([(b"g0",), (b"g1",), (b"g2",)], [("index", "S4")])
    with h5py.File(path, "w") as file:
        file.update({"obs": obs, "var": var, "raw.X": X, "raw.var": var, "uns/k_categories": np.array([b"p", b"q"])})
        file["obsm"] = np.zeros(12, [("X_pca", "f4", (2,)), ("time", "f4")])
        file.create_group("X").attrs.update({"h5sparse_format": b"csr", "h5sparse_shape": counts.shape})
        file["X"].update({name: getattr(counts, name) for name in ("data", "indices", "indptr")})


def write_ods(path, **attributes):
    """Write a sheet of OpenDocument; ``columns`` and ``rows`` repeat its last cell and row."""
    repeats = {kind: f' table:number-{kind}-repeated="{number}"' for kind, number in attributes.items()}
    value = '<table:table-cell office:value-type="float" office:value="{}"{}/>'
    lines = [
        '<table:table-row><table:table-cell office:value-type="string"><text:p>name</text:p></table:table-cell>'
        '<table:table-cell office:value-type="string"><text:p>size</text:p></table:table-cell></table:table-row>'
    ]
    for i in range(12):
        kind = f'<table:table-cell office:value-type="string"><text:p>{"pq"[i % 2]}</text:p></table:table-cell>'
        lines.append(f"<table:table-row>{kind}{value.format(i, '')}</table:table-row>")
    if attributes:
        last = value.format(7, repeats.get("columns", "")).replace("/>", "><text:p>7</text:p></table:table-cell>")
        lines.append(f"<table:table-row{repeats.get('rows', '')}>{last}</table:table-row>")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet", zipfile.ZIP_STORED)
        archive.writestr("META-INF/manifest.xml", MANIFEST)
        archive.writestr("content.xml", SPREADSHEET.format("".join(lines)))


def write_xlsx(path):
    pytest.importorskip("python_calamine")
    FRAME.to_excel(path)


def write_sqlite(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        FRAME.assign(kind="p").to_sql("trees", database)
        database.execute("CREATE INDEX sorted ON trees (number)")


def write_duckdb(path):
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(str(path)) as database:
        database.execute("CREATE TABLE trees AS SELECT i AS number, 'u' || i % 2 AS text FROM range(12) t(i)")


def write_zarr(path, version):
    zarr = pytest.importorskip("zarr")
    zarr.open_group(str(path), mode="w", zarr_format=version).create_array("X", data=X, chunks=(5, 2))


def write_images(path):
    path.mkdir()
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 255, (9, 8, 3), np.uint8)
        Image.fromarray(pixels).save(path / f"{i}{path.suffix}")


FORMATS = {
    "x.npy": lambda path: np.save(path, X),
    "x.npz": lambda path: np.savez(path, X=X, y=np.arange(12)),
    "small.npz": lambda path: np.savez_compressed(path, X=X),
    "x.parquet": FRAME.to_parquet,
    "x.feather": lambda path: FRAME.to_feather(path, compression="uncompressed"),
    "x.arrow": lambda path: FRAME.to_feather(path, compression="zstd"),
    "x.h5ad": write_h5ad,
    "sparse.h5ad": lambda path: write_h5ad(path, sparse.csr_matrix(np.abs(np.rint(X)))),
    "old.h5ad": write_old_h5ad,
    "x.xlsx": write_xlsx,
    "x.ods": lambda path: pytest.importorskip("python_calamine") and write_ods(path),
    "x.json": lambda path: FRAME.to_json(path, orient="records"),
    "x.jsonl": lambda path: FRAME.to_json(path, orient="records", lines=True),
    "x.jsonl.gz": lambda path: FRAME.to_json(path, orient="records", lines=True),
    "x.sqlite": write_sqlite,
    "x.duckdb": write_duckdb,
    "x.csv": FRAME.to_csv,
    "x.csv.gz": FRAME.to_csv,
    "x-ubyte": lambda path: path.write_bytes(b"\0\0\x08\x02" + np.array([6, 6], ">u4").tobytes() + bytes(range(36))),
    "x-ubyte.gz": lambda path: path.write_bytes(
        gzip.compress(b"\0\0\x08\x02" + np.array([6, 6], ">u4").tobytes() + bytes(range(36)))
    ),
    "two.zarr": lambda path: write_zarr(path, 2),
    "three.zarr": lambda path: write_zarr(path, 3),
    "folder.png": write_images,
    "folder.gif": write_images,
    "folder.bmp": write_images,
    "folder.jpg": write_images,
    "folder.tif": write_images,
    "folder.webp": write_images,
}


def mutated(content, draw):
    """Change a few bytes, most often one, and of half of the zip archives those of a member."""
    if content[:2] == b"PK" and draw.random() < 0.5:
        return with_mutated_member(content, draw)
    found = bytearray(content)
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        if not found:
            break
        at = draw.randrange(len(found))
        if draw.random() < 0.4:  # in a header or a footer
            at = draw.choice([1, -1]) * draw.randrange(min(400, len(found)))
        match draw.randrange(5):
            case 0:
                found[at] ^= 1 << draw.randrange(8)
            case 1:
                found[at] = draw.randrange(256)
            case 2:
                found[at] = draw.choice(b"0123456789-,.'\"{}[]()e \n")
            case 3:
                found[at:at] = draw.choice([b"\0", b"9", b"99999", b"\xff\xff\xff\xff"])
            case _:
                found[at : at + 2] = draw.choice([b"", b"\xff\xff", b"\0\0"])
    return bytes(found)


def with_mutated_member(content, draw):
    """Return a zip archive with one changed member, whose checksum is right."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = draw.choice(sorted(members))
    members[name] = mutated(members[name], draw)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for key, value in members.items():
            archive.writestr(key, value)
    return made.getvalue()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_bytes_are_refused_in_one_line(name, tmp_path):
    path, draw = tmp_path / name, random.Random(0)
    FORMATS[name](path)
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


@pytest.mark.parametrize("change", [{"shape": [10**12, 10**6]}, {"shape": [-4, 3]}, {"shape": [12, "x"]}, {"shape": 3}])
def test_zarr_arrays_of_absurd_sizes(change, tmp_path):
    path = tmp_path / "x.zarr"
    write_zarr(path, 3)
    file = path / "X" / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if change == {"shape": [10**12, 10**6]}:
            assert len(open_source(path)) == 10**12  # which is what a store without most of its chunks is
        else:
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
