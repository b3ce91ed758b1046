"""How a file of text separates its cells, and which of its first lines are comments and headers."""

from __future__ import annotations

import collections
import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from latentmap.data.formats.headers import header_names, is_header, is_number, is_typed, mostly
from latentmap.data.formats.quotes import escape_of, is_spaced, is_strict, split
from latentmap.data.formats.streams import TextFile
from latentmap.data.formats.unpacked import require_columns
from latentmap.data.text_dates import duration, stamp
from latentmap.data.text_numbers import amount
from latentmap.exceptions import DataError
from latentmap.messages import counted

DELIMITERS = ",;\t|"
SINGLE = ",\t|;"
"""The delimiters of a single column, of which the first is taken that occurs in no cell; commas are decimal with ;."""
SNIFFED = 1000
"""The lines from which the delimiter is inferred."""
COMMENT = re.compile(r"#(?!(?:N/A|NA|DIV/0!|VALUE!|REF!|NAME\?|NUM!|NULL!))|%|//")
INDEX = re.compile(r"(?:Unnamed: 0(?:\.\d+)*)?")
"""The name of a column of row names, as R and pandas write it."""

Record = tuple[int, list[str]]  # the line that a record ends on, and its cells


@dataclass(frozen=True)
class Dialect:
    """How the cells of a file are separated, and what stands above them.

    Attributes
    ----------
    delimiter
        The character between cells; a space for white space of any length.
    edges
        Where the columns begin, if they have fixed widths.
    skip
        The lines before the first row.
    names
        The names of the columns; None without a header.
    width
        The number of columns.
    index
        The number of first columns that hold row names.
    comment
        What a line that is no row begins with; empty if nothing.
    notes
        What was assumed.
    rows
        The first rows.
    spaced
        Whether blanks after a delimiter are none of the cell, so that quotes after them are such.
    escape
        What stands before quotes within quotes, where they are not doubled: a backslash, or nothing.
    """

    delimiter: str = ","
    edges: tuple[int, ...] = ()
    skip: int = 0
    names: tuple[str, ...] | None = None
    width: int = 0
    index: int = 0
    comment: str = ""
    notes: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    spaced: bool = False
    escape: str = ""

    @property
    def delimited(self) -> bool:
        """Whether a single character stands between cells."""
        return not self.edges and self.delimiter != " "


def dialect_of(file: TextFile) -> Dialect:
    """Infer how a file separates its cells from its first lines.

    Raises
    ------
    DataError
        If there are no rows, quotes are open, or the lines have no common delimiter.
    """
    text, whole = file.head()
    stream = io.StringIO(text, newline="")
    lines = list(itertools.islice(stream, SNIFFED))
    whole = whole and not stream.readline()
    skipped, comments, separator = _preamble(lines)
    if rows_above := _rows_above(file.path, lines[:skipped], lines[skipped:]):
        skipped, comments = skipped - rows_above, comments[:-rows_above]
    if not (body := lines[skipped:]):
        raise DataError(f"{file.path}: no rows, only {'comments' if comments else 'blank lines'}")
    if "\0" in text:
        raise DataError(f"{file.path}: line {text[: text.index(chr(0))].count(chr(10)) + 1} holds a NUL byte (0x00)")
    first_rows = [row for mark in " " + DELIMITERS for row in split(body[:2], mark)]
    require_columns(file.path, max(map(len, first_rows), default=0))
    mark = COMMENT.match(comments[-1]) if comments else None
    found = _separation(file.path, body, separator, whole=whole)
    if found.delimited and not found.escape and '\\"' in text:  # below the lines that tell the delimiter
        all_lines = list(io.StringIO(text, newline=""))[skipped:]
        found = replace(found, escape=escape_of(all_lines, found.delimiter, spaced=found.spaced))
    dialect = replace(found, skip=skipped, comment=mark[0] if mark else "#")
    sample = _first_records(file.path, body, dialect, whole=whole)
    dialect, first = _headers(dialect, sample, comments)
    if comments and first is not None:
        note = f"{counted(len(comments), 'comment')} above the table skipped"
        dialect = replace(dialect, notes=(*dialect.notes, note))
    rows = sample[first or 0 :]
    if not rows:
        raise DataError(f"{file.path}: a header and no rows below it: at least one row is needed")
    if first:
        dialect = replace(dialect, skip=skipped + sample[first - 1][0])
    fitting = (padded(cells, dialect.width) for _, cells in rows if len(cells) <= dialect.width)
    return replace(dialect, rows=tuple(map(tuple, fitting)))


