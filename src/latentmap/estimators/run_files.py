"""The files of a run folder, read and checked before anything is made of them."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import latentmap
from latentmap.data.reading import MOST_BYTES, parse_json, read_file, read_json
from latentmap.data.streaming import read_memory
from latentmap.data.temporary import clean
from latentmap.estimators.run_folder import is_unfinished, shell_command
from latentmap.estimators.saved import Configuration, read_configuration
from latentmap.estimators.state import Graphs
from latentmap.estimators.weights import read_tensors, read_weights
from latentmap.exceptions import LatentmapError, ModelError
from latentmap.messages import error_line
from latentmap.training.checkpoint import Checkpoint
from latentmap.training.metrics import Row

if TYPE_CHECKING:
    from latentmap.estimators.base import GenerativeEstimator

FORMAT = 1
"""Version of the folder's layout; a folder of a newer one is refused."""

CLASSES = {"VAE": "latentmap.estimators.vae", "Autoencoder": "latentmap.estimators.autoencoder"}
NEIGHBORS = "neighbors.safetensors"
TRAINER = "trainer.safetensors"
MOST_HISTORY, MOST_LINES = 2**26, 2**18
"""The most bytes of the history, and lines."""


@dataclass(frozen=True)
class Saved:
    """The content of a run folder, of which nothing is made yet."""

    folder: Path
    cls: type[GenerativeEstimator]
    config: Configuration
    history: list[Row]
    weights: dict[str, Tensor]
    graphs: Graphs | None
    trainer: Checkpoint | None

    @property
    def own_modules(self) -> list[str]:
        """The networks that are modules of the user's own."""
        return [name for name, value in self.config["params"].items() if isinstance(value, dict) and "module" in value]


def read_saved(folder: Path, expected: type | None) -> Saved:
    """Read all files of a run, and check types, hashes and weights."""
    config = read_config(folder)
    cls = _class(folder, config.get("class"), expected)
    content = _read(folder / "model.safetensors")
    if sha256(content) != config.get("weights_sha256"):
        raise ModelError(f"{folder}/model.safetensors does not belong to its config.json; fit and save the model again")
    history = _read_history(folder)
    with damage_in_words(folder, cls):
        configuration, weights = read_configuration(config), read_weights(content)
        graphs = trainer = None
        if (folder / NEIGHBORS).exists():
            graphs = _read_graphs(_read(folder / NEIGHBORS), config.get("neighbors_sha256"))
        if config.get("trainer_sha256") is not None:
            trainer = _read_trainer(folder, config["trainer_sha256"])
    return Saved(folder, cls, configuration, history, weights, graphs, trainer)


@contextlib.contextmanager
def damage_in_words(folder: Path, cls: type) -> Iterator[None]:
    """Turn any error in a damaged run into a `ModelError` of one line."""
    try:
        yield
    except LatentmapError as error:
        raise ModelError(f"{folder} cannot be read as a {cls.__name__}: {error_line(error, 800)}") from error
    except Exception as error:  # damage can raise anything
        cause = f"{type(error).__name__}: {error_line(error)}"
        raise ModelError(f"{folder} cannot be read as a {cls.__name__}: {cause}") from error


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
    if type(config["format"]) is not int or config["format"] < 1:
        raise ModelError(f"{path}: format must be a whole number >= 1, got {config['format']!r:.40}")
    if config["format"] > FORMAT:
        raise ModelError(
            f"{folder} was written by latentmap {config.get('version')} in format {config['format']}, newer than the "
            f"{FORMAT} that latentmap {latentmap.__version__} reads; upgrade latentmap"
        )
    return config


def _read_history(folder: str | os.PathLike[str]) -> list[Row]:
    """Read and check ``history.jsonl`` of a run folder: one evaluation a line."""
    path = Path(folder) / "history.jsonl"
    lines = _read(path, MOST_HISTORY).splitlines()
    if len(lines) > MOST_LINES:
        raise ModelError(f"{path} holds {len(lines):,} lines, expected at most {MOST_LINES:,}")
    return [_evaluation(path, line) for line in lines]


def sha256(content: bytes) -> str:
    """Return the hash of a file."""
    return hashlib.sha256(content).hexdigest()


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


def _evaluation(path: Path, line: bytes) -> Row:
    """Read a line of the history: numbers by name."""
    try:
        row = parse_json(line)
    except ValueError as error:
        raise ModelError(f"{path} holds a line that is not valid JSON: {error_line(error)}") from error
    if not isinstance(row, dict) or not all(isinstance(value, int | float | None) for value in row.values()):
        raise ModelError(f"{path} holds a line that is no object of numbers: {line[:60].decode(errors='replace')!r}")
    return row


def _read_graphs(content: bytes, expected: str | None) -> Graphs:
    if expected is not None and sha256(content) != expected:
        raise ModelError(f"{NEIGHBORS} does not belong to its config.json; remove it, and a fit finds them anew")
    tensors = read_tensors(content)
    key, graphs = tensors["key"], (tensors["graph"], tensors["held_out_graph"])
    if key.ndim != 1 or key.dtype != torch.uint8 or any(g.ndim != 2 or g.is_floating_point() for g in graphs):
        raise ModelError(f"{NEIGHBORS} holds no neighbours; remove it, and a fit finds them anew")
    return Graphs(bytes(key.tolist()).decode(), *graphs)


def _read_trainer(folder: Path, expected: Any) -> Checkpoint:
    content = _read(folder / TRAINER)
    if sha256(content) != expected:
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
