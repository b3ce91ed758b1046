"""What the sources of all formats share: schema, fingerprint, names and labels; and errors of files."""

from __future__ import annotations

import collections
import contextlib
import functools
import gzip
import hashlib
import json
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentmap.data.checks import require_exact, require_known
from latentmap.data.columns import Cells, ColumnSpec, Requested, Table
from latentmap.data.moments import Moments
from latentmap.data.remote import versions
from latentmap.data.schema import BLOCK_VALUES, MOST_HASHED, RowIndex, Schema, fingerprint, measure, spaced
from latentmap.data.selection import ALL_COLUMNS, Selection
from latentmap.data.values import flat
from latentmap.exceptions import DataError, LatentmapError
from latentmap.messages import error_line

LabelSpec = str | ArrayLike | None
"""The name of the column or member that holds the labels, the labels themselves, or None."""


@dataclass(frozen=True)
class Request:
    """Data to open, with labels and columns: those in memory, or the path of a table.

    An adapter is a function of it that returns a source, or None for data of another kind. A format of tables is a
    function of it that returns a source of the file; other formats are functions of path and labels.

    Attributes
    ----------
    data
        The data in memory, or the path of a file.
    labels
        The name of the column of labels (in a text table without a header its number, from 1), or one label a row.
    name
        What errors call the data.
    columns
        The columns of the fit, or settings of columns.
    numeric
        Whether a table must hold numbers alone, as that of the fit did; ids are features then too.
    selection
        The columns to read, and those read beside the rows.
    member
        The name of a sheet or table, in a file of several.
    gaps
        Whether columns of floats may be whole numbers of a file, some of which are missing.
    """

    data: Any
    labels: LabelSpec = None
    name: str = "X"
    columns: ColumnSpec = None
    numeric: bool = False
    selection: Selection = ALL_COLUMNS
    member: str | None = None
    gaps: bool = False

    @property
    def path(self) -> Path:
        """The path of the file; a remote one has the methods of a local one."""
        path: Path = self.data if hasattr(self.data, "protocol") else Path(self.data)
        return path

    def require_no_columns(self) -> None:
        """Raise if settings are specified of columns, for data without named columns."""
        if isinstance(self.columns, Requested):
            message = f"columns= says something of named columns, and {self.name} has none"
            raise DataError(f"{message}: give a data frame, or leave it out")


