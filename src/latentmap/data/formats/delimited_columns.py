"""Columns of delimited text: numbers and dates while a block is in the cache, all others as their different texts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.checks import EXACT
from latentmap.data.columns import Cells, object_array
from latentmap.data.formats.delimited_arrow import BLOCK, diagnose, is_open, parsed
from latentmap.data.formats.delimited_fast import NULLS, dates_of, numbers_of, truth_of, without
from latentmap.data.formats.frames import pyarrow_module
from latentmap.data.formats.streams import LONGEST
from latentmap.data.summaries import Summary
from latentmap.data.text import Texts, TextSettings, cells_of_text
from latentmap.data.text_compact import may_be_compact
from latentmap.data.text_numbers import PLAIN

if TYPE_CHECKING:
    from latentmap.data.formats.delimited import Plan

LONG = 20_000
"""The fewest cells of numbers with decimals or none, a unit and the like, that are not kept as they are written."""
ROOM = 1.1
"""How many times the rows that are expected there is room for."""


@dataclass
class _Words:
    """A column of text: its different texts, whose numbers stand for them."""

    known: dict[str, int] = field(default_factory=dict)

    def read(self, array: Any) -> tuple[list[str], NDArray[np.int32]]:
        """Return the different texts of a block, and which of them each cell is."""
        found = array.dictionary_encode()
        return found.dictionary.to_pylist(), found.indices.to_numpy()

    def place(self, block: tuple[list[str], NDArray[np.int32]], out: NDArray[np.float64]) -> None:
        """Write the numbers of the texts of a block."""
        numbers = np.array([self.known.setdefault(text, len(self.known)) for text in block[0]], np.float64)
        np.take(numbers, block[1], out=out, mode="clip")

    def texts(self, values: NDArray[np.float64]) -> Texts:
        """Return all cells."""
        return Texts(list(self.known), values.astype(np.int32))

    def cells(self, values: NDArray[np.float64], plan: Plan, i: int) -> Cells:
        """Return all cells as what their text stands for."""
        if any("\0" in text for text in self.known):
            diagnose(plan)
        return cells_of_text(plan.names[i], self.texts(values), plan.settings[i])


@dataclass
class _Numbers:
    """A column of numbers, dates or truth values, written as its first cells are."""

    sample: Cells
    missing: Collection[str]
    marked: bool = False
    failed: bool = False

    def read(self, array: Any) -> NDArray[np.float64] | None:
        """Return the values of a block; None if it holds anything else."""
        if self.failed:
            return None
        if not (self.marked or self.missing):  # a further mark may be a number itself
            if (values := self._read(array)) is not None:
                return values
            self.marked = True
        return self._read(without(array, self.missing))

    def _read(self, array: Any) -> NDArray[np.float64] | None:
        form = self.sample.format
        if form is None or form.kind == "number":
            return numbers_of(array, form)
        return dates_of(array, form) if form.kind == "date" else truth_of(array, form)

    def place(self, block: NDArray[np.float64] | None, out: NDArray[np.float64]) -> None:
        """Write the values of a block."""
        if block is None:
            self.failed = True
        else:
            out[:] = block

    def cells(self, values: NDArray[np.float64], plan: Plan, i: int) -> Cells | None:
        """Return all cells; None if they are not all such, have lost digits, or should be kept as they are written."""
        form = self.sample.format
        if self.failed or (form is not None and not form.fixed and form.kind == "number" and len(values) < LONG):
            return None
        summary, type_ = Summary.of(values), self.sample.type
        if form is None and any(EXACT <= abs(end) < np.inf for end in (summary.lowest, summary.highest)):
            return None
        if form is None and may_be_compact(self.sample.name, summary.lowest, summary.highest):
            return None
        if form is None or form.kind == "number":
            type_ = "Int64" if summary.integral else "Float64"
        return replace(self.sample, values=values, type=type_, summary=summary, written=None)


Reader = _Words | _Numbers


def read_arrow(
    plan: Plan, missing: Collection[str] = ()
) -> tuple[list[Cells], list[str | None], NDArray[np.float64] | None]:
    """Return columns and labels of a delimited file, and an array with a row a column for the rows of a source.

    Parameters
    ----------
    plan
        The file.
    missing
        Further marks of missing cells.
    """
    samples = samples_of(plan)
    readers: dict[int, Reader] = {
        i: _Numbers(one, missing) if _is_fast(one, plan.settings[i]) else _Words() for i, one in samples.items()
    }
    labels, marks = _Words(), {*NULLS, *missing}
    readers |= {} if plan.label is None else {plan.label: labels}
    values = _values(plan, readers or {0: _Words()})
    found = _finished(plan, {i: readers[i] for i in samples}, values)
    if again := {i: _Words() for i, one in found.items() if one is None}:
        found |= _finished(plan, again, _values(plan, again))
    none = np.full(values.shape[1], None, dtype=object)
    cells = [found.get(i) or Cells(plan.names[i], none, "String") for i in plan.settings]
    levels = [None if text in marks else text for text in labels.known]
    of_rows = [] if plan.label is None else object_array(levels)[labels.texts(values[-1]).codes].tolist()
    return cells, of_rows, values[: len(samples)]


def _finished(plan: Plan, readers: Mapping[int, Reader], values: NDArray[np.float64]) -> dict[int, Cells | None]:
    """Return columns of these values; None for those that have to be read as text."""
    return {i: reader.cells(row, plan, i) for (i, reader), row in zip(readers.items(), values, strict=False)}


def read_aside(plan: Plan) -> dict[str, list[str | None]]:
    """Return the text of the columns beside the rows, as it is written."""
    readers = {i: _Words() for i in plan.aside}
    if not readers:
        return {}
    texts = {i: readers[i].texts(row) for i, row in zip(readers, _values(plan, readers), strict=True)}
    return {plan.names[i]: [levels[code] for code in codes.tolist()] for i, (levels, codes) in texts.items()}


def samples_of(plan: Plan) -> dict[int, Cells]:
    """Return the first cells of each column that is read, by number."""
    wanted = {i: one for i, one in plan.settings.items() if one.kind != "drop"}
    return {i: cells_of_text(plan.names[i], [row[i] for row in plan.dialect.rows], one) for i, one in wanted.items()}


def _is_fast(sample: Cells, settings: TextSettings) -> bool:
    """Return whether a column is likely of numbers, dates or truth values that are all written alike."""
    plain = sample.format is None or sample.format.kind != "duration"
    plain = plain and not any(map(PLAIN.fullmatch, settings.missing))  # a mark -99 that -99.0 equals
    return plain and sample.numeric and len(sample.present) > 0 and not sample.note and settings.format is None


def _values(plan: Plan, readers: Mapping[int, Reader]) -> NDArray[np.float64]:
    """Read columns of a file; return their values, a row a column."""
    lib = pyarrow_module("lib")
    multiline = any("\n" in cell or "\r" in cell for row in plan.dialect.rows for cell in row)
    for several, block in ((False, BLOCK), (True, BLOCK), (True, LONGEST)):
        if multiline and not several:
            continue
        try:
            return _attempt(plan, readers, multiline=several, block=block)
        except lib.ArrowInvalid as error:
            if "invalid UTF8" in str(error):
                raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid byte") from error
            failure = error
    diagnose(plan)
    raise failure


def _attempt(plan: Plan, readers: Mapping[int, Reader], *, multiline: bool, block: int) -> NDArray[np.float64]:
    rows = plan.dialect.rows
    a_row = sum(len(cell) + 1 for row in rows for cell in row) / max(len(rows), 1)
    room = int(ROOM * plan.file.path.stat().st_size / max(a_row, 1)) + 100
    values, at, is_last_open = np.empty((len(readers), room)), 0, False

    def work(table: Any) -> tuple[int, list[Any], bool]:
        columns = (table.column(str(i)).combine_chunks() for i in readers)
        columns = (one.chunk(0) if hasattr(one, "chunk") else one for one in columns)
        read = [reader.read(one) for reader, one in zip(readers.values(), columns, strict=True)]
        return table.num_rows, read, multiline and is_open(table)

    for part in parsed(plan, list(readers), work, multiline=multiline, block=block):
        n, read, is_last_open = part
        if at + n > values.shape[1]:
            values = np.concatenate([values[:, :at], np.empty((len(values), at // 2 + n))], axis=1)
        for reader, part, out in zip(readers.values(), read, values, strict=True):
            reader.place(part, out[at : at + n])
        at += n
    if is_last_open:
        diagnose(plan)
    return values[:, :at]
