"""The same numbers come out of every container, with the same content hash; labels are kept apart."""

import contextlib
import gzip
import json
import sqlite3

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from latentmap.data.checks import EXACT
from latentmap.data.formats.base import Request
from latentmap.data.formats.delimited import delimited_source
from latentmap.data.schema import content_hash
from latentmap.data.sources import FORMATS, Source, open_source
from latentmap.exceptions import DataError

TABLES = hnp.arrays(
    st.sampled_from(["float64", "float32", "int64", "uint8"]),
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
    elements={"min_value": 0, "max_value": 200},
) | hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8))
SLOWLY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


def text(array, delimiter=",", names=None):
    lines = [] if names is None else [delimiter.join(names)]
    return "\n".join([*lines, *(delimiter.join(map(repr, row)) for row in array.tolist()), ""])


def write(folder, array):
    """Write one table in every format, named and unnamed."""
    names = [f"c{i}" for i in range(array.shape[1])]
    np.save(folder / "a.npy", array)
    np.save(folder / "b.npy", np.asfortranarray(array.astype(array.dtype.newbyteorder())))
    np.savez(folder / "a.npz", X=array)
    np.savez_compressed(folder / "b.npz", other=np.arange(3), rows=array)
    (folder / "a.csv").write_text(text(array, names=names))
    (folder / "b.csv").write_text(text(array, ";", names), encoding="utf-8-sig")
    (folder / "a.tsv").write_text(text(array, "\t", names))
    for name in ("a.csv", "a.tsv"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
    frame = pd.DataFrame(array, columns=names)
    frame.to_parquet(folder / "a.parquet")
    frame.set_axis([f"row {i}" for i in range(len(frame))]).to_parquet(folder / "b.parquet")  # with row names
    frame.to_feather(folder / "a.feather", compression="lz4")
    table = pa.Table.from_pandas(frame)
    with pa.OSFile(str(folder / "a.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    records = [json.dumps(dict(zip(names, row, strict=True))) for row in array.tolist()]
    (folder / "a.json").write_text(f"[{', '.join(records)}]")
    (folder / "a.jsonl.gz").write_bytes(gzip.compress("\n".join(records).encode()))
    with contextlib.closing(sqlite3.connect(folder / "a.sqlite")) as database:
        frame.to_sql("a", database, index=False, if_exists="replace")
    (folder / "many").mkdir(exist_ok=True)
    for old in (folder / "many").iterdir():
        old.unlink()
    for i in range(0, len(frame), 3):
        frame[i : i + 3].to_parquet(folder / "many" / f"{i}.parquet")
    return [folder / "many"] + [path for path in sorted(folder.iterdir()) if path.name.endswith(tuple(FORMATS))]


@SLOWLY
@given(array=TABLES)
def test_every_file_gives_the_same_numbers_and_the_same_content_hash(array, tmp_path):
    array = np.where(np.abs(array) > EXACT, np.nan, array) if array.dtype == float else array
    assume(array.dtype != float or not np.isnan(array).all(axis=0).any())  # tables leave out what holds nothing
    memory = open_source(array)
    for path in write(tmp_path, array):
        source = open_source(path)
        np.testing.assert_array_equal(source.read(slice(None)), array, err_msg=path.name)
        assert content_hash(source, source.schema) == content_hash(memory, memory.schema), path.name
        if path.name.endswith(("npy", "npz")):
            assert source.fingerprint == memory.fingerprint
        else:
            assert source.schema.names == tuple(f"c{i}" for i in range(array.shape[1]))


@given(array=hnp.arrays(st.sampled_from(["float64", "float32", "int32", "bool", "uint8"]), (5, 3),
                        elements={"min_value": 0, "max_value": 200}))  # fmt: skip
def test_every_object_in_memory_gives_the_same_numbers(array):
    names = ["a", "b", "c"]
    frame = pd.DataFrame(array, columns=names)
    objects = [
        array.tolist(),
        torch.from_numpy(array),
        frame,
        frame.convert_dtypes(dtype_backend="numpy_nullable"),
        frame.convert_dtypes(dtype_backend="pyarrow"),
        pl.DataFrame(array, schema=names),
        pl.LazyFrame(array, schema=names),
    ]
    memory = open_source(array)
    for data in objects:
        source = open_source(data)
        np.testing.assert_array_equal(source.read(slice(None)), array)
        assert content_hash(source, source.schema) == content_hash(memory, memory.schema)


@pytest.mark.parametrize("shape", [(6, 4), (6, 3, 3), (6, 4, 4, 3)])
def test_rows_are_read_by_slice_or_by_index_whatever_their_shape(shape, tmp_path):
    array = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    np.save(tmp_path / "x.npy", array)
    for data in (array, torch.from_numpy(array), tmp_path / "x.npy", str(tmp_path / "x.npy")):
        source = open_source(data)
        assert isinstance(source, Source)
        assert (len(source), source.schema.event_shape, source.schema.dtype) == (6, shape[1:], "uint8")
        np.testing.assert_array_equal(source.read(slice(2, 5)), array[2:5])
        np.testing.assert_array_equal(source.read(np.array([5, 0, 0])), array[[5, 0, 0]])
    assert not isinstance(source.read(slice(2, 5)), np.memmap)


def test_types_that_torch_cannot_hold_are_converted():
    extended = np.array([[0.1, 2.5]], dtype=np.longdouble)
    assert open_source(extended).read(slice(1)).dtype == np.float64
    swapped = np.array([[1, 2]], dtype=">i4")
    assert open_source(swapped).read(slice(1)).dtype.isnative
    assert torch.from_numpy(open_source(swapped).read(slice(1))).tolist() == [[1, 2]]
    half = torch.tensor([[1.5, 2.5]], dtype=torch.bfloat16, requires_grad=True)
    np.testing.assert_array_equal(open_source(half).read(slice(1)), [[1.5, 2.5]])


def test_missing_cells_of_a_frame_are_nan_and_counted():
    frames = [
        pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": [0.5, 1.0]}),
        pd.DataFrame({"a": [1.0, np.nan], "b": pd.array([0.5, 1.0], dtype="Float64")}),
        pl.DataFrame({"a": [1, None], "b": [0.5, 1.0]}),
        pl.DataFrame({"a": pl.Series(["1", None]).cast(pl.Decimal(4, 1)), "b": [0.5, 1.0]}),
    ]
    for frame in frames:
        source = open_source(frame)
        np.testing.assert_array_equal(source.read(slice(None)), [[1, 0.5], [np.nan, 1]])
        assert (source.schema.missing, source.schema.names) == (1, ("a", "b"))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["elm", None, "oak"], ["elm", "missing", "oak"]),
        ([2, 0, 1], [2, 0, 1]),
        ([True, False, True], [True, False, True]),
    ],
)
def test_a_column_of_a_frame_can_hold_the_labels(frame, labels, expected):
    source = open_source(frame({"height": [1.0, 2.0, 3.0], "kind": labels}), labels="kind")
    assert source.labels.tolist() == expected
    assert (source.label_name, source.schema.names, source.schema.event_shape) == ("kind", ("height",), (1,))
    assert source.labels.dtype.kind in "biU"


