"""Images of rows at their points on a map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from latentmap.plot.labels import Labels
from latentmap.plot.rows import RowStyle
from latentmap.plot.style import BLUE, page_width

SIDES = {7.4: 0.05, 3.7: 0.09}
"""Side of an image as a share of the map's longer side, by the width of the figure in inches."""


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """Rows that are drawn as images.

    Attributes
    ----------
    chosen : ndarray of shape (m,)
        Indices of the rows, whose images do not overlap on a wide figure.
    images : ndarray of shape (m, h, w) or (m, h, w, c)
        Their images.
    style : RowStyle
        How images are drawn.
    most : int
        Number of images at most.
    """

    chosen: np.ndarray
    images: np.ndarray
    style: RowStyle
    most: int

    def draw(self, ax: Axes, points: np.ndarray, labels: Labels | None) -> None:
        """Draw the images at their points, those that do not overlap, in the colours of their classes."""
        limits = np.array([ax.get_xlim(), ax.get_ylim()])
        side = side_of(np.ptp(limits, axis=1))
        colours = None if labels is None or labels.values is not None else labels.row_colours()
        half = np.array(self.images.shape[2:0:-1]) / max(self.images.shape[1:3]) * side / 2
        for i in apart(points[self.chosen], side, self.most):
            row = self.chosen[i]
            tile = self.style.mosaic(self.images[i][None, None])[0]
            if self.style.paper:
                tile = np.dstack(
                    [np.broadcast_to(to_rgb(BLUE if colours is None else colours[row]), (*tile.shape, 3)), tile]
                )
            (left, bottom), (right, top) = points[row] - half, points[row] + half
            place: dict[str, Any] = {"extent": (left, right, bottom, top), "aspect": ax.get_aspect(), "zorder": 3}
            ax.imshow(tile, cmap="gray", vmin=0, vmax=1, **place)
        ax.set(xlim=limits[0], ylim=limits[1])


def side_of(extent: np.ndarray) -> float:
    """Return the side of an image on a map of this extent."""
    return SIDES[page_width()] * float(extent.max())


def apart(points: np.ndarray, side: float, most: int) -> np.ndarray:
    """Return indices of points, in random order, around which squares of this side do not overlap.

    >>> apart(np.array([[0.0, 0.0], [0.1, 0.0], [2.0, 0.0]]), 1.0, 10).size
    2
    """
    free = np.ones(len(points), dtype=bool)
    chosen: list[int] = []
    for i in np.random.default_rng(0).permutation(len(points)):
        if free[i] and len(chosen) < most:
            chosen.append(int(i))
            free &= np.abs(points - points[i]).max(1) >= 1.1 * side
    return np.array(chosen, dtype=int)
