"""Files that the command writes: format by the end of the name, checked before the work, whole or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentmap.cli.terminal import UsageError

if TYPE_CHECKING:
    import numpy as np

ARRAYS = (".npy", ".npz", ".csv", ".tsv")
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


def write_array(path: Path, values: np.ndarray[Any, Any], columns: Sequence[str]) -> None:
    """Write rows in the format of the file's name; tables are flat and have a header.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    from latentmap.data.files import write_bytes

    write_bytes(path, encoded(values, columns, path.suffix.lower()))


def encoded(values: np.ndarray[Any, Any], columns: Sequence[str], suffix: str) -> bytes:
    r"""Give the bytes of a file that holds these rows; decimals of a table suffice to read back the same numbers.

    >>> import numpy as np
    >>> encoded(np.array([[0.5, 0.1]]), ["a", "b"], ".csv")
    b'a,b\n0.5,0.10000000000000001\n'
    """
    import numpy as np

    if suffix in (".csv", ".tsv"):
        delimiter = "," if suffix == ".csv" else "\t"
        text = io.StringIO()
        csv.writer(text, delimiter=delimiter, lineterminator="\n").writerow(columns)
        digits = "%.9g" if values.dtype == np.float32 else "%.17g"
        np.savetxt(text, values.reshape(len(values), -1), digits, delimiter)
        return text.getvalue().encode()
    buffer = io.BytesIO()
    if suffix == ".npz":
        np.savez(buffer, X=values)
    else:
        np.save(buffer, values)
    return buffer.getvalue()
