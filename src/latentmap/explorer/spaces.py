"""The data space: rows as the encoder takes them, and which rows are near each other in it."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from latentmap.explorer.decoding import encoder_inputs
from latentmap.plot.rows import spread

MOST_KEPT = 2**26
"""Values of all rows that are kept, at the most; more are computed anew."""
BLOCK = 2**22
"""Values of the rows whose distances are computed at a time."""
CENTRED = 1000
"""Rows whose mean is taken from all."""
SEARCHED = 8
"""Rows whose distances are computed exactly, for each that is searched for."""


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
        self._alone = threading.Lock()
        self._all: Float[np.ndarray, "n e"] | None = None
        self._norms: Float[np.ndarray, " n"] | None = None

    @cached_property
    def _centre(self) -> Float[np.ndarray, " e"]:
        """The mean of some rows: an offset would cancel in products."""
        some = self.rows[spread(len(self.rows), CENTRED)]
        return np.asarray(encoder_inputs(self.estimator, some).mean(axis=0, dtype=np.float64), np.float32)

    def _computed(self, rows: NDArray[Any]) -> Float[np.ndarray, "m e"]:
        inputs = encoder_inputs(self.estimator, rows)
        return np.asarray(np.subtract(inputs, self._centre, out=inputs))

    def take(self, indices: NDArray[np.intp] | slice) -> Float[np.ndarray, "m e"]:
        """Return some of the rows, less the mean of some."""
        if self.rows.size > MOST_KEPT:
            return self._computed(self.rows[indices])
        with self._alone:
            if self._all is None:
                self._all = self._computed(self.rows)
        return np.asarray(self._all[indices])

    def _squares(self, here: slice, block: Float[np.ndarray, "m e"]) -> Float[np.ndarray, " m"]:
        """Return the sums of squares of some rows; those of all rows are kept."""
        if self._all is None:
            return np.asarray(np.einsum("ne,ne->n", block, block))
        if self._norms is None:
            self._norms = np.asarray(np.einsum("ne,ne->n", self._all, self._all))
        return np.asarray(self._norms[here])

    def nearest(self, i: int, k: int) -> list[int]:
        """Return the k rows that are nearest to a row, without itself, the nearest first."""
        row = self.take(np.array([i]))
        k = min(k, len(self.rows) - 1)
        distances = np.empty(len(self.rows), dtype=np.float32)
        for start in range(0, len(self.rows), self._size):
            here = slice(start, start + self._size)
            block = self.take(here)
            distances[here] = self._squares(here, block) - 2 * (block @ row[0])
        distances[i] = np.inf
        most = min(len(distances), SEARCHED * k)  # which rounding may have put in another order
        some = np.argpartition(distances, most - 1)[:most]
        exact = np.square(self.take(some) - row).sum(axis=1)
        exact[some == i] = np.inf
        return [int(one) for one in some[np.lexsort((some, exact))][:k]]
