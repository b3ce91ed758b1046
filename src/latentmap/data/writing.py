"""Writers of rows, block by block: the format follows from the suffix, and files are written atomically."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import math
import re
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from latentmap.data.cells import zone_of
from latentmap.data.checks import EXACT
from latentmap.data.columns import Cells, Table, object_array
from latentmap.data.decoding import describable, frame_of
from latentmap.data.files import atomic_path, csv_writer
from latentmap.data.formats.base import plain_labels
from latentmap.data.formats.frames import pyarrow_module
from latentmap.exceptions import DataError, MissingExtraError


@dataclass(frozen=True, eq=False)
class Key:
    """The column that tells the rows of a file apart: its name, one value a row, and their type in pyarrow if known."""

    name: str
    values: NDArray[Any]
    type: Any = None

    def in_arrow(self) -> Any:
        """Return the values as an array of pyarrow."""
        return pyarrow_module("lib").array(self.values, self.type, from_pandas=True)

    def typed(self) -> Key:
        """Return the key with the type of all of its values, which some of them may not tell."""
        return replace(self, type=self.in_arrow().type)

    def of(self, rows: range) -> Key:
        """Return the key of some rows."""
        return replace(self, values=self.values[rows.start : rows.stop])


class RowWriter(ABC):
    """Writer of blocks of rows, (n, *event), in order.

    Parameters
    ----------
    stream
        The file, open for bytes.
    columns
        The names of the columns.
    table
        The columns of a table, with which rows are decoded, or None; formats of arrays always write numbers.
    given
        The columns that came, where rows are those with gaps filled, which come in one block then; empty where only the
        rows are known; None where a model made all of them.
    key
        The first column, which tells all rows apart, or None.
    """

    takes_key = True
    """Whether the format has a place for a key."""

    def __init__(
        self,
        stream: BinaryIO,
        columns: Sequence[str],
        table: Table | None = None,
        given: Sequence[Cells] | None = None,
        key: Key | None = None,
    ) -> None:
        self.stream = stream
        self.columns = list(columns)
        self.table = table
        self.given = given
        self.key = key
        self.count = 0

    def decoded(self, table: Table, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return rows as the columns of a table, written as text where they came so."""
        with describable():
            if self.given:
                cells = table.completed(rows, self.given, table.texts)
            else:
                cells = table.decode(rows, generated=self.given is None, written=table.texts)
            zones = {name: zone for name, column in table.kinds.items() if (zone := zone_of(column.type))}
            return {name: _zoned(one, zones[name]) if name in zones else one for name, one in cells.items()}

    def cells(self, rows: NDArray[Any]) -> dict[str, list[Any]]:
        """Return the next rows, and their key, as columns of Python's values; missing ones are None or NaN."""
        cells: dict[str, list[Any]] = {}
        if self.key is not None:
            cells[self.key.name] = _python_values(self.key.values[self.count : self.count + len(rows)])
        self.count += len(rows)
        if self.table is not None:
            return cells | {name: _python_values(column) for name, column in self.decoded(self.table, rows).items()}
        flat = rows.reshape(len(rows), -1)
        digits = 9 if rows.dtype == np.float32 else 17
        for i, name in enumerate(self.columns):
            cells[name] = [float(f"{v:.{digits}g}") if isinstance(v, float) else v for v in flat[:, i].tolist()]
        return cells

    @abstractmethod
    def write(self, rows: NDArray[Any]) -> None:
        """Append rows."""

    def close(self) -> None:  # noqa: B027
        """Write the end of the file, if the format has one."""


class NpyWriter(RowWriter):
    """Writer of one array in numpy's format."""

    takes_key = False
    event: tuple[int, ...] = ()
    dtype = np.dtype(np.float64)

    def write(self, rows: NDArray[Any]) -> None:
        """Append rows; the header is written last, in the space reserved for it."""
        if not self.count:
            self.event, self.dtype = rows.shape[1:], rows.dtype
            self._header(2**62)
        self.count += len(rows)
        self.stream.write(np.ascontiguousarray(rows).data)

    def close(self) -> None:
        """Write the header with the number of rows."""
        end = self.stream.tell()
        self.stream.seek(0)
        self._header(self.count)
        self.stream.seek(end)

    def _header(self, rows: int) -> None:
        """Write a header, which has the same length for any number of rows."""
        described = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": (rows, *self.event),
        }
        text = io.BytesIO()
        np.lib.format.write_array_header_1_0(text, described)
        self.stream.write(text.getvalue())


