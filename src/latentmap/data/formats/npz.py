"""Archives of numpy arrays, ``.npz``, of which one holds the rows, another perhaps the labels."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import read_array_header_1_0, read_array_header_2_0, read_magic
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from latentmap.data.formats.arrays import ArraySource
from latentmap.data.formats.base import LabelSpec, reading
from latentmap.data.formats.members import choose_members
from latentmap.data.formats.unpacked import require_room
from latentmap.exceptions import DataError

HEADERS = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}


class NpzSource(ArraySource):
    """A ``.npz`` file: the member called X, x, data, images or x_train, else the only one of two or more axes.

    ``member`` names another. Labels are the member that ``labels`` names, else y, labels, target or y_train, where it
    has one value a row. Pickled objects are never loaded.
    """

    def __init__(self, path: Path, labels: LabelSpec = None, member: str | None = None) -> None:
        with reading(path, ".npz"):
            try:
                with path.open("rb") as stream:
                    array, values, label_name = _read(np.load(stream, allow_pickle=False), path, labels, member)
            except ValueError as error:
                if "allow_pickle" not in str(error):
                    raise
                raise DataError(f"{path}: cannot be read ({error}); pickled objects are never loaded") from error
        super().__init__(array, name=str(path), labels=values, label_name=label_name)


def _read(
    archive: NDArray[Any] | NpzFile, path: Path, labels: LabelSpec, member: str | None
) -> tuple[NDArray[Any], LabelSpec, str | None]:
    """Return the rows, their labels, and the name of these."""
    assert isinstance(archive, NpzFile)  # the ending of a single array has been refused before
    shape = functools.cache(functools.partial(_shape, archive, path))
    rows, key = choose_members(archive.files, shape, str(path), labels, member)
    for name in {rows, key} - {None}:
        shape(name)
    return np.asarray(archive[rows]), labels if key is None else archive[key], key


def _shape(archive: NpzFile, path: Path, name: str) -> tuple[int, ...]:
    """Return the shape of a member from its header; raise if it does not fit in memory."""
    assert archive.zip is not None
    stored = f"{name}.npy" if f"{name}.npy" in archive.zip.namelist() else name
    require_room(path, archive.zip.getinfo(stored).file_size)
    with archive.zip.open(stored) as stream:
        version = read_magic(stream)
        if version not in HEADERS:
            return np.shape(archive[name])
        shape, _, dtype = HEADERS[version](stream)
    require_room(path, math.prod(shape) * dtype.itemsize)
    return tuple(shape)
