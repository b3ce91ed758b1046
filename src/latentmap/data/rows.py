"""Rows of a source that are read on demand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.checks import invalid, place, require_exact
from latentmap.data.formats.base import Source
from latentmap.data.values import flat
from latentmap.exceptions import DataError


class LazyRows:
    """Rows of a source that are read when they are sliced: flat, and checked for values that are not finite.

    >>> from latentmap.data.formats.arrays import ArraySource
    >>> rows = LazyRows(ArraySource(np.arange(8).reshape(2, 2, 2)), 4, missing=False)
    >>> rows.shape, rows[1:2].tolist()
    ((2, 4), [[4.0, 5.0, 6.0, 7.0]])
    """

    def __init__(self, source: Source, n_features: int, *, missing: bool) -> None:
        self.source = source
        self.missing = missing
        first = flat(source.first)
        self.shape, self.dtype = (len(source), first.shape[1]), first.dtype
        if first.shape[1] != n_features:
            raise DataError(f"expected rows of {n_features} values, as in fit, got {first.shape[1]} in {source.name}")

    def __len__(self) -> int:
        return len(self.source)

    def pieces(self, size: int, part: range | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (first row, rows) in order, at most ``size`` rows each, of all or of a part of `Source.parts`."""
        for start, block in self.source.blocks() if part is None else self.source.scan(part, size):
            rows = self._checked(block, start)
            for i in range(0, len(rows), size):
                yield start + i, rows[i : i + size]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        return self._checked(self.source.read(rows), rows.start)

    def _checked(self, block: NDArray[Any], start: int) -> NDArray[Any]:
        require_exact(block, self.source.name, self.source.names, start)
        block = flat(block)
        if (bad := invalid(block, missing=self.missing)).any():
            row, column = np.argwhere(bad)[0]
            at = place([row, column], start, self.source.names)
            raise DataError(f"{self.source.name} contains {block[row, column]} at {at}; fill or drop it")
        return block
