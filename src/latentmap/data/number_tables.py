"""Tables of numbers alone, whose other columns come back as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from latentmap.data.columns import Cells, Column, Table


def table_of_numbers(names: Sequence[str]) -> Table:
    """Return a table of plain numbers, whose types are open until `typed` settles them."""
    return Table(tuple(Column(name, "real", type="") for name in names))


def typed(table: Table, cells: Sequence[Cells]) -> Table:
    """Return a table with the types and forms of columns that came; all others, and those with gaps, hold fractions."""
    came = {one.name: one for one in cells}
    whole = {name for name, one in came.items() if not one.missing.any()}
    columns = (
        replace(
            column,
            type=came[name].type if name in whole else "Float64",
            format=came[name].format if name in came else None,
        )
        for name, column in zip(table.names, table.columns, strict=True)
    )
    return replace(table, columns=tuple(columns))


def is_open(table: Table) -> bool:
    """Return whether the types of a table are still to be settled."""
    return any(not column.type for column in table.columns)
