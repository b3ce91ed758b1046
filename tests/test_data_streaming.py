"""Rows that do not fit in memory: what is read, in which order, and that a fit of them is a fit."""

import itertools

import numpy as np
import pandas as pd
import pytest

from latentmap import VAE, likelihoods, load, networks
from latentmap.cli import main
from latentmap.data.formats.arrays import ArraySource
from latentmap.data.formats.parquet import ParquetSource
from latentmap.data.rows import LazyRows
from latentmap.data.schema import content_hash, measure
from latentmap.data.sources import open_source
from latentmap.data.streaming import Stream, fits, read_memory, sampled
from latentmap.data.writing import WRITERS, writing
from latentmap.exceptions import DataError, PartError

TINY = networks.MLP((16,))
SMALL = {"encoder": TINY, "decoder": TINY, "neighbors": None, "random_state": 0, "memory": "1MB"}
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


def rows(n=20_000, features=6):
    rng = np.random.default_rng(0)
    return (rng.normal(size=(n, 2)) @ rng.normal(size=(2, features)) + 0.1 * rng.normal(size=(n, features))).astype("f")


@pytest.fixture
def lazy(monkeypatch):
    """Keep even small tables on the disk."""
    monkeypatch.setattr("latentmap.data.formats.parquet.LAZY", 1000)


def numbered(n=5000):
    return ArraySource(np.stack([np.arange(n), np.zeros(n)], 1))


def test_an_epoch_gives_every_training_row_once_and_no_other():
    stream = Stream(numbered(), held_out=0.1, seed=0, memory=10**5)
    for epoch in (0, 1):
        seen = np.concatenate([block[:, 0] for block in stream.epoch(seed=0, epoch=epoch)])
        assert sorted(seen) == sorted(set(range(5000)) - set(stream.held_out.tolist()))
    assert stream.rows == 4500 and stream.survey.held_out[:, 0].tolist() == stream.held_out.tolist()


def test_the_order_is_a_function_of_seed_and_epoch_and_mixes_the_file():
    def order(held_seed, seed, epoch):
        stream = Stream(numbered(), held_out=0.1, seed=held_seed, memory=10**5)
        return np.concatenate([block[:, 0] for block in stream.epoch(seed, epoch)])

    np.testing.assert_array_equal(order(0, 0, 1), order(0, 0, 1))
    assert not np.array_equal(order(0, 0, 1), order(0, 0, 2)) and not np.array_equal(order(0, 0, 1), order(0, 1, 1))
    first = order(0, 0, 0)[:256]
    assert first.std() > 700  # a batch comes from all over the file: evenly spread it would be 1443, unshuffled 74


def test_large_row_groups_are_read_in_turn(tmp_path, lazy):
    pd.DataFrame({"i": np.arange(8000.0), "o": 1.0}).to_parquet(tmp_path / "x.parquet", row_group_size=4000)
    stream = Stream(open_source(tmp_path / "x.parquet"), held_out=0.0, seed=0, memory=10**5)
    block = next(stream.epoch(0, 0))[:, 0]
    assert (block < 4000).any() and (block >= 4000).any()


def test_a_survey_is_one_pass_and_says_what_many_would():
    X = rows()
    stream = Stream(ArraySource(X), held_out=0.1, seed=0, memory=10**6)
    found = stream.survey
    assert found.schema == measure(X)
    np.testing.assert_allclose(found.moments.mean, X.mean(0, dtype=float), atol=1e-9)
    np.testing.assert_allclose(found.moments.deviation, X.std(0, dtype=float), rtol=1e-9)


def test_missing_and_infinite_values_are_counted_as_ever():
    X = rows(300).astype(float)
    X[7, 1], X[8, 2] = np.nan, np.inf
    found = Stream(ArraySource(X), held_out=0.1, seed=0, memory=10**5).survey
    assert (found.schema.missing, found.schema.infinite) == (1, 1)
    np.testing.assert_allclose(found.moments.mean[0], X[:, 0].mean())


