"""Links of rows of several tables, as given or by name."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int

from latentmap.data.frames import as_frame
from latentmap.data.sources import open_source
from latentmap.data.values import is_missing
from latentmap.exceptions import DataError


def linked(tables: list[Any], links: Any) -> tuple[list[Any], list[Int[np.ndarray, "n 2"]]]:
    """Return the tables without the column that links them, and the links of each further table to that before it."""
    if links is None or isinstance(links, str):
        names = [_names(table, links, number) for number, table in enumerate(tables)]
        if links is None:
            _require_names(tables)
        found = [_by_name(a, b, number) for number, (a, b) in enumerate(zip(names[:-1], names[1:], strict=True), 1)]
        return [table if links is None else _without(table, links) for table in tables], found
    arrays = _arrays(links, len(tables))
    rows = [len(open_source(table)) for table in tables]
    return tables, [_checked(pairs, rows[number - 1 : number + 1], number) for number, pairs in enumerate(arrays, 1)]


def _arrays(links: Any, tables: int) -> list[np.ndarray]:
    """Return the links as arrays, one for each further table."""
    expected = "links takes pairs of rows (n, 2), an index in a table and one in the next"
    expected += f", in a list of {tables - 1}, one for each further table" if tables > 2 else ""
    if isinstance(links, dict) or not hasattr(links, "__iter__"):
        raise DataError(f"{expected}, got {type(links).__name__}")
    try:
        single = tables == 2 and np.ndim(links) == 2
        arrays = [np.ma.asarray(pairs) for pairs in ([links] if single else links)]
    except ValueError as error:
        raise DataError(f"{expected}, got lists of different lengths") from error
    if len(arrays) != tables - 1:
        raise DataError(f"{expected}, got {len(arrays)} values")
    if any(np.ma.is_masked(pairs) for pairs in arrays):
        raise DataError(f"{expected}, got masked ones: leave these out")
    return [pairs.data for pairs in arrays]


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


def _require_names(tables: list[Any]) -> None:
    """Raise if data frames of other lengths are linked by the index that every new frame has."""
    plain = [type(table.index).__name__ == "RangeIndex" and table.index[:1].tolist() == [0] for table in tables]
    if all(plain) and len(sizes := {len(table) for table in tables}) > 1:
        raise DataError(
            f"the tables have {' and '.join(map(str, sorted(sizes)))} rows and the default index, which does not name "
            "them: give links as pairs of rows (n, 2), links='id' for a column that names them, or shared=[...]"
        )


def _without(table: Any, column: str) -> Any:
    """Return a data frame without a column."""
    frame: Any = as_frame(table)
    return frame.drop(column).to_native()


def _by_name(before: np.ndarray, here: np.ndarray, number: int) -> Int[np.ndarray, "n 2"]:
    """Return the links of rows of the same name."""
    for names, table in ((before, number - 1), (here, number)):
        seen: set[Any] = set()
        for name in names.tolist():
            if name in seen and not is_missing(name):
                raise DataError(f"table {table} has two rows {name!r}: rows are linked by names that tell them apart")
            seen.add(name)
    places = {name: row for row, name in enumerate(before.tolist())}
    pairs = [(places[name], row) for row, name in enumerate(here.tolist()) if not is_missing(name) and name in places]
    if not pairs:
        raise DataError(f"tables {number - 1} and {number} share no row name; give links as pairs of rows (n, 2)")
    return np.array(pairs, dtype=np.int64)
