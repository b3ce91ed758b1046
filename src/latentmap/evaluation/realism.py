"""Generated rows beside real ones: density, coverage, Frechet distance, nearest real rows and balance of classes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from latentmap.evaluation import generation
from latentmap.evaluation.generation import FeatureSpace
from latentmap.evaluation.rows import as_vectors, squared_distances
from latentmap.exceptions import DataError

__all__ = ["RealRows"]

N_NEIGHBORS = 5
BLOCK = 1024


class RealRows:
    r"""Real rows in a feature space, and the measures of generated rows beside them.

    With h(x) the features, N real rows x, M generated rows y and r_k(x) the distance from h(x) to its k-th nearest real
    row, density and coverage are those of Naeem et al. (2020), see `latentmap.evaluation.generation.overlap`, and

    .. math::
        nearest = \frac1M \sum_j \min_i \|h(y_j) - h(x_i)\|, \quad
        balance = \frac12 \sum_c |\hat p_y(c) - \hat p_x(c)|

    with p the fractions of rows that the classifier of the feature space assigns to each class.

    Parameters
    ----------
    space : FeatureSpace
        The feature space.
    rows : array-like of shape (n, ...)
        Real rows that the models were not fitted to, in the units of the feature space.

    Raises
    ------
    DataError
        If there are no more rows than neighbours.

    References
    ----------
    Naeem et al., Reliable fidelity and diversity metrics for generative models, 2020. Heusel et al., GANs trained by a
    two time-scale update rule, 2017.

    Examples
    --------
    >>> draw = np.random.default_rng(0).normal
    >>> real = RealRows(generation.pca_features(draw(size=(300, 2))), draw(size=(300, 2)))
    >>> near, far = real.compare(draw(size=(300, 2))), real.compare(draw(size=(300, 2)) + 9)
    >>> near["coverage"]() > 0.9, far["coverage"](), near["nearest"]() < 0.2, far["nearest"]() > 5
    (True, 0.0, True, True)
    """

    def __init__(self, space: FeatureSpace, rows: Float[np.ndarray, "n _"]) -> None:
        self.space = space
        self._rows = as_vectors(rows)
        self._features = as_vectors(space.features(self._rows), "features")
        self._middle = np.median(self._features, axis=0)  # without an offset, products do not cancel
        if len(self._features) <= N_NEIGHBORS:
            raise DataError(f"balls of {N_NEIGHBORS} neighbours need more rows than that, got {len(self._features)}")

    @cached_property
    def _squared_radii(self) -> Float[np.ndarray, " n"]:
        real = self._features - self._middle
        blocks = (squared_distances(real[i : i + BLOCK], real) for i in range(0, len(real), BLOCK))
        return np.concatenate([np.partition(block, N_NEIGHBORS, axis=1)[:, N_NEIGHBORS] for block in blocks])

    @cached_property
    def _classes(self) -> Float[np.ndarray, " c"]:
        return _frequencies(_probabilities(self.space, self._rows))

    def compare(self, rows: Float[np.ndarray, "m _"]) -> dict[str, Callable[[], float]]:
        """Return the measures of generated rows by name, each computed when it is called.

        Parameters
        ----------
        rows : array-like of shape (m, ...)
            Generated rows in the units of the feature space.

        Returns
        -------
        dict of str to callable
            ``coverage``, ``density``, ``frechet``, ``nearest``, ``balance`` and ``confidence``; a call raises
            DataError where the measure does not apply.
        """
        compared = _Compared(self, rows)
        return {
            "coverage": lambda: compared.overlap[0],
            "density": lambda: compared.overlap[1],
            "frechet": lambda: generation.frechet_distance(self._features, compared.features),
            "nearest": lambda: compared.overlap[2],
            "balance": compared.balance,
            "confidence": lambda: generation.confidence(self.space, compared.rows).mean,
        }


class _Compared:
    """Generated rows beside real ones: what several measures share is computed once."""

    def __init__(self, real: RealRows, rows: Float[np.ndarray, "m _"]) -> None:
        self.real = real
        self.rows = rows

    @cached_property
    def features(self) -> Float[np.ndarray, "m k"]:
        return as_vectors(self.real.space.features(as_vectors(self.rows, "generated rows")), "features")

    @cached_property
    def overlap(self) -> tuple[float, float, float]:
        """Coverage, density, and the mean distance to the nearest real row."""
        generated, real = (features - self.real._middle for features in (self.features, self.real._features))
        inside, covered, nearest = 0, np.zeros(len(real), dtype=bool), []
        for start in range(0, len(generated), BLOCK):
            distances = squared_distances(generated[start : start + BLOCK], real)
            within = distances <= self.real._squared_radii
            inside += int(within.sum())
            covered |= within.any(axis=0)
            nearest.append(np.sqrt(distances.min(axis=1)))
        density = inside / (N_NEIGHBORS * len(generated))
        return float(covered.mean()), density, float(np.concatenate(nearest).mean())

    def balance(self) -> float:
        """Total variation distance between the classes of generated and of real rows."""
        classes = _frequencies(_probabilities(self.real.space, self.rows))
        return float(np.abs(classes - self.real._classes).sum() / 2)


def _probabilities(space: FeatureSpace, rows: Float[np.ndarray, "n _"]) -> Float[np.ndarray, "n c"]:
    if space.probabilities is None:
        raise DataError("classes need a classifier: rows without labels of two classes or more have none")
    return space.probabilities(rows)


def _frequencies(probabilities: Float[np.ndarray, "n c"]) -> Float[np.ndarray, " c"]:
    likeliest: Int[np.ndarray, " n"] = probabilities.argmax(axis=1)
    return np.bincount(likeliest, minlength=probabilities.shape[1]) / len(likeliest)
