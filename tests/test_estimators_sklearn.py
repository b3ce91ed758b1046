"""Scikit-learn's contract: all of its checks, and the things that people do with it."""

import copy
import inspect
import io
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from latentmap import VAE, Autoencoder, likelihoods, networks, objectives

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

TINY = networks.MLP((16,))
QUICK = {"encoder": TINY, "decoder": TINY, "max_epochs": 2, "random_state": 0}


@parametrize_with_checks([VAE(**QUICK), Autoencoder(**QUICK)])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kind, frame", [("pandas", pd.DataFrame), ("polars", pl.DataFrame)])
@pytest.mark.parametrize("cls", [VAE, Autoencoder])
def test_output_containers(cls, kind, frame, rows):
    plain = cls(2, **QUICK).fit(rows[:50])
    model = cls(2, **QUICK).set_output(transform=kind)
    Z = model.fit_transform(rows[:50])
    assert isinstance(Z, frame) and isinstance(model.transform(rows[:5]), frame)
    assert list(Z.columns) == [f"{cls.__name__.lower()}{i}" for i in range(2)] == list(model.get_feature_names_out())
    np.testing.assert_array_equal(Z.to_numpy(), plain.transform(rows[:50]))
    np.testing.assert_array_equal(model.reconstruct(rows[:5]), plain.reconstruct(rows[:5]))
    np.testing.assert_array_equal(model.inverse_transform(Z), plain.inverse_transform(Z.to_numpy()))
    assert model.score(rows[:50]) == plain.score(rows[:50])


def test_a_clone_has_the_parameters_and_nothing_learned():
    vae = VAE(3, objective=objectives.ELBO(beta=2.0), likelihood=likelihoods.Gaussian("feature"), **QUICK)
    assert clone(vae).get_params() == vae.get_params()
    vae.fit(np.random.default_rng(0).normal(size=(30, 4)))
    assert not hasattr(clone(vae), "model_")


def test_only_the_number_of_components_is_positional():
    for cls in (VAE, Autoencoder):
        kinds = {name: p.kind for name, p in inspect.signature(cls).parameters.items()}
        assert kinds.pop("n_components") is inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert set(kinds.values()) == {inspect.Parameter.KEYWORD_ONLY}
        with pytest.raises(TypeError, match="positional"):
            cls(2, TINY)


def test_a_grid_search_finds_the_better_parameters():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 8)) + 0.1 * rng.normal(size=(300, 8))
    grid = {"n_components": [1, 3], "objective": [objectives.ELBO(beta=50.0), objectives.ELBO()]}
    vae = VAE(encoder=TINY, decoder=TINY, neighbors=None, max_epochs=60, batch_size=32, random_state=0)
    search = GridSearchCV(vae, grid, cv=2).fit(X)
    assert search.best_params_ == {"n_components": 3, "objective": objectives.ELBO()}
    assert search.best_estimator_.transform(X[:3]).shape == (3, 3)


def test_in_a_pipeline(rows):
    y = load_digits().target[:400]
    pipeline = make_pipeline(MinMaxScaler(), VAE(2, max_epochs=40, random_state=0), LogisticRegression(max_iter=500))
    assert cross_val_score(pipeline, rows, y, cv=2).mean() > 0.4  # chance is 0.1
    decoder = make_pipeline(StandardScaler(), VAE(2, **QUICK)).fit(rows)
    assert decoder.inverse_transform(decoder.transform(rows[:3])).shape == (3, 64)
    assert decoder.score(rows) == decoder[-1].score(decoder[0].transform(rows))


@pytest.mark.skipif(joblib.cpu_count() < 2, reason="there is one core to share")
def test_fits_side_by_side_share_the_cores():
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent / "src")])
    env = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = [sys.executable, "-W", "ignore", here / "workers.py"]  # of short fits
    process = subprocess.run(command, capture_output=True, text=True, env=env | {"PYTHONPATH": path})
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout)
    assert sum(threads for fit in found["together"] for threads in fit) <= found["cores"]
    assert sum(threads for fit in found["control"] for threads in fit) > found["cores"]


def through_joblib(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


@pytest.mark.parametrize(
    "copied",
    [lambda m: pickle.loads(pickle.dumps(m)), through_joblib, copy.deepcopy, copy.copy],
    ids=["pickle", "joblib", "deepcopy", "copy"],
)
def test_copies_give_identical_outputs(vae, autoencoder, rows, copied):
    for model in (vae, autoencoder):
        twin = copied(model)
        np.testing.assert_array_equal(twin.transform(rows[:9]), model.transform(rows[:9]))
        np.testing.assert_array_equal(twin.reconstruct(rows[:9]), model.reconstruct(rows[:9]))
        np.testing.assert_array_equal(twin.sample(2, random_state=3), model.sample(2, random_state=3))
        assert twin.score(rows[:9]) == model.score(rows[:9])


def test_a_copy_that_is_fitted_on_leaves_the_original(vae, rows):
    before = vae.transform(rows[:5])
    copy.deepcopy(vae).partial_fit(rows[:50])
    np.testing.assert_array_equal(vae.transform(rows[:5]), before)


def test_names_of_features_are_kept_and_compared(rows):
    frame = pd.DataFrame(rows[:40, 20:24], columns=["height", "width", "depth", "mass"])
    vae = VAE(2, **QUICK).fit(frame)
    assert list(vae.feature_names_in_) == list(frame.columns) == list(vae.data_schema_.names)
    for wrong in (frame[["width", "height", "depth", "mass"]], frame.rename(columns={"mass": "weight"})):
        with pytest.raises(ValueError, match="feature names should match"):
            vae.transform(wrong)
    with pytest.raises(ValueError, match="feature names should match"):
        vae.transform(frame[["height", "width", "depth"]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        vae.transform(frame.to_numpy())
    assert vae.interpolate(frame[:1], frame[1:2], 3).shape == (3, 4)
    assert vae.reconstruct(frame).shape == (40, 4) and vae.score(frame) == vae.score_samples(frame).mean()
