"""What a fit has learned, as one value: estimators query it, and runs keep it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from latentmap.data.columns import Table
from latentmap.data.memory import memory_in_words
from latentmap.data.rows import LazyRows
from latentmap.data.schema import Schema
from latentmap.data.typed import made
from latentmap.estimators.conditions import KINDS, Condition, LabelCondition, condition_from_json
from latentmap.estimators.diagnosis import Finding
from latentmap.estimators.history import Evaluation, Units, evaluation
from latentmap.estimators.parameters import Parameters, read_parameter
from latentmap.estimators.saved import read_described, require_likelihoods
from latentmap.estimators.weights import fill, model_for, scaling_for
from latentmap.exceptions import PartError
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.likelihoods import Incomplete
from latentmap.model.modules import module_name
from latentmap.model.networks import Network
from latentmap.model.part import Sizes
from latentmap.model.placement import PlacedEncoder, Placement
from latentmap.model.probe import copied
from latentmap.model.scaling import Affine
from latentmap.training.checkpoint import Checkpoint
from latentmap.training.metrics import Row

FloatArray = NDArray[np.floating[Any]]

CHUNK = 2**20
"""Values (rows x features x heads x samples) that one pass through the network holds, at the most."""
PLAIN = ("seed", "n_iter", "fit_seconds", "loss", "choices", "data_fingerprint", "interrupted")
"""Fields that are plain JSON as they are."""
ARRAYS = {"code_mean": float, "code_variance": float, "kl_per_component": float, "active_components": bool}


@dataclass(frozen=True, eq=False)
class Graphs:
    """The neighbour graphs of a map, and of which rows and settings they are."""

    key: str
    graph: Tensor
    """Neighbours of each training row among the training rows."""
    held_out_graph: Tensor
    """Neighbours of each held-out row among the training rows."""


@dataclass(frozen=True, eq=False)
class FitState:
    """The result of a fit. The attributes of a fitted estimator are these fields, with an underscore behind."""

    model: GenerativeAutoencoder
    scaling: Affine
    data_schema: Schema
    seed: int
    table: Table | None = None
    condition: Condition | None = None
    choices: dict[str, str] = field(default_factory=dict)
    data_fingerprint: str = ""
    history: list[Row] = field(default_factory=list)
    history_units: Units = "data"
    n_iter: int = 0
    fit_seconds: float = 0.0
    interrupted: bool = False
    annealed: bool = False
    """Whether a fit whose learning rate fell came before the pieces, if any: these learn at a lower rate."""
    loss: float | None = None
    usual_cost: float | None = None
    """Nats, in the model's units, that decoding nine in ten rows costs, of those like the rows of the fit; None in runs
    of earlier versions."""
    code_mean: FloatArray = field(default_factory=lambda: np.zeros(0))
    code_variance: FloatArray = field(default_factory=lambda: np.zeros(0))
    kl_per_component: FloatArray | None = None
    active_components: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    findings: tuple[Finding, ...] = ()
    graphs: Graphs | None = None
    trainer: Checkpoint | None = None
    """State of a trainer to continue with: that of an interrupted fit, or what `partial_fit` passes from call to call:
    averages of the optimizers and weights of the objective, without facts."""

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return self.scaling.scale.device

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return self.model.sizes.event

    @property
    def takes_missing(self) -> bool:
        """Whether rows may have missing cells."""
        return isinstance(self.model.parts.likelihood, Incomplete)

    @property
    def has_density(self) -> bool:
        """Whether latent codes have a density."""
        return self.model.parts.posterior.has_density

    @property
    def has_score(self) -> bool:
        """Whether rows have a density."""
        return self.has_density and self.model.parts.likelihood.has_density

    @property
    def evaluation(self) -> Evaluation | None:
        """The evaluation of the weights that were kept."""
        return evaluation(self.history, bound=self.history_bounds, units=self.history_units)

    @property
    def history_bounds(self) -> bool:
        """Whether distortion and rate of the history bound the log-density: not if the prior was fitted afterwards."""
        return self.has_score and not (self.model.parts.prior.ex_post or "prior" in self.choices)

    @property
    def module(self) -> nn.ModuleDict:
        """All that has weights."""
        return nn.ModuleDict({"model": self.model, "scaling": self.scaling})

    def given(self, y: Any, n: int) -> FloatArray | None:
        """Return what n rows are conditioned on as numbers (n, C); None for a model without condition."""
        return None if self.condition is None else self.condition.read(y, n)

    def map(
        self,
        values: NDArray[Any] | LazyRows,
        function: Callable[[GenerativeAutoencoder, Affine, Tensor], Tensor],
        samples: int = 1,
        given: FloatArray | None = None,
    ) -> FloatArray:
        """Apply a function of model and scaling to chunks of rows, in the precision of the rows, without gradients.

        Parameters
        ----------
        values : array or LazyRows of shape (n, ...)
            Rows or latent codes.
        function : callable
            Function of model, scaling and a chunk (B, ...); the model is conditioned on what is given.
        samples : int, default=1
            Number of draws that the function holds of each row.
        given : ndarray of shape (n, C), default=None
            What the rows are conditioned on.

        Returns
        -------
        ndarray of shape (n, ...)
            The results, one after the other.
        """
        model, scaling, precision = self.model.eval(), self.scaling, torch.float32
        if values.dtype == np.float64:
            model, scaling, precision = copy.deepcopy(model).double(), copy.deepcopy(scaling).double(), torch.float64
        size = max(1, CHUNK // (model.outputs * samples))
        result: FloatArray | None = None
        with memory_in_words("this call", "give fewer rows or draws at a time"), torch.no_grad():
            for start, rows in _pieces(values, size):
                here = slice(start, start + len(rows))
                c = None if given is None else as_tensor(given[here]).to(self.device, precision)
                values_here = function(model.given(c), scaling, as_tensor(rows).to(self.device)).cpu().numpy()
                if result is None:
                    result = np.empty((len(values), *values_here.shape[1:]), values_here.dtype)
                result[here] = values_here
        assert result is not None
        return result

    def posterior(self, rows: NDArray[Any], given: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of q(z|x) for each row, both (n, D)."""
        both = self.map(rows, _moments, given=given)
        return both[:, 0], both[:, 1]

    def locate(self, rows: NDArray[Any], given: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
        """Return the place of each row on the map and the standard deviation of q(z|x), both (n, D).

        The place is the mean of q(z|x), or one among the rows of the fit.
        """
        both = self.map(rows, _located, given=given)
        return both[:, 0], both[:, 1]

    def holds(self, rows: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which rows are those of the fit of a map, whose places it has, (n,)."""
        return np.asarray(self.map(rows, _held))

    def decode(self, codes: FloatArray, given: FloatArray | None = None) -> FloatArray:
        """Return the mean of p(x|z) for each latent code, (n, *event), in the units of the data."""
        return self.map(codes, _decoded, given=given).reshape(len(codes), *self.event_shape)

    def encoder_inputs(self, rows: Any) -> FloatArray:
        """Return rows as the encoder takes them, (n, E)."""
        return self.map(rows, _encoder_inputs)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON, of all but weights, history and graphs."""
        sizes, scaling = self.model.sizes, self.scaling
        plain: dict[str, Any] = {f"{name}_": getattr(self, name) for name in PLAIN}
        for name in ARRAYS:
            values = getattr(self, name)
            plain[f"{name}_"] = None if values is None else values.tolist()
        return plain | {
            "event_shape_": list(sizes.event),
            "latent": sizes.latent,
            "below": list(sizes.below),
            "condition": self.condition.to_json() if self.condition else None,
            "parts": self.model.parts.to_json(),
            "scales": len(scaling.scale),
            "stretched": scaling.stretched is not None,
            "whole": None if scaling.whole is None else len(scaling.whole),
            "table": None if self.table is None else self.table.to_json(),
            "findings_": [finding.to_json() for finding in self.findings],
            "data_schema_": self.data_schema.to_json(),
            "history_units": self.history_units,
            "history_bounds": self.history_bounds,
            "usual_cost_": self.usual_cost,
            "annealed_": self.annealed,
        }

    @classmethod
    def from_json(
        cls,
        value: Mapping[str, Any],
        weights: Mapping[str, Tensor],
        device: torch.device,
        *,
        condition: str | None = None,
        modules: Mapping[str, nn.Module | None],
    ) -> Self:
        """Return the state that `to_json` described, with these weights.

        Parameters
        ----------
        value : mapping
            What `to_json` returned.
        weights : mapping of str to Tensor
            Tensors of `module`, by name.
        device : torch.device
            Where the model is to lie.
        condition : str, default=None
            The parameter ``condition`` of the estimator.
        modules : mapping of str to Module
            Networks of the user's own, by the name of their parameter.
        """
        described: Mapping[str, Any] = read_described(value)
        read = made(Parts, {n: read_parameter(n, part, modules) for n, part in described["parts"].items()}, "parts")
        require_likelihoods(read, described.get("table"))
        parts = Parts(**{n: copied(part, n) for n, part in vars(read).items()})
        conditioned = described.get("condition")
        on = condition_from_json(condition, conditioned) if conditioned else None
        sizes = Sizes(
            described["event_shape_"],
            described["latent"],
            condition=on.width if on else 0,
            some_labels=isinstance(on, LabelCondition) and bool(on.some),
            below=described.get("below", ()),
        )
        model, scaling = model_for(weights, parts, sizes), scaling_for(weights, sizes.features)
        state = cls(
            model.to(device).eval(),
            scaling.to(device),
            described["data_schema_"],
            table=described.get("table"),
            condition=on,
            history_units=described.get("history_units", "model"),
            findings=described["findings_"],
            usual_cost=described.get("usual_cost_"),
            annealed=described.get("annealed_", not described["choices_"].get("max_epochs", "").startswith("1 ")),
            **{name: described[f"{name}_"] for name in PLAIN},
            **{name: _array(described[f"{name}_"], dtype) for name, dtype in ARRAYS.items()},
        )
        fill(state.module, weights)
        return state


def require_unchanged(
    p: Parameters,
    state: FitState,
    continued: str = "the fit to continue",
    advice: str = "fit anew with warm_start=False",
) -> None:
    """Raise if parameters request another model than that of the fit that is ``continued``, in words.

    A prior that was fitted afterwards stands in the place of that of the parameters.
    """
    sizes, parts = state.model.sizes, state.model.parts
    encoder = parts.encoder.network if isinstance(parts.encoder, Placement) else parts.encoder
    likelihood = parts.likelihood
    plain = likelihood.likelihood if isinstance(likelihood, Incomplete) else likelihood
    kind = next((kind for kind in KINDS if type(state.condition) is KINDS[kind]), None)
    scaling = state.choices.get("scaling", "auto").partition(" ")[0]
    kept: dict[str, tuple[Any, ...]] = {
        "n_components": ("auto", sizes.latent),
        "ladder": (sizes.below, list(sizes.below), None if not sizes.below else sizes.below),
        "condition": (kind,),
        "scaling": ("auto", scaling),
        "columns": (p.columns if state.table else None,),
        "likelihood": (None, likelihood, plain),
        "variational_family": (None, parts.posterior),
        "prior": (getattr(p, "prior", None),) if "prior" in state.choices else (None, parts.prior),
        "encoder": (None, encoder) if isinstance(encoder, Network) else (encoder,),
        "decoder": (None, parts.decoder) if isinstance(parts.decoder, Network) else (parts.decoder,),
    }
    for name, values in kept.items():
        value = getattr(p, name, None)
        if not any(value == one or _same_module(value, one) for one in values):
            raise PartError(
                f"{name} is {_named(value)}, and {continued} has {_named(values[-1])}: set it back, or {advice}"
            )


def _same_module(one: Any, other: Any) -> bool:
    """Return whether two modules of a user's own have the same layers; a fit keeps a copy of its own."""
    if not (isinstance(one, nn.Module) and isinstance(other, nn.Module)):
        return False
    return repr(one) == repr(other) or (_is_lazy(one) and _layers(one) == _layers(other))


def _is_lazy(module: nn.Module) -> bool:
    return any(isinstance(layer, LazyModuleMixin) for layer in module.modules())


def _layers(module: nn.Module) -> list[type]:
    """Return the types of all layers; of lazy ones those that they become."""
    return [getattr(layer, "cls_to_become", None) or type(layer) for layer in module.modules()]


def _named(value: Any) -> str:
    return f"a {module_name(value)}" if isinstance(value, nn.Module) else repr(value)


def _array(values: Any, dtype: type) -> Any:
    return None if values is None else np.array(values, dtype=dtype)


def _moments(model: GenerativeAutoencoder, scaling: Affine, x: Tensor) -> Tensor:
    q = model.encode(scaling(x))
    return torch.stack([q.mean, q.stddev], 1)  # (B, 2, D)


def _located(model: GenerativeAutoencoder, scaling: Affine, x: Tensor) -> Tensor:
    compared = isinstance(model.encoder, PlacedEncoder) and x.is_floating_point()
    precise, rounded = _precise(scaling, x) if compared else (None, None)
    return torch.stack(model.locate(scaling(x), precise, rounded), 1)  # (B, 2, D)


def _held(model: GenerativeAutoencoder, scaling: Affine, x: Tensor) -> Tensor:
    return model.holds(*_precise(scaling, x))


def _precise(scaling: Affine, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return rows as those of the fit were compared, and as far off as they may be rounded."""
    if not x.is_floating_point():
        return scaling(x), None
    single = x.dtype == torch.float32
    rounded = scaling(x.double() * (1 + torch.finfo(x.dtype).eps)) if single else None  # by twice as much, at the most
    return scaling(x.double()), rounded


def _encoder_inputs(model: GenerativeAutoencoder, scaling: Affine, x: Tensor) -> Tensor:
    return model.parts.likelihood.encoder_inputs(model.likelihood_state, scaling(x))


def _decoded(model: GenerativeAutoencoder, scaling: Affine, z: Tensor) -> Tensor:
    return scaling.restored(model.decode(model.parts.posterior.onto(z)).mean, z.dtype)


def _pieces(values: NDArray[Any] | LazyRows, size: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (first row, rows) in order, so many rows at the most."""
    if isinstance(values, LazyRows):
        yield from values.pieces(size)
    else:
        for start in range(0, len(values), size):
            yield start, values[start : start + size]


def as_tensor(values: NDArray[Any]) -> Tensor:
    """Share the memory of an array; a copy only where torch could not write to it or step through it."""
    plain = np.ascontiguousarray(values)
    return torch.from_numpy(plain if plain.flags.writeable else plain.copy())
