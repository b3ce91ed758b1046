"""Numbers that run in a circle, and coordinates: known by the name of a column and the range of its values."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from latentmap.data.identifiers import plain_name

CYCLES: tuple[tuple[str, float, float, float], ...] = (
    (r"hour|hr|hour of day", 0, 24, 24),
    (r"minute|min of hour", 0, 60, 60),
    (r"weekday|day of week|dayofweek|dow|week day", 0, 6, 7),
    (r"weekday|day of week|dayofweek|dow|week day", 1, 7, 7),
    (r"month|mon|month of year|mnth", 0, 11, 12),
    (r"month|mon|month of year|mnth", 1, 12, 12),
    (r"day of year|dayofyear|doy|yearday", 0, 366, 365.25),
    (r"angle|bearing|heading|azimuth|direction|wind direction|wind dir|aspect|course|hue|phase|degrees", 0, 360, 360),
    (r"angle|bearing|heading|azimuth|direction|wind direction|wind dir|course|phase|degrees", -180, 180, 360),
)
"""Last words of names, the least and greatest value, and the period."""
WIDE = 0.5
"""The least range of the values, in periods: the months of one summer are no cycle."""
COORDINATES = ((r"lat|latitude", 90.0), (r"lon|lng|long|longitude", 180.0))


def cycle_of(name: str, lowest: float, highest: float) -> tuple[float, float] | None:
    """Return the period of a column with this name and range, and where it starts; None if it runs in no circle.

    >>> cycle_of("pickup_hour", 0, 23), cycle_of("wind_direction", 1.5, 359.0), cycle_of("hours", 0, 80)
    ((24.0, 0.0), (360.0, 0.0), None)
    """
    plain = plain_name(name)
    for pattern, low, high, period in CYCLES:
        inside = low <= lowest and highest <= high
        if (
            inside
            and highest - lowest >= WIDE * period
            and re.search(rf"(?<![a-z])({pattern})( deg| degrees)?$", plain)
        ):
            return float(period), float(low)
    return None


def bounds_by_name(name: str, lowest: float, highest: float) -> tuple[float, float] | None:
    """Return the bounds of a latitude or longitude in degrees; None for any other column.

    >>> bounds_by_name("lat", 46.0, 51.5), bounds_by_name("flat", 0.0, 5.0)
    ((-90.0, 90.0), None)
    """
    plain = plain_name(name)
    for pattern, end in COORDINATES:
        if -end <= lowest and highest <= end and re.search(rf"(?<![a-z])({pattern})(?![a-z])", plain):
            return -end, end
    return None


def unwound(values: NDArray[np.float64], known: NDArray[np.float64], period: float) -> NDArray[np.float64]:
    """Return cyclic values within half a period of the mean direction of known ones; masked ones stay so.

    >>> unwound(np.array([23.0, 1.0]), np.array([22.0, 23.0, 1.0]), 24.0).tolist()
    [23.0, 25.0]
    """
    if not len(known):
        return values
    angles = 2 * np.pi * known / period
    middle = np.arctan2(np.sin(angles).mean(), np.cos(angles).mean()) * period / (2 * np.pi) % period
    return np.asanyarray(middle + (values - middle + period / 2) % period - period / 2)
