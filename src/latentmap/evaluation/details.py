"""Diagnostics of each row on a map: trust, uncertainty, density and magnification; detection of unusual rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from latentmap.data.sampling import split_rows
from latentmap.estimators.columns import numbers
from latentmap.estimators.rows import as_given, read_codes
from latentmap.evaluation.codes import latent_vectors
from latentmap.evaluation.methods import Units
from latentmap.evaluation.nearest import Nearest
from latentmap.evaluation.neighborhood import neighbor_ranks, row_trust
from latentmap.evaluation.rows import as_vectors, sample_rows, take
from latentmap.exceptions import DataError

__all__ = ["Details", "NeighborDensity", "log_density", "magnification", "map_details"]

REFERENCE_ROWS = 5000
"""Maximum number of training rows among which neighbours are searched."""


@dataclass(frozen=True)
class Details:
    """One value for each row; see `map_details`.

    Parameters
    ----------
    codes : ndarray of shape (n, d)
        The map.
    trust : ndarray of shape (n,)
        Trustworthiness of the row: 1 if its neighbours on the map are its neighbours in the data, about one half if
        they are random rows.
    uncertainty : ndarray of shape (n,)
        Standard deviation of q(z|x), the geometric mean over the components, latent units; 0 for an autoencoder.
    density : ndarray of shape (n,)
        Logarithm of the density of the aggregate posterior at the code, nats.
    magnification : ndarray of shape (n,)
        Volume of decoded rows, in the model's units, per unit of volume on the map.
    evidence : ndarray of shape (n,)
        Lower bound on log p(x), nats; minus the squared error of reconstruction for a model without density.
    unusual : ndarray of shape (n,)
        Whether the row is unlike those of the fit.
    false_alarm_rate : float
        Upper bound on the expected fraction of rows like those of the fit that are called unusual.
    """

    codes: Float[np.ndarray, "n d"]
    trust: Float[np.ndarray, " n"]
    uncertainty: Float[np.ndarray, " n"]
    density: Float[np.ndarray, " n"]
    magnification: Float[np.ndarray, " n"]
    evidence: Float[np.ndarray, " n"]
    unusual: Bool[np.ndarray, " n"]
    false_alarm_rate: float

    COLUMNS = ("trust", "uncertainty", "density", "magnification", "evidence", "unusual")

    def columns(self) -> Float[np.ndarray, "n c"]:
        """Return the codes followed by the details in the order of `COLUMNS`; unusual rows have a 1."""
        return np.column_stack([self.codes, *(getattr(self, name) for name in self.COLUMNS)])


def map_details(
    estimator: Any,
    X: Any,
    reference: Any = None,
    *,
    n_neighbors: int = 15,
    false_alarm_rate: float = 0.01,
    random_state: int = 0,
) -> Details:
    r"""Return diagnostics of each row on the map, and whether it is unlike the rows of the fit.

    A row is unusual if its evidence is low or its code lies far from those of the fit. With e(x) the evidence and
    q(z) the density of the aggregate posterior at its code, each taken from its median and divided by its median
    absolute deviation over calibration rows,

    .. math:: t(x) = \max\Big(\frac{m_e - e(x)}{s_e}, \frac{m_q - \log q(z)}{s_q}\Big) > \tau,

    with tau the value that a fraction `false_alarm_rate` of the calibration rows exceeds (conformal: rows of the same
    distribution exceed it no more often in expectation; Vovk et al. 2005). Those are the rows that the fit held out, or
    all rows where it held out none, when the rate is a little too low.

    Parameters
    ----------
    estimator : estimator
        Fitted estimator.
    X : array-like of shape (n, ...)
        Rows, in the units of the data. Codes and evidence are those of the observed cells. Trust is computed with
        missing cells imputed, `unusual` with draws in their place: the evidence of fewer cells is higher.
    reference : array-like of shape (m, ...), optional
        All rows that the model was fitted to, in the same order; X if None.
    n_neighbors : int, default=15
        Neighbours on the map whose ranks in the data make the trust.
    false_alarm_rate : float, default=0.01
        In (0, 1); at least the inverse of the number of calibration rows is used.
    random_state : int, default=0
        Seed of the sample of at most `REFERENCE_ROWS` rows that are searched for neighbours, and of draws from q(z|x).

    Returns
    -------
    Details
        One value of each diagnostic for each row.

    Raises
    ------
    DataError
        If the rate does not lie between 0 and 1, or there are fewer reference rows than neighbours.

    References
    ----------
    Bishop, Svensen and Williams, Magnification factors for the GTM algorithm, 1997. Vovk, Gammerman and Shafer,
    Algorithmic learning in a random world, 2005.

    Examples
    --------
    >>> from latentmap import VAE, load_dataset
    >>> X, y = load_dataset("digits")
    >>> details = map_details(VAE(2, max_epochs=5, random_state=0).fit(X), X)
    >>> details.columns().shape, details.COLUMNS[0]
    ((1797, 8), 'trust')
    """
    if not 0 < false_alarm_rate < 1:
        raise DataError(f"false_alarm_rate must lie between 0 and 1, got {false_alarm_rate}")
    estimator, X = numbers(estimator, X)
    reference = numbers(estimator, reference)[1]
    rows = _Completed.of(estimator, X)
    fitted = rows if reference is None else _Completed.of(estimator, reference)
    within = reference is None and len(rows.filled) <= REFERENCE_ROWS
    train, held_out = _split(estimator, len(fitted.filled))
    sample = sample_rows(len(fitted.filled), REFERENCE_ROWS, random_state)
    numeric = np.asarray if estimator.table_ is None else estimator.encoder_inputs
    units = Units(numeric(fitted.filled))
    mean, deviation = (np.asarray(a, dtype=np.float64) for a in estimator._located(rows.given))
    searched = None if within else take(fitted.filled, sample)
    neighbors = None if within else (units(numeric(searched)), estimator.transform(searched))
    ranks = neighbor_ranks(units(numeric(rows.filled)), mean, n_neighbors, neighbors)
    draws = latent_vectors(estimator, take(fitted.filled, train), random_state)
    scores = evidence(estimator, rows.drawn), log_density(draws, mean)
    calibration_codes = estimator.transform(take(fitted.given, held_out))
    calibration = evidence(estimator, take(fitted.drawn, held_out)), log_density(draws, calibration_codes)
    unusual, rate = _unusual(scores, calibration, false_alarm_rate)
    return Details(
        codes=mean,
        trust=row_trust(ranks, len(rows.filled) if within else len(sample) + 1),
        uncertainty=np.exp(np.log(np.maximum(deviation, 1e-300)).mean(1)) * (deviation > 0).all(1),
        density=scores[1],
        magnification=magnification(estimator, mean),
        evidence=scores[0] if rows.drawn is rows.given else evidence(estimator, rows.given),
        unusual=unusual,
        false_alarm_rate=rate,
    )


class _Completed(NamedTuple):
    """Rows as given, with missing cells filled by their means, and by a draw.

    Distances need whole rows, and the bound on a whole row compares with others. Likelihoods can score a draw as they
    score observed cells; means need not be possible values.
    """

    given: Any
    filled: Any
    drawn: Any

    @classmethod
    def of(cls, estimator: Any, X: Any) -> _Completed:
        if not estimator.takes_missing_:
            return cls(X, X, X)
        filled = estimator.impute(X)
        if not estimator.has_score_:
            return cls(X, filled, filled)
        return cls(X, filled, as_given(X, estimator.impute(X, 1)[0], estimator.data_schema_.names))


def evidence(estimator: Any, X: Any) -> Float[np.ndarray, " n"]:
    """Return the ELBO of each row, nats; minus the mean squared error of reconstruction for a model without density."""
    if estimator.has_score_:
        return np.asarray(estimator.score_samples(X), dtype=np.float64)
    errors = as_vectors(X) - as_vectors(estimator.reconstruct(X))
    return np.asarray(-np.square(errors).mean(1))


def log_density(draws: Any, Z: Any, n_neighbors: int = 10) -> Float[np.ndarray, " m"]:
    r"""Estimate the log-density of draws at each point from the distance to the k-th nearest draw.

    .. math:: \log \hat q(z) = \log \frac{k}{n V_d r_k(z)^d}, \quad V_d \text{ the volume of the unit ball}

    Parameters
    ----------
    draws : array-like of shape (n, d)
        Draws, such as one from q(z|x) for each row for the aggregate posterior.
    Z : array-like of shape (m, d)
        Points.
    n_neighbors : int, default=10
        The number k, at most n.

    Returns
    -------
    ndarray of shape (m,)
        Log-densities in nats.

    References
    ----------
    Loftsgaarden and Quesenberry, A nonparametric estimate of a multivariate density function, 1965.

    Examples
    --------
    >>> draws = np.random.default_rng(0).normal(size=(100_000, 2))
    >>> bool(abs(log_density(draws, np.zeros((1, 2)), 500)[0] + np.log(2 * np.pi)) < 0.1)
    True
    """
    return NeighborDensity(draws, n_neighbors)(Z)


class NeighborDensity:
    """Log-density of draws at any points, which are searched for the nearest draws; see `log_density`.

    Parameters
    ----------
    draws : array-like of shape (n, d)
        Draws.
    n_neighbors : int, default=10
        The number k, at most n.

    Examples
    --------
    >>> density = NeighborDensity(np.random.default_rng(0).normal(size=(1000, 2)))
    >>> bool(density([[0.0, 0.0]]) > density([[3.0, 3.0]]))
    True
    """

    def __init__(self, draws: Any, n_neighbors: int = 10) -> None:
        from scipy.special import gammaln

        draws = as_vectors(draws, "draws")
        n, self.d = draws.shape
        k = min(n_neighbors, n)
        self._centre = np.median(draws, axis=0)  # an offset would cancel in products
        self._k, self._nearest = k, Nearest(draws - self._centre)
        log_ball = self.d / 2 * np.log(np.pi) - gammaln(self.d / 2 + 1)
        self._constant = float(np.log(k / n) - log_ball)

    def __call__(self, Z: Any) -> Float[np.ndarray, " m"]:
        """Return the log-density at points (m, d), nats."""
        radius = self._nearest(as_vectors(Z, "Z") - self._centre, self._k)[0][:, -1]
        return np.asarray(self._constant - self.d * np.log(np.maximum(radius, 1e-12)))


def magnification(estimator: Any, Z: Any) -> Float[np.ndarray, " n"]:
    r"""Return the factor by which the decoder magnifies volumes at each point of the map.

    .. math:: \sqrt{\det J^\top J}, \quad J = \partial\, \mathbb{E}[x|z] / \partial z

    with rows in the units of the model: distances on the map mean little where this is uneven. On a sphere only
    tangential directions count.

    Parameters
    ----------
    estimator : estimator
        Fitted estimator.
    Z : array-like of shape (n, d)
        Codes.

    Returns
    -------
    ndarray of shape (n,)
        Magnification factors.

    Examples
    --------
    >>> from latentmap import VAE, load_dataset
    >>> vae = VAE(2, max_epochs=2, random_state=0).fit(load_dataset("digits")[0])
    >>> magnification(vae, [[0.0, 0.0]]).shape
    (1,)
    """
    onto = estimator.model_.parts.posterior.onto

    def stretch(model: Any, scaling: Any, z: Tensor) -> Tensor:
        columns = []
        for axis in torch.eye(z.shape[1], dtype=z.dtype, device=z.device):
            _, column = torch.autograd.functional.jvp(
                lambda at: model.decode(onto(at)).mean.flatten(1), z, axis.expand_as(z).clone()
            )
            columns.append(column)
        J = torch.stack(columns, 2)  # (B, P, D)
        squared = J.mT @ J
        if estimator.manifold_ == "sphere":  # the decoder is constant along the radius
            squared = squared + z[:, :, None] * z[:, None]
        volume: Tensor = torch.linalg.det(squared).clamp_min(0).sqrt()
        return volume

    codes = read_codes(estimator.state_, np.asarray(Z, dtype=np.float64))
    return np.asarray(estimator._map(codes, stretch, samples=codes.shape[1]))


def _split(estimator: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the training rows and of the held-out rows; all rows twice where none were held out."""
    fraction = estimator.validation_fraction if estimator.early_stopping else 0.0
    train, held_out = split_rows(n, fraction, estimator.seed_)
    return train, held_out if len(held_out) else train


def _unusual(
    scores: tuple[np.ndarray, np.ndarray], calibration: tuple[np.ndarray, np.ndarray], rate: float
) -> tuple[np.ndarray, float]:
    """Return which rows exceed the threshold of the calibration rows, and the rate at which rows like those do."""

    def oddness(scores: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        parts = []
        for values, usual in zip(scores, calibration, strict=True):
            median = np.median(usual)
            parts.append((median - values) / max(np.median(np.abs(usual - median)), 1e-12))
        return np.asarray(np.max(parts, axis=0))

    n = len(calibration[0])
    allowed = max(1, int(rate * (n + 1)))  # of n + 1 exchangeable rows, the new one is among the oddest `allowed`
    threshold = np.sort(oddness(calibration))[n - allowed]
    return oddness(scores) > threshold, allowed / (n + 1)
