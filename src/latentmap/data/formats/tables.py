"""Tables in Arrow's formats, ``.parquet`` and ``.arrow``/``.feather``: read with pyarrow."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latentmap.data.columns import Asked, Table
from latentmap.data.formats.arrays import ArraySource, from_memory
from latentmap.data.formats.base import Labels, reading
from latentmap.exceptions import DataError, MissingExtraError


def parquet_source(path: Path, labels: Labels = None, columns: Table | Asked | None = None) -> ArraySource:
    """Read a ``.parquet`` file, or all of them in a folder and the folders within, in the order of their paths.

    Folders called ``name=value`` (Hive's partitions) give each row of the files within a column ``name``, which can be
    the labels. Columns that pandas wrote as a row index are left out.

    Raises
    ------
    DataError
        If a file is damaged or has other columns or types than the first, or a column holds lists, for instance.
    MissingExtraError
        If pyarrow is not installed.
    """
    dataset, lib = _pyarrow("dataset"), _pyarrow("lib")
    folder = path.is_dir()
    files = parquet_files(path) if folder else [path]
    schemas = []
    for file in files:
        with _undamaged(file, "parquet"):
            schemas.append(dataset.dataset(str(file), format="parquet").schema)
        if schemas[-1].names != schemas[0].names:
            raise DataError(f"{file}: columns {schemas[-1].names}, but those of {files[0]} are {schemas[0].names}")
    hive: dict[str, Any] = {"partitioning": "hive", "partition_base_dir": str(path)} if folder else {}
    whole = dataset.dataset([str(file) for file in files], format="parquet", **hive)
    common = whole.schema
    for file, schema in zip(files, schemas, strict=True):
        try:  # whole numbers in one file and fractions in another become fractions
            common = lib.unify_schemas([common, schema], promote_options="permissive")
        except lib.ArrowException as error:
            reason = " ".join(str(error).split())[:150]
            raise DataError(f"{file}: the types of its columns are not those of {files[0]} ({reason})") from error
    parts = []
    for file, fragment in zip(files, whole.get_fragments(), strict=True):
        with _undamaged(file, "parquet"):
            parts.append(fragment.to_table(schema=common))
    return _source(lib.concat_tables(parts), path, labels, columns)


def arrow_source(path: Path, labels: Labels = None, columns: Table | Asked | None = None) -> ArraySource:
    """Read an ``.arrow`` or ``.feather`` file: Arrow's file format, or its stream, as Hugging Face's data sets have it.

    Raises
    ------
    DataError
        If the file is damaged, or a column holds lists, for instance.
    MissingExtraError
        If pyarrow is not installed.
    """
    ipc = _pyarrow("ipc")
    with _undamaged(path, "Arrow"), path.open("rb") as stream:
        is_file = stream.read(6) == b"ARROW1"
        stream.seek(0)
        table = (ipc.open_file if is_file else ipc.open_stream)(stream).read_all()
    return _source(table, path, labels, columns)


def parquet_files(folder: Path) -> list[Path]:
    """List the ``.parquet`` files in a folder and those within, but for names that begin with a dot or underscore.

    >>> parquet_files(Path(__file__).parent)
    []
    """
    found = sorted(folder.rglob("*.parquet"))
    return [p for p in found if not any(part.startswith((".", "_")) for part in p.relative_to(folder).parts)]


def _source(table: Any, path: Path, labels: Labels, columns: Table | Asked | None) -> ArraySource:
    stored = (table.schema.pandas_metadata or {}).get("index_columns", [])
    index = [name for name in stored if isinstance(name, str) and name in table.column_names]
    return from_memory(table.drop_columns(index) if index else table, labels, str(path), columns)


@contextlib.contextmanager
def _undamaged(path: Path, what: str) -> Iterator[None]:
    """Say which file cannot be read, and why, in one line."""
    arrow_error = _pyarrow("lib").ArrowException
    with reading(path):
        try:
            yield
        except (arrow_error, OSError) as error:
            if isinstance(error, OSError) and error.errno:  # no permission, for instance
                raise
            reason = " ".join(str(error).split())[:150]
            raise DataError(f"{path}: not a readable {what} file ({reason}); copy or download it again") from error


def _pyarrow(module: str) -> Any:
    """Import a module of pyarrow."""
    try:
        return importlib.import_module(f"pyarrow.{module}")
    except ImportError as error:
        raise MissingExtraError("pyarrow", "tables") from error
