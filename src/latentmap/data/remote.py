"""Files and folders at addresses such as ``s3://bucket/rows``, read in place by their libraries or copied."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from latentmap.exceptions import DataError, MissingExtraError
from latentmap.messages import error_line

TAGS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "created")
"""What libraries of stores call the version of a file or the time of its last change."""
WEB = ("http://", "https://")
"""Addresses that are copied: servers of the web list no folders, and not all of them read ranges."""


def is_address(data: Any) -> bool:
    """Return whether data are named by an address, such as ``https://...`` or ``s3://...``.

    >>> is_address("s3://bucket/rows"), is_address("job:12/rows")
    (True, False)
    """
    return isinstance(data, str) and re.match(r"[a-z][a-z0-9+.-]*://", data) is not None


def local_path(target: Any) -> Path:
    """Return where results are written; an address would be a folder such as ``s3:``.

    Raises
    ------
    DataError
        If it is an address.
    """
    if is_address(target):
        raise DataError(f"cannot write {target}: results go to files and folders of this machine, or mounted on it")
    return Path(target)


def remote_path(data: str) -> Any | None:
    """Return an address as a path with the methods of `pathlib.Path`; None where one file of the web is copied.

    Raises
    ------
    DataError
        If there is nothing at the address, or it cannot be reached.
    """
    if data == "-" or data.startswith(WEB):
        return None
    try:
        from upath import UPath
    except ImportError as error:
        raise MissingExtraError("universal-pathlib", "remote") from error
    try:
        path = UPath(data)
        there = path.exists()
    except Exception as error:  # of the protocol, its library or the network
        raise DataError(f"cannot read {data}: {error_line(error)}") from error
    if not there:
        raise DataError(f"cannot read {data}: no such file or folder")
    return path


def is_local(path: Any) -> bool:
    """Return whether a path is one of this machine's file systems."""
    return isinstance(path, Path)


@contextlib.contextmanager
def readable(path: Any) -> Iterator[Any]:
    """Yield what pyarrow opens: a local path, absolute, or a remote file of which it reads ranges."""
    if is_local(path):
        yield path.absolute()  # it takes a relative one with a colon for an address
        return
    with path.open("rb") as file:
        yield file


def located(*paths: Any) -> tuple[Any, list[str]]:
    """Return the file system of paths, None for that of this machine, and their names on it."""
    if is_local(paths[0]):
        return None, [str(path.absolute()) for path in paths]
    return paths[0].fs, [path.path for path in paths]


def versions(paths: Sequence[Any]) -> list[list[Any]]:
    """Return name, size and version of files, and of those in folders: what changes when they are written again.

    The version of a local file is the time of its last change; that of a remote one the tag or time of its store.
    """
    return [version for path in paths for version in (_local if is_local(path) else _remote)(path)]


def _local(path: Path) -> Iterator[list[Any]]:
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            status = file.stat()
            yield [str(file.relative_to(path.parent)), status.st_size, status.st_mtime_ns]


def _remote(path: Any) -> Iterator[list[Any]]:
    for name, known in sorted(path.fs.find(path.path, detail=True).items()):
        tags = [str(known[tag]) for tag in TAGS if tag in known] or [path.fs.checksum(name)]
        yield [name.removeprefix(path.parent.path), known["size"], *tags]


def copy_folder(source: Any, target: Path) -> None:
    """Copy a remote folder with its subfolders to a new local one."""
    for file in source.rglob("*"):
        if not file.is_file():
            continue
        copy = target.joinpath(*file.relative_to(source).parts)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with file.open("rb") as content, copy.open("wb") as written:
            shutil.copyfileobj(content, written)