def test_labels_can_be_given_beside_any_data(tmp_path):
    array = np.arange(6.0).reshape(3, 2)
    np.save(tmp_path / "x.npy", array)
    np.savez(tmp_path / "x.npz", X=array)
    (tmp_path / "x.csv").write_text(text(array))
    for data in (array, torch.from_numpy(array), pd.DataFrame(array), *sorted(tmp_path.iterdir())):
        source = open_source(data, labels=["u", "v", "u"])
        assert (source.labels.tolist(), source.label_name) == (["u", "v", "u"], None)
        assert open_source(data).labels is None
        with pytest.raises(DataError, match=r"labels have shape \(2,\), but .* has 3 rows"):
            open_source(data, labels=[0, 1])


def test_a_member_of_an_archive_holds_the_rows_and_another_the_labels(tmp_path):
    rows, y, path = np.arange(6.0).reshape(3, 2), np.array([3, 1, 2]), tmp_path / "x.npz"
    for members, label_name in [
        ({"X": rows, "y": y}, "y"),
        ({"images": rows, "labels": y, "weights": rows.T}, "labels"),
        ({"x_train": rows, "y_train": y, "x_test": -rows}, "y_train"),
        ({"whatever": rows, "target": y}, "target"),
        ({"data": rows, "y": rows}, None),  # one value a row, else they are no labels
    ]:
        np.savez(path, **members)
        source = open_source(path)
        np.testing.assert_array_equal(source.read(slice(None)), rows)
        assert source.label_name == label_name
        assert source.labels is None if label_name is None else source.labels.tolist() == [3, 1, 2]
    np.savez(path, X=rows, y=y, group=y[::-1])
    assert open_source(path, labels="group").labels.tolist() == [2, 1, 3]


def test_a_source_is_opened_as_it_is():
    source = open_source(np.ones((2, 2)))
    assert open_source(source) is source
    with pytest.raises(DataError, match="a source with labels of its own"):
        open_source(source, labels=[0, 1])


def test_a_source_of_ones_own_needs_only_rows_to_read():
    class Squares(Source):
        name = "squares"

        def __len__(self):
            return 10

        def read(self, rows):
            return np.square(np.arange(10)[rows])[:, None]

    source = open_source(Squares())
    assert (source.schema.highest, source.schema.kind) == (81, "count")
    array = open_source(np.square(np.arange(10))[:, None])
    assert source.fingerprint == array.fingerprint


