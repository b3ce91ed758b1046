"""The IDX format of MNIST: a magic number, the sizes of the axes, then the values, big-endian; gzipped or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.formats.arrays import ArraySource
from latentmap.data.formats.base import LabelSpec, reading
from latentmap.data.formats.unpacked import unpacked
from latentmap.exceptions import DataError

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


class IdxSource(ArraySource):
    """An IDX file of two or more axes, gzipped where its name ends in ``.gz``."""

    def __init__(self, path: Path, labels: LabelSpec = None) -> None:
        super().__init__(read_idx(path), name=str(path), labels=labels)


def read_idx(path: Path) -> NDArray[Any]:
    """Return the array of an IDX file: two zero bytes, a type, the number of axes, their sizes, the values."""
    with reading(path, "IDX"):
        raw = unpacked(path)
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in TYPES:
        begin = raw[:3].hex(" ") or "nothing"
        raise DataError(f"{path}: not an IDX file: expected it to begin with 00 00 08, got {begin}")
    dtype, start = np.dtype(TYPES[raw[2]]), 4 + 4 * raw[3]
    shape = tuple(np.frombuffer(raw[4:start], ">u4").tolist()) if len(raw) >= start else ()
    expected = start + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if len(raw) != expected:
        what = "truncated" if len(raw) < expected else "too long"
        message = f"expected {expected} bytes for shape {shape}, got {len(raw)}; download it again"
        raise DataError(f"{path}: {what}: {message}")
    with reading(path, "IDX"):  # which may have more axes than numpy
        return np.frombuffer(raw, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))
