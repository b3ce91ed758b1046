"""Saving and loading without pickles: weights in safetensors, everything else as JSON, and a model card to read.

A run folder holds ``config.json`` (class, parameters, parts, state of the fit, versions), ``model.safetensors``,
``history.jsonl`` (one line for each evaluation) and ``README.md`` (the model card). ``config.json`` names the hash of
the weights. The neighbours that a map was fitted with lie in ``neighbors.safetensors``, so that a fit that goes on need
not seek them again; the state of a trainer that goes on, after an interruption or with the next piece of the data, in
``trainer.safetensors``. A folder is replaced as a whole (`latentmap.estimators.run_folder`).
"""

from __future__ import annotations

import functools
import json
import math
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import safetensors.torch
import sklearn
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

import latentmap
from latentmap.data.embeddings import Embed
from latentmap.data.files import as_json, write_new
from latentmap.data.locks import identity, locked
from latentmap.estimators.card import model_card
from latentmap.estimators.columns import give_embeddings
from latentmap.estimators.parameters import ITSELF, check_parameters, read_parameter, write_parameter
from latentmap.estimators.run_files import (
    FORMAT,
    NEIGHBORS,
    TRAINER,
    Saved,
    damage_in_words,
    read_config,
    read_saved,
    sha256,
)
from latentmap.estimators.run_folder import is_run, replaced_run
from latentmap.estimators.saved import Configuration, read_described
from latentmap.estimators.state import FitState, Graphs
from latentmap.estimators.units import in_data_units
from latentmap.exceptions import DataError, ModelError
from latentmap.training.device import resolve_device
from latentmap.training.metrics import Row

if TYPE_CHECKING:
    from latentmap.estimators.base import GenerativeEstimator

ATTEMPTS = 3
"""Attempts to read a run that is replaced meanwhile."""
Function = TypeVar("Function", bound=Callable[..., Any])
WAIT = 10.0
"""Seconds that a save waits for another process that writes to the folder."""


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to a folder, new or of an earlier run, which is replaced as a whole.

    Raises
    ------
    DataError
        If the folder cannot be written, is being written by another process, or holds files of these names that are not
        a run's.
    """
    check_is_fitted(estimator)
    try:
        if is_run(Path(path)):
            read_config(path)  # raises for a run of a newer version
        with locked(path, WAIT), replaced_run(path) as folder:
            write(estimator, folder)
    except OSError as error:
        raise DataError(f"cannot write {os.fspath(path)}: {error.strerror or error}") from error


def write(estimator: Any, folder: Path) -> None:
    """Write a fitted estimator to an empty folder."""
    state: FitState = estimator.state_
    files = {"model.safetensors": safetensors.torch.save(_apart(state.module.state_dict()))}
    hashes = {"weights_sha256": sha256(files["model.safetensors"])}
    if state.graphs is not None:
        files[NEIGHBORS] = _write_graphs(state.graphs)
        hashes["neighbors_sha256"] = sha256(files[NEIGHBORS])
    if state.trainer is not None:
        files[TRAINER] = state.trainer.to_bytes()
        hashes["trainer_sha256"] = sha256(files[TRAINER])
    config = _finite(describe(estimator)) | hashes
    history = [_finite(row) for row in state.history]
    files["history.jsonl"] = b"".join(json.dumps(row, allow_nan=False).encode() + b"\n" for row in history)
    files["README.md"] = model_card(config, history).encode()
    for name, content in (files | {"config.json": as_json(config)}).items():
        write_new(folder / name, content)


def _of_one_run(read: Function) -> Function:
    """Make a function read a folder again that was replaced by another run while it was read."""

    @functools.wraps(read)
    def whole(path: str | os.PathLike[str], **options: Any) -> Any:
        for _ in range(ATTEMPTS):
            before = identity(path)
            try:
                result = read(path, **options)
            except ModelError:
                if identity(path) == before:
                    raise
            else:
                if identity(path) == before:
                    return result
        return read(path, **options)

    return cast(Function, whole)


@_of_one_run
def load(
    path: str | os.PathLike[str],
    *,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    embeddings: Mapping[str, Embed] | None = None,
    expected: type | None = None,
) -> Any:
    """Read a fitted estimator from the folder that `save` wrote; nothing is unpickled.

    Parameters
    ----------
    path : str or path
        The run folder.
    encoder, decoder : Module, default=None
        Modules of your own, where the model was fitted with such: their weights are read, their code is not.
    embeddings : mapping of str to callable, default=None
        By column, the functions that embed its text, where the model was fitted with such (`latentmap.Columns`).
    expected : type, default=None
        A class that the estimator must be of.

    Returns
    -------
    object
        The fitted estimator.

    Raises
    ------
    ModelError
        If the folder is not a run, is damaged, was written by a newer version, or holds another class; or if an
        embedding gives other vectors than that of the fit.
    """
    saved = read_saved(Path(path), expected)
    modules = {"encoder": encoder, "decoder": decoder}
    with damage_in_words(saved.folder, saved.cls):
        for name, module in modules.items():
            if module is not None and name not in saved.own_modules:
                raise ModelError(f"this model has no {name} of your own: load it without {name}=")
        estimator = _restored(saved, modules)
    give_embeddings(estimator, embeddings or {})
    return estimator


@_of_one_run
def describe_run(path: str | os.PathLike[str]) -> tuple[Configuration, list[Row]]:
    """Return the configuration and the history of a run that `load` takes, given what only its user has.

    Raises
    ------
    ModelError
        Where `load` would, for the same reason.
    """
    saved = read_saved(Path(path), None)
    with damage_in_words(saved.folder, saved.cls):
        if saved.own_modules:  # no model is made without its modules
            read_described(saved.config["fitted"])
            _parameters_of(saved, dict.fromkeys(saved.own_modules, nn.Identity()))
        else:
            _restored(saved, {})
    return saved.config, saved.history


def describe(estimator: GenerativeEstimator) -> dict[str, Any]:
    """Describe a fitted estimator as plain JSON, all but its weights and history."""
    names = getattr(estimator, "feature_names_in_", None)
    own = {
        "n_features_in_": estimator.n_features_in_,
        "feature_names_in_": None if names is None else names.tolist(),
        "given_": None if estimator.given_ is None else np.asarray(estimator.given_).tolist(),
    }
    return {
        "format": FORMAT,
        "class": type(estimator).__name__,
        "version": latentmap.__version__,
        "params": {name: write_parameter(value) for name, value in estimator.get_params(deep=False).items()},
        "fitted": estimator.state_.to_json() | own,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }


def _apart(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights in memory of their own, as files of safetensors need; layers may share some."""
    found: dict[int, Tensor] = {}
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    return {n: t if found.setdefault(t.untyped_storage().data_ptr(), t) is t else t.clone() for n, t in tensors.items()}


