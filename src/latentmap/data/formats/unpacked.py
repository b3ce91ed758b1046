"""Content of packed files, within bounds: a few bytes may unpack to more than any memory."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

from latentmap.data.streaming import read_memory
from latentmap.exceptions import DataError

PIECE = 2**20


def require_room(path: Path, size: int, what: str = "unpacks to") -> None:
    """Raise if content of ``size`` bytes needs more than a quarter of the memory that is free."""
    if size > (most := read_memory(None)):
        advice = "copy it again if it should be smaller, or save it as .parquet or .npy, which are read in blocks"
        message = f"{what} more than {most / 1e9:.3g} GB, a quarter of the memory that is free"
        raise DataError(f"{path} {message}; {advice}")


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
    return content.getvalue()
