"""A fit is one state: it replaces the earlier one whole or not at all, and that of earlier versions still loads."""

import copy
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from scipy import sparse

from latentmap import VAE, Autoencoder, Columns, likelihoods, load, networks, objectives, posteriors, priors
from latentmap.data import sources
from latentmap.data.formats.arrays import ArraySource
from latentmap.data.sources import open_source
from latentmap.estimators.plan import preview
from latentmap.estimators.state import FitState
from latentmap.exceptions import DataError, DiagnosisWarning, PartError

RUNS = Path(__file__).parent / "runs" / "format1"
EXPECTED = json.loads((RUNS / "expected.json").read_text(encoding="utf-8"))
TINY, MLP = networks.MLP((8,)), networks.MLP((9,))
SMALL = {"encoder": TINY, "decoder": TINY, "max_epochs": 2, "random_state": 0}
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
rng = np.random.default_rng(0)
X = rng.normal(size=(90, 4))
TABLE = pd.DataFrame({"a": X[:, 0], "b": rng.poisson(2.0, 90), "c": rng.choice(list("xyz"), 90)})


def close(got, expected):
    np.testing.assert_allclose(got, np.array(expected), rtol=1e-4, atol=1e-4)


def test_runs_of_format_1_load_for_ever():
    table, X, y = pd.read_csv(RUNS / "table.csv"), np.array(EXPECTED["X"]), np.array(EXPECTED["y"])
    model = load(RUNS / "table")  # its likelihood is called Columns there
    close(model.transform(table), EXPECTED["table"])
    close(model.score_samples(table, 2), EXPECTED["table_score"])
    labels = load(RUNS / "labels")
    close(labels.transform(X, y), EXPECTED["labels"])
    close(labels.predict_proba(X), EXPECTED["labels_proba"])
    chart = load(RUNS / "map")
    close(chart.transform(X), EXPECTED["map"])
    close(chart.sample(2, random_state=0), EXPECTED["map_sample"])
    assert chart.state_.graphs.graph.shape[1] == 3 and chart.history_units_ == "data" and "prior" in chart.choices_


def test_a_state_is_json_and_weights():
    state = VAE(2, **SMALL).fit(TABLE).state_
    text = json.dumps(state.to_json())
    again = FitState.from_json(json.loads(text), state.module.state_dict(), state.device, modules={})
    assert json.dumps(again.to_json()) == text
    rows = open_source(TABLE, columns=again.table).all_rows()
    np.testing.assert_array_equal(again.posterior(rows)[0], state.posterior(rows)[0])


def test_attributes_before_a_fit_say_that_there_is_none():
    for name in ("state_", "model_", "history_", "choices_", "evaluation_", "needs_y_"):
        assert not hasattr(VAE(), name)
        with pytest.raises(AttributeError, match="this VAE is not fitted yet: call fit first"):
            getattr(VAE(), name)


class Stop(Exception):
    pass


def stop(row):
    raise Stop


