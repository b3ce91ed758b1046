"""Where codes lie: their density, its contours, and its holes, in which no row lies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from latentmap.evaluation.codes import drawn_once, sample_codes
from latentmap.evaluation.details import NeighborDensity
from latentmap.evaluation.rows import sample_rows
from latentmap.plot.latent import least_density

MOST_DRAWS = 50_000
"""Draws that are searched, at the most."""
PRIOR_DRAWS = 10_000
"""Draws of the prior of a model that is explored without rows."""
CELLS = 128
"""Cells of a plane along each axis."""
SMOOTH = 1.5
"""Width of the kernel that smooths a plane, in cells, so that its contours are lines."""
SHARES = (0.05, 0.25, 0.5, 0.75)
"""Shares of the rows that lie outside of the contours."""
MARGIN = 0.1
"""Room around the codes in a plane, as a share of its extent, by which an end moves out where it cuts a contour."""
TAILS = (0.01, 0.99)
"""Quantiles of the draws between which a plane reaches at the least."""
MOST_MOVES = 50
"""Times that the ends of a plane move out, at the most."""


@dataclass(frozen=True, eq=False)
class Plane:
    """Log-density of two components on a grid, nats, and where it has holes.

    Attributes
    ----------
    low, high
        The ends of the grid, as x and y; no contour reaches them, and beyond them no row lies.
    size
        Cells along each axis.
    values
        Log-density, (size, size), y along the first axis.
    hole
        1 where no row lies.
    levels
        Log-densities outside of which 5%, 25%, 50% and 75% of the rows lie.
    """

    low: tuple[float, float]
    high: tuple[float, float]
    size: int
    values: NDArray[np.float32] = field(metadata={"binary": True})
    hole: NDArray[np.uint8] = field(metadata={"binary": True})
    levels: list[float]


class CodeDensity:
    """Density of the aggregate posterior, from one draw of q(z|x) for each row; of the prior where there are no rows.

    Parameters
    ----------
    draws : ndarray of shape (n, d)
        Draws.
    points : ndarray of shape (m, d), default=None
        Posterior means of the rows; None where there are none, so that nothing is known of holes.
    """

    def __init__(self, draws: Float[np.ndarray, "n d"], points: Float[np.ndarray, "m d"] | None) -> None:
        self.draws = draws[sample_rows(len(draws), MOST_DRAWS)]
        self.points = points
        self._density = NeighborDensity(self.draws)
        self.least = None if points is None else least_density(self._density, points)
        self._planes: dict[tuple[int, int], Plane] = {}

    @classmethod
    def of_rows(cls, estimator: Any, mean: NDArray[Any], deviation: NDArray[Any]) -> Self:
        """Return the density of rows with these posterior means and deviations, (n, d) both."""
        some = sample_rows(len(mean), MOST_DRAWS)
        return cls(drawn_once(estimator, mean[some], deviation[some]), mean)

    @classmethod
    def of_prior(cls, estimator: Any) -> Self:
        """Return the density of the model's prior."""
        return cls(sample_codes(estimator, PRIOR_DRAWS, 0), None)

    def __call__(self, z: NDArray[Any]) -> NDArray[np.float64]:
        """Return the log-density at codes (m, d), nats."""
        return self._density(np.asarray(z, dtype=np.float64))

    def holes(self, log_density: NDArray[np.float64]) -> list[bool | None]:
        """Return whether no row lies where the density is such: it is lower than around all but 1% of the rows."""
        least = self.least
        return [None] * len(log_density) if least is None else [bool(one < least) for one in log_density]

    def plane(self, x: int, y: int) -> Plane:
        """Return the density of two components, whatever the others are."""
        if (x, y) not in self._planes:
            self._planes[x, y] = self._plane([x, y])
        return self._planes[x, y]

    def _plane(self, axes: list[int]) -> Plane:
        draws = self.draws[:, axes]
        points = draws if self.points is None else self.points[:, axes]
        density = NeighborDensity(draws)
        least = None if self.points is None else least_density(density, points)
        ends = np.array([*np.quantile(draws, TAILS, axis=0), points.min(0), points.max(0)])
        low, high = ends.min(0), ends.max(0)
        room = MARGIN * np.maximum(high - low, 1e-6)
        low, high = low - room, high + room
        some = points[sample_rows(len(points), MOST_DRAWS)]
        for _ in range(MOST_MOVES):
            smooth, hole, levels = self._cells(density, least, some, low, high)
            there = (smooth >= levels[0]) | (False if least is None else ~hole)
            room = MARGIN * (high - low)
            left, right, bottom, top = (side.any() for side in (there[:, 0], there[:, -1], there[0], there[-1]))
            if not (left or right or bottom or top):
                break
            low, high = low - room * [left, bottom], high + room * [right, top]
        return Plane(_pair(low), _pair(high), CELLS, smooth.astype(np.float32), hole.astype(np.uint8), levels)

    @staticmethod
    def _cells(
        density: NeighborDensity, least: float | None, points: NDArray[Any], low: NDArray[Any], high: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], list[float]]:
        """Return the smoothed log-density of cells, whether they are holes, and the levels of contours."""
        from scipy.ndimage import gaussian_filter, map_coordinates

        across, up = (np.linspace(low[i], high[i], CELLS) for i in (0, 1))
        cells = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
        values = density(cells).reshape(CELLS, CELLS)
        hole = np.zeros(values.shape, bool) if least is None else values < least
        smooth = gaussian_filter(values, SMOOTH, mode="nearest")
        places = (points - low) / (high - low) * (CELLS - 1)
        at_rows = map_coordinates(smooth, places.T[::-1], order=1, mode="nearest")
        return smooth, hole, np.unique(np.quantile(at_rows, SHARES)).tolist()


def _pair(values: NDArray[Any]) -> tuple[float, float]:
    return float(values[0]), float(values[1])
