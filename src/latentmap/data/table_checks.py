"""Whether a table that was saved is one that a fit can have learned: the sense of its values, beyond their types."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from latentmap.data.column import Column
from latentmap.data.columns import Table
from latentmap.data.embeddings import PROBES, Embedding
from latentmap.data.names import twice
from latentmap.data.schema import Schema
from latentmap.data.text_formats import MOST_PLACES
from latentmap.exceptions import ModelError

LONGEST = 1000
"""The most places of a circle of words."""
WIDTHS = re.compile(r"(?!U?Int)|U?Int(8|16|32|64)$")
"""Types of cells, of which whole numbers are those of a machine."""


def require_possible(table: Table, schema: Schema) -> None:
    """Raise a `ModelError` if a fit cannot have learned a table, or the schema of its rows of numbers.

    Parameters
    ----------
    table
        The columns.
    schema
        The schema of the rows.

    Examples
    --------
    >>> ages = Table((Column("age", "count", lowest=90.0, highest=3.0),))
    >>> require_possible(ages, Schema(2, (1,), "float64", ("age",), 3.0, 90.0, True))
    Traceback (most recent call last):
    latentmap.exceptions.ModelError: its column 'age' cannot have lowest 90 above highest 3
    """
    require_schema(schema)
    for column in (*table.columns, *(one.column for one in table.derived)):
        if fault := next(_faults(column), None):
            raise ModelError(f"its column {column.name!r:.60} cannot have {fault}")
    _require_names(table)
    known = {column.name: column for column in table.columns}
    for one in table.derived:
        levels = known[one.source].levels if one.source in known else 1
        if one.source is not None and (one.source not in known or not levels):
            raise ModelError(f"its column {one.column.name!r:.60} follows from {one.source!r:.60}, no column of levels")
        if len(one.values) != levels:
            raise ModelError(f"its column {one.column.name!r:.60} has {len(one.values)} values, expected {levels}")
    for embedding in table.embeddings:
        if fault := next(_faults_of_embedding(embedding, known), None):
            raise ModelError(f"its embedding of column {embedding.name!r:.60} cannot have {fault}")


def require_schema(schema: Schema) -> None:
    """Raise a `ModelError` if no rows have such a schema.

    >>> require_schema(Schema(0, (1,), "float64", None, 0.0, 1.0, True))
    Traceback (most recent call last):
    latentmap.exceptions.ModelError: its data cannot have 0 rows
    """
    low, high, names = schema.lowest, schema.highest, schema.names
    if schema.n_rows < 1:
        raise ModelError(f"its data cannot have {schema.n_rows} rows")
    if (low is None) != (high is None) or (low is not None and high is not None and low > high):
        raise ModelError(f"its data cannot have lowest {low} and highest {high}")
    if schema.missing < 0 or schema.infinite < 0:
        raise ModelError(f"its data cannot have {schema.missing} missing and {schema.infinite} infinite values")
    if names is not None and len(names) != schema.n_features:
        raise ModelError(f"its data cannot have {len(names)} names of {schema.n_features} columns")
    if names is not None and (again := twice(names)) is not None:
        raise ModelError(f"its data cannot have the column {again!r:.60} twice")


def _faults(column: Column) -> Iterator[str]:
    """Yield what is wrong with a column."""
    if column.lowest > column.highest:
        yield f"lowest {column.lowest:g} above highest {column.highest:g}"
    varies, stretched = column.lowest < column.highest, column.scaling in ("log", "log1p")
    if column.deviation < 0 or (column.deviation == 0 and varies and not stretched):
        yield f"deviation {column.deviation:g}"
    if column.missing < 0:
        yield f"{column.missing} missing cells"
    if column.unit <= 0:
        yield f"unit {column.unit:g}"
    if column.period < 0 or (column.kind == "cyclic" and not column.period and varies):
        yield f"period {column.period:g}"
    if column.decimals is not None and not 0 <= column.decimals <= MOST_PLACES:
        yield f"{column.decimals} decimals"
    low, high = column.bounds
    if low is not None and high is not None and low > high:
        yield f"bounds from {low:g} to {high:g}"
    if stretched and column.lowest <= -column.unit:
        yield f"scaling {column.scaling!r} and lowest {column.lowest:g}"
    if WIDTHS.match(column.type) is None:
        yield f"type {column.type!r:.40}"
    yield from _faults_of_categories(column)


def _faults_of_categories(column: Column) -> Iterator[str]:
    categories = column.categories
    if len(set(categories)) < len(categories):
        yield f"the category {twice(categories)!r:.40} twice"
    if categories and column.kind not in ("categorical", "ordinal", "binary", "cyclic"):
        yield f"kind {column.kind!r} and categories"
    if categories and column.kind == "binary" and len(categories) != 2:
        yield f"kind 'binary' and {len(categories)} categories"
    if categories and column.kind == "cyclic" and not len(categories) <= column.period <= LONGEST:
        yield f"period {column.period:g} and {len(categories)} categories"
    if column.other is not None and (not categories or categories[-1] != column.other):
        yield f"other {column.other!r:.40}, which is not its last category"


def _faults_of_embedding(embedding: Embedding, known: Collection[str]) -> Iterator[str]:
    if len(embedding.probes) != len(PROBES):
        yield f"the vectors of {len(embedding.probes)} texts, expected {len(PROBES)}"
    if not 0 <= embedding.share <= 1 + 1e-6:
        yield f"a share {embedding.share:g} of the variance"
    if lacking := [name for name in embedding.components if name not in known]:
        yield f"{len(embedding.components)} components, of which {lacking[0]!r:.60} is no column"


def _require_names(table: Table) -> None:
    """Raise if two columns have one name."""
    generated = [*table.names, *(one.column.name for one in table.derived)]
    for names in (generated, table.order, [one.name for one in table.embeddings]):
        if (again := twice(names)) is not None:
            raise ModelError(f"its table cannot have the column {again!r:.60} twice")
