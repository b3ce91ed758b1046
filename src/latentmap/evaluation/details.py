"""What is known of places on a map: which to believe, how sure, dense and stretched they are; rows that are unusual."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from latentmap.data.sampling import split_rows
from latentmap.estimators.columns import numbers
from latentmap.estimators.validation import as_given, read_codes
from latentmap.evaluation.claims import latent_vectors
from latentmap.evaluation.methods import Units
from latentmap.evaluation.neighborhood import neighbor_ranks, row_trust
from latentmap.evaluation.rows import as_vectors, sample_rows, take
from latentmap.exceptions import DataError

REFERENCE_ROWS = 5000
"""Training rows among which neighbours are sought, at the most."""


@dataclass(frozen=True)
class Details:
    """One value for each row; see `map_details`.

    Attributes
    ----------
    codes : array of shape (n, d)
        The map.
    trust : array of shape (n,)
        Share of trust in the place of the row, 1 if its neighbours on the map are its neighbours in the data; about
        one half if they are any rows.
    uncertainty : array of shape (n,)
        Standard deviation of q(z|x), the geometric mean over the components, latent units; 0 for an autoencoder.
    density : array of shape (n,)
        Logarithm of the density of the aggregate posterior at the code, nats.
    magnification : array of shape (n,)
        Volume of decoded rows, in the model's units, for a unit of volume on the map.
    evidence : array of shape (n,)
        Lower bound on log p(x), nats; minus the squared error of reconstruction for a model without density.
    unusual : array of shape (n,)
        Whether the row is unlike those of the fit.
    false_alarm_rate : float
        Share of rows like those of the fit that are called unusual, at the most, in expectation.
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
        """Give codes and details side by side, as `COLUMNS` names them after the codes; unusual rows have a 1."""
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
    r"""Say for each row what is known of its place on the map, and whether it is unlike the rows of the fit.

    A row is unusual if its evidence is low or its code lies far from those of the fit. With e(x) the evidence and
    q(z) the density of the aggregate posterior at its code, each taken from its median and divided by its median
    absolute deviation over calibration rows,

    .. math:: t(x) = \max\Big(\frac{m_e - e(x)}{s_e}, \frac{m_q - \log q(z)}{s_q}\Big) > \tau,

    with tau the value that a share of `false_alarm_rate` of the calibration rows exceeds (conformal: rows drawn like
    these exceed it no more often in expectation; Vovk et al. 2005). Those are the rows that the fit held out, the
    same whenever it is given the same rows, or all rows where it held out none, when the rate is a little too low.

    Parameters
    ----------
    estimator
        Fitted.
    X : array of shape (n, ...)
        Rows, in the units of the data. Codes and evidence are those of what is there; for trust missing cells are
        filled, and whether a row is unusual is decided with a draw in them: the evidence of fewer cells is higher.
    reference : array of shape (m, ...), optional
        The rows that the model was fitted to, all and in their order; X itself if None.
    n_neighbors : int
        Neighbours on the map whose ranks in the data make the trust.
    false_alarm_rate : float
        In (0, 1). Fewer calibration rows than its inverse allow no less than one in their number.
    random_state : int
        Seed of the rows among which neighbours are sought, at most `REFERENCE_ROWS`, and of draws from q(z|x).

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
    >>> found = map_details(VAE(2, max_epochs=5, random_state=0).fit(X), X)
    >>> found.columns().shape, found.COLUMNS[0]
    ((1797, 8), 'trust')
    """
    if not 0 < false_alarm_rate < 1:
        raise DataError(f"false_alarm_rate must lie between 0 and 1, got {false_alarm_rate}")
    estimator, X = numbers(estimator, X)
    reference = numbers(estimator, reference)[1]
    asked, filled, drawn = _completed(estimator, X)
    known = (asked, filled, drawn) if reference is None else _completed(estimator, reference)
    known_asked, known_filled, known_drawn = known
    itself = reference is None and len(filled) <= REFERENCE_ROWS
    train, held_out = _split(estimator, len(known_filled))
    some = sample_rows(len(known_filled), REFERENCE_ROWS, random_state)
    look = np.asarray if estimator.table_ is None else estimator.encoder_inputs
    units = Units(look(known_filled))
    mean, deviation = (np.asarray(a, dtype=np.float64) for a in estimator.posterior(asked))
    near = None if itself else (units(look(take(known_filled, some))), estimator.transform(take(known_filled, some)))
    ranks = neighbor_ranks(units(look(filled)), mean, n_neighbors, near)
    draws = latent_vectors(estimator, take(known_filled, train), random_state)
    measures = [(evidence(estimator, rows), log_density(draws, Z)) for rows, Z in (
        (drawn, mean), (take(known_drawn, held_out), estimator.transform(take(known_asked, held_out))),
    )]  # fmt: skip
    (found, density), calibration = measures
    unusual, rate = _unusual((found, density), calibration, false_alarm_rate)
    return Details(
        codes=mean,
        trust=row_trust(ranks, len(filled) if itself else len(some) + 1),
        uncertainty=np.exp(np.log(np.maximum(deviation, 1e-300)).mean(1)) * (deviation > 0).all(1),
        density=density,
        magnification=magnification(estimator, mean),
        evidence=found if drawn is asked else evidence(estimator, asked),
        unusual=unusual,
        false_alarm_rate=rate,
    )