@pytest.mark.parametrize("group", [500, 100_000])
def test_parquet_on_the_disk_is_the_array(tmp_path, lazy, group):
    X = rows(3000)
    frame = pd.DataFrame(X, columns=list("abcdef")).assign(kind=np.where(X[:, 0] > 0, "high", "low"))
    for i in range(2):
        frame[i * 1500 : (i + 1) * 1500].to_parquet(tmp_path / f"{i}.parquet", row_group_size=group)
    source = open_source(tmp_path, labels="kind")
    assert isinstance(source, ParquetSource) and source.names == tuple("abcdef") and source.labels[0] in ("high", "low")
    np.testing.assert_array_equal(source.read(slice(None)), X)
    np.testing.assert_array_equal(source.read(slice(1400, 1700, 7)), X[1400:1700:7])
    np.testing.assert_array_equal(source.read(np.array([2999, 3, 1500])), X[[2999, 3, 1500]])
    np.testing.assert_array_equal(np.concatenate([block for _, block in source.blocks(600)]), X)
    assert source.schema == ArraySource(X, names=tuple("abcdef")).schema
    assert content_hash(source, source.schema) == content_hash(ArraySource(X), measure(X))
    numbers, some = sampled(source, 60)
    np.testing.assert_array_equal(some, X[numbers])


def test_parquet_on_the_disk_with_whole_numbers_truth_and_holes(tmp_path, lazy):
    frame = pd.DataFrame({"a": np.arange(500), "b": pd.array([True, None] * 250, "boolean"), "c": [0.5, np.nan] * 250})
    frame.to_parquet(tmp_path / "x.parquet")
    source = open_source(tmp_path / "x.parquet")
    assert isinstance(source, ParquetSource)
    np.testing.assert_array_equal(source.read(slice(0, 2)), [[0, 1, 0.5], [1, np.nan, np.nan]])
    frame.assign(a=2**60).to_parquet(tmp_path / "y.parquet")
    with pytest.raises(DataError, match="beyond 2\\^53"):
        open_source(tmp_path / "y.parquet").read(slice(0, 2))
    with pytest.raises(DataError, match="has no column 'd': there are: a, b, c"):
        open_source(tmp_path / "x.parquet", labels="d")


def test_npy_is_read_in_the_order_of_its_bytes(tmp_path):
    for name, X in {"c": rows(50), "swapped": rows(50).astype(">f8"), "f": np.asfortranarray(rows(50))}.items():
        np.save(tmp_path / f"{name}.npy", X)
        source = open_source(tmp_path / f"{name}.npy")
        np.testing.assert_array_equal(source.read(slice(10, 20)), X[10:20])
        np.testing.assert_array_equal(source.read(slice(10, 20, 3)), X[10:20:3])
        assert source.read(slice(45, 60)).shape == (5, 6) and source.read(slice(0, 5)).dtype.isnative


def test_a_fit_of_blocks_is_as_good_as_a_fit_in_memory(tmp_path):
    X = rows()
    np.save(tmp_path / "x.npy", X)
    settings = SMALL | {"max_epochs": 12}
    inside = VAE(2, **settings | {"memory": "1GB"}).fit(tmp_path / "x.npy")
    blocks = VAE(2, **settings).fit(tmp_path / "x.npy")
    assert "memory" not in inside.choices_ and "blocks of" in blocks.choices_["memory"]
    assert blocks.data_fingerprint_ == inside.data_fingerprint_ and blocks.data_schema_ == inside.data_schema_
    np.testing.assert_allclose(blocks.score(X), inside.score(X), atol=0.35)
    again = VAE(2, **settings).fit(np.load(tmp_path / "x.npy", mmap_mode="r"))  # memory-mapped arrays too
    np.testing.assert_array_equal(again.transform(X), blocks.transform(X))
    np.testing.assert_allclose(blocks.transform(tmp_path / "x.npy"), blocks.transform(X), atol=1e-5)
    np.testing.assert_allclose(blocks.score_samples(tmp_path / "x.npy"), blocks.score_samples(X), atol=1e-3)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float16, np.float64])
def test_every_type_of_number_is_streamed(tmp_path, dtype):
    X = np.abs(rows(8000, 60) * 20).astype(dtype).reshape(-1, 6, 10)
    np.save(tmp_path / "x.npy", X)
    vae = VAE(2, **SMALL, max_epochs=1).fit(tmp_path / "x.npy")
    assert "blocks of" in vae.choices_["memory"] and vae.event_shape_ == (6, 10)
    assert vae.transform(tmp_path / "x.npy").shape == (8000, 2)


