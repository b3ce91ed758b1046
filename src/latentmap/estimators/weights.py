"""Weights from a file: whether they are numbers, and a model to read them into that is not larger than they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from latentmap.data.reading import parse_json
from latentmap.exceptions import ModelError
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.ladder import compose
from latentmap.model.noise import generator_for
from latentmap.model.part import Sizes
from latentmap.model.scaling import Affine

MOST_HEADER, MOST_TENSORS = 2**23, 2**14
"""The most bytes of the header of a file of weights, and the most tensors in it."""
DTYPES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""Types of tensors and their bytes."""
CALLS = 100
"""Calls of torch that make a model, for each of its tensors, at the most."""
VALUES = 8
"""Values that are made for each that a model keeps, at the most; """
SPARE = 2**22
"""and beyond that."""
ADDED = ("posterior_state.shift", "posterior_state.log_scale")
"""Ends of the names of tensors that runs of version 0.1 lack: they begin as those runs have them."""
MAKERS = frozenset(
    getattr(torch, name)
    for name in "empty zeros ones full rand randn randint randperm arange linspace logspace eye tril_indices".split()
)


def read_weights(content: bytes) -> dict[str, Tensor]:
    """Read tensors; refuses any that are not finite numbers.

    >>> read_weights(safetensors.torch.save({"scale": torch.tensor([1.0, torch.nan])}))
    Traceback (most recent call last):
    latentmap.exceptions.ModelError: its weights are not finite: 1 of 2 values of scale; fit and save the model again
    """
    weights = read_tensors(content)
    for name, values in weights.items():
        if bad := int((~values.isfinite()).sum()):
            raise ModelError(
                f"its weights are not finite: {bad} of {values.numel()} values of {name}; fit and save the model again"
            )
    return weights


def read_tensors(content: bytes) -> dict[str, Tensor]:
    r"""Read tensors of a file in memory, once its header has been checked.

    >>> read_tensors(b"\x7fELF rather than tensors")
    Traceback (most recent call last):
    latentmap.exceptions.ModelError: its tensors have a header of 8,386,109,464,084,497,791 bytes in a file of 24
    """
    size = int.from_bytes(content[:8], "little")
    if size > min(len(content) - 8, MOST_HEADER):
        raise ModelError(f"its tensors have a header of {size:,} bytes in a file of {len(content):,}")
    try:
        header = parse_json(content[8 : 8 + size])
    except ValueError as error:
        raise ModelError(f"the header of its tensors is not valid JSON: {error}") from error
    if not isinstance(header, dict):
        raise ModelError(f"the header of its tensors names none, but is {header!r:.40}")
    tensors = {name: described for name, described in header.items() if name != "__metadata__"}
    if len(tensors) > MOST_TENSORS:
        raise ModelError(f"it holds {len(tensors):,} tensors, expected at most {MOST_TENSORS:,}")
    for name, described in tensors.items():
        _check_tensor(name, described, len(content) - 8 - size)
    return safetensors.torch.load(content)


def _check_tensor(name: str, described: Any, size: int) -> None:
    """Raise if a tensor is of an unknown type, or larger than the file."""
    kind, shape = (described.get(key) for key in ("dtype", "shape")) if isinstance(described, dict) else (None, None)
    if not isinstance(kind, str) or kind not in DTYPES:
        raise ModelError(f"its tensor {name[:80]} is of type {kind!r:.40}, expected one of {', '.join(DTYPES)}")
    if not isinstance(shape, list) or not all(type(length) is int and length >= 0 for length in shape):
        raise ModelError(f"its tensor {name[:80]} has shape {shape!r:.40}, expected whole numbers")
    if DTYPES[kind] * math.prod(shape) > size:
        raise ModelError(f"its tensor {name[:80]} of shape {tuple(shape)!r:.80} is larger than the file")


def model_for(weights: Mapping[str, Tensor], parts: Parts, sizes: Sizes) -> GenerativeAutoencoder:
    """Make the model that weights belong to, with others.

    A configuration can ask for a model of any size; one that is far larger than the weights is not made.

    Raises
    ------
    ModelError
        If weights lack, are left over or have another shape; says which.
    """
    with _Bounded(weights):
        model = compose(parts, sizes, generator_for(0))
    values = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    expected = {name: tuple(tensor.shape) for name, tensor in values.items()}
    stored = {name: tuple(values.shape) for name, values in weights.items() if name.startswith("model.")}
    for name, shape in expected.items():
        if name not in stored and name.endswith(ADDED):
            continue
        if name not in stored:
            raise ModelError(f"its config.json asks for weights {name}, which model.safetensors lacks")
        if _kind(weights[name]) != _kind(values[name]):
            raise ModelError(f"its {name} is of type {weights[name].dtype}, expected {values[name].dtype}")
        if stored[name] != shape:
            raise ModelError(
                f"its config.json and model.safetensors do not agree, a size mismatch: {name} is to have shape "
                f"{shape}, and has {stored[name]}"
            )
    if others := sorted(stored.keys() - expected.keys()):
        raise ModelError(f"its model.safetensors holds weights that config.json does not ask for: {others[0]}")
    return model


def fill(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into a module, all of whose tensors they have, but those that runs of an earlier version lack.

    In `torch.nn.Module.load_state_dict` every layer seeks its own among all names.
    """
    own = module.state_dict()
    if others := sorted(weights.keys() - own.keys()):
        raise ModelError(f"its model.safetensors holds weights that config.json does not ask for: {others[0][:80]}")
    with torch.no_grad():
        for name, values in own.items():
            if name in weights or not name.endswith(ADDED):
                values.copy_(weights[name])


def _kind(values: Tensor) -> str:
    return "number" if values.is_floating_point() else "truth" if values.dtype == torch.bool else "whole"


def scaling_for(weights: Mapping[str, Tensor], features: int) -> Affine:
    """Make the change of units that weights hold: of all features at once, or of each."""
    prefix = "scaling."
    own = {name.removeprefix(prefix): values for name, values in weights.items() if name.startswith(prefix)}
    for name, values in own.items():
        if tuple(values.shape) not in ((1,), (features,)):
            raise ModelError(
                f"its scaling.{name} has shape {tuple(values.shape)}, expected ({features},), one a feature"
            )
    for name in ("scale", "unit"):
        if name in own and not (own[name] > 0).all():
            raise ModelError(f"its scaling.{name} is not positive; fit and save the model again")
    return Affine(**{name: values.numpy() for name, values in own.items()})


class _Bounded(TorchFunctionMode):
    """Ends what makes far more tensors or values than there are weights, before memory is taken for them."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.calls = CALLS * (len(weights) + 1)
        self.values = SPARE + VALUES * sum(values.numel() for values in weights.values())

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch, once it is known how much it makes."""
        given = dict(kwargs or {})
        self.calls -= 1
        if function in MAKERS:
            shape = {name: value for name, value in given.items() if name != "generator"}
            self.values -= function(*args, **shape | {"device": "meta"}).numel()
        elif function is Tensor.repeat:
            self.values -= args[0].to("meta").repeat(*args[1:]).numel()
        if self.calls < 0 or self.values < 0:
            raise ModelError("its config.json asks for a model far larger than the weights in model.safetensors")
        return function(*args, **given)
