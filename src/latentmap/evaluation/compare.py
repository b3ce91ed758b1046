"""Methods side by side: each fitted on the same rows, each scored on the same rows that it has not seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from latentmap.data.formats.base import suggest
from latentmap.data.sampling import split_rows
from latentmap.data.sources import Source, open_source, require_finite
from latentmap.evaluation import neighborhood
from latentmap.evaluation.claims import Claim, measure_claims, verdicts
from latentmap.evaluation.generation import classifier_features, pca_features
from latentmap.evaluation.methods import Estimator, Method, Units, find_method
from latentmap.evaluation.rows import or_none, sample_rows
from latentmap.exceptions import DataError

LEAST_NEW, LEAST_TRAINING = 20, 50
"""Fewer rows than these say nothing about a method."""

ROWS_A_CLASS = 5
"""Labels with fewer rows a label on average are values, not classes."""


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

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        values = asdict(self)
        if self.neighbor_accuracy is not None:
            values["neighbor_accuracy"] = {str(k): share for k, share in self.neighbor_accuracy.items()}
        return values


@dataclass(frozen=True)
class Comparison:
    """What `compare` finds.

    Attributes
    ----------
    scores : tuple of Scores
        One for each method, in the order that was asked for.
    claims : tuple of Claim
        What is claimed of a VAE against an autoencoder, where both were compared; see `latentmap.evaluation.claims`.
    settings : dict
        Numbers of rows, seed, units and feature space: all that the numbers depend on, as plain JSON values.
    maps : dict
        Title of a method to its map of the training rows, (n, n_components).
    labels : array of shape (n,) or None
        Their labels.
    new_maps : dict
        Title to the map of the new rows, (m, n_components), for methods that can place them.
    new_labels : array of shape (m,) or None
        Their labels.
    estimators : dict
        Fitted `Autoencoder` and `VAE`, by the name of the method, for pictures of what they decode.
    """

    scores: tuple[Scores, ...]
    claims: tuple[Claim, ...]
    settings: dict[str, Any]
    maps: dict[str, np.ndarray] = field(repr=False)
    labels: np.ndarray | None = field(repr=False)
    new_maps: dict[str, np.ndarray] = field(repr=False)
    new_labels: np.ndarray | None = field(repr=False)
    estimators: dict[str, Any] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Everything but arrays and estimators, as plain JSON values."""
        return {
            "settings": self.settings,
            "methods": [scores.to_json() for scores in self.scores],
            "claims": [claim.to_json() for claim in self.claims],
            "verdicts": verdicts(self.claims),
        }

    def table(self) -> list[list[str]]:
        """Rows of text, the first with the names of the columns: what the README, the report and the command show."""
        most = max((k for scores in self.scores for k in scores.neighbor_accuracy or ()), default=None)
        head = ["method", "trustworthiness", "reconstruction error", "seconds to fit", "seconds to embed"]
        rows = [
            [
                scores.method,
                f"{scores.trustworthiness:.3f}" + (" (training rows)" if scores.rows == "training" else ""),
                "not measured" if scores.unmeasured else _text(scores.reconstruction_error, ".4f"),
                _text(scores.fit_seconds, ".1f"),
                _text(scores.embed_seconds, ".3f"),
            ]
            for scores in self.scores
        ]
        if most is not None:
            head.insert(1, f"{most}-NN accuracy")
            for row, scores in zip(rows, self.scores, strict=True):
                row.insert(1, _text((scores.neighbor_accuracy or {}).get(most), ".3f"))
        return [head, *rows]

    def claims_table(self) -> list[list[str]]:
        """Rows of text for the claims, the first with the names of the columns; empty without claims."""
        if not self.claims:
            return []
        head = ["claim", "measure", "autoencoder", "VAE", "real rows", "expected of the VAE", "verdict"]
        return [head] + [
            [
                claim.measure.claim,
                claim.measure.text,
                *(_text(value, ".3g") for value in (claim.autoencoder, claim.vae)),
                "" if claim.real is None else f"{claim.real:.3g}",
                claim.measure.expected,
                claim.verdict,
            ]
            for claim in self.claims
        ]


