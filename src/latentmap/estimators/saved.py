"""What ``config.json`` of a saved run holds: the types of its values, and whether a fit can have had them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from latentmap import exceptions
from latentmap.data.columns import Table
from latentmap.data.schema import Schema
from latentmap.data.table_checks import require_possible, require_schema
from latentmap.data.typed import typed
from latentmap.estimators.diagnosis import Finding
from latentmap.estimators.history import Units
from latentmap.exceptions import ModelError
from latentmap.model.autoencoder import Parts
from latentmap.model.likelihoods import Heterogeneous, Incomplete
from latentmap.model.part import whole

Plain = str | bool | float | None
Numbers = Sequence[float | None]
"""Numbers; null stands for NaN."""
COUNTS = ("seed_", "n_iter_", "fit_seconds_")
"""Values that are not negative."""


class _Described(TypedDict):
    seed_: int
    n_iter_: int
    fit_seconds_: float
    loss_: float | None
    choices_: Mapping[str, str]
    data_fingerprint_: str
    interrupted_: bool
    code_mean_: Numbers
    code_variance_: Numbers
    kl_per_component_: Numbers | None
    active_components_: Sequence[bool]
    event_shape_: tuple[int, ...]
    latent: int
    parts: Mapping[str, Mapping[str, Any]]
    findings_: tuple[Finding, ...]
    data_schema_: Schema


class Described(_Described, total=False):
    """The state of a fit, all but its weights and history; what runs of earlier versions lack may lack."""

    below: tuple[int, ...]
    condition: Mapping[str, Any] | None
    table: Table | None
    history_units: Units
    history_bounds: bool
    usual_cost_: float | None
    annealed_: bool
    n_features_in_: int
    feature_names_in_: Sequence[str] | None
    given_: Plain | Sequence[Plain] | Sequence[Sequence[Plain]]


_Class = TypedDict("_Class", {"class": str})


class _Configuration(_Class):
    params: Mapping[str, Plain | Sequence[int] | Mapping[str, Any]]
    fitted: Mapping[str, Any]
    version: str


class Configuration(_Configuration, total=False):
    """The whole file; its format and class are read before."""

    versions: Mapping[str, str]
    weights_sha256: str
    neighbors_sha256: str
    trainer_sha256: str


def read_configuration(config: Any) -> Configuration:
    """Return a configuration whose values have their types; raise a `ModelError` that names one that has not."""
    configuration: Configuration = typed(config, Configuration, "")
    return configuration


def read_described(fitted: Any) -> Described:
    """Return the state of a fit whose values have their types, and make sense.

    Raises
    ------
    ModelError
        If no fit can have left them; names what is wrong.
    """
    described: Described = typed(fitted, Described, "fitted")
    for name in COUNTS:
        if (value := fitted[name]) < 0:
            raise ModelError(f"its {name} cannot be {value!r}")
    event, schema, table = described["event_shape_"], described["data_schema_"], described.get("table")
    for size in (*event, described["latent"], *described.get("below", ())):
        whole("a size", size)
    if schema.event_shape != event:
        raise ModelError(f"its data cannot have rows of shape {schema.event_shape}, as the model has {event}")
    for finding in described["findings_"]:
        if finding.warning is not None and finding.warning not in vars(exceptions):
            raise ModelError(f"its finding {finding.kind!r:.40} cannot have the warning {finding.warning!r:.40}")
    if table is None:
        require_schema(schema)
    else:
        require_possible(table, schema)
        if len(table.columns) != (features := math.prod(event)):
            raise ModelError(f"its table has {len(table.columns)} columns, and its rows {features}")
    return described


def require_likelihoods(parts: Parts, table: Table | None) -> None:
    """Raise a `ModelError` unless every column of a table has a likelihood, of at least its categories."""
    part = parts.likelihood.likelihood if isinstance(parts.likelihood, Incomplete) else parts.likelihood
    if table is None or not isinstance(part, Heterogeneous):
        return
    if len(part.columns) != len(table.columns):
        raise ModelError(f"its table has {len(table.columns)} columns, and likelihoods of {len(part.columns)}")
    for column, one in zip(table.columns, part.columns, strict=True):
        if (levels := getattr(one, "levels", None)) is not None and levels < len(column.categories):
            raise ModelError(
                f"its column {column.name!r:.60} has {len(column.categories)} categories, and a likelihood of {levels}"
            )
