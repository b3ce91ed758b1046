"""Tables as text: delimited, separated by white space, or of fixed widths; compressed or not, in any usual encoding."""

from __future__ import annotations

import collections
import contextlib
import importlib.util
import itertools
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.columns import DAY, Cells, Requested, object_array
from latentmap.data.files import csv_writer
from latentmap.data.formats.arrays import ArraySource, TableSource, joined_notes
from latentmap.data.formats.base import Request, Source, name_of, plain_labels, reading, unique_names
from latentmap.data.formats.dialects import DELIMITERS, Dialect, Record, dialect_of, padded, records
from latentmap.data.formats.streams import TextFile, text_file, western
from latentmap.data.formats.unpacked import room as allowed
from latentmap.data.frames import empty_frame
from latentmap.data.identifiers import has_ids
from latentmap.data.names import as_known, known_names
from latentmap.data.selection import INDEX, Selection, text_values
from latentmap.data.text import Texts, TextSettings, cells_of_text, text_settings
from latentmap.data.values import beside
from latentmap.exceptions import DataError

BLOCK_CELLS = 2**18
SHOWN = 5
"""The most rows that a note lists."""
LARGE: int | None = None
"""The bytes beyond which a file is read block by block; by default those of which the numbers take the memory that is
allowed."""


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
    aside
        The numbers of columns that are read beside the rows.
    padded
        Whether rows with fewer cells than there are columns end in missing ones.
    """

    file: TextFile
    dialect: Dialect
    names: tuple[str, ...]
    settings: Mapping[int, TextSettings]
    label: int | None
    aside: tuple[int, ...] = ()
    padded: bool = False

    @property
    def notes(self) -> list[str]:
        """What was assumed of the file."""
        usual = self.file.encoding in ("utf-8", "utf-8-sig")
        return [*self.dialect.notes, *([] if usual else [f"the text is read as {self.file.encoding}"])]

    def records(self, lines: Iterator[str]) -> Iterator[Record]:
        """Yield the rows; raise where one has more cells than there are columns, or fewer if they are not ``padded``.

        Raises
        ------
        DataError
            With the first row that has more cells, or other delimiters, its line, and how many there are.
        ShortRowsError
            If rows have fewer cells.
        """
        dialect, path = self.dialect, self.file.path
        for _ in range(dialect.skip):
            next(lines)
        rows, bad, first, short = 0, 0, "", list[int]()
        for line, cells in records(path, lines, dialect):
            if len(cells) == dialect.width:
                rows += 1
            elif dialect.comment and cells[0].startswith(dialect.comment):
                continue
            elif len(cells) < dialect.width and not self._is_delimited_otherwise(cells):
                rows += 1
                short.append(rows)
                if not self.padded:
                    continue
                cells = padded(cells, dialect.width)
            else:
                rows += 1
                bad += 1
                first = first or f"row {rows} (line {line + dialect.skip}) has {len(cells)} cells"
            if not bad:
                yield line, cells
        if bad:
            more = f"; {bad:,} of {rows:,} rows differ" if bad > 1 else ""
            raise DataError(f"{path}: {first}, expected {dialect.width} as in the first line{more}")
        if short and not self.padded:
            raise ShortRowsError(short, rows, dialect.width)

    def _is_delimited_otherwise(self, cells: list[str]) -> bool:
        return len(cells) == 1 and any(cells[0].count(mark) == self.dialect.width - 1 for mark in DELIMITERS)


class ShortRowsError(Exception):
    """Rows with fewer cells than there are columns; ``note`` says which."""

    def __init__(self, short: list[int], rows: int, width: int) -> None:
        listed = ", ".join(map(str, short[:SHOWN])) + (", ..." if len(short) > SHOWN else "")
        which, have = ("row", "has") if len(short) == 1 else ("rows", "have")
        self.note = (
            f"{len(short):,} of {rows:,} rows {have} fewer than {width} cells, the others of which are missing "
            f"({which} {listed})"
        )
        super().__init__(self.note)


def delimited_source(request: Request) -> Source:
    """Return a source of a text table of numbers, text and dates, a row a line; blank cells and NA are missing.

    Encoding, compression, delimiter, comments and headers are inferred from the first MB, the type of a column from all
    of its cells (see `latentmap.data.text.cells_of_text`). A first column without a name is taken for row names, as
    pandas and R write them, and left out; it is called index.

    Raises
    ------
    DataError
        With the file and what is wrong: rows of different lengths, duplicate names, open quotes, no text, a truncated
        archive, no rows.
    """
    with reading(request.path):
        file = text_file(request.path)
        try:
            return _open(file, request)
        except UnicodeDecodeError:  # beyond the first MB
            return _open(replace(file, encoding=western(file.sample)), request)


def _source(
    plan: Plan,
    cells: list[Cells],
    label_cells: list[str | None],
    request: Request,
    room: NDArray[np.float64] | None = None,
) -> ArraySource:
    path, dialect, columns = plan.file.path, plan.dialect, request.columns
    unnamed = {f"Unnamed: {i}" for i in range(dialect.width)}
    cells = [one for one in cells if one.name not in unnamed or one.n_present]
    annotations: dict[str, Any] = {"name": str(path), "labels": request.labels, "label_name": None}
    if plan.label is not None:
        annotations |= {"labels": _typed(label_cells), "label_name": plan.names[plan.label]}
    plain = all(one.numeric and not one.type.startswith("Date") for one in cells)
    clean = plain and not any(one.format or one.note or one.type == "Boolean" for one in cells)
    ids = dialect.names is not None and (has_ids(cells) or any(not one.n_present for one in cells))
    if columns is None and (plain if request.numeric else clean and not ids):
        names = None if dialect.names is None else [one.name for one in cells]
        rows = beside([one.values for one in cells], room) if cells else np.empty((1, 0))
        source = ArraySource(np.ascontiguousarray(rows), names=names, **annotations)  # as those of other formats
        source.header = None if names is None else empty_frame(names)
    else:
        source = TableSource(cells, columns, room=room, **annotations)
    source.remark = joined_notes([*plan.notes, source.remark])
    return source


def _open(file: TextFile, request: Request) -> Source:
    selection = request.selection
    plan = _plan(file, _spelled(dialect_of(file), request), request)
    source, beside = _opened(plan, request)
    source.beside = {
        name: text_values(cells) if name in selection.left_out else _values(cells_of_text(name, cells))
        for name, cells in beside.items()
    }
    source.ignored = _by_name(plan.dialect, request).ignored(_named(plan.dialect), source.label_name)
    return source


Opened = tuple[Source, dict[str, list[str | None]]]
"""A source of the rows, and the text beside them."""


def _opened(plan: Plan, request: Request) -> Opened:
    """Return the rows of a file, in which quotes are doubled within quotes, or have a backslash before."""
    failure, found = None, None
    try:
        found = _padded(plan, request)
    except DataError as error:
        failure = error
    texts = (one.written[0] for one in found[0].cells if one.written) if found else ()
    if (failure or any("\\" in text for levels in texts for text in levels)) and _has_escapes(plan):
        with contextlib.suppress(DataError):
            return _padded(replace(plan, dialect=replace(plan.dialect, escape="\\")), request)
    if found is None:
        raise failure or AssertionError
    return found


def _has_escapes(plan: Plan) -> bool:
    """Return whether quotes below the first lines have a backslash before, and cannot be read without."""
    if plan.dialect.escape or not plan.dialect.delimited:
        return False
    with plan.file.lines() as lines:
        if not any('\\"' in line for line in lines):
            return False
    with plan.file.lines() as lines:
        try:
            collections.deque(
                records(plan.file.path, itertools.islice(lines, plan.dialect.skip, None), plan.dialect), 0
            )
        except DataError:
            return True
    return False


def _padded(plan: Plan, request: Request) -> Opened:
    """Return the rows, of which those that are too short end in missing cells."""
    try:
        return _as_usual(plan, request)
    except ShortRowsError as error:
        noted = replace(plan.dialect, notes=(*plan.dialect.notes, error.note))
        return _as_usual(replace(plan, padded=True, dialect=noted), request)


def _as_usual(plan: Plan, request: Request) -> Opened:
    """Return what `_read` does; short rows, and blanks or backslashes before quotes, are first rewritten as usual."""
    if not (plan.padded or plan.dialect.spaced or plan.dialect.escape):
        return _read(plan, request)
    with tempfile.TemporaryDirectory(prefix="latentmap-") as folder:
        path = Path(folder) / "table.csv"
        try:
            source, beside = _read(_rewritten(plan, path), request)
        except DataError as error:
            raise DataError(str(error).replace(str(path), str(plan.file.path))) from error
    source.name = str(plan.file.path)
    return source, beside


def _rewritten(plan: Plan, path: Path) -> Plan:
    """Write the rows to a file, delimited by commas and all as long, and return how it is read."""
    with plan.file.lines() as lines, path.open("w", encoding="utf-8", newline="") as file:
        csv_writer(file).writerows(cells for _, cells in plan.records(lines))
    dialect = replace(
        plan.dialect, delimiter=",", edges=(), skip=0, comment="", spaced=False, escape="", notes=tuple(plan.notes)
    )
    return replace(plan, file=text_file(path, "utf-8"), dialect=dialect)


def _read(plan: Plan, request: Request) -> Opened:
    """Return a source of the rows, and the text of the columns beside them."""
    file = plan.file
    unix = b"\n" in file.sample  # pyarrow's lines and ours are the same
    if not (plan.dialect.delimited and unix and _has_pyarrow()):
        cells, label_cells, beside = read_rows(plan)
        return _source(plan, cells, label_cells, request), beside
    from latentmap.data.formats.delimited_columns import read_arrow, read_aside

    if file.is_longer(_most_text(plan) if LARGE is None else LARGE):
        from latentmap.data.formats.delimited_blocks import block_source

        return block_source(plan, request), read_aside(plan)
    cells, label_cells, room = read_arrow(plan, request.columns.missing if request.columns is not None else ())
    return _source(plan, cells, label_cells, request, room), read_aside(plan)


def _most_text(plan: Plan) -> int:
    """Return the bytes of text whose numbers take the memory that is allowed: of short cells they take more."""
    sample = plan.file.sample
    cells = plan.dialect.width * sample.count(b"\n")
    return int(allowed() * min(1.0, len(sample) / (8 * cells)))


def _has_pyarrow() -> bool:
    return importlib.util.find_spec("pyarrow") is not None


def _plan(file: TextFile, dialect: Dialect, request: Request) -> Plan:
    columns, selection, names = request.columns, request.selection, _names(dialect)
    unique_names(names[dialect.index :], str(file.path))
    label_name = name_of(request.labels, names, f"{file.path} has no column")
    label = None if label_name is None else names.index(label_name)
    chosen = _by_name(dialect, request).kept(names, label_name, str(file.path))
    places = {name: i for i, name in enumerate(names) if i >= dialect.index}
    kept = [places[name] for name in chosen if name in places]
    comma = dialect.delimiter == ";"
    settings = {i: text_settings(names[i], columns, comma=comma) for i in kept}
    if isinstance(columns, Requested):
        _check_names(file.path, columns, names)
    return Plan(file, dialect, names, settings, label, tuple(names.index(name) for name in selection.found(names)))


def _spelled(dialect: Dialect, request: Request) -> Dialect:
    """Return a dialect with names as the fit spells them; row names are a column like others if the fit had them."""
    if dialect.names is None:
        return dialect
    known = known_names(request)
    names = tuple(as_known(dialect.names, known))
    return replace(dialect, names=names, index=0 if dialect.index == 1 and names[0] in known else dialect.index)


def _names(dialect: Dialect) -> tuple[str, ...]:
    """Return the names of all columns; that of row names without one is the index."""
    names = dialect.names or tuple(str(i + 1) for i in range(dialect.width))
    return (INDEX, *names[1:]) if dialect.index and INDEX not in names else names


def _named(dialect: Dialect) -> list[str]:
    """Return the names of the columns below the row names that were named, or hold something in the first rows."""
    names = list(enumerate(_names(dialect)))[dialect.index :]
    return [
        name
        for i, name in names
        if name != f"Unnamed: {i}" or any(i < len(row) and row[i].strip() for row in dialect.rows)
    ]


def _by_name(dialect: Dialect, request: Request) -> Selection:
    """Return which columns to read; a fit to numbers takes those of a file without a header by place."""
    by_place = dialect.names is None and request.columns is None
    return replace(request.selection, wanted=None) if by_place else request.selection


def _check_names(path: Path, columns: Requested, names: tuple[str, ...]) -> None:
    for name in columns.settings:
        name_of(name, names, f"{path} has no column")


def read_rows(plan: Plan) -> tuple[list[Cells], list[str | None], dict[str, list[str | None]]]:
    """Return columns, labels, and the text of the columns beside them, with the standard library."""
    parts: dict[int, list[str]] = {i: [] for i in plan.settings}
    aside: dict[int, list[str | None]] = {i: [] for i in plan.aside}
    labels: list[str | None] = []
    with plan.file.lines() as lines:
        rows = plan.records(lines)
        while block := list(itertools.islice(rows, max(1, BLOCK_CELLS // plan.dialect.width))):
            columns = list(zip(*(cells for _, cells in block), strict=True))
            for i, part in parts.items():
                part.extend(columns[i])
            for i, texts in aside.items():
                texts.extend(columns[i])
            if plan.label is not None:
                labels += columns[plan.label]
    cells = [cells_of_text(plan.names[i], Texts.of(part), plan.settings[i]) for i, part in parts.items()]
    return cells, labels, {plan.names[i]: texts for i, texts in aside.items()}


def _values(cells: Cells) -> NDArray[Any]:
    """Return a column as numbers or dates where it holds such, else as text."""
    if not cells.numeric or cells.type == "Boolean":
        return object_array(list(cells.as_they_were()))
    if cells.type.startswith("Date"):
        times = np.nan_to_num(cells.values * DAY).astype("datetime64[us]")
        return np.where(np.isnan(cells.values), np.datetime64("NaT"), times)
    return cells.values


def _typed(cells: list[str | None]) -> NDArray[Any]:
    """Return labels as integers where all are, else as text."""
    try:
        return np.array([int(cell or "") for cell in cells], dtype=np.int64)
    except (ValueError, OverflowError):
        return plain_labels(np.array([(cell or "").strip() or None for cell in cells], dtype=object))
