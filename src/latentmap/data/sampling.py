"""The rows that are held out, and the order of the others: pure functions of a seed (and the epoch)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

SMALLEST_SPLIT = 20
"""The fewest rows of which some are held out."""


def count_held_out(n: int, fraction: float, most: int | None = None) -> int:
    """Return how many of n rows are held out: this fraction, at most ``most``, and none of fewer than 20 rows.

    >>> [count_held_out(n, 0.1) for n in (10, 100, 1797)], count_held_out(1797, 0.1, most=50)
    ([0, 10, 180], 50)
    """
    return min(round(n * fraction), n - 1, n if most is None else most) if n >= SMALLEST_SPLIT else 0


def split_rows(n: int, fraction: float, seed: int, most: int | None = None) -> tuple[Indices, Indices]:
    """Return the indices of the training rows and of the held-out rows, at most ``most``, both sorted.

    >>> train, held_out = split_rows(100, 0.1, seed=0)
    >>> len(train), len(held_out)
    (90, 10)
    """
    held = count_held_out(n, fraction, most)
    order = np.random.default_rng([seed, 0x5EED]).permutation(n)
    return np.sort(order[held:]), np.sort(order[:held])


def scattered(n: int, step: int) -> Indices:
    """Return one of every ``step`` of n rows, sorted, which one by chance: rows at equal distances may all be alike.

    >>> hours = np.arange(24_000) % 24
    >>> len(np.unique(hours[::24])), len(np.unique(hours[scattered(24_000, 24)]))
    (1, 24)
    """
    starts: Indices = np.arange(0, n, step)
    if step > 1:
        starts = np.minimum(starts + np.random.default_rng([n, step]).integers(step, size=len(starts)), n - 1)
    return starts


def epoch_order(n: int, seed: int, epoch: int) -> Indices:
    """Return the order of n rows in one epoch, which does not depend on the epochs before it.

    >>> bool((epoch_order(10, 0, epoch=3) == epoch_order(10, 0, epoch=3)).all())
    True
    """
    return np.random.default_rng([seed, epoch]).permutation(n)
