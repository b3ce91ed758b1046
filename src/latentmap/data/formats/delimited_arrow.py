"""Delimited text read by pyarrow: clean numbers and ISO dates as such, all other columns as text."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmap.data.checks import EXACT
from latentmap.data.columns import Cells
from latentmap.data.formats.delimited_fast import fast_cells, texts_of
from latentmap.data.formats.frames import pyarrow_module
from latentmap.data.formats.streams import LONGEST
from latentmap.data.text import MISSING, TextSettings, cells_of_text
from latentmap.data.text_formats import TextFormat

if TYPE_CHECKING:
    from latentmap.data.formats.delimited import Plan

BLOCK = 2**20
RETRIES = 3
"""How often a column that is not what its first cells are is read again as text, before all are."""
NULLS = sorted(
    {"NaN", "NaT"} | {form for word in MISSING for form in (word, word.upper(), word.title(), word.capitalize())}
)
ISO = TextFormat("date", pattern="%Y-%m-%d")


def read_arrow(plan: Plan, missing: Sequence[str] = ()) -> tuple[list[Cells], list[str | None]]:
    """Return columns and labels of a delimited file; ``missing`` are further marks of missing cells."""
    samples = _samples(plan)
    table = _table(plan, _types(plan, samples), missing)
    cells = []
    for i, settings in plan.settings.items():
        if settings.kind == "drop":
            cells.append(Cells(plan.names[i], np.full(table.num_rows, None, dtype=object), "String"))
        else:
            cells.append(_cells(plan, i, table.column(str(i)), settings, samples[i]))
    labels = [] if plan.label is None else table.column(str(plan.label)).to_pylist()
    return cells, labels


def read_aside(plan: Plan) -> dict[str, list[str | None]]:
    """Return the text of the columns beside the rows, as it is written: those called NA are not missing."""
    if not plan.aside:
        return {}
    table = _table(plan, {i: pyarrow_module("lib").string() for i in plan.aside}, None)
    return {plan.names[i]: table.column(str(i)).to_pylist() for i in plan.aside}


def block_types(plan: Plan) -> dict[int, Any]:
    """Return the types in which columns are read block by block, as their first cells are, by number."""
    samples = _samples(plan)
    whole = {
        i for i, one in samples.items() if one.type == "Int64" and not (one.format or one.note) and len(one.present)
    }
    return {i: pyarrow_module("lib").int64() if i in whole else type_ for i, type_ in _types(plan, samples).items()}


def _samples(plan: Plan) -> dict[int, Cells]:
    wanted = {i: one for i, one in plan.settings.items() if one.kind != "drop"}
    return {i: cells_of_text(plan.names[i], [row[i] for row in plan.dialect.rows], one) for i, one in wanted.items()}


def _types(plan: Plan, samples: dict[int, Cells]) -> dict[int, Any]:
    label = {} if plan.label is None else {plan.label: pyarrow_module("lib").string()}
    return {i: _type_of(plan, i, one) for i, one in samples.items()} | label


def _type_of(plan: Plan, i: int, sample: Cells) -> Any:
    """Return the type in which a column is read."""
    lib = pyarrow_module("lib")
    if sample.numeric and not sample.note and len(sample.present):
        if sample.format is None and sample.type != "Int64":  # whole numbers may yet turn out to be codes such as 02139
            return lib.float64()
        if sample.type == "Date" and sample.format is not None and sample.format == ISO:
            return lib.date32()  # times are read as text: pyarrow takes some without seconds, or days alone, as such
    rows = plan.dialect.rows
    repeated = 2 * len({row[i] for row in rows}) <= len(rows)
    return lib.dictionary(lib.int32(), lib.string()) if repeated else lib.string()


def _table(plan: Plan, types: dict[int, Any], missing: Sequence[str] | None) -> Any:
    """Return the table; columns that turn out to be text are read again as such. None are missing without marks."""
    lib = pyarrow_module("lib")
    multiline = any("\n" in cell or "\r" in cell for row in plan.dialect.rows for cell in row)
    failures, block = 0, BLOCK
    while True:
        try:
            with opened(plan) as stream:
                settings = options(plan, types, missing, multiline=multiline, block=block)
                table = pyarrow_module("csv").read_csv(stream, *settings)
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
                diagnose(plan)
                raise
            continue
        if _is_open(table, types):
            diagnose(plan)
        long = [i for i, type_ in types.items() if pyarrow_module("types").is_floating(type_) and _is_long(table, i)]
        if not long:
            return table
        types |= {i: lib.string() for i in long}


def options(
    plan: Plan, types: Mapping[int, Any], missing: Sequence[str] | None, *, multiline: bool, block: int
) -> tuple[Any, Any, Any]:
    """Return how pyarrow reads, parses and converts the columns of these types."""
    csv, dialect = pyarrow_module("csv"), plan.dialect

    def handle(row: Any) -> str:
        return "skip" if dialect.comment and row.text.lstrip().startswith(dialect.comment) else "error"

    return (
        csv.ReadOptions(column_names=[str(i) for i in range(dialect.width)], block_size=block),
        csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=multiline, invalid_row_handler=handle),
        csv.ConvertOptions(
            column_types={str(i): one for i, one in types.items()},
            include_columns=[str(i) for i in sorted(types)],
            null_values=[*NULLS, *(missing or ())],
            strings_can_be_null=missing is not None,
        ),
    )


@contextlib.contextmanager
def opened(plan: Plan) -> Iterator[Any]:
    """Yield the bytes of a file below its headers; a file of pyarrow if it is UTF-8."""
    with plan.file.bytes() as stream:
        skipped = sum(len(stream.readline()) for _ in range(plan.dialect.skip))
        if not plan.file.plain:
            yield stream
            return
    with pyarrow_module("lib").OSFile(str(plan.file.path)) as native:
        native.seek(plan.file.signature + skipped)
        yield native


def _is_open(table: Any, types: dict[int, Any]) -> bool:
    """Return whether the last row may end within quotes, and hold the rest of the file; or whether it is no text."""
    last = [table.column(str(i))[-1].as_py() for i in types] if table.num_rows else []
    return any(isinstance(cell, str) and ("\n" in cell or "\0" in cell) for cell in last)


def _is_long(table: Any, i: int) -> bool:
    """Return whether a column holds numbers that may be integers of more digits than a float."""
    ends = pyarrow_module("compute").min_max(table.column(str(i))).as_py()
    return any(end is not None and EXACT <= abs(end) < np.inf for end in ends.values())


def diagnose(plan: Plan) -> None:
    """Raise for the first row of another length, an open quote or a NUL byte, if there is one."""
    with plan.file.lines() as lines:
        for _ in plan.records(lines):
            pass


def _cells(plan: Plan, i: int, column: Any, settings: TextSettings, sample: Cells) -> Cells:
    types, name = pyarrow_module("types"), plan.names[i]
    if types.is_floating(column.type):
        values = column.to_numpy()
        whole = bool((np.trunc(values) == values)[np.isfinite(values)].all())
        return Cells(name, values, "Int64" if whole else "Float64")
    if types.is_date(column.type):
        stamps = column.to_numpy().astype("datetime64[D]")
        days = stamps.astype(np.int64).astype(np.float64)
        return Cells(name, np.where(np.isnat(stamps), np.nan, days), sample.type, format=sample.format)
    if (fast := fast_cells(name, column, settings, sample)) is not None:
        return fast
    texts = texts_of(column)
    if any("\0" in level for level in texts.levels):
        diagnose(plan)
    return cells_of_text(name, texts, settings)
