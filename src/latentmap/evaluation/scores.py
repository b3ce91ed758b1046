"""What is measured of one map: its shape beside that of the data, what it decodes, what it cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from latentmap.estimators.vae import VAE
from latentmap.evaluation import neighborhood
from latentmap.evaluation.methods import Estimator, Method
from latentmap.evaluation.rows import or_none, sample_rows

ROWS_A_CLASS = 5
"""Labels with fewer rows a label on average are values, not classes."""
SIZES = (5, 15, 50)
"""Neighbours for which trustworthiness and continuity are measured, where there are enough rows."""
SHAPE_ROWS = 3000
"""Rows over which they are, at the most."""


@dataclass(frozen=True)
class Scores:
    """What one method reaches; None where it cannot.

    Attributes
    ----------
    method : str
        Its title.
    neighbor_accuracy : dict or None
        Number of neighbours to the share of new rows whose label is the majority label of their neighbours on the
        training map; None without classes.
    trustworthiness, continuity, neighbor_recall, distance_rank_correlation, silhouette : float or None
        Of the map against the data; see `latentmap.evaluation.neighborhood`.
    rows : str
        The rows that those are measured on: "new", or "training" where a method cannot place new rows.
    reconstruction_error : float or None
        Mean squared error of decoded new rows, in the units of the comparison.
    fit_seconds, embed_seconds : float or None
        Seconds to the map of the training rows, and to place the new rows on it.
    unmeasured : str
        Why decoding is not measured although the method has it; empty otherwise.
    minus_elbo : float or None
        Bound on -log p(x) of the new rows, nats a row in their own units.
    trustworthiness_at, continuity_at : dict
        By the number of neighbours; `trustworthiness` and `continuity` are those of 5.
    """

    method: str
    neighbor_accuracy: dict[int, float] | None
    trustworthiness: float
    continuity: float
    neighbor_recall: float
    distance_rank_correlation: float | None
    silhouette: float | None
    rows: str
    reconstruction_error: float | None
    fit_seconds: float
    embed_seconds: float | None
    unmeasured: str = ""
    minus_elbo: float | None = None
    trustworthiness_at: dict[int, float] = field(default_factory=dict)
    continuity_at: dict[int, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            name: {str(k): v for k, v in value.items()} if isinstance(value, dict) else value
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True)
class Rows:
    """Rows of a comparison, and their labels."""

    X: np.ndarray
    labels: np.ndarray | None

    @property
    def classes(self) -> np.ndarray | None:
        """The labels, where they are classes."""
        if self.labels is None:
            return None
        n = len(np.unique(self.labels))
        return self.labels if 1 < n <= len(self.labels) / ROWS_A_CLASS else None

    def take(self, rows: np.ndarray) -> Rows:
        """Some of them."""
        return Rows(self.X[rows], None if self.labels is None else self.labels[rows])


@dataclass(frozen=True)
class Mapped:
    """A map of the training rows, and the seconds that it took."""

    Z: np.ndarray
    seconds: float


def make_map(method: Method, X: np.ndarray, fitted_before: bool) -> Mapped:
    """Fit a method, or take it as it was fitted before."""
    if fitted_before and isinstance(method, Estimator):
        return Mapped(method.embed(X), float(method.estimator.fit_seconds_))
    start = time.perf_counter()
    Z = method.fit_map(X)
    return Mapped(Z, time.perf_counter() - start)


def score(
    method: Method, mapped: Mapped, train: Rows, new: Rows, neighbors: Sequence[int], random_state: int
) -> tuple[Scores, np.ndarray | None]:
    """Measure a map; gives the new rows' places too, where the method has some."""
    start = time.perf_counter()
    placed = method.embed(new.X)
    seconds = time.perf_counter() - start
    if placed is None:  # measured on as many training rows, since the measures depend on how many there are
        some = sample_rows(len(train.X), len(new.X), random_state)
        seen, Z = train.take(some), mapped.Z[some]
    else:
        seen, Z = new, placed
    rows = method.units(seen.X)
    accuracy = error = minus_elbo = None
    if placed is not None and train.classes is not None and new.labels is not None:
        accuracy = {
            k: neighborhood.neighbor_accuracy(mapped.Z, train.classes, placed, new.labels, k) for k in neighbors
        }
    if placed is not None and (decoded := method.decode(placed)) is not None:
        error = float(np.square(method.units(decoded) - rows).mean())
    if placed is not None and isinstance(method, Estimator) and isinstance(method.estimator, VAE):
        minus_elbo = -method.estimator.score(new.X)
    some = sample_rows(len(rows), SHAPE_ROWS, random_state)
    trust, continuity = _shape(rows[some], Z[some]), _shape(Z[some], rows[some])
    return Scores(
        method=method.title,
        neighbor_accuracy=accuracy,
        trustworthiness=trust[SIZES[0]],
        continuity=continuity[SIZES[0]],
        trustworthiness_at=trust,
        continuity_at=continuity,
        neighbor_recall=neighborhood.neighbor_recall(rows, Z, random_state=random_state),
        distance_rank_correlation=or_none(
            lambda: neighborhood.distance_rank_correlation(rows, Z, random_state=random_state)
        ),
        silhouette=None
        if seen.classes is None
        else neighborhood.silhouette(Z, seen.classes, random_state=random_state),
        rows="training" if placed is None else "new",
        reconstruction_error=error,
        minus_elbo=minus_elbo,
        fit_seconds=mapped.seconds,
        embed_seconds=None if placed is None else seconds,
        unmeasured=method.unmeasured,
    ), placed


def _shape(X: np.ndarray, Z: np.ndarray) -> dict[int, float]:
    """Trustworthiness by the number of neighbours; the other way round it is continuity."""
    sizes = [k for k in SIZES if k <= (len(X) - 1) // 2]
    ranks = neighborhood.neighbor_ranks(X, Z, sizes[-1])
    return {k: float(neighborhood.row_trust(ranks[:, :k], len(X)).mean()) for k in sizes}


def over_runs(runs: Sequence[Scores], of: Callable[[Sequence[float]], Any]) -> Scores:
    """Give a statistic of each number over several runs of a method, such as their mean."""
    found: dict[str, Any] = {}
    for name in (known.name for known in fields(Scores)):
        values = [getattr(run, name) for run in runs]
        if isinstance(values[0], dict):
            found[name] = {k: float(of([value[k] for value in values])) for k in values[0]}
        elif any(value is None or isinstance(value, str) for value in values):
            found[name] = values[0]
        else:
            found[name] = float(of(values))
    return Scores(**found)
