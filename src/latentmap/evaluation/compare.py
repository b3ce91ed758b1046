"""Comparison of methods: all are fitted on the same training rows and scored on the same held-out rows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from latentmap.data.sampling import split_rows
from latentmap.data.sources import Source, open_source, require_finite
from latentmap.evaluation.claims import Claim, measure_claims, verdicts
from latentmap.evaluation.generation import classifier_features, pca_features
from latentmap.evaluation.methods import Estimator, Method, Units, find_method
from latentmap.evaluation.rows import sample_rows
from latentmap.evaluation.scores import Embedded, Rows, Scores, fit_and_embed, over_runs, score
from latentmap.evaluation.stability import Stability, between_halves, between_maps
from latentmap.exceptions import DataError
from latentmap.messages import suggest

MIN_NEW, MIN_TRAINING = 20, 50
"""Minimum numbers of rows for meaningful scores."""

Progress = Callable[[str], None]
Runs = dict[str, list[tuple[Embedded, Scores]]]
"""Name of a method to its codes and scores by seed."""


@dataclass(frozen=True)
class Comparison:
    """Result of `compare`.

    Parameters
    ----------
    scores : tuple of Scores
        One for each method, in the order of ``methods``.
    claims : tuple of Claim
        Claims about a VAE against an autoencoder, if both were compared; see `latentmap.evaluation.claims`.
    settings : dict
        Numbers of rows, seed, units and feature space: all that the numbers depend on, as plain JSON values.
    maps : dict
        Title of a method to its map of the training rows, (n, n_components).
    labels : ndarray of shape (n,) or None
        Labels of the training rows.
    new_maps : dict
        Title to the map of the new rows, (m, n_components), for methods that can embed them.
    new_labels : ndarray of shape (m,) or None
        Labels of the new rows.
    estimators : dict
        Fitted `Autoencoder` and `VAE`, by the name of the method.
    spread : tuple of Scores, default=()
        Standard deviations over seeds; ``scores`` are then means. Empty for a single seed. Maps, claims and estimators
        are those of the first seed.
    stability : tuple of Stability, default=()
        Agreement of the maps of refits, for several seeds.
    """

    scores: tuple[Scores, ...]
    claims: tuple[Claim, ...]
    settings: dict[str, Any]
    maps: dict[str, np.ndarray] = field(repr=False)
    labels: np.ndarray | None = field(repr=False)
    new_maps: dict[str, np.ndarray] = field(repr=False)
    new_labels: np.ndarray | None = field(repr=False)
    estimators: dict[str, Any] = field(repr=False)
    spread: tuple[Scores, ...] = ()
    stability: tuple[Stability, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return everything but arrays and estimators, as plain JSON values."""
        return {
            "settings": self.settings,
            "methods": [scores.to_json() for scores in self.scores],
            "spread": [scores.to_json() for scores in self.spread],
            "stability": [asdict(stability) for stability in self.stability],
            "claims": [claim.to_json() for claim in self.claims],
            "verdicts": verdicts(self.claims),
        }

    def table(self) -> list[list[str]]:
        """Return the scores as rows of text, the first with the names of the columns."""
        k = max((k for scores in self.scores for k in scores.neighbor_accuracy or ()), default=None)
        columns = {
            "method": [scores.method for scores in self.scores],
            f"{k}-NN accuracy": self._column(lambda scores: (scores.neighbor_accuracy or {}).get(k), ".3f")
            if k
            else [],
            "trustworthiness": self._column(attrgetter("trustworthiness"), ".3f"),
            "reconstruction error": self._column(attrgetter("reconstruction_error"), ".4f"),
            "seconds to fit": self._column(attrgetter("fit_seconds"), ".1f"),
            "seconds to embed": self._column(attrgetter("embed_seconds"), ".3f"),
            "moves by seed": [_text(stability.seeds, ".3f") for stability in self.stability],
            "moves by half of the rows": [_text(stability.halves, ".3f") for stability in self.stability],
        }
        for i, scores in enumerate(self.scores):
            columns["trustworthiness"][i] += " (training rows)" if scores.rows == "training" else ""
            if scores.unmeasured:
                columns["reconstruction error"][i] = "not measured"
        columns = {name: cells for name, cells in columns.items() if cells}
        return [list(columns), *map(list, zip(*columns.values(), strict=True))]

    def _column(self, of: Callable[[Scores], float | None], form: str) -> list[str]:
        """Return one number of each method as text, with its standard deviation over seeds where there is one."""
        spread = map(of, self.spread) if self.spread else [None] * len(self.scores)
        return [_text(of(scores), form, deviation) for scores, deviation in zip(self.scores, spread, strict=True)]

    def claims_table(self) -> list[list[str]]:
        """Return the claims as rows of text, the first with the names of the columns; empty without claims."""
        head = ["claim", "measure", "autoencoder", "VAE", "real rows", "expected of the VAE", "verdict"]
        rows = [
            [claim.measure.claim, claim.measure.text, _text(claim.autoencoder, ".3g"), _text(claim.vae, ".3g")]
            + ["" if claim.real is None else f"{claim.real:.3g}", claim.measure.expected, claim.verdict]
            for claim in self.claims
        ]
        return [head, *rows] if rows else []


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
    seeds: int = 1,
    on_progress: Callable[[str], None] | None = None,
) -> Comparison:
    """Fit several methods to the same rows, and score them on the same held-out rows.

    If an autoencoder and a VAE are among them, the claims about them are measured too.

    Parameters
    ----------
    X : array-like of shape (n, ...) or source
        Rows, or all that `latentmap.data.sources.open_source` opens.
    y : array-like of shape (n,) or str, optional
        Labels. Labels that are not classes (more than one for every five rows) only colour the maps.
    methods : sequence of str, default=("pca", "tsne", "autoencoder", "vae", "neighbor_vae")
        Names from `latentmap.evaluation.methods.METHODS`.
    n_components : int, default=2
        Dimensions of the maps.
    X_new, y_new : array-like, optional
        Rows to score on and their labels; a fraction `test_size` of the rows is held out if None.
    test_size : float, default=0.2
        Fraction of the rows to hold out, in (0, 1).
    max_rows : int, default=10_000
        Maximum number of training rows and of new rows: a seeded sample, the same for all methods.
    neighbors : sequence of int, default=(1, 5, 10)
        Numbers of neighbours that vote on a label.
    fitted : mapping of str to estimator, optional
        Estimators that were fitted before, by the name of the method. They are not fitted again, and must not have been
        fitted to the new rows.
    random_state : int, default=0
        Seed of the sample, of every method and of every measure.
    seeds : int, default=1
        Number of fits of each method, with consecutive seeds. If more than one, scores are means with their standard
        deviations, and the stability of the maps is measured (see `latentmap.evaluation.stability`).
    on_progress : callable, optional
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
    >>> comparison = compare(X, y, methods=["pca"], max_rows=300)
    >>> comparison.table()[0]
    ['method', '10-NN accuracy', 'trustworthiness', 'reconstruction error', 'seconds to fit', 'seconds to embed']
    >>> comparison.maps["PCA"].shape
    (300, 2)
    """
    kinds = {name: find_method(name) for name in methods}
    train, new = _rows(X, y, X_new, y_new, test_size, max_rows, random_state)
    units = Units(train.X)
    first = {name: kind(n_components, random_state, units) for name, kind in kinds.items()}
    for name, estimator in (fitted or {}).items():
        _set_fitted(first, name, estimator)
    if seeds < 1:
        raise DataError(f"seeds must be a whole number >= 1, got {seeds}")
    progress = on_progress or (lambda text: None)
    runs: Runs = {name: [] for name in first}
    for seed in range(random_state, random_state + seeds):
        label = f", seed {seed - random_state + 1} of {seeds}" if seeds > 1 else ""
        for i, (name, method) in enumerate(first.items(), 1):
            progress(f"{method.title} ({i} of {len(first)}{label})")
            again = method if seed == random_state else _remake(method, seed)
            embedded = fit_and_embed(again, train.X, new.X, again is method and name in (fitted or {}))
            runs[name].append((embedded, score(again, embedded, train, new, neighbors, random_state)))
    stability = _stability(first, runs, train.X, new.X, random_state, progress) if seeds > 1 else ()
    estimators = {name: method.estimator for name, method in first.items() if isinstance(method, Estimator)}
    claims, described = _claims(estimators, train, new, units, random_state, progress)
    settings: dict[str, Any] = {
        "n_components": n_components,
        "seeds": seeds,
        "training_rows": len(train.X),
        "new_rows": len(new.X),
        "random_state": random_state,
        "units": units.name,
        "fitted_before": sorted(fitted or ()),
    }
    return Comparison(
        scores=_over_seeds(runs, np.mean),
        claims=claims,
        settings=settings | described,
        maps={first[name].title: of[0][0].Z for name, of in runs.items()},
        labels=train.labels,
        new_maps={first[name].title: Z for name, of in runs.items() if (Z := of[0][0].Z_new) is not None},
        new_labels=new.labels,
        estimators=estimators,
        spread=_over_seeds(runs, functools.partial(np.std, ddof=1)) if seeds > 1 else (),
        stability=stability,
    )


