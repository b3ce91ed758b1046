"""One array in numpy's own format, memory-mapped: only the rows that are read come into memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from latentmap.data.formats.arrays import ArraySource
from latentmap.data.formats.base import LabelSpec, reading
from latentmap.data.schema import RowIndex
from latentmap.data.values import native
from latentmap.exceptions import DataError


class NpySource(ArraySource):
    """A ``.npy`` file of shape (n, *event); pickled objects are never loaded."""

    def __init__(self, path: Path, labels: LabelSpec = None) -> None:
        with reading(path, ".npy"):
            try:
                array = open_memmap(path, mode="r")
            except ValueError as error:
                if "Python objects" in str(error):
                    message = "holds pickled Python objects, which are never loaded; save numbers instead"
                elif "mmap length" in str(error):
                    message = "truncated: shorter than its header says; copy or download it again"
                else:
                    raise
                raise DataError(f"{path}: {message}") from error
        super().__init__(array, name=str(path), labels=labels)
        self.path = path

    def read(self, rows: RowIndex) -> NDArray[Any]:
        """Return the rows of a slice or an integer array; a plain slice without mapping its pages into memory."""
        array = self._array
        assert isinstance(array, np.memmap)
        if not (isinstance(rows, slice) and rows.step in (None, 1) and array.flags.c_contiguous):
            return super().read(rows)
        start, stop, _ = rows.indices(len(self))
        shape = (max(0, stop - start), *array.shape[1:])
        with reading(self.path, ".npy"):
            offset = array.offset + start * array[:1].nbytes
            flat = np.fromfile(self.path, array.dtype, int(np.prod(shape)), offset=offset)
        return native(flat.reshape(shape))
