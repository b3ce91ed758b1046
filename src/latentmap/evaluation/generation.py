"""Realism and variety of generated rows in a named feature space; every measure takes arrays.

The Frechet distance is computed in feature spaces fitted here, not in that of the published "FID": values compare only
within one space, which its name identifies.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from latentmap.data.formats.arrays import ArraySource
from latentmap.evaluation.rows import as_vectors
from latentmap.exceptions import DataError


@dataclass(frozen=True)
class FeatureSpace:
    """A named map from rows to features, and to class probabilities if it comes from a classifier.

    Parameters
    ----------
    name : str
        Kind of the features, and the fingerprint of the rows that they were fitted to.
    features : callable
        Rows (n, ...) to features (n, k).
    probabilities : callable, optional
        Rows (n, ...) to class probabilities (n, c); None without a classifier.
    accuracy : float, optional
        Accuracy of the classifier on held-out rows; None without any.
    """

    name: str
    features: Callable[[Any], Float[np.ndarray, "n k"]]
    probabilities: Callable[[Any], Float[np.ndarray, "n c"]] | None = None
    accuracy: float | None = None


def classifier_features(
    X: Any, y: Any, *, width: int = 128, validation_fraction: float = 0.2, random_state: int = 0
) -> FeatureSpace:
    """Return the feature space of the hidden layer of a small classifier trained on labelled rows.

    .. math:: h(x) = max(0, W_1 x + b_1), p(y|x) = softmax(W_2 h(x) + b_2)

    Parameters
    ----------
    X : array-like of shape (n, ...)
        Rows scaled to about one, such as [0, 1] or standard scores.
    y : array-like of shape (n,)
        Labels, of two classes or more.
    width : int, default=128
        Number of hidden units, which are the features.
    validation_fraction : float, default=0.2
        Fraction of rows held out to measure the classifier's accuracy.
    random_state : int, default=0
        Seed of the split, the initial weights and the order of rows.

    Returns
    -------
    FeatureSpace
        With class probabilities.

    Raises
    ------
    DataError
        If there are fewer than two classes, or labels and rows differ in number.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> space = classifier_features(X, X[:, 0] > 0, width=8)
    >>> space.name.partition(",")[0], space.features(X).shape, space.probabilities(X).shape
    ('MLP-classifier-8 penultimate', (60, 8), (60, 2))
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    rows, labels = as_vectors(X), np.asarray(y)
    if len(rows) != len(labels):
        raise DataError(f"a classifier needs one label a row, got {len(labels)} labels for {len(rows)} rows")
    if len(np.unique(labels)) < 2:
        raise DataError("a classifier needs rows of at least two classes: use pca_features where there are none")
    kept = np.random.default_rng(random_state).permutation(len(rows)) >= round(validation_fraction * len(rows))
    classifier = MLPClassifier(
        (width,),
        alpha=0.1,  # keeps the classifier unsure of noise and of blends, at no cost in accuracy
        learning_rate_init=2e-3,
        batch_size=min(128, int(kept.sum())),
        max_iter=30,
        random_state=random_state,
    )
    with warnings.catch_warnings():  # the number of epochs is fixed on purpose
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(rows[kept], labels[kept])
    name = f"MLP-classifier-{width} penultimate, trained on {_fingerprint(rows)}"
    weights, biases = classifier.coefs_[0], classifier.intercepts_[0]
    return FeatureSpace(
        name,
        features=lambda X: np.maximum(as_vectors(X) @ weights + biases, 0),
        probabilities=lambda X: classifier.predict_proba(as_vectors(X)),
        accuracy=float(classifier.score(rows[~kept], labels[~kept])) if not kept.all() else None,
    )


