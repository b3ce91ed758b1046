"""Data frames of any library, through narwhals: columns of cells from a frame, and a frame from columns of cells."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from latentmap.data.columns import DAY, Cells, Column, Table
from latentmap.data.schema import require_exact
from latentmap.exceptions import DataError, MissingExtraError

BACKENDS = ("pandas", "polars", "pyarrow")


def cells_of(columns: Iterable[nw.Series[Any]], name: str = "X") -> list[Cells]:
    """Give the columns of a frame as cells.

    Raises
    ------
    DataError
        If a column holds lists, or other things that are neither numbers, text nor dates.

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
    """Make a data frame of rows of numbers (n, P), with the types and categories of the table.

    Parameters
    ----------
    table
        What the numbers stand for.
    rows
        Numbers, as `Table.encode` makes them.
    like
        A frame with as many rows, whose library and index it gets; else those of the table, or the first of pandas,
        polars and pyarrow that is installed.

    Raises
    ------
    MissingExtraError
        If none is.
    """
    origin = nw.from_native(like, eager_only=True, pass_through=True)
    asked = str(origin.implementation) if isinstance(origin, nw.DataFrame) else table.backend
    found = sorted(filter(_there, BACKENDS), key=lambda backend: backend != asked)
    if not found:
        raise MissingExtraError("pyarrow", "tables")
    backend: Any = found[0]
    cells = table.decode(rows)
    if backend == "pandas":
        import pandas as pd

        series = {c.name: _pandas_series(pd, c, cells[c.name]) for c in table.columns}
        frame = pd.DataFrame(series)
        return frame.set_axis(like.index) if isinstance(like, pd.DataFrame) else frame
    plain = {name: values.tolist() if values.dtype.kind == "O" else values for name, values in cells.items()}
    made = nw.from_dict(plain, backend=backend)
    return made.with_columns(*(nw.col(c.name).cast(_dtype(c)) for c in table.columns)).to_native()


def backend_of(frame: nw.DataFrame[Any]) -> str | None:
    """Name the library of a frame, if rows can be given back in it."""
    name = str(frame.implementation)
    return name if name in BACKENDS else None


def _cells(series: nw.Series[Any], name: str) -> Cells:
    dtype, known = series.dtype, str(series.name)
    native = str(series.to_native().dtype) if series.implementation.is_pandas() else ""
    if dtype.is_numeric() or dtype == nw.Boolean:
        if dtype.is_integer():
            require_exact(series.drop_nulls().to_numpy()[:, None], name, [known])
        return Cells(known, _numbers(series), str(dtype), native)
    if dtype in (nw.Date, nw.Datetime):
        micros = series.cast(nw.Datetime("us", getattr(dtype, "time_zone", None)))
        days = _numbers(micros.dt.timestamp("us")) / DAY
        return Cells(known, days, str(dtype), native)
    values = np.empty(len(series), dtype=object)
    values[:] = [None if v is None or v != v else v for v in series.to_list()]
    if dtype in (nw.Categorical, nw.Enum):
        if series.implementation.is_pandas():  # whose order narwhals does not keep
            own = series.to_native().cat
            categories, ordered = tuple(own.categories.tolist()), bool(own.ordered)
        else:
            known_ones = dtype.categories if isinstance(dtype, nw.Enum) else sorted(series.drop_nulls().unique())
            categories, ordered = tuple(known_ones), False
        return Cells(known, values, type(dtype).__name__, native, categories, ordered)
    if dtype in (nw.String, nw.Object) and all(v is None or isinstance(v, str | bool | int | float) for v in values):
        kinds = {type(v) for v in values} - {type(None)}
        if len(kinds) > 1 and str in kinds:
            first = next(i for i, v in enumerate(values) if v is not None and type(v) is not type(_first(values)))
            raise DataError(
                f"{name}: column {known!r} mixes types: row {first + 1} holds {values[first]!r}, "
                f"the rows above {_first(values)!r}; make all of it text, or all of it numbers"
            )
        return Cells(known, values, "String", native)
    advice = f"drop it, or use it as labels with labels={known!r} (--labels {known})"
    raise DataError(f"{name}: column {known!r} holds {dtype}, not numbers, text or dates: {advice}")


def _first(values: NDArray[Any]) -> Any:
    return next(v for v in values if v is not None)


def _numbers(series: nw.Series[Any]) -> NDArray[np.float64]:
    return np.asarray(series.cast(nw.Float64).to_numpy(), np.float64)


def _there(backend: str) -> bool:
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
    series = pd.Series(cells)
    return series.astype(column.native) if column.native else series


def _dtype(column: Column) -> Any:
    """The type of narwhals that a name stands for."""
    if column.type.startswith("Datetime"):
        unit, zone = re.search(r"time_unit='(\w+)'", column.type), re.search(r"time_zone='([^']+)'", column.type)
        return nw.Datetime(unit[1] if unit else "us", zone[1] if zone else None)  # type: ignore[arg-type]
    if column.type == "Enum":
        return nw.Enum(column.categories)
    if column.type.startswith("Decimal"):
        return nw.Float64
    return getattr(nw, column.type)
