"""Where classes lie on a map: their islands, and which of them overlap."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

CELLS = {1: 200, 2: 64, 3: 28}
"""Cells of the grid along each axis, by the number of axes."""
WIDTH = 0.05
"""Width of the kernel that smooths counts, in frames, for one point; it narrows with the number of points as Scott's
rule has it."""
SHARE = 0.1
LEAST = 10
"""Share of its class, and number of rows, that an island holds at the least."""
APART = 0.1
"""Distance in frames between two islands of a class that have a name each."""


@dataclass(frozen=True, eq=False)
class Islands:
    """Density of each class on a grid over the map.

    An island of a class is a connected region where it lies denser than if it were spread evenly over the map.

    Parameters
    ----------
    points : ndarray of shape (n, d)
        The map.
    codes : ndarray of shape (n,)
        Class of each row; -1 where it has none.
    low, high : ndarray of shape (d,)
        The frame of the map.
    """

    points: np.ndarray
    codes: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def classes(self) -> np.ndarray:
        """The classes that have rows."""
        return np.unique(self.codes[self.codes >= 0])

    @cached_property
    def cells(self) -> np.ndarray:
        """The cell of each row along each axis, (n, d)."""
        n = CELLS[self.points.shape[1]]
        extent = np.maximum(np.asarray(self.high - self.low, np.float64), 1e-300)  # which single precision rounds to 0
        return np.asarray(np.clip((self.points - self.low) / extent * n, 0, n - 1).astype(int))

    @cached_property
    def densities(self) -> np.ndarray:
        """The share of each class in each cell, smoothed, (classes, cells, ...)."""
        from scipy.ndimage import gaussian_filter

        side = CELLS[self.points.shape[1]]
        shape = (side,) * self.points.shape[1]
        every = []
        for code in self.classes:
            cells = self.cells[self.codes == code]
            counts = np.bincount(np.ravel_multi_index(tuple(cells.T), shape), minlength=int(np.prod(shape)))
            width = WIDTH * side * len(cells) ** (-1 / 6)
            every.append(gaussian_filter(counts.reshape(shape) / len(cells), width, mode="constant"))
        return np.array(every)

    @cached_property
    def places(self) -> list[tuple[int, np.ndarray, float]]:
        """Class, middle and reach of each island that holds a fair share of its class, the largest of a class first.

        The reach is the distance along an axis within which most of its rows lie.
        """
        from scipy.ndimage import label

        found: list[tuple[int, np.ndarray, float]] = []
        for code, density in zip(self.classes, self.densities, strict=True):
            regions, n = label(density > 1 / density.size)
            rows = self.points[self.codes == code]
            island = regions[tuple(self.cells[self.codes == code].T)]
            sizes = np.bincount(island, minlength=n + 1)[1:]
            large = [i for i in np.argsort(-sizes, kind="stable") if sizes[i] >= max(SHARE * len(rows), LEAST)]
            middles: list[np.ndarray] = []
            for inside in [rows[island == i + 1] for i in large] or [rows]:
                middle = _middle(inside)
                distances = [np.abs((middle - other) / (self.high - self.low)).max() for other in middles]
                if min(distances, default=1) > APART:
                    middles.append(middle)
                    found.append((int(code), middle, float(np.quantile(np.abs(inside - middle).max(1), 0.9))))
        return found

    @cached_property
    def overlaps(self) -> np.ndarray:
        """The share that two classes have in common, the sum of the smaller density over all cells, (k, k)."""
        flat = self.densities.reshape(len(self.densities), -1)
        return np.array([[np.minimum(a, b).sum() / max(a.sum(), b.sum()) for b in flat] for a in flat])


def _middle(rows: np.ndarray) -> np.ndarray:
    """Return the row that is closest to the median of all, which may lie outside a bent island."""
    return np.asarray(rows[np.abs(rows - np.median(rows, axis=0)).sum(1).argmin()])


def describe_islands(islands: Islands, names: tuple[str, ...]) -> str:
    """Return how many islands classes form, which lie apart and which overlap most.

    >>> points = np.repeat([[0.0, 0.0], [1.0, 1.0]], 50, axis=0)
    >>> two = Islands(points, np.repeat([0, 1], 50), np.array([-1, -1]), np.array([2, 2]))
    >>> describe_islands(two, ("elm", "oak"))
    '2 classes form 2 islands; elm and oak lie apart from all others'
    """
    classes = [names[code] for code in islands.classes]
    if len(classes) == 1:
        return f"one class, {classes[0]}, forms {counted(len(islands.places), 'island')}"
    overlaps = islands.overlaps - np.eye(len(classes))
    text = f"{len(classes)} classes form {counted(len(islands.places), 'island')}"
    if apart := [name for name, most in zip(classes, overlaps.max(1), strict=True) if most < 0.05]:
        text += f"; {listed(apart)} lie{'s' if len(apart) == 1 else ''} apart from all others"
    pairs = sorted((overlaps[i, j], i, j) for i in range(len(classes)) for j in range(i) if overlaps[i, j] > 0.2)
    if pairs:
        most = [f"{classes[j]} with {classes[i]} ({share:.0%})" for share, i, j in pairs[:-4:-1]]
        text += f"; {listed(most)} overlap{'s' if len(most) == 1 else ''} most"
    return text


def listed(names: list[str]) -> str:
    """Return names as a list in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def counted(n: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "row"), counted(1797, "row")
    ('1 row', '1,797 rows')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
