"""Tables as text, ``.csv`` and ``.tsv``, gzipped or not: read with the standard library, held as double precision."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.columns import Cells, ColumnSpec, Table
from latentmap.data.formats.arrays import ArraySource, TableSource
from latentmap.data.formats.base import LabelSpec, plain_labels, reading, unique_names
from latentmap.data.schema import EXACT
from latentmap.exceptions import DataError
from latentmap.messages import suggest

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
DELIMITERS = ",;\t|"
BLOCK_CELLS = 2**18

DECIMAL_COMMA = r"[+-]?\d+,\d+"
TEXTS = ("String", "Categorical", "Enum")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Record = tuple[int, list[str]]  # the line that a record ends on, and its cells


def delimited_source(path: Path, labels: LabelSpec = None, columns: ColumnSpec = None) -> ArraySource:
    r"""Read a text table with one row a line: numbers in double precision, text, dates; blank cells and NA are missing.

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
        What is known or asked of the columns.

    Raises
    ------
    DataError
        With file, row and column: text in a column of numbers, rows of different lengths, duplicate names, another
        delimiter, another encoding, integers beyond 2^53, a truncated archive, no rows.
    """
    with reading(path), _text(path) as lines:
        found = _Table(path, lines, labels if isinstance(labels, str) else None, columns)
        values, texts, label_cells = found.read()
    label_name = labels if isinstance(labels, str) else None
    labels = labels if label_name is None else _typed(label_cells)
    if columns is None and not texts:
        return ArraySource(values, name=str(path), names=found.names, labels=labels, label_name=label_name)
    cells = found.cells(values, texts)
    return TableSource(cells, columns, name=str(path), labels=labels, label_name=label_name)


class _Table:
    """The columns of one file, found from its first rows, and its cells as numbers and text."""

    def __init__(self, path: Path, lines: io.TextIOWrapper, labels: str | None, columns: ColumnSpec) -> None:
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
        indexed = self.header and self.width > 1 and not head[0]
        self.columns = [cell.removeprefix("#").strip() for cell in head] if self.header else self._numbers_as_names()
        unique_names(self.columns, str(path))
        self.labelled = None if labels is None else self._find(labels)
        self.kept = [i for i in range(self.width) if i != self.labelled and not (indexed and i == 0)]
        self.names = [self.columns[i] for i in self.kept] if self.header else None
        known = columns.columns if isinstance(columns, Table) else ()
        self.known = {c.name: c.type in TEXTS or c.type.startswith("Date") for c in known if c.type != "Boolean"}
        self.texts: list[int] | None = None

    def read(self) -> tuple[NDArray[np.float64], dict[int, list[str]], list[str]]:
        """Return the numbers, shape (n, columns), the cells of columns of text by number, and those of the labels."""
        parts: list[NDArray[np.float64]] = []
        labels: list[str] = []
        texts: dict[int, list[str]] = {}
        start, size = 0, max(1, BLOCK_CELLS // self.width)
        while block := list(itertools.islice(self.records, size)):
            for row, (line, cells) in enumerate(block, start):
                if len(cells) != self.width:
                    found = f"row {row + 1} (line {line}) has {len(cells)} cells"
                    raise DataError(f"{self.path}: {found}, expected {self.width} as in the first line")
            if self.labelled is not None:
                labels += [cells[self.labelled] for _, cells in block]
            if self.texts is None:
                self.texts = [i for i in self.kept if self._is_text(i, block, start)]
                self.kept = [i for i in self.kept if i not in self.texts]
            for i in self.texts:
                texts.setdefault(i, []).extend(cells[i] for _, cells in block)
            parts.append(self._numbers(block, start))
            start += len(block)
        return np.concatenate(parts), texts, labels

    def cells(self, values: NDArray[np.float64], texts: dict[int, list[str]]) -> list[Cells]:
        """Return the columns in their order."""
        found = {}
        for place, i in enumerate(self.kept):
            numbers = values[:, place]
            whole = bool((np.trunc(numbers) == numbers)[np.isfinite(numbers)].all())
            found[i] = Cells(self.columns[i], numbers, "Int64" if whole else "Float64")
        for i, column in texts.items():
            found[i] = self._dates(i, column) or _words(self.columns[i], column)
        return [found[i] for i in sorted(found)]

    def _dates(self, i: int, column: list[str]) -> Cells | None:
        """Read a column of dates; None if its first cell is none."""
        days = np.full(len(column), np.nan)
        zone, short = False, True
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
            zone, short = zone or date.tzinfo is not None, short and len(text) == 10
            date = date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
            days[row] = (date - EPOCH).total_seconds() / 86400
        type_ = "Date" if short else f"Datetime(time_unit='us', time_zone={'UTC' if zone else None!r})"
        return Cells(self.columns[i], days, type_)

    def _is_text(self, column: int, block: list[Record], start: int) -> bool:
        """Whether most cells that are there are no numbers."""
        name = self.columns[column]
        if name in self.known:
            return self.known[name]
        there = [cell for _, cells in block if (cell := cells[column].strip()).lower() not in MISSING]
        words = [cell for cell in there if not _is_number(cell)]
        if words and all(re.fullmatch(DECIMAL_COMMA, cell) for cell in words):
            row = next(r for r, (_, cells) in enumerate(block) if cells[column].strip() == words[0])
            where = f"row {start + row + 1} (line {block[row][0]}), column {name!r}"
            raise DataError(f"{self.path}: {where}: {words[0]!r} is not a number; write decimals with a point")
        return 2 * len(words) > len(there)

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
                where = self._place(block, start, i // len(self.kept), i % len(self.kept))
                raise DataError(
                    f"{self.path}: {where}: {flat[i].strip()[:40]} is beyond 2^53 and would lose digits as a float; "
                    "drop it if it is an id"
                )
        return values.reshape(len(rows), len(self.kept))

    def _require_numbers(self, rows: list[list[str]], block: list[Record], start: int) -> None:
        """Raise for the first cell that is text."""
        for j in range(len(self.kept)):
            text = next((i for i, row in enumerate(rows) if not _is_number(row[j])), None)
            if text is not None:
                cell = rows[text][j].strip()
                hint = "; write decimals with a point" if re.fullmatch(DECIMAL_COMMA, cell) else ""
                where = self._place(block, start, text, j)
                raise DataError(f"{self.path}: {where}: {cell!r} is not a number, as most of the column are{hint}")

    def _place(self, block: list[Record], start: int, row: int, column: int) -> str:
        return f"row {start + row + 1} (line {block[row][0]}), column {self.columns[self.kept[column]]!r}"

    def _require_split(self, cells: list[str]) -> None:
        found = next((mark for mark in (*DELIMITERS, " ") if self.width == 1 and mark in cells[0].strip()), None)
        if found is not None:
            expected = "commas in a .csv, tabs in a .tsv"
            message = f"one column found, but its text {cells[0]!r} holds {found!r}: separate cells by {expected}"
            raise DataError(f"{self.path}: {message}")

    def _numbers_as_names(self) -> list[str]:
        return [str(i + 1) for i in range(self.width)]

    def _find(self, labels: str) -> int:
        if labels not in self.columns:
            raise DataError(f"{self.path} has no column {labels!r}: {suggest(labels, self.columns)}")
        return self.columns.index(labels)


def _text(path: Path) -> io.TextIOWrapper:
    opener: Any = gzip.open if path.name.lower().endswith(".gz") else open
    stream: io.TextIOWrapper = opener(path, "rt", encoding="utf-8-sig", newline="")
    return stream


def _records(path: Path, lines: io.TextIOWrapper, delimiter: str) -> Iterator[Record]:
    """Yield each record that is not blank with the number of its line."""
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
    """Yield lines of text; those of a damaged file, or of one that is no text, hold bytes of 0."""
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
    counted = first if first[0] else first[1:]  # as pandas names columns that have no names
    return len(second) > 2 and len(counted) > 2 and counted == [str(i) for i in range(len(counted))]


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


def _words(name: str, column: list[str]) -> Cells:
    """Give a column of text; one of nothing but true and false is numbers."""
    values = np.empty(len(column), dtype=object)
    values[:] = [None if (text := cell.strip()).lower() in MISSING else text for cell in column]
    if {value.lower() for value in values if value is not None} <= {"true", "false"}:
        truth = [np.nan if value is None else float(value.lower() == "true") for value in values]
        return Cells(name, np.array(truth), "Boolean")
    return Cells(name, values, "String")


def _typed(cells: list[str]) -> NDArray[Any]:
    """Return labels as integers where all are, else as text."""
    try:
        return np.array([int(cell) for cell in cells], dtype=np.int64)
    except (ValueError, OverflowError):
        return plain_labels(np.array([cell.strip() or None for cell in cells], dtype=object))
