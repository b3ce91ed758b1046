"""Which rows a report is of: those that the model was trained on, those that its fit held out, or new ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from latentmap.data.sampling import Indices, count_held_out, split_rows
from latentmap.data.schema import content_hash
from latentmap.data.sources import Source, open_source
from latentmap.data.streaming import most_held_out, read_memory
from latentmap.exceptions import DataError, LatentmapError
from latentmap.messages import counted

Kind = Literal["training", "held-out", "new", "unknown"]

KINDS: dict[Kind, str] = {
    "training": "trained on",
    "held-out": "held out",
    "new": "new",
    "unknown": "of which it is not known whether the model was trained on them",
}
MEASURED: tuple[Kind, ...] = ("new", "held-out", "unknown", "training")
"""The rows that headline figures are of: the first of these of which there are any."""


@dataclass(frozen=True, eq=False)
class ReportRows:
    """For each row of a report whether the model was trained on it.

    Parameters
    ----------
    kinds : ndarray of shape (n,)
        "training"; "held-out", to choose when training stops; "new", not among the rows of the fit; or "unknown", after
        a fit in pieces or a warm start, which do not keep which rows came before, and of a model whose condition is
        fixed, which as a rule is shown some rows of the fit.
    trained : int
        Number of rows that the model was trained on.
    held_out : int
        Number of rows that the fit held out.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from latentmap import VAE
    >>> X = load_iris().data
    >>> vae = VAE(2, max_epochs=1, random_state=0).fit(X)
    >>> print(ReportRows.of(vae, X))
    150 rows of the fit, 135 trained on and 15 held out
    >>> print(ReportRows.of(vae, X[:9] + 1))
    9 new rows
    """

    kinds: NDArray[np.str_]
    trained: int
    held_out: int

    @classmethod
    def of(cls, estimator: Any, X: Any, fitted: Indices | None = None) -> Self:
        """Return which rows of X are those of the fit, by its fingerprint of them.

        Parameters
        ----------
        estimator : VAE or Autoencoder
            Fitted estimator.
        X : array-like of shape (n, ...) or Source
            Rows.
        fitted : array of int, default=None
            Indices of rows that may be those of the fit, in its order; all rows if None.

        Returns
        -------
        ReportRows
            A kind for each row.
        """
        source = open_source(X, columns=estimator.table_, numeric=estimator.table_ is None, memory=estimator.memory)
        own = cls.of_fit(estimator, source)
        indices = np.arange(len(source)) if fitted is None else np.asarray(fitted)
        if not _are_fitted(estimator, source, indices):
            known = fitted is None and not _may_know(estimator)  # rows that are said to be its own, but differ
            return replace(own, kinds=np.full(len(source), "new" if known else "unknown"))
        kinds = np.full(len(source), "new", dtype="<U8")
        kinds[indices] = own.kinds
        return replace(own, kinds=kinds)

    @classmethod
    def of_fit(cls, estimator: Any, source: Source) -> Self:
        """Return the kinds of the rows of the fit itself; rows of `source` only tell the size of one."""
        n, fraction = estimator.data_schema_.n_rows, estimator._held_out_fraction if _held_out(estimator) else 0.0
        in_blocks = "memory" in estimator.choices_
        most = most_held_out(source, read_memory(estimator.memory)) if in_blocks else None
        held = split_rows(n, fraction, estimator.seed_, most)[1]
        kinds = np.full(n, "training", dtype="<U8")
        kinds[held] = "held-out"
        return cls(kinds, n - len(held), len(held))

    def take(self, indices: Any) -> Self:
        """Return the kinds of some of the rows."""
        return replace(self, kinds=self.kinds[indices])

    def check(self, n: int) -> Self:
        """Return these, or raise if they are not of n rows."""
        if len(self.kinds) != n:
            raise DataError(f"rows has {len(self.kinds)} kinds, expected one for each of the {counted(n, 'row')} of X")
        return self

    @property
    def whole(self) -> bool:
        """Whether these hold all rows of the fit."""
        return int(np.isin(self.kinds, ("training", "held-out")).sum()) == self.trained + self.held_out

    @property
    def measured_kind(self) -> Kind:
        """The kind of rows that headline figures are of."""
        return next(kind for kind in MEASURED if kind in self.kinds)

    @property
    def measured(self) -> Indices:
        """Indices of the rows that headline figures are of."""
        return np.flatnonzero(self.kinds == self.measured_kind)

    @property
    def fit(self) -> str:
        """The rows of the fit in words."""
        return _in_words({"training": self.trained, "held-out": self.held_out})

    def __str__(self) -> str:
        counts = {kind: int((self.kinds == kind).sum()) for kind in KINDS}
        return _in_words({kind: count for kind, count in counts.items() if count})


def measured_rows(kind: Kind, n: int, total: int | None = None) -> str:
    """Return n rows of a kind in words, of a total of more.

    >>> measured_rows("held-out", 180), measured_rows("new", 1), measured_rows("new", 5000, total=9000)
    ('180 held-out rows', '1 new row', '5,000 of 9,000 new rows')
    """
    some = f"{n:,} of " if total is not None and n < total else ""
    words = counted(total or n, "row" if kind == "unknown" else f"{kind} row")
    return some + words + (", perhaps trained on" if kind == "unknown" else "")


def _in_words(counts: dict[Kind, int]) -> str:
    """Return how many rows are of each kind: those of the fit first."""
    fit = {kind: n for kind, n in counts.items() if kind in ("training", "held-out") and n}
    others = [measured_rows("new", n) for kind, n in counts.items() if kind == "new"]
    others += [f"{counted(n, 'row')} {KINDS[kind]}" for kind, n in counts.items() if kind == "unknown"]
    if fit:
        parts = " and ".join(f"{n:,} {KINDS[kind]}" for kind, n in fit.items())
        if len(fit) == 1:
            parts = f"all {KINDS[next(iter(fit))]}"
        others.insert(0, f"{counted(sum(fit.values()), 'row')} of the fit, {parts}")
    return "; ".join(others)


def _held_out(estimator: Any) -> bool:
    """Return whether the last fit held rows out; a fit in pieces does not."""
    history = estimator.history_
    return not history or history[-1]["val_loss"] is not None


def _may_know(estimator: Any) -> bool:
    """Return whether rows that are not all of the last fit may be known to the model all the same."""
    expected = count_held_out(estimator.data_schema_.n_rows, estimator._held_out_fraction)
    return bool(
        estimator.given_ is not None
        or estimator.warm_start
        or (estimator.state_.trainer is not None and not estimator.state_.interrupted)
        or (expected and not _held_out(estimator))
    )


def _are_fitted(estimator: Any, source: Source, indices: Indices) -> bool:
    """Return whether these rows of a source are those of the fit, value for value."""
    if len(indices) != estimator.data_schema_.n_rows:
        return False
    if len(indices) < len(source):
        source = open_source(source.read(indices), columns=estimator.table_)
    try:
        schema = replace(source.schema, event_shape=tuple(estimator.data_schema_.event_shape))  # images may come flat
        return bool(content_hash(source, schema) == estimator.data_fingerprint_)
    except LatentmapError:
        return False
