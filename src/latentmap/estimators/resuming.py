"""Resumed fits: which fit a checkpoint is of, and whether another one may continue from it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

import latentmap
from latentmap.estimators.parameters import Parameters, write_parameter
from latentmap.estimators.state import FitState
from latentmap.exceptions import DataError, ModelError, PartError, ResumeWarning
from latentmap.model.processes import Processes
from latentmap.training.checkpoint import Checkpoint, Checkpoints
from latentmap.training.settings import Settings

FREE = ("callbacks", "verbose", "warm_start", "memory")
"""Parameters that the weights of a fit do not depend on."""
DTYPES = ("float32", "bfloat16")
REFUSED = (
    "versions", "parameters", "data", "columns", "labels", "rows", "block", "neighbors", "anchor", "earlier",
    "earlier_epochs", "device",
)  # fmt: skip
"""Facts that must be as they were; what differs in the others is said."""


def read_checkpoints(checkpoint: str | os.PathLike[str] | Checkpoints | None) -> Checkpoints | None:
    """Return the folder of checkpoints that the parameter of `fit` stands for."""
    return checkpoint if checkpoint is None or isinstance(checkpoint, Checkpoints) else Checkpoints(checkpoint)


def saved_checkpoint(checkpoints: Checkpoints | None, earlier: FitState | None, *, resume: bool) -> Checkpoint | None:
    """Return the checkpoint to resume from: the last of the folder, or that of an interrupted fit in memory.

    None means a fit from the start, where ``resume`` is false or the folder holds nothing yet.

    Raises
    ------
    PartError
        If there is neither a folder nor an interrupted fit.
    ModelError
        If what the checkpoint says of its fit is damaged.
    """
    if not resume:
        return None
    saved = None if checkpoints is None else checkpoints.read()
    if saved is None and earlier is not None and earlier.interrupted and earlier.trainer is not None:
        saved = earlier.trainer
    if saved is None and checkpoints is None:
        raise PartError(
            "resume=True continues an interrupted fit, and this estimator has none: give checkpoint=, a folder with "
            "checkpoints, or leave resume=False"
        )
    if saved is not None:
        _check(saved.facts)
    return saved


def checkpoint_of_first(read: Callable[[], Checkpoint | None], processes: Processes) -> Checkpoint | None:
    """Return what the first process reads, in all processes: the others may not reach its folder."""
    if processes.world_size == 1:
        return read()
    saved = None if processes.rank else read()
    content = processes.from_first(None if saved is None else saved.to_bytes())
    return saved if content is None or saved is not None else Checkpoint.from_bytes(content)


def seed_of_first(seed: int, processes: Processes) -> int:
    """Return the seed of the first process, in all processes."""
    return int(processes.from_first(str(seed).encode()) or b"0")


def settings_of_first(settings: Settings, processes: Processes) -> Settings:
    """Return settings that depend on time and machine as those of the first process, in all processes."""
    if processes.world_size == 1:
        return settings
    content = processes.from_first(json.dumps(_of_machine(settings)).encode())
    return resumed_settings(settings, {"settings": json.loads(content or b"")})


def require_alike(facts: dict[str, Any], processes: Processes) -> None:
    """Raise a `DataError` in all processes if they have not all begun the same fit, as far as facts are given.

    >>> require_alike({"rows": 10}, Processes())
    """
    if processes.world_size == 1:
        return
    each = [json.loads(content) for content in processes.from_all(json.dumps(facts).encode())]
    for rank, other in enumerate(each):
        for name in REFUSED:
            if found := _other(name, each[0].get(name), other.get(name)):
                raise DataError(
                    f"process {rank} of {processes.world_size} has {found} than process 0: give all processes the same "
                    "data, parameters and versions"
                )


def _other(name: str, first: Any, own: Any) -> str:
    """Return what a process has that the first one has not, in words; nothing where they are alike."""
    if first == own:
        return ""
    if isinstance(first, dict) and isinstance(own, dict):
        return next(found for key in first | own if (found := _other(key, first.get(key), own.get(key))))
    words = {
        "data": "other rows",
        "labels": "other labels",
        "columns": "other columns",
        "anchor": "another anchor",
        "earlier": "another earlier fit",
        "rows": "other rows",
    }
    return words.get(name, f"another {name}, {own!r:.60} and not {first!r:.60},")


def _of_machine(settings: Settings) -> dict[str, Any]:
    """Return the settings that depend on time and machine."""
    dtype = str(settings.dtype).removeprefix("torch.")
    return {"time_budget": settings.time_budget, "compile": settings.compile, "dtype": dtype}


def describe_fit(
    p: Parameters,
    state: FitState,
    rows: int,
    y: Any,
    block: int | None = None,
) -> dict[str, Any]:
    """Return what tells a fit from others, as plain JSON: parameters, data, versions, and the machine.

    What is known once the fit is set up, see `describe_training`, is apart.

    Parameters
    ----------
    p : Parameters
        Parameters of the estimator.
    state : FitState
        The fit before its first step.
    rows : int
        Number of rows.
    y : object
        What rows are conditioned on, or their classes.
    block : int, default=None
        Rows that are read at a time, where not all are in memory; their order depends on it.
    """
    parameters = {name: write_parameter(v) for name, v in p.get_params(deep=False).items() if name not in FREE}
    return {
        "class": type(p).__name__,
        "parameters": parameters,
        "seed": state.seed,
        "components": state.model.sizes.latent,
        "data": state.data_fingerprint,
        "labels": _hash_of(y) if p.condition or p.supervised else None,
        "rows": rows,
        "block": block,
        "columns": _hash_of_columns(state),
        "earlier": hash_of_weights(state.scaling) if state.n_iter else None,
        "earlier_epochs": state.n_iter,
        "device": state.device.type,
        "versions": {"latentmap": latentmap.__version__, "torch": torch.__version__, "numpy": np.__version__},
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
        },
    }


def describe_training(settings: Settings, graph: torch.Tensor | None) -> dict[str, Any]:
    """Return the rest of what tells a fit from others: settings of the trainer, and neighbours of the training rows."""
    neighbors = None if graph is None else hashlib.sha256(graph.cpu().numpy().tobytes()).hexdigest()
    return {"neighbors": neighbors, "settings": _of_machine(settings)}


def require_same(saved: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise if a checkpoint is of another fit, with the first difference; warn if it is of another machine.

    >>> require_same({"data": "a", "rows": 10}, {"data": "b", "rows": 12})
    Traceback (most recent call last):
    latentmap.exceptions.ModelError: the checkpoint is of another fit: the data have changed, rows was 10, is 12; ...
    """
    known = [name for name in REFUSED if name in saved]  # a version before may have written fewer
    if found := [text for name in known for text in _differences(name, saved[name], now.get(name))]:
        raise ModelError(
            f"the checkpoint is of another fit: {', '.join(found[:3])}; restore what differs, or fit anew without "
            "resuming"
        )
    if unsaved := saved.get("unsaved"):
        raise ModelError(
            f"the fit cannot be resumed exactly, since the state of {', '.join(map(str, unsaved))} is not saved: let "
            "modules draw from torch, and keep what they count in buffers"
        )
    if found := list(_differences("machine", saved.get("machine"), now.get("machine"))):
        message = f"{', '.join(found)}: the resumed fit may differ in its last digits from an uninterrupted one"
        warnings.warn(message, ResumeWarning, stacklevel=2)
    if saved.get("within_step"):
        message = "the fit was interrupted within a step: resumed, it may differ from an uninterrupted one"
        warnings.warn(message, ResumeWarning, stacklevel=2)


