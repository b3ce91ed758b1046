"""Names of labels at the middle of where they lie on a map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latentmap.explorer.fields import NO_CODE, Field
from latentmap.plot.islands import Islands
from latentmap.plot.rows import spread

MOST_LABELS = 50
"""Labels whose islands are named, at the most."""
MOST_ROWS = 100_000
"""Rows that islands are searched in, at the most."""


@dataclass(frozen=True)
class Island:
    """A label, and where it is written on the map."""

    label: str
    x: float
    y: float


def islands(points: NDArray[np.float32], label: Field) -> list[Island]:
    """Return the labels of points (n, 2) at their islands, the largest first; none of numbers or very many labels."""
    names = label.levels or ()
    if label.kind == "number" or not 1 <= len(names) <= MOST_LABELS:
        return []
    some = spread(len(points), MOST_ROWS)
    codes = label.values[some].astype(np.int64)
    found = Islands(points[some], np.where(codes == NO_CODE, -1, codes), points.min(0), points.max(0))
    sizes = np.bincount(codes[codes != NO_CODE], minlength=len(names))
    places = sorted(found.places, key=lambda place: -sizes[place[0]]) if len(found.classes) else []
    return [Island(names[code], float(middle[0]), float(middle[1])) for code, middle, _ in places]