def padded(cells: list[str], width: int) -> list[str]:
    """Return the cells of a row, and empty ones up to the number of columns."""
    return [*cells, *[""] * (width - len(cells))]


def records(path: Path, lines: Iterator[str], dialect: Dialect) -> Iterator[Record]:
    """Yield the records of lines that are not blank, each with the number of its last line, from 1."""
    if dialect.edges:
        yield from _fixed(lines, dialect.edges)
        return
    space = dialect.delimiter == " "
    given = (line.replace("\t", " ").strip() for line in lines) if space else lines
    reader = csv.reader(
        given,
        delimiter=dialect.delimiter,
        strict=True,
        skipinitialspace=space or dialect.spaced,
        escapechar=dialect.escape or None,
    )
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise _unreadable(path, reader.line_num, error) from error


def _unreadable(path: Path, line: int, error: csv.Error) -> DataError:
    return DataError(f"{path}: line {line}: {error}; check the quotes, of which one may be open")


def _first_records(path: Path, lines: Sequence[str], dialect: Dialect, *, whole: bool) -> list[Record]:
    """Return the records of the first lines, the last of which may be cut unless they are the ``whole`` file."""
    found: list[Record] = []
    try:
        found.extend(records(path, iter(lines), dialect))
    except DataError:
        if whole or not found:
            raise
    return found


def _preamble(lines: Sequence[str]) -> tuple[int, list[str], str]:
    """Return the number of lines before the first that is no comment, the comments, and a declared delimiter."""
    comments, separator = list[str](), ""
    for i, line in enumerate(lines):
        if COMMENT.match(line):
            comments.append(line)
        elif declared := re.fullmatch(r'"?sep=(.)"?\s*', line):
            separator = declared[1]
        elif line.strip():
            return i, comments, separator
    return len(lines), comments, separator


def _rows_above(path: Path, above: Sequence[str], body: Sequence[str]) -> int:
    """Return how many lines above the table are rows that begin like comments, as #ff0000,1.5 does.

    They have as many cells as the rows, and numbers where those have numbers.
    """
    marked = list(itertools.takewhile(lambda line: re.match(r"[#%]\w", line), reversed(above)))
    if not marked or len(marked) + len(body) < 2:
        return 0
    for delimiter in DELIMITERS:
        rows = split([*marked, *body], delimiter) or [[]]
        if len(rows[0]) > 1 and len(set(map(len, filter(None, rows)))) == 1:
            columns = list(zip(*filter(None, rows), strict=True))
            typed = [cells for cells in columns if mostly(cells, lambda text: bool(amount(text)))]
            if typed and all(is_number(cells[i]) for cells in typed for i in range(len(marked))):
                return len(marked)
    return 0


def _separation(path: Path, lines: Sequence[str], declared: str, *, whole: bool) -> Dialect:
    tabs = re.search(r"\.(?:tsv|tab)(?:\.\w+)?$", path.name.lower())
    texts = [line.strip() for line in lines if line.strip()]
    marks = [mark for mark in DELIMITERS if any(len(cells) > 1 for cells in split(texts[:2], mark))]
    if tabs and marks and "\t" not in marks:
        _refuse_single(path, texts[-1], marks[0])
    delimiter = declared or (("\t" if marks else "") if tabs else _delimiter(path, lines, whole=whole))
    if delimiter == "\t" and not (declared or tabs) and _is_blank_or_tab(path, lines):
        return Dialect(" ")
    if delimiter:
        spaced = is_spaced(lines, delimiter)
        return Dialect(delimiter, spaced=spaced, escape=escape_of(lines, delimiter, spaced=spaced))
    single = next((d for d in SINGLE if all(len(cells) == 1 for cells in split(texts, d))), ",")
    rows = [cells[0] for cells in split(texts[1:] or texts, single)]
    if mostly(rows, lambda text: bool(amount(text) or stamp(text) or duration(text))):
        return Dialect(single)
    for dialect in (Dialect(" "), Dialect(edges=_edges(lines))):
        if _fits(path, lines, dialect):
            return dialect
    if marks:
        text = next(text for text in texts if marks[0] in text)
        _refuse_single(path, text, marks[0])
    return Dialect()


