"""Atomic writing of files: in a temporary folder, synced, then renamed; and JSON."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from latentmap.data.folders import keep_mode, sync
from latentmap.data.remote import local_path
from latentmap.data.temporary import temporary_folder
from latentmap.exceptions import DataError


@contextlib.contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path; its file becomes ``target`` when the block ends without an error.

    The file is synced to the disk before it is renamed, so that a reader opens the old file or the new one, never a
    part. It keeps its name, by which writers choose a format, in a temporary folder beside the target, and the
    permissions of the file that it replaces. Missing parent folders are made.

    Parameters
    ----------
    target
        The file to write. A symbolic link is followed, not replaced.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_path(Path(folder) / "codes.txt") as temporary:
    ...         _ = temporary.write_text("0.5")
    ...     [file.name for file in Path(folder).iterdir()]
    ['codes.txt']
    """
    final = Path(os.path.realpath(local_path(target)))
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(final) as folder:
            temporary = folder / final.name
            yield temporary
            sync(temporary)
            keep_mode(temporary, final)
            os.replace(temporary, final)
            sync(final.parent)
    except OSError as error:
        raise DataError(f"cannot write {os.fspath(target)}: {error.strerror or error}") from error


def write_new(path: Path, data: bytes) -> None:
    """Write a file of a folder that nobody reads yet (see `latentmap.data.folders.atomic_folder`)."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error


def write_bytes(target: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``target``, whole or not at all (see `atomic_path`)."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


def write_text(target: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8 with Unix line ends to ``target``, whole or not at all (see `atomic_path`)."""
    write_bytes(target, text.encode())


def write_json(target: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as indented JSON to ``target``, whole or not at all; NaN raises a ``ValueError``."""
    write_bytes(target, as_json(value))


def as_json(value: Any) -> bytes:
    r"""Return a value as indented JSON; NaN raises a ``ValueError``.

    >>> as_json({"unit": "µm"})
    b'{\n  "unit": "\xc2\xb5m"\n}\n'
    """
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


@dataclass(frozen=True)
class _Lines:
    """A stream to which rows are written one at a time, with the ends of lines of Unix."""

    stream: TextIO

    def write(self, row: str) -> None:
        self.stream.write(row.removesuffix("\r\n") + "\n")


def csv_writer(stream: TextIO, delimiter: str = ",") -> Any:
    r"""Return a writer of rows that quotes cells with the end of a line of any system, lone carriage returns too.

    >>> import io
    >>> text = io.StringIO()
    >>> csv_writer(text).writerows([["a\rb", 1], ["c", 2]])
    >>> text.getvalue()
    '"a\rb",1\nc,2\n'
    """
    return csv.writer(_Lines(stream), delimiter=delimiter, lineterminator="\r\n")
