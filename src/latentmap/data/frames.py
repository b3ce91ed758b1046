"""Data frames of any library, through narwhals: a frame as columns of cells, and columns of cells as a frame."""

from __future__ import annotations

import importlib
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import narwhals as nw
import numpy as np
from narwhals.exceptions import DuplicateError
from numpy.typing import NDArray

from latentmap.data.checks import BEYOND, EXACT, place
from latentmap.data.columns import DAY, EPOCH, Cells, Column, Table, date_type, days_since_epoch, object_array
from latentmap.data.formats.base import unique_names
from latentmap.data.values import as_numbers, is_missing, is_number, native, plain_array
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
    unique_names([str(column) for column in names], name)
    kinds = sorted({type(column).__name__ for column in names})
    if len(kinds) > 1 and "str" in kinds:
        raise DataError(
            f"{name} has columns whose names are of types {' and '.join(kinds)}: expected text in all of them or in "
            f"none; {name}.columns = {name}.columns.astype(str) makes them so"
        )
    return frame


def columns_of(frame: nw.DataFrame[Any]) -> dict[str, nw.Series[Any]]:
    """Return the columns of a frame by name, which may have been a number."""
    return {str(column.name): _settled(column) for column in frame.iter_columns()}


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
    """Return the error that says which columns of a frame do not hold numbers."""
    others = {column: series.dtype for column, series in columns.items() if _plain(series, column, name) is None}
    return DataError(
        f"{name}: expected numeric columns{like} got {', '.join(map(repr, list(others)[:5]))} of type "
        f"{next(iter(others.values()))}; drop them, or encode them as numbers"
    )


def cells_of(columns: Iterable[nw.Series[Any]], name: str = "X") -> list[Cells]:
    """Return the columns of a frame as cells.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = nw.from_native(pd.DataFrame({"species": ["elm", None]}), eager_only=True)
    >>> cells = cells_of(frame.iter_columns())
    >>> cells[0].values.tolist()
    ['elm', None]
    """
    return [_cells(series, name) for series in columns]


def frame_of(table: Table, rows: NDArray[Any], like: Any = None) -> Any:
    """Return rows of numbers (n, P) as a data frame with the types and categories of the table.

    Parameters
    ----------
    table
        The columns that the numbers encode.
    rows
        Numbers, as `Table.encode` returns them.
    like
        A frame with as many rows, of which the result takes library and index; by default the library is that of the
        table, else the first of pandas, polars and pyarrow that is installed.
    """
    origin = nw.from_native(like, eager_only=True, pass_through=True)
    preferred = str(origin.implementation) if isinstance(origin, nw.DataFrame) else table.backend
    backend: Any = min(installed_backends(), key=lambda backend: backend != preferred)
    cells = table.decode(rows)
    if backend == "pandas":
        import pandas as pd

        series = {c.name: _pandas_series(pd, c, cells[c.name]) for c in table.columns}
        frame = pd.DataFrame(series)
        if not isinstance(like, pd.DataFrame):
            return frame
        own = {str(column): column for column in like.columns}
        return frame.set_axis(like.index).set_axis([own.get(c.name, c.name) for c in table.columns], axis=1)
    plain = {name: values.tolist() if values.dtype.kind == "O" else values for name, values in cells.items()}
    typed = (nw.col(c.name).cast(_dtype(c)) for c in table.columns)
    return nw.from_dict(plain, backend=backend).with_columns(*typed).to_native()


def empty_frame(names: Sequence[str]) -> Any:
    """Return a data frame of the first library that is installed, without rows; None if none is."""
    backend: Any = next(filter(_is_installed, BACKENDS), None)
    return None if backend is None else nw.from_dict({name: [] for name in names}, backend=backend).to_native()


def installed_backends() -> list[str]:
    """Return the libraries of data frames that are installed, of which one must be."""
    if not (installed := list(filter(_is_installed, BACKENDS))):
        raise MissingExtraError("pyarrow", "tables")
    return installed


def backend_of(frame: nw.DataFrame[Any]) -> str | None:
    """Return the library of a frame, or None if `frame_of` cannot make frames of it."""
    name = str(frame.implementation)
    return name if name in BACKENDS else None


def _settled(series: nw.Series[Any]) -> nw.Series[Any]:
    """Return a column of pandas in a type of narwhals: sparse columns dense, numbers in the machine's byte order."""
    if series.dtype != nw.Unknown or not series.implementation.is_pandas():
        return series
    column = series.to_native()
    if str(column.dtype).startswith("Sparse"):
        column = column.sparse.to_dense()
    elif isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        column = column.astype(native(np.empty(0, column.dtype)).dtype)
    return nw.from_native(column, series_only=True)


def _is_empty(series: nw.Series[Any]) -> bool:
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
    if _is_empty(series):
        return np.full(len(series), np.nan)
    if dtype == nw.Object:
        cells = _of_objects(series, column, name)
        return cells.values if cells is not None and cells.numeric and not cells.type.startswith("Date") else None
    if not (dtype.is_numeric() or dtype == nw.Boolean):
        return None
    _require_exact(series, column, name)
    whole = dtype.is_integer() or dtype == nw.Boolean
    if dtype.is_decimal() or (whole and (series.null_count() or "128" in str(dtype))):
        series = series.cast(nw.Float64)
    return series.to_numpy()


