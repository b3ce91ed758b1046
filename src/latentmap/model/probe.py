"""Checks of modules of the user's own before anything is fitted: what they map, in every mode, on zeros and on rows."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer

from latentmap.exceptions import PartError
from latentmap.messages import error_line

ADVICE = "docs/networks.md has examples"


class Probe:
    """Passes of a user's module over batches of zeros, in evaluation and in training, before anything is fitted."""

    def __init__(self, name: str, module: nn.Module, view: nn.Module, output: str = "one tensor of features") -> None:
        self.name, self.module, self.view, self.output = name, module, view, output

    def run(self, inputs: Tensor, whole: nn.Module) -> int:
        """Return the width of the output of the whole network, the same for every batch; else raise a `PartError`."""
        self._check_parameters()
        modes = {part: part.training for part in self.module.modules()}
        width = self._width(whole.eval(), inputs)  # makes the weights of lazy layers
        self._expect(width, self._width(whole, inputs[:1]), "one row")
        trial = copied(whole, self.name).train()  # so that running statistics stay as they are
        self._expect(width, self._width(trial, inputs), "training")
        for part, mode in modes.items():
            part.training = mode
        return width

    def _check_parameters(self) -> None:
        for name, parameter in self.module.named_parameters():
            if parameter.is_floating_point() and parameter.dtype != torch.float32:
                raise PartError(
                    f"your {self.name} has weights of {dtype_of(parameter)} ({name}): expected float32, in which "
                    "models are trained; call .float() on it"
                )

    @torch.no_grad()
    def _width(self, whole: nn.Module, inputs: Tensor) -> int:
        try:
            output = whole(inputs)
        except PartError:
            raise
        except Exception as error:  # of somebody else's code
            shape, what = tuple(self.view(inputs).shape), "rows" if self.name == "encoder" else "codes"
            text = error_line(error)
            integers = "Long" in text or "integer" in text or "indices" in text
            advice = "convert them within it, x.long(), and fit with scaling='none'" if integers else ADVICE
            raise PartError(
                f"your {self.name} must turn {what} of shape {shape}, float32, into {self.output}, and failed: {text}; "
                f"{advice}"
            ) from error
        if len(output) != len(inputs):
            raise PartError(
                f"your {self.name} returned {len(output)} rows for a batch of {len(inputs)}: expected one for each; "
                "keep the first dimension of its input"
            )
        return int(output.flatten(1).shape[1])

    def _expect(self, width: int, found: int, when: str) -> None:
        if found != width:
            raise PartError(
                f"your {self.name} returned {found} features a row for {when} and {width} otherwise: expected the "
                "same; its output may depend on its input row alone"
            )


@torch.no_grad()
def check_finite(name: str, module: nn.Module, inputs: Tensor) -> None:
    """Raise a `PartError` if a user's module, in evaluation, fails on inputs of the data, or returns NaN for them."""
    here = f"inputs from {inputs.min().item():.3g} to {inputs.max().item():.3g}, {dtype_of(inputs)} as the rows"
    try:
        output = module(inputs)
    except Exception as error:  # of somebody else's code
        advice = "it has to take rows in the units of the model, which scaling= sets"
        if inputs.dtype == torch.float64 and _passes(copied(module, name).float(), inputs.float()):
            advice = "make new tensors in the type of its input, x.new_zeros(...), or give rows of float32"
        raise PartError(f"your {name} failed on {here}: {error_line(error)}; {advice}") from error
    if bad := int((~output.isfinite()).sum()):
        raise PartError(
            f"your {name} returned {bad} of {output.numel()} values that are not finite, for {here}: expected finite "
            "numbers; look for log, sqrt or division of values that may be 0 or negative, or set scaling="
        )


def _passes(module: nn.Module, inputs: Tensor) -> bool:
    try:
        module(inputs)
    except Exception:  # of somebody else's code
        return False
    return True


@torch.no_grad()
def check_network(network: object, module: nn.Module, inputs: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raise a `PartError` if the module of a network of the user's own does not return a tensor of this shape."""
    if type(network).__module__.partition(".")[0] == "latentmap":
        return
    mode = module.training
    output = module.eval()(torch.zeros(inputs))
    module.train(mode)
    if not isinstance(output, Tensor) or tuple(output.shape) != expected:
        raise PartError(
            f"the module that {type(network).__name__} builds for inputs {inputs} returned {described(output)}: "
            f"expected {expected}; return `out` numbers of an encoder, (features, heads) of a decoder"
        )


def copied(module: Any, name: str) -> Any:
    """Return a copy of a network, on the CPU; raise a `PartError` for a module that cannot be copied."""
    if isinstance(module, torch.jit.ScriptModule):
        raise PartError(f"your {name} is a script of torch.jit, which cannot be trained on: give the module itself")
    buffers = module.buffers() if isinstance(module, nn.Module) else ()
    lazy: dict[int, Any] = {id(b): UninitializedBuffer() for b in buffers if isinstance(b, UninitializedBuffer)}
    try:
        own = copy.deepcopy(module, lazy)  # torch defines no copy of these
    except Exception as error:  # of somebody else's code
        raise PartError(
            f"your {name} cannot be copied, and a fit trains a copy: {error_line(error)}; use layers that "
            "copy.deepcopy takes, such as torch.nn.utils.parametrizations.weight_norm"
        ) from error
    return own.cpu() if isinstance(own, nn.Module) else own  # where models are built


def require_rows(tensor: Tensor, name: str, what: str) -> Tensor:
    """Return a tensor of floating-point numbers (N, ...), N > 0; raise a `PartError` for others."""
    if not tensor.is_floating_point():
        raise PartError(f"your {name} returned {dtype_of(tensor)}: {what} of floating-point numbers; leave out argmax")
    if tensor.ndim < 2 or not tensor.numel():
        raise PartError(
            f"your {name} returned a tensor of shape {tuple(tensor.shape)}: {what}, for a batch of one row too; leave "
            "out squeeze() and sums over the batch"
        )
    return tensor


def described(output: Any) -> str:
    """Describe what a module returned, on one line."""
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    if isinstance(output, Mapping):
        return f"a {type(output).__name__} with {', '.join(map(str, output))}"
    if isinstance(output, tuple | list):
        shapes = [tuple(v.shape) if isinstance(v, Tensor) else type(v).__name__ for v in output]
        return f"a {type(output).__name__} of {', '.join(map(str, shapes))}"
    return f"a {type(output).__name__}"


def dtype_of(tensor: Tensor) -> str:
    """Return the name of the type of a tensor's values."""
    return str(tensor.dtype).removeprefix("torch.")