def _fits(path: Path, lines: Sequence[str], dialect: Dialect) -> bool:
    """Return whether a way to separate cells gives even rows of two cells or more, one of which is a number."""
    cells = [cells for _, cells in _first_records(path, lines, dialect, whole=False)]
    widths = {len(one) for one in cells[1:]} or {len(cells[0])}
    width = max(widths)
    if len(widths) > 1 or width < 2 or len(cells[0]) not in (width, width - 1):
        return False
    below = cells[1:] or cells
    if sum(map(bool, cells[0])) == 1 and len({one[0] for one in below}) < len(below):
        return False  # one name stands above one column, unless row names are beside
    return any(mostly([one[i] for one in below], lambda text: bool(amount(text))) for i in range(width))


def _is_blank_or_tab(path: Path, lines: Sequence[str]) -> bool:
    """Return whether blanks and tabs separate cells: where tabs alone leave uneven rows, or several numbers."""
    if not _fits(path, lines, Dialect(" ")):
        return False
    head, *below = [cells for _, cells in _first_records(path, lines, Dialect("\t"), whole=False)]
    if len({len(head), *map(len, below)}) > 1:
        return True
    if any(len(cells) == len(head) for _, cells in _first_records(path, lines[:1], Dialect(" "), whole=False)):
        return False  # no cell has blanks but within quotes
    several = (all(map(is_number, cell.split())) for cells in below for cell in cells if len(cell.split()) > 1)
    return any(several)


def _refuse_single(path: Path, text: str, mark: str) -> None:
    message = f"one column found, but its text {text[:80]!r} holds {mark!r}"
    raise DataError(f"{path}: {message}: separate cells by commas in a .csv, tabs in a .tsv")


def _delimiter(path: Path, lines: Sequence[str], *, whole: bool) -> str:
    """Return the delimiter that gives all lines equally many cells, two or more, else most of them; "" if none does.

    The first line may have one cell less than the others, as R writes headers above row names.
    """
    found: dict[str, list[int]] = {}
    failed: DataError | None = None
    for delimiter in DELIMITERS:
        try:
            found[delimiter] = _widths(path, lines, delimiter, whole=whole)
        except DataError as error:
            failed = failed or error
    if failed is not None and not any(max(widths) > 1 for widths in found.values()):
        raise failed
    strict = sorted(found, key=lambda delimiter: not is_strict(lines, delimiter))
    for short in (0, 1):
        for delimiter, (head, *below) in ((delimiter, found[delimiter]) for delimiter in strict):
            if head > 1 and len({head + short, *below}) == 1:
                return delimiter
    shares = dict.fromkeys(found, 0.0)
    for delimiter, (head, *below) in found.items():
        common, count = collections.Counter(below).most_common(1)[0] if below else (head, 1)
        if head > 1:
            shares[delimiter] = count / max(1, len(below)) if common in (head, head + 1) else 0.01
    best = max(shares, key=lambda delimiter: shares[delimiter])
    return best if shares[best] else ""


def _widths(path: Path, lines: Sequence[str], delimiter: str, *, whole: bool) -> list[int]:
    spaced = is_spaced(lines, delimiter)
    escape = escape_of(lines, delimiter, spaced=spaced) or None
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=spaced, escapechar=escape)
    widths: list[int] = []
    try:
        widths.extend(len(cells) for cells in reader if cells)
    except csv.Error as error:
        if whole or not widths:
            raise _unreadable(path, reader.line_num, error) from error
    return widths if whole else widths[:-1] or widths