def pca_features(X: Any, *, n_components: int = 50) -> FeatureSpace:
    r"""Return the feature space of the leading principal components, for rows without labels.

    .. math:: h(x) = W (x - \bar{x})

    Parameters
    ----------
    X : array-like of shape (n, ...)
        Rows, in the units in which distances count.
    n_components : int, default=50
        Maximum number of components.

    Returns
    -------
    FeatureSpace
        Without class probabilities.

    Examples
    --------
    >>> space = pca_features(np.random.default_rng(0).normal(size=(60, 3)))
    >>> space.name.partition(",")[0], space.probabilities
    ('PCA-3', None)
    """
    from sklearn.decomposition import PCA

    rows = as_vectors(X)
    centre = rows.mean(axis=0)  # against cancellation, since scikit-learn centres after multiplying
    pca = PCA(min(n_components, *rows.shape), random_state=0).fit(rows - centre)
    name = f"PCA-{pca.n_components_}, fitted on {_fingerprint(rows)}"
    return FeatureSpace(name, features=lambda X: pca.transform(as_vectors(X) - centre))


def frechet_distance(real: Any, generated: Any) -> float:
    r"""Return the Frechet distance between Gaussians with the means and covariances of two sets of features.

    .. math:: \|\mu_1 - \mu_2\|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^{1/2})

    The squared 2-Wasserstein distance of those Gaussians, in squared feature units. It is biased upwards for few rows:
    compare only values from equal numbers of rows.

    Parameters
    ----------
    real, generated : array-like of shape (n, k) and (m, k)
        Features of real and of generated rows in one feature space; at least two rows each.

    Returns
    -------
    float
        0 for equal means and covariances.

    Raises
    ------
    DataError
        If a set has fewer than two rows, or the widths differ.

    References
    ----------
    Dowson and Landau, The Frechet distance between multivariate normal distributions, 1982; used on generated images
    by Heusel et al., GANs trained by a two time-scale update rule, 2017.

    Examples
    --------
    >>> a = np.random.default_rng(0).normal(size=(100, 3))
    >>> round(frechet_distance(a, a), 9), round(frechet_distance(a, a + 2), 9)
    (0.0, 12.0)
    """
    a, b = _same_width(real, generated)
    if min(len(a), len(b)) < 2:
        raise DataError(f"a covariance needs at least two rows on either side, got {len(a)} and {len(b)}")
    s1, s2 = np.atleast_2d(np.cov(a.T)), np.atleast_2d(np.cov(b.T))
    root = _symmetric_root(s1)
    # tr (S1 S2)^(1/2) = tr (R S2 R)^(1/2) with R = S1^(1/2): symmetric, so its eigenvalues are real and never negative
    cross = np.sqrt(np.linalg.eigvalsh(root @ s2 @ root).clip(0)).sum()
    return float(max(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(s1) + np.trace(s2) - 2 * cross, 0))


@dataclass(frozen=True)
class Confidence:
    """Confidence of a classifier, its largest class probability.

    Parameters
    ----------
    mean : float
        Mean over rows of max_c p(c|x), in (0, 1].
    fraction_sure : float
        Fraction of rows with max_c p(c|x) > 0.9.
    """

    mean: float
    fraction_sure: float


def confidence(space: FeatureSpace, X: Any) -> Confidence:
    r"""Return the confidence of the classifier of a feature space: low on blends of classes and on noise.

    .. math:: \frac{1}{n} \sum_i \max_c p(c|x_i)

    Parameters
    ----------
    space : FeatureSpace
        A feature space with class probabilities.
    X : array-like of shape (n, ...)
        Rows.

    Returns
    -------
    Confidence
        The mean confidence, and the fraction of rows with high confidence.

    Raises
    ------
    DataError
        If the feature space was made without labels.

    Examples
    --------
    >>> sure = FeatureSpace("sure", np.asarray, probabilities=lambda X: np.tile([0.95, 0.05], (len(X), 1)))
    >>> confidence(sure, np.zeros((4, 2)))
    Confidence(mean=0.95, fraction_sure=1.0)
    """
    if space.probabilities is None:
        raise DataError(f"confidence needs a classifier and {space.name} has none: use classifier_features")
    largest = space.probabilities(X).max(axis=1)
    return Confidence(float(largest.mean()), float((largest > 0.9).mean()))


