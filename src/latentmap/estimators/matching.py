"""Links of rows of several tables by the columns that they share."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import narwhals as nw
import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy import sparse

from latentmap.data.frames import as_frame
from latentmap.data.sources import open_source
from latentmap.exceptions import DataError, DiagnosisWarning
from latentmap.messages import error_line
from latentmap.model.nearest import nearest

WITHIN = 5
"""The neighbour of a row in its own table, no further than which a row of the other table is linked to it."""
FEWEST, FEW = 10, 0.2
"""Links of two tables, at the least; and those of each row of the smaller one, below which a warning says so."""
BLOCK = 2**22
"""Values of a table that are read at a time."""

Name = str | int
"""A label of a data frame, or the index of a column."""


def by_columns(tables: Sequence[Any], shared: Any) -> list[Int[np.ndarray, "n 2"]]:
    """Return the links of each further table to that before it, of rows that are alike in shared columns.

    Rows of two tables are linked where each is the nearest of the other (mutual nearest neighbours, Haghverdi et al.
    2018) and no further from it than its own fifth neighbour is. Columns are compared in standard deviations of the
    rows of all tables; rows with missing cells are not linked.

    Parameters
    ----------
    tables : sequence of data
        Two or more tables.
    shared : sequence
        Labels, or indices, of the columns that all tables have; or for each table its own, in the same order.

    Raises
    ------
    DataError
        If tables do not have the columns, these are not numbers, or fewer than `FEWEST` rows are alike.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(100, 4))
    >>> pairs = by_columns([X[:60], X[40:]], [0, 1, 2, 3])[0]
    >>> int(sum(row == other + 40 for row, other in pairs))
    20
    """
    names = _names_of(len(tables), shared)
    columns = [_columns(table, own, number) for number, (table, own) in enumerate(zip(tables, names, strict=True))]
    everything = np.concatenate(columns)
    centre, scale = np.nanmean(everything, 0), np.nanstd(everything, 0)
    rows = [(values - centre) / np.where(scale > 0, scale, 1.0) for values in columns]
    found = [_mutual(a, b) for a, b in zip(rows[:-1], rows[1:], strict=True)]
    for number, pairs in enumerate(found, 1):
        _require_many(pairs, rows[number - 1], rows[number], names[number], number)
    return found


def _require_many(
    pairs: Int[np.ndarray, "l 2"],
    a: Float[np.ndarray, "n k"],
    b: Float[np.ndarray, "m k"],
    names: list[Name],
    number: int,
) -> None:
    """Raise if too few rows of two tables are linked, and warn if they are a small part of the smaller one."""
    fewer = min(len(a), len(b))
    if FEWEST <= len(pairs) and len(pairs) >= FEW * fewer:
        return
    apart = np.abs(np.nanmedian(a, 0) - np.nanmedian(b, 0))
    worst = int(apart.argmax())
    described = f"{len(pairs)} of {fewer} rows of tables {number - 1} and {number} are alike in the shared columns"
    medians = f"the medians of column {names[worst]!r} differ most, by {apart[worst]:.2g} standard deviations"
    medians = medians if apart[worst] > 0 else "their medians are equal"
    advice = "check that units are the same, share other columns, or give links"
    if len(pairs) < FEWEST:
        raise DataError(f"{described}, and {FEWEST} are needed; {medians}: {advice}")
    message = f"only {described}, so that the maps may not agree; {medians}: {advice}"
    warnings.warn(message, DiagnosisWarning, stacklevel=4)


def _names_of(tables: int, shared: Any) -> list[list[Name]]:
    """Return the labels or indices of the shared columns of each table."""
    expected = "shared takes the names or indices of columns, as ['age', 'weight'], or a list of them for each table"
    shared = shared.tolist() if hasattr(shared, "tolist") else shared
    if isinstance(shared, str) or not isinstance(shared, Sequence) or not len(shared):
        raise DataError(f"{expected}, got {shared!r:.100}")
    if all(isinstance(name, str | int | np.integer) for name in shared):
        lists = [_flat(shared, expected)] * tables
    else:
        lists = [_flat(names, expected) for names in shared]
    if len(lists) != tables or len({len(names) for names in lists}) != 1 or not lists[0]:
        sizes = ", ".join(str(len(names)) for names in lists)
        raise DataError(f"{expected}, as many for each of the {tables} tables, got {sizes}")
    for number, names in enumerate(lists):
        if twice := [name for name in names if names.count(name) > 1]:
            raise DataError(f"shared names column {twice[0]!r} of table {number} twice")
    return lists


def _flat(names: Any, expected: str) -> list[Name]:
    """Return the names or indices of the columns of one table, which a mask may select."""
    names = names.tolist() if hasattr(names, "tolist") else names
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise DataError(f"{expected}, got {names!r:.100} for one")
    listed: list[Name] = list(names)
    if listed and all(isinstance(name, bool) for name in listed):
        return [int(index) for index in np.flatnonzero(listed)]
    if wrong := [name for name in listed if not isinstance(name, str | int | np.integer)]:
        raise DataError(f"{expected}, got {wrong[0]!r:.100} among those of one")
    return listed


def _columns(table: Any, names: list[Name], number: int) -> Float[np.ndarray, "n k"]:
    """Return some columns of a table as numbers; missing cells as NaN."""
    frame = as_frame(table)
    if frame is None and any(isinstance(name, str) for name in names):
        raise DataError(f"table {number} is no data frame, whose columns have names; give one, or indices of columns")
    try:
        values = _of_array(table, names, number) if frame is None else _of_frame(frame, names, number)
    except IndexError:
        raise DataError(f"table {number} has no column of one of the indices {names!r:.100}") from None
    for name, column in zip(names, values.T, strict=True):
        if np.isinf(column).any():
            raise DataError(
                f"shared column {name!r} of table {number} has infinite values: replace them by missing ones"
            )
        if np.isnan(column).all():
            raise DataError(f"shared column {name!r} of table {number} holds no number at all; share other columns")
    return values


def _of_frame(frame: Any, names: list[Name], number: int) -> Float[np.ndarray, "n k"]:
    """Return columns of a data frame, by label; or by index where labels are no numbers."""
    labels = list(frame.columns)
    by_label = any(isinstance(name, str) for name in names) or any(isinstance(label, int) for label in labels)
    values = []
    for name in names:
        if by_label and name not in labels:
            raise DataError(f"table {number} has no column {name!r}, which is to be shared")
        column = frame[:, labels.index(name) if by_label else range(len(labels))[int(name)]]
        try:
            values.append(column.cast(nw.Float64).to_numpy().astype(np.float64))
        except Exception as error:
            raise DataError(
                f"shared column {name!r} of table {number} is to hold numbers ({error_line(error, 100)}): convert it, "
                "or share others"
            ) from error
    return np.column_stack(values)


def _of_array(table: Any, indices: list[Name], number: int) -> Float[np.ndarray, "n k"]:
    """Return columns of an array, a sparse matrix, or whatever else a fit reads."""
    at = [int(index) for index in indices]
    if sparse.issparse(table):
        return np.asarray(table.tocsc()[:, at].toarray(), dtype=np.float64)
    try:
        source = open_source(table)
    except DataError as error:
        raise DataError(f"table {number}: {error_line(error, 400)}") from error
    n, width = len(source), int(np.prod(source.first.shape[1:]))
    parts: list[NDArray[Any]] = []
    for start in range(0, n, step := max(1, BLOCK // width)):
        block = np.asarray(source.read(np.arange(start, min(n, start + step))))
        parts.append(block.reshape(len(block), -1)[:, at].astype(np.float64))
    return np.concatenate(parts)


def _mutual(a: Float[np.ndarray, "n k"], b: Float[np.ndarray, "m k"]) -> Int[np.ndarray, "l 2"]:
    """Return the pairs of rows that are each other's nearest, and as near as neighbours in their own tables."""
    known = [np.flatnonzero(np.isfinite(rows).all(1)) for rows in (a, b)]
    if min(map(len, known)) <= WITHIN:
        return np.empty((0, 2), dtype=np.int64)
    one, two = (torch.from_numpy(rows[which]) for rows, which in zip((a, b), known, strict=True))
    there, back = nearest(two, 1, one)[:, 0], nearest(one, 1, two)[:, 0]
    index = torch.arange(len(one))
    index = index[back[there] == index]
    distances = (one[index] - two[there[index]]).norm(dim=1)
    index = index[distances <= torch.maximum(_reach(one)[index], _reach(two)[there[index]])]
    return np.column_stack([known[0][index.numpy()], known[1][there[index].numpy()]])


def _reach(rows: Float[torch.Tensor, "n k"]) -> Float[torch.Tensor, " n"]:
    """Return how far each row is from its fifth neighbour."""
    distances: torch.Tensor = (rows - rows[nearest(rows, WITHIN)[:, -1]]).norm(dim=1)
    return distances
