"""Delimited text read by pyarrow: clean numbers and ISO dates as such, all other columns as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmap.data.checks import EXACT
from latentmap.data.columns import DAY, Cells
from latentmap.data.formats.delimited_fast import fast_cells, texts_of
from latentmap.data.formats.frames import pyarrow_module
from latentmap.data.formats.streams import LONGEST
from latentmap.data.text import MISSING, TextSettings, cells_of_text

if TYPE_CHECKING:
    from latentmap.data.formats.delimited import Plan

BLOCK = 2**20
RETRIES = 3
"""How often a column that is not what its first cells are is read again as text, before all are."""
NULLS = sorted(
    {"NaN", "NaT"} | {form for word in MISSING for form in (word, word.upper(), word.title(), word.capitalize())}
)
ISO = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M")


def read_arrow(plan: Plan, missing: Sequence[str] = ()) -> tuple[list[Cells], list[str | None]]:
    """Return columns and labels of a delimited file; ``missing`` are further marks of missing cells."""
    wanted = {i: one for i, one in plan.settings.items() if one.kind != "drop"}
    samples = {i: _sample(plan, i, one) for i, one in wanted.items()}
    types = {i: _type_of(plan, i, one) for i, one in samples.items()}
    if plan.label is not None:
        types[plan.label] = pyarrow_module("lib").string()
    table = _table(plan, types, [*NULLS, *missing])
    cells = []
    for i, settings in plan.settings.items():
        if settings.kind == "drop":
            cells.append(Cells(plan.names[i], np.full(table.num_rows, None, dtype=object), "String"))
        else:
            cells.append(_cells(plan.names[i], table.column(str(i)), settings, samples[i]))
    labels = [] if plan.label is None else table.column(str(plan.label)).to_pylist()
    return cells, labels


def _sample(plan: Plan, i: int, settings: TextSettings) -> Cells:
    return cells_of_text(plan.names[i], [row[i] for row in plan.dialect.rows], settings)


def _type_of(plan: Plan, i: int, sample: Cells) -> Any:
    """Return the type in which a column is read."""
    lib = pyarrow_module("lib")
    if sample.numeric and not sample.note and len(sample.present):
        if sample.format is None:
            return lib.float64()
        if sample.format.kind == "date" and sample.format.pattern in ISO and sample.format.padded:
            return lib.date32() if sample.type == "Date" else lib.timestamp("us")
    rows = plan.dialect.rows
    repeated = 2 * len({row[i] for row in rows}) <= len(rows)
    return lib.dictionary(lib.int32(), lib.string()) if repeated else lib.string()


def _table(plan: Plan, types: dict[int, Any], nulls: Sequence[str]) -> Any:
    """Return the table; columns that turn out to be text are read again as such."""
    lib = pyarrow_module("lib")
    multiline = any("\n" in cell or "\r" in cell for row in plan.dialect.rows for cell in row)
    failures, block = 0, BLOCK
    while True:
        try:
            table = _read(plan, types, nulls, multiline=multiline, block=block)
        except lib.ArrowInvalid as error:
            message = str(error)
            if "invalid UTF8" in message:
                raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid byte") from error
            if column := re.match(r"In CSV column #(\d+)", message):
                failures += 1
                text = types if failures >= RETRIES else [int(column[1])]
                types |= {i: lib.string() for i in text}
            elif "straddling" in message and block < LONGEST:
                block = LONGEST
            elif not multiline:
                multiline = True
            else:
                _diagnose(plan)
                raise
            continue
        if _is_open(table, types):
            _diagnose(plan)
        long = [i for i, type_ in types.items() if pyarrow_module("types").is_floating(type_) and _is_long(table, i)]
        if not long:
            return table
        types |= {i: lib.string() for i in long}


def _read(plan: Plan, types: dict[int, Any], nulls: Sequence[str], *, multiline: bool, block: int) -> Any:
    csv, dialect = pyarrow_module("csv"), plan.dialect

    def handle(row: Any) -> str:
        return "skip" if dialect.comment and row.text.lstrip().startswith(dialect.comment) else "error"

    with plan.file.bytes() as stream:
        skipped = sum(len(stream.readline()) for _ in range(dialect.skip))
        source = _native(plan, skipped) if plan.file.plain else stream
        return csv.read_csv(
            source,
            csv.ReadOptions(column_names=[str(i) for i in range(dialect.width)], block_size=block),
            csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=multiline, invalid_row_handler=handle),
            csv.ConvertOptions(
                column_types={str(i): one for i, one in types.items()},
                include_columns=[str(i) for i in sorted(types)],
                null_values=list(nulls),
                strings_can_be_null=True,
            ),
        )


def _native(plan: Plan, skipped: int) -> Any:
    """Return a file of pyarrow, which reads without Python, behind its headers."""
    opened = pyarrow_module("lib").OSFile(str(plan.file.path))
    opened.seek(plan.file.signature + skipped)
    return opened


def _is_open(table: Any, types: dict[int, Any]) -> bool:
    """Return whether the last row may end within quotes, and hold the rest of the file; or whether it is no text."""
    last = [table.column(str(i))[-1].as_py() for i in types] if table.num_rows else []
    return any(isinstance(cell, str) and ("\n" in cell or "\0" in cell) for cell in last)


def _is_long(table: Any, i: int) -> bool:
    """Return whether a column holds numbers that may be integers of more digits than a float."""
    ends = pyarrow_module("compute").min_max(table.column(str(i))).as_py()
    return any(end is not None and EXACT < abs(end) < np.inf for end in ends.values())


def _diagnose(plan: Plan) -> None:
    """Raise for the first row of another length, an open quote or a NUL byte, if there is one."""
    with plan.file.lines() as lines:
        for _ in plan.records(lines):
            pass


def _cells(name: str, column: Any, settings: TextSettings, sample: Cells) -> Cells:
    types = pyarrow_module("types")
    if types.is_floating(column.type):
        values = column.to_numpy()
        whole = bool((np.trunc(values) == values)[np.isfinite(values)].all())
        return Cells(name, values, "Int64" if whole else "Float64")
    if types.is_date(column.type) or types.is_timestamp(column.type):
        unit = "D" if types.is_date(column.type) else "us"
        stamps = column.to_numpy().astype(f"datetime64[{unit}]")
        days = stamps.astype(np.int64) / (1 if unit == "D" else DAY)
        return Cells(name, np.where(np.isnat(stamps), np.nan, days), sample.type, format=sample.format)
    if (fast := fast_cells(name, column, settings, sample)) is not None:
        return fast
    return cells_of_text(name, texts_of(column), settings)
