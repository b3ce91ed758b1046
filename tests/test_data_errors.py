"""Bad input: each fault is one clear line that names the file, the row and the column."""

import gzip
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from latentmap.data.checks import EXACT
from latentmap.data.sources import open_source, require_finite
from latentmap.exceptions import DataError, MissingExtraError

PLAIN = np.arange(12.0).reshape(4, 3)


def refused(data, labels=None):
    """Return the message with which data is refused, at the latest when it is measured and must be finite."""
    with pytest.raises(DataError) as caught:
        require_finite(open_source(data, labels))
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((0, 3)), "X has no rows (shape (0, 3))"),
        (np.zeros((3, 0)), "X has 0 feature(s) (shape=(3, 0)) while a minimum of 1 is required"),
        (np.zeros(3), "expected rows and features in X, got an array of shape (3,): use X.reshape(-1, 1)"),
        (np.float64(3), "expected rows and features in X, got an array of shape ()"),
        (3, "X is an int: expected an array, a tensor, a data frame, a path"),
        (np.array([[1, None]]), "X contains 1 NaN value, the first at index [0, 1]"),
        (np.array([["a", "b"]]), "X has dtype str32: expected numbers"),
        (np.array([[1j, 2]]), "Complex data not supported: X is complex128"),
        (np.array([["2020-01-01"]], dtype="M8[D]"), "X has dtype datetime64[D]: expected numbers"),
        (np.ma.masked_invalid([[1.0, np.nan]]), "X contains 1 NaN value, the first at index [0, 1]"),
        ([[1, 2], [3]], "X: rows must all have the same length"),
        (torch.zeros(3), "expected rows and features in X, got an array of shape (3,)"),
        (pd.Series([1.0, 2.0]), "expected rows and features in X, got an array of shape (2,)"),
        (np.array([[0, EXACT + 1]]), f"X: {EXACT + 1} at index [0, 1] is beyond 2^53 and would lose digits"),
        (np.array([[0, -EXACT - 1]]), f"X: {-EXACT - 1} at index [0, 1] is beyond 2^53"),
        (np.array([[0, 2**64 - 1]], dtype=np.uint64), "X: 18446744073709551615 at index [0, 1] is beyond 2^53"),
        (np.array([[1.0, np.nan]]), "X contains 1 NaN value, the first at index [0, 1]; fill or drop it"),
        (np.array([[[1.0], [-np.inf]], [[np.inf], [0]]]), "X contains 2 infinite values, the first at index [0, 1, 0]"),
        (np.full((200_000, 9), np.nan)[:, :8], "X contains 1600000 NaN values, the first at index [0, 0]"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_rows_of_numbers(data, message):
    assert message in refused(data)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize(
    ("columns", "labels", "message"),
    [
        ({"kind": [["u"], ["v"]]}, None, "X has no column to learn from: 'kind': it holds "),
        ({"a": [1, 2], "kind": ["u", "v"]}, "kinds", "X has no column 'kinds': did you mean 'kind'? There are: a,"),
        ({"kind": ["u", "v"]}, "kind", "X has 0 feature(s)"),
        ({"a": [], "b": []}, None, "X has no rows"),
        ({"id": [1, EXACT + 1]}, None, "X has no column to learn from: 'id': an id: whole numbers beyond 2^53"),
        ({"a": [0.5, 1.0], "b": [1.0, np.inf]}, None, "X contains 1 infinite value, the first at row 2, column 'b'"),
    ],
)  # fmt: skip
def test_frames_that_are_no_rows_of_numbers(frame, columns, labels, message):
    assert message in refused(
        frame({key: pl.Series(v) if frame is pl.DataFrame else v for key, v in columns.items()}), labels
    )


def test_a_frame_with_two_columns_of_one_name():
    assert "column names must be unique" in refused(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    assert "column names must be unique" in refused(pd.DataFrame([[1, 2]], columns=[0, 0]))
    assert "X: 2 columns are called '1'" in refused(pd.DataFrame([[1, 2]], columns=[1, "1"]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y\n1,2\n\n3,4,5\n", "row 2 (line 4) has 3 cells, expected 2"),
        ("x;y\n1;2;3\n1;2\n", "row 1 (line 2) has 3 cells, expected 2 as in the first line"),
        ("x,y\n1,2,3\n2\n3,4,5\n", "has 3 cells, expected 2 as in the first line; 2 of 3 rows differ"),
        ("x,x\n1,2\n", "2 columns are called 'x'; give each its own name"),
        ("x,y\n", "a header and no rows below it"),
        ("\n\n", "no rows, only blank lines"),
        ("", "is empty (0 bytes)"),
        ('x,y\n1,"2\n', "line 2: unexpected end of data; check the quotes"),
        ("x,y\n1,2\n1,\n", "contains 1 NaN value, the first at row 2, column 'y'"),
        ("x,y\n1,inf\n", "contains 1 infinite value, the first at row 1, column 'y'"),
    ],
)  # fmt: skip
def test_text_tables(text, message, tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert f"{path}" in refused(path)
    assert message in refused(path)


def test_a_tsv_with_commas_and_labels_that_are_not_there(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text("x,y\n1,2\n")
    assert "one column found, but its text '1,2' holds ','" in refused(path)
    path.write_text("x\tkind\n1\tu\n")
    assert "has no column 'kinds': did you mean 'kind'? There are: x, kind" in refused(path, "kinds")


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.csv.gz", "x-ubyte.gz"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_truncated_files(name, part, tmp_path):
    path = tmp_path / name
    rows = np.random.default_rng(0).random((200, 5))
    if name == "x.npy":
        np.save(path, rows)
    elif name == "x.npz":
        np.savez_compressed(path, X=rows)
    elif name == "x.csv.gz":
        path.write_bytes(gzip.compress("\n".join(",".join(map(str, row)) for row in rows).encode()))
    else:
        path.write_bytes(gzip.compress(b"\0\0\x08\x02\0\0\0\x05\0\0\0\xc8" + (rows * 255).astype(np.uint8).tobytes()))
    assert len(open_source(path))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    message = refused(path)
    assert str(path) in message
    assert any(word in message for word in ("truncated", "empty (0 bytes)", "not a readable .npy file"))


def test_damaged_archives(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, X=PLAIN)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 3] ^= 0xFF
    path.write_bytes(raw)
    assert f"{path}: truncated or damaged" in refused(path)
    path = tmp_path / "x.csv.gz"
    path.write_text("x,y\n1,2\n")
    assert f"{path}: truncated or damaged (Not a gzipped file" in refused(path)


def test_pickles_are_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    objects = np.array([[Trap(), 1]], dtype=object)
    np.save(tmp_path / "x.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "x.npz", X=objects)
    assert "holds pickled Python objects, which are never loaded" in refused(tmp_path / "x.npy")
    assert "pickled objects are never loaded" in refused(tmp_path / "x.npz")
    assert not (tmp_path / "sprung").exists()
    np.load(tmp_path / "x.npy", allow_pickle=True)  # the control: the trap is live
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("members", "labels", "message"),
    [
        ({"a": PLAIN, "b": PLAIN}, None, "Call it X, with two or more axes; found a (4, 3), b (4, 3)"),
        ({"a": np.zeros(3)}, None, "which array holds the rows?"),
        ({}, None, "which array holds the rows? Call it X, with two or more axes; found no arrays"),
        ({"X": PLAIN, "classes": np.zeros(4)}, "clases", "has no member 'clases': did you mean 'classes'?"),
        ({"X": PLAIN, "y": np.zeros(5)}, "y", "labels have shape (5,), but"),
    ],
)  # fmt: skip
def test_archives_without_the_members_asked_for(members, labels, message, tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, **members)
    assert f"{path}" in refused(path, labels)
    assert message in refused(path, labels)


def test_files_under_another_name(tmp_path):
    np.save(tmp_path / "x.npy", PLAIN)
    (tmp_path / "x.npy").rename(tmp_path / "x.npz")
    assert "holds an array of numpy" in (message := refused(tmp_path / "x.npz"))
    assert message.endswith("rename it so that it ends in .npy")
    (tmp_path / "y.npy").write_text("1,2,3\n4,5,6\n")
    assert "holds text, not a .npy file: rename it to .csv" in refused(tmp_path / "y.npy")
    with zipfile.ZipFile(tmp_path / "z.npz", "w") as archive:
        archive.writestr("notes.txt", "no array")
    assert "holds a zip archive, not what .npz stands for" in refused(tmp_path / "z.npz")


def write_parquet(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_parquet(path)
    return path


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow", "x.feather"])
def test_truncated_and_damaged_tables(name, tmp_path):
    path = tmp_path / name
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(500, 3)), columns=list("abc"))
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_feather(path, compression="uncompressed")
    raw = path.read_bytes()
    assert open_source(path).schema.n_rows == 500  # the control
    for part in (raw[:100], raw[: len(raw) // 2], raw[:-10]):
        path.write_bytes(part)
        message = refused(path)
        assert message.startswith(f"{path}: not a readable ") and message.endswith("copy or download it again")
    path.write_bytes(b"a,b,c\n1,2,3\n" * 9)
    assert refused(path).endswith("rename it to .csv if it is a table as text")
    path.write_bytes(b"")
    assert refused(path) == f"{path} is empty (0 bytes)"


def test_tables_of_something_else_than_numbers(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", kind=[["elm"], ["oak"]])
    assert f"{path} has no column to learn from: 'kind': it holds List(" in refused(path)
    assert f"{path} has no column 'kinds': did you mean 'kind'?" in refused(path, labels="kinds")
    path = write_parquet(tmp_path / "y.parquet", a=[1.0, 2.0, np.nan], b=[1, 2, 3])
    assert f"{path} contains 1 NaN value, the first at row 3, column 'a'" in refused(path)
    assert "has no rows" in refused(write_parquet(tmp_path / "z.parquet", a=np.empty(0)))
    assert "beyond 2^53" in refused(write_parquet(tmp_path / "i.parquet", a=[2**60, 1]))


def test_a_folder_of_tables_names_the_file_at_fault(tmp_path):
    write_parquet(tmp_path / "part=1" / "x.parquet", a=[1.0], b=[2.0])
    other = write_parquet(tmp_path / "part=2" / "x.parquet", a=[1.0], c=[2.0])
    assert f"{other}: columns ['a', 'c'], but those of {tmp_path / 'part=1' / 'x.parquet'} are ['a', 'b']" in (
        refused(tmp_path)
    )
    other.write_bytes(other.read_bytes()[:60])
    assert refused(tmp_path).startswith(f"{other}: not a readable parquet file")
    write_parquet(other, a=[1.0], b=["x"])
    assert refused(tmp_path).startswith(f"{other}: the types of its columns are not those of")


def test_what_reads_tables_is_asked_for_where_it_is_missing(tmp_path, monkeypatch):
    path = write_parquet(tmp_path / "x.parquet", a=[1.0, 2.0])
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r'pyarrow is needed .*: pip install "latentmap\[tables\]"'):
        open_source(path)


def test_paths_and_names_that_lead_nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.docx").write_text("text")
    (tmp_path / "mnist").mkdir()
    assert refused("minst").startswith(
        "no data set or file is called 'minst': did you mean 'mnist'? There are: digits,"
    )
    assert refused("x.csv") == "no such file: x.csv"
    assert refused(tmp_path / "no" / "x") == f"no such file: {tmp_path / 'no' / 'x'}"
    assert refused("x.docx").startswith(
        "x.docx: format not known: expected one of the files that end in .npy, .npz, .csv,"
    )
    assert (
        f"{tmp_path} is a folder without images or .parquet files (hidden ones do not count): expected one with them, "
        "or one of the files that end" in refused(tmp_path)
    )
    assert "mnist is a folder" in refused("./mnist")
    assert refused(Path("mnits")) == "no such file: mnits"
    assert refused("x" * 300 + ".npy").endswith("File name too long")
    (tmp_path / "y.npy").mkdir()
    assert "y.npy is a folder" in refused("y.npy")


def test_labels_by_name_need_data_with_names(tmp_path):
    np.save(tmp_path / "x.npy", PLAIN)
    assert "X has no named columns, so none is called 'y': give labels as an array" in refused(PLAIN, "y")
    assert "x.npy has no named columns" in refused(tmp_path / "x.npy", "y")
    assert "digits has no labels called 'digits': did you mean 'digit'?" in refused("digits", "digits")


def test_finite_data_is_not_refused():
    require_finite(PLAIN)
    require_finite(open_source("digits"))
