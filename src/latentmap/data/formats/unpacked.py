"""Content of packed files, within bounds: a few bytes may unpack to more than any memory."""

from __future__ import annotations

import contextlib
import gzip
import io
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from latentmap.data.streaming import read_memory
from latentmap.exceptions import DataError

PIECE = 2**20
MOST_COLUMNS = 100_000
"""Columns of a table, each of which has a name and a type of its own."""
_memory: ContextVar[int | None] = ContextVar("memory", default=None)


@contextlib.contextmanager
def within(memory: str | int | None) -> Iterator[None]:
    """Let what is read take so much memory at the most, such as 600MB; None leaves it at a quarter of what is free.

    >>> with within("600MB"):
    ...     room()
    600000000
    """
    token = _memory.set(_memory.get() if memory is None else read_memory(memory))
    try:
        yield
    finally:
        _memory.reset(token)


def room() -> int:
    """Return the bytes of memory that unpacked content may take."""
    given = _memory.get()
    return read_memory(None) if given is None else given


def require_room(path: Path | str, size: int, what: str = "unpacks to") -> None:
    """Raise if content of ``size`` bytes needs more memory than it may take."""
    if size > (most := room()):
        advice = "raise memory if it is yours, or save it as .parquet or .npy, which are read in blocks"
        share = "a quarter of the memory that is free" if _memory.get() is None else "the memory that is allowed"
        raise DataError(f"{path} {what} more than {most / 1e9:.3g} GB, {share}; {advice}")


def require_columns(path: Path | str, count: int) -> None:
    """Raise if a table has more columns than are read as such."""
    if count > MOST_COLUMNS:
        advice = "take some of them, or save them as one array, a .npy or .h5ad"
        raise DataError(f"{path} has {count:,} columns, and a table has {MOST_COLUMNS:,} at most: {advice}")


def unpacked(path: Path) -> bytes:
    """Return the content of a file, unpacked where its name ends in ``.gz``; raise a `DataError` if it is too large."""
    if not path.name.lower().endswith(".gz"):
        return path.read_bytes()
    content = io.BytesIO()
    with gzip.open(path) as stream:
        while piece := stream.read(PIECE):
            content.write(piece)
            if content.tell() % (16 * PIECE) == 0:
                require_room(path, content.tell())
    require_room(path, content.tell())
    return content.getvalue()