class NpzWriter(RowWriter):
    """Writer of one array, X, in numpy's archive, of the key, and of columns that came and are not in X.

    It keeps all rows until the end.
    """

    def write(self, rows: NDArray[Any]) -> None:
        """Keep a block."""
        self.blocks: list[NDArray[Any]] = [*getattr(self, "blocks", []), rows]

    def close(self) -> None:
        """Write the archive."""
        rows = {} if self.table is None else self.table.kinds
        arrays = {one.name: one.as_they_were() for one in self.given or () if one.name not in rows}
        if self.key is not None:
            arrays[self.key.name] = self.key.values
        if "X" in arrays:
            raise DataError("a column called 'X' has no place beside the array X of a .npz file: write a .csv file")
        with zipfile.ZipFile(self.stream, "w", zipfile.ZIP_STORED) as archive:
            for name, values in (*arrays.items(), ("X", np.concatenate(self.blocks))):
                plain = values if name == "X" else plain_labels(values)  # objects would be pickled
                with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, plain, allow_pickle=False)


class TextWriter(RowWriter):
    """Writer of a table as text, with a header, and as many digits as restore the same numbers."""

    delimiter = ","
    header = False

    def write(self, rows: NDArray[Any]) -> None:
        """Append lines."""
        text = io.StringIO()
        lines = csv_writer(text, self.delimiter)
        cells = None if self.table is None else self.decoded(self.table, rows)
        if not self.header:
            names = self.columns if cells is None else list(cells)
            lines.writerow(names if self.key is None else [self.key.name, *names])
            self.header = True
        digits = "%.9g" if rows.dtype == np.float32 else "%.17g"
        keys = [] if self.key is None else [as_text(self.key.values[self.count : self.count + len(rows)])]
        if cells is not None:
            lines.writerows(zip(*keys, *map(as_text, cells.values()), strict=True))
        elif keys:
            flat = rows.reshape(len(rows), -1).tolist()
            lines.writerows([key, *(digits % value for value in row)] for key, row in zip(keys[0], flat, strict=True))
        else:
            np.savetxt(text, rows.reshape(len(rows), -1), digits, self.delimiter)
        self.stream.write(text.getvalue().encode())
        self.count += len(rows)


class TabWriter(TextWriter):
    """Writer of a table as text, delimited by tabs."""

    delimiter = "\t"


class LinesWriter(RowWriter):
    """Writer of JSON, a record a line; missing numbers are null."""

    def write(self, rows: NDArray[Any]) -> None:
        """Append lines."""
        columns = self.cells(rows)
        names = list(map(json.dumps, columns))
        for row in zip(*(map(_as_json, column) for column in columns.values()), strict=True):
            record = ", ".join(f"{name}: {cell}" for name, cell in zip(names, row, strict=True))
            self.stream.write(f"{{{record}}}\n".encode())


class SheetWriter(RowWriter):
    """Writer of a workbook of Excel with one sheet."""

    MOST_ROWS = 2**20 - 1
    book: Any = None

    def write(self, rows: NDArray[Any]) -> None:
        """Append rows."""
        columns = self.cells(rows)
        if self.count > self.MOST_ROWS:
            raise DataError(f"a sheet of Excel holds at most {self.MOST_ROWS:,} rows: write a .csv or .parquet file")
        if self.book is None:
            try:
                self.book = importlib.import_module("openpyxl").Workbook(write_only=True)
            except ImportError as error:
                raise MissingExtraError("openpyxl", "excel") from error
            self.sheet = self.book.create_sheet("Sheet1")
            self.sheet.append([self._literal(name) for name in columns])
        for row in zip(*(map(_as_excel, column) for column in columns.values()), strict=True):
            self.sheet.append([self._literal(value) if str(value)[:1] in ("=", "#") else value for value in row])

    def _literal(self, value: str) -> Any:
        """Return a cell of text that would otherwise become a formula or an error."""
        cell = importlib.import_module("openpyxl.cell").WriteOnlyCell(self.sheet, value)
        cell.data_type = "s"
        return cell

    def close(self) -> None:
        """Write the workbook, by way of memory: an archive that the disk does not take is not closed without noise."""
        archive = io.BytesIO()
        self.book.save(archive)
        self.stream.write(archive.getbuffer())


