"""A saved run is the model: identical outputs, plain files, nothing unpickled, every damage refused in one line."""

import copy
import functools
import hashlib
import json
import os
import pickle
import random
import resource
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from torch import nn

from latentmap import VAE, Autoencoder, likelihoods, load, networks, objectives, posteriors, priors
from latentmap.estimators.base import GenerativeEstimator
from latentmap.exceptions import DataError, ModelError

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

NEIGHBORS = "neighbors.safetensors"
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


class Trap:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("hashed", [False, True], ids=["hash differs", "hash agrees"])
@pytest.mark.parametrize("dump", [pickle.dump, torch.save], ids=["pickle", "torch.save"])
def test_nothing_is_unpickled(vae, tmp_path, dump, hashed):
    run, sprung = tmp_path / "run", tmp_path / "sprung"
    vae.save(run)
    with open(run / "model.safetensors", "wb") as file:
        dump(Trap(str(sprung)), file)
    if hashed:
        rewrite(run, weights_sha256=hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest())
    with pytest.raises(ModelError) as caught:
        load(run)
    assert "\n" not in str(caught.value) and not sprung.exists()
    if dump is pickle.dump:  # the control: unpickling does spring the trap
        pickle.loads((run / "model.safetensors").read_bytes()).close()
        assert sprung.exists()


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


def truncate(path, size=100):
    path.write_bytes(path.read_bytes()[:size])


def nested(depth):
    return {"part": "likelihoods.Incomplete", "likelihood": nested(depth - 1) if depth else None}


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def blocked(path):
    path.unlink()
    path.mkdir()


