"""The claims over several fits: both models with each number of components, measured on the rows of each split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from latentmap.estimators.parameters import check_count
from latentmap.evaluation.claims import Claim, Measured, judge
from latentmap.evaluation.comparison import GeneratedRows
from latentmap.evaluation.generation import FeatureSpace, classifier_features, pca_features
from latentmap.evaluation.methods import METHODS, Estimator, Units
from latentmap.evaluation.probes import measure_model, measure_real
from latentmap.evaluation.realism import RealRows
from latentmap.evaluation.rows import sample_rows
from latentmap.evaluation.samplers import SAMPLERS
from latentmap.evaluation.scores import MISSING, Rows
from latentmap.exceptions import DataError

__all__: list[str] = []  # helpers of this project, which may change

N_DRAWS = 3000
"""The most points of each distribution, and the most real rows beside them."""
JUDGED = 16
"""Components with which random rows are judged, besides those of the maps."""
Claims = Sequence[int] | int | Literal["auto", "none"]

AUTOENCODER, VAE = "autoencoder", "vae"


class Study:
    """Measures of an autoencoder and a VAE over several fits.

    Parameters
    ----------
    components : sequence of int
        Numbers of components.
    train : Rows
        Training rows of the first split: they make the feature space.
    units : Units
        Units in which rows are compared.

    Attributes
    ----------
    space : FeatureSpace
        Where generated rows are compared with real ones, the same for all fits.
    first : dict
        Number of components to the estimators of the first fit, by the name of the method.
    """

    def __init__(self, components: Sequence[int], train: Rows, units: Units) -> None:
        self.space = feature_space(train, units)
        self.first: dict[int, dict[str, Any]] = {d: {} for d in components}
        self._units = units
        self._measured: dict[int, dict[str, list[Measured]]] = {d: {} for d in components}
        self._real: list[Measured] = []

    def take(self, fitted: Mapping[int, Mapping[str, Any]], train: Rows, new: Rows, seed: int) -> None:
        """Measure the models of one split, given by their numbers of components; fit those that are not given."""
        held_out = self._units(new.X[sample_rows(len(new.X), N_DRAWS, seed)])
        real = RealRows(self.space, held_out)
        settings: dict[str, Any] = {"n_draws": N_DRAWS, "random_state": seed}
        self._real.append(measure_real(train.X, real, self._units, **settings))
        for d, measured in self._measured.items():
            models = fitted.get(d) or {name: self._fit(name, d, seed, train) for name in (AUTOENCODER, VAE)}
            self.first[d] = self.first[d] or dict(models)
            for name, estimator in models.items():
                found = measure_model(estimator, train.X, new.X, real, self._units, **settings)
                measured.setdefault(name, []).append(found)

    def _fit(self, name: str, n_components: int, seed: int, train: Rows) -> Any:
        method = METHODS[name](n_components, seed, self._units)
        method.fit_map(train.X)
        assert isinstance(method, Estimator)
        return method.estimator

    def claims(self) -> tuple[Claim, ...]:
        """Return the claims with each number of components."""
        pairs = {d: (of[AUTOENCODER], of[VAE]) for d, of in self._measured.items()}
        return tuple(claim for d, pair in pairs.items() for claim in judge(d, *pair, self._real))

    def generated(self) -> tuple[GeneratedRows, ...]:
        """Return the measures of decoded random points of each model, those of real rows first."""
        return (
            GeneratedRows.of("real rows", None, "", self._real),
            *(
                GeneratedRows.of(METHODS[name].title, d, sampler, fits)
                for d, of in self._measured.items()
                for sampler in SAMPLERS
                for name, fits in of.items()
            ),
        )

    def described(self) -> dict[str, Any]:
        """Return what the numbers depend on, as plain JSON values."""
        return {
            "claims": list(self._measured),
            "feature_space": self.space.name,
            "classifier_accuracy": self.space.accuracy,
        }


def feature_space(train: Rows, units: Units) -> FeatureSpace:
    """Return the features of a classifier of the training rows, or their principal components without classes."""
    rows, classes = units(train.X), train.classes
    if classes is None:
        return pca_features(rows)
    known = classes != MISSING
    return classifier_features(rows[known], classes[known])


def components_of_claims(claims: Claims, n_components: int, size: int) -> tuple[int, ...]:
    """Return the numbers of components that the claims are measured with, ascending, for rows of a size.

    >>> components_of_claims("auto", 2, 784), components_of_claims("auto", 2, 13), components_of_claims((8,), 2, 784)
    ((2, 16), (2, 6), (8,))
    """
    if claims == "none":
        return ()
    if isinstance(claims, str) and claims != "auto":
        raise DataError(f"claims must be 'auto', 'none' or numbers of components, got {claims!r}")
    if isinstance(claims, str):
        return tuple(sorted({n_components, max(n_components, min(JUDGED, size // 2))}))
    given = claims if isinstance(claims, Iterable) else (claims,)
    for d in given:
        check_count("claims", d)
    return tuple(sorted({*given}))
