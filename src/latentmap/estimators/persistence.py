"""Saving and loading without pickles: weights in safetensors, everything else as JSON, and a model card to read.

A run folder holds ``config.json`` (class, parameters, parts, state of the fit, versions), ``model.safetensors``,
``history.jsonl`` (one line for each evaluation) and ``README.md`` (the model card). ``config.json`` names the hash of
the weights. The neighbours that a map was fitted with lie in ``neighbors.safetensors``, so that a fit that goes on need
not seek them again; the state of a trainer that goes on, after an interruption or with the next piece of the data, in
``trainer.safetensors``. A folder is replaced as a whole (`latentmap.estimators.run_folder`).
"""

from __future__ import annotations

import functools
import hashlib
import importlib
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
from latentmap.data.reading import MOST_BYTES, parse_json, read_file, read_json
from latentmap.data.streaming import read_memory
from latentmap.data.temporary import clean
from latentmap.estimators.card import model_card
from latentmap.estimators.columns import give_embeddings
from latentmap.estimators.parameters import check_parameters, read_parameter, write_parameter
from latentmap.estimators.run_folder import is_run, is_unfinished, replaced_run, shell_command
from latentmap.estimators.state import FitState, Graphs
from latentmap.estimators.units import in_data_units
from latentmap.estimators.weights import read_tensors, read_weights
from latentmap.exceptions import DataError, LatentmapError, ModelError
from latentmap.messages import error_line
from latentmap.training.checkpoint import Checkpoint
from latentmap.training.device import resolve_device
from latentmap.training.metrics import Row

if TYPE_CHECKING:
    from latentmap.estimators.base import GenerativeEstimator

FORMAT = 1
"""Version of the folder's layout; a folder of a newer one is refused."""

CLASSES = {"VAE": "latentmap.estimators.vae", "Autoencoder": "latentmap.estimators.autoencoder"}
NEIGHBORS = "neighbors.safetensors"
TRAINER = "trainer.safetensors"
ATTEMPTS = 3
"""Attempts to read a run that is replaced meanwhile."""
Function = TypeVar("Function", bound=Callable[..., Any])
WAIT = 10.0
"""Seconds that a save waits for another process that writes to the folder."""
MOST_HISTORY, MOST_LINES = 2**26, 2**18
"""The most bytes of the history, and lines."""


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
    hashes = {"weights_sha256": _sha256(files["model.safetensors"])}
    if state.graphs is not None:
        files[NEIGHBORS] = _write_graphs(state.graphs)
        hashes["neighbors_sha256"] = _sha256(files[NEIGHBORS])
    if state.trainer is not None:
        files[TRAINER] = state.trainer.to_bytes()
        hashes["trainer_sha256"] = _sha256(files[TRAINER])
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
    folder = Path(path)
    config = read_config(folder)
    cls = _class(folder, config.get("class"), expected)
    weights = _read(folder / "model.safetensors")
    if _sha256(weights) != config.get("weights_sha256"):
        raise ModelError(f"{folder}/model.safetensors does not belong to its config.json; fit and save the model again")
    history = read_history(folder)
    modules = {"encoder": encoder, "decoder": decoder}
    try:
        for name, module in modules.items():
            if module is not None and "module" not in (config["params"][name] or {}):
                raise ModelError(f"this model has no {name} of your own: load it without {name}=")
        estimator: GenerativeEstimator = cls()
        estimator.set_params(**{n: read_parameter(n, value, modules) for n, value in config["params"].items()})
        check_parameters(estimator)
        _restore(estimator, config["fitted"], read_weights(weights), modules)
        estimator.state_ = in_data_units(replace(estimator.state_, history=history))
        if (folder / NEIGHBORS).exists():
            graphs = _read_graphs(_read(folder / NEIGHBORS), config.get("neighbors_sha256"))
            estimator.state_ = replace(estimator.state_, graphs=graphs)
        if config.get("trainer_sha256") is not None:
            estimator.state_ = replace(estimator.state_, trainer=_read_trainer(folder, config["trainer_sha256"]))
    except LatentmapError as error:
        raise ModelError(f"{folder} cannot be read as a {cls.__name__}: {error_line(error, 800)}") from error
    except Exception as error:  # damage can raise anything
        cause = f"{type(error).__name__}: {error_line(error)}"
        raise ModelError(f"{folder} cannot be read as a {cls.__name__}: {cause}") from error
    give_embeddings(estimator, embeddings or {})
    return estimator


