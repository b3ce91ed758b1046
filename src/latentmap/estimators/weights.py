"""Weights from a file: whether they are numbers, and a model to read them into that is not larger than they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from latentmap.exceptions import ModelError
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.ladder import compose
from latentmap.model.noise import generator_for
from latentmap.model.part import Sizes
from latentmap.model.scaling import Affine

CALLS = 1000
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
    weights = safetensors.torch.load(content)
    for name, values in weights.items():
        if bad := int((~values.isfinite()).sum()):
            raise ModelError(
                f"its weights are not finite: {bad} of {values.numel()} values of {name}; fit and save the model again"
            )
    return weights


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
    expected = {f"model.{name}": tuple(values.shape) for name, values in model.state_dict().items()}
    stored = {name: tuple(values.shape) for name, values in weights.items() if name.startswith("model.")}
    for name, shape in expected.items():
        if name not in stored and name.endswith(ADDED):
            continue
        if name not in stored:
            raise ModelError(f"its config.json asks for weights {name}, which model.safetensors lacks")
        if stored[name] != shape:
            raise ModelError(
                f"its config.json and model.safetensors do not agree, a size mismatch: {name} is to have shape "
                f"{shape}, and has {stored[name]}"
            )
    if others := sorted(stored.keys() - expected.keys()):
        raise ModelError(f"its model.safetensors holds weights that config.json does not ask for: {others[0]}")
    return model


def added(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a new model that weights of an earlier version lack."""
    return {n: v for n, v in model.state_dict().items() if n.endswith(ADDED) and n not in weights}


def scaling_for(weights: Mapping[str, Tensor], features: int) -> Affine:
    """Make the change of units that weights hold: of all features at once, or of each."""
    prefix = "scaling."
    own = {name.removeprefix(prefix): values for name, values in weights.items() if name.startswith(prefix)}
    for name, values in own.items():
        if tuple(values.shape) not in ((1,), (features,)):
            raise ModelError(
                f"its scaling.{name} has shape {tuple(values.shape)}, expected ({features},), one a feature"
            )
    if not (own["scale"] > 0).all():
        raise ModelError("its scaling.scale is not positive; fit and save the model again")
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
        if self.calls < 0 or self.values < 0:
            raise ModelError("its config.json asks for a model far larger than the weights in model.safetensors")
        return function(*args, **given)