class ParquetWriter(RowWriter):
    """Writer of a table in parquet's format, a row group for each block."""

    writer: Any = None
    keys: Any = None
    metadata: Mapping[str, str] = MappingProxyType({})
    """What the file tells about itself beside its rows, to be set before the first of them."""

    def write(self, rows: NDArray[Any]) -> None:
        """Append a row group."""
        parquet, pyarrow = pyarrow_module("parquet"), importlib.import_module("pyarrow")
        if self.table is None:
            flat = rows.reshape(len(rows), -1)
            block = pyarrow.table({name: flat[:, i] for i, name in enumerate(self.columns)})
        else:
            generated = self.given is None
            block = frame_of(self.table, rows, pyarrow.table({}), generated=generated, given=self.given or ())
        if self.key is not None:
            self.keys = self.key.in_arrow() if self.keys is None else self.keys
            block = block.add_column(0, self.key.name, self.keys.slice(self.count, len(rows)))
            self.count += len(rows)
        if self.writer is None:
            schema = block.schema.with_metadata({**(block.schema.metadata or {}), **self.metadata})
            repeated: Any = True if self.table is not None else [] if self.key is None else [self.key.name]
            self.writer = parquet.ParquetWriter(self.stream, schema, use_dictionary=repeated)
        self.writer.write_table(block)

    def close(self) -> None:
        """Write the footer."""
        self.writer.close()


WRITERS: dict[str, type[RowWriter]] = {
    ".npy": NpyWriter,
    ".npz": NpzWriter,
    ".csv": TextWriter,
    ".tsv": TabWriter,
    ".parquet": ParquetWriter,
    ".jsonl": LinesWriter,
    ".xlsx": SheetWriter,
}
"""The writers by the suffix of the file."""


@contextlib.contextmanager
def writing(
    path: Path,
    columns: Sequence[str],
    table: Table | None = None,
    given: Sequence[Cells] | None = None,
    key: Key | None = None,
) -> Iterator[RowWriter]:
    r"""Yield a writer of rows to a file, which replaces ``path`` when the block ends without an error.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "codes.csv"
    ...     with writing(path, ["a", "b"]) as writer:
    ...         writer.write(np.array([[0.5, 0.1]]))
    ...     path.read_text()
    'a,b\n0.5,0.10000000000000001\n'
    """
    with atomic_path(path) as temporary, temporary.open("w+b") as stream:
        writer = WRITERS[path.suffix.lower()](stream, columns, table, given, key)
        try:
            yield writer
        except BaseException:
            with contextlib.suppress(Exception):  # pyarrow must close files that are discarded too
                writer.close()
            raise
        writer.close()


def _zoned(cells: NDArray[Any], zone: str) -> NDArray[Any]:
    """Return times in UTC as `datetime` of a zone, and text as it is.

    >>> _zoned(np.array(["2024-07-01T12:00", "NaT"], "datetime64[us]"), "Europe/Berlin").tolist()
    [datetime.datetime(2024, 7, 1, 14, 0, tzinfo=zoneinfo.ZoneInfo(key='Europe/Berlin')), None]
    """
    if cells.dtype.kind != "M":
        return cells
    offset = datetime.strptime(zone, "UTC%z").tzinfo if zone.startswith("UTC") and zone != "UTC" else ZoneInfo(zone)
    times = cells.astype("datetime64[us]").tolist()
    return object_array([None if t is None else t.replace(tzinfo=UTC).astimezone(offset) for t in times])


def _python_values(cells: NDArray[Any]) -> list[Any]:
    """Return cells as Python's values: dates as `datetime`, missing ones as None or NaN."""
    if cells.dtype.kind in "mM":
        cells = cells.astype(f"{cells.dtype.kind}8[us]")
    values: list[Any] = cells.tolist()
    return values


def _as_json(value: Any) -> str:
    """Return a value as JSON.

    >>> [_as_json(value) for value in (0.5, float("nan"), None, "elm", datetime(2020, 5, 1))]
    ['0.5', 'null', 'null', '"elm"', '"2020-05-01T00:00:00"']
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "null"
    if isinstance(value, date | timedelta):
        value = value.isoformat() if isinstance(value, date) else str(value)
    return json.dumps(value, ensure_ascii=False)


def _as_excel(value: Any) -> Any:
    r"""Return a value that a cell of Excel can hold: no NaN, time zone, control character, or number beyond 2^53.

    >>> [_as_excel(value) for value in (0.5, float("nan"), "a\x00b", 2**53 + 1)]
    [0.5, None, 'ab', '9007199254740993']
    """
    if isinstance(value, int) and abs(value) > EXACT:
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "", value) if isinstance(value, str) else value


def as_text(cells: NDArray[Any]) -> list[Any]:
    """Return cells as a file has them, nothing where one is missing."""
    if cells.dtype.kind == "M":
        return ["" if text == "NaT" else text for text in np.datetime_as_string(cells).tolist()]
    if cells.dtype.kind == "m":
        cells = cells.astype("timedelta64[us]").astype(object)
    return ["" if value is None or value != value else value for value in cells.tolist()]
