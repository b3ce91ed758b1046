"""Part files: what several workers write is what one writes, restarts complete it, and faults are told."""

import json
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from command import ask, must
from latentmap.data.sources import open_source
from latentmap.embedding.parts import MANIFEST


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """A table with an id, missing cells and text, and a run on it."""
    folder = tmp_path_factory.mktemp("trees")
    rng = np.random.default_rng(0)
    height = rng.normal(10, 2, 150)
    table = pd.DataFrame(
        {
            "tree": [f"t{i}" for i in range(150)],
            "height": height.round(3),
            "girth": (height / 5 + rng.normal(0, 0.1, 150)).round(3),
            "kind": np.where(height > 10, "oak", "elm"),
        }
    )
    table.loc[::7, "girth"] = np.nan
    table.loc[3::11, "kind"] = None
    table.to_csv(folder / "trees.csv", index=False)
    from latentmap.cli import main

    fit = ["fit", folder / "trees.csv", "-o", folder / "run", "--id", "tree", "--max-epochs", "3", "--no-report"]
    assert main([str(word) for word in fit]) == 0
    return folder


@pytest.fixture
def worker(monkeypatch):
    """Make this process one of several workers."""
    monkeypatch.setattr("latentmap.cli.parts.PAUSE", 0.0)

    def be(rank, size):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(size))

    return be


COMMANDS = {
    "transform": [],
    "score": ["--samples", "3"],
    "impute": ["--samples", "5"],
}


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("command", COMMANDS)
def test_workers_write_what_one_file_holds(command, size, trees, tmp_path, capsys, worker):
    whole, options = tmp_path / "whole.parquet", COMMANDS[command]
    must(capsys, command, trees / "run", "-o", whole, *options)
    for rank in reversed(range(size)):
        worker(rank, size)
        answer = must(capsys, command, trees / "run", "-o", f"{tmp_path}/out/", "--part-rows", 20, *options)
        assert (tmp_path / "out" / MANIFEST).exists() == (rank == 0)
        assert ("in 8 parts" in answer.err) == (rank == 0)
        assert rank == 0 or not answer.err
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out"), pd.read_parquet(whole), atol=1e-5)
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert manifest["rows"] == 150 and [part["rows"] for part in manifest["parts"]] == [20] * 7 + [10]
    again = must(capsys, "info", tmp_path / "out")  # a folder of parts is data like any other
    assert "150" in again.err


def test_parts_are_data_for_other_commands(trees, tmp_path, capsys):
    must(capsys, "transform", trees / "run", "-o", f"{tmp_path}/out/")
    must(capsys, "inverse", trees / "run", tmp_path / "out", "-o", tmp_path / "x.csv")
    assert pd.read_csv(tmp_path / "x.csv").tree.tolist() == [f"t{i}" for i in range(150)]


def test_the_first_worker_says_what_is_left(vae_run, tmp_path, capsys, worker):
    worker(0, 2)
    said = must(capsys, "transform", *vae_run, "-o", f"{tmp_path}/z/", "--json")
    assert said.err == f"wrote 8 parts of 16 to {tmp_path}/z; the worker that ends last writes {MANIFEST}\n"
    assert not said.out and not (tmp_path / "z" / MANIFEST).exists()
    worker(1, 2)
    assert must(capsys, "transform", *vae_run, "-o", f"{tmp_path}/z/", "--json").json == {
        "output": f"{tmp_path}/z",
        "parts": 16,
        "shape": [400, 2],
    }
    assert not must(capsys, "transform", *vae_run, "-o", f"{tmp_path}/z/").err  # all is there, and another tells it
    worker(0, 2)
    assert "wrote 400 codes of 2 components" in must(capsys, "transform", *vae_run, "-o", f"{tmp_path}/z/").err


@pytest.fixture
def vae_run(vae, rows, tmp_path):
    """A run and its data, as arguments."""
    vae.save(tmp_path / "run")
    np.save(tmp_path / "x.npy", rows)
    return tmp_path / "run", tmp_path / "x.npy"


def state(folder):
    return {path.name: path.stat().st_ino for path in folder.iterdir()}


