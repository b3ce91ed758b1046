"""Cells as columns of pandas, of the types that pandas' own, pyarrow's or Python's objects have."""

from __future__ import annotations

import importlib
import re
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.cells import decimal_of, zone_of
from latentmap.data.column import Column
from latentmap.data.frames import category_of

ARROW = "[pyarrow]"
"""The end of pandas' names of types of pyarrow."""
TEXT = re.compile(r"string(\[\w+\])?|str|large_string\[pyarrow\]")


def pandas_text(column: Column | None, cells: NDArray[Any]) -> Any:
    """Return cells of text as a column of pandas, of the type of the fit if that is one of text."""
    import pandas as pd

    native = "" if column is None else column.native
    return pd.Series(cells, dtype=pandas_type(native) if TEXT.fullmatch(native) else None)


def pandas_series(column: Column | None, cells: NDArray[Any], own: Any = None) -> Any:
    """Return cells as a column of pandas, of the type of the fit; categories as those of the type ``own``."""
    import pandas as pd

    if column is None:
        return pd.Series(cells)
    if column.native == "category":
        return _categories(pd, column, cells, own)
    if column.native.endswith(ARROW):
        return _of_arrow(pd, column, cells)
    if zone := zone_of(column.type):
        times = pd.Series(cells).dt.tz_localize("UTC").dt.tz_convert(zone)
        return times.astype(column.native or times.dtype)
    if column.native == "object" and (decimal := decimal_of(column.type)) and not column.categories:
        return pd.Series([None if v != v else Decimal(f"{v:.{decimal[1]}f}") for v in cells.tolist()], dtype=object)
    if column.native == "object" and column.type == "Date":
        cells = cells.astype(object)
    series = pd.Series(cells)
    if column.other is not None and column.native != "object" and series.isna().any():  # rare numbers
        numpy = isinstance(pandas_type(column.native), np.dtype)  # whose integers are never missing
        return pd.Series(cells.tolist(), dtype="float64" if numpy else pandas_type(column.native))
    return series.astype(pandas_type(column.native)) if column.native else series


def pandas_type(name: str) -> Any:
    """Return the type of pandas that has a name, with the types of pyarrow that pandas reads from no name.

    >>> pandas_type("decimal128(10, 2)[pyarrow]"), pandas_type("Int64")
    (decimal128(10, 2)[pyarrow], Int64Dtype())
    """
    import pandas as pd

    if name.endswith(ARROW):
        return pd.ArrowDtype(_arrow_type(name.removesuffix(ARROW)))
    return pd.api.types.pandas_dtype(name)


def _arrow_type(name: str) -> Any:
    """Return the type of pyarrow that prints as a name."""
    lib = importlib.import_module("pyarrow")
    if decimal := re.fullmatch(r"decimal(\d+)\((\d+), (-?\d+)\)", name):
        return getattr(lib, f"decimal{int(decimal[1])}")(int(decimal[2]), int(decimal[3]))
    if stamp := re.fullmatch(r"timestamp\[(\w+), tz=(.+)\]", name):
        return lib.timestamp(stamp[1], stamp[2])
    if words := re.fullmatch(r"dictionary<values=(\w+), indices=(\w+), ordered=([01])>", name):
        values, indices = (lib.type_for_alias(words[i]) for i in (1, 2))
        return lib.dictionary(indices, values, ordered=words[3] == "1")
    return lib.type_for_alias(name)


def _of_arrow(pd: Any, column: Column, cells: NDArray[Any]) -> Any:
    """Return cells as a column of pandas that pyarrow holds."""
    lib, type_ = importlib.import_module("pyarrow"), pandas_type(column.native)
    own = type_.pyarrow_dtype
    plain = lib.array(cells, from_pandas=True)
    if zone_of(column.type):
        plain = plain.cast(lib.timestamp("us", "UTC"))
    elif lib.types.is_dictionary(own):
        return pd.Series(pd.array(cells.tolist(), dtype=type_))
    return pd.Series(pd.arrays.ArrowExtensionArray(plain.cast(own, safe=False)))


def _categories(pd: Any, column: Column, cells: NDArray[Any], own: Any) -> Any:
    """Return cells as a column of categories: as those of the type ``own``, where it has all of them."""
    known = {category_of(value): i for i, value in enumerate(getattr(own, "categories", ()))}
    if known and known.keys() >= set(cells.tolist()) - {None}:  # intervals, for instance, which are text in the fit
        return pd.Series(pd.Categorical.from_codes([known.get(cell, -1) for cell in cells.tolist()], dtype=own))
    new = [one for one in known if one not in column.categories]
    return pd.Series(pd.Categorical(cells, categories=[*column.categories, *new], ordered=column.ordered))
