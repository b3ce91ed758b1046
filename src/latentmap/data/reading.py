"""Files that may be a stranger's: opened only if they are plain files, and never larger than expected; and JSON."""

from __future__ import annotations

import collections
import errno
import json
import math
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MOST_BYTES = 2**24
"""The most bytes of a file of JSON."""
MOST_NESTED = 2**19
"""The most lists and objects that a text of JSON may hold: each takes some 200 bytes of memory."""
DEEPEST = 64
"""The most lists and objects within each other."""
FAILING = tuple(
    getattr(errno, name)
    for name in ("EIO", "ESTALE", "EMFILE", "ENFILE", "ENOMEM", "ETIMEDOUT", "ENOTCONN", "ENODEV", "ENXIO", "EHOSTDOWN")
    if hasattr(errno, name)
)
"""Errors of the disk, the network or the process, which tell nothing about a file."""
KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def require_plain(path: str | os.PathLike[str]) -> None:
    """Raise an ``OSError`` if a path is there, but no plain file: opening a named pipe waits for a writer for ever.

    >>> require_plain("/")
    Traceback (most recent call last):
    IsADirectoryError: [Errno 21] is a folder, expected a file: '/'
    """
    try:
        mode = os.stat(path).st_mode
    except ValueError as error:  # a NUL in the name
        raise OSError(errno.EINVAL, str(error), os.fspath(path)) from error
    if not stat.S_ISREG(mode):
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(number, f"is {KINDS.get(stat.S_IFMT(mode), 'special')}, expected a file", os.fspath(path))


def read_file(path: str | os.PathLike[str], most: int | None = None) -> bytes:
    """Return the content of a plain file of at most so many bytes; raise an ``OSError`` otherwise."""
    require_plain(path)
    with open(path, "rb", opener=_at_once) as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            raise OSError(errno.EFBIG, f"holds {size:,} bytes, expected at most {most:,}", os.fspath(path))
        return file.read(-1 if most is None else size + 1)  # not all that it may hold, for which room would be made


def parse_json(content: bytes) -> Any:
    """Return the value of a text of JSON that is nested at most 64 deep, without NaN and keys that are there twice.

    Raises
    ------
    ValueError
        If it is no such text.

    Examples
    --------
    >>> parse_json(b'{"rows": 3, "rows": 4}')
    Traceback (most recent call last):
    ValueError: the key 'rows' is there twice
    """
    if content.count(b"[") + content.count(b"{") > MOST_NESTED:
        raise ValueError(f"more than {MOST_NESTED:,} lists and objects")
    try:
        value = json.loads(content, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_constant)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    level = [value]
    for _ in range(DEEPEST):
        level = [item for one in level for item in _items(one) if isinstance(item, dict | list)]
        if not level:
            return value
    raise ValueError(f"nested too deep, more than {DEEPEST} levels")


def read_json(path: str | os.PathLike[str], most: int = MOST_BYTES) -> Any:
    """Return the value of a file of JSON; raise an ``OSError`` or a ``ValueError`` as `read_file` and `parse_json`."""
    return parse_json(read_file(Path(path), most))


def _at_once(path: str, flags: int) -> int:
    """Open a file without waiting for whatever has taken its place."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _items(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name, _ = collections.Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {name[:40]!r} is there twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON")
