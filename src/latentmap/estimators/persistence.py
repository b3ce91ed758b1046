"""Saving and loading without pickles: weights in safetensors, everything else as JSON, and a model card to read.

A run folder holds ``config.json`` (class, parameters, parts, what the fit found, versions), ``model.safetensors``,
``history.jsonl`` (one line for each evaluation) and ``README.md`` (the model card). ``config.json`` is written last and
names the hash of the weights, so a folder that a crash left half-new is recognised and refused. The neighbours that a
map was fitted with lie in ``neighbors.safetensors``, so that a fit that goes on need not seek them again.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import importlib
import json
import math
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.torch
import sklearn
import torch
from torch import Tensor, nn

import latentmap
from latentmap.data.columns import Table
from latentmap.data.files import atomic_path, read_json
from latentmap.data.schema import Schema
from latentmap.estimators.card import model_card
from latentmap.estimators.conditions import Labels, condition_from_json
from latentmap.estimators.diagnosis import Finding
from latentmap.estimators.units import read_units
from latentmap.estimators.weights import model_for, read_weights, scaling_for
from latentmap.exceptions import DataError, LatentmapError, ModelError
from latentmap.messages import error_line
from latentmap.model.autoencoder import Parts
from latentmap.model.part import Part, Sizes
from latentmap.training.device import resolve_device

if TYPE_CHECKING:
    from latentmap.estimators.base import GenerativeEstimator

FORMAT = 1
"""Version of the folder's layout; a folder of a newer one is refused."""