def compare(
    X: Any,
    y: str | ArrayLike | None = None,
    *,
    methods: Sequence[str] = ("pca", "tsne", "autoencoder", "vae", "neighbor_vae"),
    n_components: int = 2,
    X_new: Any = None,
    y_new: str | ArrayLike | None = None,
    test_size: float = 0.2,
    max_rows: int = 10_000,
    neighbors: Sequence[int] = (1, 5, 10),
    fitted: Mapping[str, Any] | None = None,
    random_state: int = 0,
    on_progress: Callable[[str], None] | None = None,
) -> Comparison:
    """Fit several methods to the same rows, and score them on the same rows that none of them has seen.

    Where an autoencoder and a VAE are among them, what is claimed of them is measured too.

    Parameters
    ----------
    X, y
        Rows, or all that `latentmap.data.sources.open_source` opens, and their labels; labels that are not classes
        (more than one for every five rows) only colour the maps.
    methods
        Names from `latentmap.evaluation.methods.METHODS`.
    n_components
        Dimensions of the maps.
    X_new, y_new
        Rows to score on, where the data come with them. Without, a share of `test_size` of the rows is held out.
    max_rows
        The most training rows, and the most new rows, that are used: a seeded sample, the same for all methods, which
        keeps t-SNE within minutes.
    neighbors
        Numbers of neighbours that vote on a label.
    fitted
        Estimators that were fitted before, by the name of the method, which are then not fitted again; on rows other
        than the new ones, or their scores say nothing.
    random_state
        Seed of the sample, of every method and of every measure.
    on_progress
        Called with a line of text before each step.

    Returns
    -------
    Comparison
        Scores, claims, maps, and the settings that they depend on.

    Raises
    ------
    DataError
        If a method is not known, there are too few rows, or rows hold NaN or infinity.
    MissingExtraError
        If a method's package is not installed.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> found = compare(X, y, methods=["pca"], max_rows=300)
    >>> found.table()[0]
    ['method', '10-NN accuracy', 'trustworthiness', 'reconstruction error', 'seconds to fit', 'seconds to embed']
    >>> found.maps["PCA"].shape
    (300, 2)
    """
    tell = on_progress or (lambda text: None)
    kinds = {name: find_method(name) for name in methods}
    train, new = _rows(X, y, X_new, y_new, test_size, max_rows, random_state)
    units = Units(train.X)
    runners = {name: kind(n_components, random_state, units) for name, kind in kinds.items()}
    for name, estimator in (fitted or {}).items():
        _give(runners, name, estimator)
    settings: dict[str, Any] = {
        "n_components": n_components,
        "training_rows": len(train.X),
        "new_rows": len(new.X),
        "random_state": random_state,
        "units": units.name,
        "fitted_before": sorted(fitted or ()),
    }
    scores: list[Scores] = []
    maps: dict[str, np.ndarray] = {}
    new_maps: dict[str, np.ndarray] = {}
    estimators: dict[str, Any] = {}
    for i, (name, method) in enumerate(runners.items()):
        tell(f"{method.title} ({i + 1} of {len(runners)})")
        mapped = _map(method, train.X, name in (fitted or {}))
        score, placed = _score(method, mapped, train, new, neighbors, random_state)
        scores.append(score)
        maps[method.title] = mapped.Z
        if placed is not None:
            new_maps[method.title] = placed
        if isinstance(method, Estimator):
            estimators[name] = method.estimator
    claims: tuple[Claim, ...] = ()
    if {"autoencoder", "vae"} <= estimators.keys():
        tell("what is claimed of autoencoder and VAE")
        rows = units(train.X)
        space = pca_features(rows) if train.classes is None else classifier_features(rows, train.classes)
        settings["feature_space"], settings["classifier_accuracy"] = space.name, space.accuracy
        claims = measure_claims(
            estimators["autoencoder"], estimators["vae"], train.X, new.X, space, units, random_state=random_state
        )
    return Comparison(tuple(scores), claims, settings, maps, train.labels, new_maps, new.labels, estimators)


@dataclass(frozen=True)
class _Rows:
    X: np.ndarray
    labels: np.ndarray | None

    @property
    def classes(self) -> np.ndarray | None:
        """The labels, where they are classes."""
        if self.labels is None:
            return None
        n = len(np.unique(self.labels))
        return self.labels if 1 < n <= len(self.labels) / ROWS_A_CLASS else None

    def take(self, rows: np.ndarray) -> _Rows:
        return _Rows(self.X[rows], None if self.labels is None else self.labels[rows])