REFUSED = {
    "a callback that raises": (X, {"callbacks": [stop]}, Stop),
    "rows with infinity": (np.where(X > 2, np.inf, X), {}, DataError),
    "another likelihood's rows": (X, {"likelihood": "Gaussian"}, PartError),
    "text": (X.astype(str), {}, DataError),
    "one row": (X[:1], {}, DataError),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("warm", [False, True])
def test_a_fit_that_fails_leaves_the_earlier_one(name, warm):
    rows, settings, error = REFUSED[name]
    vae = VAE(2, warm_start=warm, **SMALL).fit(X)
    before, codes = copy.deepcopy(vae.model_.state_dict()), vae.transform(X)
    vae.set_params(**settings)
    with pytest.raises(error):
        vae.fit(rows)
    torch.testing.assert_close(vae.model_.state_dict(), before, rtol=0, atol=0)
    np.testing.assert_array_equal(vae.transform(X), codes)
    assert vae.n_iter_ == 2 and len(vae.history_) == len(VAE(2, **SMALL).fit(X).history_)


def test_a_fit_that_fails_leaves_the_features_of_the_earlier_one():
    frame = pd.DataFrame(X, columns=list("abcd"))
    vae = VAE(2, **SMALL).fit(frame)
    codes = vae.transform(frame)
    with pytest.raises(Stop):
        vae.set_params(callbacks=[stop]).fit(X[:, :3])
    np.testing.assert_array_equal(vae.transform(frame), codes)
    assert vae.n_features_in_ == 4 and vae.feature_names_in_.tolist() == list("abcd")


def test_a_copy_that_goes_on_leaves_the_original():
    vae = VAE(2, warm_start=True, **SMALL).fit(X)
    codes = vae.transform(X)
    other = copy.copy(vae)
    assert not np.array_equal(other.partial_fit(X).transform(X), codes)
    assert not np.array_equal(other.fit(X).transform(X), codes)
    np.testing.assert_array_equal(vae.transform(X), codes)


def test_a_model_with_a_given_condition_goes_on_with_it():
    vae = VAE(2, condition="labels", **SMALL).fit(X, np.arange(90) % 2)
    given = vae.given(1).partial_fit(X)
    np.testing.assert_array_equal(given.transform(X), given.transform(X, np.ones(90)))
    assert given.n_iter_ == 3 and vae.n_iter_ == 2


def test_pieces_keep_the_neighbours_of_the_fit():
    vae = VAE(2, **SMALL).fit(X)
    before = vae.state_.graphs
    assert before is not None and vae.partial_fit(X).state_.graphs is before


def test_pieces_go_on_after_a_prior_is_fitted():
    vae = VAE(2, **SMALL).partial_fit(X)
    for prior in (priors.Mixture(3), priors.Mixture(5), priors.FittedNormal()):
        vae.fit_prior(X, prior, random_state=0).partial_fit(X)
    assert vae.n_iter_ == 4
    adversarial = objectives.ELBO(penalties=(objectives.FactorCritic(network=TINY),))
    with pytest.raises(PartError, match="partial_fit continues earlier pieces, and objective or prior are others"):
        vae.set_params(objective=adversarial).partial_fit(X)


def test_pieces_after_a_warm_fit_keep_the_averages_of_the_optimizer():
    vae = VAE(2, warm_start=True, **SMALL).partial_fit(X)
    before = vae.state_.trainer
    assert before and vae.fit(X).state_.trainer is before


def test_a_second_stage_in_the_model_is_drawn_from_the_seed():
    one, same = (VAE(2, prior=priors.TwoStage(8), neighbors=None, **SMALL).fit(X) for _ in range(2))
    np.testing.assert_array_equal(one.transform(X), same.transform(X))


def test_what_fit_refuses_the_plan_refuses():
    row = open_source(X[:1])
    with pytest.raises(DataError, match="has 1 row: expected two or more"):
        preview(VAE(2), row, row)


def test_a_piece_that_fails_leaves_the_earlier_ones():
    vae = VAE(2, **SMALL).partial_fit(X)
    before = copy.deepcopy(vae.model_.state_dict())
    with pytest.raises(Stop):
        vae.set_params(callbacks=[stop]).partial_fit(X)
    torch.testing.assert_close(vae.model_.state_dict(), before, rtol=0, atol=0)
    vae.set_params(callbacks=None).partial_fit(X)
    assert vae.n_iter_ == 2 and not torch.equal(*(next(iter(s.values())) for s in (vae.model_.state_dict(), before)))


def test_a_warm_start_keeps_the_table_of_the_fit():
    vae = VAE(2, warm_start=True, **SMALL).fit(TABLE)
    vae.fit(TABLE[TABLE["c"] != "x"])  # categories keep their places
    assert vae.table_.columns[2].categories == ("x", "y", "z") and vae.n_iter_ == 4
    with pytest.raises(DataError, match="'w' is not among the categories of the fit"):
        vae.fit(TABLE.replace({"c": {"x": "w"}}))
    assert vae.fit(TABLE.drop(columns="b")).n_iter_ == 2  # other columns begin anew


PLANNED = {
    "rows": (X, {}),
    "few rows": (X[:7], {}),
    "images": (rng.integers(0, 17, size=(60, 8, 8)), {}),
    "a table": (TABLE, {}),
    "missing cells": (np.where(X > 1, np.nan, X), {}),
    "a sparse matrix": (sparse.csr_array(rng.poisson(0.4, size=(80, 20)) * 1.0), {}),
    "a stream": (ArraySource(rng.normal(size=(20_000, 8))), {"memory": "1MB"}),
    "three components": (X, {"n_components": 3, "neighbors": 4}),
    "settings": (X, {"batch_size": 16, "learning_rate": 0.1, "encoder": TINY, "scaling": "range"}),
    "an autoencoder": (X, {}),
}


@pytest.mark.parametrize("name", PLANNED)
def test_a_fit_follows_the_plan_that_is_shown(name):
    data, settings = PLANNED[name]
    estimator = (Autoencoder if "autoencoder" in name else VAE)(random_state=0, max_epochs=1).set_params(**settings)
    source = open_source(data)
    model, training, _ = preview(estimator, source, source)
    estimator.fit(data)
    for choice, text in (model.choices | training.choices).items():
        assert estimator.choices_[choice] == text, choice
    assert estimator.model_.parts.likelihood == model.likelihood and training.choices["batch_size"]


class Doubled:
    """Rows in a container that nobody knows."""

    def __init__(self, rows):
        self.rows = rows


def test_a_new_kind_of_input_is_one_adapter(monkeypatch):
    def doubled(request):
        return ArraySource(2 * request.data.rows, name="doubled") if isinstance(request.data, Doubled) else None

    with pytest.raises(DataError, match="X is a Doubled: expected an array"):
        VAE(2, **SMALL).fit(Doubled(X))
    monkeypatch.setattr(sources, "ADAPTERS", (*sources.ADAPTERS, doubled))
    vae = VAE(2, **SMALL).fit(Doubled(X))
    np.testing.assert_array_equal(vae.transform(Doubled(X)), vae.transform(2 * X))


BIG = 2**53 + 1
TOO_BIG = {
    "array": np.array([[1, BIG], [2, 3]]),
    "unsigned": np.array([[1, BIG], [2, 3]], dtype=np.uint64),
    "list": [[1, BIG], [2, 3]],
    "frame": pd.DataFrame({"a": [1, 2], "b": [BIG, 3]}),
    "tensor": torch.tensor([[1, BIG], [2, 3]]),
    "masked": np.ma.array([[1, BIG], [2, 3]], mask=[[True, False], [False, False]]),
    "sparse": sparse.csr_array(np.array([[1, BIG], [2, 3]])),
    "objects": np.array([[1, BIG], [2, 3]], dtype=object),
}


@pytest.mark.parametrize("name", TOO_BIG)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "transform", "score_samples", "impute"])
def test_integers_that_double_precision_rounds_are_refused_by_every_door(name, method, tmp_path):
    if name == "frame" and "fit" in method:
        return  # columns of a frame that are no plain numbers have kinds of their own, ids and categories among them
    vae = VAE(2, neighbors=None, **SMALL)
    if "fit" not in method:
        vae.fit(np.random.default_rng(0).normal(size=(30, 2)))
    with pytest.raises(DataError, match="9007199254740993 at .* is beyond 2\\^53"):
        getattr(vae, method)(TOO_BIG[name])
    if name == "array" and method == "fit":
        np.save(tmp_path / "x.npy", TOO_BIG[name])
        with pytest.raises(DataError, match="is beyond 2\\^53"):
            vae.fit(tmp_path / "x.npy")


