"""Tables as text, ``.csv`` and ``.tsv``, gzipped or not, read with the standard library."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.checks import BEYOND, EXACT
from latentmap.data.columns import DAY, Cells, ColumnSpec, Table, date_type, days_since_epoch, object_array
from latentmap.data.formats.arrays import ArraySource, TableSource
from latentmap.data.formats.base import LabelSpec, name_of, plain_labels, reading, unique_names
from latentmap.data.frames import empty_frame
from latentmap.data.selection import ALL_COLUMNS, INDEX, Selection, text_values
from latentmap.exceptions import DataError

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
DELIMITERS = ",;\t|"
BLOCK_CELLS = 2**18

DECIMAL_COMMA = r"[+-]?\d+,\d+"
TEXTS = ("String", "Categorical", "Enum")

Record = tuple[int, list[str]]  # the line that a record ends on, and its cells


def delimited_source(
    path: Path, labels: LabelSpec = None, columns: ColumnSpec = None, selection: Selection = ALL_COLUMNS
) -> ArraySource:
    r"""Return a source of a text table of numbers, text and dates, a row a line; blank cells and NA are missing.

    The delimiter of a ``.csv`` is the first of ``, ; tab |`` that gives the first two lines equally many cells, two or
    more; that of a ``.tsv`` is the tab. The first line is a header if it holds no number, or text above a number, or
    counts 0, 1, 2, ... over three columns or more. An unnamed first column is taken for row names, as pandas and R
    write them, and left out. A column is text if most of its first cells are, and dates if all of them are, as
    2024-05-01 or 2024-05-01T12:30.

    Parameters
    ----------
    path
        The file: UTF-8 text.
    labels
        The name of the column of labels (in a file without a header its number, from 1), or one label a row.
    columns
        The columns of the fit, or settings of columns.
    selection
        The columns to read; that of row names is called index.

    Raises
    ------
    DataError
        With file, row and column: text in a column of numbers, rows of different lengths, duplicate names, another
        delimiter, another encoding, integers beyond 2^53, a truncated archive, no rows.
    """
    with reading(path), _text(path) as lines:
        table = _Table(path, lines, labels, columns, selection)
        values, texts, aside = table.read()
    annotations: dict[str, Any] = {"name": str(path), "labels": labels, "label_name": table.label_name}
    if table.label_name is not None:
        annotations["labels"] = _typed(aside[table.label_name])
    if columns is None and not texts:
        wanted = table.selection.wanted
        order = slice(None) if wanted is None else table.order(wanted)
        names = table.names if wanted is None else list(wanted)
        source = ArraySource(values[:, order], names=names, **annotations)
        source.header = None if names is None else empty_frame(names)
    else:
        source = TableSource(table.cells(values, texts), columns, **annotations)
    kept = selection.found(table.columns)
    source.beside = {n: text_values(aside[n]) if n in selection.left_out else _typed_values(aside[n]) for n in kept}
    source.ignored = table.selection.ignored(table.columns[table.indexed :], table.label_name)
    return source


class _Table:
    """The columns of one file, inferred from its first rows, and its cells as numbers and text."""

    def __init__(
        self, path: Path, lines: io.TextIOWrapper, labels: LabelSpec, columns: ColumnSpec, selection: Selection
    ) -> None:
        self.path = path
        delimiter = "\t" if path.name.lower().endswith((".tsv", ".tsv.gz")) else _delimiter(path, lines)
        self.records = _records(path, lines, delimiter)
        first = list(itertools.islice(self.records, 2))
        if not first:
            raise DataError(f"{path}: no rows, only blank lines")
        head = [cell.strip() for cell in first[0][1]]
        self.width = len(head)
        self.header = _is_header(head, first[1][1] if len(first) > 1 else [])
        if self.header and len(first) == 1:
            raise DataError(f"{path}: a header and no rows below it: at least one row is needed")
        self.records = itertools.chain(first[1:] if self.header else first, self.records)
        self._require_split(first[-1][1])
        self.indexed = self.header and self.width > 1 and not head[0]
        numbered = [str(i + 1) for i in range(self.width)]
        self.columns = [cell.removeprefix("#").strip() for cell in head] if self.header else numbered
        if self.indexed and INDEX not in self.columns:
            self.columns[0] = INDEX
        unique_names(self.columns, str(path))
        self.label_name = name_of(labels, self.columns, f"{path} has no column")
        by_place = not self.header and columns is None
        self.selection = replace(selection, wanted=None) if by_place else selection
        features = set(self.selection.kept(self.columns, self.label_name, str(path)))
        self.kept = [i for i, name in enumerate(self.columns) if name in features and not (self.indexed and i == 0)]
        self.aside = [name for name in self.columns if name == self.label_name or name in selection.beside]
        self.names = [self.columns[i] for i in self.kept] if self.header else None
        learned = columns.columns if isinstance(columns, Table) else ()
        self.learned = {c.name: c.type in TEXTS or c.type.startswith("Date") for c in learned if c.type != "Boolean"}
        self.texts: list[int] | None = None

    def order(self, names: Sequence[str]) -> list[int]:
        """Return the place of columns among those of the rows."""
        kept = [self.columns[i] for i in self.kept]
        return [kept.index(name) for name in names]

    def read(self) -> tuple[NDArray[np.float64], dict[int, list[str]], dict[str, list[str]]]:
        """Return the numbers, shape (n, columns), the cells of columns of text by number, and those aside by name."""
        parts: list[NDArray[np.float64]] = []
        aside: dict[str, list[str]] = {name: [] for name in self.aside}
        texts: dict[int, list[str]] = {}
        start, size = 0, max(1, BLOCK_CELLS // self.width)
        while block := list(itertools.islice(self.records, size)):
            for row, (line, cells) in enumerate(block, start):
                if len(cells) != self.width:
                    where = f"row {row + 1} (line {line})"
                    raise DataError(
                        f"{self.path}: {where} has {len(cells)} cells, expected {self.width} as in the first line"
                    )
            for name, values in aside.items():
                column = self.columns.index(name)
                values += [cells[column] for _, cells in block]
            if self.texts is None:
                self.texts = [i for i in self.kept if self._is_text(i, block, start)]
                self.kept = [i for i in self.kept if i not in self.texts]
            for i in self.texts:
                texts.setdefault(i, []).extend(cells[i] for _, cells in block)
            parts.append(self._numbers(block, start))
            start += len(block)
        return np.concatenate(parts), texts, aside

    def cells(self, values: NDArray[np.float64], texts: dict[int, list[str]]) -> list[Cells]:
        """Return the columns in their order."""
        cells = {i: _numeric(self.columns[i], column) for i, column in zip(self.kept, values.T, strict=True)}
        cells |= {i: self._dates(i, column) or _text_cells(self.columns[i], column) for i, column in texts.items()}
        return [cells[i] for i in sorted(cells)]

    def _dates(self, i: int, column: list[str]) -> Cells | None:
        """Return a column of dates; None if its first cell is no date."""
        days = np.full(len(column), np.nan)
        zoned, short = False, True
        for row, cell in enumerate(column):
            text = cell.strip()
            if text.lower() in MISSING:
                continue
            try:
                date = datetime.fromisoformat(text)
            except ValueError as error:
                if np.isnan(days).all():
                    return None
                where = f"row {row + 1}, column {self.columns[i]!r}"
                raise DataError(f"{self.path}: {where}: {text!r} is not a date such as 2024-05-01") from error
            zoned, short = zoned or date.tzinfo is not None, short and len(text) == 10
            days[row] = days_since_epoch(date)
        return Cells(self.columns[i], days, date_type(days=short, zoned=zoned))

    def _is_text(self, column: int, block: list[Record], start: int) -> bool:
        """Return whether most cells of a column that are not missing are text."""
        name = self.columns[column]
        if name in self.learned:
            return self.learned[name]
        present = [cell for _, cells in block if (cell := cells[column].strip()).lower() not in MISSING]
        text = [cell for cell in present if not _is_number(cell)]
        if text and all(re.fullmatch(DECIMAL_COMMA, cell) for cell in text):
            row = next(r for r, (_, cells) in enumerate(block) if cells[column].strip() == text[0])
            where = self._place(block, start, row, column)
            raise DataError(f"{self.path}: {where}: {text[0]!r} is not a number; write decimals with a point")
        return 2 * len(text) > len(present)

    def _numbers(self, block: list[Record], start: int) -> NDArray[np.float64]:
        rows = [cells for _, cells in block]
        for column in sorted(set(range(self.width)) - set(self.kept), reverse=True):
            for cells in rows:
                del cells[column]
        flat = list(itertools.chain.from_iterable(rows))
        try:
            parse = _number if "_" in "".join(flat) else float
            values = np.fromiter(map(parse, flat), np.float64, len(flat))
        except ValueError:
            self._require_numbers(rows, block, start)
            values = np.fromiter(map(_number, flat), np.float64, len(flat))
        for i in np.flatnonzero(np.abs(values) >= EXACT).tolist():
            if re.fullmatch(r"\s*[+-]?\d+\s*", flat[i]) and (abs(values[i]) > EXACT or abs(int(flat[i])) > EXACT):
                where = self._place(block, start, i // len(self.kept), self.kept[i % len(self.kept)])
                raise DataError(f"{self.path}: {where}: {flat[i].strip()[:40]} {BEYOND}")
        return values.reshape(len(rows), len(self.kept))

    def _require_numbers(self, rows: list[list[str]], block: list[Record], start: int) -> None:
        """Raise for the first cell that is text."""
        for j, column in enumerate(self.kept):
            text = next((i for i, row in enumerate(rows) if not _is_number(row[j])), None)
            if text is not None:
                cell = rows[text][j].strip()
                hint = "; write decimals with a point" if re.fullmatch(DECIMAL_COMMA, cell) else ""
                where = self._place(block, start, text, column)
                raise DataError(f"{self.path}: {where}: {cell!r} is not a number, as most of the column are{hint}")

    def _place(self, block: list[Record], start: int, row: int, column: int) -> str:
        return f"row {start + row + 1} (line {block[row][0]}), column {self.columns[column]!r}"

    def _require_split(self, cells: list[str]) -> None:
        mark = next((mark for mark in (*DELIMITERS, " ") if self.width == 1 and mark in cells[0].strip()), None)
        if mark is not None:
            expected = "commas in a .csv, tabs in a .tsv"
            message = f"one column found, but its text {cells[0]!r} holds {mark!r}: separate cells by {expected}"
            raise DataError(f"{self.path}: {message}")


def _text(path: Path) -> io.TextIOWrapper:
    opener: Any = gzip.open if path.name.lower().endswith(".gz") else open
    stream: io.TextIOWrapper = opener(path, "rt", encoding="utf-8-sig", newline="")
    return stream


def _records(path: Path, lines: io.TextIOWrapper, delimiter: str) -> Iterator[Record]:
    """Yield the records that are not blank, each with the number of its line."""
    reader = csv.reader(_without_nul(path, lines), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise _unreadable(path, reader.line_num, error) from error


def _unreadable(path: Path, line: int, error: csv.Error) -> DataError:
    return DataError(f"{path}: line {line}: {error}; check the quotes, of which one may be open")


def _without_nul(path: Path, lines: Iterable[str]) -> Iterator[str]:
    """Yield lines of text; raise if one holds a NUL byte, as those of damaged and binary files do."""
    for number, line in enumerate(lines, 1):
        if "\0" in line:
            raise DataError(f"{path}: line {number} holds a NUL byte (0x00), so it is no text; copy or save it again")
        yield line


def _delimiter(path: Path, lines: io.TextIOWrapper) -> str:
    sample = [line for line in itertools.islice(_without_nul(path, lines), 20) if line.strip()][:2]
    lines.seek(0)
    for delimiter in DELIMITERS:
        reader = csv.reader(sample, delimiter=delimiter)
        try:
            widths = {len(cells) for cells in reader}
        except csv.Error as error:
            raise _unreadable(path, reader.line_num, error) from error
        if len(widths) == 1 and widths != {1}:
            return delimiter
    return ","


def _is_header(first: list[str], second: list[str]) -> bool:
    text = [not _is_number(cell) for cell in first]
    if any(text) and all(text[i] or not cell for i, cell in enumerate(first)):
        return True
    if any(is_text and _is_number(below) and below.strip() for is_text, below in zip(text, second, strict=False)):
        return True
    names = first if first[0] else first[1:]  # as pandas names columns that have no names
    return len(second) > 2 and len(names) > 2 and names == [str(i) for i in range(len(names))]


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True


def _number(cell: str) -> float:
    if cell.strip().lower() in MISSING:
        return float("nan")
    if "_" in cell:  # Python reads 1_000 as a number; in a table it is text
        raise ValueError(cell)
    return float(cell)


def _numeric(name: str, values: NDArray[np.float64]) -> Cells:
    """Return a column of numbers."""
    integral = bool((np.trunc(values) == values)[np.isfinite(values)].all())
    return Cells(name, values, "Int64" if integral else "Float64")


def _text_cells(name: str, column: list[str]) -> Cells:
    """Return a column of text; one of only true and false becomes numbers."""
    values = object_array([None if (text := cell.strip()).lower() in MISSING else text for cell in column])
    if {value.lower() for value in values if value is not None} <= {"true", "false"}:
        truth = [np.nan if value is None else float(value.lower() == "true") for value in values]
        return Cells(name, np.array(truth), "Boolean")
    return Cells(name, values, "String")


def _typed_values(column: list[str]) -> NDArray[Any]:
    """Return a column as numbers or dates where all cells that are not missing are such, else as text."""
    cells = [None if (text := cell.strip()).lower() in MISSING else text for cell in column]
    with contextlib.suppress(ValueError):
        return np.array([np.nan if cell is None else _number(cell) for cell in cells])
    with contextlib.suppress(ValueError):
        dates = [None if cell is None else days_since_epoch(datetime.fromisoformat(cell)) for cell in cells]
        days = np.array([np.nan if day is None else day * DAY for day in dates])
        return np.where(np.isnan(days), np.datetime64("NaT"), np.nan_to_num(days).astype("datetime64[us]"))
    return object_array(cells)


def _typed(cells: list[str]) -> NDArray[Any]:
    """Return labels as integers where all are, else as text."""
    try:
        return np.array([int(cell) for cell in cells], dtype=np.int64)
    except (ValueError, OverflowError):
        return plain_labels(np.array([cell.strip() or None for cell in cells], dtype=object))
