"""The number of components, chosen between a few by the held-out evidence of short fits."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentmap.data.formats.arrays import ArraySource
from latentmap.data.sampling import SMALLEST_SPLIT, scattered
from latentmap.data.sources import Source
from latentmap.estimators import choices
from latentmap.estimators.fit import Fit
from latentmap.estimators.parameters import Parameters
from latentmap.estimators.resuming import require_alike
from latentmap.estimators.scoring import score_rows
from latentmap.exceptions import PartError
from latentmap.model.processes import current
from latentmap.training.schedule import Timer

SIZES = (2, 4, 8, 16)
"""Numbers of components that are tried, as far as a row has so many values."""
SHORTER = 4
"""Epochs of the fit over those of each short fit."""
MOST_ROWS, MOST_VALUES = 20_000, 2**25
"""Rows that are read for short fits, and their values, at most."""
DRAWS = 32
"""Draws of the bound by which the sizes are compared."""


@dataclass(frozen=True)
class Chosen:
    """Parameters with a number of components, why this one, and the seconds that the choice took."""

    parameters: Parameters
    described: str
    seconds: float = 0.0


def choose_components(p: Parameters, source: Source, y: Any, seed: int, *, timer: Timer = time.perf_counter) -> Chosen:
    r"""Choose the number of components by the bound on the log-density of held-out rows.

    Each of 2, 4, 8 and 16 components is fitted for a quarter of the epochs, with the same seed and so the same held-out
    rows, whose mean importance-weighted bound of 32 draws (Burda et al. 2016) is compared; the highest decides, and of
    equal ones the fewest components. With a time budget, the short fits take half of it; where that does not suffice
    for all, the larger numbers are not tried.

    Parameters
    ----------
    p : Parameters
        Parameters of an estimator with ``n_components="auto"``.
    source : Source
        The rows, of which at most 20,000 are fitted to.
    y : object
        What rows are conditioned on, or None.
    seed : int
        Seed of the fit.
    timer : callable, default=time.perf_counter
        Source of the time.

    Returns
    -------
    Chosen
        The parameters to fit with.

    Raises
    ------
    PartError
        If the model has no density, such as an autoencoder.
    """
    processes = current()

    def agreed() -> float:
        return processes.maximum([timer()])[0]

    values = source.first.size
    require_alike({"rows": len(source), "columns": values}, processes)  # which decide what is tried
    begun = agreed()
    sizes = [size for size in SIZES if size <= values] or [values]
    if len(sizes) == 1 or len(source) < SMALLEST_SPLIT:
        return Chosen(with_components(p, sizes[0]), f"{sizes[0]} (chosen for {len(source)} rows of {values} values)")
    some, y = _some(source, y)
    shares = Shares(None if p.time_budget is None else p.time_budget / 2, len(sizes), agreed)
    bounds = [_bound(_short(p, size, len(some), share), some, y, seed, timer) for size, share in zip(sizes, shares)]
    best, seconds = sizes[int(np.argmax(processes.maximum(bounds)))], agreed() - begun
    tried = ", ".join(f"{size}: {bound:.2f}" for size, bound in zip(sizes, bounds))
    described = f"{best} (chosen for held-out nats a row, {tried}; {seconds:.1f} s)"
    return Chosen(with_components(p, best), described, seconds)


class Shares:
    """Seconds for each of several fits, whose setting up and scoring take time as well; it ends once too few are left.

    Parameters
    ----------
    total
        Seconds for all of them; None for no limit.
    count
        Number of fits.
    timer
        Source of the time.

    Examples
    --------
    >>> ticks = iter([0.0, 0.0, 6.0, 12.0])  # of fits that take 6 seconds each
    >>> list(Shares(10.0, 4, lambda: next(ticks)))
    [2.5, 0.75]
    """

    def __init__(self, total: float | None, count: int, timer: Timer) -> None:
        self.total, self.count, self.timer = total, count, timer

    def __iter__(self) -> Iterator[float | None]:
        """Yield the seconds of each fit when it begins."""
        if self.total is None:
            yield from [None] * self.count
            return
        begun = last = self.timer()
        took = share = 0.0
        for i in range(self.count):
            now = self.timer()
            took, last, left = now - last, now, self.total - (now - begun)
            if left < took / 2:
                return
            over = max(0.0, took - share)
            share = max(left / (self.count - i) - over, took / 8)
            yield share


def with_components(p: Parameters, components: int) -> Parameters:
    """Return the parameters with so many components, and without neighbours unless they are requested."""
    own = copy.copy(p)
    own.n_components = components
    if isinstance(p.neighbors, str):
        own.neighbors = None
    own.column_scales = True
    return own


def _short(p: Parameters, components: int, rows: int, time_budget: float | None) -> Parameters:
    """Return the parameters of a short fit."""
    own = with_components(p, components)
    batch_size = choices.choose_batch_size(rows) if p.batch_size is None else p.batch_size
    epochs = choices.choose_epochs(rows, batch_size) if p.max_epochs is None else p.max_epochs
    own.max_epochs, own.time_budget = max(1, epochs // SHORTER), time_budget
    own.early_stopping, own.callbacks, own.verbose, own.compile = True, None, 0, False
    return own


def _bound(p: Parameters, source: Source, y: Any, seed: int, timer: Timer) -> float:
    """Return the mean bound of the held-out rows after a fit, nats."""
    fit = Fit(p, source, y, seed=seed, timer=timer)
    if not fit.state.has_score:
        raise PartError(
            f"n_components='auto' is chosen by the density of held-out rows, which {type(p).__name__} with these parts "
            "does not have; give a number"
        )
    state = fit.run()
    if state.interrupted:
        raise KeyboardInterrupt
    given = state.given(y, len(source))
    bounds, _ = score_rows(state, fit.rows.held, None if given is None else given[fit.rows.held_out], DRAWS)
    return float(bounds.mean())


def _some(source: Source, y: Any) -> tuple[Source, Any]:
    """Return some rows for short fits, and what they are conditioned on."""
    step = -(-len(source) // max(SMALLEST_SPLIT, min(MOST_ROWS, MOST_VALUES // source.first.size)))
    if step == 1:
        return source, y
    numbers = scattered(len(source), step)
    some = ArraySource(np.asarray(source.read(numbers)), name=source.name, names=source.names)
    some.table, some.tallies = source.table, source.tallies
    return some, None if y is None else np.asarray(y)[numbers]
