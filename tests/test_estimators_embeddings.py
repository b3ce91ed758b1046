"""Columns of text that a function of the user's own embeds: fits, missing texts, saved runs, the command, refusals."""

import copy
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.neighbors import KNeighborsClassifier

import latentmap
from command import ask, must
from conftest import fit
from latentmap import VAE, Columns
from latentmap.data.column_kinds import learn_table
from latentmap.data.columns import Cells, Table
from latentmap.data.embeddings import BATCH, embedded, function_name, learn_embedding
from latentmap.exceptions import DataError, ModelError, PartError

WORDS = (("soft", "warm", "wool", "scarf"), ("fast", "bright", "screen", "phone"), ("sweet", "dark", "cocoa", "bar"))
FILLER = ("the", "very", "with", "and", "good", "bad", "bought", "again")
SMALL = {"max_epochs": 15, "neighbors": None, "random_state": 0}
HASHED = HashingVectorizer(n_features=64, alternate_sign=False)
MODULE = """
from sklearn.feature_extraction.text import HashingVectorizer
def hashed(texts):
    return HashingVectorizer(n_features=64, alternate_sign=False).transform(texts)
def other(texts):
    return HashingVectorizer(n_features=64, norm="l1").transform(texts)
constant = 3
"""


def reviews(n, seed):
    """Reviews of three kinds of products, whose prices overlap; one text in ten is missing."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, n)
    texts = [" ".join(rng.permutation([*rng.choice(WORDS[k], 3), *rng.choice(FILLER, 4)])) for k in kind]
    frame = pd.DataFrame({"review": texts, "price": np.round(20.0 * kind + rng.normal(20, 12, n), 2)})
    frame["shop"] = rng.choice(["north", "south"], n)
    frame.loc[rng.random(n) < 0.1, "review"] = None
    return frame, kind


@pytest.fixture(scope="module")
def rows():
    """Rows of a fit."""
    return reviews(300, 0)[0]


@pytest.fixture(scope="module")
def vae(rows):
    """A model of rows whose reviews are embedded."""
    return fit(VAE(2, **SMALL, columns=Columns({"review": HASHED.transform})), rows)


@pytest.fixture(scope="module")
def folder(vae, tmp_path_factory):
    """The run of the model."""
    folder = tmp_path_factory.mktemp("run")
    vae.save(folder)
    return folder


def nearest(model, rows, kinds, new, new_kinds):
    """Return how often the nearest codes have the right kind."""
    return KNeighborsClassifier(10).fit(model.transform(rows), kinds).score(model.transform(new), new_kinds)


def test_text_makes_codes_tell_apart_what_it_tells_apart_and_fills_other_columns_better(rows, vae):
    kinds, (new, new_kinds) = reviews(300, 0)[1], reviews(300, 1)
    without = fit(VAE(2, **SMALL), rows)
    assert nearest(vae, rows, kinds, new, new_kinds) > 0.1 + nearest(without, rows, kinds, new, new_kinds)
    gaps = new.assign(price=np.nan)
    errors = [np.abs(model.impute(gaps).price - new.price).mean() for model in (vae, without)]
    assert errors[0] < 0.95 * errors[1]
    assert "8 principal components of the 64 entries of HashingVectorizer.transform" in vae.choices_["likelihood"]


def test_the_components_are_those_of_the_vectors_with_their_density_in_these_units(rows, vae):
    numbers = vae.encode_table(rows)
    there = rows.review.notna().to_numpy()
    vectors = HASHED.transform(rows.review[there]).toarray()
    centred = vectors - vectors.mean(0)
    np.testing.assert_allclose(
        np.abs(np.linalg.svd(centred, full_matrices=False)[0] * np.linalg.svd(centred)[1])[:, 0],
        np.abs(numbers[there, 0]),
        atol=0.05,
    )
    assert np.isnan(numbers[~there, :8]).all() and not np.isnan(numbers[there]).any()
    moved = vae.score_samples(rows.assign(review=rows.review.where(np.arange(300) > 0, "dark dark dark")))
    assert moved[0] != vae.score_samples(rows)[0]


def test_missing_text_counts_for_nothing_and_stays_missing(rows, vae):
    gone = rows.assign(review=None)
    scores = vae.score_samples(gone)
    assert np.isfinite(scores).all() and np.isfinite(vae.transform(gone)).all()
    pd.testing.assert_frame_equal(vae.impute(rows), rows)
    filled = vae.impute(rows.assign(price=np.nan))
    assert filled.price.notna().all() and [*filled] == [*rows] and filled.review.equals(rows.review)
    for made in (vae.sample(3, random_state=0), vae.reconstruct(rows), vae.inverse_transform(vae.transform(rows))):
        assert [*made] == ["price", "shop"]


def test_all_inputs_give_the_same_codes(rows, vae, tmp_path):
    codes = vae.transform(rows)
    rows.to_csv(tmp_path / "a.csv", index=False)
    rows.to_parquet(tmp_path / "a.parquet")
    category = rows.assign(review=rows.review.astype("category"))
    for given in (tmp_path / "a.csv", tmp_path / "a.parquet", pl.from_pandas(rows), category, vae.encode_table(rows)):
        np.testing.assert_allclose(vae.transform(given), codes, rtol=1e-6)
    again = fit(VAE(2, **SMALL, columns=Columns({"review": HASHED.transform})), tmp_path / "a.csv")
    np.testing.assert_allclose(again.transform(rows), codes, rtol=1e-6)


def test_larger_files_are_embedded_block_by_block_and_not_fitted(rows, vae, tmp_path, monkeypatch):
    rows.to_parquet(tmp_path / "a.parquet", row_group_size=70)
    monkeypatch.setattr("latentmap.data.formats.parquet.LAZY", 0)
    np.testing.assert_allclose(vae.transform(tmp_path / "a.parquet"), vae.transform(rows), rtol=1e-6)
    with pytest.raises(DataError, match="embedded in every epoch"):
        VAE(2, columns=Columns({"review": HASHED.transform})).fit(tmp_path / "a.parquet")


def test_only_different_texts_are_embedded_in_batches():
    calls = []

    def lengths(texts):
        calls.append(len(texts))
        return torch.tensor([[float(len(text)), float(text.count("1")), 1.0] for text in texts])

    texts = Cells("t", np.array([str(i % 2500) + "x" * (i % 7) for i in range(5000)] + [None], dtype=object))
    learned, cells = learn_embedding(texts, {"embedding": lengths}, "X")
    assert max(calls) <= BATCH and sum(calls) == len({*texts.values} - {None}) + 5
    assert len(cells) == len(learned.basis) == 2, "an entry that never varies is no component"
    calls.clear()
    for one, other in zip(cells, learned.cells(texts, "X"), strict=True):
        np.testing.assert_allclose(one.values, other.values)
    assert sum(calls) == len({*texts.values} - {None})


def test_texts_beyond_the_sample_are_projected_too(monkeypatch):
    monkeypatch.setattr("latentmap.data.embeddings.SAMPLED", 50)
    texts = Cells("t", np.array([f"{i} soft {'warm ' * (i % 5)}" for i in range(300)], dtype=object))
    learned, cells = learn_embedding(texts, {"embedding": HASHED.transform, "components": 3}, "X")
    assert [one.name for one in cells] == ["t[0]", "t[1]", "t[2]"]
    for one, other in zip(cells, learned.cells(texts, "X"), strict=True):
        np.testing.assert_allclose(one.values, other.values, atol=1e-6)


def test_a_run_holds_no_code_and_takes_the_function_again(rows, vae, folder):
    described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert described["params"]["columns"]["columns"]["review"] == {"embedding": "HashingVectorizer.transform"}
    loaded = latentmap.load(folder)
    for use in (loaded.transform, clone(loaded).fit):
        with pytest.raises(ModelError, match=r"load\(path, embeddings=\{'review': function\}\), or --embed review="):
            use(rows)
    assert [*loaded.sample(2, random_state=0)] == ["price", "shop"]
    loaded = VAE.load(folder, embeddings={"review": HASHED.transform})
    np.testing.assert_array_equal(loaded.transform(rows), vae.transform(rows))
    assert loaded.table_ == vae.table_ == Table.from_json(json.loads(json.dumps(vae.table_.to_json())))
    fit(clone(loaded).set_params(max_epochs=1), rows)


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        ({"review": HashingVectorizer(n_features=64, norm="l1").transform}, "gives other vectors than"),
        ({"review": HashingVectorizer(n_features=32).transform}, r"shape \(4, 32\).* the fit had Hashing"),
        ({"text": HASHED.transform}, "does not embed column 'text': the columns that are embedded are 'review'"),
    ],
)
def test_a_run_refuses_other_functions(folder, embeddings, message):
    with pytest.raises(ModelError, match=message):
        latentmap.load(folder, embeddings=embeddings)


def test_clones_share_the_function_and_compare_equal(vae):
    class Large:
        def __deepcopy__(self, memo):
            raise AssertionError("a model was copied")

        def encode(self, texts):
            return np.ones((len(texts), 2))

    columns = Columns({"review": Large().encode, "age": {"kind": "count"}})
    cloned = clone(VAE(columns=columns)).columns
    assert cloned == columns and cloned is not columns and cloned.columns is not columns.columns
    assert copy.deepcopy(columns).columns["review"] is columns.columns["review"]
    assert clone(vae).columns == vae.columns
    assert Columns.from_json(columns.to_json()).columns["review"] == {"embedding": "Large.encode"}


@pytest.mark.parametrize(
    ("embed", "message"),
    [
        (lambda texts: np.ones((len(texts) + 1, 2)), r"returns an array of shape \(5, 2\): expected one vector"),
        (lambda texts: np.ones(len(texts)), r"shape \(4,\)"),
        (lambda texts: np.full((len(texts), 2), np.nan), "NaN or infinite"),
        (lambda texts: np.ones((len(texts), 2)), "all have the same vector"),
        (lambda texts: np.random.default_rng().random((len(texts), 2)), "other vectors in another call"),
        (lambda texts: np.eye(len(texts)), r"shape \(1, 1\): expected one vector of 4 entries for each of 1 text"),
        (lambda texts: texts, r"returns a list: expected an array, tensor or sparse matrix \(n, d\) of numbers"),
        (lambda texts: None, "returns a NoneType: expected an array"),
        (lambda texts: 1 / 0, r"failed on 4 texts \(ZeroDivisionError"),
        (lambda texts: np.ones((len(texts), 5000)), "vectors of 5,000 entries: expected 4,096 at most"),
        (lambda texts: sparse.csr_array((len(texts), 2**20)), "vectors of 1,048,576 entries"),
    ],
)
def test_what_a_function_must_return(rows, embed, message):
    with pytest.raises(DataError, match=message) as caught:
        VAE(2, columns=Columns({"review": embed})).fit(rows)
    assert "\n" not in str(caught.value) and "'review'" in str(caught.value)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"review": [1.0, 2.5, 3.5], "x": [1.0, 2.0, 3.0]}), "holds numbers: expected text"),
        (pd.DataFrame({"review": pd.date_range("2024", periods=3), "x": [1.0, 2.0, 3.0]}), "holds dates"),
        (pd.DataFrame({"review": ["a", "a", None], "x": [1.0, 2.0, 3.0]}), "holds one text only"),
        (pd.DataFrame({"review": [None] * 3, "x": [1.0, 2.0, 3.0]}), "holds no text"),
        (pd.DataFrame({"review": [[1], [2], [3]], "x": [1.0, 2.0, 3.0]}), "it holds"),
        (pd.DataFrame({"review": ["some", "any", "no"], "review[0]": [1.0, 2.0, 3.0]}), "rename it"),
        (pd.DataFrame({"x": [1.0, 2.0, 3.0]}), "no column"),
    ],
)
def test_what_a_column_must_hold(frame, message):
    with pytest.raises(DataError, match=message):
        VAE(2, columns=Columns({"review": HASHED.transform})).fit(frame)


def test_settings_of_embedded_columns():
    for settings in ({"embedding": 3}, {"embedding": len, "kind": "real"}, {"embedding": len, "components": 0}):
        with pytest.raises(PartError, match="column 'review'"):
            Columns({"review": settings})
    with pytest.raises(PartError, match="no setting 'components'"):
        Columns({"review": {"components": 3}})


def test_names_of_functions():
    assert function_name(learn_table) == "latentmap.data.column_kinds:learn_table"
    assert function_name(HASHED.transform) == "HashingVectorizer.transform"
    assert function_name(HASHED) == "HashingVectorizer" and function_name(dict.fromkeys) == "dict.fromkeys"
    assert "<lambda>" in function_name(lambda texts: texts) and ":" not in function_name(lambda texts: texts)
    assert embedded(HASHED.transform, [], "X", 64).shape == (0, 64)


def test_a_table_of_text_alone_maps_and_does_not_decode(rows):
    frame = rows[["review"]].dropna()
    vae = fit(VAE(2, **SMALL | {"max_epochs": 2}, columns=Columns({"review": HASHED.transform})), frame)
    assert vae.transform(frame).shape == (len(frame), 2)
    with pytest.raises(PartError, match="vectors decode to no text"):
        vae.sample(2)
    assert vae.impute(frame).equals(frame)


def test_the_command_embeds_and_a_new_process_loads(rows, tmp_path, monkeypatch, capsys):
    (tmp_path / "my_embedding.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    rows[:100].to_csv("a.csv", index=False)
    embed = ("--embed", "review=my_embedding:hashed")
    template = must(capsys, "info", "a.csv", *embed, "--columns-template", "-").out
    assert '# [columns."review"]  # embedded by my_embedding:hashed' in template
    assert "--embed COLUMN=MODULE:FUNCTION" in must(capsys, "info", "a.csv", "--columns-template", "spec.toml").out + (
        tmp_path / "spec.toml"
    ).read_text(encoding="utf-8")
    settings = ("--set", "neighbors=none", "--epochs", "2", "--no-report")
    must(capsys, "fit", "a.csv", "-o", "run", *embed, *settings, "--columns", "spec.toml")
    for command in (("transform", "-o", "z.csv"), ("score",), ("impute", "-o", "f.csv")):
        refused = ask(capsys, command[0], "run", *command[1:])
        assert refused.code and "or --embed review=MODULE:FUNCTION" in refused.errors[0] and len(refused.errors) == 1
        said = must(capsys, command[0], "run", *command[1:], *embed)
    assert "missing text stays missing in 'review'" in said.err and "filled 0 cells" in said.err
    pd.testing.assert_frame_equal(pd.read_csv("f.csv"), pd.read_csv("a.csv"))
    assert [*pd.read_csv(must(capsys, "sample", "run", "-n", 3, "-o", "s.csv") and "s.csv")] == ["price", "shop"]
    code = (
        "import latentmap, my_embedding, pandas; rows = pandas.read_csv('a.csv');"
        "vae = latentmap.load('run', embeddings={'review': my_embedding.hashed}); print(*vae.transform(rows)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    np.testing.assert_allclose(np.array(done.stdout.split(), float), pd.read_csv("z.csv").iloc[0], rtol=1e-5)
    for option, message in (
        ("review=my_embedding:other", "gives other vectors than my_embedding:hashed"),
        ("review=my_embedding:constant", "is of type int: expected a function"),
        ("review=my_embedding:none", "cannot be imported"),
        ("review=no_such_module:f", "cannot be imported"),
        ("review", "takes COLUMN=MODULE:FUNCTION"),
    ):
        refused = ask(capsys, "score", "run", "--embed", option)
        assert refused.code and message in refused.errors[0] and len(refused.errors) == 1


def test_no_file_names_code_to_run(tmp_path, vae):
    spec = tmp_path / "spec.toml"
    spec.write_text('[columns.review]\nembedding = "os:system"\n')
    with pytest.raises(DataError, match="no file names code to run; give --embed review=MODULE:FUNCTION"):
        Columns.read(spec)
    vae.save(tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    config = path.read_text(encoding="utf-8").replace("HashingVectorizer.transform", "antigravity:x")
    path.write_text(config, encoding="utf-8")
    assert latentmap.load(tmp_path / "run").table_.embeddings[0].function == "antigravity:x"
    assert "antigravity" not in sys.modules


def test_a_damaged_embedding_is_refused(tmp_path, vae):
    vae.save(tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["fitted"]["table"]["embeddings"][0]["basis"][0].pop()
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match="vectors of different lengths"):
        latentmap.load(tmp_path / "run")


@pytest.mark.parametrize("parameters", [{}, {"columns": None}], ids=["none", "null"])
def test_a_run_without_the_settings_of_its_embedded_columns_is_refused(tmp_path, vae, parameters):
    vae.save(tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | {"params": parameters}), encoding="utf-8")
    assert latentmap.load(tmp_path / "run").columns is None  # the control
    with pytest.raises(ModelError, match="embeds 'review', and its parameter columns is NoneType, expected Columns"):
        latentmap.load(tmp_path / "run", embeddings={"review": HASHED.transform})