NUMBERS = pd.DataFrame(X, columns=list("abcd"))
NAMED = {
    "pandas": lambda frame, path: frame,
    "a table of Arrow": lambda frame, path: pa.Table.from_pandas(frame),
    "a batch of Arrow": lambda frame, path: pa.RecordBatch.from_pandas(frame),
    "a csv file": lambda frame, path: frame.to_csv(path / "x.csv", index=False) or path / "x.csv",
    "a tsv file": lambda frame, path: frame.to_csv(path / "x.tsv", index=False, sep="\t") or path / "x.tsv",
    "a parquet file": lambda frame, path: frame.to_parquet(path / "x.parquet") or path / "x.parquet",
    "a feather file": lambda frame, path: frame.to_feather(path / "x.feather") or path / "x.feather",
}


@pytest.mark.parametrize("name", NAMED)
def test_names_of_columns_are_held_against_the_fit_whatever_holds_them(name, tmp_path):
    rows = NUMBERS.drop(index=3).reset_index(drop="file" in name)  # a frame with an index of its own, but for files
    rows = rows.drop(columns="index", errors="ignore").set_axis(rows.index if "file" in name else range(1, 90))
    fitted = VAE(2, **SMALL).fit(rows)
    np.testing.assert_array_equal(fitted.transform(NAMED[name](rows, tmp_path)), fitted.transform(rows))
    for method in (fitted.transform, fitted.partial_fit):
        swapped = NAMED[name](rows[list("dcba")], tmp_path)
        if name == "pandas":  # as scikit-learn requires
            with pytest.raises(ValueError, match="feature names should match"):
                method(swapped)
        elif method == fitted.transform:
            np.testing.assert_array_equal(method(swapped), method(rows))
    again = VAE(2, **SMALL).fit(NAMED[name](rows, tmp_path))
    assert again.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names should match"):
        again.transform(rows[list("dcba")])


