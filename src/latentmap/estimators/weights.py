"""Weights from a file: whether they are numbers, and those of the model that is to be made, before it is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from latentmap.exceptions import ModelError
from latentmap.model.autoencoder import Parts
from latentmap.model.ladder import compose
from latentmap.model.part import Sizes
from latentmap.model.scaling import Affine

CALLS = 100
"""Calls of torch that a model may take to be made, for each tensor that it has, at the most."""

Shapes = Mapping[str, tuple[int, ...]]


def read_weights(content: bytes) -> dict[str, Tensor]:
    """Read tensors; refuses any that are not finite numbers.

    >>> read_weights(safetensors.torch.save({"scale": torch.tensor([1.0, torch.nan])}))
    Traceback (most recent call last):
    latentmap.exceptions.ModelError: its weights are not finite: 1 of 2 values of scale; fit and save the model again
    """
    weights = safetensors.torch.load(content)
    for name, values in weights.items():
        if bad := int((~values.isfinite()).sum()):
            raise ModelError(
                f"its weights are not finite: {bad} of {values.numel()} values of {name}; fit and save the model again"
            )
    return weights


def require_shapes(parts: Parts, sizes: Sizes, scales: int, stretched: bool, found: Shapes) -> None:
    """Refuse weights that are not those of a model, which is made without memory for that.

    A configuration can ask for a model of any size, so this comes before the model is made.

    Raises
    ------
    ModelError
        If weights lack, are left over or have another shape; says which.
    """
    if any(isinstance(module, nn.Module) for module in (parts.encoder, parts.decoder)):
        parts = replace(parts, encoder=_weightless(parts.encoder), decoder=_weightless(parts.decoder))
    with torch.device("meta"), _Bounded(CALLS * (len(found) + 1)):
        model = compose(parts, sizes)
    expected = {f"model.{name}": tuple(values.shape) for name, values in model.state_dict().items()}
    expected |= {f"scaling.{name}": (scales,) for name in ("shift", "scale", *["stretched"] * stretched)}
    for name, shape in expected.items():
        if name not in found:
            raise ModelError(f"its config.json asks for weights {name}, which model.safetensors lacks")
        if found[name] != shape:
            raise ModelError(
                f"its config.json and model.safetensors do not agree, a size mismatch: {name} is to have shape "
                f"{shape}, and has {found[name]}"
            )
    if others := sorted(found.keys() - expected.keys()):
        raise ModelError(f"its model.safetensors holds weights that config.json does not ask for: {others[0]}")


def empty_scaling(scales: int, stretched: bool) -> Affine:
    """Make a change of units to read weights into."""
    return Affine(np.zeros(scales), np.ones(scales), np.zeros(scales, bool) if stretched else None)


class _Bounded(TorchFunctionMode):
    """Ends what calls torch too often: a model of many more tensors than its file holds."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.left = most

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch."""
        self.left -= 1
        if self.left < 0:
            raise ModelError("its config.json asks for a model of more tensors than model.safetensors holds")
        return function(*args, **(kwargs or {}))


def _weightless(network: Any) -> Any:
    """Copy a module without its weights."""
    return copy.deepcopy(network).to("meta") if isinstance(network, nn.Module) else network
