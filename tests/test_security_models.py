"""A stranger's model: checked before it is built, in bounded time and memory, and nothing of it is run."""

import hashlib
import json
import os

import numpy as np
import pytest
from tools.fuzz_child import peak, resource_reset

from latentmap import VAE, likelihoods, load, networks, posteriors
from latentmap.cli import main
from latentmap.data.reading import MOST_BYTES, parse_json, read_json
from latentmap.estimators.weights import MOST_TENSORS, read_tensors
from latentmap.exceptions import ModelError, PartError
from test_persistence import rewrite

pytestmark = [
    pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning"),
    pytest.mark.timeout(60),  # what waits for a pipe waits for ever
]
MEGABYTES = 200
"""The most that a refused run may take; the test process itself is not counted."""


def refused(run, match=None):
    """The message of an error that takes little memory."""
    resource_reset()
    before = peak()
    with pytest.raises(ModelError, match=match) as caught:
        load(run)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1200
    assert peak() - before < MEGABYTES * 2**10
    return str(caught.value)


FILES = ("config.json", "model.safetensors", "history.jsonl", "neighbors.safetensors")
SPECIAL = {
    "a named pipe": (os.mkfifo, "is a named pipe, expected a file"),
    "a folder": (os.mkdir, "is a folder, expected a file"),
    "a device": (lambda path: os.symlink("/dev/zero", path), "is a device, expected a file"),
    "a loop of links": (lambda path: os.symlink(os.path.basename(path), path), "symbolic links|No such file"),
}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("name", FILES)
def test_special_files_are_not_opened(vae, tmp_path, name, kind):
    vae.save(tmp_path)
    make, match = SPECIAL[kind]
    (tmp_path / name).unlink()
    make(tmp_path / name)
    if name == "neighbors.safetensors" and kind == "a loop of links":
        load(tmp_path)  # as if it were not there
    else:
        refused(tmp_path, match)


def test_a_pipe_in_the_place_of_the_origin(vae, tmp_path, capsys):
    vae.save(tmp_path)
    os.mkfifo(tmp_path / "data.json")
    assert main(["transform", str(tmp_path), "-o", str(tmp_path / "codes.npy")]) == 1
    assert "is a named pipe, expected a file" in capsys.readouterr().err


def test_names_with_nul():
    assert "an embedded null byte" in refused("run\0x")


