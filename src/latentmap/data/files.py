"""Atomic writing of files: to a temporary name, synced, then renamed; and JSON."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latentmap.exceptions import DataError

UNFINISHED = Path("checkpoint") / "fit.json"
"""The file of a run folder that holds the request of a fit that has not ended."""


@contextlib.contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; it becomes ``target`` when the block ends without an error.

    The file is synced to the disk before it is renamed, so that a reader opens the old file or the new one, never a
    part. The temporary name keeps the suffix, by which writers choose a format. Missing parent folders are made.

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
    final = Path(os.path.realpath(target))
    temporary = final.with_name(f".{os.urandom(4).hex()}-{final.name}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        os.replace(temporary, final)
        _sync(final.parent)
    except OSError as error:
        raise DataError(f"cannot write {os.fspath(target)}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_bytes(target: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``target``, whole or not at all (see `atomic_path`)."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


def write_text(target: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8 with Unix line ends to ``target``, whole or not at all (see `atomic_path`)."""
    write_bytes(target, text.encode())


def write_json(target: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as indented JSON to ``target``, whole or not at all; NaN raises a ``ValueError``."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _sync(path: Path) -> None:
    """Flush a file, or a folder's list of names, to the disk."""
    if path.is_dir() and os.name == "nt":  # Windows has no descriptor for a folder
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
