"""Descriptions of data and of their columns, for people."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from latentmap.messages import counted

if TYPE_CHECKING:
    from latentmap.data.columns import Column
    from latentmap.data.schema import Schema
    from latentmap.data.sources import Source


LARGEST_READ = 2**28
"""The most bytes of rows that are all read to be described."""
MOST_NAMED = 1000
"""The most columns that are told of."""
MOST_ODD = 5
"""The most columns that are listed as constant or ids."""


def describe_source(source: Source) -> str:
    """Return a description of data in one line.

    >>> from latentmap.data.sources import open_source
    >>> describe_source(open_source("digits"))
    'digits: 1,797 rows of 8 x 8, whole numbers from 0 to 16 (uint8, image), labelled by digit (10 classes)'
    """
    labels = labels_in_words(source)
    rows = describe_schema(source.schema) if source.table is None else describe_table(source)
    parts = [rows, labels and f"labelled by {labels}", source.remark, numbers_alone(source)]
    return f"{source.name}: {', '.join(part for part in parts if part)}"


def numbers_alone(source: Source) -> str | None:
    """Return how kinds are inferred where a table is fitted as an array, with its constants and ids; None elsewhere."""
    import numpy as np

    from latentmap.data.cells import Cells
    from latentmap.data.identifiers import is_id_name

    names = source.schema.names
    small = len(source) * source.first.nbytes <= LARGEST_READ
    if source.table is not None or not names or len(names) > MOST_NAMED or source.is_sparse or not small:
        return None
    rows = np.asarray(source.read(slice(None)), np.float64).reshape(len(source), -1)
    summaries = {name: Cells(name, rows[:, i]).measured for i, name in enumerate(names)}
    odd = [f"{name!r} never varies" for name, one in summaries.items() if one.lowest == one.highest]
    odd += [f"{name!r} is called as ids are" for name in names if is_id_name(name)]
    listed = f"; {', '.join(odd[:MOST_ODD])}{', ...' if len(odd) > MOST_ODD else ''}" if odd else ""
    return f"numbers alone, fitted as an array: --columns auto infers a kind for each column{listed}"


def describe_schema(schema: Schema) -> str:
    """Return the number of rows, their shape and their values in words."""
    return f"{counted(schema.n_rows, 'row')} of {shape_in_words(schema.event_shape)}, {values_in_words(schema)}"


def describe_table(source: Source) -> str:
    """Return the number of rows, and of columns by kind, in words."""
    assert source.table is not None
    kinds = collections.Counter(column.kind for column in source.table.columns)
    columns = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
    missing = f"; {counted(source.schema.missing, 'cell')} missing" if source.schema.missing else ""
    return f"{counted(len(source), 'row')} of {shape_in_words(source.schema.event_shape)}: {columns}{missing}"


def shape_in_words(shape: Sequence[int]) -> str:
    """Return the shape of a row in words.

    >>> shape_in_words((8, 8)), shape_in_words((4,))
    ('8 x 8', '4 columns')
    """
    return " x ".join(map(str, shape)) if len(shape) > 1 else counted(shape[0], "column")


def size_in_words(n_bytes: int) -> str:
    """Return an amount of memory in words.

    >>> size_in_words(115_008), size_in_words(6_272_000_000)
    ('115 kB', '6.3 GB')
    """
    for unit, least in (("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= least:
            return f"{n_bytes / least:.1f} {unit}"
    return f"{n_bytes / 1000:.0f} kB"


def values_in_words(schema: Schema) -> str:
    """Return the kind and the range of values in words."""
    numbers = "whole numbers" if schema.integral else "numbers"
    ends = "none finite" if schema.lowest is None else f"from {schema.lowest:g} to {schema.highest:g}"
    return f"{numbers} {ends} ({schema.dtype}, {schema.kind})"


def column_in_words(column: Column) -> str:
    """Return the kind and the values of a column in words."""
    import numpy as np

    missing = f", {column.missing:,} missing" if column.missing else ""
    if column.categories:
        shown = ", ".join(map(str, column.categories[:6])) + (", ..." if len(column.categories) > 6 else "")
        return f"{column.kind}, {len(column.categories)}: {shown}{missing}"
    low, high = (_shown(column.decode(np.array([end]))[0]) for end in (column.lowest, column.highest))
    scale = "" if column.scaling not in ("log", "log1p") else ", on a logarithmic scale"
    return f"{column.kind}, {low} to {high}{scale}{missing}"


def _shown(value: Any) -> str:
    """Return a number in seven digits, or the day of a date.

    >>> _shown(3e-8), _shown(0.1 + 0.2), _shown(12345678901), _shown("2024-05-01T12:30:00")
    ('3e-08', '0.3', '12345678901', '2024-05-01')
    """
    import numpy as np

    if isinstance(value, float | np.floating):
        return str(float(f"{value:.7g}"))
    return str(value) if np.asarray(value).dtype.kind in "iu" else str(value)[:10]


def labels_in_words(source: Source) -> str | None:
    """Return the name of the labels and the number of classes in words, or None."""
    import numpy as np

    if source.labels is None:
        return None
    different: Any = np.unique(source.labels)
    n = len(different)
    classes = counted(n, "class") if n <= len(source) / 5 else counted(n, "different value")
    return f"{source.label_name or 'labels'} ({classes})"