DAMAGE = {
    "no folder": (shutil.rmtree, "cannot read .*config.json: No such file or directory"),
    "no weights": (lambda run: os.remove(run / "model.safetensors"), "cannot read .*model.safetensors"),
    "no history": (lambda run: os.remove(run / "history.jsonl"), "cannot read .*history.jsonl"),
    "truncated weights": (lambda run: truncate(run / "model.safetensors"), "does not belong to its config.json"),
    "truncated configuration": (lambda run: truncate(run / "config.json"), "is not valid JSON"),
    "binary configuration": (lambda run: (run / "config.json").write_bytes(b"\xff\xfe\x00"), "is not valid JSON"),
    "another file": (lambda run: (run / "config.json").write_text('{"name": "x"}'), "does not describe a run"),
    "a list": (lambda run: (run / "config.json").write_text("[1]"), "does not describe a run"),
    "truncated history": (lambda run: truncate(run / "history.jsonl", 30), "cannot be read as a VAE"),
    "newer format": (lambda run: rewrite(run, format=99), "in format 99, newer than the 1 .*upgrade latentmap"),
    "format of text": (lambda run: rewrite(run, format="one"), "format must be a whole number, got 'one'"),
    "unknown class": (lambda run: rewrite(run, **{"class": "Oracle"}), "class Oracle, expected VAE or Autoencoder"),
    "class of a list": (lambda run: rewrite(run, **{"class": ["VAE"]}), "expected VAE or Autoencoder"),
    "other sizes": (lambda run: rewrite(run, fitted__latent=3), "cannot be read as a VAE.*size mismatch"),
    "unknown parameter": (lambda run: rewrite(run, params__depth=3), "Invalid parameter 'depth'"),
    "parameters of a list": (lambda run: rewrite(run, params=[1]), "cannot be read as a VAE"),
    "no parts": (lambda run: rewrite(run, fitted__parts={}), "cannot be read as a VAE"),
    "unknown part": (
        lambda run: rewrite(run, fitted__parts__likelihood={"part": "os.system", "command": "true"}),
        "as a part, got 'os.system'",
    ),
    "impossible part": (
        lambda run: rewrite(run, fitted__parts__likelihood=likelihoods.Gaussian().to_json() | {"scale": -1}),
        "scale must be",
    ),
    "history of a list": (
        lambda run: (run / "history.jsonl").write_text("[1, 2]\n"),
        "is no object of numbers: .\\[1, 2",
    ),
    "history of text": (lambda run: (run / "history.jsonl").write_text('{"loss": "low"}\n'), "is no object of numbers"),
    "deep history": (lambda run: (run / "history.jsonl").write_text("[" * 10**5), "cannot be read as a VAE: Recursion"),
    "deep configuration": (
        lambda run: (run / "config.json").write_text("[" * 10**5),
        "is not valid JSON: nested too deep",
    ),
    "deep part": (lambda run: rewrite(run, fitted__parts__likelihood=nested(900)), "cannot be read as a VAE"),
    "neighbours of another run": (
        lambda run: flip(run / "neighbors.safetensors"),
        "neighbors.safetensors does not belong to its config.json; remove it",
    ),
    "changed weights": (lambda run: flip(run / "model.safetensors"), "does not belong to its config.json"),
    "a folder in the way": (lambda run: blocked(run / "history.jsonl"), "cannot read .*history.jsonl"),
    "no seed": (lambda run: rewrite(run, fitted={"n_iter_": 1}), "cannot be read as a VAE: KeyError"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_refused_in_one_line(vae, tmp_path, damage):
    run = tmp_path / "run"
    vae.save(run)
    load(run)  # the control
    do, message = DAMAGE[damage]
    do(run)
    with pytest.raises(ModelError, match=message) as caught:
        load(run)
    assert "\n" not in str(caught.value) and str(run) in str(caught.value)


def reweighed(run, change):
    """Change the weights of a run, and the hash in its configuration with them."""
    tensors = safetensors.torch.load_file(run / "model.safetensors")
    change(tensors)
    safetensors.torch.save_file(tensors, run / "model.safetensors")
    rewrite(run, weights_sha256=hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest())


WEIGHTS = {
    "nan": (
        lambda t: t["model.encoder.0.weight"].view(-1)[3:5].fill_(torch.nan),
        "2 of .* values of model.encoder.0.weight",
    ),
    "infinite": (
        lambda t: t["scaling.scale"].fill_(torch.inf),
        "its weights are not finite: 1 of 1 values of scaling.scale",
    ),
    "zero scale": (lambda t: t["scaling.scale"].zero_(), "scaling.scale is not positive"),
    "fewer": (
        lambda t: t.pop("model.encoder.0.weight"),
        "asks for weights model.encoder.0.weight, which model.safetensors",
    ),
    "more": (
        lambda t: t.update({"model.x": torch.ones(1)}),
        "holds weights that config.json does not ask for: model.x",
    ),
    "transposed": (
        lambda t: t.update({"model.encoder.0.weight": t["model.encoder.0.weight"].T.contiguous()}),
        "a size mismatch: model.encoder.0.weight is to have shape",
    ),
    "scales of another number": (
        lambda t: t.update({"scaling.scale": torch.ones(5).double()}),
        r"scale has shape \(5,\)",
    ),
    "nothing": (lambda t: t.clear(), "cannot be read as a VAE"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_are_none_of_the_model_are_refused(vae, tmp_path, name):
    vae.save(tmp_path)
    reweighed(tmp_path, lambda tensors: None)
    load(tmp_path)  # the control
    change, message = WEIGHTS[name]
    first = next(key for key in vae.model_.state_dict() if key.startswith("encoder") and key.endswith("weight"))
    wanted = message.replace("model.encoder.0.weight", f"model.{first}")

    def renamed(tensors):
        tensors["model.encoder.0.weight"] = tensors.pop(f"model.{first}")
        change(tensors)
        if "model.encoder.0.weight" in tensors:
            tensors[f"model.{first}"] = tensors.pop("model.encoder.0.weight")

    reweighed(tmp_path, renamed)
    with pytest.raises(ModelError, match=wanted) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


ABSURD = {
    "latent": {"fitted__latent": 10**9},
    "more latent": {"fitted__latent": 2 * 10**5},
    "negative latent": {"fitted__latent": -2},
    "rows": {"fitted__event_shape_": [10**9]},
    "pictures": {"fitted__event_shape_": [10**5, 10**5]},
    "layers": {"fitted__parts__encoder": networks.MLP((60_000, 60_000)).to_json()},
    "very many layers": {"fitted__parts__encoder": networks.MLP((8,) * 20_000).to_json()},
    "very many blocks": {"fitted__parts__decoder": networks.ResidualMLP(width=8, blocks=10**9).to_json()},
    "levels": {"fitted__below": [10**9]},
    "a class of codes": {"fitted__parts__prior": priors.Vamp(10**8).to_json()},
}


@pytest.mark.parametrize("name", ABSURD)
def test_models_far_larger_than_their_weights_are_not_made(vae, tmp_path, name):
    vae.save(tmp_path)
    rewrite(tmp_path, **ABSURD[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match="cannot be read as a VAE") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18  # a quarter of a gigabyte


ODD = [-1, 0, 3, 10**6, 10**12, 1e308, "x", "", None, [], {}, True, [10**9], {"part": "priors.Normal"}, {"module": "X"}]


def places(value, at=()):
    """Every place in nested dictionaries and lists."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*at, key))


@pytest.mark.parametrize(
    "file", ["config.json", "values of config.json", "history.jsonl", "model.safetensors", NEIGHBORS]
)
def test_a_run_of_any_other_bytes_loads_or_is_refused(vae, tmp_path, file):
    vae.save(tmp_path)
    draw, name = random.Random(0), file.rpartition(" ")[2]
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    config = json.loads(whole["config.json"])
    every, refused = list(places(config))[1:], 0
    for _ in range(60):
        if file.startswith("values"):
            changed = copy.deepcopy(config)
            *outer, last = draw.choice(every)
            functools.reduce(lambda place, key: place[key], outer, changed)[last] = draw.choice(ODD)
            (tmp_path / name).write_text(json.dumps(changed))
        else:
            content = bytearray(whole[name])
            content[draw.randrange(min(len(content), 2000))] = draw.choice([draw.randrange(256), *b'0123456789[]{}",'])
            (tmp_path / name).write_bytes(content)
            hashes = {"model.safetensors": "weights_sha256", NEIGHBORS: "neighbors_sha256"}
            if name in hashes and draw.random() < 0.7:  # as one would who means harm
                rewrite(tmp_path, **{hashes[name]: hashlib.sha256(content).hexdigest()})
        try:
            load(tmp_path)
        except ModelError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 1200
        for changed, content in whole.items():
            (tmp_path / changed).write_bytes(content)
    assert refused > 5
    load(tmp_path)


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
    (tmp_path / "report.html").write_text("kept")
    vae.save(tmp_path)
    assert_same(vae, load(tmp_path), rows[:3])
    assert sorted(os.listdir(tmp_path)) == sorted([*FILES, "neighbors.safetensors", "report.html"])
    autoencoder.save(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([*FILES, "report.html"])  # neighbours of another model are none of it


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
