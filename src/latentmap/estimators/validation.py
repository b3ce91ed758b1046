"""What comes in: arrays, tensors and data frames to flat rows, seeds, and settings; every refusal is one clear line."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Sequence
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, validate_data
from torch import nn

from latentmap.data.columns import Table
from latentmap.data.formats.annotated import is_annotated
from latentmap.data.formats.arrays import ArraySource
from latentmap.data.formats.items import is_items
from latentmap.data.formats.memory import from_memory
from latentmap.data.formats.sparse import is_sparse
from latentmap.data.frames import as_frame, columns_of, numbers_of, numeric_rows
from latentmap.data.sources import Source, open_source
from latentmap.data.values import plain_array
from latentmap.estimators.columns import Columns
from latentmap.estimators.conditions import condition_class
from latentmap.exceptions import DataError, PartError
from latentmap.model.likelihoods import Likelihood
from latentmap.model.networks import Network
from latentmap.model.posteriors import Posterior
from latentmap.model.priors import Prior
from latentmap.objectives.base import Objective

FloatArray = NDArray[np.floating[Any]]
DTYPES: list[type] = [np.float64, np.float32, np.uint8]
"""Types that are kept as they come; all others become the first."""

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


def check_settings(estimator: Any) -> None:
    """Refuse parameters that no data can make sense of, before anything is done with the data."""
    check_count("n_components", estimator.n_components)
    for name in ("batch_size", "max_epochs"):
        if (value := getattr(estimator, name)) is not None:
            check_count(name, value)
    for name in ("learning_rate", "time_budget"):
        if (value := getattr(estimator, name)) is not None:
            check_positive(name, value)
    check_positive("validation_fraction", estimator.validation_fraction)
    if estimator.validation_fraction >= 1:
        raise PartError(f"validation_fraction must lie between 0 and 1, got {estimator.validation_fraction!r}")
    if estimator.supervised:
        check_positive("supervised", estimator.supervised)
    if estimator.supervised > 1:
        raise PartError(f"supervised must lie between 0 and 1, got {estimator.supervised!r}")
    if estimator.init not in ("pca", "random"):
        raise PartError(f"init must be 'pca' or 'random', got {estimator.init!r}")
    if estimator.neighbor_components not in ("auto", None):
        check_count("neighbor_components", estimator.neighbor_components)
    if estimator.compile not in ("auto", True, False):
        raise PartError(f"compile must be 'auto', True or False, got {estimator.compile!r}")
    callbacks = estimator.callbacks
    if callbacks is not None and (callable(callbacks) or not all(map(callable, callbacks))):
        raise PartError(f"callbacks must be None or a list of functions, got {callbacks!r}")
    if estimator.ladder is not None:
        if isinstance(estimator.ladder, str) or not isinstance(estimator.ladder, Sequence):
            raise PartError(f"ladder must be None or components such as (8, 32), got {estimator.ladder!r}")
        for components in estimator.ladder:
            check_count("ladder", components)
    if estimator.condition is not None:
        condition_class(estimator.condition)
        if not isinstance(estimator.neighbors, str | None):
            raise PartError(
                "a conditional model keeps no neighbours near each other, since they share their condition and "
                "its codes hold the rest; leave neighbors='auto'"
            )
    for name, (kind, wanted) in _PARTS.items():
        value = getattr(estimator, name, None)
        if value is not None and not isinstance(value, kind):
            raise PartError(f"{name} must be None or {wanted}, got {value!r}")


def opened(X: Any, columns: Columns | Table | None = None) -> Any:
    """Open a path, the name of a data set, a memory-mapped array and what is no array as a source; leave all else.

    ``columns`` are what is asked of those of a table, or what a fit has learned of them.
    """
    asked = columns if columns is None or isinstance(columns, Table) else columns.asked
    if isinstance(X, str | os.PathLike):
        return open_source(X, columns=asked)
    if is_sparse(X) or is_annotated(X):
        return from_memory(X)
    if is_items(X) and as_frame(X) is None:
        return from_memory(X, columns=asked)
    return ArraySource(X) if isinstance(X, np.memmap) and X.ndim > 1 and X.dtype.kind in "biuf" else X


def read_rows(estimator: Any, X: Any, *, reset: bool) -> tuple[NDArray[Any], tuple[int, ...]]:
    """Give rows as a flat array (N, P) and the shape of one row.

    ``reset`` is for `fit`: it takes the number and names of the features from X; otherwise they must agree. A table of
    mixed columns becomes numbers, as ``table_`` says.
    """
    frame, X = _read(estimator, opened(X, estimator.columns if reset else estimator.table_), reset=reset)
    if estimator.table_ is not None:
        cells = check_array(X, dtype=[np.float64, np.float32], ensure_all_finite=False, ensure_min_samples=1 + reset)
        if cells.shape[1] != estimator.n_features_in_:
            raise DataError(f"expected rows of {estimator.n_features_in_} columns, as in fit, got {cells.shape[1]}")
        return cells, cells.shape[1:]
    event: tuple[int, ...] | None = None
    if X.ndim < 2:
        raise DataError(
            f"expected rows (n, features) or images (n, height, width[, channels]), got shape {X.shape}. "
            "Reshape your data: X.reshape(1, -1) if it is one row, X.reshape(-1, 1) if it is one feature"
        )
    if X.ndim > 2:
        event = X.shape[1:]
        if len(event) > 3:
            raise DataError(f"expected rows that are vectors or images (n, height, width[, channels]), got {X.shape}")
        if not reset and event != estimator.event_shape_:
            raise DataError(f"expected rows of shape {estimator.event_shape_}, as in fit, got {event}")
        X = X.reshape(len(X), math.prod(event))
    checks: dict[str, Any] = {"dtype": DTYPES, "ensure_all_finite": False, "ensure_min_samples": 1 + reset}
    if frame is None:
        rows: NDArray[Any] = validate_data(estimator, X, reset=reset, **checks)
    else:  # which names its features
        validate_data(estimator, frame, reset=reset, skip_check_array=True)
        rows = check_array(X, estimator=estimator, **checks)
    return rows, event or ((rows.shape[1],) if reset else estimator.event_shape_)


def _read(estimator: Any, X: Any, *, reset: bool) -> tuple[Any, NDArray[Any]]:
    """Give numbers, and the frame that they come from if that names them; in a fit learn what a mixed table holds."""
    known = (estimator.columns.asked if estimator.columns else None) if reset else estimator.table_
    if reset:
        estimator.table_ = None
    frame = None if isinstance(X, Source) else as_frame(X)
    if frame is not None:
        if known is None and (array := numbers_of(columns_of(frame), len(frame))) is not None:
            return frame.to_native(), array
        if not reset and known is None:
            numeric_rows(frame, like=", as in fit,")  # says which column is none of numbers
        X = from_memory(frame, columns=known)
    if not isinstance(X, Source):
        if reset and known is not None:
            raise DataError("columns= says something of named columns, and X has none: give a data frame, or leave it")
        return None, plain_array(X)
    if reset and X.table is not None:
        estimator.table_ = X.table
        estimator.n_features_in_ = len(X.table.columns)
        estimator.feature_names_in_ = np.array(X.table.names, dtype=object)
    elif not reset and X.table != known and not (X.table is None and known is None):
        raise DataError(f"{X.name} was opened without the columns of the fit: give its path, or a data frame")
    return None, plain_array(X.read(slice(None)), X.name)


def as_given(X: Any, values: NDArray[Any]) -> Any:
    """Give values as what X is: a data frame with its columns and index, or an array."""
    if (frame := as_frame(X)) is None:
        return values
    if frame.implementation.is_pandas():
        native = frame.to_native()
        return type(native)(values, index=native.index, columns=native.columns)
    made = (nw.new_series(name, values[:, i], backend=frame.implementation) for i, name in enumerate(frame.columns))
    return frame.with_columns(*made).to_native()


def read_codes(estimator: Any, Z: Any) -> FloatArray:
    """Give codes as an array (N, D)."""
    codes: FloatArray = check_array(numeric_rows(Z, "Z"), dtype=[np.float64, np.float32], input_name="Z")
    components = estimator.model_.sizes.latent
    if codes.shape[1] != components:
        raise DataError(f"expected codes with {components} components, got {codes.shape[1]}")
    return codes


def read_seed(random_state: Any) -> int:
    """Give a seed: the integer itself, a draw from a generator, or a fresh one for None.

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


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Refuse a setting that is not a whole number of at least this size."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise PartError(f"{name} must be a whole number >= {least}, got {value!r}")


def check_positive(name: str, value: Any) -> None:
    """Refuse a setting that is not a positive number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < float("inf"):
        raise PartError(f"{name} must be a finite number > 0, got {value!r}")
