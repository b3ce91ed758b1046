"""Links of rows of several tables: as given, by name, or by the columns that they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import narwhals as nw
import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray

from latentmap.data.frames import as_frame
from latentmap.data.sources import open_source
from latentmap.exceptions import DataError
from latentmap.model.nearest import nearest

WITHIN = 5
"""The neighbour of a row in its own table, no further than which a row of the other table is linked to it."""
FEWEST = 10
"""Links that shared columns make, at the least."""


def linked(tables: list[Any], links: Any) -> tuple[list[Any], list[Int[np.ndarray, "n 2"]]]:
    """Return the tables without the column that links them, and the links of each further table to that before it."""
    if links is None or isinstance(links, str):
        names = [_names(table, links, number) for number, table in enumerate(tables)]
        found = [_by_name(a, b, number) for number, (a, b) in enumerate(zip(names[:-1], names[1:], strict=True), 1)]
        return [table if links is None else _without(table, links) for table in tables], found
    arrays = [links] if len(tables) == 2 and np.ndim(links) == 2 else list(links)
    if len(arrays) != len(tables) - 1:
        raise DataError(f"{len(tables)} tables have {len(tables) - 1} arrays of links, one for each further, got "
                        f"{len(arrays)}")  # fmt: skip
    rows = [len(open_source(table)) for table in tables]
    return tables, [
        _checked(np.asarray(pairs), rows[number - 1 : number + 1], number) for number, pairs in enumerate(arrays, 1)
    ]


def _checked(pairs: np.ndarray, rows: list[int], number: int) -> Int[np.ndarray, "n 2"]:
    """Return links, each once, of a table to that before it."""
    where = f"the links of tables {number - 1} and {number}"
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs) or pairs.dtype.kind not in "iu":
        raise DataError(f"{where} are pairs of whole numbers (n, 2), got shape {pairs.shape} of {pairs.dtype}")
    for side, count in enumerate(rows):
        if (wrong := pairs[(pairs[:, side] < 0) | (pairs[:, side] >= count), side]).size:
            table = number - 1 + side
            raise DataError(f"{where} name row {wrong[0]} of table {table}, which has rows 0 to {count - 1}")
    pairs = np.unique(pairs.astype(np.int64), axis=0)
    names, counts = np.unique(pairs[:, 1], return_counts=True)
    if (counts > 1).any():
        row = names[counts > 1][0]
        two = " and ".join(map(str, pairs[pairs[:, 1] == row, 0][:2]))
        raise DataError(f"{where} contradict: row {row} of table {number} is linked to rows {two} of table "
                        f"{number - 1}; link it to one")  # fmt: skip
    return pairs


def _names(table: Any, column: str | None, number: int) -> np.ndarray:
    """Return what tells the rows of a data frame apart: a column, or the index."""
    frame = as_frame(table)
    if frame is None:
        raise DataError(
            f"table {number} is no data frame, which links by name need; give links as pairs of rows (n, 2)"
        )
    if column is None:
        if not hasattr(table, "index") or not frame.implementation.is_pandas():
            raise DataError(f"table {number} has no index: name a column that the tables share, as links='id'")
        return np.asarray(table.index)
    if column not in frame.columns:
        raise DataError(f"table {number} has no column {column!r}, which is to link the tables")
    return np.asarray(frame[column].to_list(), dtype=object)


def _without(table: Any, column: str) -> Any:
    """Return a data frame without a column."""
    frame: Any = as_frame(table)
    return frame.drop(column).to_native()


def _by_name(before: np.ndarray, here: np.ndarray, number: int) -> Int[np.ndarray, "n 2"]:
    """Return the links of rows of the same name."""
    for names, table in ((before, number - 1), (here, number)):
        seen: set[Any] = set()
        for name in names.tolist():
            if name in seen:
                raise DataError(f"table {table} has two rows {name!r}: rows are linked by names that tell them apart")
            seen.add(name)
    places = {name: row for row, name in enumerate(before.tolist())}
    pairs = [(places[name], row) for row, name in enumerate(here.tolist()) if name in places]
    if not pairs:
        raise DataError(f"tables {number - 1} and {number} share no row name; give links as pairs of rows (n, 2)")
    return np.array(pairs, dtype=np.int64)


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
        Names of columns of data frames, or for each table the indices of its columns, in the same order.

    Raises
    ------
    DataError
        If tables do not have the columns, these are not numbers, or fewer than `FEWEST` rows are alike.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(100, 4))
    >>> pairs = by_columns([X[:60], X[40:]], [[0, 1, 2, 3]] * 2)[0]
    >>> int(sum(row == other + 40 for row, other in pairs))
    20
    """
    columns = [_columns(table, names, number) for number, (table, names) in enumerate(_names_of(tables, shared))]
    everything = np.concatenate(columns)
    centre, scale = np.nanmean(everything, 0), np.nanstd(everything, 0)
    rows = [(values - centre) / np.where(scale > 0, scale, 1.0) for values in columns]
    found = [_mutual(a, b) for a, b in zip(rows[:-1], rows[1:], strict=True)]
    for number, pairs in enumerate(found, 1):
        if len(pairs) < FEWEST:
            raise DataError(
                f"{len(pairs)} rows of tables {number - 1} and {number} are alike in the shared columns, of {FEWEST} "
                "that are needed; share other columns, or give links"
            )
    return found


def _names_of(tables: Sequence[Any], shared: Any) -> list[tuple[Any, list[Any]]]:
    """Return each table with the names, or indices, of its shared columns."""
    if isinstance(shared, str) or not isinstance(shared, Sequence | np.ndarray) or not len(shared):
        raise DataError(
            "shared takes names of columns, as ['age', 'weight'], or for each table the indices of its columns, got "
            f"{shared!r:.100}"
        )
    if all(isinstance(name, str) for name in shared):
        return [(table, list(shared)) for table in tables]
    lists = [list(names) if np.ndim(names) == 1 else [] for names in shared]
    if len(lists) != len(tables) or len({len(names) for names in lists}) != 1 or not lists[0]:
        raise DataError(
            f"shared takes for each of the {len(tables)} tables as many indices of columns, got lists of "
            f"{', '.join(str(len(names)) for names in lists)}"
        )
    return list(zip(tables, lists, strict=True))


def _columns(table: Any, names: list[Any], number: int) -> Float[np.ndarray, "n k"]:
    """Return some columns of a table as numbers; missing cells as NaN."""
    frame = as_frame(table)
    by_name = isinstance(names[0], str)
    if frame is None and by_name:
        raise DataError(f"table {number} is no data frame, whose columns have names; give indices of columns")
    try:
        if frame is not None:
            known = list(frame.columns)
            chosen = [name if by_name else known[name] for name in names]
            if missing := [name for name in chosen if name not in known]:
                raise DataError(f"table {number} has no column {missing[0]!r}, which is to be shared")
            values = [frame[name].cast(nw.Float64).to_numpy() for name in chosen]
            return np.column_stack(values).astype(np.float64)
        rows = open_source(table)
        read: NDArray[Any] = rows.read(np.arange(len(rows))).reshape(len(rows), -1)
        return read[:, names].astype(np.float64)
    except IndexError:
        raise DataError(f"table {number} has no column of one of the indices {names!r:.100}") from None
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"shared columns of table {number} are to be numbers: {str(error).splitlines()[0]}") from error


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