def _edges(lines: Sequence[str]) -> tuple[int, ...]:
    """Return where columns of fixed width begin: after characters that are blank in all lines.

    Words of the header that a single blank separates, and of which one alone stands above cells, are one name.
    """
    head, *below = [line.rstrip("\r\n").expandtabs() for line in lines if line.strip()]
    used = [
        any(i < len(text) and text[i] != " " for text in (head, *below)) for i in range(max(map(len, (head, *below))))
    ]
    starts = [i for i, here in enumerate(used) if here and (i == 0 or not used[i - 1])]
    edges: list[int] = []
    settled = True  # whether the last column has cells
    for start, end in zip(starts, [*starts[1:], len(used)], strict=True):
        filled = not below or any(text[start:end].strip() for text in below)
        joined = head[:start].endswith(" ") and head[start - 2 : start - 1].strip() and head[start:end].strip()
        if not (edges and joined and not (filled and settled)):
            edges.append(start)
            settled = filled
        settled = settled or filled
    return tuple(edges)


def _fixed(lines: Iterable[str], edges: Sequence[int]) -> Iterator[Record]:
    spans = list(zip(edges, [*edges[1:], None], strict=True))
    for number, line in enumerate(lines, 1):
        if line.strip():
            text = line.rstrip("\r\n").expandtabs()
            yield number, [text[start:end].strip() for start, end in spans]


def _headers(dialect: Dialect, sample: Sequence[Record], comments: Sequence[str]) -> tuple[Dialect, int | None]:
    """Return a dialect with names and width, and the number of records that are headers; None if a comment is."""
    head, below = [cell.strip() for cell in sample[0][1]], [cells for _, cells in sample[1:]]
    above = _commented_names(dialect, comments, len(head))
    if above and comments[-1][1:2].strip():  # as in #id,name
        return _named(dialect, above), None
    if above and COMMENT.sub("", comments[-1])[:1].isspace() and _are_names(above) and not is_typed(below):
        return _named(dialect, above), None  # or both rows of text could be the header
    if is_header(head, below):
        if below and {len(cells) for cells in below} == {len(head) + 1}:  # as R writes row names
            ends_empty = all(not cells[-1].strip() for cells in below)
            head = [*head, ""] if ends_empty else ["", *head]
        names, more = header_names(head, below)
        return _named(dialect, names), 1 + more
    if above:
        return _named(dialect, above), None
    note = "the first line holds numbers, no names: the columns are called 1, 2, ..."
    notes = (
        (*dialect.notes, note) if any(is_number(cell) and cell for cell in head) and len(head) > 1 else dialect.notes
    )
    return replace(dialect, width=len(head), notes=notes), 0


def _commented_names(dialect: Dialect, comments: Sequence[str], width: int) -> list[str]:
    """Return the cells of the last comment, if it has as many as the rows below; else none."""
    if not comments:
        return []
    mark = COMMENT.match(comments[-1])
    text = comments[-1].strip()[mark.end() if mark else 0 :]
    cells = next((cells for _, cells in records(Path(), iter([text]), dialect)), [])
    return [cell.strip() for cell in cells] if len(cells) == width > 1 else []


def _are_names(cells: Sequence[str]) -> bool:
    """Return whether cells of a comment are names of columns: different words, few in each, and no numbers."""
    return len(set(cells)) == len(cells) and all(
        0 < len(cell.split()) <= 3 and not any(map(is_number, cell.split())) for cell in cells
    )


def _named(dialect: Dialect, names: Sequence[str]) -> Dialect:
    """Return a dialect with the names of columns, those that are empty called as pandas calls them."""
    first = next((i for i, name in enumerate(names) if not INDEX.fullmatch(name)), 0)
    index = first if len(names) > first else 0
    filled = tuple(name or f"Unnamed: {i}" for i, name in enumerate(names))
    filled = (filled[0].removeprefix("#").strip() or filled[0], *filled[1:])
    return replace(dialect, names=filled, width=len(names), index=index)