def _remake(method: Method, random_state: int) -> Method:
    """Return an unfitted method of the same kind with another seed."""
    return type(method)(method.n_components, random_state, method.units)


def _over_seeds(runs: Runs, statistic: Callable[[Sequence[float]], Any]) -> tuple[Scores, ...]:
    return tuple(over_runs([scores for _, scores in of], statistic) for of in runs.values())


def _stability(
    methods: Mapping[str, Method], runs: Runs, X: np.ndarray, X_new: np.ndarray, random_state: int, progress: Progress
) -> tuple[Stability, ...]:
    """Return the stability of each method over its seeds and over halves of the training rows."""
    result = []
    for name, method in methods.items():
        progress(f"stability of {method.title}")
        halves = between_halves(functools.partial(_remake, method, random_state), X, X_new, random_state)
        result.append(Stability(method.title, between_maps([embedded.Z for embedded, _ in runs[name]]), halves))
    return tuple(result)


def _claims(
    estimators: Mapping[str, Any], train: Rows, new: Rows, units: Units, random_state: int, progress: Progress
) -> tuple[tuple[Claim, ...], dict[str, Any]]:
    """Return the claims and the settings that describe their feature space; none without both models."""
    if not {"autoencoder", "vae"} <= estimators.keys():
        return (), {}
    progress("what is claimed of autoencoder and VAE")
    rows, classes = units(train.X), train.classes
    space = pca_features(rows) if classes is None else classifier_features(rows, classes)
    models = estimators["autoencoder"], estimators["vae"]
    claims = measure_claims(*models, train.X, new.X, space, units, random_state=random_state)
    return claims, {"feature_space": space.name, "classifier_accuracy": space.accuracy}


