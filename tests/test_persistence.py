"""A saved run is the model: identical outputs, plain files, nothing unpickled, every damage refused in one line."""

import copy
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from latentmap import VAE, Autoencoder, likelihoods, load, networks, objectives, posteriors, priors
from latentmap.estimators.base import GenerativeEstimator
from latentmap.exceptions import DataError, ModelError

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

FILES = ["README.md", "config.json", "history.jsonl", "model.safetensors"]
QUICK = {"max_epochs": 2, "random_state": 0}


def own_encoder(width=12):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Tanh())


def own_decoder():
    return nn.Sequential(nn.Linear(2, 12), nn.Tanh())


def outputs(model, X):
    """Everything that a fitted model can be asked for."""
    Z = model.transform(X)
    given = {
        "transform": Z,
        "mean": model.posterior(X)[0],
        "deviation": model.posterior(X)[1],
        "inverse_transform": model.inverse_transform(Z),
        "reconstruct": model.reconstruct(X),
        "sample": model.sample(3, random_state=1),
        "interpolate": model.interpolate(X[:1], X[1:2], 4),
        "score": model.score(X),
    }
    if hasattr(model, "score_samples"):
        given["score_samples"] = model.score_samples(X, n_samples=3)
    return given


def assert_same(a, b, X):
    ours, theirs = outputs(a, X), outputs(b, X)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)
        assert np.asarray(value).dtype == np.asarray(theirs[name]).dtype


def test_a_loaded_model_is_the_saved_one(vae, autoencoder, rows, tmp_path):
    for model in (vae, autoencoder):
        model.save(tmp_path / "run")
        again = load(tmp_path / "run")
        assert type(again) is type(model) is type(type(model).load(tmp_path / "run"))
        assert_same(model, again, rows[:20])
        assert_same(model, again, rows[:20].astype(np.float32))
        assert again.get_params() == model.get_params()
        assert again.history_ == model.history_ and again.findings_ == model.findings_
        assert again.data_schema_ == model.data_schema_ and again.event_shape_ == model.event_shape_
        for name in ("n_iter_", "loss_", "fit_seconds_", "choices_", "seed_", "n_features_in_", "data_fingerprint_"):
            assert getattr(again, name) == getattr(model, name), name
        for name in ("code_mean_", "code_variance_", "kl_per_component_", "active_components_"):
            np.testing.assert_array_equal(getattr(again, name), getattr(model, name), err_msg=name)


def test_another_model_has_other_outputs(vae, rows):
    """The control of the test above."""
    other = VAE(2, max_epochs=12, random_state=1).fit(rows)
    with pytest.raises(AssertionError):
        assert_same(vae, other, rows[:20])


@pytest.mark.parametrize("cls", [VAE, Autoencoder])
def test_models_of_images_come_back(cls, images, tmp_path):
    model = cls(2, encoder=networks.Conv((4, 8), width=16), **QUICK).fit(images[:60].astype(np.uint8))
    model.save(tmp_path)
    assert_same(model, load(tmp_path), images[:6].astype(np.uint8))
    assert load(tmp_path).sample(2).shape == (2, 8, 8)


def test_parts_come_back_with_their_fields(rows, tmp_path):
    model = VAE(
        3,
        encoder=networks.ResidualMLP(width=16, blocks=1),
        decoder=networks.MLP((8, 6), activation="tanh"),
        variational_family=posteriors.Gaussian(),
        prior=priors.Normal(),
        likelihood=likelihoods.Gaussian(scale="feature"),
        objective=objectives.ELBO(beta=0.5, warmup=0.1),
        scaling="standard",
        **QUICK,
    ).fit(rows[:60])
    model.save(tmp_path)
    assert load(tmp_path).get_params() == model.get_params()
    assert_same(model, load(tmp_path), rows[:6])


def test_names_of_features_come_back(rows, tmp_path):
    frame = pd.DataFrame(rows[:60, 20:24], columns=list("abcd"))
    model = VAE(2, **QUICK).fit(frame)
    model.save(tmp_path)
    again = load(tmp_path)
    assert list(again.feature_names_in_) == list("abcd")
    np.testing.assert_array_equal(again.transform(frame), model.transform(frame))
    with pytest.raises(ValueError, match="feature names should match"):
        again.transform(frame.rename(columns={"a": "z"}))


def test_a_loaded_model_can_be_fitted_on(vae, rows, tmp_path):
    vae.save(tmp_path)
    again = load(tmp_path)
    again.partial_fit(rows[:50])
    assert not np.array_equal(again.transform(rows[:5]), vae.transform(rows[:5]))
    np.testing.assert_array_equal(again.fit(rows).transform(rows[:5]), vae.transform(rows[:5]))


def test_networks_of_your_own_are_given_again(rows, tmp_path):
    model = VAE(2, encoder=own_encoder(), decoder=own_decoder(), **QUICK).fit(rows[:60])
    model.save(tmp_path)
    encoder, decoder = own_encoder(), own_decoder()
    before = [p.clone() for p in encoder.parameters()]
    again = load(tmp_path, encoder=encoder, decoder=decoder)
    assert_same(model, again, rows[:6])
    assert all(torch.equal(p, q) for p, q in zip(before, encoder.parameters(), strict=True))
    for given in ({}, {"encoder": own_encoder()}):
        with pytest.raises(ModelError, match=r"your own \w+, a Sequential: give it as load\(path, \w+=...\)"):
            load(tmp_path, **given)
    with pytest.raises(ModelError, match="cannot be read as a VAE.*size mismatch"):
        load(tmp_path, encoder=own_encoder(width=5), decoder=own_decoder())


