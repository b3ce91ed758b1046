"""State of a trainer: the optimizers' by parameter name, and the check that a state fits a trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def check_state(expected: Any, state: Any, path: str = "") -> None:
    """Refuse a state whose names, shapes of tensors or setup differ from those of a trainer.

    Other values, such as counters and the history, are not compared.

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
    elif isinstance(expected, Tensor) or path.startswith("setup."):
        wanted, given = (_compared(value) for value in (expected, state))
        if wanted != given:
            message = f"the state does not fit this trainer: {path[:-1]} is {given}, expected {wanted}"
            raise ModelError(f"{message}; {ADVICE}")


def _compared(value: Any) -> Any:
    return f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else value
