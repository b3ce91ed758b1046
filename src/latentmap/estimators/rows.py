"""What a person hands over, held against a fit: names and number of features, shape of a row, missing cells."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted, validate_data

from latentmap.data.decoding import in_type_of
from latentmap.data.frames import as_frame, empty_frame, named_as
from latentmap.data.heading import text_of
from latentmap.data.names import as_known
from latentmap.data.rows import LazyRows
from latentmap.data.selection import ALL_COLUMNS, Selection, ignored_in_words
from latentmap.data.sources import Source, open_source, require_finite
from latentmap.data.streaming import fits, read_memory
from latentmap.estimators.parameters import Parameters
from latentmap.estimators.state import FitState, FloatArray
from latentmap.exceptions import ConvertedImagesWarning, DataError, IgnoredColumnsWarning

ADVICE = "fill them, or fit with likelihood=likelihoods.Incomplete(), as this fit had complete rows"


class RowReader(Parameters):
    """Rows for the methods of a fitted estimator."""

    _state: FitState | None = None
    given_: Any = None
    """What all rows are conditioned on where no y is given."""

    @property
    def state_(self) -> FitState:
        """The result of the fit."""
        if self._state is None:
            raise AttributeError(f"this {type(self).__name__} is not fitted yet: call fit first")
        return self._state

    @state_.setter
    def state_(self, state: FitState) -> None:
        self._state = state

    def __sklearn_is_fitted__(self) -> bool:
        return self._state is not None

    def _rows(self, X: Any, y: Any) -> tuple[Any, FloatArray | None]:
        """Return checked rows, and what they are conditioned on; a file that does not fit in memory stays in place."""
        check_is_fitted(self)
        source = open_as_fitted(self, self.state_, X)
        if fits_memory(source, self.memory):
            rows: Any = checked_rows(source, self.state_)
        else:
            rows = LazyRows(source, self.state_.model.sizes.features, missing=self.state_.takes_missing)
        return rows, self._given(y, len(rows))

    def _given(self, y: Any, n: int) -> FloatArray | None:
        return self.state_.given(self.given_ if y is None else y, n)


def open_for_fit(estimator: Parameters, X: Any) -> Source:
    """Open the rows of a fit.

    Raises
    ------
    DataError
        If X is no data, or has fewer than two rows.
    """
    columns = None if estimator.columns is None else estimator.columns.requested
    source = open_source(X, columns=columns, memory=estimator.memory)
    _check_shape(source, 2, type(estimator).__name__)
    return source


def remember_features(estimator: Parameters, source: Source) -> None:
    """Let an estimator remember number and names of the features of a fit."""
    if source.table is None:
        validate_data(estimator, _header(source), reset=True, skip_check_array=True)
    else:
        estimator.n_features_in_ = len(source.table.columns)
        estimator.feature_names_in_ = np.array(source.table.names, dtype=object)


def open_as_fitted(estimator: Parameters, state: FitState, X: Any) -> Source:
    """Open rows for a fitted estimator.

    Columns are taken by name in any order, and others are ignored with a warning; those of a data frame of numbers of
    pandas must have the order of the fit, as scikit-learn requires. Images of a folder get the shape of the fit.

    Raises
    ------
    DataError
        If X is no data, or its rows are not like those of the fit; says in what.
    """
    if (frame := as_frame(X)) is not None:
        known = state.data_schema.names if state.table is None else (*state.table.order, *state.table.kinds)
        renamed = named_as(frame, known or ())
        X = X if renamed is frame else renamed.to_native()
    numeric, selection = state.table is None, _selection(estimator, state, X)
    options: dict[str, Any] = {"selection": selection, "memory": estimator.memory, "like": state.data_schema}
    source = open_source(X, columns=state.table, numeric=numeric, **options)
    _check_shape(source, 1, type(estimator).__name__)
    if source.ignored:
        warnings.warn(ignored_in_words(source.ignored, source.name), IgnoredColumnsWarning, stacklevel=4)
    if source.converted:
        warnings.warn(f"{source.name}: {source.converted}", ConvertedImagesWarning, stacklevel=4)
    event, expected = source.first.shape[1:], state.event_shape
    if state.table is None and source.table is None:
        if len(event) > 1 and event != expected:
            raise DataError(f"expected rows of shape {expected}, as in fit, got {event}")
        header = None
        if (names := source.names) is not None and names == state.data_schema.names:  # found by name
            header = empty_frame(names) if hasattr(estimator, "feature_names_in_") else source.first.reshape(1, -1)
        validate_data(estimator, _header(source) if header is None else header, reset=False, skip_check_array=True)
    elif source.table is None:  # numbers in the place of a frame
        if event != expected:
            raise DataError(f"expected rows of {expected[0]} columns, as in fit, got {int(np.prod(event))}")
    elif source.table != state.table:
        raise DataError(f"{source.name} was opened without the columns of the fit: give its path, or a data frame")
    return source


def checked_rows(source: Source, state: FitState) -> NDArray[Any]:
    """Return rows (n, P) without infinite values, and without missing ones unless the model takes such."""
    rows = source.all_rows()
    if rows.dtype.kind == "f" and not (~np.isinf(rows) if state.takes_missing else np.isfinite(rows)).all():
        require_finite(source, missing=state.takes_missing, advice=ADVICE)
    return rows


def fits_memory(source: Source, memory: str | int | None) -> bool:
    """Return whether all rows of a source can be made dense at once."""
    return source.in_memory and not source.is_sparse or fits(source, read_memory(memory))


def read_codes(state: FitState, Z: Any, names: Sequence[str] = ()) -> FloatArray:
    """Return latent codes as an array (n, D); columns of a frame or file with these names are taken by name."""
    source, components = open_codes(Z, names), state.model.sizes.latent
    if source.first.shape[1:] != (components,):
        shape = " x ".join(map(str, source.first.shape[1:]))
        raise DataError(f"expected codes with {components} components, got {shape}")
    require_finite(source)
    codes = source.all_rows()
    return codes if codes.dtype.kind == "f" else codes.astype(np.float64)


def open_codes(Z: Any, names: Sequence[str], row_id: str | None = None, *, optional: bool = True) -> Source:
    """Open latent codes; components of a frame or file are taken by name, if it has one, and others are ignored.

    The source has the values of the column ``row_id`` beside its rows, if there is one; unless ``optional``, it must.
    """
    if isinstance(Z, Source):
        return Z
    ids = () if row_id is None else (row_id,)
    all_columns = Selection(ids, ids, optional=ids if optional else ())
    try:
        named = replace(all_columns, wanted=tuple(names) or None)
        return open_source(Z, numeric=True, name="Z", selection=named)
    except DataError as error:  # without the names, all columns are components
        with contextlib.suppress(DataError):
            source = open_source(Z, numeric=True, name="Z", selection=all_columns)
            if not set(names).intersection(source.names or ()):
                return source
        raise error


def as_given(X: Any, values: NDArray[Any], names: Sequence[str] | None = None) -> Any:
    """Return values as what X is: an array, or a data frame with its index, columns and those that a fit ignores.

    The values are those of the columns of these names, where X has them all, else of its columns in order. Columns
    without missing cells stay as they are.
    """
    if (frame := as_frame(X)) is None:
        return values
    columns = list(frame.iter_columns())
    own = dict(zip(as_known([text_of(column.name) for column in columns], names or ()), columns, strict=True))
    names = names if names is not None and set(names) <= set(own) else list(own)
    made = dict(zip(names, values.T, strict=True))
    filled = [_filled(column, made[name]) if name in made else column for name, column in own.items()]
    if not frame.implementation.is_pandas():
        return frame.with_columns(*filled).to_native()
    native = frame.to_native()
    natives = {i: column.to_native() for i, column in enumerate(filled)}
    return type(native)(natives, index=native.index).set_axis(native.columns, axis=1)


def _filled(own: nw.Series[Any], values: NDArray[Any]) -> nw.Series[Any]:
    """Return a column of numbers with all values: as it is where none was missing, else in its type if that can."""
    dtype = own.dtype
    if dtype.is_numeric() or dtype == nw.Boolean:
        gaps = own.null_count() > 0 or (dtype.is_float() and bool(own.is_nan().any()))
        if not gaps:
            return own
    if own.implementation.is_pandas():
        native = own.to_native()
        series = type(native)(values, index=native.index)
        return nw.from_native(series.astype(native.dtype) if dtype.is_float() else series, series_only=True)
    series = nw.new_series(own.name, values, backend=own.implementation)
    return in_type_of(own, series) if dtype.is_float() or dtype.is_decimal() else series


def _selection(estimator: Parameters, state: FitState, X: Any) -> Selection:
    """Return the columns of the fit to numbers, which X has by name or, where it has no names, by place.

    Those of a table are known by it.
    """
    names = state.data_schema.names
    if state.table is not None or names is None:
        return ALL_COLUMNS
    if (frame := as_frame(X.header if isinstance(X, Source) else X)) is None:
        return Selection(wanted=names)
    given, wanted, named = list(map(text_of, frame.columns)), set(names), hasattr(estimator, "feature_names_in_")
    if not wanted <= set(given):
        if named and isinstance(frame.columns[0], str):  # says which are missing
            validate_data(estimator, frame.head(0).to_native(), reset=False, skip_check_array=True)
        by_place = named or all(name.isdigit() for name in names) or not isinstance(frame.columns[0], str)
        return ALL_COLUMNS if by_place else Selection(wanted=names)
    if frame.implementation.is_pandas() and named:
        own = frame.head(0)[:, [i for i, name in enumerate(given) if name in wanted]]
        validate_data(estimator, own.to_native(), reset=False, skip_check_array=True)
    return Selection(wanted=names)


def _header(source: Source) -> Any:
    """Return what names and counts the features: a frame without rows, or the first row."""
    return source.first.reshape(1, -1) if source.header is None else source.header


def _check_shape(source: Source, least: int, estimator: str) -> None:
    if len(source) < least:
        shape = (len(source), *source.first.shape[1:])
        raise DataError(f"Found array with {len(source)} sample(s) (shape={shape}) while a minimum of {least} is "
                        f"required by {estimator}.")  # fmt: skip
    if source.first.ndim > 4:
        raise DataError(f"expected rows that are vectors or images (n, height, width[, channels]), got "
                        f"{(len(source), *source.first.shape[1:])}")  # fmt: skip
