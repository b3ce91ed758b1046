"""Columns that are no part of a model, since they follow from another or never vary."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latentmap.data.column import Column


@dataclass(frozen=True)
class Derived:
    """A column that is no part of the model, since it follows from another or never varies.

    Attributes
    ----------
    column
        What the column holds.
    source
        The column that determines it; None for a constant.
    values
        Its number for each level of the source; one for a constant.
    """

    column: Column
    source: str | None
    values: tuple[float, ...]

    def __call__(self, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return its numbers where the source has these levels, or as many for a constant."""
        table = np.array(self.values, dtype=np.float64)
        if self.source is None:
            return np.full(len(levels), table[0])
        return table[np.clip(np.rint(levels), 0, len(table) - 1).astype(np.intp)]

    @property
    def inverse(self) -> dict[float, float]:
        """The level of the source for each number that only one level has."""
        levels = {value: float(level) for level, value in enumerate(self.values)}
        times = Counter(self.values)
        return {value: level for value, level in levels.items() if times[value] == 1}
