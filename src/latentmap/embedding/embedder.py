"""A run as a callable of batches: dictionaries of arrays, as Ray Data, Spark, Dask and others pass them."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

import latentmap
from latentmap.data.decoding import frame_of
from latentmap.data.frames import installed_backends
from latentmap.exceptions import DataError, PartError
from latentmap.messages import any_of

What = Literal["transform", "score", "impute"]
Batch = dict[str, NDArray[Any]]

DRAWS = {"transform": 1, "score": 1, "impute": 100}
"""Draws of each row by default."""


class Embedder:
    r"""Encode, score or fill batches of rows with the model of a run: columns in, columns out.

    .. math:: z = \mathbb{E}[q(z|x)]

    An engine that splits data into batches calls it on many machines. It is pickled as its parameters alone, so ``run``
    must be a path on every worker, where the model is loaded at the first call.

    Parameters
    ----------
    run : str or path
        Folder of a run.
    what : {"transform", "score", "impute"}, default="transform"
        Whether to return the posterior mean of each row, by component; a lower bound on its log-density, nats, as
        ``elbo`` or ``iwae_k``; or its columns with missing cells filled.
    n_samples : int, default=None
        Draws of each row, for "score" 1 and for "impute" 100 by default.
    labels : str, default=None
        For a conditional model, the column that its rows are conditioned on.
    keep : sequence of str, default=()
        Columns that are returned as they come, such as an id.

    Raises
    ------
    PartError
        If ``what`` is none of the three.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from latentmap import VAE, Embedder
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> run = tempfile.mkdtemp()
    >>> VAE(2, neighbors=None, max_epochs=1, random_state=0).fit(X).save(run)
    >>> embed = Embedder(run, keep=["id"])
    >>> batch = {"id": np.arange(5), "x0": X[:5, 0], "x1": X[:5, 1], "x2": X[:5, 2]}
    >>> {name: column.shape for name, column in embed(batch).items()}
    {'id': (5,), 'vae0': (5,), 'vae1': (5,)}
    """

    def __init__(
        self,
        run: str | os.PathLike[str],
        what: What = "transform",
        *,
        n_samples: int | None = None,
        labels: str | None = None,
        keep: Sequence[str] = (),
    ) -> None:
        if what not in DRAWS:
            raise PartError(f"what must be {any_of([repr(name) for name in DRAWS])}, got {what!r}")
        self.run = os.fspath(run)
        self.what = what
        self.n_samples = DRAWS[what] if n_samples is None else n_samples
        self.labels = labels
        self.keep = tuple(keep)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __call__(self, batch: Mapping[str, Any]) -> Batch:
        """Return what the model says of the rows of a batch.

        Parameters
        ----------
        batch : mapping of str to array of shape (n, ...)
            The columns of the fit by name, of any order, others being ignored; or one array of rows, of any name.

        Returns
        -------
        dict of str to ndarray of shape (n, ...)
            Columns.

        Raises
        ------
        DataError
            If the batch lacks a column, or one to keep has the name of a result.
        """
        columns = {name: _array(column) for name, column in batch.items()}
        kept = {name: self._column(columns, name) for name in self.keep}
        y = None if self.labels is None else self._column(columns, self.labels)
        if y is None and self._model.needs_y_:
            raise DataError(f"{self.run} is conditioned on {self._model.condition}: name their column with labels=")
        given = {
            name: column
            for name, column in columns.items()
            if name in self._known or (name != self.labels and name not in kept)
        }
        if len(next(iter(columns.values()), ())):
            _require_alike(given)
            made = self._made(given, y)
        else:
            made = self._empty(given)
        if clash := [name for name in kept if name in made]:
            raise DataError(
                f"keep= has {clash[0]!r}, and so has what {self.what} returns: rename the column of the batch"
            )
        return kept | made

    @functools.cached_property
    def _model(self) -> Any:
        return latentmap.load(self.run)

    @property
    def _names(self) -> list[str]:
        """The columns of the fit; x0, x1, ... where they have no names."""
        model, table = self._model, self._model.table_
        names = model.data_schema_.names if table is None else table.inputs
        return [f"x{i}" for i in range(model.n_features_in_)] if names is None else list(names)

    @functools.cached_property
    def _known(self) -> set[str]:
        """The columns of the fit, and those that follow from them."""
        table = self._model.table_
        return {*self._names, *(() if table is None else table.kinds)}

    def _made(self, columns: Batch, y: Any) -> Batch:
        """Return new columns of the rows that some columns hold."""
        model, names = self._model, self._names
        if missing := [name for name in names if name not in columns]:
            name, X = self._rows(columns, missing)
            return {name: model.impute(X, n_samples=self.n_samples, y=y)} if self.what == "impute" else self._of(X, y)
        if model.table_ is not None:  # with columns that follow from others, which tell of missing cells in these
            X = _frame({name: column for name, column in columns.items() if name in self._known})
        else:
            X = np.stack([columns[name] for name in names], 1)
        if self.what != "impute":
            return self._of(X, y)
        filled = model.impute(X, n_samples=self.n_samples, y=y)
        if model.table_ is None:
            filled = filled if filled.dtype.kind == "f" else filled.astype(np.float64)
            return dict(zip(names, filled.T, strict=True))
        return {name: _of_type(column, self._types.get(name)) for name, column in _columns(filled).items()}

    @functools.cached_property
    def _types(self) -> dict[str, np.dtype[Any]]:
        """The types of the columns of the fit, in which filled ones come back whether a batch has gaps or none."""
        table = self._model.table_
        if table is None:
            return {}
        frame = frame_of(table, np.zeros((1, len(table.columns))), generated=True)
        return {name: column.dtype for name, column in _columns(frame).items()}

    def _of(self, X: Any, y: Any) -> Batch:
        """Return latent codes or scores of rows."""
        if self.what == "score":
            scores = self._model.score_samples(X, self.n_samples, y=y)
            return {self._outputs[0]: scores}
        return dict(zip(self._outputs, self._model.transform(X, y).T, strict=True))

    @property
    def _outputs(self) -> list[str]:
        if self.what == "score":
            return ["elbo" if self.n_samples == 1 else f"iwae_{self.n_samples}"]
        return list(self._model.get_feature_names_out())

    def _empty(self, columns: Batch) -> Batch:
        """Return columns without rows, of which engines infer types."""
        if self.what == "impute":
            whole = {name: column for name, column in columns.items() if name in self._known} or columns
            return {name: _of_type(column, self._types.get(name)) for name, column in whole.items()}
        return {name: np.empty(0, np.float32) for name in self._outputs}

    def _rows(self, columns: Batch, missing: Sequence[str]) -> tuple[str, NDArray[Any]]:
        """Return the one column that holds whole rows, and its name."""
        event = tuple(self._model.event_shape_)
        shapes = (event, (self._model.n_features_in_,))
        found = [name for name, column in columns.items() if column.shape[1:] in shapes]
        if len(found) != 1 or self._model.table_ is not None:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            whole = "" if self._model.table_ is not None else f", or one array of rows of shape {event}"
            have = ", ".join(f"{name} {column.shape}" for name, column in columns.items())
            raise DataError(
                f"the batch lacks column {missing[0]!r}{more} of {self.run}: expected it{whole}; got {have}"
            )
        return found[0], columns[found[0]]

    def _column(self, columns: Batch, name: str) -> NDArray[Any]:
        if name not in columns:
            raise DataError(f"the batch has no column {name!r}: it has {', '.join(columns)}")
        return columns[name]


def _array(column: Any) -> NDArray[Any]:
    """Return a column as an array in which masked cells are missing; one of lists or arrays as one of more axes."""
    if np.ma.is_masked(column):
        mask = np.ma.getmaskarray(column)
        column = np.array(column.data, dtype=column.dtype if column.dtype.kind in "fmM" else object)
        column[mask] = None
    array = np.asarray(column)
    nested = array.dtype == object and len(array) and isinstance(array.flat[0], list | tuple | np.ndarray)
    return np.stack([np.asarray(row) for row in array]) if nested else array


def _columns(frame: Any) -> Batch:
    """Return the columns of a data frame as arrays."""
    return {column.name: column.to_numpy() for column in nw.from_native(frame, eager_only=True).iter_columns()}


def _of_type(column: NDArray[Any], dtype: np.dtype[Any] | None) -> NDArray[Any]:
    """Return a column in another type, or as it is where that would change a cell.

    >>> _of_type(np.array([1.0, 2.0]), np.dtype(int)), _of_type(np.array([1.0, 2.5]), np.dtype(int))
    (array([1, 2]), array([1. , 2.5]))
    """
    if dtype is None or column.dtype == dtype:
        return column
    try:
        with np.errstate(invalid="ignore"):
            changed = column.astype(dtype)
            back = changed.astype(column.dtype)
        same = (back == column) | ((back != back) & (column != column))
        return changed if bool(np.all(same)) else column
    except (TypeError, ValueError):
        return column


def _require_alike(columns: Batch) -> None:
    """Require columns of as many rows."""
    first, *others = columns
    for name in others:
        if len(columns[name]) != len(columns[first]):
            raise DataError(
                f"column {name!r} of the batch has {len(columns[name]):,} rows, and {first!r} has "
                f"{len(columns[first]):,}: give as many of each"
            )


def _frame(columns: Batch) -> Any:
    """Return columns as a data frame of a library that is installed."""
    if wide := [name for name, column in columns.items() if column.ndim != 1]:
        raise DataError(f"column {wide[0]!r} of the batch has shape {columns[wide[0]].shape}: expected one value a row")
    backend: Any = installed_backends()[0]
    plain = {name: column.tolist() if column.dtype == object else column for name, column in columns.items()}
    return nw.from_dict(plain, backend=backend).to_native()
