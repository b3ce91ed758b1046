"""Rows of numbers as data frames of any library, with the types, index and names that came."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from latentmap.data.columns import Cells, Column, Table, object_array
from latentmap.data.frames import installed_backends
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
    came = {str(c.name): c for c in origin.iter_columns()} if isinstance(origin, nw.DataFrame) else {}
    texts = {n for n in table.texts if n not in came and (table.backend or n in table.words)}
    texts |= {n for n, column in table.kinds.items() if n in came and _is_text(came[n]) and column.type != "String"}
    if given:
        cells = table.completed(rows, given, texts)
        for one in given:
            if one.name in texts and one.name in came:  # as it was written, where it was
                there = ~np.isnan(table.kinds[one.name].encode(one, "missing", one.name))
                cells[one.name] = np.where(there, object_array(came[one.name].to_list()), cells[one.name])
    else:
        cells = table.decode(rows, generated=generated, written=texts)
    kinds = {name: column for name, column in table.kinds.items() if name not in texts}
    whole = {c.name for c in given if c.name in came and table.is_whole(c)}
    preferred = str(origin.implementation) if isinstance(origin, nw.DataFrame) else table.backend
    backend: Any = min(installed_backends(), key=lambda backend: backend != preferred)
    if backend != "pandas":
        as_came = backend == preferred
        series = {
            name: came[name] if as_came and name in whole else _series(kinds.get(name), name, values, backend)
            for name, values in cells.items()
        }
        return nw.from_dict(series, backend=backend).to_native()
    import pandas as pd

    known = {c.name: ~np.isnan(table.kinds[c.name].encode(c, "missing", c.name)) for c in given if c.name in kinds}
    natives: dict[str, Any] = {}
    for name, values in cells.items():
        if name in whole:
            natives[name] = came[name].to_native().array
            continue
        made = _pandas_series(pd, kinds.get(name), values)
        natives[name] = _filled(came[name].to_native(), made, known[name]) if name in came and name in known else made
    frame = pd.DataFrame(natives)
    if not isinstance(like, pd.DataFrame):
        return frame
    own = {str(column): column for column in like.columns}
    labels = [own.get(name, name) for name in cells]
    if isinstance(like.columns, pd.MultiIndex) and all(name in own for name in cells):
        labels = pd.MultiIndex.from_tuples(labels, names=like.columns.names)
    return frame.set_axis(like.index).set_axis(labels, axis=1).rename_axis(columns=like.columns.names)


def _filled(own: Any, made: Any, there: NDArray[np.bool_]) -> Any:
    """Return a column of pandas with cells that were made where there were none; all made if its type holds none."""
    own = own.reset_index(drop=True)
    try:
        filled = own.where(there, made.astype(own.dtype))
    except (TypeError, ValueError):
        return made
    return filled if filled.dtype == made.dtype or not own.isna().any() else made


def _is_text(series: nw.Series[Any]) -> bool:
    return series.dtype == nw.String or (
        series.dtype == nw.Object and any(isinstance(v, str) for v in series.to_list())
    )


def _series(column: Column | None, name: str, cells: NDArray[Any], backend: Any) -> nw.Series[Any]:
    """Return cells as a column of polars or pyarrow, of the type of the fit where it is part of the table."""
    plain = cells.tolist() if cells.dtype.kind == "O" else cells
    series = nw.new_series(name, plain, backend=backend)
    return series if column is None else series.cast(_dtype(column))


def _pandas_series(pd: Any, column: Column | None, cells: NDArray[Any]) -> Any:
    if column is None:
        return pd.Series(cells)
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
    if column.type.startswith("Duration"):
        return nw.Duration("us")
    found = getattr(nw, column.type, None)
    if not (isinstance(found, type) and issubclass(found, nw.dtypes.DType)):
        raise ModelError(f"column {column.name!r} has no type that is known: {column.type!r:.40}")
    return found