@pytest.mark.parametrize("name", [name for name in NAMED if "Arrow" not in name or "table" in name])
def test_a_column_of_labels_is_no_feature(name, tmp_path):
    labelled = NUMBERS.assign(kind=np.array(list("uv"))[np.arange(90) % 2])
    vae = VAE(2, **SMALL).fit(open_source(NAMED[name](labelled, tmp_path), "kind"))
    assert vae.feature_names_in_.tolist() == list("abcd") and vae.n_features_in_ == 4
    np.testing.assert_array_equal(vae.transform(NUMBERS), VAE(2, **SMALL).fit(NUMBERS).transform(NUMBERS))


def test_a_warm_start_needs_the_columns_and_the_model_of_the_fit():
    vae = VAE(2, warm_start=True, **SMALL).fit(NUMBERS)
    with pytest.raises(ValueError, match="feature names should match"):
        vae.fit(NUMBERS[list("dcba")])
    for change in ({"n_components": 5}, {"likelihood": likelihoods.Laplace()}, {"ladder": (3,)}, {"encoder": MLP}):
        with pytest.raises(PartError, match=f"{next(iter(change))} is .*, and the fit to continue has"):
            clone_of(vae).set_params(**change).fit(NUMBERS)
        with pytest.raises(PartError, match="set it back, or fit anew"):
            clone_of(vae).set_params(**change).partial_fit(NUMBERS)
    with pytest.warns(DiagnosisWarning, match="the rows have other columns"):
        vae.fit(NUMBERS[list("abc")])
    table = VAE(2, warm_start=True, **SMALL).fit(TABLE)
    assert table.fit(TABLE[list("cba")]).n_iter_ == 4  # columns of several kinds are found by name


OTHER = {
    "condition": ({}, {"condition": "labels"}),
    "no condition": ({"condition": "labels"}, {"condition": None}),
    "scaling": ({"scaling": "none"}, {"scaling": "standard"}),
    "a module": ({}, {"decoder": torch.nn.Linear(2, 4)}),
    "another module": ({"decoder": torch.nn.Linear(2, 4)}, {"decoder": torch.nn.Sequential(torch.nn.Linear(2, 4))}),
    "no module": ({"decoder": torch.nn.Linear(2, 4)}, {"decoder": None}),
    "columns": ({}, {"columns": Columns({"a": "real"})}),
    "variational_family": ({}, {"variational_family": posteriors.Sphere()}),
}


@pytest.mark.parametrize("name", OTHER)
def test_pieces_need_the_model_of_the_first(name):
    first, change = OTHER[name]
    y = np.arange(90) % 2
    vae = VAE(2, **SMALL | {"neighbors": None} | first).partial_fit(NUMBERS, y)
    assert clone_of(vae).partial_fit(NUMBERS, y).n_iter_ == 2
    with pytest.raises(PartError, match=f"{next(iter(change))} is .*, and the fit to continue has"):
        vae.set_params(**change).partial_fit(NUMBERS, y)


@pytest.mark.parametrize("labels", [np.array(["2020-01-01", "2021-01-01"], "M8[D]"), np.array([b"u", b"v"])])
def test_labels_that_a_run_cannot_keep_are_refused(labels):
    with pytest.raises(DataError, match="expected labels that are numbers or text"):
        VAE(2, condition="labels", **SMALL).fit(X, labels[np.arange(90) % 2])


def clone_of(vae):
    return copy.deepcopy(vae)


def test_a_given_condition_is_saved(tmp_path):
    vae = VAE(2, condition="labels", **SMALL).fit(X, np.array(list("uv"))[np.arange(90) % 2]).given("v")
    vae.save(tmp_path)
    np.testing.assert_array_equal(load(tmp_path).transform(X), vae.transform(X))


def test_codes_come_through_the_same_door(tmp_path):
    vae = VAE(2, **SMALL).fit(X)
    codes = vae.transform(X)
    rows = vae.inverse_transform(codes)
    frame = pd.DataFrame(codes, columns=vae.get_feature_names_out())
    np.save(tmp_path / "z.npy", codes)
    for given in (frame, frame[["vae1", "vae0"]], sparse.csr_array(codes), tmp_path / "z.npy", codes.tolist()):
        np.testing.assert_allclose(vae.inverse_transform(given), rows, rtol=1e-5, atol=1e-6)
    wrong = {
        "Z has no rows": codes[:0],
        "expected rows and features in Z": codes[0],
        "Z contains 4 NaN": np.full((2, 2), np.nan),
        "2 components, got 1": codes[:, :1],
    }
    for message, given in wrong.items():
        with pytest.raises(DataError, match=message):
            vae.inverse_transform(given)


def test_a_column_of_missing_whole_numbers_is_a_column():
    frame = TABLE.assign(d=pd.array([pd.NA] * 90, dtype="Int64"))
    assert "d" not in [column.name for column in VAE(2, **SMALL).fit(frame).table_.columns]
