"""The rows that are explored: numbers for the model, and their columns, labels and ids as they came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentmap.data.columns import Cells
from latentmap.data.formats.base import Source, plain_labels
from latentmap.data.sources import require_finite
from latentmap.data.streaming import fits, read_memory, sampled
from latentmap.data.writing import Key
from latentmap.estimators.rows import open_as_fitted
from latentmap.exceptions import DataError
from latentmap.messages import counted
from latentmap.plot.rows import spread

MOST_ROWS = 1_000_000
"""Rows that are explored, at the most."""
MOST_VALUES = 2**23
"""Values of rows that are read of data that do not fit in memory."""


@dataclass(frozen=True, eq=False)
class ExploredRows:
    """Rows that are explored.

    Attributes
    ----------
    values
        Rows as numbers, (n, *event); NaN where a cell is missing.
    total
        Number of rows of the data.
    numbers
        The number of each row in the data, from 0.
    name
        Name of the data.
    labels, label_name
        One label a row and their name, or None.
    ids, id_name
        What tells the rows apart and its name, or None.
    columns
        Columns of the data as they came, by name; empty for data that are numbers alone.
    notes
        What to say of them.
    """

    values: NDArray[Any]
    total: int
    numbers: NDArray[np.intp]
    name: str = "data"
    labels: NDArray[Any] | None = None
    label_name: str | None = None
    ids: NDArray[Any] | None = None
    id_name: str | None = None
    columns: Mapping[str, Cells] | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, estimator: Any, X: Any, y: Any = None, ids: ArrayLike | None = None, *, name: str = "data") -> Self:
        """Return rows of any data that the estimator takes, with labels and ids.

        Parameters
        ----------
        estimator : VAE or Autoencoder
            Fitted estimator.
        X : array-like, data frame or path
            Rows, as for ``fit``.
        y : array-like of shape (n,), default=None
            Labels.
        ids : array-like of shape (n,), default=None
            What tells the rows apart.
        name : str, default="data"
            Name of the data.

        Returns
        -------
        ExploredRows
            The rows; at most a million, evenly spaced.

        Raises
        ------
        DataError
            If X is not rows like those of the fit, or there is not one label or id for each.

        Examples
        --------
        >>> from latentmap import VAE, load_dataset
        >>> X, y = load_dataset("digits")
        >>> rows = ExploredRows.of(VAE(2, max_epochs=1, random_state=0).fit(X), X, y)
        >>> len(rows), rows.labels[:3].tolist()
        (1797, [0, 1, 2])
        """
        source = open_as_fitted(estimator, estimator.state_, X)
        n = len(source)
        for given, what in ((y, "y"), (ids, "ids")):
            if given is not None and np.shape(given) != (n,):
                raise DataError(f"{what} must hold one value for each of {counted(n, 'row')}, got {np.shape(given)}")
        labels = None if y is None else plain_labels(np.asarray(y))
        title = getattr(y, "name", None)
        label_name = None if title is None else str(title)
        key = None if ids is None else Key("id", np.asarray(ids))
        return cls.of_source(estimator, source, labels=labels, label_name=label_name, key=key, name=name)

    @classmethod
    def of_source(
        cls,
        estimator: Any,
        source: Source,
        *,
        labels: NDArray[Any] | None = None,
        label_name: str | None = None,
        key: Key | None = None,
        name: str | None = None,
    ) -> Self:
        """Return rows of a source, all of them if they fit in memory, else a sample that is evenly spaced.

        Parameters
        ----------
        estimator : VAE or Autoencoder
            Fitted estimator.
        source : Source
            The rows.
        labels : ndarray of shape (n,), default=None
            Labels; those of the source if None.
        label_name : str, default=None
            Their name.
        key : Key, default=None
            What tells the rows apart.
        name : str, default=None
            Name of the data; that of the source if None.

        Returns
        -------
        ExploredRows
            The rows.
        """
        n, notes = len(source), [] if source.remark is None else [source.remark]
        if fits(source, read_memory(estimator.memory)):
            require_finite(source, missing=estimator.takes_missing_)
            numbers, values = np.arange(n), np.asarray(source.read(slice(None)))
        else:
            numbers, values = sampled(source, MOST_VALUES)
        if len(numbers) > MOST_ROWS:
            kept = spread(len(numbers), MOST_ROWS)
            numbers, values = numbers[kept], values[kept]
        if len(numbers) < n:
            notes.append(f"{len(numbers):,} of {n:,} rows are shown, evenly spaced")
        if labels is None:
            labels, label_name = source.labels, source.label_name
        cells = [one for one in source.cells if len(one.values) == n]
        return cls(
            values.reshape(len(values), *estimator.event_shape_),
            n,
            numbers if source.numbers is None else source.numbers[numbers],
            source.name if name is None else name,
            None if labels is None else labels[numbers],
            label_name,
            None if key is None else key.values[numbers],
            None if key is None else key.name,
            {one.name: taken(one, numbers) for one in cells},
            tuple(notes),
        )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def title(self) -> str:
        """The name of the data, without the folder of a file."""
        return Path(self.name).name if Path(self.name).is_absolute() else self.name

    def take(self, indices: NDArray[np.intp]) -> Self:
        """Return some of the rows."""
        labels, ids = (None if one is None else one[indices] for one in (self.labels, self.ids))
        columns = {name: taken(cells, indices) for name, cells in (self.columns or {}).items()}
        values, numbers = self.values[indices], self.numbers[indices]
        return replace(self, values=values, numbers=numbers, labels=labels, ids=ids, columns=columns)

    def are_those_of(self, other: ExploredRows) -> bool:
        """Return whether other rows are the same: as many, of the same numbers and ids, or else of the same data."""
        if self.total != other.total or not np.array_equal(self.numbers, other.numbers):
            return False
        if self.ids is not None and other.ids is not None:
            return self.id_texts == other.id_texts
        return self.name == other.name

    @cached_property
    def id_texts(self) -> list[str] | None:
        """The ids as text."""
        return None if self.ids is None else [str(one) for one in self.ids.tolist()]


def taken(cells: Cells, rows: NDArray[np.intp]) -> Cells:
    """Return the cells of some rows of a column.

    >>> taken(Cells("height", np.array([1.0, 2.0, 3.0])), np.array([2, 0])).values.tolist()
    [3.0, 1.0]
    """
    if len(rows) == len(cells.values) and (rows == np.arange(len(rows))).all():
        return cells
    written = cells.written and (cells.written[0], cells.written[1][rows])
    factors = cells.factors and (cells.factors[0], cells.factors[1][rows])
    return replace(cells, values=cells.values[rows], written=written, factors=factors, summary=None)
