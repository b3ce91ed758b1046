"""Numbers of cyclic columns, of which the ends of the period are neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def unwound(values: NDArray[np.float64], known: NDArray[np.float64], period: float) -> NDArray[np.float64]:
    """Return cyclic values within half a period of the mean direction of known ones.

    >>> unwound(np.array([23.0, 1.0]), np.array([22.0, 23.0, 1.0]), 24.0).tolist()
    [23.0, 25.0]
    """
    angles = 2 * np.pi * known / period
    middle = np.arctan2(np.sin(angles).mean(), np.cos(angles).mean()) * period / (2 * np.pi) % period
    return np.asarray(middle + (values - middle + period / 2) % period - period / 2)