@dataclass(frozen=True)
class _Mapped:
    Z: np.ndarray
    seconds: float


def _rows(
    X: Any, y: Any, X_new: Any, y_new: Any, test_size: float, max_rows: int, random_state: int
) -> tuple[_Rows, _Rows]:
    source = open_source(X, y)
    if X_new is None:
        if not 0 < test_size < 1:
            raise DataError(f"test_size must lie between 0 and 1, got {test_size}")
        other, (kept, held) = source, split_rows(len(source), test_size, random_state)
    else:
        other = open_source(X_new, y_new)
        kept, held = np.arange(len(source)), np.arange(len(other))
        if other.schema.event_shape != source.schema.event_shape:
            shapes = f"{source.schema.event_shape}, got {other.schema.event_shape}"
            raise DataError(f"new rows must have the shape of the others, {shapes}")
        if (other.labels is None) != (source.labels is None):
            raise DataError("either both the rows and the new rows have labels, or neither")
    train, new = (
        _read(part, rows[sample_rows(len(rows), max_rows, random_state)])
        for part, rows in ((source, kept), (other, held))
    )
    if len(train.X) < LEAST_TRAINING or len(new.X) < LEAST_NEW:
        raise DataError(
            f"a comparison needs at least {LEAST_TRAINING} training rows and {LEAST_NEW} new ones, "
            f"got {len(train.X)} and {len(new.X)}"
        )
    return train, new


def _read(source: Source, rows: np.ndarray) -> _Rows:
    require_finite(source)
    return _Rows(source.read(rows), None if source.labels is None else source.labels[rows])


def _give(runners: Mapping[str, Method], name: str, fitted: Any) -> None:
    """Give a method its estimator, fitted before."""
    method = runners.get(name)
    if not isinstance(method, Estimator):
        able = [key for key, value in runners.items() if isinstance(value, Estimator)]
        raise DataError(f"nothing compared here can be given fitted as {name!r}: {suggest(name, able)}")
    if fitted.n_components != method.n_components:
        raise DataError(
            f"{name} was fitted with {fitted.n_components} components, but {method.n_components} are compared"
        )
    method.estimator = fitted


def _map(method: Method, X: np.ndarray, fitted_before: bool) -> _Mapped:
    if fitted_before and isinstance(method, Estimator):
        return _Mapped(method.embed(X), float(method.estimator.fit_seconds_))
    start = time.perf_counter()
    Z = method.fit_map(X)
    return _Mapped(Z, time.perf_counter() - start)


def _score(
    method: Method, mapped: _Mapped, train: _Rows, new: _Rows, neighbors: Sequence[int], random_state: int
) -> tuple[Scores, np.ndarray | None]:
    start = time.perf_counter()
    placed = method.embed(new.X)
    seconds = time.perf_counter() - start
    if placed is None:  # measured on as many training rows, since the measures depend on how many there are
        some = sample_rows(len(train.X), len(new.X), random_state)
        seen, Z = train.take(some), mapped.Z[some]
    else:
        seen, Z = new, placed
    rows = method.units(seen.X)
    accuracy = error = None
    if placed is not None and train.classes is not None and new.labels is not None:
        accuracy = {
            k: neighborhood.neighbor_accuracy(mapped.Z, train.classes, placed, new.labels, k) for k in neighbors
        }
    if placed is not None and (decoded := method.decode(placed)) is not None:
        error = float(np.square(method.units(decoded) - rows).mean())
    return Scores(
        method=method.title,
        neighbor_accuracy=accuracy,
        trustworthiness=neighborhood.trustworthiness(rows, Z, random_state=random_state),
        continuity=neighborhood.continuity(rows, Z, random_state=random_state),
        neighbor_recall=neighborhood.neighbor_recall(rows, Z, random_state=random_state),
        distance_rank_correlation=or_none(
            lambda: neighborhood.distance_rank_correlation(rows, Z, random_state=random_state)
        ),
        silhouette=None
        if seen.classes is None
        else neighborhood.silhouette(Z, seen.classes, random_state=random_state),
        rows="training" if placed is None else "new",
        reconstruction_error=error,
        fit_seconds=mapped.seconds,
        embed_seconds=None if placed is None else seconds,
        unmeasured=method.unmeasured,
    ), placed


def _text(value: float | None, form: str) -> str:
    return "cannot" if value is None else format(value, form)
