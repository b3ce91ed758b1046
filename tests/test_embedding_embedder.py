"""`Embedder` says of batches what the model says of all rows, after it was pickled as its parameters alone."""

import pickle

import numpy as np
import pandas as pd
import pytest

from conftest import fit
from latentmap import VAE, Embedder
from latentmap.exceptions import DataError, PartError


@pytest.fixture(scope="module")
def run(vae, tmp_path_factory):
    folder = tmp_path_factory.mktemp("embedder") / "run"
    vae.save(folder)
    return folder


def columns(rows):
    return {f"x{i}": column for i, column in enumerate(rows.T)}


def test_columns_and_whole_rows_become_codes_and_scores(run, vae, rows):
    embed = Embedder(run, keep=["id"])
    shuffled = {"id": np.arange(400)} | dict(reversed(columns(rows).items())) | {"other": rows[:, 0]}
    codes = embed(shuffled)
    assert list(codes) == ["id", "vae0", "vae1"] and codes["id"].tolist() == list(range(400))
    np.testing.assert_allclose(np.c_[codes["vae0"], codes["vae1"]], vae.transform(rows), atol=1e-6)
    whole = embed({"id": np.arange(400), "data": rows.astype(np.float32)})
    assert whole["vae0"].dtype == np.float32
    np.testing.assert_allclose(whole["vae0"], codes["vae0"], atol=1e-4)
    nested = np.empty(400, object)
    nested[:] = list(rows)
    np.testing.assert_allclose(Embedder(run)({"data": nested})["vae1"], codes["vae1"], atol=1e-6)
    scores = Embedder(run, "score", n_samples=3)(columns(rows[:50]))
    np.testing.assert_allclose(scores["iwae_3"], vae.score_samples(rows[:50], 3), rtol=1e-6)
    assert list(Embedder(run, "score")(columns(rows[:5]))) == ["elbo"]


def test_it_is_pickled_as_its_parameters(run, rows):
    embed = Embedder(str(run))
    before = len(pickle.dumps(embed))
    codes = embed(columns(rows))
    assert len(pickle.dumps(embed)) == before < 500  # the model stays out
    again = pickle.loads(pickle.dumps(embed))(columns(rows))
    np.testing.assert_array_equal(again["vae0"], codes["vae0"])


def test_batches_without_rows_have_the_same_columns(run, rows):
    for what in ("transform", "score", "impute"):
        embed, full = Embedder(run, what, keep=["id"]), columns(rows[:3]) | {"id": np.arange(3)}
        assert set(embed({name: column[:0] for name, column in full.items()})) == set(embed(full))


def test_images_keep_their_shape(images, tmp_path):
    vae = fit(VAE(2, max_epochs=1, random_state=0), images)
    vae.save(tmp_path / "run")
    embed = Embedder(tmp_path / "run")
    for shape in ((400, 8, 8), (400, 64)):
        codes = embed({"image": images.reshape(shape), "n": np.arange(400)})
        np.testing.assert_allclose(codes["vae0"], vae.transform(images)[:, 0], atol=1e-6)


