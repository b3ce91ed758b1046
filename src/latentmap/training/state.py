"""State of a trainer: the optimizers' by parameter name, and the check that a state fits a trainer."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from latentmap.exceptions import ModelError

ADVICE = "load it into a trainer of the same model, objective, rows, batch size and seed"

MOST_STEPS = 2**40
"""Steps, epochs or evaluations of a fit, at most."""
Weights = dict[str, dict[str, Tensor]]
"""Tensors of model and objective by name."""
Moments = dict[str, dict[str, Tensor]]
"""State of an Adam optimizer: ``step``, ``exp_avg`` and ``exp_avg_sq`` by the name of a parameter."""


def read_moments(optimizer: Optimizer, parameters: Mapping[str, nn.Parameter]) -> Moments:
    """Return the state of an optimizer; parameters without a gradient so far have none."""
    return {name: dict(optimizer.state[p]) for name, p in parameters.items() if optimizer.state.get(p)}


def load_moments(optimizer: Optimizer, parameters: Mapping[str, nn.Parameter], moments: Moments) -> None:
    """Replace the state of an optimizer by a copy of this one."""
    optimizer.state.clear()
    for name, values in moments.items():
        optimizer.state[parameters[name]] = copied_state(values, parameters[name].device)


def copied_state(state: Any, device: torch.device | None = None) -> Any:
    """Return a copy of a state whose tensors are copies too, on a device if one is given.

    >>> state = {"a": torch.ones(1)}
    >>> copied_state(state)["a"] is state["a"]
    False
    """
    if isinstance(state, Mapping):
        return {name: copied_state(entry, device) for name, entry in state.items()}
    return state.detach().to(device, copy=True) if isinstance(state, Tensor) else state


def own_generators(module: nn.Module) -> dict[str, torch.Generator]:
    """Return the generators that modules keep as attributes, by name.

    >>> layer = nn.Identity()
    >>> layer.noise = torch.Generator()
    >>> list(own_generators(nn.Sequential(layer)))
    ['0.noise']
    """
    return {name: value for name, value in _attributes(module) if isinstance(value, torch.Generator)}


def hidden_state(modules: Mapping[str, nn.Module]) -> dict[str, str]:
    """Return a hash of each attribute of modules that is not part of their weights, and of global generators, by name.

    Those are generators of numpy and of Python, numbers, arrays and containers of such, and buffers that are not
    persistent. Generators of torch that are attributes themselves are part of a state.

    >>> layer = nn.Identity()
    >>> layer.steps = 0
    >>> before = hidden_state({"encoder": layer})
    >>> layer.steps += 1
    >>> changed(before, hidden_state({"encoder": layer}))
    ['encoder.steps']
    """
    found: dict[str, Any] = {"numpy's global generator": np.random.get_state(), "Python's generator": random.getstate()}
    for root, module in modules.items():
        found |= {
            f"{root}.{name}": value for name, value in _attributes(module) if not isinstance(value, torch.Generator)
        }
        for prefix, part in module.named_modules():
            for name in part._non_persistent_buffers_set:
                found[f"{root}.{prefix}.{name}".replace("..", ".")] = getattr(part, name)
    return {name: _digest(value) for name, value in found.items()}


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the names whose hash is another one."""
    return [name for name in after if before.get(name) != after[name]]


def _digest(value: Any, depth: int = 4) -> str:
    """Return text that tells values apart; objects of other types all have that of their type."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy() if value.dtype != torch.bfloat16 else value.detach().float().cpu().numpy()
    if isinstance(value, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    if isinstance(value, torch.Generator):
        return _digest(value.get_state())
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return _digest(value.get_state(), depth)
    if isinstance(value, random.Random):
        return _digest(value.getstate(), depth)
    if isinstance(value, Mapping) and depth:
        return repr([(str(key), _digest(one, depth - 1)) for key, one in value.items()])
    if isinstance(value, list | tuple | set | frozenset) and depth:
        return repr([_digest(one, depth - 1) for one in value])
    return repr(value) if value is None or isinstance(value, int | float | str | bytes) else type(value).__name__


def _attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of modules that are not those of every module."""
    usual = vars(nn.Module()).keys()
    for prefix, part in module.named_modules():
        for name, value in vars(part).items():
            if name not in usual:
                yield f"{prefix}.{name}".lstrip("."), value


