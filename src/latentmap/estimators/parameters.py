"""Parameters of the estimators: their values, their checks, and their form in a saved run."""

from __future__ import annotations

import numbers
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import nn

from latentmap.data.memory import free_memory
from latentmap.data.scaling import ScalingKind
from latentmap.estimators.columns import Columns
from latentmap.estimators.conditions import Kind, condition_class
from latentmap.exceptions import ModelError, PartError
from latentmap.model.autoencoder import Parts
from latentmap.model.components import Components
from latentmap.model.likelihoods import Likelihood
from latentmap.model.modules import WithHeads, module_name
from latentmap.model.networks import Network
from latentmap.model.part import Part
from latentmap.model.posteriors import Posterior
from latentmap.model.priors import Prior
from latentmap.objectives.base import Objective
from latentmap.objectives.metrics import METRICS, Metric
from latentmap.training.device import Precision
from latentmap.training.loop import Callback

MOST_ROWS, MOST_COMPONENTS = 2**31, 2**20
"""The largest batch and number of steps, and the most latent components, that a setting may ask for."""
_NETWORK = ((Network, nn.Module), "a network such as networks.MLP(), or a torch module of your own")
_PARTS: dict[str, tuple[Any, str]] = {
    "encoder": _NETWORK,
    "decoder": _NETWORK,
    "columns": (Columns, "latentmap.Columns({name: kind})"),
    "likelihood": (Likelihood, "a likelihood such as likelihoods.Gaussian()"),
    "variational_family": (Posterior, "a posterior such as posteriors.Gaussian()"),
    "prior": (Prior, "a prior such as priors.Normal()"),
    "objective": (Objective, "an objective such as objectives.ELBO()"),
}


