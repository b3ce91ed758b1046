"""Tables in Arrow's own format, ``.arrow`` and ``.feather``, and what is common to all that pyarrow reads."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latentmap.data.columns import Asked, Table
from latentmap.data.formats.base import Labels, Source, reading
from latentmap.data.formats.memory import from_memory
from latentmap.exceptions import DataError, MissingExtraError


def arrow_source(path: Path, labels: Labels = None, columns: Table | Asked | None = None) -> Source:
    """Read an ``.arrow`` or ``.feather`` file: Arrow's file format, or its stream, as Hugging Face's data sets have it.

    Raises
    ------
    DataError
        If the file is damaged, or a column holds lists, for instance.
    MissingExtraError
        If pyarrow is not installed.
    """
    ipc = pyarrow_module("ipc")
    with undamaged(path, "Arrow"), path.open("rb") as stream:
        is_file = stream.read(6) == b"ARROW1"
        stream.seek(0)
        table = (ipc.open_file if is_file else ipc.open_stream)(stream).read_all()
    return table_source(table, path, labels, columns)


def table_source(table: Any, path: Path, labels: Labels, columns: Table | Asked | None) -> Source:
    """Make a source of a table of pyarrow's."""
    index = index_columns(table.schema)
    return from_memory(table.drop_columns(index) if index else table, labels, str(path), columns)


def index_columns(schema: Any) -> list[str]:
    """Name the columns that pandas wrote as a row index."""
    stored = (schema.pandas_metadata or {}).get("index_columns", [])
    return [name for name in stored if isinstance(name, str) and name in schema.names]


@contextlib.contextmanager
def undamaged(path: Path, what: str) -> Iterator[None]:
    """Say which file cannot be read, and why, in one line."""
    arrow_error = pyarrow_module("lib").ArrowException
    with reading(path):
        try:
            yield
        except (arrow_error, OSError) as error:
            if isinstance(error, OSError) and error.errno:  # no permission, for instance
                raise
            reason = " ".join(str(error).split())[:150]
            raise DataError(f"{path}: not a readable {what} file ({reason}); copy or download it again") from error


def pyarrow_module(module: str) -> Any:
    """Import a module of pyarrow."""
    try:
        return importlib.import_module(f"pyarrow.{module}")
    except ImportError as error:
        raise MissingExtraError("pyarrow", "tables") from error