CLASSES = {"VAE": "latentmap.estimators.vae", "Autoencoder": "latentmap.estimators.autoencoder"}
FILES = ("config.json", "model.safetensors", "history.jsonl", "README.md")
NEIGHBORS = "neighbors.safetensors"
_ARRAYS = {"code_mean_": float, "code_variance_": float, "kl_per_component_": float, "active_components_": bool}
_PLAIN = (
    "seed_",
    "n_iter_",
    "fit_seconds_",
    "loss_",
    "choices_",
    "data_fingerprint_",
    "interrupted_",
    "n_features_in_",
)


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to a folder, new or of an earlier run; all files are written before any takes its name.

    Raises
    ------
    DataError
        If the folder cannot be written, or holds files of these names that are not a run's.
    """
    folder = Path(path)
    _require_own(folder)
    tensors = {name: t.detach().cpu().contiguous() for name, t in _modules(estimator).state_dict().items()}
    weights = safetensors.torch.save(tensors)
    graphs = None
    if estimator._found is not None:
        key, found = estimator._found
        graphs = safetensors.torch.save(found | {"key": torch.tensor(list(key.encode()), dtype=torch.uint8)})
    hashes = {"weights_sha256": weights} | ({"neighbors_sha256": graphs} if graphs is not None else {})
    config = _finite(describe(estimator)) | {name: hashlib.sha256(file).hexdigest() for name, file in hashes.items()}
    history = [_finite(row) for row in estimator.history_]
    contents = (
        json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n",
        weights,
        b"".join(json.dumps(row, allow_nan=False).encode() + b"\n" for row in history),
        model_card(config, history).encode(),
    )
    with contextlib.ExitStack() as stack:  # which ends in reverse order: the configuration takes its name last
        for name, content in zip(FILES, contents, strict=True):
            stack.enter_context(atomic_path(folder / name)).write_bytes(content)
        if graphs is not None:
            stack.enter_context(atomic_path(folder / NEIGHBORS)).write_bytes(graphs)
    if graphs is None:
        (folder / NEIGHBORS).unlink(missing_ok=True)


def load(
    path: str | os.PathLike[str],
    *,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    expected: type | None = None,
) -> Any:
    """Read a fitted estimator from the folder that `save` wrote; nothing is unpickled.

    Parameters
    ----------
    path
        The run folder.
    encoder, decoder
        Modules of your own, where the model was fitted with such: their weights are read, their code is not.
    expected
        A class that the estimator must be of.

    Raises
    ------
    ModelError
        If the folder is not a run, is damaged, was written by a newer version, or holds another class.
    """
    folder = Path(path)
    config = read_config(folder)
    cls = _class(folder, config.get("class"), expected)
    weights = _read(folder / "model.safetensors")
    if hashlib.sha256(weights).hexdigest() != config.get("weights_sha256"):
        raise ModelError(f"{folder}/model.safetensors does not belong to its config.json; fit and save the model again")
    lines = _read(folder / "history.jsonl").splitlines()
    own = {"encoder": encoder, "decoder": decoder}
    try:
        for name, module in own.items():
            if module is not None and "module" not in (config["params"][name] or {}):
                raise ModelError(f"this model has no {name} of your own: load it without {name}=")
        estimator: GenerativeEstimator = cls()
        parameters = {key: _read_parameter(key, value, own) for key, value in config["params"].items()}
        estimator.set_params(**parameters)
        tensors = read_weights(weights)
        _restore(estimator, config["fitted"], own, tensors)
        _modules(estimator).load_state_dict(tensors)
        estimator.history_ = [_evaluation(line) for line in lines]
        read_units(estimator, config["fitted"].get("history_units", "model"))
        if (folder / NEIGHBORS).exists():
            estimator._found = _neighbors(_read(folder / NEIGHBORS), config.get("neighbors_sha256"))
    except LatentmapError as error:
        raise ModelError(f"{folder} cannot be read as a {cls.__name__}: {error_line(error, 800)}") from error
    except Exception as error:  # damage can raise anything
        reason = f"{type(error).__name__}: {error_line(error)}"
        raise ModelError(f"{folder} cannot be read as a {cls.__name__}: {reason}") from error
    return estimator


def read_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read and check ``config.json`` of a run folder."""
    path = Path(folder) / "config.json"
    try:
        config = read_json(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON: {error_line(error)}") from error
    if not isinstance(config, dict) or "format" not in config:
        raise ModelError(f"{path} does not describe a run of latentmap")
    if not isinstance(config["format"], int):
        raise ModelError(f"{path}: format must be a whole number, got {config['format']!r}")
    if config["format"] > FORMAT:
        raise ModelError(
            f"{folder} was written by latentmap {config.get('version')} in format {config['format']}, newer than the "
            f"{FORMAT} that latentmap {latentmap.__version__} reads; upgrade latentmap"
        )
    return config


def describe(estimator: GenerativeEstimator) -> dict[str, Any]:
    """Describe a fitted estimator as plain JSON, all but its weights and history."""
    fitted: dict[str, Any] = {name: getattr(estimator, name) for name in _PLAIN}
    fitted |= {name: None if (a := getattr(estimator, name)) is None else a.tolist() for name in _ARRAYS}
    names = getattr(estimator, "feature_names_in_", None)
    fitted |= {
        "event_shape_": list(estimator.event_shape_),
        "latent": estimator.model_.sizes.latent,
        "below": list(estimator.model_.sizes.below),
        "condition": estimator.condition_.to_json() if estimator.condition_ else None,
        "parts": estimator.model_.parts.to_json(),
        "scales": len(estimator.scaling_.scale),
        "stretched": estimator.scaling_.stretched is not None,
        "whole": None if estimator.scaling_.whole is None else len(estimator.scaling_.whole),
        "table": None if estimator.table_ is None else estimator.table_.to_json(),
        "findings_": [finding.to_json() for finding in estimator.findings_],
        "feature_names_in_": None if names is None else names.tolist(),
        "data_schema_": estimator.data_schema_.to_json(),
        "history_units": estimator.history_units_,
        "history_bounds": estimator._history_bounds,
    }
    return {
        "format": FORMAT,
        "class": type(estimator).__name__,
        "version": latentmap.__version__,
        "params": {name: _write_parameter(value) for name, value in estimator.get_params(deep=False).items()},
        "fitted": fitted,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }


def _class(folder: Path, name: Any, expected: type | None) -> Any:
    """Give the class of a run: the one that is expected, or one of `CLASSES`."""
    if expected is not None and expected.__name__ == name:
        return expected
    home = CLASSES.get(name) if isinstance(name, str) else None
    cls = getattr(importlib.import_module(home), name) if home else None
    if cls is None or (expected is not None and not issubclass(cls, expected)):
        wanted = expected.__name__ if expected is not None else " or ".join(CLASSES)
        raise ModelError(f"{folder} holds a run of class {name}, expected {wanted}; use the load of its own class")
    return cls


def _require_own(folder: Path) -> None:
    """Refuse to write over files that are not a run's."""
    there = [name for name in FILES if (folder / name).exists()]
    try:
        if there:
            read_config(folder)
        if blocked := [name for name in there if (folder / name).is_dir()]:
            raise ModelError(f"{blocked[0]} is a folder")
    except ModelError as error:
        raise DataError(
            f"cannot write to {folder}: its {', '.join(there)} would be lost and are not a run of latentmap; "
            f"choose another folder ({error})"
        ) from error


def _finite(value: Any) -> Any:
    """JSON knows no NaN and no infinity: null stands for both."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _restore(
    estimator: GenerativeEstimator,
    fitted: dict[str, Any],
    own: dict[str, nn.Module | None],
    weights: Mapping[str, Tensor],
) -> None:
    for name in _PLAIN:
        setattr(estimator, name, fitted[name])
    for name, dtype in _ARRAYS.items():
        setattr(estimator, name, None if fitted[name] is None else np.array(fitted[name], dtype=dtype))
    estimator.event_shape_ = tuple(fitted["event_shape_"])
    estimator.n_features_in_ = math.prod(estimator.event_shape_)
    estimator.findings_ = tuple(Finding(**finding) for finding in fitted["findings_"])
    estimator.data_schema_ = Schema.from_json(fitted["data_schema_"])
    if fitted["feature_names_in_"] is not None:
        estimator.feature_names_in_ = np.array(fitted["feature_names_in_"], dtype=object)
    try:
        estimator.device_ = resolve_device(estimator.device)
    except ValueError:  # fitted on a device that this machine does not have
        estimator.device_ = resolve_device("auto")
    parts = Parts(**{key: copy.deepcopy(_read_parameter(key, value, own)) for key, value in fitted["parts"].items()})
    described = fitted.get("condition")
    estimator.condition_ = condition_from_json(str(estimator.condition), described) if described else None
    some = False
    if isinstance(estimator.condition_, Labels):
        estimator.classes_, some = estimator.condition_.classes, bool(estimator.condition_.some)
    width, below = estimator.condition_.width if estimator.condition_ else 0, tuple(fitted.get("below", ()))
    sizes = Sizes(estimator.event_shape_, fitted["latent"], condition=width, some_labels=some, below=below)
    estimator.model_ = model_for(weights, parts, sizes).to(estimator.device_).eval()
    if fitted.get("table"):
        estimator.table_ = Table.from_json(fitted["table"])
    estimator.scaling_ = scaling_for(weights, sizes.features).to(estimator.device_)


def _modules(estimator: GenerativeEstimator) -> nn.ModuleDict:
    return nn.ModuleDict({"model": estimator.model_, "scaling": estimator.scaling_})


def _write_parameter(value: Any) -> Any:
    if isinstance(value, Part):
        return value.to_json()
    if isinstance(value, nn.Module):
        return {"module": type(value).__name__}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, tuple | list) and all(isinstance(v, int) for v in value):
        return list(value)
    plain = value is None or isinstance(value, bool | int | float | str)
    return value if plain else None  # callbacks and generators belong to a session, not to a model


def _read_parameter(name: str, value: Any, own: dict[str, nn.Module | None]) -> Any:
    if isinstance(value, dict) and "module" in value:
        module = own.get(name)
        if module is None:
            raise ModelError(
                f"this model was fitted with your own {name}, a {value['module']}: give it as load(path, {name}=...)"
            )
        return module
    if isinstance(value, list):
        return tuple(value)
    return Part.from_json(value) if isinstance(value, dict) and "part" in value else value


def _evaluation(line: bytes) -> dict[str, float | None]:
    """Read a line of the history: numbers by name."""
    row = json.loads(line)
    if not isinstance(row, dict) or not all(isinstance(value, int | float | None) for value in row.values()):
        raise ModelError(f"history.jsonl holds a line that is no object of numbers: {line[:60].decode()!r}")
    return row


def _neighbors(content: bytes, sha256: str | None) -> tuple[str, dict[str, Tensor]]:
    """Read the neighbours that a map was fitted with, and for which rows they are."""
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"{NEIGHBORS} does not belong to its config.json; remove it, and a fit finds them anew")
    found = safetensors.torch.load(content)
    return bytes(found.pop("key").tolist()).decode(), {name: found[name] for name in ("graph", "held_out_graph")}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(f"cannot read {path}: {error.strerror or error}; expected the folder of a saved run")