def _completed(estimator: Any, X: Any) -> tuple[Any, Any, Any]:
    """Give rows as they came, and with missing cells filled by their means, and by a draw.

    Distances need whole rows, and the bound on a whole row compares with others. Likelihoods can score a draw as they
    score the cells that are there; means need not be possible values.
    """
    if not estimator.takes_missing_:
        return X, X, X
    filled = estimator.impute(X)
    return X, filled, as_given(X, estimator.impute(X, 1)[0]) if estimator._has_score else filled


def evidence(estimator: Any, X: Any) -> Float[np.ndarray, " n"]:
    """ELBO of each row, nats; minus the mean squared error of its reconstruction for a model without density."""
    if estimator.has_score_:
        return np.asarray(estimator.score_samples(X), dtype=np.float64)
    errors = as_vectors(X) - as_vectors(estimator.reconstruct(X))
    return np.asarray(-np.square(errors).mean(1))


def log_density(draws: Any, Z: Any, n_neighbors: int = 10) -> Float[np.ndarray, " m"]:
    r"""Density of the draws' distribution at each place, nats, by the distance to the k-th nearest draw.

    .. math:: \log \hat q(z) = \log \frac{k}{n V_d r_k(z)^d}, \quad V_d \text{ the volume of the unit ball}

    Parameters
    ----------
    draws, Z : arrays of shape (n, d) and (m, d)
        One draw from q(z|x) for each row makes the aggregate posterior; places on the map.
    n_neighbors : int
        k; the fewer of it and n.

    References
    ----------
    Loftsgaarden and Quesenberry, A nonparametric estimate of a multivariate density function, 1965.

    Examples
    --------
    >>> draws = np.random.default_rng(0).normal(size=(100_000, 2))
    >>> bool(abs(log_density(draws, np.zeros((1, 2)), 500)[0] + np.log(2 * np.pi)) < 0.1)
    True
    """
    from scipy.special import gammaln
    from sklearn.neighbors import NearestNeighbors

    draws, Z = as_vectors(draws, "draws"), as_vectors(Z, "Z")
    centre = np.median(draws, axis=0)  # an offset would cancel in products
    draws, Z = draws - centre, Z - centre
    n, d = draws.shape
    k = min(n_neighbors, n)
    radius = NearestNeighbors(n_neighbors=k).fit(draws).kneighbors(Z)[0][:, -1]
    log_ball = d / 2 * np.log(np.pi) - gammaln(d / 2 + 1)
    return np.asarray(np.log(k / n) - log_ball - d * np.log(np.maximum(radius, 1e-12)))


def magnification(estimator: Any, Z: Any) -> Float[np.ndarray, " n"]:
    r"""How much the decoder stretches the map at each place, as a volume.

    .. math:: \sqrt{\det J^\top J}, \quad J = \partial\, \mathbb{E}[x|z] / \partial z

    with rows in the units of the model: distances on the map mean little where this is uneven. On a sphere it is the
    area of the sphere that is stretched: moves off it do not count.

    Parameters
    ----------
    estimator
        Fitted.
    Z : array of shape (n, d)
        Places on the map.

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
        if estimator.manifold_ == "sphere":  # nothing changes across it, which is no fold
            squared = squared + z[:, :, None] * z[:, None]
        volume: Tensor = torch.linalg.det(squared).clamp_min(0).sqrt()
        return volume

    codes = read_codes(estimator, np.asarray(Z, dtype=np.float64))
    return np.asarray(estimator._map(codes, stretch, samples=codes.shape[1]))


def _split(estimator: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that the fit trained on, and rows that it held out; all twice where it held out none."""
    fraction = estimator.validation_fraction if estimator.early_stopping else 0.0
    train, held_out = split_rows(n, fraction, estimator.seed_)
    return train, held_out if len(held_out) else train


def _unusual(
    found: tuple[np.ndarray, np.ndarray], calibration: tuple[np.ndarray, np.ndarray], rate: float
) -> tuple[np.ndarray, float]:
    """Which rows exceed the threshold of the calibration rows, and the rate at which rows like those do."""

    def oddness(measures: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        parts = []
        for values, usual in zip(measures, calibration, strict=True):
            middle = np.median(usual)
            parts.append((middle - values) / max(np.median(np.abs(usual - middle)), 1e-12))
        return np.asarray(np.max(parts, axis=0))

    n = len(calibration[0])
    allowed = max(1, int(rate * (n + 1)))  # of n + 1 rows alike, the new one is among the oddest so many
    threshold = np.sort(oddness(calibration))[n - allowed]
    return oddness(found) > threshold, allowed / (n + 1)