def _rows(
    X: Any, y: Any, X_new: Any, y_new: Any, test_size: float, max_rows: int, random_state: int
) -> tuple[Rows, Rows]:
    """Read the training rows and the new rows, at most `max_rows` of each."""
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
    if len(train.X) < MIN_TRAINING or len(new.X) < MIN_NEW:
        raise DataError(
            f"a comparison needs at least {MIN_TRAINING} training rows and {MIN_NEW} new ones, "
            f"got {len(train.X)} and {len(new.X)}"
        )
    return train, new


def _read(source: Source, rows: np.ndarray) -> Rows:
    require_finite(source)
    return Rows(source.read(rows), None if source.labels is None else source.labels[rows])


def _set_fitted(methods: Mapping[str, Method], name: str, fitted: Any) -> None:
    """Set the estimator of a method to one that was fitted before."""
    method = methods.get(name)
    if not isinstance(method, Estimator):
        able = [key for key, value in methods.items() if isinstance(value, Estimator)]
        raise DataError(f"nothing compared here can be given fitted as {name!r}: {suggest(name, able)}")
    if fitted.n_components != method.n_components:
        raise DataError(
            f"{name} was fitted with {fitted.n_components} components, but {method.n_components} are compared"
        )
    method.estimator = fitted


def _text(value: float | None, form: str, deviation: float | None = None) -> str:
    if value is None:
        return "cannot"
    return format(value, form) + ("" if deviation is None else f" ± {deviation:{form}}")
