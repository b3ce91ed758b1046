"""Damaged runs: nothing is unpickled, and every damage is refused in one line."""

import copy
import functools
import hashlib
import json
import os
import pickle
import random
import resource
import shutil

import pytest
import safetensors.torch
import torch

from latentmap import likelihoods, load, networks, priors
from latentmap.exceptions import ModelError
from test_persistence import rewrite

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


NEIGHBORS = "neighbors.safetensors"


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
    "truncated history": (lambda run: truncate(run / "history.jsonl", 30), "a line that is not valid JSON"),
    "newer format": (lambda run: rewrite(run, format=99), "in format 99, newer than the 1 .*upgrade latentmap"),
    "format of text": (lambda run: rewrite(run, format="one"), "format must be a whole number >= 1, got 'one'"),
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
    "deep history": (
        lambda run: (run / "history.jsonl").write_text("[" * 10**5),
        "history.jsonl holds a line that is not valid JSON: nested too deep",
    ),
    "deep configuration": (
        lambda run: (run / "config.json").write_text("[" * 10**5),
        "is not valid JSON: nested too deep",
    ),
    "deep part": (
        lambda run: rewrite(run, fitted__parts__likelihood=nested(900)),
        "is not valid JSON: nested too deep",
    ),
    "deep enough part": (lambda run: rewrite(run, fitted__parts__likelihood=nested(50)), "cannot be read as a VAE"),
    "neighbours of another run": (
        lambda run: flip(run / "neighbors.safetensors"),
        "neighbors.safetensors does not belong to its config.json; remove it",
    ),
    "changed weights": (lambda run: flip(run / "model.safetensors"), "does not belong to its config.json"),
    "a folder in the way": (lambda run: blocked(run / "history.jsonl"), "cannot read .*history.jsonl"),
    "no seed": (
        lambda run: rewrite(run, fitted={"n_iter_": 1}),
        "cannot be read as a VAE: fitted lacks active_components_",
    ),
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
    "layers": {"fitted__parts__encoder": networks.MLP().to_json() | {"hidden": [60_000, 60_000]}},
    "very many layers": {"fitted__parts__encoder": networks.MLP().to_json() | {"hidden": [8] * 20_000}},
    "very many blocks": {"fitted__parts__decoder": networks.ResidualMLP(width=8).to_json() | {"blocks": 10**9}},
    "levels": {"fitted__below": [10**9]},
    "a class of codes": {"fitted__parts__prior": priors.Vamp().to_json() | {"inputs": 10**7}},
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
