"""Maps of several tables that agree: rows that are linked lie together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn.base import clone

from latentmap.estimators.anchor import Links, Matches
from latentmap.estimators.links import linked
from latentmap.estimators.matching import by_columns
from latentmap.estimators.vae import VAE
from latentmap.exceptions import DataError, PartError
from latentmap.messages import error_line


def fit_aligned(
    tables: Sequence[Any],
    links: Any = None,
    *,
    shared: Any = None,
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
    shared : sequence, optional
        Columns that all tables have, by which rows are linked in place of ``links``: their names or indices, or for
        each table its own, in the same order. Rows of a table and the next are linked where each is the nearest of the
        other in these columns, and no further than neighbours in one table are. Linked rows keep the place of their
        partner where linked rows like them have it near; a warning says so where few rows are linked, or few agree.
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
        If links name rows that there are not, link a row to two, or link none; or if too few rows are alike in the
        shared columns.
    PartError
        If the number of estimators is another than that of tables, or both links and shared columns are given.

    References
    ----------
    Dadu et al., Application of Aligned-UMAP to longitudinal biomedical studies, 2023. Haghverdi et al., Batch effects
    in single-cell RNA-sequencing data are corrected by matching mutual nearest neighbors, 2018.

    Examples
    --------
    >>> import numpy as np
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
    if shared is None:
        tables, pairs = linked(list(tables), links)
    elif links is None:
        pairs = by_columns(tables, shared)
    else:
        raise PartError("rows are linked by links or by shared columns: give one of them")
    fitted: list[VAE] = []
    for number, (table, estimator) in enumerate(zip(tables, made, strict=True)):
        if fitted:
            here, before = pairs[number - 1][:, 1], pairs[number - 1][:, 0]
            places = fitted[-1].transform(tables[number - 1])[before]
            estimator.set_params(anchor=(Links if shared is None else Matches)(here, places))
        try:
            fitted.append(estimator.fit(table))
        except DataError as error:
            raise DataError(f"table {number}: {error_line(error, 400)}") from error
    return fitted


def _estimators(given: Sequence[VAE] | None, tables: int, parameters: dict[str, Any]) -> list[VAE]:
    """Return an estimator for each table."""
    if parameters.get("n_components") == "auto":
        raise PartError("aligned maps have the same n_components: give a number, not 'auto'")
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