class Source(ABC):
    """Rows of equal shape that can be counted and read by block: what every format becomes.

    A format defines ``__len__``, ``read`` and ``name``; ``schema`` and ``fingerprint`` follow, each from one streaming
    pass when it is first used.

    Attributes
    ----------
    name
        What errors call the data: the path of a file, the name of a data set, or ``X``.
    names
        The names of the columns, or None.
    labels, label_name
        One label a row and their name, or None.
    remark
        How the rows were changed or which were left out, or None.
    converted
        How the rows were changed to be like those of a fit, and which of them, or parts, were not read then; or None.
    table
        The columns of a table, where they are not plain numbers alone; else None.
    cells
        The columns of a table in memory as they came, those that were left out too; else empty.
    is_sparse
        Whether the rows lie in memory as a sparse matrix, of which a few at a time are made dense.
    in_memory
        Whether the rows lie in memory as they are, so that reading them block by block saves nothing.
    header
        A data frame without rows that has the columns of the data, where these have names; else None.
    tallies
        Whether whole numbers from 0 on are counts of a row, as in a sparse matrix.
    beside
        Values of columns that were asked for beside the rows, by name.
    ignored
        Names of columns that were left out since the fit did not have them.
    numbers
        The number of each row in the data, from 0, where some rows were left out; else None.
    files
        The files or folders that the rows were read from, which last as long as they are not rewritten; else empty.
    """

    name: str
    names: tuple[str, ...] | None = None
    labels: NDArray[Any] | None = None
    label_name: str | None = None
    remark: str | None = None
    converted: str | None = None
    table: Table | None = None
    cells: tuple[Cells, ...] = ()
    is_sparse: bool = False
    in_memory: bool = False
    header: Any = None
    tallies: bool = False
    beside: Mapping[str, NDArray[Any]] = MappingProxyType({})
    ignored: tuple[str, ...] = ()
    numbers: NDArray[np.intp] | None = None
    files: tuple[Any, ...] = ()

    def annotate(
        self,
        name: str,
        names: Sequence[str] | None = None,
        labels: ArrayLike | None = None,
        label_name: str | None = None,
        *,
        width: int | None = None,
    ) -> None:
        """Set the names of the data and of its columns, ``width`` in number, and the labels of the rows."""
        self.name = name
        self.names = None if names is None else unique_names(list(names), name, width)
        self.labels = given_labels(labels, len(self), name)
        self.label_name = None if self.labels is None else label_name

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, rows: RowIndex) -> NDArray[Any]:
        """Return the rows of a slice or an integer array, shape (n, *event); not to be written to."""

    @cached_property
    def schema(self) -> Schema:
        """The shape, type and range of the rows."""
        return measure(self, self.names, self.name)

    @cached_property
    def first(self) -> NDArray[Any]:
        """The first row, shape (1, *event)."""
        return np.asarray(self.read(slice(0, 1)))

    @cached_property
    def moments(self) -> Moments:
        """Mean, spread and range of each feature."""
        return functools.reduce(Moments.__add__, (Moments.of(block) for _, block in self.blocks()))

    def all_rows(self) -> NDArray[Any]:
        """Return all rows as vectors that models take, (n, P); a view of rows in memory where possible."""
        block = self.read(slice(None))
        if block.dtype.kind in "iu" and block.itemsize > 4:
            require_exact(block, self.name, self.names)
        return flat(block)

    def parts(self, rows: int) -> list[range]:
        """Return ranges of rows that can be read on their own, of about ``rows`` rows where that is cheap."""
        return [range(start, min(start + rows, len(self))) for start in range(0, len(self), rows)]

    def scan(self, part: range, rows: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (first row, block) of a part, in order; blocks of at most ``rows`` rows where parts are large."""
        yield part.start, np.asarray(self.read(slice(part.start, part.stop)))

    def blocks(self, values: int = BLOCK_VALUES) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (first row, block) of all rows in order, each of about ``values`` values or less."""
        for part in self.parts(max(1, values // max(1, self.first.size))):
            yield from self.scan(part)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of schema and values (sha256, hexadecimal)."""
        return fingerprint(self, self.schema)

    @cached_property
    def identity(self) -> str:
        """A hash that tells data from others without a pass over very many rows of files (sha256, hexadecimal).

        Of more than 2^27 values of files, the versions of these and 16 evenly spaced pieces are hashed.
        """
        digest = hashlib.sha256(json.dumps([len(self), *self.first.shape[1:], self.names]).encode())
        many = bool(self.files) and len(self) * self.first.size > MOST_HASHED
        if many:
            digest.update(json.dumps(versions(self.files)).encode())
        pieces = spaced(self, len(self), self.first.size) if many else (block for _, block in self.blocks())
        for block in pieces:
            digest.update(np.ascontiguousarray(block).data)
        for name, values in (*self.beside.items(), ("numbers", self.numbers), ("labels", self.labels)):
            digest.update(f"{name}: {[] if values is None else values.tolist()}".encode())
        return digest.hexdigest()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {len(self)} rows)"


def gather(source: Source, rows: NDArray[np.intp], parts: Iterable[range], out: NDArray[Any]) -> NDArray[Any]:
    """Read rows in any order from the parts that hold them, into an array."""
    for part in parts:
        wanted = np.flatnonzero((rows >= part.start) & (rows < part.stop))
        if not len(wanted):
            continue
        for start, block in source.scan(part):
            here = wanted[(rows[wanted] >= start) & (rows[wanted] < start + len(block))]
            out[here] = block[rows[here] - start]
            if start + len(block) > rows[wanted].max():
                break
    return out


def row_numbers(rows: RowIndex, n: int) -> NDArray[np.intp]:
    """Return a slice or an integer array as the numbers of rows."""
    return np.arange(*rows.indices(n)) if isinstance(rows, slice) else np.asarray(rows)


@contextlib.contextmanager
def reading(path: Path, what: str = "") -> Iterator[None]:
    """Turn any error while a file is read into a `DataError` that names the file and ``what`` it should be.

    >>> with reading(Path("rows.npy"), ".npy"):
    ...     raise OverflowError("Python int too large to convert to C long")
    Traceback (most recent call last):
    latentmap.exceptions.DataError: rows.npy: not a readable .npy file (Python int too large to convert to C long); ...
    """
    advice = "copy or download it again"
    try:
        yield
    except LatentmapError:
        raise
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: truncated or damaged ({error_line(error)}); {advice}") from error
    except MemoryError as error:
        what = f"damaged, or larger than the memory that is free ({error_line(error)})"
        raise DataError(f"{path}: {what}; {advice}") from error
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # of a library in Rust
            raise
        if isinstance(error, OSError) and error.errno:  # no permission, for instance
            raise DataError(f"cannot read {path}: {error.strerror or error}") from error
        if isinstance(error, UnicodeDecodeError) and not what:
            byte = f"byte {error.object[error.start]:#04x}"
            raise DataError(f"{path}: not UTF-8 text ({byte} cannot be read); save the file as UTF-8") from error
        kind = f"{what} file" if what else "file"
        raise DataError(f"{path}: not a readable {kind} ({error_line(error)}); {advice}") from error


def given_labels(labels: ArrayLike | None, n_rows: int, name: str) -> NDArray[Any] | None:
    """Return labels that are given as values, of which each row must have one; a name is an error here."""
    if labels is None:
        return None
    if isinstance(labels, str):
        raise DataError(f"{name} has no named columns, so none is called {labels!r}: give labels as an array")
    values = np.asarray(labels)
    if values.shape != (n_rows,):
        raise DataError(f"labels have shape {values.shape}, but {name} has {n_rows} rows: expected shape ({n_rows},)")
    return plain_labels(values)


def plain_labels(values: NDArray[Any]) -> NDArray[Any]:
    """Return labels as numbers or text: all other values become text, and absent ones "missing"."""
    if values.dtype.kind in "biufU":
        return values
    absent = [value is None or value != value for value in values.tolist()]
    return np.array(["missing" if gone else str(value) for gone, value in zip(absent, values, strict=True)], dtype=str)


def unique_names(names: Sequence[str], name: str, width: int | None = None) -> tuple[str, ...]:
    """Return the names of columns, which must be unique, and ``width`` in number if that is given."""
    for column, count in collections.Counter(names).items():
        if count > 1:
            raise DataError(f"{name}: {count} columns are called {column!r}; give each its own name")
    if width is not None and len(names) != width:
        raise DataError(f"{name} has {len(names)} names for {width} columns: expected a name for each; save it again")
    return tuple(names)


def name_of(labels: LabelSpec, options: Collection[str], message: str) -> str | None:
    """Return the name of the column with the labels, which must be one of the options; None if they are values."""
    if not isinstance(labels, str):
        return None
    require_known(labels, options, message)
    return labels


def files_within(folder: Path, endings: Collection[str]) -> list[Path]:
    """List the files in a folder and its subfolders with these endings; names that begin with . or _ are left out.

    >>> [file.name for file in files_within(Path(__file__).parent, [".py"]) if file.name.startswith("n")]
    ['npy.py', 'npz.py']
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in endings and path.is_file())
    return [file for file in files if not any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)]