def test_networks_that_nobody_asked_for_are_refused(vae, tmp_path):
    vae.save(tmp_path)
    with pytest.raises(ModelError, match="has no encoder of your own"):
        load(tmp_path, encoder=own_encoder())


class Renamed(VAE):
    """A class of somebody else."""


def test_a_subclass_loads_its_own_runs(rows, tmp_path):
    model = Renamed(2, **QUICK).fit(rows[:60])
    model.save(tmp_path)
    assert type(Renamed.load(tmp_path)) is Renamed
    for stranger in (VAE.load, load):
        with pytest.raises(ModelError, match="a run of class Renamed"):
            stranger(tmp_path)


def test_a_run_is_plain_files(vae, tmp_path):
    vae.save(tmp_path / "deep" / "run")
    folder = tmp_path / "deep" / "run"
    assert sorted(os.listdir(folder)) == sorted([*FILES, "neighbors.safetensors"])
    config = strict_json((folder / "config.json").read_text())
    assert config["class"] == "VAE" and config["params"]["n_components"] == 2
    lines = [strict_json(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert lines == vae.history_
    card = (folder / "README.md").read_text()
    for expected in ("400 rows of shape 64", vae.data_fingerprint_, "seed: 0", torch.__version__, "## Limits"):
        assert expected in card


def strict_json(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_what_is_not_finite_is_written_as_null(vae, tmp_path):
    broken = copy.deepcopy(vae)
    broken.history_[-1] |= {"loss": float("nan"), "val_loss": float("inf")}
    broken.state_ = replace(broken.state_, loss=float("nan"), kl_per_component=np.array([np.nan, 1.0]))
    broken.save(tmp_path)
    assert strict_json((tmp_path / "config.json").read_text())["fitted"]["loss_"] is None
    assert strict_json((tmp_path / "history.jsonl").read_text().splitlines()[-1])["val_loss"] is None
    again = load(tmp_path)
    assert again.history_[-1]["loss"] is None
    np.testing.assert_array_equal(again.kl_per_component_, [np.nan, 1.0])


def rewrite(run, **changes):
    path = run / "config.json"
    config = json.loads(path.read_text())
    for key, value in changes.items():
        place = config
        *outer, last = key.split("__")
        for name in outer:
            place = place[name]
        place[last] = value
    path.write_text(json.dumps(config))


def test_weights_of_another_run_are_refused(vae, autoencoder, tmp_path):
    vae.save(tmp_path / "a")
    autoencoder.save(tmp_path / "b")
    shutil.copy(tmp_path / "b" / "model.safetensors", tmp_path / "a" / "model.safetensors")
    with pytest.raises(ModelError, match="does not belong to its config.json"):
        load(tmp_path / "a")


def test_a_run_of_another_class_is_refused(autoencoder, tmp_path):
    autoencoder.save(tmp_path)
    with pytest.raises(ModelError, match="holds a run of class Autoencoder, expected VAE"):
        VAE.load(tmp_path)
    assert isinstance(GenerativeEstimator.load(tmp_path), Autoencoder)


def test_a_run_from_another_device_loads_where_there_is_none(vae, tmp_path):
    vae.save(tmp_path)
    rewrite(tmp_path, params__device="cuda:7")
    assert load(tmp_path).device_ is not None


def test_saving_over_an_older_run(vae, autoencoder, rows, tmp_path):
    autoencoder.save(tmp_path)
    (tmp_path / "report.html").write_text("of the older run")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "one.txt").write_text("mine")
    vae.save(tmp_path)
    assert_same(vae, load(tmp_path), rows[:3])
    assert sorted(os.listdir(tmp_path)) == sorted([*FILES, "neighbors.safetensors", "notes"])
    autoencoder.save(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([*FILES, "notes"])  # neighbours of another model are none of it
    assert (tmp_path / "notes" / "one.txt").read_text() == "mine"


def test_files_of_somebody_else_are_not_overwritten(vae, tmp_path):
    (tmp_path / "README.md").write_text("my project")
    with pytest.raises(DataError, match="README.md would be lost and are not a run"):
        vae.save(tmp_path)
    assert os.listdir(tmp_path) == ["README.md"] and (tmp_path / "README.md").read_text() == "my project"


@pytest.mark.parametrize("name", FILES)
def test_a_failing_save_leaves_the_older_run_as_it_was(vae, autoencoder, rows, tmp_path, monkeypatch, name):
    autoencoder.save(tmp_path)
    before = {file: (tmp_path / file).read_bytes() for file in FILES}
    write = type(tmp_path).write_bytes

    def full(path, data):
        if path.name.endswith(name):
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(type(tmp_path), "write_bytes", full)
    with pytest.raises(DataError, match=f"cannot write .*{name}: No space left on device"):
        vae.save(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_file_in_the_way_is_named(vae, tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(DataError, match="cannot write .*run"):
        vae.save(tmp_path / "run")
    assert (tmp_path / "run").read_text() == "a file"
    (tmp_path / "other" / "model.safetensors").mkdir(parents=True)
    with pytest.raises(DataError, match="model.safetensors would be lost"):
        vae.save(tmp_path / "other")
    assert os.listdir(tmp_path / "other") == ["model.safetensors"]


def test_an_unfitted_model_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="not fitted"):
        VAE().save(tmp_path / "run")
    assert not (tmp_path / "run").exists()
