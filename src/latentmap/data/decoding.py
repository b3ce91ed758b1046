"""Rows of numbers as data frames of any library, with the types, index and names that came."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Sequence
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from latentmap.data.cells import decimal_of, unit_of, zone_of
from latentmap.data.checks import EXACT
from latentmap.data.columns import Cells, Column, Table, object_array
from latentmap.data.frames import holds_numbers, installed_backends, is_empty
from latentmap.data.heading import Heading, text_of
from latentmap.data.names import as_known
from latentmap.data.native import pandas_series, pandas_text, pandas_type
from latentmap.data.text_compact import CLOCK
from latentmap.data.values import is_missing
from latentmap.exceptions import LatentmapError, ModelError
from latentmap.messages import error_line


def frame_of(
    table: Table, rows: NDArray[Any], like: Any = None, *, generated: bool = False, given: Sequence[Cells] = ()
) -> Any:
    """Return rows of numbers (n, P) as a data frame with the types and categories of the table.

    Parameters
    ----------
    table
        The columns that the numbers encode.
    rows
        Numbers, as `Table.encode` returns them.
    like
        A frame with as many rows, of which the result takes library, index and names; by default the library is that of
        the table, else the first of pandas, polars and pyarrow that is installed.
    generated
        Whether a model made the numbers, which are then kept within what each column can hold.
    given
        The columns that came, where rows have been filled: all of them come back in their order, and cells that were
        there as they were.
    """
    with describable():
        return _frame_of(table, rows, like, generated=generated, given=given)


@contextlib.contextmanager
def describable() -> Iterator[None]:
    """Turn any error while numbers become cells into a `ModelError`: whatever a run says of its columns, one line.

    >>> with describable():
    ...     np.array([0.0]).astype("no type")
    Traceback (most recent call last):
    latentmap.exceptions.ModelError: rows do not become a table as the model describes it (data type 'no type' not ...
    """
    try:
        yield
    except LatentmapError:
        raise
    except Exception as error:
        raise ModelError(f"rows do not become a table as the model describes it ({error_line(error)})") from error


def _frame_of(table: Table, rows: NDArray[Any], like: Any, *, generated: bool, given: Sequence[Cells]) -> Any:
    origin = nw.from_native(like, eager_only=True, pass_through=True)
    columns = list(origin.iter_columns()) if isinstance(origin, nw.DataFrame) else []
    spelled = as_known([text_of(c.name) for c in columns], {*table.names, *table.order, *table.kinds})
    came = dict(zip(spelled, columns, strict=True))
    telling = {n: column for n, column in came.items() if not _is_open(column)}
    texts = {n for n in table.texts if n not in telling and (table.backend or n in table.words)}
    texts |= {n for n, column in table.kinds.items() if n in telling and _is_text(came[n]) and column.type != "String"}
    digits = {n for n, c in telling.items() if n in table.kinds and _is_digits(c, table.kinds[n])}
    texts |= digits
    if given:
        cells = table.completed(rows, given, texts)
        for one in given:
            if one.name in texts - digits and one.name in came:  # as it was written, where it was
                cells[one.name] = np.where(table.stays(one), object_array(came[one.name].to_list()), cells[one.name])
    else:
        cells = table.decode(rows, generated=generated, written=texts)
    digits |= {n for n in texts if (form := table.kinds[n].format) is not None and form.digits and n not in telling}
    for name in digits:  # 20011229
        cells[name] = np.array([None if one is None else int(one) for one in cells[name].tolist()])
    kinds = {name: column for name, column in table.kinds.items() if name not in texts}
    stays = {c.name: table.stays(c) for c in given if c.name in came}
    preferred = str(origin.implementation) if isinstance(origin, nw.DataFrame) else table.backend
    backend: Any = min(installed_backends(), key=lambda backend: backend != preferred)
    if backend != "pandas":
        series = {name: _series(kinds.get(name), name, values, backend) for name, values in cells.items()}
        own = {name: came[name] for name in stays} if backend == preferred else {}
        own = {n: c for n, c in own.items() if n in telling or (c.dtype.is_float() and series[n].dtype.is_numeric())}
        series |= {name: _kept(one, series[name], stays[name]) for name, one in own.items()}
        library = importlib.import_module(backend)
        make = library.DataFrame if backend == "polars" else library.table  # narwhals turns an Enum into a Categorical
        return make({str(came[name].name) if name in came else name: one.to_native() for name, one in series.items()})
    import pandas as pd

    natives: dict[str, Any] = {}
    for name, values in cells.items():
        own_type = came[name].to_native().dtype if name in came else None
        column = table.kinds.get(name)
        made = pandas_text(column, values) if name in texts else pandas_series(column, values, own_type)
        made = made.astype(own_type or pandas_type(column.native)) if name in digits and column else made
        natives[name] = _filled(came[name].to_native(), made, stays[name]) if name in stays else made
    return _named(pd.DataFrame(natives), table, like, spelled)


def _named(frame: Any, table: Table, like: Any, spelled: Sequence[str]) -> Any:
    """Return a frame of pandas with the index of another one, and names of columns as there or as in the fit."""
    heading = table.heading or Heading({})
    if type(like) is not type(frame):
        return frame if table.heading is None else frame.set_axis(heading.index(frame), axis=1)
    frame, places = frame.set_axis(like.index), {name: i for i, name in enumerate(spelled)}
    if all(name in places for name in frame):
        return frame.set_axis(like.columns[[places[name] for name in frame]], axis=1)
    own = Heading.of(like.columns) or Heading({})
    known = {name: own.names.get(text_of(like.columns[i]), like.columns[i]) for name, i in places.items()}
    both = Heading({**heading.names, **known}, own.levels)
    return frame.set_axis(both.index(frame), axis=1)


def _filled(own: Any, made: Any, there: NDArray[np.bool_]) -> Any:
    """Return a column of pandas with cells that were made where there were none; all made if its type holds none."""
    own = own.reset_index(drop=True)
    if there.all():
        return own
    try:
        filled = own.where(there, made.astype(own.dtype))
    except (TypeError, ValueError):
        return made
    return filled if filled.dtype == made.dtype or made.dtype == object or not own.isna().any() else made


def _kept(own: nw.Series[Any], made: nw.Series[Any], there: NDArray[np.bool_]) -> nw.Series[Any]:
    """Return a column of polars or pyarrow with cells that were made where there were none, in its own type."""
    if there.all():
        return own
    mask: nw.Series[Any] = nw.new_series("", there, nw.Boolean, backend=own.implementation)
    kept: nw.Series[Any] = own.zip_with(mask, in_type_of(own, made))
    return kept


def in_type_of(own: nw.Series[Any], made: nw.Series[Any]) -> nw.Series[Any]:
    """Return a column in the type of another one of polars or pyarrow, with its precision, unit or categories."""
    native = own.to_native()
    type_ = native.type if own.implementation.is_pyarrow() else native.dtype
    cast: nw.Series[Any] = nw.from_native(made.to_native().cast(type_), series_only=True).alias(own.name)
    return cast


def _is_open(series: nw.Series[Any]) -> bool:
    """Return whether a column may be of any type: no cell is there, and its type is what missing cells alone have."""
    if series.dtype.is_float():
        return bool((series.is_null() | series.is_nan()).all())
    return is_empty(series) or (series.dtype.is_numeric() and series.null_count() == len(series))


def _is_text(series: nw.Series[Any]) -> bool:
    """Return whether most cells of a column that are there are text."""
    if series.dtype != nw.Object:
        return bool(series.dtype == nw.String)
    there = [value for value in series.to_list() if not is_missing(value)]
    return 2 * sum(isinstance(value, str) for value in there) > len(there)


def _is_digits(series: nw.Series[Any], column: Column) -> bool:
    """Return whether a column of numbers writes days or times of day, as 20011229 or 1730."""
    form = column.format
    return form is not None and holds_numbers(series) and (form.kind == "date" or form.pattern == CLOCK)


def _series(column: Column | None, name: str, cells: NDArray[Any], backend: Any) -> nw.Series[Any]:
    """Return cells as a column of polars or pyarrow, of the type of the fit where it is part of the table."""
    plain = cells.tolist() if cells.dtype.kind == "O" else cells
    exact = isinstance(plain, list) and any(isinstance(value, int) and abs(value) > EXACT for value in plain)
    if exact and any(isinstance(value, float) for value in plain):  # no type holds both
        plain = [None if value is None else str(value) for value in plain]
    series = nw.new_series(name, plain, _whole_type(plain), backend=backend)
    if column is None or (exact and not column.categories):
        return series
    if (decimal := decimal_of(column.type)) is not None and not column.categories:
        return _decimals(series, *decimal)
    return series.cast(_dtype(column))


def _decimals(series: nw.Series[Any], precision: int, scale: int) -> nw.Series[Any]:
    """Return numbers of polars or pyarrow as decimals, whose type narwhals does not cast to."""
    is_polars = series.implementation.is_polars()
    library = importlib.import_module("polars" if is_polars else "pyarrow")
    type_ = library.Decimal(precision, scale) if is_polars else library.decimal128(precision, scale)
    cast: nw.Series[Any] = nw.from_native(series.to_native().cast(type_), series_only=True).alias(series.name)
    return cast


def _whole_type(values: Any) -> Any:
    """Return the type of whole numbers that 64 bits with a sign do not hold; None for all else, which is inferred."""
    large = isinstance(values, list) and any(isinstance(value, int) and value >= 2**63 for value in values)
    return nw.UInt64 if large else None


def _dtype(column: Column) -> Any:
    """Return the type of narwhals by its name."""
    if column.type.startswith("Datetime"):
        zone = zone_of(column.type)
        known = zone if zone is None or not zone.startswith("UTC") else "UTC"
        return nw.Datetime(unit_of(column.type), known)
    if column.type == "Enum":
        return nw.Enum([str(category) for category in column.categories])
    if column.type.startswith("Decimal"):
        return nw.Float64
    if column.type.startswith("Duration"):
        return nw.Duration(unit_of(column.type))
    found = getattr(nw, column.type, None)
    if not (isinstance(found, type) and issubclass(found, nw.dtypes.DType)):
        raise ModelError(f"column {column.name!r} has no type that is known: {column.type!r:.40}")
    return found
