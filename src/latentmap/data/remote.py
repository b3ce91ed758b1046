"""Files and folders at addresses such as ``s3://bucket/rows``, read in place by their libraries or copied."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latentmap.exceptions import DataError, MissingExtraError
from latentmap.messages import error_line

WEB = ("http://", "https://")
"""Addresses that are copied: servers of the web list no folders, and not all of them read ranges."""


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
    """Yield what libraries open: a local path itself, or a remote file of which they read ranges."""
    if is_local(path):
        yield path
        return
    with path.open("rb") as file:
        yield file


def located(*paths: Any) -> tuple[Any, list[str]]:
    """Return the file system of paths, None for that of this machine, and their names on it."""
    if is_local(paths[0]):
        return None, list(map(str, paths))
    return paths[0].fs, [path.path for path in paths]


def copy_folder(source: Any, target: Path) -> None:
    """Copy a remote folder with its subfolders to a new local one."""
    for file in source.rglob("*"):
        if not file.is_file():
            continue
        copy = target.joinpath(*file.relative_to(source).parts)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with file.open("rb") as content, copy.open("wb") as written:
            shutil.copyfileobj(content, written)
