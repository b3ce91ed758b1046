"""State of a trainer: the optimizers' by parameter name, and the check that a state fits a trainer."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from latentmap.exceptions import ModelError

ADVICE = "load it into a trainer of the same model, objective, rows, batch size and seed"

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
        device = parameters[name].device
        optimizer.state[parameters[name]] = {key: value.to(device, copy=True) for key, value in values.items()}


def own_generators(module: nn.Module) -> dict[str, torch.Generator]:
    """Return the generators that modules keep as attributes, by name.

    >>> layer = nn.Identity()
    >>> layer.noise = torch.Generator()
    >>> list(own_generators(nn.Sequential(layer)))
    ['0.noise']
    """
    return {name: value for name, value in _attributes(module) if isinstance(value, torch.Generator)}


def unsaved_generators(module: nn.Module) -> Iterator[str]:
    """Yield the names of the sources of randomness of modules whose state is not part of a checkpoint."""
    for name, value in _attributes(module):
        if isinstance(value, np.random.Generator | np.random.RandomState | random.Random):
            yield f"{name} (a {type(value).__name__})"


def _attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for prefix, part in module.named_modules():
        for name, value in vars(part).items():
            yield f"{prefix}.{name}".lstrip("."), value


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


def check_counters(counters: Mapping[str, Any], steps_per_epoch: int) -> None:
    """Refuse counters that no fit can have."""
    for name, value in counters.items():
        most = steps_per_epoch if name == "batches" else float("inf")
        if value is not None and not 0 <= value <= most:
            raise ModelError(f"the state does not fit this trainer: counters.{name} is {value}; {ADVICE}")


def check_generator(state: Any, generator: torch.Generator) -> None:
    """Refuse a state that a generator does not take."""
    if state is None:
        return
    try:
        torch.Generator(generator.device).set_state(state)
    except (RuntimeError, TypeError) as error:
        raise ModelError(f"the state does not fit this trainer: generator is damaged ({error}); {ADVICE}") from error


def _kind(value: Any) -> str:
    """Describe the kind of a value: tensors by type and shape, numbers that a fit can have, lists of evaluations."""
    if isinstance(value, Tensor):
        kind = "" if value.is_floating_point() else f"{value.dtype} and "
        return f"of {kind}shape {tuple(value.shape)}"
    if value is None or isinstance(value, int | float):
        return "a number" if value is None or value == value else "not a number"
    if isinstance(value, list) and all(isinstance(row, Mapping) for row in value):
        return "a list of evaluations"
    return type(value).__name__