def resumed_settings(settings: Settings, saved: dict[str, Any]) -> Settings:
    """Return the settings of a resumed fit: those which depend on time and machine as they were."""
    then = saved["settings"]
    return replace(
        settings, time_budget=then["time_budget"], compile=then["compile"], dtype=getattr(torch, then["dtype"])
    )


def resumed_batch(saved: Checkpoint, default: int) -> int:
    """Return the rows of a batch of the fit that a checkpoint is of, of which its processes may have left out some."""
    setup = saved.state.get("setup")
    size = setup.get("batch_size") if isinstance(setup, dict) else None
    return size if isinstance(size, int) and size > 0 else default


def require_shared(size: int, processes: Processes) -> None:
    """Raise if processes cannot share the batches of the fit that they resume equally.

    >>> require_shared(128, Processes())
    """
    if size % (count := processes.world_size):
        most = max(n for n in range(1, count) if not size % n)
        raise ModelError(
            f"the fit has batches of {size} rows, which {count} processes cannot share equally: resume it with {most} "
            f"of them, or another number that divides {size}"
        )


def _check(facts: dict[str, Any]) -> None:
    """Refuse facts that no fit writes."""
    settings = facts.get("settings")
    valid = (
        isinstance(facts.get("seed"), int)
        and 0 <= facts["seed"] < 2**64
        and isinstance(facts.get("components"), int)
        and isinstance(facts.get("unsaved", []), list)
        and isinstance(settings, dict)
        and isinstance(settings.get("time_budget"), int | float | None)
        and isinstance(settings.get("compile"), bool)
        and settings.get("dtype") in DTYPES
    )
    if not valid:
        raise ModelError("the checkpoint does not say which fit it is of, so it cannot be resumed; fit anew")


def _differences(name: str, saved: Any, now: Any) -> Iterator[str]:
    """Yield what differs, in words."""
    if isinstance(saved, dict) and isinstance(now, dict):
        for key in sorted(saved.keys() | now.keys()):
            inner = key if name in ("parameters", "versions", "machine") else f"{name}.{key}"
            yield from _differences(inner, saved.get(key), now.get(key))
    elif saved != now:
        hashed = {"data": "the data have changed", "labels": "the labels have changed"}
        hashed |= {"anchor": "the anchor has changed", "earlier": "the earlier fit has changed"}
        hashed["neighbors"] = "the neighbours of the rows have changed"
        hashed["columns"] = "the names, kinds or categories of the columns have changed"
        if name == "block":
            now = f"{now}, which memory= decides"
        yield hashed.get(name) or f"{name} was {saved!r:.80}, is {now!r:.80}"


def hash_of_weights(module: nn.Module) -> str:
    """Return a hash of the tensors of a module."""
    contents = (value.detach().cpu().numpy().tobytes() for _, value in sorted(module.state_dict().items()))
    return hashlib.sha256(b"".join(contents)).hexdigest()


def _hash_of_columns(state: FitState) -> str:
    """Return a hash of the names, kinds and categories of the columns."""
    table = None if state.table is None else state.table.to_json()
    return hashlib.sha256(json.dumps([table, state.data_schema.names], default=str).encode()).hexdigest()


def _hash_of(y: Any) -> str:
    values = np.asarray(y)
    content = repr(values.tolist()).encode() if values.dtype.kind == "O" else np.ascontiguousarray(values).tobytes()
    return hashlib.sha256(f"{values.dtype}{values.shape}".encode() + content).hexdigest()
