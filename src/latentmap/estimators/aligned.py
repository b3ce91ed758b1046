"""Maps of several tables that agree: rows that are linked lie together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int
from sklearn.base import clone

from latentmap.data.frames import as_frame
from latentmap.data.sources import open_source
from latentmap.estimators.vae import VAE
from latentmap.exceptions import DataError, PartError
from latentmap.messages import error_line


def fit_aligned(
    tables: Sequence[Any],
    links: Any = None,
    *,
    estimators: Sequence[VAE] | None = None,
    **parameters: Any,
) -> list[VAE]:
    """Fit a map to each of several tables, such that linked rows lie together.

    The first table makes the map. Each further one has a model of its own, of any columns, whose fit places linked rows
    where the table before has them (``anchor=(indices, codes)`` of `VAE`), and its other rows by their neighbours.

    Parameters
    ----------
    tables : sequence of data
        Two or more tables, as `VAE.fit` takes them.
    links : array of shape (n, 2), sequence of these, str or None, default=None
        Pairs of rows, an index in a table and one in the next; for three or more tables a sequence, one array for each
        further table. Or the name of a column that data frames share, which is left out of the rows: those with the
        same value are linked. None links rows of the same index of pandas.
    estimators : sequence of VAE, optional
        An estimator for each table, which is cloned; None makes them.
    **parameters : object
        Parameters of those that are made, as for `VAE`.

    Returns
    -------
    list of VAE
        The fitted estimators, in the order of the tables.

    Raises
    ------
    DataError
        If links name rows that there are not, link a row to two, or link none.
    PartError
        If the number of estimators is another than that of tables.

    References
    ----------
    Dadu et al., Application of Aligned-UMAP to longitudinal biomedical studies, 2023.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X = load_digits().data
    >>> first, second = fit_aligned(
    ...     [X[:, :40], X[:, 24:]], np.arange(500)[:, None].repeat(2, 1), max_epochs=5, random_state=0
    ... )
    >>> first.transform(X[:, :40]).shape, second.transform(X[:, 24:]).shape
    ((1797, 2), (1797, 2))
    """
    if isinstance(tables, str) or not isinstance(tables, Sequence) or len(tables) < 2:
        raise DataError("fit_aligned takes two tables or more, as [X1, X2]; fit one alone with VAE().fit(X)")
    made = _estimators(estimators, len(tables), parameters)
    tables, pairs = _linked(list(tables), links)
    fitted: list[VAE] = []
    for number, (table, estimator) in enumerate(zip(tables, made, strict=True)):
        if fitted:
            here, before = pairs[number - 1][:, 1], pairs[number - 1][:, 0]
            estimator.set_params(anchor=(here, fitted[-1].transform(tables[number - 1])[before]))
        try:
            fitted.append(estimator.fit(table))
        except DataError as error:
            raise DataError(f"table {number}: {error_line(error, 400)}") from error
    return fitted


def _estimators(given: Sequence[VAE] | None, tables: int, parameters: dict[str, Any]) -> list[VAE]:
    """Return an estimator for each table."""
    if given is None:
        return [VAE(**parameters) for _ in range(tables)]
    if parameters:
        raise PartError(f"estimators have their own parameters: set {next(iter(parameters))} there")
    if len(given) != tables or not all(isinstance(estimator, VAE) for estimator in given):
        raise PartError(f"estimators takes a VAE for each of the {tables} tables, got {given!r:.200}")
    components = {estimator.n_components for estimator in given}
    if len(components) > 1 or "auto" in components:
        raise PartError(f"aligned maps have the same n_components, got {sorted(map(str, components))}")
    return [clone(estimator) for estimator in given]


def _linked(tables: list[Any], links: Any) -> tuple[list[Any], list[Int[np.ndarray, "n 2"]]]:
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
