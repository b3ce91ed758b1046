"""What a model says of each row: log-evidence beside that of the others, and whether a map keeps its neighbours."""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from latentmap.estimators.scoring import score_rows
from latentmap.evaluation.neighborhood import neighbor_ranks, row_trust
from latentmap.evaluation.rows import sample_rows
from latentmap.explorer.decoding import decoded, encoded
from latentmap.explorer.fields import Field
from latentmap.explorer.spaces import DataSpace
from latentmap.explorer.turns import Turns
from latentmap.plot.rows import spread
from latentmap.plot.style import number

REFERENCE = 2000
"""Rows whose scores others are compared with, at the most."""
NEIGHBORS, SEARCHED, MOST_TRUST = 15, 5000, 50_000
"""Neighbours of the trust of a row, the rows that are searched for them, and the rows that have a trust."""
UNLIKE = 0.01
"""Share of the rows of the fit that score as low as those that are called unlike them."""
SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")
"""Where scores that are equal belong, for shares of rows with a lower score, and with one that is as low."""
FEWEST = 40
"""Rows from which on the trust of each is computed."""
CODES = 100
"""Codes on which draws of missing cells rest."""
STEP = 2**20
"""Values of the rows that are scored before quick answers have their turn."""


class Scores:
    """Scores of rows: the ELBO, or minus the mean squared error of reconstruction for a model without density.

    Parameters
    ----------
    estimator : VAE or Autoencoder
        Fitted estimator that takes numbers.
    rows : ndarray of shape (n, ...)
        Rows; None where there are none.
    turns : Turns
        Turns of slow work.
    """

    def __init__(self, estimator: Any, rows: NDArray[Any] | None, turns: Turns) -> None:
        self.estimator = estimator
        self.rows = np.empty((0, *estimator.event_shape_)) if rows is None else rows
        self.turns = turns

    def fields(
        self,
        space: DataSpace,
        moments: tuple[NDArray[np.float64], NDArray[np.float64]],
        density: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    ) -> list[Field]:
        """Return what the model says of each row as fields.

        Parameters
        ----------
        space
            The data space.
        moments
            Posterior means and deviations, (n, d) both.
        density
            Returns the log-density at codes.
        """
        mean, deviation = moments

        def densities() -> NDArray[np.float32]:
            return self._stepwise(density, mean, STEP // 100)

        def uncertainty() -> NDArray[np.float32]:
            return np.asarray(np.exp(np.log(deviation).mean(1)), np.float32)

        made = functools.partial(Field, group="model", kind="number")
        fields = [made(key="density", name="log-density on the map", compute=densities, unit="nats", slow=True)]
        if self.estimator.has_score_:
            fields.append(made(key="evidence", name="log-evidence", compute=self.all, unit="nats", slow=True))
        if (deviation > 0).all():
            fields.append(made(key="uncertainty", name="uncertainty of the code", compute=uncertainty))
        if len(mean) >= FEWEST:
            trust = functools.partial(self.trust, space, mean)
            few = f"of {MOST_TRUST:,} of the rows, evenly spaced" if len(mean) > MOST_TRUST else None
            fields.append(made(key="trust", name="local trust of the map", compute=trust, slow=True, note=few))
        return fields

    def __call__(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Return the score of each row, of the cells that are there."""
        flat, estimator = rows.reshape(len(rows), -1), self.estimator
        if estimator.has_score_:
            return np.asarray(score_rows(estimator.state_, flat, estimator._given(None, len(rows)), 1)[0], np.float64)
        made = decoded(estimator, encoded(estimator, rows)[0].astype(np.float32))[0]
        errors = np.asarray(flat, np.float64) - made.reshape(flat.shape)
        return np.asarray(-np.nanmean(np.square(errors), axis=1))

    def complete(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return rows with a draw in the place of each missing cell: scores of fewer cells are higher."""
        if rows.dtype.kind != "f" or not np.isnan(rows).any() or not self.estimator.has_score_:
            return rows
        return np.asarray(self.draws(rows, 1)[0].reshape(rows.shape))

    def draws(self, rows: NDArray[Any], n: int) -> NDArray[Any]:
        """Return draws of rows given the cells that are there, (n, m, P)."""
        flat = rows.reshape(len(rows), -1)
        return np.asarray(self.estimator._filled(flat, self.estimator._given(None, len(rows)), n, CODES, 0)[0])

    @cached_property
    def reference(self) -> NDArray[np.float64]:
        """Scores of some rows with all cells, sorted."""
        some = self.rows[spread(len(self.rows), REFERENCE)]
        scores = self(self.complete(some))
        return np.sort(scores[~np.isnan(scores)])

    def judged(self, score: float, rank: tuple[float, float] | None, hole: bool | None) -> tuple[bool, str]:
        """Return whether a row of this score and rank is unlike those of the fit, and why."""
        if not len(self.reference):
            return False, "there is nothing to compare its score with"
        if rank is None:
            return True, "its score cannot be computed"
        below, as_low = rank
        name = "log-evidence" if self.estimator.has_score_ else "minus the squared error of its reconstruction"
        what = f"{name}, {number(score)}{' nats' if self.estimator.has_score_ else ''},"
        if as_low < 100 * UNLIKE:
            return True, f"{what} is lower than that of {100 - as_low:.1f}% of the rows"
        lies = ", but its code lies in a hole" if hole else ""
        return False, f"{what} is higher than that of {below:.0f}% of the rows{lies}"

    def rank(self, row: NDArray[Any], score: float) -> tuple[float, float] | None:
        """Return the shares of the rows that score lower than a row (1, ...), and at most as high, in percent.

        A row with missing cells is compared with these filled, others by their score. None if there are no others, or
        the score is not a number.
        """
        if not len(self.reference):
            return None
        whole = self.complete(row)
        score = score if whole is row else float(self(whole)[0])
        if np.isnan(score):
            return None
        below, as_low = (100 * np.searchsorted(self.reference, score, side) / len(self.reference) for side in SIDES)
        return float(below), float(as_low)

    def all(self) -> NDArray[np.float32]:
        """Return the score of all rows."""
        return self._stepwise(self, self.rows, STEP // max(1, int(np.prod(self.rows.shape[1:]))))

    def _stepwise(
        self, function: Callable[[NDArray[Any]], NDArray[np.float64]], values: NDArray[Any], size: int
    ) -> NDArray[np.float32]:
        """Return a function of all values, so many at a time, between which quick answers have their turn."""
        result = np.empty(len(values), dtype=np.float32)
        with self.turns.slow():
            for start in range(0, len(values), max(1, size)):
                self.turns.step()
                here = slice(start, start + max(1, size))
                result[here] = function(values[here])
        return result

    def trust(self, space: DataSpace, codes: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the trust of each row, by its neighbours on the map among some rows; NaN of all but 50,000.

        Trust is 1 where the neighbours on the map are neighbours in the data, about one half where they are any rows.
        """
        result = np.full(len(self.rows), np.nan, dtype=np.float32)
        some = sample_rows(len(self.rows), SEARCHED)
        chosen = spread(len(self.rows), MOST_TRUST)
        with self.turns.slow():
            searched = space.take(some), codes[some]
            if len(some) == len(self.rows):
                return row_trust(neighbor_ranks(*searched, NEIGHBORS), len(some)).astype(np.float32)
            for here in np.array_split(chosen, -(-len(chosen) // 500)):
                self.turns.step()
                ranks = neighbor_ranks(space.take(here), codes[here], NEIGHBORS, searched)
                result[here] = row_trust(ranks, len(some) + 1)
        return result