@dataclass(frozen=True)
class Overlap:
    """Overlap of two sets of features, by balls that reach each row's k-th neighbour in its own set.

    Parameters
    ----------
    precision : float
        Fraction of generated rows inside some real row's ball: realism.
    recall : float
        Fraction of real rows inside some generated row's ball: variety.
    density : float
        Mean number of real balls around a generated row, over k: realism, robust to outliers; about 1 for equal sets.
    coverage : float
        Fraction of real rows whose ball contains a generated row: variety, robust to outliers.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def overlap(real: Any, generated: Any, n_neighbors: int = 5) -> Overlap:
    r"""Return precision, recall, density and coverage of generated features.

    With r_k(x) the distance from x to its k-th neighbour in its own set of N real or M generated rows:

    .. math::
        precision = \frac{1}{M} \sum_j 1[\exists i: \|y_j - x_i\| \le r_k(x_i)], \quad
        density = \frac{1}{kM} \sum_{i,j} 1[\|y_j - x_i\| \le r_k(x_i)], \quad
        coverage = \frac{1}{N} \sum_i 1[\min_j \|y_j - x_i\| \le r_k(x_i)]

    and recall is precision with the two sets exchanged.

    Parameters
    ----------
    real, generated : array-like of shape (n, d) and (m, d)
        Features of real and of generated rows in one feature space.
    n_neighbors : int, default=5
        The number k.

    Returns
    -------
    Overlap
        The four measures.

    Raises
    ------
    DataError
        If the widths differ, or a set has no more rows than neighbours.

    References
    ----------
    Kynkaanniemi et al., Improved precision and recall metric for assessing generative models, 2019; Naeem et al.,
    Reliable fidelity and diversity metrics for generative models, 2020.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> overlap(x, x + 100)
    Overlap(precision=0.0, recall=0.0, density=0.0, coverage=0.0)
    """
    a, b = _same_width(real, generated)
    if min(len(a), len(b)) <= n_neighbors:
        raise DataError(f"balls of {n_neighbors} neighbours need more rows than that, got {len(a)} and {len(b)}")
    real_radii, generated_radii = _radii(a, n_neighbors), _radii(b, n_neighbors)
    in_real, in_generated, covered = np.zeros(len(b), int), np.zeros(len(a), bool), np.zeros(len(a), bool)
    for rows, distances in _distance_blocks(a, b):
        inside = distances <= real_radii[rows, None]
        in_real += inside.sum(axis=0)
        covered[rows] = inside.any(axis=1)
        in_generated[rows] = (distances <= generated_radii).any(axis=1)
    precision, density = (in_real > 0).mean(), in_real.mean() / n_neighbors
    return Overlap(float(precision), float(in_generated.mean()), float(density), float(covered.mean()))


def _radii(rows: np.ndarray, n_neighbors: int) -> np.ndarray:
    """Return the distance of each row to its k-th neighbour; the row itself is the first, at distance 0."""
    blocks = (distances for _, distances in _distance_blocks(rows, rows))
    return np.concatenate([np.partition(block, n_neighbors, axis=1)[:, n_neighbors] for block in blocks])


def _distance_blocks(a: np.ndarray, b: np.ndarray, size: int = 1024) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    from scipy.spatial.distance import cdist

    for start in range(0, len(a), size):
        rows = np.arange(start, min(start + size, len(a)))
        yield rows, cdist(a[rows], b)


def _same_width(real: Any, generated: Any) -> tuple[np.ndarray, np.ndarray]:
    a, b = as_vectors(real, "real"), as_vectors(generated, "generated")
    if a.shape[1] != b.shape[1]:
        raise DataError(f"features must come from one space, got widths {a.shape[1]} and {b.shape[1]}")
    return a, b


def _symmetric_root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    root: np.ndarray = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    return root


def _fingerprint(rows: np.ndarray) -> str:
    return ArraySource(rows).fingerprint[:12]
