"""What a fit infers of the columns of a table, as a TOML file to edit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from latentmap.data.columns import Column, Table
from latentmap.data.text_dates import stamp
from latentmap.data.text_formats import TextFormat

HEAD = """\
# What is known of the columns of {name}. Delete what is to be inferred again; give the file with --columns,
# or as latentmap.Columns.read(PATH). kind: real, count, binary, categorical, ordinal, cyclic, date, or drop.
# Text that is left out can be embedded by a function: --embed COLUMN=MODULE:FUNCTION, in Python Columns({{...}}).
"""


def template(table: Table, name: str) -> str:
    """Return the specification that a table follows, as TOML that reads back to the same table.

    Columns that follow from others, and constants, stand in comments: they are found again, and a section of their own
    makes them part of the model. So do those that are embedded, whose function no file names.

    Parameters
    ----------
    table
        The columns, as a fit learns them.
    name
        The data that they are of.

    Examples
    --------
    >>> print(template(Table((Column("age", "count", bounds=(0.0, 90.0)),), dropped={"id": "an id"}), "x.csv"))
    # What is known of the columns of x.csv...
    unseen = "error"
    <BLANKLINE>
    [columns."age"]
    kind = "count"
    lowest = 0.0
    highest = 90.0
    <BLANKLINE>
    [columns."id"]  # an id
    kind = "drop"
    """
    learned = {column.name: column for column in table.columns}
    derived = {one.column.name: one.column for one in table.derived}
    embedded = {one.name: one.function for one in table.embeddings}
    sections = [HEAD.format(name=name.replace("\n", " ")) + f"unseen = {_value(table.unseen)}"]
    if table.missing:
        sections[0] += f"\nmissing = {_value(table.missing)}"
    for column in table.order or (*learned, *table.dropped):
        heading = f"[columns.{_value(column)}]"
        why = table.dropped.get(column, "").replace("\n", " ")
        if column in learned:
            sections.append("\n".join([heading, *_settings(learned[column])]))
        elif column in derived:
            lines = [f"{heading}  # {why}", *_settings(derived[column])]
            sections.append("\n".join(f"# {line}" for line in lines))
        elif column in embedded:
            sections.append(f"# {heading}  # embedded by {embedded[column]}")
        elif column in table.dropped:
            sections.append(f'{heading}  # {why}\nkind = "drop"')
    return "\n\n".join(sections)


def _settings(column: Column) -> list[str]:
    """Return the settings of a column, a line each."""
    settings: dict[str, Any] = {"kind": column.kind}
    if column.categories:
        settings |= {"categories": column.categories, "other": column.other}
    elif column.kind in ("real", "date"):
        settings["scaling"] = column.scaling
    elif column.kind == "cyclic":
        settings["period"] = column.period
    if not column.categories and column.kind != "binary":
        settings |= {"lowest": column.bounds[0], "highest": column.bounds[1]}
    if column.kind == "date" and column.format is not None:
        settings["format"] = _pattern(column.format, column.lowest)
    return [f"{key} = {_value(value)}" for key, value in settings.items() if value is not None]


def _pattern(form: TextFormat, days: float) -> str | None:
    """Return the pattern of dates that are not read in the same way without it; None for all others."""
    read = stamp(form.write(np.array([days]))[0])
    if read is not None and not read.open_order:
        return None
    zoned = len(form.utc) > len("+00")  # the hours alone are no zone to `datetime.strptime`
    return form.pattern.removesuffix(form.utc) + "%z" if zoned else form.pattern


def _value(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