def _require_exact(series: nw.Series[Any], column: str, name: str) -> None:
    """Raise if a column holds integers or decimals beyond 2^53."""
    if not (series.dtype.is_integer() or series.dtype.is_decimal()):
        return
    ends = [end for end in (series.min(), series.max()) if not is_missing(end)]
    if ends and max(map(abs, ends)) > EXACT:
        row = next(i for i, value in enumerate(series.to_list()) if not is_missing(value) and abs(value) > EXACT)
        raise DataError(f"{name}: {series.to_list()[row]} at {place([row, 0], names=[column])} {BEYOND}")


def _cells(series: nw.Series[Any], name: str) -> Cells:
    series = _settled(series)
    dtype, column, own = series.dtype, str(series.name), _native(series)
    if dtype != nw.Object and (numbers := _plain(series, column, name)) is not None:
        type_ = str(dtype).replace("128", "64") if dtype.is_numeric() or dtype == nw.Boolean else "Float64"
        return Cells(column, np.asarray(numbers, np.float64), type_, own)
    if dtype in (nw.Date, nw.Datetime):
        micros = series.cast(nw.Datetime("us", getattr(dtype, "time_zone", None)))
        days = np.asarray(micros.dt.timestamp("us").cast(nw.Float64).to_numpy(), np.float64) / DAY
        return Cells(column, days, str(dtype), own)
    if dtype in (nw.Categorical, nw.Enum):
        if series.implementation.is_pandas() and own == "category":  # whose order narwhals does not keep
            kept = series.to_native().cat
            categories, ordered = [_category(one) for one in kept.categories.tolist()], bool(kept.ordered)
        else:
            categories = list(dtype.categories if isinstance(dtype, nw.Enum) else sorted(series.drop_nulls().unique()))
            ordered = False
        values = object_array([None if is_missing(v) else _category(v) for v in series.to_list()])
        return Cells(column, values, type(dtype).__name__, own, tuple(categories), ordered)
    if dtype == nw.String:
        return Cells(column, object_array([None if is_missing(v) else v for v in series.to_list()]), "String", own)
    if dtype == nw.Object and (cells := _of_objects(series, column, name)) is not None:
        return cells
    kind = own if dtype == nw.Unknown and own else dtype
    advice = f"drop it, or use it as labels with labels={column!r} (--labels {column})"
    raise DataError(f"{name}: column {column!r} holds {kind}, not numbers, text or dates: {advice}")


def _of_objects(series: nw.Series[Any], column: str, name: str) -> Cells | None:
    """Return a column of Python's objects as numbers, dates or text; None if they are anything else."""
    values = [None if is_missing(value) else value for value in series.to_list()]
    present = [(i, value) for i, value in enumerate(values) if value is not None]
    kinds = {kind: i for i, value in reversed(present) if (kind := _kind_of(value)) != "boolean"}
    if len(kinds) > 1 and "other" not in kinds:
        first, then = sorted(kinds.values())[:2]
        raise DataError(
            f"{name}: column {column!r} mixes types: row {then + 1} holds {values[then]!r}, the rows above "
            f"{values[first]!r}; make all of it text, or all of it numbers"
        )

    def where(row: int) -> str:
        return place([row, 0], names=[column])

    own, kind = _native(series), next(iter(kinds), "boolean")
    match kind:
        case "boolean":
            return Cells(column, as_numbers(values, name, where), "Boolean", own)
        case "number":
            whole = all(isinstance(value, numbers.Integral) for _, value in present)
            return Cells(column, as_numbers(values, name, where), "Int64" if whole else "Float64", own)
        case "text":
            return Cells(column, object_array(values), "String", own)
        case "date" | "time" | "time with zone":
            days = np.array([np.nan if value is None else _days(value) for value in values])
            return Cells(column, days, date_type(days=kind == "date", zoned=kind == "time with zone"), own)
    return None


def _kind_of(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "boolean"
    if isinstance(value, str):
        return "text"
    if isinstance(value, datetime | np.datetime64):
        return "time with zone" if getattr(value, "tzinfo", None) is not None else "time"
    if isinstance(value, date):
        return "date"
    return "number" if is_number(value) else "other"


def _days(value: Any) -> float:
    """Return the days since 1970 of a date or time."""
    if isinstance(value, np.datetime64):
        return float(value.astype("datetime64[us]").astype(np.int64) / DAY)
    if not isinstance(value, datetime):
        return float(value.toordinal() - EPOCH.toordinal())
    return days_since_epoch(value)


def _category(value: Any) -> Any:
    """Return a category that is text or a number as it is; others, intervals for instance, as text."""
    return value if isinstance(value, str | bool | int | float) else str(value)


def _is_installed(backend: str) -> bool:
    try:
        importlib.import_module(backend)
    except ImportError:
        return False
    return True


def _pandas_series(pd: Any, column: Column, cells: NDArray[Any]) -> Any:
    if column.native == "category":
        return pd.Series(pd.Categorical(cells, categories=list(column.categories), ordered=column.ordered))
    if zone := re.search(r"datetime64\[\w+, (.+)\]", column.native):
        return pd.Series(cells).dt.tz_localize("UTC").dt.tz_convert(zone[1]).astype(column.native)
    if column.native == "object" and column.type == "Date":
        cells = cells.astype(object)
    series = pd.Series(cells)
    return series.astype(column.native) if column.native else series


def _dtype(column: Column) -> Any:
    """Return the type of narwhals by its name."""
    if column.type.startswith("Datetime"):
        unit, zone = re.search(r"time_unit='(\w+)'", column.type), re.search(r"time_zone='([^']+)'", column.type)
        return nw.Datetime(unit[1] if unit else "us", zone[1] if zone else None)  # type: ignore[arg-type]
    if column.type == "Enum":
        return nw.Enum(column.categories)
    if column.type.startswith("Decimal"):
        return nw.Float64
    return getattr(nw, column.type)
