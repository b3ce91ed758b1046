"""The data space: rows as the encoder takes them, and which rows are near each other in it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from latentmap.explorer.decoding import encoder_inputs

MOST_KEPT = 2**26
"""Values of all rows that are kept, at the most; more are computed anew."""
BLOCK = 2**22
"""Values of the rows whose distances are computed at a time."""


class DataSpace:
    """Rows in the units of the model, with categories as one component each.

    Parameters
    ----------
    estimator : VAE or Autoencoder
        Fitted estimator that takes numbers.
    rows : ndarray of shape (n, ...)
        Rows.
    """

    def __init__(self, estimator: Any, rows: NDArray[Any]) -> None:
        self.estimator = estimator
        self.rows = rows
        self._size = max(1, BLOCK // max(1, int(np.prod(rows.shape[1:]))))

    @cached_property
    def _kept(self) -> Float[np.ndarray, "n e"] | None:
        """All rows, if they are not too many."""
        return self._computed(self.rows) if self.rows.size <= MOST_KEPT else None

    def _computed(self, rows: NDArray[Any]) -> Float[np.ndarray, "n e"]:
        return encoder_inputs(self.estimator, rows)

    def take(self, indices: NDArray[np.intp] | slice) -> Float[np.ndarray, "m e"]:
        """Return some of the rows."""
        return self._computed(self.rows[indices]) if self._kept is None else self._kept[indices]

    def nearest(self, i: int, k: int) -> list[int]:
        """Return the k rows that are nearest to a row, without itself, the nearest first."""
        row = self.take(np.array([i]))
        distances = np.empty(len(self.rows), dtype=np.float32)
        for start in range(0, len(self.rows), self._size):
            here = slice(start, start + self._size)
            distances[here] = np.square(self.take(here) - row).sum(axis=1)
        distances[i] = np.inf
        k = min(k, len(distances) - 1)
        some = np.argpartition(distances, k)[:k] if k < len(distances) - 1 else np.delete(np.arange(len(distances)), i)
        return [int(one) for one in some[np.argsort(distances[some], kind="stable")]]
