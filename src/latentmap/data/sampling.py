"""Which rows are held out, and in which order the others are seen: pure functions of a seed (and the epoch)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

SMALLEST_SPLIT = 20
"""Below this many rows nothing is held out: a handful of rows would say nothing."""


def count_held_out(n: int, fraction: float, most: int | None = None) -> int:
    """Say how many of n rows are held out: this fraction, so many at the ``most``, and none of a few rows.

    >>> [count_held_out(n, 0.1) for n in (10, 100, 1797)], count_held_out(1797, 0.1, most=50)
    ([0, 10, 180], 50)
    """
    return min(round(n * fraction), n - 1, n if most is None else most) if n >= SMALLEST_SPLIT else 0


def split_rows(n: int, fraction: float, seed: int, most: int | None = None) -> tuple[Indices, Indices]:
    """Split n rows into training rows and held-out rows, so many of these at the ``most``; both sorted.

    >>> train, held_out = split_rows(100, 0.1, seed=0)
    >>> len(train), len(held_out)
    (90, 10)
    """
    held = count_held_out(n, fraction, most)
    order = np.random.default_rng([seed, 0x5EED]).permutation(n)
    return np.sort(order[held:]), np.sort(order[:held])


def epoch_order(n: int, seed: int, epoch: int) -> Indices:
    """Shuffle n rows for one epoch; any epoch can be had without the ones before it.

    >>> bool((epoch_order(10, 0, epoch=3) == epoch_order(10, 0, epoch=3)).all())
    True
    """
    return np.random.default_rng([seed, epoch]).permutation(n)
