"""Parquet files and folders of them: read whole, or row group by row group where they are large."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from latentmap.data.columns import ColumnSpec, Table, table_for
from latentmap.data.formats.base import LabelSpec, Source, given_labels, plain_labels, reading, unique_names
from latentmap.data.formats.tables import index_columns, pyarrow_module, table_source
from latentmap.data.frames import cells_of
from latentmap.data.schema import BLOCK_VALUES, RowIndex, require_exact
from latentmap.exceptions import DataError
from latentmap.messages import suggest

BUFFER = 2**15
"""Bytes of each column that are read at a time."""
BATCH = 4096
"""Rows that are read at a time: of fewer, the columns cost more than their values."""
LAZY = 2**28
"""Bytes of numbers, beyond which they stay on the disk."""

Group = tuple[Path, int]


def parquet_source(path: Path, labels: LabelSpec = None, columns: ColumnSpec = None) -> Source:
    """Read a ``.parquet`` file, or all of them in a folder and the folders within, in the order of their paths.

    Folders called ``name=value`` (Hive's partitions) give each row of the files within a column ``name``, which can be
    the labels. Columns that pandas wrote as a row index are left out. Tables of more than 256 MB stay on the disk, and
    come row group by row group; what columns of text hold is learned from one column at a time.

    Raises
    ------
    DataError
        If a file is damaged or has other columns or types than the first, or a column holds lists, for instance.
    MissingExtraError
        If pyarrow is not installed.
    """
    lib, parquet = pyarrow_module("lib"), pyarrow_module("parquet")
    folder = path.is_dir()
    files = parquet_files(path) if folder else [path]
    schemas, footers = [], {}
    for file in files:
        with reading(file, "parquet"):
            footers[file] = parquet.read_metadata(file)
            schemas.append(footers[file].schema.to_arrow_schema())
        if schemas[-1].names != schemas[0].names:
            raise DataError(f"{file}: columns {schemas[-1].names}, but those of {files[0]} are {schemas[0].names}")
    fragments: list[Any] = [_File(path)]
    common = schemas[0]
    if folder:  # pyarrow's data sets take long to import
        hive = {"partitioning": "hive", "partition_base_dir": str(path)}
        every = pyarrow_module("dataset").dataset([str(file) for file in files], format="parquet", **hive)
        fragments, common = list(every.get_fragments()), every.schema
    for file, schema in zip(files, schemas, strict=True):
        try:  # whole numbers in one file and fractions in another become fractions
            common = lib.unify_schemas([common, schema], promote_options="permissive")
        except lib.ArrowException as error:
            reason = " ".join(str(error).split())[:150]
            raise DataError(f"{file}: the types of its columns are not those of {files[0]} ({reason})") from error
    kept = [name for name in schemas[0].names if name not in index_columns(common) and name != labels]
    hidden = set(common.names) - set(schemas[0].names) - ({labels} if isinstance(labels, str) else set())
    groups = _groups(footers)

    def whole(names: list[str] | None = None) -> Any:
        parts = []
        for file, fragment in zip(files, fragments, strict=True):
            with reading(file, "parquet"):
                parts.append(fragment.to_table(schema=common, columns=names))
        return lib.concat_tables(parts)

    if hidden or 8 * sum(map(len, groups.values())) * len(kept) <= LAZY:
        return table_source(whole(), path, labels, columns)
    values: Any = labels
    if isinstance(labels, str):
        if labels not in common.names:
            raise DataError(f"{path} has no column {labels!r}: {suggest(labels, common.names)}")
        values = plain_labels(whole([labels]).column(0).to_numpy())
    types = pyarrow_module("types")
    plain = (types.is_floating, types.is_integer, types.is_boolean)
    if columns is None and all(any(is_kind(common.field(name).type) for is_kind in plain) for name in kept):
        return ParquetSource(path, footers, groups, kept, common, values, labels)
    frames = (nw.from_native(whole([name]), eager_only=True) for name in kept)
    cells = (cells_of(frame.iter_columns(), str(path))[0] for frame in frames)
    table = table_for(cells, columns, names=kept, backend="pyarrow", name=str(path))
    table.check_names(kept, str(path))
    return ParquetTable(path, footers, groups, table, common, values, labels)


@dataclass(frozen=True)
class _File:
    """A file by itself, read as one of a data set."""

    path: Path

    def to_table(self, schema: Any, columns: list[str] | None = None) -> Any:
        return pyarrow_module("parquet").ParquetFile(self.path).read(columns)


class ParquetSource(Source):
    """A table of numbers that stays on the disk; missing cells are NaN.

    Parameters
    ----------
    path
        What errors call the data.
    footers
        What the files say of themselves.
    groups
        The rows of each row group: file and number of the group, in order.
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
        self.name = str(path)
        self.names = unique_names(list(names), self.name)
        self.groups = groups
        self.labels = given_labels(labels, len(self), self.name)
        self.label_name = label_name if isinstance(label_name, str) else None
        self.dtype = self._dtype(schema)

    def __len__(self) -> int:
        return max(group.stop for group in self.groups.values())

    def read(self, rows: RowIndex) -> NDArray[Any]:
        """Return the rows of a slice or an integer array, from the row groups that hold them."""
        if isinstance(rows, slice):
            wanted: Any = range(*rows.indices(len(self)))
        else:
            wanted = np.asarray(rows)
        found = np.empty((len(wanted), len(self.names or ())), self.dtype)
        for group, at in self.groups.items():
            inside = np.array([at.start <= i < at.stop for i in wanted]) if not isinstance(wanted, range) else None
            places = np.flatnonzero(inside) if inside is not None else _within(wanted, at)
            if not len(places):
                continue
            numbers = np.asarray(wanted)[places]
            for start, block in self._scan([group], at.start):
                here = (numbers >= start) & (numbers < start + len(block))
                found[places[here]] = block[numbers[here] - start]
                if start + len(block) > numbers.max():
                    break
        return found

    def parts(self, rows: int) -> list[range]:
        """Row groups, several together where they are small."""
        found: list[range] = []
        for at in self.groups.values():
            if found and at.stop - found[-1].start <= rows:
                found[-1] = range(found[-1].start, at.stop)
            else:
                found.append(at)
        return found

    def scan(self, part: range, rows: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield blocks of a part, a little at a time however large its row groups are."""
        inside = [group for group, at in self.groups.items() if at.start >= part.start and at.stop <= part.stop]
        return self._scan(inside, part.start, rows)

    def _scan(self, groups: Sequence[Group], start: int, rows: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        parquet = pyarrow_module("parquet")
        names = list(self.names or ())
        for file in dict.fromkeys(file for file, _ in groups):
            numbers = [number for other, number in groups if other == file]
            with (
                reading(file, "parquet"),
                parquet.ParquetFile(file, metadata=self.footers[file], buffer_size=BUFFER, pre_buffer=False) as opened,
            ):
                most = max(1, BLOCK_VALUES // len(names)) if rows is None else rows
                size = max(most, min(BATCH, 4 * most))
                for batch in opened.iter_batches(size, row_groups=numbers, columns=names, use_threads=False):
                    block = self._values(batch.select(names), start)
                    yield start, block
                    start += len(block)

    def _dtype(self, schema: Any) -> np.dtype[Any]:
        """The type of all rows: a float, since cells may be missing."""
        found = np.result_type(*{schema.field(name).type.to_pandas_dtype() for name in self.names or ()})
        return found if found.kind == "f" else np.dtype(np.float64)

    def _values(self, batch: Any, start: int) -> NDArray[Any]:
        """Rows of a batch of columns, as numbers."""
        types = pyarrow_module("types")
        if any(map(types.is_boolean, batch.schema.types)):
            numbers = [(f.name, "uint8" if types.is_boolean(f.type) else f.type) for f in batch.schema]
            batch = batch.cast(pyarrow_module("lib").schema(numbers))
        for i, t in enumerate(batch.schema.types):
            if types.is_integer(t) and t.bit_width == 64:
                whole = batch.column(i).drop_null().to_numpy(zero_copy_only=False)
                require_exact(whole[:, None], self.name, [batch.schema.names[i]], start)
        values: NDArray[Any] = batch.to_tensor(null_to_nan=True).to_numpy()
        return values.astype(self.dtype, copy=False)


class ParquetTable(ParquetSource):
    """A table of mixed columns that stays on the disk; its rows are numbers, as ``table`` says.

    Parameters are those of `ParquetSource`, with the table in the place of the names.
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
        self.table = table
        self.remark = table.remark
        super().__init__(path, footers, groups, table.names, schema, labels, label_name)

    def _dtype(self, schema: Any) -> np.dtype[Any]:
        return np.dtype(np.float64)

    def _values(self, batch: Any, start: int) -> NDArray[Any]:
        assert self.table is not None
        frame = nw.from_native(pyarrow_module("lib").Table.from_batches([batch]), eager_only=True)
        return self.table.encode(cells_of(frame.iter_columns(), self.name), self.name, start)


def _groups(footers: dict[Path, Any]) -> dict[Group, range]:
    """The rows of each row group of the files, in order."""
    found: dict[Group, range] = {}
    start = 0
    for file, footer in footers.items():
        for i in range(footer.num_row_groups):
            rows = footer.row_group(i).num_rows
            found[file, i] = range(start, start + rows)
            start += rows
    return found


def _within(rows: range, at: range) -> NDArray[np.intp]:
    """Places of those rows of a range that lie in another."""
    numbers = np.arange(rows.start, rows.stop, rows.step)
    return np.flatnonzero((numbers >= at.start) & (numbers < at.stop))


def parquet_files(folder: Path) -> list[Path]:
    """List the ``.parquet`` files in a folder and those within, but for names that begin with a dot or underscore.

    >>> parquet_files(Path(__file__).parent)
    []
    """
    found = sorted(folder.rglob("*.parquet"))
    return [p for p in found if not any(part.startswith((".", "_")) for part in p.relative_to(folder).parts)]