def test_tables_are_encoded_and_filled(tmp_path):
    rng = np.random.default_rng(0)
    height = rng.normal(10, 2, 200)
    table = pd.DataFrame({"height": height, "girth": height / 5, "kind": np.where(height > 10, "oak", "elm")})
    table.loc[::5, "girth"] = np.nan
    table.loc[2::7, "kind"] = None
    vae = fit(VAE(2, max_epochs=3, neighbors=None, random_state=0), table)
    vae.save(tmp_path / "run")
    batch = {name: table[name].to_numpy() for name in table} | {"id": np.arange(200)}
    codes = Embedder(tmp_path / "run")(batch)
    np.testing.assert_allclose(np.c_[codes["vae0"], codes["vae1"]], vae.transform(table), atol=1e-6)
    scores = Embedder(tmp_path / "run", "score")(batch)["elbo"]
    np.testing.assert_allclose(scores, vae.score_samples(table), atol=1e-6)
    filled = Embedder(tmp_path / "run", "impute", keep=["id"], n_samples=5)(batch)
    assert set(filled) == {"id", *table} and not pd.isna(filled["kind"]).any() and set(filled["kind"]) == {"oak", "elm"}
    expected = vae.impute(table, n_samples=5)
    np.testing.assert_allclose(filled["girth"].astype(float), expected.girth, atol=1e-6)
    assert filled["kind"].tolist() == expected.kind.tolist()


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A table of many types with gaps, and its run."""
    rng, n = np.random.default_rng(0), 240
    days = pd.Timestamp("2021-01-01") + pd.to_timedelta(np.arange(n) * 3601, unit="s")
    table = pd.DataFrame(
        {
            "real": rng.normal(size=n),
            "whole": rng.integers(0, 90, n),
            "text": days.strftime("%Y-%m-%d %H:%M:%S"),
            "time": days.astype("datetime64[us]"),
            "digits": [int(day.strftime("%Y%m%d")) for day in days],
            "kind": rng.choice(["oak", "elm"], n),
            "flag": rng.choice([True, False], n),
        }
    ).astype({"text": object, "kind": object})
    for name in ("text", "time", "kind"):
        table.loc[rng.random(n) < 0.1, name] = None
    vae = fit(VAE(2, max_epochs=1, neighbors=None, random_state=0), table)
    vae.save(tmp_path_factory.mktemp("mixed") / "run")
    return table, vae, tmp_path_factory.getbasetemp() / "mixed0/run"


@pytest.mark.parametrize("nothing", [None, np.nan])
def test_filled_columns_have_the_types_of_the_fit_whatever_is_missing_in_a_batch(mixed, nothing):
    table, vae, run = mixed
    embed = Embedder(run, "impute", n_samples=5)
    complete = table.dropna()[:20]
    whole = {name: complete[name].to_numpy() for name in table}
    types = {name: column.dtype for name, column in embed(whole).items()}
    assert {name: str(dtype) for name, dtype in types.items()} == {
        "real": "float64", "whole": "int64", "text": "object", "time": "datetime64[us]", "digits": "int64",
        "kind": "object", "flag": "bool",
    }  # fmt: skip
    nanoseconds = whole | {"time": whole["time"].astype("datetime64[ns]"), "whole": whole["whole"].astype(float)}
    for rows in (slice(None), slice(0, 7), slice(0, 0)):
        for names in ((), ("text",), ("time",), ("digits",), ("whole", "flag"), tuple(table)[1:]):
            batch = dict(nanoseconds)
            for name in names:
                column = pd.Series(batch[name]).astype(object).to_numpy().copy()
                column[rows] = nothing
                batch[name] = np.full(20, np.nan) if rows == slice(None) and nothing is not None else column
            filled = embed(batch)
            assert {name: column.dtype for name, column in filled.items()} == types, (rows, names)
            expected = vae.impute(pd.DataFrame(batch, columns=list(table)), n_samples=5)
            for name in table:
                there = np.ones(20, bool)
                there[rows] = name not in names
                assert (filled[name] == expected[name].to_numpy()).all() or name in ("time", "flag"), (rows, name)
                assert (filled[name][there] == whole[name][there]).all() and not pd.isna(filled[name]).any()
    empty = embed({name: column[:0] for name, column in whole.items()} | {"other": np.empty(0)})
    assert {name: column.dtype for name, column in empty.items()} == types
    kept = embed(whole | {"whole": whole["whole"] + 0.5})["whole"]  # of which no cell may change
    np.testing.assert_array_equal(kept, whole["whole"] + 0.5)


def test_masked_cells_are_missing(mixed, run, vae, rows):
    table, fitted, mixed_run = mixed
    mask = np.arange(20) % 3 == 0
    complete = table.dropna()[:20].reset_index(drop=True)
    batch = {name: np.ma.array(complete[name].to_numpy(), mask=mask) for name in table}
    gaps = complete.astype({"whole": float, "digits": float, "flag": object})
    gaps.loc[mask] = None
    codes = Embedder(mixed_run)(batch)
    np.testing.assert_allclose(np.c_[codes["vae0"], codes["vae1"]], fitted.transform(gaps), atol=1e-6)
    plain = {name: np.ma.array(complete[name].to_numpy()) for name in table}
    codes = Embedder(mixed_run)(plain)
    np.testing.assert_allclose(np.c_[codes["vae0"], codes["vae1"]], fitted.transform(complete), atol=1e-6)
    with pytest.raises(DataError, match="contains 1 NaN value"):
        Embedder(run)({"data": np.ma.array(rows[:5], mask=np.eye(5, rows.shape[1]) * [[1], [0], [0], [0], [0]])})


def test_columns_to_keep_do_not_have_the_names_of_results(run, mixed, rows):
    for n in (9, 0):
        with pytest.raises(DataError, match="keep= has 'vae0', and so has what transform returns: rename the column"):
            Embedder(run, keep=["vae0"])(columns(rows[:n]) | {"vae0": np.arange(n)})
        with pytest.raises(DataError, match="keep= has 'x1', and so has what impute returns"):
            Embedder(run, "impute", keep=["x1"])(columns(rows[:n]))
    assert Embedder(run, keep=["x1"])(columns(rows[:9]))["x1"].tolist() == rows[:9, 1].tolist()


def test_labels_condition_the_rows(rows, tmp_path):
    y = np.arange(400) % 3
    vae = fit(VAE(2, condition="labels", max_epochs=1, random_state=0), rows, y)
    vae.save(tmp_path / "run")
    with pytest.raises(DataError, match="is conditioned on labels: name their column with labels="):
        Embedder(tmp_path / "run")(columns(rows))
    codes = Embedder(tmp_path / "run", labels="kind")(columns(rows) | {"kind": y})
    np.testing.assert_allclose(codes["vae0"], vae.transform(rows, y)[:, 0], atol=1e-6)


def test_what_is_missing_is_named(run, rows):
    with pytest.raises(PartError, match="what must be 'transform', 'score' or 'impute', got 'embed'"):
        Embedder(run, "embed")
    batch = columns(rows)
    del batch["x7"]
    with pytest.raises(DataError, match=r"the batch lacks column 'x7' of .*run: expected it, or one array of rows of"):
        Embedder(run)(batch)
    with pytest.raises(DataError, match=r"the batch has no column 'id': it has x0, x1"):
        Embedder(run, keep=["id"])(batch)


def test_columns_that_follow_from_others_are_read_too(tmp_path):
    """A cell that is missing is read off a column that follows from it, and cells that are there stay."""
    rng = np.random.default_rng(0)
    kind = rng.choice(["red", "green", "blue"], 200)
    code = [word[0] for word in kind]
    table = pd.DataFrame({"size": rng.normal(size=200), "kind": kind, "code": code}, dtype=object)
    for column in ("kind", "code"):
        table.loc[rng.random(200) < 0.1, column] = None
    vae = fit(VAE(2, max_epochs=2, random_state=0), table)
    assert any("follows from" in text or "left out" in text for text in vae.choices_.values()), "the case holds"
    vae.save(tmp_path / "run")
    batch = {name: table[name].to_numpy() for name in table}
    codes = Embedder(tmp_path / "run")(batch)
    np.testing.assert_allclose(np.c_[codes["vae0"], codes["vae1"]], vae.transform(table), atol=1e-6)
    scores = Embedder(tmp_path / "run", "score")(batch)["elbo"]
    np.testing.assert_allclose(scores, vae.score_samples(table), rtol=1e-6)
    filled, expected = Embedder(tmp_path / "run", "impute")(batch), vae.impute(table)
    assert list(filled) == list(expected)
    for name in table:
        there = table[name].notna().to_numpy()
        assert (filled[name][there] == table[name].to_numpy()[there]).all(), name
        assert (filled[name] == expected[name].to_numpy()).all(), name
    kept = Embedder(tmp_path / "run", keep=["kind"])(batch)
    np.testing.assert_array_equal(kept["vae0"], codes["vae0"])


def test_uneven_and_wide_columns_are_named(run, tmp_path, rows):
    with pytest.raises(DataError, match="column 'x2' of the batch has 9 rows, and 'x0' has 10: give as many of each"):
        Embedder(run)(columns(rows[:10]) | {"x2": rows[:9, 2]})
    table = pd.DataFrame({"a": np.arange(40.0), "b": ["x", "y"] * 20})
    fit(VAE(2, max_epochs=1, random_state=0), table).save(tmp_path / "run")
    with pytest.raises(DataError, match=r"column 'a' of the batch has shape \(40, 2\): expected one value a row"):
        Embedder(tmp_path / "run")({"a": np.ones((40, 2)), "b": table["b"].to_numpy()})