def as_of_now(state: Any) -> Any:
    """Return a state with what those of earlier versions lack: they had one process.

    >>> as_of_now({"counters": {"step": 3}})
    {'counters': {'readers': 1, 'step': 3}}
    """
    if not isinstance(state, Mapping) or not isinstance(state.get("counters"), Mapping):
        return state
    return {**state, "counters": {"readers": 1, **state["counters"]}}


def check_state(expected: Any, state: Any, path: str = "") -> None:
    """Refuse a state whose names, types, shapes of tensors or setup differ from those of a trainer.

    >>> check_state({"setup": {"rows": 100}}, {"setup": {"rows": 90}})
    Traceback (most recent call last):
    latentmap.exceptions.ModelError: the state does not fit this trainer: setup.rows is 90, expected 100; load it ...
    """
    if isinstance(expected, Mapping):
        own, given = set(expected), set(state) if isinstance(state, Mapping) else set()
        if differing := sorted(own ^ given):
            where = "missing" if differing[0] in own else "unknown here"
            raise ModelError(f"the state does not fit this trainer: {path}{differing[0]} is {where}; {ADVICE}")
        for name, value in expected.items():
            check_state(value, state[name], f"{path}{name}.")
    else:
        wanted, actual = (expected, state) if path.startswith("setup.") else (_kind(expected), _kind(state))
        if wanted != actual:
            message = f"the state does not fit this trainer: {path[:-1]} is {actual}, expected {wanted}"
            raise ModelError(f"{message}; {ADVICE}")


def check_values(state: Mapping[str, Any], steps_per_epoch: int, generator: torch.Generator) -> None:
    """Refuse a state with counters that no fit can have, or with one for another kind of generator."""
    _check_counters(state.get("counters", {}), steps_per_epoch)
    _check_history(state)
    _check_generator(state.get("generator"), generator)


def _check_counters(counters: Mapping[str, Any], steps_per_epoch: int) -> None:
    """Refuse counters that no fit can have."""
    for name, value in counters.items():
        most = {"batches": steps_per_epoch, "rate_scale": 1.0}.get(name, MOST_STEPS)
        empty = value is None and name == "best_evaluation"
        whole = isinstance(value, int) or name in ("rate_scale", "best_evaluation")
        if not (empty or (whole and isinstance(value, int | float) and 0 <= value <= most)):
            raise ModelError(f"the state does not fit this trainer: counters.{name} is {value}; {ADVICE}")


def _check_history(state: Mapping[str, Any]) -> None:
    """Refuse a state whose best evaluation is not in its history."""
    best = state.get("counters", {}).get("best_evaluation")
    if best is not None and "history" in state and not (isinstance(best, int) and best < len(state["history"])):
        raise ModelError(f"the state does not fit this trainer: counters.best_evaluation is {best}; {ADVICE}")


def _check_generator(state: Any, generator: torch.Generator) -> None:
    """Refuse a state that a generator does not take."""
    if state is None:
        return
    try:
        torch.Generator(generator.device).set_state(state)
    except (RuntimeError, TypeError) as error:
        raise ModelError(f"the state does not fit this trainer: generator is damaged ({error}); {ADVICE}") from error


def _is_evaluation(row: Any) -> bool:
    numbers = isinstance(row, Mapping) and all(isinstance(one, int | float | None) for one in row.values())
    return numbers and {"epoch", "step", "seconds", "loss", "val_loss"} <= row.keys()


def _kind(value: Any) -> str:
    """Describe the kind of a value: tensors by type and shape, numbers that a fit can have, lists of evaluations."""
    if isinstance(value, Tensor):
        kind = "" if value.is_floating_point() else f"{value.dtype} and "
        return f"of {kind}shape {tuple(value.shape)}"
    if value is None or isinstance(value, int | float):
        return "a number" if value is None or value == value else "not a number"
    if isinstance(value, list) and all(_is_evaluation(row) for row in value):
        return "a list of evaluations"
    return type(value).__name__