def test_missing_cells_are_streamed(tmp_path):
    X = rows()
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    np.save(tmp_path / "x.npy", X)
    vae = VAE(2, **SMALL, max_epochs=2).fit(tmp_path / "x.npy")
    assert isinstance(vae.model_.parts.likelihood, likelihoods.Incomplete)
    assert np.isfinite(vae.transform(tmp_path / "x.npy")).all()


def test_what_cannot_be_streamed_is_refused(tmp_path):
    X = rows()
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(PartError, match="neighbours are searched among rows in memory, and .*20,000 rows"):
        VAE(2, **SMALL | {"neighbors": 15}).fit(tmp_path / "x.npy")
    with pytest.raises(PartError, match="a conditional model is fitted to rows in memory"):
        VAE(2, **SMALL | {"condition": "labels"}).fit(tmp_path / "x.npy", np.arange(20_000) % 2)
    X[12_345, 3] = np.inf
    np.save(tmp_path / "y.npy", X)
    with pytest.raises(DataError, match=r"contains 1 infinite value, the first at index \[12345, 3\]"):
        VAE(2, **SMALL).fit(tmp_path / "y.npy")
    fitted = VAE(2, **SMALL, max_epochs=1).fit(tmp_path / "x.npy")
    with pytest.raises(DataError, match=r"y.npy contains inf at index \[12345, 3\]"):
        fitted.transform(tmp_path / "y.npy")
    with pytest.raises(DataError, match="expected rows of 6 values, as in fit, got 5"):
        LazyRows(ArraySource(X[:, :5]), 6, missing=False)
    for wrong in ("many", "0", "600XB", 12):
        with pytest.raises(DataError, match="memory must be an amount of 1 MB or more"):
            VAE(2, memory=wrong).fit(tmp_path / "x.npy")


def test_amounts_of_memory():
    assert read_memory("2GiB") == read_memory("2 gb") == read_memory(2e9) == 2 * 10**9
    assert read_memory(None) > 10**7
    source = ArraySource(np.zeros((1000, 100)))
    assert fits(source, 2_400_000) and not fits(source, 2_300_000)


@pytest.mark.parametrize("end", [".npy", ".csv", ".parquet"])
def test_the_command_streams_what_it_writes(tmp_path, end, monkeypatch):
    X = rows(8000)
    np.save(tmp_path / "x.npy", X)
    run, out = str(tmp_path / "run"), tmp_path / f"out{end}"
    assert main(["fit", str(tmp_path / "x.npy"), "-o", run, "--memory", "0.4MB"]) == 1  # too little to say
    fitted = VAE(2, **SMALL | {"memory": "1MB"}, max_epochs=1).fit(X)
    fitted.save(run)
    whole = {"transform": fitted.transform(X), "impute": X}
    monkeypatch.setattr("latentmap.data.streaming.COPIES", 100)
    monkeypatch.setattr("latentmap.cli.runs.BLOCK_VALUES", 5000)
    for command, expected in whole.items():
        assert main([command, run, str(tmp_path / "x.npy"), "-o", str(out)]) == 0
        np.testing.assert_allclose(open_source(out).read(slice(None)), expected, atol=1e-5)


def test_the_command_fits_and_reports_what_does_not_fit(tmp_path, capsys):
    np.save(tmp_path / "x.npy", rows(60_000))
    run = tmp_path / "run"
    arguments = ["--memory", "1MB", "--set", "max_epochs=1", "--set", "encoder=MLP(hidden=(16,))"]
    assert main(["fit", str(tmp_path / "x.npy"), "-o", str(run), *arguments]) == 0
    assert "read in blocks within 1.0 MB" in capsys.readouterr().err
    assert (run / "report.html").exists() and load(run).memory == "1MB"
    assert main(["score", str(run)]) == 0


@pytest.mark.parametrize("end", list(WRITERS))
def test_writers_give_back_what_they_took(tmp_path, end):
    X = np.random.default_rng(0).normal(size=(25, 3)).astype("f")
    with writing(tmp_path / f"x{end}", ["a", "b", "c"]) as writer:
        for start, stop in itertools.pairwise([0, 7, 8, 25]):
            writer.write(X[start:stop])
    np.testing.assert_array_equal(open_source(tmp_path / f"x{end}").read(slice(None)).astype("f"), X)
    with pytest.raises(KeyError), writing(tmp_path / f"y{end}", ["a"]) as writer:
        writer.write(X)
        raise KeyError
    assert not (tmp_path / f"y{end}").exists() and len(list(tmp_path.iterdir())) == 1
