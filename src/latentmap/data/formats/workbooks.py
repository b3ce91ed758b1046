"""Sheets of workbooks: of Excel, ``.xlsx``, ``.xlsm``, ``.xlsb`` and ``.xls``, and of OpenDocument, ``.ods``."""

from __future__ import annotations

import importlib
import itertools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from xml.parsers import expat

from latentmap.data.checks import require_known
from latentmap.data.formats.base import Request, Source, reading, unique_names
from latentmap.data.formats.headers import MOST_HEADERS, TYPED, header_names, is_header
from latentmap.data.formats.records import columns_source, rows_as_columns
from latentmap.data.formats.unpacked import PIECE, require_columns, require_room, room
from latentmap.exceptions import DataError, MissingExtraError
from latentmap.messages import counted

MOST_CELLS = 2**22
"""Cells that a sheet may span, however few of them it holds."""
SPARSEST = 64
"""How many cells a larger sheet may span for each that it holds."""
XLSX_CELL = re.compile(rb"""\br\s*=\s*["']([A-Za-z]{0,4})(\d+)["']""")
CELL = 100
"""Bytes that a cell, or a text that cells share, takes in memory."""
XLSX_TAG = re.compile(rb"<(?:\w+:)?c[\s/>]")
XLSX_TEXT = re.compile(rb"<(?:\w+:)?si[\s>]")
XLSX_SHARED = re.compile(rb"<(?:\w+:)?v>\s*(\d{1,12})\s*</")
"""A number: of a text, or a value, which the length of some text then stands for."""
ODS_TAG = re.compile(rb"<table:(table|table-row|table-cell|covered-table-cell)(?![-\w])([^>]*?)(/?)>")
ODS_REPEATED = re.compile(rb"""number-(rows|columns)-repeated\s*=\s*["'](\d+)["']""")

Row = list[Any]


def workbook_source(request: Request) -> Source:
    """Return a source of a sheet of a workbook, by default of the first that is not empty.

    Rows of a single cell above the table are titles; the next row is a header by the rule of text tables, as in a
    ``.csv``. Columns without a name and values are left out, and so is a first column without a name: row names.

    Raises
    ------
    DataError
        If the file is no workbook, damaged, or protected by a password, or the sheet is empty or not there.
    """
    path, calamine = request.path, _calamine_module()
    with reading(path, path.suffix.lower()):
        _require_bounds(path)
        try:
            with path.open("rb") as stream, _opened(calamine, path, stream) as book:
                name, rows, notes = _chosen(path, book, request.member)
        except calamine.PasswordError as error:
            raise DataError(f"{path} is protected by a password: save it without one") from error
        names, rows, more = _split(path, name, rows)
        return columns_source(rows_as_columns(names, rows), request, [*notes, *more])


def _opened(calamine: Any, path: Path, stream: BinaryIO) -> Any:
    """Return a workbook, by its content rather than by its ending."""
    try:
        return calamine.CalamineWorkbook.from_filelike(stream)
    except calamine.CalamineError:
        return calamine.CalamineWorkbook.from_path(str(path))  # whose error says what is wrong


def _chosen(path: Path, book: Any, member: str | None) -> tuple[str, list[Row], list[str]]:
    """Return the name of the sheet to read, its rows that are not blank, and notes."""
    names = list(book.sheet_names)
    if member is not None:
        require_known(member, names, f"{path} has no sheet")
    for name in names if member is None else [member]:
        if rows := book.get_sheet_by_name(name).to_python():  # without blank rows and columns around them
            others = [other for other in names if other != name]
            note = f"sheet {name!r} of {len(names)} is taken; another is {path.name}::{others[0]}" if others else ""
            return name, rows, [note] if note and member is None else []
    raise DataError(f"{path} holds no cells" if member is None else f"{path}: sheet {member!r} is empty")


def _split(path: Path, sheet: str, rows: list[Row]) -> tuple[list[str], list[Row], list[str]]:
    """Return the names of the columns, the rows below them, and notes."""
    notes = []
    filled = [sum(cell != "" for cell in row) for row in rows]
    titles = next((i for i, count in enumerate(filled) if count > 1), 0)
    if titles:
        title = next(str(cell) for cell in rows[0] if cell != "")
        notes.append(f"{counted(sum(map(bool, filled[:titles])), 'line')} above the table left out: {title!r}")
    head, *first = [[_text(cell) for cell in row] for row in rows[titles : titles + 1 + MOST_HEADERS + TYPED]]
    if is_header(head, first):
        head, more = header_names(head, first)
        below = rows[titles + 1 + more :]
    else:
        head, below = [str(i + 1) for i in range(len(head))], rows[titles:]
    if not below:
        raise DataError(f"{path}: sheet {sheet!r} has a header and no rows below it: at least one row is needed")
    used = [any(row[i] != "" for row in below) for i in range(len(head))]
    indexed = len(head) > 1 and head[0] == ""
    kept = [i for i, name in enumerate(head) if (name or used[i]) and not (indexed and i == 0)]
    names = [head[i] or f"column {i + 1}" for i in kept]
    unique_names(names, f"{path}: sheet {sheet!r}")
    return names, [[None if row[i] == "" else row[i] for i in kept] for row in below], notes