CONFIGURATIONS = {
    "keys that are there twice": (b'{"format": 1, "format": 2}', "the key 'format' is there twice"),
    "NaN": (b'{"format": NaN}', "NaN is no JSON"),
    "infinity": (b'{"format": 1e999}', "the number 1e999 is too large"),
    "digits": (b'{"format": ' + b"9" * 5000 + b"}", "is not valid JSON"),
    "depth": (b"[" * 65 + b"]" * 65, "nested too deep"),
    "great depth": (b'{"a":' * 10**5, "nested too deep"),
    "very many lists": (b"[" + b"[]," * (2**19) + b"[]]", "more than 524,288 lists"),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_configurations_within_bounds(vae, tmp_path, name):
    content, match = CONFIGURATIONS[name]
    vae.save(tmp_path)
    (tmp_path / "config.json").write_bytes(content)
    refused(tmp_path, match)


def test_sizes_of_json(tmp_path):
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    assert "expected at most" in refused(tmp_path)
    path.write_text('{"a": [1, {"b": "[[["}]}')
    assert read_json(path) == {"a": [1, {"b": "[[["}]}  # the control
    assert parse_json(b"[" * 64 + b"]" * 64)


HEADERS = {
    "length": (b"\xff" * 8, "have a header of 18,446,744,073,709,551,615 bytes"),
    "no object": ([], r"names none, but is \[\]"),
    "depth": (b"[" * 100 + b"]" * 100, "nested too deep"),
    "type": ({"x": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}, "is of type 'F8_E4M3'"),
    "shape": ({"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, "has shape"),
    "size": ({"x": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4]}}, "is larger than the file"),
    "number": ({str(i): {} for i in range(MOST_TENSORS + 1)}, "tensors, expected at most"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_of_weights(name):
    header, match = HEADERS[name]
    if not isinstance(header, bytes):
        header = json.dumps(header).encode()
    size = b"" if name == "length" else len(header).to_bytes(8, "little")
    with pytest.raises(ModelError, match=match):
        read_tensors(size + header + bytes(4))


def test_types_of_weights(vae, tmp_path):
    import safetensors.torch

    vae.save(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    name = next(key for key in tensors if key.endswith("weight"))
    safetensors.torch.save_file(tensors | {name: tensors[name].long()}, path)
    rewrite(tmp_path, weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    refused(tmp_path, f"{name} is of type torch.int64, expected torch.float32")


RIEMANN = posteriors.RiemannianHamiltonian().to_json() | {"centres": 3500}
HUGE = {
    "categories": {"fitted__parts__likelihood": likelihoods.Categorical(3).to_json() | {"levels": 10**9}},
    "categories of a column": {
        "fitted__parts__likelihood": {
            "part": "likelihoods.Heterogeneous",
            "columns": [likelihoods.Categorical(3).to_json() | {"levels": 2**24}] * 64,
        }
    },
    "factors": {"fitted__latent": 1000, "fitted__parts__posterior": RIEMANN},
    "layers": {"fitted__parts__encoder": networks.MLP().to_json() | {"hidden": [8] * 5000}},
    "a flow": {"fitted__latent": 4000, "fitted__parts__posterior": posteriors.Flow().to_json() | {"width": 2**24}},
}


@pytest.mark.parametrize("name", HUGE)
def test_small_folders_ask_for_little(vae, tmp_path, name):
    vae.save(tmp_path)
    rewrite(tmp_path, **HUGE[name])
    refused(tmp_path, "cannot be read as a VAE")


def test_deep_models_load(rows, tmp_path):
    model = VAE(2, encoder=networks.MLP((4,) * 300), neighbors=None, max_epochs=1, random_state=0).fit(rows[:40])
    model.save(tmp_path)
    assert (load(tmp_path).transform(rows[:3]) == model.transform(rows[:3])).all()


TYPES = {
    "fitted__seed_": "7",
    "fitted__choices_": ["a"],
    "fitted__findings_": [{"kind": 1, "message": "x", "value": 0.0}],
    "fitted__data_schema___n_rows": "many",
    "fitted__parts__likelihood__scale": True,
    "params__n_components": -1,
    "fitted__event_shape_": [True],
    "fitted__latent": 2.0,
}


@pytest.mark.parametrize("name", TYPES)
def test_values_of_another_type(vae, tmp_path, name):
    vae.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    place, keys = config, name.replace("___n_rows", "_/n_rows").replace("__", "/").split("/")
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = TYPES[name]
    (tmp_path / "config.json").write_text(json.dumps(config))
    refused(tmp_path, "cannot be read as a VAE")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"batch_size": 10**12}, "batch_size must be at most"),
        ({"n_components": 10**9}, "n_components must be at most"),
        ({"max_epochs": 10**12}, "max_epochs must be at most"),
        ({"ladder": (10**9,)}, "ladder must be at most"),
    ],
)
def test_settings_that_cannot_be(rows, setting, message):
    with pytest.raises(PartError, match=message):
        VAE(**setting).fit(rows[:20])


@pytest.mark.parametrize(
    "part",
    [
        lambda: networks.MLP((10**9,)),
        lambda: networks.MLP((8,) * 5000),
        lambda: networks.ResidualMLP(blocks=10**9),
        lambda: networks.Conv(width=10**9),
        lambda: likelihoods.Categorical(10**9),
        lambda: posteriors.Flow(transforms=10**9),
    ],
)
def test_parts_that_cannot_be(part):
    with pytest.raises(PartError, match="at most") as caught:
        part()
    assert "\n" not in str(caught.value)


def test_draws_that_cannot_be(vae, tmp_path, capsys):
    for count in (10**12, 2**31):
        with pytest.raises(PartError, match="n_samples"):
            vae.sample(count)
    vae.save(tmp_path / "run")
    for name in ("rows.npy", "rows.csv", "rows.png"):
        assert main(["sample", str(tmp_path / "run"), "-n", str(10**12), "-o", str(tmp_path / name)]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1 and not (tmp_path / name).exists()
    assert np.isfinite(vae.sample(3)).all()
