"""Tables of mixed columns that do not fit in memory: the same numbers, model and frames as of those that do."""

import json

import numpy as np
import pandas as pd
import pytest

from command import ask, must
from latentmap import VAE, Columns, load, networks
from latentmap.data.formats import parquet
from latentmap.data.formats.parquet import ParquetTable
from latentmap.data.sources import open_source
from latentmap.exceptions import DataError

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
N = 9000
QUICK = {"encoder": networks.MLP((8,)), "decoder": networks.MLP((8,)), "max_epochs": 1, "random_state": 0}


@pytest.fixture
def on_disk(monkeypatch):
    """Tables stay on the disk however small."""
    monkeypatch.setattr(parquet, "LAZY", 0)


@pytest.fixture(scope="module")
def trees():
    rng = np.random.default_rng(0)
    species = np.array(["oak", "elm", "ash", None], dtype=object)[rng.choice(4, N, p=[0.5, 0.3, 0.15, 0.05])]
    frame = pd.DataFrame({
        "species": species,
        "height": rng.gamma(4.0, 3.0, N),
        "birds": pd.array(np.where(rng.random(N) < 0.1, None, rng.poisson(3, N)), dtype="Int64"),
        "planted": pd.Timestamp("1990-01-01") + pd.to_timedelta(rng.integers(0, 9000, N), unit="D"),
        "fells": rng.random(N) < 0.2,
        "size": pd.Categorical(rng.choice(["S", "M", "L"], N), categories=["S", "M", "L"], ordered=True),
        "tag": [f"tree {i}" for i in range(N)],
    })  # fmt: skip
    return frame


@pytest.fixture(scope="module")
def path(trees, tmp_path_factory):
    path = tmp_path_factory.mktemp("trees") / "trees.parquet"
    trees.to_parquet(path, row_group_size=2000)
    return path


def test_rows_are_the_numbers_that_they_are_in_memory(path, monkeypatch):
    whole = open_source(path)
    monkeypatch.setattr(parquet, "LAZY", 0)
    lazy = open_source(path)
    assert isinstance(lazy, ParquetTable) and not isinstance(whole, ParquetTable)
    assert lazy.table.to_json() == whole.table.to_json() and "tag" in lazy.table.dropped
    assert np.array_equal(lazy.read(slice(None)), whole.read(slice(None)), equal_nan=True)
    assert np.array_equal(lazy.read(np.array([8999, 3])), whole.read(np.array([8999, 3])), equal_nan=True)
    assert np.array_equal(np.concatenate([b for _, b in lazy.blocks(900)]), whole.read(slice(None)), equal_nan=True)
    assert lazy.schema.to_json() == whole.schema.to_json() and lazy.fingerprint == whole.fingerprint
    assert open_source(path, labels="species").labels.tolist()[:3] == whole_labels(path)[:3]


def whole_labels(path):
    return ["missing" if v is None else v for v in pd.read_parquet(path)["species"].tolist()]


def test_a_model_is_fitted_block_by_block_and_takes_frames(path, trees, on_disk):
    vae = VAE(2, memory="1MB", neighbors=None, **QUICK).fit(path)
    assert "read in blocks" in vae.choices_["memory"] and vae.table_.names == list(trees)[:-1]
    codes = vae.transform(path)  # block by block
    assert codes.shape == (N, 2) and np.allclose(codes, vae.set_params(memory="1GB").transform(trees), atol=1e-6)
    drawn = vae.sample(3, random_state=0)
    assert list(drawn.to_pandas() if hasattr(drawn, "to_pandas") else drawn) == vae.table_.names
    whole = VAE(2, neighbors=None, **QUICK).fit(path)
    assert whole.table_.to_json() == vae.table_.to_json()
    assert np.allclose(vae.scaling_.scale.numpy(), whole.scaling_.scale.numpy())


def test_a_path_is_read_with_the_columns_of_the_fit_wherever_rows_are_taken(path, trees):
    vae = VAE(2, neighbors=None, **QUICK).fit(trees)
    codes = vae.transform(trees)
    assert np.array_equal(vae.transform(path), codes)
    assert np.array_equal(vae.transform(open_source(path, columns=vae.table_)), codes)
    assert vae.partial_fit(path).n_iter_ == 2
    with pytest.raises(DataError, match="opened without the columns of the fit"):
        vae.transform(open_source(path))


def test_what_is_asked_of_columns_holds_there_too(path, on_disk):
    asked = Columns({"species": {"kind": "ordinal", "categories": ("ash", "elm", "oak")}, "height": "drop"})
    vae = VAE(2, columns=asked, memory="1MB", neighbors=None, **QUICK).fit(path)
    assert vae.table_.columns[0].categories == ("ash", "elm", "oak") and "height" in vae.table_.dropped
    with pytest.raises(DataError, match="no column 'hight'"):
        VAE(2, columns=Columns({"hight": "drop"}), memory="1MB", **QUICK).fit(path)


def test_an_unseen_category_is_named_with_its_row(path, trees, tmp_path, on_disk):
    vae = VAE(2, memory="1MB", neighbors=None, **QUICK).fit(path)
    trees.assign(species=["yew" if i == 8500 else v for i, v in enumerate(trees["species"])]).to_parquet(
        tmp_path / "new.parquet"
    )
    with pytest.raises(DataError, match=r"row 8501, column 'species': 'yew' is not among"):
        vae.transform(tmp_path / "new.parquet")
    trees.drop(columns="birds").to_parquet(tmp_path / "less.parquet")
    with pytest.raises(DataError, match="lacks column 'birds'"):
        vae.transform(tmp_path / "less.parquet")


def test_the_command_streams_them(path, tmp_path, capsys, on_disk):
    run = tmp_path / "run"
    quick = ["--set", "max_epochs=1", "--set", "encoder=MLP(hidden=(8,))", "--memory", "1MB"]
    answer = must(capsys, "fit", path, "-o", run, *quick, "--json")
    assert "read in blocks within" in answer.err and json.loads(answer.out)["report"]
    for command in (["transform", run], ["impute", run], ["score", run]):
        must(capsys, *command, "-o", tmp_path / "out.parquet")
    must(capsys, "impute", run, "-o", tmp_path / "filled.parquet", "--samples", "2")
    filled = pd.read_parquet(tmp_path / "filled.parquet")
    assert len(filled) == N and list(filled) == load(run).table_.names and not filled.isna().any().any()
    assert ask(capsys, "info", path).code == 0
