"""Data at addresses: read where they lie, or copied; the same rows as from the files of this machine."""

import subprocess
import sys
import time
import urllib.request

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.base import clone

from command import ask, must
from latentmap import plot
from latentmap.data.sources import open_source
from latentmap.exceptions import DataError
from latentmap.report import write_report

upath = pytest.importorskip("upath")
PORT = 5633


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """Data of each kind in a local folder."""
    import zarr

    folder = tmp_path_factory.mktemp("local") / "data"
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4)).astype(np.float32)
    frame = pd.DataFrame(X, columns=list("abcd"))
    mixed = frame.assign(kind=np.where(X[:, 0] > 0, "oak", "elm"))
    for name, part in {
        "rows.parquet": frame,
        "many/one.parquet": frame[:200],
        "many/two.parquet": frame[200:],
        "hive/kind=oak/x.parquet": frame[:60],
        "hive/kind=elm/x.parquet": frame[60:90],
        "mixed.parquet": mixed,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pandas(part, preserve_index=False), folder / name, row_group_size=50)
    frame.to_csv(folder / "rows.csv", index=False)
    zarr.save_group(str(folder / "rows.zarr"), X=X, labels=np.arange(300) % 3)
    for i, kind in enumerate(("oak", "elm") * 3):
        (folder / "images" / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8)).save(folder / "images" / kind / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """The address of a bucket on a server of this machine."""
    pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    import fsspec

    url, log = f"http://127.0.0.1:{PORT}", tmp_path_factory.mktemp("moto") / "log"
    settings = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(PORT)]
    with log.open("wb") as stream, pytest.MonkeyPatch.context() as patch:
        for name, value in (settings | {"AWS_ENDPOINT_URL": url}).items():
            patch.setenv(name, value)
        server = subprocess.Popen(command, stdout=stream, stderr=stream)
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(url, timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.2)
            fsspec.filesystem("s3").mkdir("bucket")
            yield "s3://bucket"
        finally:
            server.terminate()
            server.wait()


@pytest.fixture(scope="module", params=["memory", "s3"])
def remote(request, local):
    """The address of the same data elsewhere."""
    base = "memory://data" if request.param == "memory" else request.getfixturevalue("s3") + "/data"
    target = upath.UPath(base)
    for file in local.rglob("*"):
        if file.is_file():
            copy = target.joinpath(*file.relative_to(local).parts)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    yield base
    target.fs.rm(target.path, recursive=True)


KINDS = ["rows.parquet", "many", "many/", "hive", "mixed.parquet", "rows.csv", "rows.zarr", "rows.zarr::X", "images"]


@pytest.mark.parametrize("lazy", [False, True], ids=["whole", "in pieces"])
def test_remote_data_are_those_of_this_machine(remote, local, lazy, monkeypatch):
    if lazy:
        monkeypatch.setattr("latentmap.data.formats.parquet.LAZY", 0)
        monkeypatch.setattr("latentmap.data.formats.chunked.LAZY", 0)
    for kind in KINDS:
        there, here = open_source(f"{remote}/{kind}"), open_source(f"{local}/{kind}")
        assert type(there) is type(here) and there.schema == here.schema and there.table == here.table
        np.testing.assert_array_equal(there.read(slice(None)), here.read(slice(None)))
        some = np.array([len(here) - 1, 3, 0])
        np.testing.assert_array_equal(there.read(some), here.read(some))
        assert there.name.rstrip("/") == f"{remote}/{kind}".partition("::X")[0].rstrip("/")
        assert (there.labels is None) == (here.labels is None)
        assert here.labels is None or there.labels.tolist() == here.labels.tolist()
    labels = [open_source(f"{place}/mixed.parquet", "kind").labels.tolist() for place in (remote, local)]
    assert labels[0] == labels[1]


def test_only_what_is_wanted_is_read(monkeypatch):
    import fsspec

    monkeypatch.setattr("latentmap.data.formats.parquet.LAZY", 0)
    fs = fsspec.filesystem("memory")
    table = pa.table({f"x{i}": np.random.default_rng(i).normal(size=20_000) for i in range(8)})
    with fs.open("/big/x.parquet", "wb") as file:
        pq.write_table(table, file, row_group_size=1000)
    source, count = open_source("memory://big/x.parquet"), []
    kind = type(fs.open("/big/x.parquet", "rb"))
    read = kind.read

    def counted(self, size=-1):
        content = read(self, size)
        count.append(len(content))
        return content

    monkeypatch.setattr(kind, "read", counted)
    np.testing.assert_array_equal(source.read(slice(7000, 7100))[:, 0], table["x0"].to_numpy()[7000:7100])
    assert 0 < sum(count) < fs.size("/big/x.parquet") / 10
    fs.rm("/big", recursive=True)


def test_remote_files_that_stay_there_are_told_apart_by_their_versions(remote, local, monkeypatch):
    import fsspec

    monkeypatch.setattr("latentmap.data.formats.parquet.LAZY", 0)
    path = upath.UPath(f"{remote}/version.parquet")
    values = {x: pa.table({"a": [0.0, *x, 9.0]}) for x in ((1.0, 2.0), (2.0, 1.0))}

    def identity(x):
        with path.open("wb") as file:
            pq.write_table(values[x], file, compression="none")
        fsspec.filesystem(path.protocol).invalidate_cache()
        return open_source(str(path)).identity

    first = identity((1.0, 2.0))
    assert open_source(str(path)).identity == first
    assert identity((2.0, 1.0)) != first
    folder = [open_source(f"{remote}/many").identity for _ in range(2)]
    assert folder[0] == folder[1] != open_source(f"{local}/many").identity
    path.unlink()


def test_results_are_not_written_to_addresses(vae, rows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = "cannot write s3://bucket/run: results go to files and folders of this machine, or mounted on it"
    with pytest.raises(DataError, match=message):
        clone(vae).fit(rows, checkpoint="s3://bucket/run")
    for write in (vae.save, lambda path: write_report(vae, rows, folder=path), plot.learning_curves(vae).save):
        with pytest.raises(DataError, match=message):
            write("s3://bucket/run")
    assert not list(tmp_path.iterdir())


def test_a_run_embeds_rows_at_an_address(remote, local, tmp_path, capsys):
    must(capsys, "fit", local / "rows.parquet", "-o", tmp_path / "run", "--max-epochs", "1", "--no-report")
    must(capsys, "transform", tmp_path / "run", f"{remote}/many/", "-o", f"{tmp_path}/z/")
    must(capsys, "transform", tmp_path / "run", "-o", tmp_path / "z.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "z"), pd.read_parquet(tmp_path / "z.parquet"), atol=1e-5)


def test_what_is_not_there_is_one_line(remote, capsys):
    for name in ("none.parquet", "none/", "none.zarr", "none.csv"):
        with pytest.raises(DataError, match=f"^cannot read {remote}/{name}"):
            open_source(f"{remote}/{name}")
    half = upath.UPath(f"{remote}/half.parquet")
    whole = upath.UPath(f"{remote}/rows.parquet").read_bytes()
    half.write_bytes(whole[: len(whole) // 2])
    answer = ask(capsys, "info", f"{remote}/half.parquet")
    assert answer.code == 1 and answer.err.startswith(f"error: {remote}/half.parquet") and answer.err.count("\n") == 1
    half.unlink()
    with pytest.raises(DataError, match="cannot read nosuch://a/b.parquet"):
        open_source("nosuch://a/b.parquet")
