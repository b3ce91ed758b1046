"""Methods side by side: each fitted on the same rows, each scored on the same rows that it has not seen."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from latentmap.data.sampling import split_rows
from latentmap.data.sources import Source, open_source, require_finite
from latentmap.evaluation.claims import Claim, measure_claims, verdicts
from latentmap.evaluation.generation import classifier_features, pca_features
from latentmap.evaluation.methods import Estimator, Method, Units, find_method
from latentmap.evaluation.rows import sample_rows
from latentmap.evaluation.scores import Rows, Scores, make_map, over_runs, score
from latentmap.evaluation.stability import Stability, between_halves, between_maps
from latentmap.exceptions import DataError
from latentmap.messages import suggest

LEAST_NEW, LEAST_TRAINING = 20, 50
"""Fewer rows than these say nothing about a method."""


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
    spread : tuple of Scores
        Standard deviations over seeds; ``scores`` are then means. Empty for a single seed. Maps, claims and estimators
        are those of the first.
    stability : tuple of Stability
        How far maps of refits agree, for several seeds.
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
        """Everything but arrays and estimators, as plain JSON values."""
        return {
            "settings": self.settings,
            "methods": [scores.to_json() for scores in self.scores],
            "spread": [scores.to_json() for scores in self.spread],
            "stability": [asdict(found) for found in self.stability],
            "claims": [claim.to_json() for claim in self.claims],
            "verdicts": verdicts(self.claims),
        }

    def table(self) -> list[list[str]]:
        """Rows of text, the first with the names of the columns: what the README, the report and the command show."""
        most = max((k for scores in self.scores for k in scores.neighbor_accuracy or ()), default=None)
        head = ["method", "trustworthiness", "reconstruction error", "seconds to fit", "seconds to embed"]
        rows = []
        for scores, spread in zip(self.scores, self.spread or [None] * len(self.scores), strict=True):

            def text(name: str, form: str, scores: Scores = scores, spread: Scores | None = spread) -> str:
                return _text(getattr(scores, name), form, None if spread is None else getattr(spread, name))

            rows.append(
                [
                    scores.method,
                    text("trustworthiness", ".3f") + (" (training rows)" if scores.rows == "training" else ""),
                    "not measured" if scores.unmeasured else text("reconstruction_error", ".4f"),
                    text("fit_seconds", ".1f"),
                    text("embed_seconds", ".3f"),
                ]
            )
            if most is not None:
                accuracy, apart = ((found.neighbor_accuracy if found else None) or {} for found in (scores, spread))
                rows[-1].insert(1, _text(accuracy.get(most), ".3f", apart.get(most)))
        if most is not None:
            head.insert(1, f"{most}-NN accuracy")
        if self.stability:
            head += ["moves by seed", "moves by half of the rows"]
            for row, found in zip(rows, self.stability, strict=True):
                row += [_text(found.seeds, ".3f"), _text(found.halves, ".3f")]
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
    seeds: int = 1,
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
    seeds
        Fits of each method, with this seed and those that follow it: for more than one, scores are means with their
        standard deviations, and the stability of the maps is measured (see `latentmap.evaluation.stability`).
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
    if seeds < 1:
        raise DataError(f"seeds must be a whole number >= 1, got {seeds}")
    settings: dict[str, Any] = {
        "n_components": n_components,
        "seeds": seeds,
        "training_rows": len(train.X),
        "new_rows": len(new.X),
        "random_state": random_state,
        "units": units.name,
        "fitted_before": sorted(fitted or ()),
    }
    runs: dict[str, list[Scores]] = {name: [] for name in runners}
    refits: dict[str, list[np.ndarray]] = {name: [] for name in runners}
    maps: dict[str, np.ndarray] = {}
    new_maps: dict[str, np.ndarray] = {}
    estimators: dict[str, Any] = {}
    for seed in range(random_state, random_state + seeds):
        for i, (name, kind) in enumerate(kinds.items()):
            first = seed == random_state
            method = runners[name] if first else kind(n_components, seed, units)
            more = f", seed {seed - random_state + 1} of {seeds}" if seeds > 1 else ""
            tell(f"{method.title} ({i + 1} of {len(runners)}{more})")
            mapped = make_map(method, train.X, first and name in (fitted or {}))
            found, placed = score(method, mapped, train, new, neighbors, random_state)
            runs[name].append(found)
            refits[name].append(mapped.Z)
            if not first:
                continue
            maps[method.title] = mapped.Z
            if placed is not None:
                new_maps[method.title] = placed
            if isinstance(method, Estimator):
                estimators[name] = method.estimator
    stability = []
    for name, kind in kinds.items() if seeds > 1 else ():
        tell(f"stability of {kind.title}")
        halves = between_halves(
            functools.partial(kind, n_components, random_state, units), train.X, new.X, random_state
        )
        stability.append(Stability(kind.title, between_maps(refits[name]), halves))
    claims: tuple[Claim, ...] = ()
    if {"autoencoder", "vae"} <= estimators.keys():
        tell("what is claimed of autoencoder and VAE")
        rows = units(train.X)
        space = pca_features(rows) if train.classes is None else classifier_features(rows, train.classes)
        settings["feature_space"], settings["classifier_accuracy"] = space.name, space.accuracy
        claims = measure_claims(
            estimators["autoencoder"], estimators["vae"], train.X, new.X, space, units, random_state=random_state
        )
    scores = tuple(over_runs(found, np.mean) for found in runs.values())
    several = list(runs.values()) if seeds > 1 else []
    spread = tuple(over_runs(found, lambda values: np.std(values, ddof=1)) for found in several)
    described = (claims, settings, maps, train.labels, new_maps, new.labels, estimators)
    return Comparison(scores, *described, spread, tuple(stability))


def _rows(
    X: Any, y: Any, X_new: Any, y_new: Any, test_size: float, max_rows: int, random_state: int
) -> tuple[Rows, Rows]:
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


def _read(source: Source, rows: np.ndarray) -> Rows:
    require_finite(source)
    return Rows(source.read(rows), None if source.labels is None else source.labels[rows])


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


def _text(value: float | None, form: str, off: float | None = None) -> str:
    if value is None:
        return "cannot"
    return format(value, form) + ("" if off is None else f" ± {off:{form}}")
