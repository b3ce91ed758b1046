"""Training rows and held-out rows of a comparison: one split for each seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from latentmap.data.sampling import split_rows
from latentmap.data.selection import Selection
from latentmap.data.sources import Source, open_source, require_finite
from latentmap.evaluation.rows import sample_rows
from latentmap.evaluation.scores import Rows
from latentmap.exceptions import DataError

__all__: list[str] = []  # helpers of this project, which may change

MIN_NEW, MIN_TRAINING = 20, 50
"""Minimum numbers of rows for meaningful scores."""


class Splits:
    """Splits of a source into training rows and new rows, at most `max_rows` of each.

    Without new rows each seed holds out others; with them it takes another sample where there are more than `max_rows`.
    """

    def __init__(self, X: Any, y: Any, X_new: Any, y_new: Any, test_size: float, max_rows: int) -> None:
        self._source, self._test_size, self._max_rows = open_source(X, y), test_size, max_rows
        self._new = self._source if X_new is None else _open_like(self._source, X_new, y_new)
        require_finite(self._source)
        if X_new is None and y_new is not None:
            raise DataError("y_new are the labels of X_new, which is not given")
        if X_new is None:
            if not 0 < test_size < 1:
                raise DataError(f"test_size must lie between 0 and 1, got {test_size}")
            return
        require_finite(self._new)
        if self._new.schema.event_shape != self._source.schema.event_shape:
            shapes = f"{self._source.schema.event_shape}, got {self._new.schema.event_shape}"
            raise DataError(f"new rows must have the shape of the others, {shapes}")
        if (self._new.labels is None) != (self._source.labels is None):
            raise DataError("either both the rows and the new rows have labels, or neither")

    @property
    def remark(self) -> str:
        """How columns that are no numbers count, or nothing."""
        coded = [c.name for c in self._source.table.columns if c.categories] if self._source.table else []
        listed = ", ".join(map(repr, coded[:5])) + (", ..." if len(coded) > 5 else "")
        return f"; categories of {listed} count as the numbers of their order" if coded else ""

    def rows(self, seed: int) -> tuple[Rows, Rows]:
        """Read the training rows and the new rows of a seed."""
        kept, held = np.arange(len(self._source)), np.arange(len(self._new))
        if self._new is self._source:
            kept, held = split_rows(len(self._source), self._test_size, seed)
        train, new = (
            _read(source, rows[sample_rows(len(rows), self._max_rows, seed)])
            for source, rows in ((self._source, kept), (self._new, held))
        )
        if len(train.X) < MIN_TRAINING or len(new.X) < MIN_NEW:
            raise DataError(
                f"a comparison needs at least {MIN_TRAINING} training rows and {MIN_NEW} new ones, "
                f"got {len(train.X)} and {len(new.X)}"
            )
        return train, new


def _open_like(source: Source, X: Any, y: Any) -> Source:
    """Open new rows with the columns of a source, by name where both have names, and in the shape of its images."""
    wanted = Selection(wanted=source.names if source.table is None else None)
    return open_source(X, y, source.table, numeric=source.table is None, selection=wanted, like=source.schema)


def _read(source: Source, rows: np.ndarray) -> Rows:
    return Rows(source.read(rows), None if source.labels is None else source.labels[rows], rows)
