"""Parquet files and folders of them: read whole, or row group by row group where they are large."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from latentmap.data.checks import require_exact
from latentmap.data.column_kinds import learn_table
from latentmap.data.columns import Cells, Requested, Table
from latentmap.data.formats.arrow_bounds import footer_of, require_texts
from latentmap.data.formats.base import (
    Request,
    Source,
    files_within,
    gather,
    name_of,
    plain_labels,
    reading,
    row_numbers,
)
from latentmap.data.formats.frames import index_columns, pyarrow_module
from latentmap.data.formats.tables import table_source
from latentmap.data.formats.unpacked import require_columns, room
from latentmap.data.frames import cells_of, empty_frame
from latentmap.data.names import as_known, known_names
from latentmap.data.number_tables import is_open, typed
from latentmap.data.remote import is_local, located, readable, versions
from latentmap.data.schema import BLOCK_VALUES, RowIndex
from latentmap.data.selection import values_of
from latentmap.exceptions import DataError
from latentmap.messages import error_line

BUFFER = 2**15
"""The bytes of each column that are read at a time."""
FEW: dict[str, Any] = {"buffer_size": BUFFER, "pre_buffer": False}
AT_ONCE: dict[str, Any] = {"buffer_size": 0, "pre_buffer": True}
"""How local files are read, a few bytes at a time, and remote ones, of which each request takes long."""
BATCH = 4096
"""The most rows that are read at a time: with fewer, the overhead of columns dominates."""
LAZY = 2**28
"""Bytes of numbers, beyond which they stay on the disk."""

Group = tuple[Path, int]


def parquet_source(request: Request) -> Source:
    """Return a source of a ``.parquet`` file, or of all in a folder and its subfolders, in the order of their paths.

    Folders called ``name=value`` (Hive's partitions) add a column ``name`` to the rows of their files, which can be
    the labels. Columns that pandas wrote as a row index are left out. Tables of more than 256 MB stay on the disk, and
    are read row group by row group; the kinds of columns are learned from one column at a time.
    """
    path, selection = request.path, request.selection
    files = parquet_files(path) if path.is_dir() else [path]
    footers, schemas = _read_footers(files)
    data = _Files.open(path, files, schemas)
    index = index_columns(data.schema)
    names = [name for name in data.schema.names if name not in index or name in selection.beside]
    names = as_known(names, known_names(request))  # one that is spelled otherwise is in no file: then all is read
    label_name = name_of(request.labels, names, f"{path} has no column")
    rows = replace(selection, left_out=(*selection.left_out, *(name for name in index if name in names)))
    kept = rows.kept(names, label_name, str(path))
    groups = _groups(footers)
    for file, footer in footers.items():
        with reading(file, "parquet"):
            require_texts(file, footer, names)
    if set(kept) - set(schemas[0].names) or 8 * sum(map(len, groups.values())) * len(kept) <= min(LAZY, room()):
        return table_source(data.read(), request)
    source = _lazy_source(request, footers, groups, data, kept, label_name)
    source.beside = {name: _beside(data, name) for name in selection.found(names)}
    source.ignored = rows.ignored(names, label_name)
    return source


def _lazy_source(
    request: Request,
    footers: dict[Path, Any],
    groups: dict[Group, range],
    data: _Files,
    kept: list[str],
    label_name: str | None,
) -> Source:
    """Return a source of columns that stay on the disk."""
    path, columns = request.path, request.columns
    values = request.labels if label_name is None else plain_labels(data.read([label_name]).column(0).to_numpy())
    if columns is None and all(_is_plain(data.schema.field(name).type) for name in kept):
        source = ParquetSource(path, footers, groups, kept, data.schema, values, label_name)
        source.header = empty_frame(kept)
        return source
    if isinstance(columns, Requested) and columns.embedded:
        raise DataError(
            f"{path} is read block by block, where column {columns.embedded[0]!r} would be embedded in every epoch: "
            "fit to fewer of its rows, then apply the model to all"
        )
    frames = (nw.from_native(data.read([name]), eager_only=True) for name in kept)
    cells = (cells_of(frame.iter_columns(), str(path), columns)[0] for frame in frames)
    table = learn_table(cells, columns, names=kept, backend="pyarrow", name=str(path))
    table = typed(table, _whole(footers, data.schema)) if is_open(table) else table
    return ParquetTable(path, footers, groups, table, data.schema, values, label_name)


def _beside(data: _Files, name: str) -> NDArray[Any]:
    """Return the values of a column of all rows."""
    return values_of(nw.from_native(data.read([name]), eager_only=True)[name])


def _read_footers(files: Sequence[Path]) -> tuple[dict[Path, Any], list[Any]]:
    """Return the metadata and the schemas of files, which must have the same columns."""
    footers, schemas = {}, []
    for file in files:
        with reading(file, "parquet"):
            footers[file] = footer_of(file)
            require_columns(file, footers[file].num_columns)
            schemas.append(footers[file].schema.to_arrow_schema())
        if schemas[-1].names != schemas[0].names:
            raise DataError(f"{file}: columns {schemas[-1].names}, but those of {files[0]} are {schemas[0].names}")
    return footers, schemas


@dataclass(frozen=True)
class _Files:
    """Files that are read as one table: each with what reads it, and the schema of all."""

    fragments: dict[Path, Any]
    schema: Any

    @classmethod
    def open(cls, path: Path, files: Sequence[Path], schemas: Sequence[Any]) -> _Files:
        lib, fragments, common = pyarrow_module("lib"), [_File(path)], schemas[0]
        if path.is_dir():  # pyarrow's data sets take long to import
            filesystem, (base, *places) = located(path, *files)
            hive = {"partitioning": "hive", "partition_base_dir": base, "filesystem": filesystem}
            dataset = pyarrow_module("dataset").dataset(places, format="parquet", **hive)
            fragments, common = list(dataset.get_fragments()), dataset.schema
        for file, schema in zip(files, schemas, strict=True):
            try:  # integers in one file and fractions in another become fractions
                common = lib.unify_schemas([common, schema], promote_options="permissive")
            except lib.ArrowException as error:
                message = f"the types of its columns are not those of {files[0]} ({error_line(error)})"
                raise DataError(f"{file}: {message}") from error
        return cls(dict(zip(files, fragments, strict=True)), common)

    def read(self, names: list[str] | None = None) -> Any:
        """Return columns of all rows, or all of them."""
        tables = []
        for file, fragment in self.fragments.items():
            with reading(file, "parquet"):
                tables.append(fragment.to_table(schema=self.schema, columns=names))
        return pyarrow_module("lib").concat_tables(tables)


@dataclass(frozen=True)
class _File:
    """A file on its own, read like a fragment of a data set."""

    path: Path

    def to_table(self, schema: Any, columns: list[str] | None = None) -> Any:
        with readable(self.path) as opened:
            return pyarrow_module("parquet").ParquetFile(opened).read(columns)


def _whole(footers: dict[Path, Any], schema: Any) -> list[Cells]:
    """Return the columns of numbers of which the footers tell that no cell is missing, without their rows."""
    groups = [footer.row_group(i) for footer in footers.values() for i in range(footer.num_row_groups)]
    columns = [group.column(i) for group in groups for i in range(group.num_columns)]
    known = ((one.path_in_schema, one.statistics) for one in columns)
    gaps = {name for name, found in known if found is None or not found.has_null_count or found.null_count}
    plain = [field.name for field in schema if _is_plain(field.type) and field.name not in gaps]
    types = nw.from_native(schema.empty_table(), eager_only=True).schema
    return [Cells(name, np.empty(0), str(types[name])) for name in plain]


def _is_plain(type_: Any) -> bool:
    types = pyarrow_module("types")
    return bool(types.is_floating(type_) or types.is_integer(type_) or types.is_boolean(type_))


class ParquetSource(Source):
    """A table of numbers that stays on the disk; missing cells are NaN.

    Parameters
    ----------
    path
        The file or folder.
    footers
        The metadata of the files.
    groups
        The rows of each row group, by file and number of the group, in order.
    names
        The columns that are kept.
    schema
        The types of the columns.
    labels, label_name
        One label a row, and the column that they come from.
    """

    def __init__(
        self,
        path: Path,
        footers: dict[Path, Any],
        groups: dict[Group, range],
        names: Sequence[str],
        schema: Any,
        labels: Any,
        label_name: Any,
    ) -> None:
        self.footers = footers
        self.files = tuple(footers)
        self.groups = groups
        self.annotate(str(path), names, labels, label_name)
        self.stored = list(names)
        self.dtype = self._dtype(schema)

    def __len__(self) -> int:
        return max(group.stop for group in self.groups.values())

    @cached_property
    def identity(self) -> str:
        """A hash of the versions of the files and of their footers, which hold places and ranges of all columns."""
        if not self.files:
            return super().identity
        digest = hashlib.sha256(json.dumps(versions(self.files)).encode())
        for footer in self.footers.values():
            footer.write_metadata_file(sink := pyarrow_module("lib").BufferOutputStream())
            digest.update(sink.getvalue())
        return digest.hexdigest()

    def read(self, rows: RowIndex) -> NDArray[Any]:
        """Return the rows of a slice or an integer array, from the row groups that hold them."""
        numbers = row_numbers(rows, len(self))
        return gather(self, numbers, self.groups.values(), np.empty((len(numbers), len(self.names or ())), self.dtype))

    def parts(self, rows: int) -> list[range]:
        """Return the ranges of row groups, several together where they are small."""
        parts: list[range] = []
        for group in self.groups.values():
            if parts and group.stop - parts[-1].start <= rows:
                parts[-1] = range(parts[-1].start, group.stop)
            else:
                parts.append(group)
        return parts

    def scan(self, part: range, rows: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield blocks of a part, of a few rows each, however large its row groups are."""
        inside = [group for group, at in self.groups.items() if at.start >= part.start and at.stop <= part.stop]
        return self._scan(inside, part.start, rows)

    def _scan(self, groups: Sequence[Group], start: int, rows: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        parquet = pyarrow_module("parquet")
        names = self.stored
        for file in dict.fromkeys(file for file, _ in groups):
            numbers = [number for other, number in groups if other == file]
            how = FEW if is_local(file) else AT_ONCE
            with (
                reading(file, "parquet"),
                readable(file) as stored,
                parquet.ParquetFile(stored, metadata=self.footers[file], **how) as opened,
            ):
                most = max(1, BLOCK_VALUES // len(names)) if rows is None else rows
                size = max(most, min(BATCH, 4 * most))
                for batch in opened.iter_batches(size, row_groups=numbers, columns=names, use_threads=False):
                    block = self._values(batch.select(names), start)
                    yield start, block
                    start += len(block)

    def _dtype(self, schema: Any) -> np.dtype[Any]:
        """Return the type of all rows: a float, since cells may be missing."""
        dtype = np.result_type(*{schema.field(name).type.to_pandas_dtype() for name in self.names or ()})
        return dtype if dtype.kind == "f" else np.dtype(np.float64)

    def _values(self, batch: Any, start: int) -> NDArray[Any]:
        """Return the rows of a batch of columns as numbers."""
        types = pyarrow_module("types")
        if any(map(types.is_boolean, batch.schema.types)):
            fields = [(f.name, "uint8" if types.is_boolean(f.type) else f.type) for f in batch.schema]
            batch = batch.cast(pyarrow_module("lib").schema(fields))
        for i, t in enumerate(batch.schema.types):
            if types.is_integer(t) and t.bit_width == 64:
                integers = batch.column(i).drop_null().to_numpy(zero_copy_only=False)
                require_exact(integers[:, None], self.name, [batch.schema.names[i]], start)
        values: NDArray[Any] = batch.to_tensor(null_to_nan=True).to_numpy()
        return values.astype(self.dtype, copy=False)


class ParquetTable(ParquetSource):
    """A table of mixed columns that stays on the disk, whose rows ``table`` encodes.

    Parameters are those of `ParquetSource`, with the table instead of the names.
    """

    def __init__(
        self,
        path: Path,
        footers: dict[Path, Any],
        groups: dict[Group, range],
        table: Table,
        schema: Any,
        labels: Any,
        label_name: Any,
    ) -> None:
        self.table = self.encoded = table  # numbers alone may be no table to others
        self.remark = table.remark
        super().__init__(path, footers, groups, table.names, schema, labels, label_name)
        self.stored = table.inputs

    def _dtype(self, schema: Any) -> np.dtype[Any]:
        return np.dtype(np.float64)

    def _values(self, batch: Any, start: int) -> NDArray[Any]:
        frame = nw.from_native(pyarrow_module("lib").Table.from_batches([batch]), eager_only=True)
        return self.encoded.encode(cells_of(frame.iter_columns(), self.name, self.encoded), self.name, start)


def _groups(footers: dict[Path, Any]) -> dict[Group, range]:
    """Return the rows of each row group of the files that has some, in order."""
    groups: dict[Group, range] = {}
    start = 0
    for file, footer in footers.items():
        for i in range(footer.num_row_groups):
            if rows := footer.row_group(i).num_rows:
                groups[file, i] = range(start, start + rows)
                start += rows
    return groups


def parquet_files(folder: Path) -> list[Path]:
    """List the ``.parquet`` files in a folder and its subfolders (see `files_within`)."""
    return files_within(folder, (".parquet",))
