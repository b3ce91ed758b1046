"""Drift: how a later fit of growing data differs from an earlier one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from latentmap.estimators.anchor import UNLIKE, oddness
from latentmap.evaluation.clusters import clusters
from latentmap.exceptions import DataError
from latentmap.messages import counted

__all__ = ["Drift", "drift"]

MOST = 20_000
"""Rows that are compared, at the most: every so many."""
MOSTLY = 0.5
"""Fraction of unlike rows from which on an island is new."""


@dataclass(frozen=True)
class Drift:
    """How rows and their map differ from an earlier fit; see `drift`.

    Parameters
    ----------
    unlike : ndarray of shape (n,)
        Whether each row is unlike those of the earlier fit.
    shift : ndarray of shape (n,)
        Distance of each row from its place on the earlier map, in spreads: root mean squared distances of the rows from
        their mean.
    islands : ndarray of shape (n,)
        Number of the new island of each row, 0 for the largest; -1 for rows in none.
    rows : ndarray of shape (n,)
        Indices of these rows.
    """

    unlike: Bool[np.ndarray, " n"]
    shift: Float[np.ndarray, " n"]
    islands: Int[np.ndarray, " n"]
    rows: Int[np.ndarray, " n"]

    @property
    def share(self) -> float:
        """The fraction of rows that are unlike those of the earlier fit."""
        return float(self.unlike.mean())

    @property
    def median_shift(self) -> float:
        """The median shift of rows like those of the earlier fit, in spreads; NaN where there are none."""
        return float(np.median(self.shift[~self.unlike])) if not self.unlike.all() else float("nan")

    @property
    def island_sizes(self) -> tuple[int, ...]:
        """The number of rows of each new island, the largest first."""
        return tuple(np.bincount(self.islands[self.islands >= 0]).tolist())

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain JSON."""
        shift = None if np.isnan(self.median_shift) else self.median_shift
        figures = {"rows": len(self.rows), "unlike": self.share, "shift": shift}
        return figures | {"islands": list(self.island_sizes)}

    def __str__(self) -> str:
        """Return the figures in words."""
        found = [f"{100 * self.share:.1f}% of {counted(len(self.rows), 'row')} are unlike those of the earlier fit"]
        if not np.isnan(self.median_shift):
            found.append(f"the others moved by {100 * self.median_shift:.1f}% of the map's spread (median)")
        sizes = self.island_sizes
        listed = f" of {', '.join(f'{size:,}' for size in sizes[:5])} rows" if sizes else ""
        return "; ".join([*found, f"{counted(len(sizes), 'new island')}{listed}"])


def drift(earlier: Any, later: Any, X: Any) -> Drift:
    """Compare a later fit with an earlier one on the same rows.

    A row is unlike those of the earlier fit if at least 30% of it and its nearest 15 rows are decoded worse, by the
    earlier fit, than nine in ten rows that this held out; 10% are expected to be. An island of the later map (HDBSCAN)
    is new if most of its rows are unlike.

    Parameters
    ----------
    earlier, later : VAE
        Two fits with the same columns; the same one twice tells how rows differ from those that it was fitted to.
    X : array-like of shape (n, ...)
        Rows. Of more than 20,000 every so many are taken.

    Returns
    -------
    Drift
        Which rows are unlike, how far the others moved, and new islands.

    Raises
    ------
    DataError
        If the maps have other numbers of components, the earlier fit was saved by a version that did not keep what rows
        cost, or is conditional.

    Examples
    --------
    >>> from latentmap import VAE, load_dataset
    >>> X, y = load_dataset("digits")
    >>> earlier = VAE(2, max_epochs=40, random_state=0).fit(X[y < 8])
    >>> found = drift(earlier, earlier, X)
    >>> bool(found.unlike[y >= 8].mean() > found.unlike[y < 8].mean()), found.median_shift
    (True, 0.0)
    """
    if earlier.state_.usual_cost is None:
        raise DataError(
            "the earlier fit does not know what its rows cost: fit it again, with this version and without condition"
        )
    if earlier.state_.model.sizes.latent != later.state_.model.sizes.latent:
        raise DataError("the maps have other numbers of components: expected those of a fit and one anchored to it")
    opened, _ = earlier._rows(X, None)
    kept = np.arange(0, len(opened), -(-len(opened) // MOST))
    rows = np.asarray(opened[slice(0, None, -(-len(opened) // MOST))]).reshape(len(kept), -1)
    before, after = earlier.state_.locate(rows)[0], later.state_.locate(rows)[0]
    spread = max(float(np.sqrt(before.var(0).sum())), 1e-300)
    unlike = oddness(earlier.state_, rows)[1] >= UNLIKE
    return Drift(unlike, np.linalg.norm(after - before, axis=1) / spread, _new_islands(after, unlike), kept)


def _new_islands(Z: np.ndarray, unlike: np.ndarray) -> np.ndarray:
    """Return the numbers of islands of which most rows are unlike, the largest first, and -1 for other rows."""
    found, numbers, new = clusters(Z), np.full(len(Z), -1), 0
    for island in range(found.max(initial=-1) + 1):
        if unlike[found == island].mean() > MOSTLY:
            numbers[found == island] = new
            new += 1
    return numbers