def read_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read and check ``config.json`` of a run folder."""
    path = Path(folder) / "config.json"
    if "\0" in str(path):
        raise ModelError(f"cannot read {str(path)!r}: an embedded null byte; expected the folder of a saved run")
    clean(folder)
    try:
        config = read_json(path, max(MOST_BYTES, _size(path.with_name("model.safetensors"))))
    except FileNotFoundError as error:
        if is_unfinished(path.parent):
            raise ModelError(
                f"the fit of {folder} has not ended: continue it with {shell_command('resume', folder)}"
            ) from error
        raise _unreadable(path, error) from error
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


def read_history(folder: str | os.PathLike[str]) -> list[Row]:
    """Read and check ``history.jsonl`` of a run folder: one evaluation a line."""
    path = Path(folder) / "history.jsonl"
    lines = _read(path, MOST_HISTORY).splitlines()
    if len(lines) > MOST_LINES:
        raise ModelError(f"{path} holds {len(lines):,} lines, expected at most {MOST_LINES:,}")
    return [_evaluation(path, line) for line in lines]


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


def _class(folder: Path, name: Any, expected: type | None) -> Any:
    """Return the class of a run: the one that is expected, or one of `CLASSES`."""
    if expected is not None and expected.__name__ == name:
        return expected
    home = CLASSES.get(name) if isinstance(name, str) else None
    cls = getattr(importlib.import_module(home), name) if home else None
    if cls is None or (expected is not None and not issubclass(cls, expected)):
        wanted = expected.__name__ if expected is not None else " or ".join(CLASSES)
        raise ModelError(f"{folder} holds a run of class {name}, expected {wanted}; use the load of its own class")
    return cls


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


def _restore(
    estimator: GenerativeEstimator,
    fitted: dict[str, Any],
    weights: Mapping[str, Tensor],
    modules: Mapping[str, nn.Module | None],
) -> None:
    try:
        device = resolve_device(estimator.device)
    except ValueError:  # fitted on a device that this machine does not have
        device = resolve_device("auto")
    condition = estimator.condition
    estimator.state_ = FitState.from_json(fitted, weights, device, condition=condition, modules=modules)
    estimator.n_features_in_ = math.prod(estimator.event_shape_)
    if fitted.get("given_") is not None:
        estimator.given_ = fitted["given_"]
    if fitted["feature_names_in_"] is not None:
        estimator.feature_names_in_ = np.array(fitted["feature_names_in_"], dtype=object)


def _evaluation(path: Path, line: bytes) -> Row:
    """Read a line of the history: numbers by name."""
    try:
        row = parse_json(line)
    except ValueError as error:
        raise ModelError(f"{path} holds a line that is not valid JSON: {error_line(error)}") from error
    if not isinstance(row, dict) or not all(isinstance(value, int | float | None) for value in row.values()):
        raise ModelError(f"{path} holds a line that is no object of numbers: {line[:60].decode(errors='replace')!r}")
    return row


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write_graphs(graphs: Graphs) -> bytes:
    """Return the neighbours that a map was fitted with, and of which rows they are."""
    key = torch.tensor(list(graphs.key.encode()), dtype=torch.uint8)
    return safetensors.torch.save({"graph": graphs.graph, "held_out_graph": graphs.held_out_graph, "key": key})


def _read_graphs(content: bytes, sha256: str | None) -> Graphs:
    if sha256 is not None and _sha256(content) != sha256:
        raise ModelError(f"{NEIGHBORS} does not belong to its config.json; remove it, and a fit finds them anew")
    tensors = read_tensors(content)
    key, graphs = tensors["key"], (tensors["graph"], tensors["held_out_graph"])
    if key.ndim != 1 or key.dtype != torch.uint8 or any(g.ndim != 2 or g.is_floating_point() for g in graphs):
        raise ModelError(f"{NEIGHBORS} holds no neighbours; remove it, and a fit finds them anew")
    return Graphs(bytes(key.tolist()).decode(), *graphs)


def _read_trainer(folder: Path, sha256: Any) -> Checkpoint:
    content = _read(folder / TRAINER)
    if _sha256(content) != sha256:
        raise ModelError(f"{TRAINER} does not belong to its config.json; fit and save the model again")
    return Checkpoint.from_bytes(content)


def _read(path: Path, most: int | None = None) -> bytes:
    try:
        return read_file(path, most or read_memory(None))
    except OSError as error:
        raise _unreadable(path, error) from error


def _size(path: Path) -> int:
    """Return the bytes of a file: a configuration that is longer than the weights is no large model's."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(f"cannot read {path}: {error.strerror or error}; expected the folder of a saved run")
