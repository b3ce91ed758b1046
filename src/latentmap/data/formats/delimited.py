"""Tables as text, ``.csv`` and ``.tsv``, gzipped or not: read with the standard library, held as double precision."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.formats.arrays import ArraySource
from latentmap.data.formats.base import Labels, plain_labels, reading, suggest, unique_names
from latentmap.data.schema import EXACT
from latentmap.exceptions import DataError

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
DELIMITERS = ",;\t|"
BLOCK_CELLS = 2**18

Record = tuple[int, list[str]]  # the line that a record ends on, and its cells


class DelimitedSource(ArraySource):
    r"""A text table with one row a line: values are double precision, blank cells and NA are missing.

    The delimiter of a ``.csv`` is the first of ``, ; tab |`` that gives the first two lines equally many cells, two or
    more; that of a ``.tsv`` is the tab. The first line is a header if it holds no number, or text above a number, or
    counts 0, 1, 2, ... over three columns or more. An unnamed first column is taken for row names, as pandas and R
    write them, and left out.

    Parameters
    ----------
    path
        The file: UTF-8 text.
    labels
        The name of the column of labels (in a file without a header its number, from 1), or one label a row.

    Raises
    ------
    DataError
        With file, row and column: text in a column of numbers, rows of different lengths, duplicate names, another
        delimiter, another encoding, integers beyond 2^53, a truncated archive, no rows.
    """

    def __init__(self, path: Path, labels: Labels = None) -> None:
        with reading(path), _text(path) as lines:
            table = _Table(path, lines, labels if isinstance(labels, str) else None)
            values, cells = table.read()
        label_name = labels if isinstance(labels, str) else None
        labels = labels if label_name is None else _typed(cells)
        super().__init__(values, name=str(path), names=table.names, labels=labels, label_name=label_name)


class _Table:
    """The columns of one file, found from its first two rows, and its cells as numbers."""

    def __init__(self, path: Path, lines: io.TextIOWrapper, labels: str | None) -> None:
        self.path = path
        delimiter = "\t" if path.name.lower().endswith((".tsv", ".tsv.gz")) else _delimiter(lines)
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

    def read(self) -> tuple[NDArray[np.float64], list[str]]:
        """Return the numbers, shape (n, columns), and the cells of the label column."""
        parts: list[NDArray[np.float64]] = []
        labels: list[str] = []
        start, size = 0, max(1, BLOCK_CELLS // self.width)
        while block := list(itertools.islice(self.records, size)):
            for row, (line, cells) in enumerate(block, start):
                if len(cells) != self.width:
                    found = f"row {row + 1} (line {line}) has {len(cells)} cells"
                    raise DataError(f"{self.path}: {found}, expected {self.width} as in the first line")
            if self.labelled is not None:
                labels += [cells[self.labelled] for _, cells in block]
            parts.append(self._numbers(block, start))
            start += len(block)
        return np.concatenate(parts), labels

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
            if re.fullmatch(r"\s*[+-]?\d+\s*", flat[i]) and abs(int(flat[i])) > EXACT:
                where = self._place(block, start, i // len(self.kept), i % len(self.kept))
                raise DataError(
                    f"{self.path}: {where}: {flat[i].strip()} is beyond 2^53 and would lose digits as a float; "
                    "drop it if it is an id"
                )
        return values.reshape(len(rows), len(self.kept))

    def _require_numbers(self, rows: list[list[str]], block: list[Record], start: int) -> None:
        """Raise for the first cell that is text: its column if that holds nothing else, else the cell."""
        for j in range(len(self.kept)):
            column = [row[j] for row in rows]
            text = [i for i, cell in enumerate(column) if not _is_number(cell)]
            if not text:
                continue
            cell, name = column[text[0]].strip(), self.columns[self.kept[j]]
            hint = "; write decimals with a point" if re.fullmatch(r"[+-]?\d+,\d+", cell) else ""
            if len(text) == sum(cell.strip().lower() not in MISSING for cell in column):
                advice = f"use it as labels with --labels {name} (labels={name!r}), or drop it"
                raise DataError(f"{self.path}: column {name!r} holds text ({cell!r}), not numbers{hint}: {advice}")
            raise DataError(f"{self.path}: {self._place(block, start, text[0], j)}: {cell!r} is not a number{hint}")

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
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: {error}; check the quotes") from error


def _delimiter(lines: io.TextIOWrapper) -> str:
    sample = [line for line in itertools.islice(lines, 20) if line.strip()][:2]
    lines.seek(0)
    for delimiter in DELIMITERS:
        widths = {len(cells) for cells in csv.reader(sample, delimiter=delimiter)}
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


def _typed(cells: list[str]) -> NDArray[Any]:
    """Return labels as integers where all are, else as text."""
    try:
        return np.array([int(cell) for cell in cells], dtype=np.int64)
    except (ValueError, OverflowError):
        return plain_labels(np.array([cell.strip() or None for cell in cells], dtype=object))
