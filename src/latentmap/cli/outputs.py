"""Files that the command writes: format by the end of the name, checked before the work, whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentmap.cli.terminal import UsageError

if TYPE_CHECKING:
    import numpy as np

    from latentmap.data.columns import Table

ARRAYS = (".npy", ".npz", ".csv", ".tsv", ".parquet")
PICTURES = (".png", ".svg", ".pdf")

PROBE = 2**20
"""Bytes that must fit where something is going to be written."""


def check_output(path: Path, formats: Sequence[str]) -> None:
    """Refuse an output before the work is done for it: another format, a folder, no permission, a full disk.

    Raises
    ------
    UsageError
        If the name does not end in one of the formats, or is that of something else than a file.
    DataError
        If nothing can be written there.
    """
    if path.suffix.lower() not in formats:
        listed = ", ".join(formats[:-1]) + " or " + formats[-1]
        raise UsageError(f"cannot write {path}: expected a name that ends in {listed}")
    if path.exists() and not path.is_file():
        raise UsageError(f"cannot write {path}: it is not a file; give another name")
    check_writable(path)


def check_writable(path: Path) -> None:
    """Refuse a place where nothing can be written, by writing a little into the nearest folder that exists."""
    import tempfile

    from latentmap.exceptions import DataError

    place = path.absolute()
    folder = place if place.is_dir() else next(parent for parent in place.parents if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(PROBE))
            probe.flush()
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error


def write_array(path: Path, values: np.ndarray[Any, Any], columns: Sequence[str], table: Table | None = None) -> None:
    """Write rows in the format of the file's name; tables are flat and have a header.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    from latentmap.data.writing import writing

    with writing(path, columns, table) as writer:
        writer.write(values)
