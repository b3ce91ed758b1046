"""What `latentmap impute` writes: every column that came, in order, each cell as it was, in every format."""

import json
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from command import must

N = 60
QUICK = ["--set", "max_epochs=1", "--set", "neighbors=None", "--no-report"]
rng = np.random.default_rng(0)
NUMBERS = pd.DataFrame(rng.normal(size=(N, 3)).round(3), columns=list("abc"))
NUMBERS["whole"] = rng.integers(0, 100, N)
NUMBERS.iloc[3, 1] = NUMBERS.iloc[4, 2] = None
FORMATS = [".csv", ".tsv", ".jsonl", ".parquet", ".xlsx", ".npz"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on a table of numbers alone."""
    from latentmap.cli import main

    folder = tmp_path_factory.mktemp("numbers")
    NUMBERS.to_csv(folder / "x.csv", index=False)
    assert main(["fit", str(folder / "x.csv"), "-o", str(folder / "run"), *QUICK]) == 0
    return folder / "run"


def texts(path):
    """The columns of a file as text, "" where a cell is missing."""
    end = path.suffix
    if end in (".csv", ".tsv"):
        frame = pd.read_csv(path, sep="," if end == ".csv" else "\t", dtype=str, keep_default_na=False)
    elif end == ".jsonl":
        frame = pd.DataFrame([json.loads(line) for line in path.read_text().splitlines()], dtype=object)
    elif end == ".xlsx":
        frame = pd.read_excel(path, dtype=object)
    elif end == ".parquet":
        frame = pl.read_parquet(path)
        return {column.name: ["" if v is None else str(v) for v in column.to_list()] for column in frame}
    else:
        return {name: values.astype(str).tolist() for name, values in np.load(path).items() if name != "X"}
    return {str(name): ["" if v is None or v != v else str(v) for v in column] for name, column in frame.items()}


@pytest.mark.parametrize("end", FORMATS)
@pytest.mark.parametrize("source", [".csv", ".parquet", ".jsonl"])
def test_a_table_of_numbers_comes_back_with_all_its_columns(capsys, run, source, end, tmp_path):
    came = NUMBERS[["c", "b", "whole", "a"]].copy()
    came.insert(1, "owner", [f"me, {i}" for i in range(N)])
    came["key"] = 2**60 + np.arange(N)
    path, out = tmp_path / f"new{source}", tmp_path / f"out{end}"
    write = {".csv": lambda: came.to_csv(path, index=False), ".parquet": lambda: came.to_parquet(path, index=False),
             ".jsonl": lambda: came.to_json(path, orient="records", lines=True)}  # fmt: skip
    write[source]()
    must(capsys, "impute", run, path, "-o", out)
    back = texts(out)
    assert back["owner"] == came["owner"].tolist() and back["key"] == [str(key) for key in came["key"]]
    if end == ".npz":
        assert list(back) == ["owner", "key"]
        filled = pd.DataFrame(np.load(out)["X"], columns=NUMBERS.columns)
    else:
        assert list(back) == came.columns.tolist()
        filled = pd.DataFrame({name: back[name] for name in NUMBERS.columns}).astype(float)
        assert back["whole"] == [str(value) for value in came["whole"]]
    assert filled.notna().all(axis=None)
    pd.testing.assert_frame_equal(filled.where(NUMBERS.notna()), NUMBERS.astype(float))


def test_numbers_that_stay_on_the_disk_come_back_as_those_in_memory(capsys, run, monkeypatch, tmp_path):
    whole = pd.Series(np.arange(N), dtype="Int64").where(lambda s: s != 5)
    came = NUMBERS.assign(b=NUMBERS["b"].astype("f4"), c=whole)
    pq.write_table(pa.Table.from_pandas(came, preserve_index=False), tmp_path / "x.parquet", row_group_size=20)
    cents = [Decimal(i) / 4 for i in range(N)]
    table = pq.read_table(tmp_path / "x.parquet").drop_columns(["a"])
    pq.write_table(table.append_column("a", pa.array(cents, pa.decimal128(9, 2))), tmp_path / "y.parquet")
    found = {}
    for where, most in {"memory": 2**28, "disk": 0}.items():
        monkeypatch.setattr("latentmap.data.formats.parquet.LAZY", most)
        for command, rows in ("impute", "x"), ("transform", "x"), ("transform", "y"):
            for out in (f"{where}.parquet", f"{where}/"):
                must(capsys, command, run, tmp_path / f"{rows}.parquet", "-o", f"{tmp_path}/{command}-{rows}-{out}")
                found[command, rows, out] = pd.read_parquet(f"{tmp_path}/{command}-{rows}-{out}")
    for command, rows in ("impute", "x"), ("transform", "x"), ("transform", "y"):
        first, *others = (found[command, rows, out] for out in ("memory.parquet", "memory/", "disk.parquet", "disk/"))
        for other in others:
            pd.testing.assert_frame_equal(other, first, atol=1e-5)
    filled = found["impute", "x", "disk/"]
    assert [str(kind) for kind in filled.dtypes] == ["float64", "float64", "float64", "int64"]
    assert filled.notna().all(axis=None)
    pd.testing.assert_frame_equal(filled.where(came.notna()), came, check_dtype=False)


@pytest.mark.parametrize("event", [(5, 3), (4, 4, 3)])
def test_rows_of_several_axes_come_back(capsys, event, tmp_path):
    import zarr

    X = rng.normal(size=(N, *event)).astype(np.float32)
    gaps = rng.random(X.shape) < 0.1
    X[gaps] = np.nan
    np.save(tmp_path / "x.npy", X)
    zarr.open_array(str(tmp_path / "x.zarr"), mode="w", shape=X.shape, chunks=(20, *event), dtype="f4")[:] = X
    must(capsys, "fit", tmp_path / "x.npy", "-o", tmp_path / "run", *QUICK)
    for data in ("x.npy", "x.zarr"):
        arguments = ("impute", tmp_path / "run", tmp_path / data, "--samples", "5", "-o")
        said = must(capsys, *arguments, tmp_path / "o.npy").err
        assert f"filled {gaps.sum()} cells of" in said
        must(capsys, *arguments, tmp_path / "draws.npy", "--draws", "2")
        must(capsys, *arguments, f"{tmp_path}/{data}-parts/")
        filled, draws = np.load(tmp_path / "o.npy"), np.load(tmp_path / "draws.npy")
        assert filled.shape == X.shape and draws.shape == (2, *X.shape)
        assert np.isfinite(draws).all() and (draws[0] != draws[1])[gaps].all()
        parts = pd.read_parquet(tmp_path / f"{data}-parts").to_numpy().reshape(X.shape)
        for back in (filled, parts, *draws):
            np.testing.assert_array_equal(back[~gaps], X[~gaps])
        np.testing.assert_allclose(parts, filled, atol=1e-5)


def test_numbers_alone_say_what_they_leave_out(capsys, run, tmp_path):
    NUMBERS.assign(owner="me").to_csv(tmp_path / "x.csv", index=False)
    answer = must(capsys, "impute", run, tmp_path / "x.csv", "-o", tmp_path / "o.npy")
    assert "holds numbers alone, without 'owner'" in answer.err and np.load(tmp_path / "o.npy").shape == (N, 4)
    assert "owner" not in must(capsys, "impute", run, "-o", tmp_path / "o.npy").err


@pytest.mark.parametrize("end", FORMATS)
@pytest.mark.parametrize("spec", ["", "[columns.key]\nkind = 'drop'\n", "[columns.key]\nkind = 'real'\n"])
def test_ids_of_many_digits_come_back_digit_by_digit(capsys, spec, end, tmp_path):
    frame = pd.DataFrame({
        "key": 2**60 + 2**56 * rng.integers(0, 9, N) + rng.integers(0, 99, N),
        "unsigned": np.uint64(2**63) + np.arange(N, dtype=np.uint64),
        "huge": [str(2**70 + i) for i in range(N)],
        "x": rng.normal(size=N),
        "kind": rng.choice(["a", "b"], N),
    })  # fmt: skip
    frame.loc[3, "x"] = None
    frame.to_csv(tmp_path / "x.csv", index=False)
    (tmp_path / "spec.toml").write_text(spec)
    must(capsys, "fit", tmp_path / "x.csv", "-o", tmp_path / "run", "--columns", tmp_path / "spec.toml", *QUICK)
    new = frame.assign(key=frame["key"] + 1, unsigned=frame["unsigned"] + np.uint64(7))
    new.to_csv(tmp_path / "new.csv", index=False)
    new.to_parquet(tmp_path / "new.parquet", index=False)
    for file in ("new.csv", "new.parquet"):
        must(capsys, "impute", tmp_path / "run", tmp_path / file, "-o", tmp_path / f"o{end}")
        back = texts(tmp_path / f"o{end}")
        for name in ("key", "unsigned", "huge"):
            if end != ".npz" or name in back:
                assert back[name] == [str(value) for value in new[name]], (file, name)


def test_noise_is_offered_where_it_can_be_drawn(run, tmp_path, capsys):
    assert "--noise draws from p(x|z)" in must(capsys, "sample", run, "-n", 3, "-o", tmp_path / "x.csv").err
    assert "--noise" not in must(capsys, "sample", run, "-n", 3, "-o", tmp_path / "y.csv", "--noise").err
    assert "--noise" not in must(capsys, "sample", run, "-n", 3, "-o", tmp_path / "x.png").err