class Parameters(BaseEstimator):
    """The parameters of an estimator; a subclass says which parts make its model and what it is trained for."""

    neighbors: Any = None
    metric: Metric | Callable[..., float] = "euclidean"
    neighbor_components: Components = "auto"
    supervised: float = 0.0
    exaggeration: float = 1.0
    init: Literal["pca", "random"] = "pca"
    condition: Kind | None = None
    ladder: Sequence[int] | None = None
    maps: ClassVar[bool] = False
    """Whether one may choose the neighbours that a map keeps."""
    column_scales: bool = False
    """Whether a Gaussian that is chosen for columns of several units learns a scale for each of them."""

    def __init__(
        self,
        n_components: int | Literal["auto"] = 2,
        *,
        encoder: Network | nn.Module | None = None,
        decoder: Network | nn.Module | None = None,
        likelihood: Likelihood | None = None,
        columns: Columns | None = None,
        scaling: ScalingKind | Literal["auto"] = "auto",
        max_epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        time_budget: float | None = None,
        memory: str | int | None = None,
        device: str = "auto",
        precision: Precision = "auto",
        compile: bool | str = "auto",
        warm_start: bool = False,
        random_state: Any = None,
        callbacks: Sequence[Callback] | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.columns = columns
        self.scaling = scaling
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.time_budget = time_budget
        self.memory = memory
        self.device = device
        self.precision = precision
        self.compile = compile
        self.warm_start = warm_start
        self.random_state = random_state
        self.callbacks = callbacks
        self.verbose = verbose

    @abstractmethod
    def _parts(self, encoder: Network | nn.Module, decoder: Network | nn.Module, likelihood: Likelihood) -> Parts:
        """Compose the model's parts from the networks and likelihood that were given or chosen."""

    @abstractmethod
    def _objective(self, some_labels: bool = False) -> Objective:
        """Return what the model is trained for, where labels may be missing for some rows."""

    @property
    def _held_out_fraction(self) -> float:
        return self.validation_fraction if self.early_stopping else 0.0


def check_parameters(p: Parameters) -> None:
    """Refuse parameters that no data can make sense of, before anything is done with the data."""
    if p.n_components != "auto":
        check_count("n_components", p.n_components, most=MOST_COMPONENTS)
    for name in ("batch_size", "max_epochs"):
        if (value := getattr(p, name)) is not None:
            check_count(name, value)
    for name in ("learning_rate", "time_budget"):
        if (value := getattr(p, name)) is not None:
            check_positive(name, value)
    check_positive("validation_fraction", p.validation_fraction)
    if p.validation_fraction >= 1:
        raise PartError(f"validation_fraction must lie between 0 and 1, got {p.validation_fraction!r}")
    if p.compile not in ("auto", True, False):
        raise PartError(f"compile must be 'auto', True or False, got {p.compile!r}")
    callbacks = p.callbacks
    listed = isinstance(callbacks, Iterable) and not callable(callbacks)
    if callbacks is not None and not (listed and all(map(callable, callbacks))):
        raise PartError(f"callbacks must be None or a list of functions, got {callbacks!r}")
    if not isinstance(p.device, str | torch.device):
        raise PartError(f"device must be 'auto' or a device of torch such as 'cpu', got {p.device!r}")
    _check_map(p)
    _check_model(p)


def _check_map(p: Parameters) -> None:
    metric: Any = p.metric
    if isinstance(metric, str) and metric == "precomputed":
        raise PartError(
            "metric='precomputed' leaves no rows to encode: give fit the rows, and their neighbours as "
            "neighbors=(indices, distances), as NearestNeighbors(metric='precomputed').fit(D).kneighbors() returns them"
        )
    if not callable(metric) and metric not in (*METRICS, None):  # None, of a run, stands for a function
        raise PartError(f"metric must be one of {', '.join(METRICS)} or a function of two rows, got {metric!r}")
    check_positive("exaggeration", p.exaggeration)
    if p.supervised != 0:
        check_positive("supervised", p.supervised)
    if p.supervised > 1:
        raise PartError(f"supervised must lie between 0 and 1, got {p.supervised!r}")
    if p.init not in ("pca", "random"):
        raise PartError(f"init must be 'pca' or 'random', got {p.init!r}")
    if p.neighbor_components not in ("auto", None):
        check_count("neighbor_components", p.neighbor_components)


def _check_model(p: Parameters) -> None:
    if p.ladder is not None:
        ladder: Any = p.ladder
        if isinstance(ladder, str) or not isinstance(ladder, Sequence):
            raise PartError(f"ladder must be None or components such as (8, 32), got {ladder!r}")
        for components in ladder:
            check_count("ladder", components, most=MOST_COMPONENTS)
    if p.condition is not None:
        condition_class(p.condition)
        if not isinstance(p.neighbors, str | None):
            raise PartError(
                "a conditional model keeps no neighbours near each other, since these have the same condition and "
                "its codes hold the rest; leave neighbors='auto'"
            )
    for name, (kind, wanted) in _PARTS.items():
        value = getattr(p, name, None)
        if value is not None and not isinstance(value, kind):
            raise PartError(f"{name} must be None or {wanted}, got {value!r}")


def read_seed(random_state: Any) -> int:
    """Return a seed: the integer itself, a draw from a generator, or a fresh one for None.

    >>> read_seed(7)
    7
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(random_state, numbers.Integral):
        if random_state < 0:
            raise PartError(f"random_state must be a whole number >= 0, got {random_state}")
        return int(random_state) % 2**31
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31 - 1))
    raise PartError(f"random_state must be None, a whole number or a numpy generator, got {random_state!r}")


def check_count(name: str, value: Any, least: int = 1, most: int = MOST_ROWS) -> None:
    """Refuse a setting that is not a whole number between these."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise PartError(f"{name} must be a whole number >= {least}, got {value!r}")
    if int(value) > most:
        raise PartError(f"{name} must be at most {most:,}, got {value:,}")


def check_memory(name: str, value: int, n_bytes: int) -> None:
    """Refuse a number of rows that take more memory than is free.

    >>> check_memory("n_samples", 10**12, 64 * 10**15)
    Traceback (most recent call last):
    latentmap.exceptions.PartError: n_samples=1,000,000,000,000 takes 64,000,000 GB of memory, ... GB are free: ...
    """
    if n_bytes > (free := free_memory()):
        needs = f"takes {n_bytes / 1e9:,.0f} GB of memory, and {free / 1e9:,.0f} GB are free"
        raise PartError(f"{name}={value:,} {needs}: take fewer at a time")


def check_positive(name: str, value: Any) -> None:
    """Refuse a setting that is not a positive number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < float("inf"):
        raise PartError(f"{name} must be a finite number > 0, got {value!r}")


def write_parameter(value: Any) -> Any:
    """Return a parameter as plain JSON; None for callbacks and generators, which belong to a session, not to a model.

    >>> write_parameter((8, 32)), write_parameter(nn.Identity())
    ([8, 32], {'module': 'Identity'})
    """
    if isinstance(value, Part):
        return value.to_json()
    if isinstance(value, nn.Module):
        return {"module": module_name(value)}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, tuple | list) and all(isinstance(v, int) for v in value):
        return list(value)
    return value if value is None or isinstance(value, bool | int | float | str) else None


def read_parameter(name: str, value: Any, modules: Mapping[str, nn.Module | None]) -> Any:
    """Return what `write_parameter` wrote; ``modules`` are networks of the user's own, by the name of the parameter."""
    if isinstance(value, dict) and "module" in value:
        module, heads = modules.get(name), str(value["module"]).startswith(WithHeads.__name__)
        if module is None or isinstance(module, WithHeads) != heads:
            given = "networks.WithHeads(...)" if heads else "..."
            raise ModelError(
                f"this model was fitted with your own {name}, a {value['module']}: give it as "
                f"load(path, {name}={given})"
            )
        return module
    if isinstance(value, list):
        return tuple(value)
    return Part.from_json(value) if isinstance(value, dict) and "part" in value else value
