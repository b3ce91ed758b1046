"""Tables as text: delimited, separated by white space, or of fixed widths; compressed or not, in any usual encoding."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.columns import Cells, ColumnSpec, Requested
from latentmap.data.formats.arrays import ArraySource, TableSource, joined_notes
from latentmap.data.formats.base import LabelSpec, Source, name_of, plain_labels, reading, unique_names
from latentmap.data.formats.dialects import Dialect, Record, dialect_of, records
from latentmap.data.formats.streams import TextFile, text_file, western
from latentmap.data.frames import empty_frame
from latentmap.data.identifiers import has_ids
from latentmap.data.streaming import read_memory
from latentmap.data.text import Texts, TextSettings, cells_of_text, text_settings
from latentmap.exceptions import DataError

BLOCK_CELLS = 2**18
PACKED = 5
"""The bytes of text that a compressed byte is taken for."""
LARGE: int | None = None
"""The bytes beyond which a file is read block by block; by default those of a quarter of the memory that is free."""


@dataclass(frozen=True)
class Plan:
    """What is read of a file: by the number of its column, and how.

    Attributes
    ----------
    file, dialect
        The file, and how its cells are separated.
    names
        The names of all columns.
    settings
        What is known of the columns to read, by number.
    label
        The number of the column with the labels.
    """

    file: TextFile
    dialect: Dialect
    names: tuple[str, ...]
    settings: Mapping[int, TextSettings]
    label: int | None

    @property
    def notes(self) -> list[str]:
        """What was assumed of the file."""
        usual = self.file.encoding in ("utf-8", "utf-8-sig")
        return [*self.dialect.notes, *([] if usual else [f"the text is read as {self.file.encoding}"])]

    def records(self, lines: Iterator[str]) -> Iterator[Record]:
        """Yield the rows; raise where one has more or fewer cells than the first line.

        Raises
        ------
        DataError
            With the first such row and its line, and how many there are.
        """
        dialect, path = self.dialect, self.file.path
        for _ in range(dialect.skip):
            next(lines)
        rows, bad, first = 0, 0, ""
        for line, cells in records(path, lines, dialect):
            if len(cells) == dialect.width:
                rows += 1
                if not bad:
                    yield line, cells
            elif not (dialect.comment and cells[0].startswith(dialect.comment)):
                rows += 1
                bad += 1
                first = first or f"row {rows} (line {line + dialect.skip}) has {len(cells)} cells"
        if bad:
            more = f"; {bad:,} of {rows:,} rows differ" if bad > 1 else ""
            raise DataError(f"{path}: {first}, expected {dialect.width} as in the first line{more}")


def delimited_source(
    path: Path, labels: LabelSpec = None, columns: ColumnSpec = None, *, numeric: bool = False
) -> Source:
    """Return a source of a text table of numbers, text and dates, a row a line; blank cells and NA are missing.

    Encoding, compression, delimiter, comments and headers are inferred from the first MB, the type of a column from all
    of its cells (see `latentmap.data.text.cells_of_text`). A first column without a name is taken for row names, as
    pandas and R write them, and left out.

    Parameters
    ----------
    path
        The file.
    labels
        The name of the column of labels (in a file without a header its number, from 1), or one label a row.
    columns
        The columns of the fit, or settings of columns.
    numeric
        Whether all columns are features of a fit to numbers alone, ids too.

    Raises
    ------
    DataError
        With the file and what is wrong: rows of different lengths, duplicate names, open quotes, no text, a truncated
        archive, no rows.
    """
    with reading(path):
        file = text_file(path)
        try:
            return _open(file, labels, columns, numeric=numeric)
        except UnicodeDecodeError:  # beyond the first MB
            return _open(replace(file, encoding=western(file.sample)), labels, columns, numeric=numeric)


def _source(
    plan: Plan,
    cells: list[Cells],
    label_cells: list[str | None],
    labels: LabelSpec,
    columns: ColumnSpec,
    *,
    numeric: bool,
) -> ArraySource:
    path, dialect = plan.file.path, plan.dialect
    unnamed = {f"Unnamed: {i}" for i in range(dialect.width)}
    cells = [one for one in cells if one.name not in unnamed or len(one.present)]
    annotations: dict[str, Any] = {"name": str(path), "labels": labels, "label_name": None}
    if plan.label is not None:
        annotations |= {"labels": _typed(label_cells), "label_name": plan.names[plan.label]}
    plain = all(one.numeric and not one.type.startswith("Date") for one in cells)
    clean = plain and not any(one.format or one.note or one.type == "Boolean" for one in cells)
    ids = dialect.names is not None and has_ids(cells)
    if columns is None and (plain if numeric else clean and not ids):
        names = None if dialect.names is None else [one.name for one in cells]
        rows = np.stack([one.values for one in cells], axis=1) if cells else np.empty((1, 0))
        source = ArraySource(rows, names=names, **annotations)
        source.header = None if names is None else empty_frame(names)
    else:
        source = TableSource(cells, columns, **annotations)
    source.remark = joined_notes([*plan.notes, source.remark])
    return source


def _open(file: TextFile, labels: LabelSpec, columns: ColumnSpec, *, numeric: bool) -> Source:
    plan = _plan(file, dialect_of(file), labels, columns)
    unix = b"\n" in file.sample  # pyarrow's lines and ours are the same
    if not (plan.dialect.delimited and unix and _has_pyarrow()):
        return _source(plan, *read_rows(plan), labels, columns, numeric=numeric)
    size = file.path.stat().st_size * (PACKED if file.compression else 1)
    if size > (read_memory(None) if LARGE is None else LARGE):
        from latentmap.data.formats.delimited_blocks import block_source

        return block_source(plan, labels, columns)
    from latentmap.data.formats.delimited_arrow import read_arrow

    cells, label_cells = read_arrow(plan, columns.missing if columns is not None else ())
    return _source(plan, cells, label_cells, labels, columns, numeric=numeric)


def _has_pyarrow() -> bool:
    return importlib.util.find_spec("pyarrow") is not None


def _plan(file: TextFile, dialect: Dialect, labels: LabelSpec, columns: ColumnSpec) -> Plan:
    numbered = tuple(str(i + 1) for i in range(dialect.width))
    names = dialect.names or numbered
    unique_names(names[dialect.index :], str(file.path))
    label_name = name_of(labels, names, f"{file.path} has no column")
    label = None if label_name is None else names.index(label_name)
    kept = [i for i in range(dialect.width) if i != label and i >= dialect.index]
    comma = dialect.delimiter == ";"
    settings = {i: text_settings(names[i], columns, comma=comma) for i in kept}
    if isinstance(columns, Requested):
        _check_names(file.path, columns, names)
    return Plan(file, dialect, names, settings, label)


def _check_names(path: Path, columns: Requested, names: tuple[str, ...]) -> None:
    for name in columns.settings:
        name_of(name, names, f"{path} has no column")


def read_rows(plan: Plan) -> tuple[list[Cells], list[str | None]]:
    """Return columns and labels, with the standard library."""
    parts: dict[int, list[str]] = {i: [] for i in plan.settings}
    labels: list[str | None] = []
    with plan.file.lines() as lines:
        rows = plan.records(lines)
        while block := list(itertools.islice(rows, max(1, BLOCK_CELLS // plan.dialect.width))):
            columns = list(zip(*(cells for _, cells in block), strict=True))
            for i, part in parts.items():
                part.extend(columns[i])
            if plan.label is not None:
                labels += columns[plan.label]
    return [cells_of_text(plan.names[i], Texts.of(part), plan.settings[i]) for i, part in parts.items()], labels


def _typed(cells: list[str | None]) -> NDArray[Any]:
    """Return labels as integers where all are, else as text."""
    try:
        return np.array([int(cell or "") for cell in cells], dtype=np.int64)
    except (ValueError, OverflowError):
        return plain_labels(np.array([(cell or "").strip() or None for cell in cells], dtype=object))
