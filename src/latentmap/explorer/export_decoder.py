"""A fitted decoder as data: the operations from a code to a row, with their weights, which a page computes."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentmap.explorer.decoding import of_cells
from latentmap.explorer.export_arrays import PRECISIONS, Precision, pack, pack_weight, rounded_weight
from latentmap.explorer.export_likelihood import Head, Inexpressible, describe_likelihood
from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.ladder import Ladder
from latentmap.model.likelihoods.heterogeneous import HeterogeneousDistribution
from latentmap.model.likelihoods.levels import CategoricalLevels
from latentmap.model.manifolds import RIM
from latentmap.model.networks import FourierFeatures, ImageDecoder, ResidualBlock, SpectralLayer
from latentmap.model.posteriors import Poincare, Posterior, Sphere
from latentmap.model.scaling import Affine
from latentmap.plot.rows import spread

NEAR = 1e-3
"""Difference between a page's and Python's decoded values, as a fraction of a column's range, at the most."""
Operation = dict[str, Any]

_ACTIVATIONS: dict[type[nn.Module], str] = {nn.SiLU: "silu", nn.ReLU: "relu", nn.GELU: "gelu", nn.Tanh: "tanh"}


@dataclass(frozen=True)
class ExportedDecoder:
    """A decoder as data.

    Parameters
    ----------
    plan : dict
        Operations, means of the likelihood, and change of units, as JSON.
    precision : {"int8", "int16", "float32"}
        Precision of the weights, the smallest that is near enough.
    error : float
        Largest difference that rounding the weights made, as a fraction of a column's range.
    """

    plan: dict[str, Any]
    precision: Precision
    error: float


def export_decoder(
    model: GenerativeAutoencoder,
    scaling: Affine,
    codes: NDArray[Any],
    low: NDArray[Any],
    high: NDArray[Any],
    condition: NDArray[Any] | None = None,
    *,
    near: float = NEAR,
) -> ExportedDecoder:
    """Return the decoder of a fitted model as data, in the smallest precision that is near enough.

    Parameters
    ----------
    model : GenerativeAutoencoder
        Fitted model.
    scaling : Affine
        Its change of units.
    codes : ndarray of shape (n, D)
        Codes at which the difference is measured, and at points between them and beyond.
    low, high : ndarray of shape () or (P,)
        Range of the data, one for all features or one for each.
    condition : ndarray of shape (1, C), optional
        What a conditional model is conditioned on.
    near : float, default=1e-3
        Largest difference, as a fraction of the range and how far a value is beyond it; of categories, of probability.

    Raises
    ------
    Inexpressible
        For modules, likelihoods or posteriors of the user's own.
    """
    model = model.eval()
    plan = _plan(model, condition, scaling)
    points = _test_points(codes)
    exact = _values(model, condition, scaling, points)
    for precision in PRECISIONS:
        found = _values(_rounded(model, precision), condition, scaling, points)
        error = _difference(exact, found, low, high)
        if error <= near:
            break
    operations = [_packed(one, precision) for one in plan["operations"]]
    return ExportedDecoder(plan | {"operations": operations}, precision, error)


def _plan(model: GenerativeAutoencoder, condition: NDArray[Any] | None, scaling: Affine) -> dict[str, Any]:
    """Return the operations, with weights as arrays, the means of the likelihood, and the change of units."""
    append = [] if condition is None else [{"op": "append", "values": condition[0].tolist()}]
    operations = _onto_and_inputs(model)
    if type(model) is Ladder:
        operations += [{"op": "extend", "body": [*append, *_operations(down)]} for down in model.down]
    elif type(model) is not GenerativeAutoencoder:
        raise Inexpressible(f"the model {type(model).__name__}")
    heads: list[Head] = describe_likelihood(model.parts.likelihood, model.likelihood_state)
    return {
        "latent": model.sizes.latent,
        "features": model.sizes.features,
        "operations": operations + append + _operations(model.decoder),
        "heads": heads,
        "scaling": {
            name: None if value is None else pack(value.cpu().numpy().astype(kind))
            for name, value, kind in (
                ("shift", scaling.shift, np.float64),
                ("scale", scaling.scale, np.float64),
                ("stretched", scaling.stretched, np.uint8),
                ("unit", scaling.unit, np.float64),
            )
        },
    }


def _onto_and_inputs(model: GenerativeAutoencoder) -> list[Operation]:
    """Return the operations from any point to the decoder's inputs: onto a curved space, back from unit variance."""
    posterior, own = model.parts.posterior, model.posterior_state
    known = type(posterior).__module__.startswith("latentmap.model.posteriors")
    if not known and (type(posterior).onto, type(posterior).decoder_inputs) != (
        Posterior.onto,
        Posterior.decoder_inputs,
    ):
        raise Inexpressible(f"the posterior {type(posterior).__name__}")
    operations: list[Operation] = []
    if isinstance(posterior, Sphere):
        operations.append({"op": "sphere"})
    if isinstance(posterior, Poincare):
        operations.append({"op": "ball", "rim": RIM})
    if getattr(own, "shift", None) is not None:
        scale = own.log_scale.detach().double().exp()
        operations.append({"op": "affine", "shift": own.shift.tolist(), "scale": scale.tolist()})
    return operations