def test_finished_parts_stay_and_one_cut_short_is_written_again(vae_run, tmp_path, capsys):
    z = tmp_path / "z"
    must(capsys, "transform", *vae_run, "-o", f"{z}/")
    before, content = state(z), (z / "part-00003.parquet").read_bytes()
    must(capsys, "transform", *vae_run, "-o", z)  # a folder that is there needs no slash
    assert state(z) == before
    (z / "part-00003.parquet").write_bytes(content[: len(content) // 2])
    (z / "part-00005.parquet").unlink()
    must(capsys, "transform", *vae_run, "-o", f"{z}/")
    after = state(z)
    changed = {name for name in after if after[name] != before[name]}
    assert changed <= {"part-00003.parquet", "part-00005.parquet", MANIFEST} and len(after) == 17
    assert (z / "part-00003.parquet").read_bytes() == content


def test_a_worker_that_is_killed_leaves_whole_parts_and_no_manifest(vae_run, tmp_path, capsys, monkeypatch):
    from latentmap.estimators.encoding import EncodingMixin

    calls, transform = [], EncodingMixin.transform

    def killed(self, X, y=None):
        calls.append(len(X))
        if len(calls) == 6:
            raise KeyboardInterrupt
        return transform(self, X, y)

    monkeypatch.setattr(EncodingMixin, "transform", killed)
    assert ask(capsys, "transform", *vae_run, "-o", f"{tmp_path}/z/").code == 130
    assert sorted(os.listdir(tmp_path / "z")) == [f"part-{i:05d}.parquet" for i in range(5)]
    must(capsys, "transform", *vae_run, "-o", f"{tmp_path}/z/")
    assert len(calls) == 6 + 11 and (tmp_path / "z" / MANIFEST).exists()


def test_parts_of_another_model_data_or_setting_are_replaced(vae_run, autoencoder, rows, tmp_path, capsys):
    run, data = vae_run
    z = tmp_path / "z"

    def fingerprint(*arguments):
        must(capsys, *arguments, "-o", f"{z}/")
        return json.loads((z / MANIFEST).read_text())["fingerprint"]

    found = [fingerprint("transform", run, data), fingerprint("score", run, data)]
    found.append(fingerprint("score", run, data, "--samples", 2))
    assert pq.read_table(z).column_names == ["iwae_2"]
    autoencoder.save(tmp_path / "other")
    found.append(fingerprint("transform", tmp_path / "other", data))
    np.save(data, rows + (np.arange(400)[:, None] == 399))
    found.append(fingerprint("transform", tmp_path / "other", data))
    found.append(fingerprint("transform", tmp_path / "other", data, "--part-rows", 200))
    assert len(set(found)) == len(found)
    assert sorted(os.listdir(z)) == [MANIFEST, "part-00000.parquet", "part-00001.parquet"]
    np.testing.assert_allclose(pq.read_table(z).to_pandas(), autoencoder.transform(np.load(data)), atol=1e-5)


def test_a_worker_reads_its_own_row_groups(vae, rows, tmp_path, capsys, monkeypatch, worker):
    monkeypatch.setattr("latentmap.data.formats.parquet.LAZY", 0)
    monkeypatch.setattr("latentmap.cli.runs.fits", lambda source, memory: False)
    vae.save(tmp_path / "run")
    table = pa.table({f"x{i}": column for i, column in enumerate(rows.astype(np.float32).T)})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=100)
    source, read = type(open_source(tmp_path / "x.parquet")), []
    assert source.__name__ == "ParquetSource"
    scan = source.scan
    monkeypatch.setattr(source, "scan", lambda self, part, rows=None: (read.append(part), scan(self, part, rows))[1])
    for rank in range(2):
        read.clear()
        worker(rank, 2)
        must(capsys, "transform", tmp_path / "run", tmp_path / "x.parquet", "-o", f"{tmp_path}/z/")
        assert {part.start for part in read[-2:]} == {100 * rank, 100 * rank + 200}
        assert {part.start for part in read} <= {0, 100 * rank, 100 * rank + 200}  # the first row tells the shape
    np.testing.assert_allclose(pq.read_table(tmp_path / "z").to_pandas(), vae.transform(rows), atol=1e-4)
    before = json.loads((tmp_path / "z" / MANIFEST).read_text())["data"]
    pq.write_table(table.set_column(3, "x3", pa.array(rows[:, 3] + 1, "float32")), tmp_path / "y.parquet")
    assert open_source(tmp_path / "y.parquet").identity != before == open_source(tmp_path / "x.parquet").identity


def lazily(monkeypatch):
    """Leave all rows in their files, and count few of them as very many."""
    monkeypatch.setattr("latentmap.data.formats.parquet.LAZY", 0)
    monkeypatch.setattr("latentmap.data.formats.chunked.LAZY", 0)
    for module in ("schema", "formats.base"):
        monkeypatch.setattr(f"latentmap.data.{module}.MOST_HASHED", 2**10)
    monkeypatch.setattr("latentmap.data.schema.PIECE_VALUES", 2**4)


def written(kind, values, path, time):
    """Write values, at a time in seconds, in one of the formats whose rows stay in their files."""
    if kind == ".npy":
        np.save(path, values)
    elif kind == ".zarr":
        import zarr

        zarr.open_array(str(path), mode="w", shape=values.shape, chunks=(100, 4), dtype="f4")[:] = values
    elif kind == ".h5ad":
        pytest.importorskip("anndata").AnnData(values).write_h5ad(path)
    else:
        pq.write_table(pa.table({f"x{i}": column for i, column in enumerate(values.T)}), path, compression="none")
    for file in (path, *path.rglob("*")):
        os.utime(file, (time, time))


@pytest.mark.parametrize("kind", [".parquet", ".npy", ".zarr", ".h5ad"])
def test_data_that_stay_in_their_files_are_told_apart_by_the_time_of_their_change(kind, tmp_path, monkeypatch):
    """The values between those that are looked at have changed, and neither size nor range."""
    values = np.random.default_rng(0).normal(size=(2000, 4)).astype(np.float32)
    changed, path = values.copy(), tmp_path / f"x{kind}"
    changed[[20, 40]] = changed[[40, 20]]
    written(kind, values, path, 10**9)
    whole = open_source(path).identity
    written(kind, values, path, 2 * 10**9)
    assert open_source(path).identity == whole  # by its values
    written(kind, changed, path, 2 * 10**9)
    assert open_source(path).identity != whole
    lazily(monkeypatch)
    written(kind, values, path, 10**9)
    first = open_source(path).identity
    assert open_source(path).identity == first
    written(kind, changed, path, 2 * 10**9)
    assert open_source(path).identity != first


def test_empty_row_groups_and_files_have_no_parts(tmp_path, capsys, monkeypatch):
    rng = np.random.default_rng(0)
    table = pa.table({"a": rng.normal(size=300), "b": rng.normal(size=300), "kind": ["oak", "elm", None] * 100})
    (tmp_path / "rows").mkdir()
    pq.write_table(table, tmp_path / "whole.parquet", row_group_size=100)
    with pq.ParquetWriter(tmp_path / "rows/0.parquet", table.schema) as writer:
        for start, n in ((0, 0), (0, 100), (100, 0), (100, 100), (200, 0)):
            writer.write_table(table.slice(start, n))
    pq.write_table(table.slice(0, 0), tmp_path / "rows/1.parquet")
    pq.write_table(table.slice(200), tmp_path / "rows/2.parquet")
    monkeypatch.setattr("latentmap.data.formats.parquet.LAZY", 0)
    must(capsys, "fit", tmp_path / "rows", "-o", tmp_path / "run", "--no-report", "--max-epochs", "1")
    for command in ("transform", "score", "impute"):
        for data in ("rows", "whole.parquet"):
            must(capsys, command, tmp_path / "run", tmp_path / data, "-o", f"{tmp_path / command}-{data}/")
        apart, together = (
            [pq.ParquetFile(part) for part in sorted((tmp_path / f"{command}-{data}").glob("part*"))]
            for data in ("rows", "whole.parquet")
        )
        assert [part.metadata.num_rows for part in apart] == [100, 100, 100]
        assert [part.read().to_pydict() for part in apart] == [part.read().to_pydict() for part in together]


IDS = {
    "none in the first parts": [None] * 20 + [f"t{i}" for i in range(20)],
    "fractions in the last": [*range(39), 39.5],
    "none": [None] * 40,
    "text": [f"{i:03d}" for i in range(40)],
}


@pytest.mark.parametrize("ids", IDS)
def test_ids_have_the_same_type_in_every_part(ids, tmp_path, capsys):
    rng = np.random.default_rng(0)
    table = pa.table({"id": IDS[ids], "a": rng.normal(size=40), "b": rng.normal(size=40)})
    pq.write_table(table, tmp_path / "x.parquet")
    must(
        capsys, "fit", tmp_path / "x.parquet", "-o", tmp_path / "run", "--id", "id", "--max-epochs", "1", "--no-report"
    )
    must(capsys, "transform", tmp_path / "run", "-o", tmp_path / "z.parquet")
    must(capsys, "transform", tmp_path / "run", "-o", f"{tmp_path}/z/", "--part-rows", "10")
    whole, parts = pq.ParquetFile(tmp_path / "z.parquet").read(), sorted((tmp_path / "z").glob("part*"))
    assert len(parts) == 4
    assert all(pq.read_schema(part).remove_metadata() == whole.schema.remove_metadata() for part in parts)
    written = [value for part in parts for value in pq.ParquetFile(part).read()["id"].to_pylist()]
    assert written == whole["id"].to_pylist() == table["id"].to_pylist()


def test_folders_with_colons_are_folders(vae_run, tmp_path, capsys, monkeypatch):
    run, data = vae_run
    monkeypatch.chdir(tmp_path)
    must(capsys, "score", run, data, "-o", "job:12/")
    assert json.loads((tmp_path / "job:12" / MANIFEST).read_text())["rows"] > 0
    files = state(tmp_path / "job:12")
    must(capsys, "score", run, data, "-o", "job:12/")
    assert state(tmp_path / "job:12") == files
    assert len(open_source("job:12")) == 400 == 16 * len(open_source("job:12/part-00000.parquet"))


FAULTS = {
    "a file of others": ("x/", "holds notes.txt, which is no part of a result: give a new folder", 1),
    "a part of others": ("y/", "holds part-00000.parquet, which is no part of a result", 1),
    "a file": ("x.npy/", "it is a file; give another name", 2),
    "no folder can be made": ("x.npy/z/", "cannot write", 1),
    "details": ("z/ --details", "--cluster and --details need all rows at once: give a file, such as -o z.parquet", 2),
    "parts of a file": ("z.csv --part-rows 9", "--part-rows is for a folder of part files", 2),
    "no rows in a part": ("z/ --part-rows 0", "--part-rows must be at least 1, got 0", 2),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_outputs_that_cannot_be_written_are_refused(fault, vae_run, tmp_path, capsys, monkeypatch):
    run, data = vae_run
    monkeypatch.chdir(tmp_path)
    for folder in "xy":
        (tmp_path / folder).mkdir()
    (tmp_path / "x/notes.txt").touch()
    pq.write_table(pa.table({"a": [1]}), tmp_path / "y/part-00000.parquet")
    output, message, code = FAULTS[fault]
    before = sorted(os.listdir())
    answer = ask(capsys, "transform", run, data, "-o", *output.split())
    assert answer.code == code and message in answer.err and len(answer.err.splitlines()) == 1
    assert sorted(os.listdir()) == before


def test_parts_do_not_replace_the_data(vae_run, tmp_path, capsys):
    run, data = vae_run
    must(capsys, "impute", run, data, "-o", f"{tmp_path}/x/")
    before = state(tmp_path / "x")
    answer = ask(capsys, "transform", run, tmp_path / "x", "-o", f"{tmp_path}/x/")
    assert answer.code == 1
    assert answer.errors == [f"error: {tmp_path}/x holds the data, or lies in them: give another folder"]
    assert state(tmp_path / "x") == before


def test_what_workers_cannot_do_is_told(vae_run, tmp_path, capsys, worker, monkeypatch):
    run, data = vae_run
    worker(0, 17)
    answer = ask(capsys, "transform", run, data, "-o", f"{tmp_path}/z/")
    assert answer.code == 1
    advice = "give fewer workers, or fewer --part-rows"
    assert answer.errors == [f"error: {data} is read in 16 parts, for 17 workers: {advice}"]
    assert not (tmp_path / "z").exists()
    worker(1, 17)
    (line,) = ask(capsys, "transform", run, data, "-o", f"{tmp_path}/z/").errors  # in a log of its own
    assert line.startswith("error: worker 1 of 17 on ") and line.endswith(advice)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "one")  # of torchrun, where the first one tells it for all
    with pytest.raises(SystemExit, match="^1$"):
        ask(capsys, "transform", run, data, "-o", f"{tmp_path}/z/")
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    for command in (["transform"], ["score"]):
        answer = ask(capsys, *command, run, data, "-o", tmp_path / "z.csv")
        assert answer.code == 2 and "17 workers cannot write one file: give a folder, such as -o out/" in answer.err
    assert "17 workers cannot" in ask(capsys, "score", run, data).err
    worker(3, 17)
    answer = ask(capsys, "score", run, tmp_path / "none.npy", "-o", f"{tmp_path}/z/")
    assert answer.code == 1 and len(answer.err.splitlines()) == 1
    assert answer.err.startswith("error: worker 3 of 17 on ") and f"no such file: {tmp_path}/none.npy" in answer.err
    worker(3, 3)
    answer = ask(capsys, "score", run, data, "-o", f"{tmp_path}/z/")
    assert (
        answer.code == 1 and "expected RANK from 0 to WORLD_SIZE - 1, as torchrun sets them, got RANK=3" in answer.err
    )