def _finite(value: Any) -> Any:
    """JSON knows no NaN and no infinity: null stands for both."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _parameters_of(saved: Saved, modules: Mapping[str, nn.Module | None]) -> GenerativeEstimator:
    """Return an estimator with the parameters of a run."""
    estimator = saved.cls()
    estimator.set_params(**{n: read_parameter(n, value, modules) for n, value in saved.config["params"].items()})
    if estimator.anchor == {"run": ITSELF}:
        estimator.set_params(anchor=str(saved.folder))
    check_parameters(estimator)
    return estimator


def _restored(saved: Saved, modules: Mapping[str, nn.Module | None]) -> GenerativeEstimator:
    """Return the estimator of a run."""
    estimator, fitted = _parameters_of(saved, modules), saved.config["fitted"]
    try:
        device = resolve_device(estimator.device)
    except ValueError:  # fitted on a device that this machine does not have
        device = resolve_device("auto")
    condition = estimator.condition
    state = FitState.from_json(fitted, saved.weights, device, condition=condition, modules=modules)
    state = in_data_units(replace(state, history=saved.history))
    estimator.state_ = replace(state, graphs=saved.graphs, trainer=saved.trainer)
    estimator.n_features_in_ = math.prod(estimator.event_shape_)
    if fitted.get("given_") is not None:
        estimator.given_ = fitted["given_"]
    if (names := fitted.get("feature_names_in_")) is not None:
        estimator.feature_names_in_ = np.array(names, dtype=object)
    return estimator


def _write_graphs(graphs: Graphs) -> bytes:
    """Return the neighbours that a map was fitted with, and of which rows they are."""
    key = torch.tensor(list(graphs.key.encode()), dtype=torch.uint8)
    return safetensors.torch.save({"graph": graphs.graph, "held_out_graph": graphs.held_out_graph, "key": key})
