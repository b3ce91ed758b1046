"""Comparison of methods: all are fitted on the same training rows and scored on the same held-out rows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from latentmap.estimators.parameters import check_count
from latentmap.evaluation.comparison import Comparison
from latentmap.evaluation.methods import Estimator, Method, Units, find_method
from latentmap.evaluation.scores import Embedded, Rows, Scores, fit_and_embed, over_runs, score
from latentmap.evaluation.splits import Splits
from latentmap.evaluation.stability import Stability, between_halves, between_maps
from latentmap.evaluation.study import AUTOENCODER, VAE, Study, components_of_claims
from latentmap.exceptions import DataError
from latentmap.messages import suggest

__all__ = ["Comparison", "Scores", "compare", "default_methods"]

MOST_OF_MAPS = 3
"""Components of a map, at the most."""

Progress = Callable[[str], None]


class _Run(NamedTuple):
    """One fit of a method."""

    method: Method
    embedded: Embedded
    scores: Scores
    places: np.ndarray


Runs = dict[str, list[_Run]]
"""Name of a method to its fits, by seed."""


def default_methods(n_components: int) -> tuple[str, ...]:
    """Return the methods that are compared by default: those that map to so many components and are installed.

    Parameters
    ----------
    n_components : int
        Dimensions of the maps.

    Returns
    -------
    tuple of str
        Names of `latentmap.evaluation.methods.METHODS`.

    Examples
    --------
    >>> "tsne" in default_methods(2), "tsne" in default_methods(16), "vae" in default_methods(16)
    (True, False, True)
    """
    baselines = ("pca", *(("tsne",) if n_components <= MOST_OF_MAPS else ()), *(("umap",) if find_spec("umap") else ()))
    return (*baselines, *ours(n_components))


def ours(n_components: int) -> tuple[str, ...]:
    """Return the models of this package that are compared: with few components the neighbour VAE is one."""
    return (AUTOENCODER, VAE, *(("neighbor_vae",) if n_components <= MOST_OF_MAPS else ()))


def compare(
    X: Any,
    y: str | ArrayLike | None = None,
    *,
    methods: Sequence[str] | None = None,
    n_components: int = 2,
    X_new: Any = None,
    y_new: str | ArrayLike | None = None,
    test_size: float = 0.2,
    max_rows: int = 10_000,
    neighbors: Sequence[int] = (1, 5, 10),
    fitted: Mapping[str, Any] | None = None,
    random_state: int = 0,
    seeds: int = 5,
    claims: Sequence[int] | Literal["auto"] = "auto",
    halves: bool = False,
    on_progress: Callable[[str], None] | None = None,
) -> Comparison:
    """Fit several methods to the same rows, and score them on the same held-out rows.

    Each method is fitted several times, with another seed and another split of the rows each time, and scores are means
    with their standard deviations. If an autoencoder and a VAE are among the methods, the claims about them are
    measured too, over the same fits, which make pairs.

    Parameters
    ----------
    X : array-like of shape (n, ...) or source
        Rows, or all that `latentmap.data.sources.open_source` opens.
    y : array-like of shape (n,) or str, optional
        Labels. Labels that are not classes (more than one for every five rows) only colour the maps.
    methods : sequence of str, optional
        Names from `latentmap.evaluation.methods.METHODS`; by default PCA, t-SNE, UMAP where it is installed, an
        autoencoder, a VAE and for maps a neighbour VAE, as far as they can map to `n_components`.
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
        Estimators that were fitted before, by the name of the method. They stand for the first fit, and must not have
        been fitted to the new rows.
    random_state : int, default=0
        Seed of the first fit: of the split, of every method and of every measure.
    seeds : int, default=5
        Number of fits of each method, with consecutive seeds. A single one has no spread, and claims no verdict.
    claims : sequence of int or "auto", default="auto"
        Numbers of components that the claims are measured with; "auto" takes `n_components` and 16, or half as many as
        a row has values where that is fewer. An empty sequence leaves the claims out.
    halves : bool, default=False
        Whether to fit each method to two halves of the rows too, and measure how far the map of new rows moves.
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
    ['method', '10-NN accuracy', 'trustworthiness', 'reconstruction error', ..., 'moves by seed']
    >>> comparison.maps["PCA"].shape
    (300, 2)
    """
    check_count("seeds", seeds)
    names = default_methods(n_components) if methods is None else methods
    kinds = {name: find_method(name) for name in names}
    splits = Splits(X, y, X_new, y_new, test_size, max_rows)
    train, new = splits.rows(random_state)
    units = Units(train.X)
    first = {name: kind(n_components, random_state, units) for name, kind in kinds.items()}
    for name, estimator in (fitted or {}).items():
        _set_fitted(first, name, estimator)
    components = (
        components_of_claims(claims, n_components, train.X[0].size) if {AUTOENCODER, VAE} <= first.keys() else ()
    )
    study = Study(components, train, units) if components else None
    progress = on_progress or (lambda text: None)
    runs: Runs = {name: [] for name in first}
    for seed in range(random_state, random_state + seeds):
        rows = (train, new) if seed == random_state else splits.rows(seed)
        label = f", fit {seed - random_state + 1} of {seeds}" if seeds > 1 else ""
        again = first if seed == random_state else {name: _remake(method, seed) for name, method in first.items()}
        for i, (name, method) in enumerate(again.items(), 1):
            progress(f"{method.title} ({i} of {len(first)}{label})")
            runs[name].append(_run(method, *rows, neighbors, seed, again is first and name in (fitted or {})))
        if study is not None:
            progress(f"what is claimed of autoencoder and VAE, {_enumerated(components)} components{label}")
            study.take({n_components: _estimators(again)}, *rows, seed)
    settings: dict[str, Any] = {
        "n_components": n_components,
        "seeds": seeds,
        "training_rows": len(train.X),
        "new_rows": len(new.X),
        "random_state": random_state,
        "units": units.name,
        "fitted_before": sorted(fitted or ()),
    } | ({} if study is None else study.described())
    return Comparison(
        scores=_over_seeds(runs, np.mean),
        settings=settings,
        maps={first[name].title: of[0].embedded.Z for name, of in runs.items()},
        labels=train.labels,
        new_maps={first[name].title: Z for name, of in runs.items() if (Z := of[0].embedded.Z_new) is not None},
        new_labels=new.labels,
        estimators=_estimators(first),
        spread=_over_seeds(runs, functools.partial(np.std, ddof=1)) if seeds > 1 else (),
        stability=_stability(first, runs, train.X, new.X, random_state, halves, progress) if seeds > 1 else (),
        claims=() if study is None else study.claims(),
        generated=() if study is None else study.generated(),
        sampled={} if study is None else study.first,
    )


def _run(method: Method, train: Rows, new: Rows, neighbors: Sequence[int], seed: int, fitted_before: bool) -> _Run:
    embedded = fit_and_embed(method, train.X, new.X, fitted_before)
    return _Run(method, embedded, score(method, embedded, train, new, neighbors, seed), train.places)


def _remake(method: Method, random_state: int) -> Method:
    """Return an unfitted method of the same kind with another seed."""
    return type(method)(method.n_components, random_state, method.units)


def _estimators(methods: Mapping[str, Method]) -> dict[str, Any]:
    return {name: method.estimator for name, method in methods.items() if isinstance(method, Estimator)}


def _enumerated(components: Sequence[int]) -> str:
    return " and ".join(map(str, components))


def _over_seeds(runs: Runs, statistic: Callable[[Sequence[float]], Any]) -> tuple[Scores, ...]:
    return tuple(over_runs([run.scores for run in of], statistic) for of in runs.values())


def _stability(
    methods: Mapping[str, Method],
    runs: Runs,
    X: np.ndarray,
    X_new: np.ndarray,
    random_state: int,
    halves: bool,
    progress: Progress,
) -> tuple[Stability, ...]:
    """Return how far the maps of each method move by seed, and by halves of the training rows where that is asked."""
    result = []
    for name, method in methods.items():
        moved = between_maps([(run.embedded.Z, run.places) for run in runs[name]])
        apart = None
        if halves:
            progress(f"{method.title} on halves of the rows")
            apart = between_halves(functools.partial(_remake, method, random_state), X, X_new, random_state)
        result.append(Stability(method.title, moved, apart))
    return tuple(result)


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