@pytest.mark.parametrize(
    ("lines", "names", "rows"),
    [
        ("x,y\n1,2\n3,4\n", ("x", "y"), [[1, 2], [3, 4]]),
        ("1,2\n3,4\n", None, [[1, 2], [3, 4]]),
        ("1,2\n", None, [[1, 2]]),
        ("0,1,2\n", None, [[0, 1, 2]]),
        ("x\n1\n\n2\n", ("x",), [[1], [2]]),
        ("0,1,2\n5,6,7\n", ("0", "1", "2"), [[5, 6, 7]]),
        (",0,1,2\n0,5,6,7\n1,8,9,10\n", ("0", "1", "2"), [[5, 6, 7], [8, 9, 10]]),
        ('"","x","y"\n"row 1",1,2\n"row 2",3,4\n', ("x", "y"), [[1, 2], [3, 4]]),
        ("id,2019,2020\n1,2,3\n", ("id", "2019", "2020"), [[1, 2, 3]]),
        ("# x, y\n1, 2\n", ("x", "y"), [[1, 2]]),
        ('"a, b";c\r\n1;2\r\n', ("a, b", "c"), [[1, 2]]),
        ('"two\nlines",y\n1,2\n', ("two\nlines", "y"), [[1, 2]]),
        ("x|y\n1e3|-inf\n", ("x", "y"), [[1000, -np.inf]]),
        ("x,y\n,2\nNA,?\nnull,nan\n7,\n", ("x", "y"), [[np.nan, 2], [np.nan] * 2, [np.nan] * 2, [7, np.nan]]),
        ("größe,y\n1,2", ("größe", "y"), [[1, 2]]),
    ],
)
def test_header_delimiter_row_names_and_missing_cells_are_found(lines, names, rows, tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(lines.encode())
    source = open_source(path)
    assert source.schema.names == names
    np.testing.assert_array_equal(source.read(slice(None)), rows)


def test_a_column_of_a_text_table_can_hold_the_labels(tmp_path):
    path = tmp_path / "iris.csv"
    path.write_text(",length,species,width\n1,5.1,setosa,3.5\n2,NA,virginica,3.0\n3,4.7,,3.2\n")
    source = open_source(path, labels="species")
    assert source.labels.tolist() == ["setosa", "virginica", "missing"]
    assert (source.schema.names, source.label_name, source.schema.missing) == (("length", "width"), "species", 1)
    np.testing.assert_array_equal(source.read(slice(None)), [[5.1, 3.5], [np.nan, 3.0], [4.7, 3.2]])
    path.write_text("5.1,setosa\n4.7,virginica\n")  # no header: columns have numbers, from 1
    assert open_source(path, labels="2").labels.tolist() == ["setosa", "virginica"]
    path.write_text("x,class\n5.1,2\n4.7,10\n")
    assert open_source(path, labels="class").labels.dtype == np.int64


def test_a_partitioned_folder_is_one_table_and_a_partition_may_be_the_labels(tmp_path):
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [5, 6, 7, 8], "kind": ["oak", "elm", "oak", "elm"]})
    frame.to_parquet(tmp_path, partition_cols=["kind"])
    (tmp_path / "_temporary").mkdir()
    (tmp_path / "_temporary" / "half.parquet").write_bytes(b"PAR1")
    source = open_source(tmp_path, labels="kind")
    assert (source.labels.tolist(), source.schema.names) == (["elm", "elm", "oak", "oak"], ("a", "b"))
    np.testing.assert_array_equal(source.read(slice(None)), [[2, 6], [4, 8], [1, 5], [3, 7]])
    assert open_source(tmp_path).table.columns[2].categories == ("elm", "oak")


def test_files_of_one_folder_may_hold_whole_numbers_here_and_fractions_there(tmp_path):
    for i, column in enumerate(([1, 2], [0.5, 1.5], [None, 3])):
        pd.DataFrame({"a": column}).to_parquet(tmp_path / f"{i}.parquet")
    np.testing.assert_array_equal(open_source(tmp_path).read(slice(None))[:, 0], [1, 2, 0.5, 1.5, np.nan, 3])


def test_a_table_of_many_blocks_is_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("latentmap.data.formats.delimited.BLOCK_CELLS", 12)
    array = np.random.default_rng(0).normal(size=(50, 3))
    path = tmp_path / "x.csv"
    path.write_text(text(array, names=["a", "b", "c"]))
    source = delimited_source(Request(path, "b", str(path)))
    np.testing.assert_array_equal(source.read(slice(None)), array[:, [0, 2]])
    assert source.labels.tolist() == [repr(value) for value in array[:, 1].tolist()]
    path.write_text(text(array) + "1,2,three\n")
    source = delimited_source(Request(path, name=str(path)))
    assert np.isnan(source.read(slice(None))[50, 2])
    assert source.remark.endswith("column '3': text in 1 cell that is no number ('three') is taken as missing")


def test_members_are_of_files_that_hold_several(tmp_path):
    np.savez(tmp_path / "x.npz", X=np.zeros((3, 2)), codes=np.ones((3, 4)))
    np.save(tmp_path / "x.npy", np.zeros((3, 2)))
    assert open_source(f"{tmp_path / 'x.npz'}::codes").first.tolist() == [[1.0] * 4]
    with pytest.raises(DataError, match="holds one array, so none is called 'a': leave out ::a"):
        open_source(f"{tmp_path / 'x.npy'}::a")
    with pytest.raises(DataError, match="has no member 'code': did you mean 'codes'"):
        open_source(f"{tmp_path / 'x.npz'}::code")
