"""One array in numpy's own format, memory-mapped: only the rows that are read come into memory."""

from __future__ import annotations

from pathlib import Path

from numpy.lib.format import open_memmap

from latentmap.data.formats.arrays import ArraySource
from latentmap.data.formats.base import Labels, reading
from latentmap.exceptions import DataError


class NpySource(ArraySource):
    """A ``.npy`` file of shape (n, *event).

    Raises
    ------
    DataError
        If the file is truncated, is no ``.npy`` file, or holds pickled objects, which are never loaded.
    """

    def __init__(self, path: Path, labels: Labels = None) -> None:
        with reading(path):
            try:
                array = open_memmap(path, mode="r")
            except ValueError as error:
                if "object" in str(error):
                    message = "holds pickled Python objects, which are never loaded; save numbers instead"
                elif "mmap length" in str(error):
                    message = "truncated: shorter than its header says; copy or download it again"
                else:
                    message = f"not a readable .npy file ({error})"
                raise DataError(f"{path}: {message}") from error
        super().__init__(array, name=str(path), labels=labels)