def _operations(module: nn.Module) -> list[Operation]:
    """Return the operations of a module of the library's own networks, with weights as arrays."""
    kind = type(module)
    if kind is nn.Sequential:
        return [one for child in module.children() for one in _operations(child)]
    if kind in _ACTIVATIONS:
        return [{"op": "activation", "name": _ACTIVATIONS[kind]}]
    if isinstance(module, nn.Linear) and kind is nn.Linear:
        return [{"op": "dense", "weight": _array(module.weight), "bias": _bias(module)}]
    if isinstance(module, SpectralLayer):
        (layer,) = _operations(module.layer)
        return [layer | {"weight": _array(module.normalised())}]
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
        weight, bias = _array(module.weight), _bias(module)
        return [{"op": "norm", "scale": pack(weight), "bias": bias, "epsilon": module.eps}]
    if isinstance(module, FourierFeatures):
        return [{"op": "extend", "body": [*_operations(module.phase), {"op": "activation", "name": "sine"}]}]
    if isinstance(module, ResidualBlock):
        return [{"op": "residual", "body": _operations(module.body)}]
    if isinstance(module, nn.Conv2d) and _is_plain(module):
        weight, bias = _array(module.weight), _bias(module)
        return [{"op": "convolve", "weight": weight, "bias": bias, "padding": module.padding[0]}]
    if isinstance(module, nn.Upsample) and module.mode == "nearest" and isinstance(module.size, tuple):
        return [{"op": "resize", "size": list(module.size)}]
    if isinstance(module, nn.Unflatten):
        size = list(module.unflattened_size)
        return [{"op": "image", "shape": size}] if len(size) == 3 else []  # (P, heads) is the order of the heads
    if isinstance(module, ImageDecoder):
        return [*_operations(module.layers), {"op": "pixels", "heads": module.heads}]
    raise Inexpressible(f"the module {kind.__name__}")


def _is_plain(layer: nn.Conv2d) -> bool:
    """Return whether a convolution is of stride 1 and of one group, with zeros around the image."""
    padding = layer.padding
    square = isinstance(padding, tuple) and len(set(padding)) == 1
    return (
        square
        and set(layer.stride) == set(layer.dilation) == {1}
        and layer.groups == 1
        and layer.padding_mode == "zeros"
    )


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().float().numpy()


def _bias(module: Any) -> dict[str, Any] | None:
    return None if module.bias is None else pack(_array(module.bias))


def _packed(operation: Operation, precision: Precision) -> Operation:
    """Return an operation with its weights as text."""
    if "body" in operation:
        return operation | {"body": [_packed(one, precision) for one in operation["body"]]}
    if "weight" in operation:
        return operation | {"weight": pack_weight(operation["weight"], precision)}
    return operation


def _rounded(model: GenerativeAutoencoder, precision: Precision) -> GenerativeAutoencoder:
    """Return a copy of a model with the decoder's weights as a page reads them."""
    if precision == "float32":
        return model
    rounded = copy.deepcopy(model)
    for network in (rounded.decoder, *(rounded.down if isinstance(rounded, Ladder) else ())):
        _plain_layers(network)
        for layer in network.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                layer.weight.data = torch.from_numpy(rounded_weight(_array(layer.weight), precision)).to(layer.weight)
    return rounded


def _plain_layers(module: nn.Module) -> None:
    """Replace layers of normalised weights by layers that have these weights."""
    for name, child in module.named_children():
        if isinstance(child, SpectralLayer):
            child.layer.weight.data = child.normalised().detach()
            setattr(module, name, child.layer)
        else:
            _plain_layers(child)


def _test_points(codes: NDArray[Any], most: int = 256) -> Tensor:
    """Return some codes, points on the way between them, and points of the box around them and a tenth more."""
    rows = codes[spread(len(codes), most)]
    low, high = codes.min(0), codes.max(0)
    drawn = np.random.default_rng(0).uniform(-0.1, 1.1, (most, codes.shape[1]))
    between = (rows + rows[::-1]) / 2
    return torch.as_tensor(np.concatenate([rows, between, low + drawn * (high - low)]), dtype=torch.float32)


@torch.no_grad()
def _values(
    model: GenerativeAutoencoder, condition: NDArray[Any] | None, scaling: Affine, points: Tensor
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return decoded values in the units of the data (n, P), NaN for categories, and probabilities of these (n, K)."""
    device = scaling.scale.device
    rows, masses = [], []
    for z in points.to(device).split(64):
        given = None if condition is None else torch.tensor(condition).to(z).expand(len(z), -1)
        px = model.given(given).decode(model.parts.posterior.onto(z))
        values = scaling.inverse(px.mean)
        probabilities = [values[:, :0]]
        cells = of_cells(px)
        if isinstance(cells, HeterogeneousDistribution):
            for at, one in cells.groups:
                if isinstance(one, CategoricalLevels):
                    values[:, at] = torch.nan
                    probabilities.append(one.log_masses.exp().flatten(1).double())
        rows.append(values.cpu().numpy())
        masses.append(torch.cat(probabilities, 1).cpu().numpy())
    return np.concatenate(rows), np.concatenate(masses)


def _difference(
    exact: tuple[NDArray[Any], NDArray[Any]],
    found: tuple[NDArray[Any], NDArray[Any]],
    low: NDArray[Any],
    high: NDArray[Any],
) -> float:
    """Return the largest difference: of values in units of their range and how far they are beyond, and of masses."""
    values = exact[0]
    with np.errstate(invalid="ignore", over="ignore"):
        beyond = np.maximum(np.maximum(low - values, values - high), 0.0)
        unit = np.where(high > low, high - low, 1.0) + beyond
        off = np.nan_to_num(np.abs(values - found[0]) / unit)
    return float(max(off.max(initial=0.0), np.abs(exact[1] - found[1]).max(initial=0.0)))