def _text(cell: Any) -> str:
    """Return a cell as a text table would hold it.

    >>> [_text(cell) for cell in ("k ", 2019.0, 0.5, "")]
    ['k', '2019', '0.5', '']
    """
    return f"{cell:.0f}" if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def _require_bounds(path: Path) -> None:
    """Raise if a sheet would need far more memory than its file: the library allocates all cells that it spans."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        require_room(path, sum(member.file_size for member in archive.infolist()))
        shared = _shared_lengths(path, archive)
        longest = max(shared, default=0)
        for member in archive.namelist():
            if re.search(r"xl/.*\.xml$", member, re.IGNORECASE):
                rows, columns, cells = _xlsx_extent(archive, member)
                _require_filled(path, rows, columns, cells)
                require_room(path, CELL * cells, "holds cells that take")
                if cells * longest > room():
                    require_room(path, _shared_bytes(archive, member, shared), "holds text that takes")
            elif member == "content.xml":
                _require_well_formed(archive, member)
                extents = _ods_extents(archive, member)  # all of which the library allocates at once
                _require_filled(path, *max(extents, key=lambda extent: extent[0] * extent[1]))
                spanned, cells = sum(r * c for r, c, _ in extents), sum(n for *_, n in extents)
                _require_span(path, spanned, cells, f"a workbook spans {spanned:,} cells")
                require_room(path, CELL * cells, "holds cells that take")
            else:
                archive.read(member)  # checks its length, which the library does not


def _require_well_formed(archive: zipfile.ZipFile, member: str) -> None:
    """Raise if a member is no XML: the library may read one without its end for ever."""
    with archive.open(member) as stream:
        expat.ParserCreate().ParseFile(stream)


def _require_filled(path: Path, rows: int, columns: int, cells: int) -> None:
    _require_span(path, rows * columns, cells, f"a sheet spans {rows:,} rows and {columns:,} columns")
    require_columns(path, columns)


def _require_span(path: Path, spanned: int, cells: int, spans: str) -> None:
    if spanned > max(MOST_CELLS, SPARSEST * cells):
        advice = "delete what lies far outside of the table, or save it as .csv"
        raise DataError(f"{path}: {spans}, but holds {cells:,} cells: {advice}")


def _xlsx_extent(archive: zipfile.ZipFile, member: str) -> tuple[int, int, int]:
    """Return the last row and column that a sheet names, and the number of its cells and rows."""
    rows = columns = count = 0
    for block in _blocks(archive, member):
        found = XLSX_CELL.findall(block)
        count += max(len(found), len(XLSX_TAG.findall(block)))
        rows = max(rows, max((int(row) for _, row in found), default=0))
        columns = max(columns, *map(_column_number, {column for column, _ in found} | {b""}))
    return rows, columns, count


def _shared_lengths(path: Path, archive: zipfile.ZipFile) -> list[int]:
    """Return the lengths of the texts that cells of an Excel workbook refer to by number."""
    stored = next((name for name in archive.namelist() if name.lower() == "xl/sharedstrings.xml"), None)
    if stored is not None:
        texts = sum(len(XLSX_TEXT.findall(block)) for block in _blocks(archive, stored))
        require_room(path, CELL * texts, "holds texts that take")
    return [] if stored is None else [len(text) for text in XLSX_TEXT.split(archive.read(stored))[1:]]


def _shared_bytes(archive: zipfile.ZipFile, member: str, lengths: list[int]) -> int:
    """Return the bytes of the texts that the cells of a sheet refer to."""
    numbers = (int(number) for block in _blocks(archive, member) for number in XLSX_SHARED.findall(block))
    return sum(lengths[number] for number in numbers if number < len(lengths))


def _column_number(letters: bytes) -> int:
    """Return the number of a column.

    >>> [_column_number(letters) for letters in (b"", b"A", b"Z", b"AA", b"XFD")]
    [0, 1, 26, 27, 16384]
    """
    number = 0
    for letter in letters.upper():
        number = 26 * number + letter - 64
    return number


def _blocks(archive: zipfile.ZipFile, member: str) -> Iterator[bytes]:
    """Yield the content of a member in pieces that end with a tag."""
    rest = b""
    with archive.open(member) as stream:
        while piece := stream.read(PIECE):
            whole, mark, rest = (rest + piece).rpartition(b">")
            yield whole + mark
    yield rest


def _ods_extents(archive: zipfile.ZipFile, member: str) -> list[tuple[int, int, int]]:
    """Return how many rows and columns cells with content take, and the number of these cells, of each sheet."""
    sheets: list[tuple[int, int, int]] = []
    rows = columns = count = height = width = 0
    repeat, filled = 1, False
    tags = (found for block in _blocks(archive, member) for found in ODS_TAG.findall(block))
    for tag, attributes, closed in itertools.chain(tags, [(b"table", b"", b"")]):
        repeats = {kind: int(number) for kind, number in ODS_REPEATED.findall(attributes)}
        if tag == b"table":  # the one before has ended
            sheets.append((max(rows, height + repeat if filled else 0), columns, count))
            rows = columns = count = height = width = 0
            repeat, filled = 0, False
        elif tag == b"table-row":
            height += repeat
            rows, width, filled = (height if filled else rows), 0, False
            repeat = repeats.get(b"rows", 1)
        else:
            width += repeats.get(b"columns", 1)
            if not closed:
                columns, count, filled = max(columns, width), count + 1, True
    return sheets


def _calamine_module() -> Any:
    """Import python-calamine."""
    try:
        return importlib.import_module("python_calamine")
    except ImportError as error:
        raise MissingExtraError("python-calamine", "excel") from error
