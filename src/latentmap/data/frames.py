"""Data frames of any library, through narwhals: a frame as columns of cells, and columns of cells as a frame."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import narwhals as nw
import numpy as np
from narwhals.exceptions import DuplicateError
from numpy.typing import NDArray

from latentmap.data.categories import word
from latentmap.data.cells import DAY, SECOND
from latentmap.data.checks import BEYOND, EXACT, place
from latentmap.data.columns import (
    Cells,
    ColumnSpec,
    Table,
    dropped_in,
    object_array,
)
from latentmap.data.formats.base import unique_names
from latentmap.data.heading import text_of
from latentmap.data.names import as_known
from latentmap.data.objects import as_text, beyond, kind_of, of_objects, of_text, seconds_of, vectors_advice
from latentmap.data.text import MISSING, Texts, text_settings
from latentmap.data.text_compact import CLOCK, are_clocks, are_days, may_be_compact
from latentmap.data.text_numbers import PLAIN
from latentmap.data.values import is_missing, native, plain_array
from latentmap.exceptions import DataError, MissingExtraError

BACKENDS = ("pandas", "polars", "pyarrow")


def as_frame(data: Any, name: str = "X") -> nw.DataFrame[Any] | None:
    """Return a data frame of any library as one of narwhals; None if the data are no data frame."""
    try:
        frame = nw.from_native(data, pass_through=True)
        if isinstance(frame, nw.LazyFrame):
            frame = frame.collect()
        if not isinstance(frame, nw.DataFrame):
            return None
        names = list(frame.columns)
    except DuplicateError as error:
        raise DataError(f"{name}: column names must be unique: {' '.join(str(error).split())}") from error
    unique_names(list(map(text_of, names)), name)
    kinds = sorted({type(column).__name__ for column in names})
    if len(kinds) > 1 and "str" in kinds:
        raise DataError(
            f"{name} has columns whose names are of types {' and '.join(kinds)}: expected text in all of them or in "
            f"none; {name}.columns = {name}.columns.astype(str) makes them so"
        )
    return frame


def named_as(frame: nw.DataFrame[Any], known: Collection[str]) -> nw.DataFrame[Any]:
    """Return a frame whose columns are spelled as in a fit; see `latentmap.data.names.as_known`."""
    own = list(frame.columns)
    if not known or not all(isinstance(name, str) for name in own):
        return frame
    renamed = {a: b for a, b in zip(own, as_known(own, known), strict=True) if a != b}
    return frame.rename(renamed) if renamed else frame


def only_columns(data: Any, names: Sequence[str] | None) -> Any:
    """Return a data frame without the columns that a fit to these names ignores; anything else as it is.

    >>> import pandas as pd
    >>> only_columns(pd.DataFrame({"owner": ["me"], "age": [3]}), ["age"]).columns.tolist()
    ['age']
    """
    if names is None or data is None or (frame := as_frame(data)) is None or len(frame.columns) == len(names):
        return data
    kept = [i for i, column in enumerate(frame.columns) if text_of(column) in set(names)]
    return frame[:, kept].to_native() if len(kept) == len(names) else data


def columns_of(frame: nw.DataFrame[Any]) -> dict[str, nw.Series[Any]]:
    """Return the columns of a frame by name, which may have been a number."""
    return {text_of(column.name): _settled(column) for column in frame.iter_columns()}


def numbers_of(columns: Mapping[str, nw.Series[Any]], rows: int, name: str = "X") -> NDArray[Any] | None:
    """Return columns of numbers as an array, NaN where a cell is missing; None if a column holds anything else.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = as_frame(pd.DataFrame({0: [True, None], 1: [2, 3]}))
    >>> numbers_of(columns_of(frame), 2).tolist()
    [[1.0, 2.0], [nan, 3.0]]
    """
    arrays = []
    for column, series in columns.items():
        if (values := _plain(series, column, name)) is None:
            return None
        arrays.append(values)
    return np.stack(arrays, axis=1) if arrays else np.empty((rows, 0))


def numeric_rows(data: Any, name: str = "X") -> NDArray[Any]:
    """Return an array, a tensor, nested lists or a frame of numbers as an array of any shape; see `plain_array`."""
    if (frame := as_frame(data, name)) is None:
        return plain_array(data, name)
    columns = columns_of(frame)
    if (array := numbers_of(columns, len(frame), name)) is None:
        raise non_numeric(columns, name, ",")
    return array


def non_numeric(columns: Mapping[str, nw.Series[Any]], name: str, like: str = ", as in fit,") -> DataError:
    """Return the error that says which columns of a frame do not hold numbers that double precision holds."""
    for column, series in columns.items():
        if series.dtype.is_integer() and not _is_exact(series):
            row, value = next((i, v) for i, v in enumerate(series.to_list()) if not is_missing(v) and abs(v) > EXACT)
            return DataError(f"{name}: {value} at {place([row, 0], names=[column])} {BEYOND}")
    others = {column: series.dtype for column, series in columns.items() if _plain(series, column, name) is None}
    return DataError(
        f"{name}: expected numeric columns{like} got {', '.join(map(repr, list(others)[:5]))} of type "
        f"{next(iter(others.values()))}; drop them, or encode them as numbers"
    )


def cells_of(columns: Iterable[nw.Series[Any]], name: str = "X", spec: ColumnSpec = None) -> list[Cells]:
    """Return the columns of a frame as cells; ``spec`` says how a fit reads text, and which columns are not read.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = nw.from_native(pd.DataFrame({"species": ["elm", None]}), eager_only=True)
    >>> cells = cells_of(frame.iter_columns())
    >>> cells[0].values.tolist()
    ['elm', None]
    """
    dropped, learned = dropped_in(spec), {*spec.kinds, *spec.inputs} if isinstance(spec, Table) else None
    return [
        _unread(series, "as requested")
        if text_of(series.name) in dropped or (learned is not None and text_of(series.name) not in learned)
        else _cells(series, name, spec)
        for series in columns
    ]


def empty_frame(names: Sequence[str]) -> Any:
    """Return a data frame of the first library that is installed, without rows; None if none is."""
    backend: Any = next(filter(is_installed, BACKENDS), None)
    return None if backend is None else nw.from_dict({name: [] for name in names}, backend=backend).to_native()


def installed_backends() -> list[str]:
    """Return the libraries of data frames that are installed, of which one must be."""
    if not (installed := list(filter(is_installed, BACKENDS))):
        raise MissingExtraError("pyarrow", "tables")
    return installed


def backend_of(frame: nw.DataFrame[Any]) -> str | None:
    """Return the library of a frame, or None if `frame_of` cannot make frames of it."""
    name = str(frame.implementation)
    return name if name in BACKENDS else None


def _settled(series: nw.Series[Any]) -> nw.Series[Any]:
    """Return a column of pandas in a type of narwhals: sparse columns dense, numbers in the machine's byte order.

    Days of pyarrow that count milliseconds count days.
    """
    if series.dtype != nw.Unknown or not series.implementation.is_pandas():
        return series
    column = series.to_native()
    if str(column.dtype).startswith("Sparse"):
        column = column.sparse.to_dense()
    elif str(column.dtype).startswith("date64"):
        column = column.astype("date32[day][pyarrow]")
    elif isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        column = column.astype(native(np.empty(0, column.dtype)).dtype)
    return nw.from_native(column, series_only=True)


def is_empty(series: nw.Series[Any]) -> bool:
    """Return whether a column has no values and no type that says which it could have."""
    return (
        not str(series.dtype).startswith(("Categorical", "Enum"))
        and series.null_count() == len(series)
        and (series.dtype in (nw.Unknown, nw.Object) or _native(series) == "object")
    )


def _native(series: nw.Series[Any]) -> str:
    return str(series.to_native().dtype) if series.implementation.is_pandas() else ""


def _plain(series: nw.Series[Any], column: str, name: str) -> NDArray[Any] | None:
    """Return a column of numbers as an array; None if the column holds anything else."""
    dtype = series.dtype
    if is_empty(series):
        return np.full(len(series), np.nan)
    if dtype == nw.Object:
        cells = of_objects(_values(series), column, name, "")
        return (
            cells.values
            if cells is not None and cells.numeric and not cells.type.startswith(("Date", "Time", "Duration"))
            else None
        )
    if dtype == nw.String:
        read = of_text(_values(series), column, "", None)
        return read.values if read.numeric and not (read.format or read.note) else None
    if not (dtype.is_numeric() or dtype == nw.Boolean):
        return None
    if not _is_exact(series):
        return None
    whole = dtype.is_integer() or dtype == nw.Boolean
    if dtype.is_decimal() or (whole and (series.null_count() or "128" in str(dtype))):
        series = series.cast(nw.Float64)
    return series.to_numpy()


def _is_exact(series: nw.Series[Any]) -> bool:
    """Return whether double precision holds every integer or decimal of a column: none is beyond 2^53."""
    if not (series.dtype.is_integer() or series.dtype.is_decimal()):
        return True
    ends = [end for end in (series.min(), series.max()) if not is_missing(end)]
    return not ends or max(map(abs, ends)) <= EXACT


def _zone(column: Any) -> str | None:
    """Return the time zone of a column of pandas, UTC where it has no name; None where the column has none."""
    if (zone := getattr(column.dtype, "tz", None)) is None:
        return None
    with contextlib.suppress(ValueError, OSError, ZoneInfoNotFoundError):
        return ZoneInfo(str(zone)).key
    return "UTC"


def _cells(series: nw.Series[Any], name: str, spec: ColumnSpec = None) -> Cells:
    if series.implementation.is_pandas() and series.dtype == nw.Unknown and (zone := _zone(series.to_native())):
        utc = _cells(nw.from_native(series.to_native().dt.tz_convert("UTC"), series_only=True), name, spec)
        native = utc.native if zone == "UTC" else _native(series)
        return replace(utc, type=utc.type.replace("'UTC'", repr(zone)), native=native)
    series = _settled(series)
    dtype, column, own = series.dtype, text_of(series.name), _native(series)
    if (dtype.is_numeric() or dtype == nw.Object) and (digits := _of_digits(series, column, own, spec)) is not None:
        return digits
    if dtype not in (nw.Object, nw.String) and (numbers := _plain(series, column, name)) is not None:
        type_ = str(dtype).replace("128", "64") if dtype.is_numeric() or dtype == nw.Boolean else "Float64"
        return Cells(column, _without_marks(np.asarray(numbers, np.float64), spec), type_, own)
    if dtype in (nw.Date, nw.Datetime):
        return Cells(column, _days_of(series), str(dtype), own)
    if dtype == nw.Duration:
        spans = series.dt.total_microseconds().cast(nw.Float64).to_numpy()
        return Cells(column, np.asarray(spans, np.float64) / SECOND, str(dtype), own)
    if dtype == nw.Time:
        return Cells(column, np.array([seconds_of(value) for value in _values(series)]), "Time", own)
    if dtype in (nw.Categorical, nw.Enum):
        if series.implementation.is_pandas() and own == "category":  # whose order narwhals does not keep
            kept = series.to_native().cat
            categories, ordered = [category_of(one) for one in kept.categories.tolist()], bool(kept.ordered)
        else:
            categories = list(dtype.categories if isinstance(dtype, nw.Enum) else sorted(series.drop_nulls().unique()))
            ordered = False
        there = [category_of(value) for value in series.unique().to_list() if not is_missing(value)]
        read = _levels_of({*categories, *there}, spec)
        kinds = object_array([None if value is None else read[category_of(value)] for value in _values(series)])
        known = dict.fromkeys(one for one in map(read.__getitem__, categories) if one is not None)
        texts = Texts.of(_values(series)) if any(one != level for level, one in read.items() if one) else None
        return Cells(column, kinds, type(dtype).__name__, own, tuple(known), ordered, written=texts)
    values = _values(series)
    if dtype == nw.String:
        return as_text(of_text(values, column, own, spec))
    if dtype.is_integer() or dtype.is_decimal():
        return beyond(column, values, str(dtype), own, spec)
    if dtype == nw.Object and (cells := of_objects(values, column, name, own, spec)) is not None:
        return cells
    odd = next((type(v).__name__ for v in values if v is not None and kind_of(v) == "other"), "")
    what = odd if dtype == nw.Object and odd else own if dtype == nw.Unknown and own else dtype
    return _unread(series, f"it holds {what}, not numbers, text or dates{vectors_advice(values)}")


def _of_digits(series: nw.Series[Any], column: str, own: str, spec: ColumnSpec) -> Cells | None:
    """Return whole numbers that are days such as 20240131, or times of day such as 1730; None for all others."""
    settings = text_settings(column, spec)
    form = settings.learned.pattern if settings.learned else ""
    known = settings.kind == "date" or form == CLOCK
    if not known and (settings.kind or isinstance(spec, Table) or not _may_be_digits(series, column)):
        return None
    if not holds_numbers(series):
        return None
    values = _values(series)
    if not known and any(value is not None and value != int(value) for value in values):
        return None
    written = [None if v is None or v != v else word(float(v) if isinstance(v, float) else int(v)) for v in values]
    different = {text for text in written if text is not None}
    if not (known or are_days(different) or are_clocks(column, different)):
        return None
    cells = of_text(written, column, own, spec)
    return replace(cells, written=None, format=cells.format and replace(cells.format, digits=True))


def _may_be_digits(series: nw.Series[Any], column: str) -> bool:
    ends = (series.min(), series.max()) if series.dtype.is_numeric() else (None,)
    return not any(map(is_missing, ends)) and may_be_compact(column, *ends)


def holds_numbers(series: nw.Series[Any]) -> bool:
    """Return whether a column is one of numbers, or of objects that are numbers where they are there."""
    if series.dtype != nw.Object:
        return bool(series.dtype.is_numeric())
    there = [value for value in series.to_list() if not is_missing(value)]
    return bool(there) and all(isinstance(value, Real) and not isinstance(value, bool) for value in there)


def has_digits(columns: Iterable[nw.Series[Any]]) -> bool:
    """Return whether whole numbers of a column are days or times of day, so that not all columns are features."""
    numeric = (series for series in columns if series.dtype.is_numeric())
    return any(_of_digits(series, text_of(series.name), "", None) is not None for series in numeric)


def _levels_of(levels: Collection[Any], spec: ColumnSpec) -> dict[Any, Any]:
    """Return what categories stand for, as text of files is read: without blanks around, None for a missing cell."""
    marks = MISSING | {mark.strip().lower() for mark in (spec.missing if spec is not None else ())}
    names = {level: level.strip() if isinstance(level, str) else level for level in levels}
    return {level: None if str(name).lower() in marks else name for level, name in names.items()}


def _days_of(series: nw.Series[Any]) -> NDArray[np.float64]:
    """Return dates or times as days since 1970."""
    if series.implementation.is_pyarrow():  # which refuses to leave out nanoseconds
        native = series.to_native()
        stamps = native.to_numpy().astype("datetime64[us]") if series.dtype == nw.Date else native.cast(
            importlib.import_module("pyarrow").timestamp("us"), safe=False).to_numpy()  # fmt: skip
        return np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64) / DAY)
    micros = series.cast(nw.Datetime("us", getattr(series.dtype, "time_zone", None)))
    return np.asarray(micros.dt.timestamp("us").cast(nw.Float64).to_numpy(), np.float64) / DAY


def _without_marks(values: NDArray[np.float64], spec: ColumnSpec) -> NDArray[np.float64]:
    """Return numbers, NaN where one is a further mark of missing cells, such as -99."""
    marks = [float(m) for m in (spec.missing if spec is not None else ()) if PLAIN.fullmatch(m.strip())]
    return np.where(np.isin(values, marks), np.nan, values) if marks else values


def _values(series: nw.Series[Any]) -> list[Any]:
    """Return the values of a column, None where one is missing."""
    if series.dtype == nw.String:
        texts = object_array(series.to_list())
        texts[np.asarray(series.is_null().to_numpy(), dtype=bool)] = None
        return list(texts)
    return [None if is_missing(value) else value for value in series.to_list()]


def _unread(series: nw.Series[Any], why: str) -> Cells:
    """Return a column whose cells are kept as they are, and not read."""
    return Cells(text_of(series.name), object_array(series.to_list()), "Object", _native(series), unread=why)


def category_of(value: Any) -> Any:
    """Return a category that is text or a number as it is; others, intervals for instance, as text."""
    return value if isinstance(value, str | bool | int | float) else str(value)


def is_installed(backend: str) -> bool:
    """Return whether a library can be imported."""
    try:
        importlib.import_module(backend)
    except ImportError:
        return False
    return True
