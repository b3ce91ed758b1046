"""Data from standard input and from addresses, copied to a temporary file or folder of the same name."""

from __future__ import annotations

import atexit
import contextlib
import functools
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latentmap.data.remote import copy_folder, is_address, remote_path
from latentmap.exceptions import DataError, MissingExtraError
from latentmap.messages import error_line

STDIN = "standard input.csv"
"""What standard input is called: it holds a text table."""


def is_remote(data: Any) -> bool:
    """Return whether data are standard input, ``-``, or an address such as ``https://...`` or ``s3://...``.

    >>> is_remote("-"), is_remote("https://example.org/x.csv"), is_remote("x.csv")
    (True, True, False)
    """
    return isinstance(data, str) and (data == "-" or is_address(data))


@contextlib.contextmanager
def fetched(data: str) -> Iterator[Path]:
    """Yield a copy of the data, alone in its folder, which is deleted if an error comes.

    Errors name the data, not their copy. Addresses need fsspec, and the library of their protocol.
    """
    name = STDIN if data == "-" else data.partition("?")[0].rstrip("/").rpartition("/")[2] or "data.csv"
    path = Path(tempfile.mkdtemp(prefix="latentmap-")) / name
    try:
        _copy(data, path)
        yield path
    except BaseException as error:
        shutil.rmtree(path.parent, ignore_errors=True)
        if not isinstance(error, DataError):
            raise
        shown = "standard input" if data == "-" else data
        raise DataError(str(error).replace(str(path), shown)) from error


def _copy(data: str, path: Path) -> None:
    if data == "-":
        shutil.copyfile(_standard_input(sys.stdin), path)
        if not path.stat().st_size:
            raise DataError(f"{path} is empty (0 bytes)")
        return
    if (source := remote_path(data)) is not None and source.is_dir():
        try:
            copy_folder(source, path)
        except Exception as error:
            raise DataError(f"cannot read {data}: {error_line(error)}") from error
        return
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtraError("fsspec", "remote") from error
    try:
        with fsspec.open(data, "rb") as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)
    except Exception as error:
        raise DataError(f"cannot read {data}: {error_line(error)}") from error


@functools.lru_cache(maxsize=1)
def _standard_input(stream: Any) -> Path:
    """Return a file with what a stream holds, which can be read once alone: it is kept until the process ends."""
    folder = tempfile.mkdtemp(prefix="latentmap-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / STDIN
    with path.open("wb") as target:
        shutil.copyfileobj(stream.buffer, target)
    return path
