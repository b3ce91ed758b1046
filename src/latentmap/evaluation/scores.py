"""Scores of one map: how it keeps the structure of the data, how well it decodes, and its run time."""

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

__all__ = ["Scores"]

ROWS_PER_CLASS = 5
"""Labels with fewer rows per label on average are values, not classes."""
MISSING = ""
"""Class of a row without label."""
SIZES = (5, 15, 50)
"""Numbers of neighbours for which trustworthiness and continuity are measured, where there are enough rows."""
MAX_ROWS = 3000
"""Maximum number of rows for trustworthiness and continuity."""


@dataclass(frozen=True)
class Scores:
    """Scores of one method; None where it has no such ability.

    Parameters
    ----------
    method : str
        Title of the method.
    neighbor_accuracy : dict or None
        Number of neighbours to the accuracy of their majority vote on the labels of new rows; None without classes.
    trustworthiness, continuity, neighbor_recall, distance_rank_correlation, silhouette : float or None
        Of the map against the data; see `latentmap.evaluation.neighborhood`.
    rows : str
        The rows that those are measured on: "new", or "training" where a method cannot embed new rows.
    reconstruction_error : float or None
        Mean squared error of decoded new rows, in the units of the comparison.
    fit_seconds, embed_seconds : float or None
        Seconds to fit the training rows, and to embed the new rows.
    unmeasured : str, default=""
        Why decoding is not measured although the method has it; empty otherwise.
    training_accuracy : dict, optional
        As `neighbor_accuracy`, of training rows among the others, for a method that cannot embed new rows.
    minus_elbo : float, optional
        Upper bound on -log p(x) of the new rows, nats per row in their own units.
    trustworthiness_at, continuity_at : dict, optional
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
    training_accuracy: dict[int, float] | None = None
    minus_elbo: float | None = None
    trustworthiness_at: dict[int, float] = field(default_factory=dict)
    continuity_at: dict[int, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            name: {str(k): v for k, v in value.items()} if isinstance(value, dict) else value
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True)
class Rows:
    """Rows of a comparison, their labels, and their places in the data."""

    X: np.ndarray
    labels: np.ndarray | None
    places: np.ndarray

    @property
    def names(self) -> np.ndarray | None:
        """The labels as text, `MISSING` where a row has none."""
        if self.labels is None:
            return None
        return np.array([MISSING if label is None or label != label else str(label) for label in self.labels.tolist()])

    @property
    def classes(self) -> np.ndarray | None:
        """The labels as text, if they are classes."""
        if (names := self.names) is None:
            return None
        n, known = len(np.unique(names[names != MISSING])), int((names != MISSING).sum())
        return names if 1 < n <= known / ROWS_PER_CLASS else None

    def take(self, indices: np.ndarray) -> Rows:
        """Return some of the rows."""
        labels = None if self.labels is None else self.labels[indices]
        return Rows(self.X[indices], labels, self.places[indices])


@dataclass(frozen=True)
class Embedded:
    """Codes of the training rows and of the new rows, None where a method cannot embed these, and run times."""

    Z: np.ndarray
    fit_seconds: float
    Z_new: np.ndarray | None
    embed_seconds: float


def fit_and_embed(method: Method, X: np.ndarray, X_new: np.ndarray, fitted_before: bool) -> Embedded:
    """Fit a method, unless it was fitted before, and embed the training rows and the new rows."""
    start = time.perf_counter()
    if fitted_before and isinstance(method, Estimator):
        Z, fit_seconds = method.embed(X), float(method.estimator.fit_seconds_)
    else:
        Z, fit_seconds = method.fit_map(X), time.perf_counter() - start
    start = time.perf_counter()
    Z_new = method.embed(X_new)
    return Embedded(Z, fit_seconds, Z_new, time.perf_counter() - start)


def score(
    method: Method, embedded: Embedded, train: Rows, new: Rows, neighbors: Sequence[int], random_state: int
) -> Scores:
    """Score a fitted method and its codes."""
    measured, Z = new, embedded.Z_new
    if Z is None:  # measured on as many training rows, since the measures depend on the number of rows
        indices = sample_rows(len(train.X), len(new.X), random_state)
        measured, Z = train.take(indices), embedded.Z[indices]
    rows, classes = method.units(measured.X), measured.classes
    indices = sample_rows(len(rows), MAX_ROWS, random_state)
    trust, continuity = (_trust_at_sizes(*pair) for pair in ((rows[indices], Z[indices]), (Z[indices], rows[indices])))
    return Scores(
        method=method.title,
        neighbor_accuracy=_neighbor_accuracy(embedded, train, new, neighbors),
        trustworthiness=trust[SIZES[0]],
        continuity=continuity[SIZES[0]],
        trustworthiness_at=trust,
        continuity_at=continuity,
        neighbor_recall=neighborhood.neighbor_recall(rows, Z, random_state=random_state),
        distance_rank_correlation=or_none(
            lambda: neighborhood.distance_rank_correlation(rows, Z, random_state=random_state)
        ),
        silhouette=None if classes is None else _silhouette(Z, classes, random_state),
        rows="training" if embedded.Z_new is None else "new",
        reconstruction_error=_reconstruction_error(method, embedded.Z_new, new.X),
        minus_elbo=_minus_elbo(method, new.X),
        fit_seconds=embedded.fit_seconds,
        embed_seconds=None if embedded.Z_new is None else embedded.embed_seconds,
        unmeasured=method.unmeasured,
        training_accuracy=_training_accuracy(embedded, train, neighbors),
    )


def _neighbor_accuracy(embedded: Embedded, train: Rows, new: Rows, neighbors: Sequence[int]) -> dict[int, float] | None:
    if embedded.Z_new is None or (classes := train.classes) is None or (names := new.names) is None:
        return None
    known, named = classes != MISSING, names != MISSING
    if not named.any():
        return None
    maps = embedded.Z[known], classes[known], embedded.Z_new[named], names[named]
    return {k: neighborhood.neighbor_accuracy(*maps, k) for k in neighbors}


def _silhouette(Z: np.ndarray, classes: np.ndarray, random_state: int) -> float:
    known = classes != MISSING
    return neighborhood.silhouette(Z[known], classes[known], random_state=random_state)


def _training_accuracy(embedded: Embedded, train: Rows, neighbors: Sequence[int]) -> dict[int, float] | None:
    if embedded.Z_new is not None or (classes := train.classes) is None:
        return None
    known = classes != MISSING
    return {k: neighborhood.neighbor_accuracy(embedded.Z[known], classes[known], n_neighbors=k) for k in neighbors}


def _reconstruction_error(method: Method, Z: np.ndarray | None, X: np.ndarray) -> float | None:
    decoded = None if Z is None else method.decode(Z)
    if decoded is None or not np.isfinite(decoded).all():
        return None
    return float(np.square(method.units(decoded) - method.units(X)).mean())


def _minus_elbo(method: Method, X: np.ndarray) -> float | None:
    if isinstance(method, Estimator) and isinstance(method.estimator, VAE):
        return -method.estimator.score(X)
    return None


def _trust_at_sizes(X: np.ndarray, Z: np.ndarray) -> dict[int, float]:
    """Return the trustworthiness by the number of neighbours; the continuity if X and Z are exchanged."""
    sizes = [k for k in SIZES if k <= (len(X) - 1) // 2]
    ranks = neighborhood.neighbor_ranks(X, Z, sizes[-1])
    return {k: float(neighborhood.row_trust(ranks[:, :k], len(X)).mean()) for k in sizes}


def over_runs(runs: Sequence[Scores], statistic: Callable[[Sequence[float]], Any]) -> Scores:
    """Return a statistic of each number over several runs of a method, such as their mean."""
    return Scores(
        **{each.name: _over_runs([getattr(run, each.name) for run in runs], statistic) for each in fields(Scores)}
    )


def _over_runs(values: Sequence[Any], statistic: Callable[[Sequence[float]], Any]) -> Any:
    if any(value is None for value in values):
        return None
    if isinstance(values[0], dict):
        return {k: float(statistic([value[k] for value in values])) for k in values[0]}
    return values[0] if isinstance(values[0], str) else float(statistic(values))
