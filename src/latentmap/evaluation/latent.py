r"""Compactness and smoothness of a latent space: spread, gaps and decoding, in numbers that compare between models.

A network absorbs any affine map of its codes into its first layer, so the unit, the axes and the origin of a latent
space are arbitrary. All measures are therefore invariant to invertible affine maps of the codes, except those in latent
units (`spread`, `active_components` and the divergence from the prior). What needs a scale is computed on whitened
codes, w = S^{-1/2} (z - m) with m and S the mean and covariance of the codes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from latentmap.evaluation.rows import as_vectors, sample_rows
from latentmap.evaluation.whitening import Whitening
from latentmap.exceptions import DataError

Codes = Float[np.ndarray, "n d"]
Decode = Callable[[Codes], Any]
"""Codes (n, d) to rows (n, ...), in units in which distances count."""


def spread(codes: Any) -> float:
    r"""Return the root mean square distance of the codes from their mean, per component, in latent units.

    .. math:: \sqrt{tr(S) / d}

    Parameters
    ----------
    codes : array-like of shape (n, d)
        Latent vectors.

    Returns
    -------
    float
        1 for draws from N(0, I); arbitrary for an autoencoder, whose latent space has no scale.

    Examples
    --------
    >>> spread([[-3.0, 0.0], [3.0, 0.0], [0.0, -3.0], [0.0, 3.0]])
    2.121...
    """
    return float(np.sqrt(as_vectors(codes, "codes").var(axis=0).mean()))


def tail_ratio(codes: Any, quantile: float = 0.99) -> float:
    r"""Return the radius that contains nearly all codes over the radius that contains half of them.

    .. math:: Q_{0.99}(\|w\|) / Q_{0.5}(\|w\|)

    Parameters
    ----------
    codes : array-like of shape (n, d)
        Latent vectors.
    quantile : float, default=0.99
        Fraction of the codes within the larger radius.

    Returns
    -------
    float
        For a Gaussian :math:`\sqrt{\chi^2_{d,0.99} / \chi^2_{d,0.5}}`: 2.58 in two dimensions, 1.39 in twenty.

    Examples
    --------
    >>> round(tail_ratio(np.random.default_rng(0).normal(size=(100_000, 2))), 1)
    2.6
    """
    codes = as_vectors(codes, "codes")
    radii = np.linalg.norm(Whitening.of(codes)(codes), axis=1)
    return float(np.quantile(radii, quantile) / np.median(radii))


def negentropy(codes: Any, n_neighbors: int = 5, random_state: int = 0) -> float:
    r"""Estimate the divergence of the codes from the Gaussian with their mean and covariance, in nats.

    .. math:: KL(q \| N(m, S)) = H(N(m, S)) - H(q) \approx \frac{d}{n} \sum_i \log r_k(g_i) - \log r_k(w_i)

    with r_k the distance to the k-th neighbour among the codes, or among as many draws g from N(0, I). Its exponential
    is the ratio of the volumes that the Gaussian and the codes fill.

    Parameters
    ----------
    codes : array-like of shape (n, d)
        More codes than neighbours; equal codes count once.
    n_neighbors : int, default=5
        The number k.
    random_state : int, default=0
        Seed of the draws.

    Returns
    -------
    float
        0 for a Gaussian, up to the noise of the estimate, and positive otherwise.

    References
    ----------
    The entropy estimate of Kozachenko and Leonenko, 1987, calibrated on draws: its bias cancels where q is Gaussian.

    Examples
    --------
    >>> ring = np.random.default_rng(0).normal(size=(2000, 2))
    >>> ring /= np.linalg.norm(ring, axis=1, keepdims=True)
    >>> negentropy(ring) > 1
    True
    """
    codes = np.unique(as_vectors(codes, "codes"), axis=0)
    n, d = codes.shape
    _check_count(n, n_neighbors)
    draws = np.random.default_rng(random_state).normal(size=(n, d))
    of_codes, of_draws = (_neighbor_distances(w, n_neighbors) for w in (Whitening.of(codes)(codes), draws))
    return float(d * (np.log(of_draws).mean() - np.log(of_codes).mean()))


def divergence_from_standard_normal(codes: Any, n_neighbors: int = 5, random_state: int = 0) -> float:
    r"""Estimate the divergence of the aggregate posterior from the prior N(0, I), in nats, from one draw for each row.

    .. math:: KL(q \| N(0, I)) = KL(q \| N(m, S)) + \tfrac12 (tr S + m^T m - d - \log\det S)

    The first term is estimated by `negentropy`, the second is exact.

    Parameters
    ----------
    codes : array-like of shape (n, d)
        One draw from q(z|x) for each row.
    n_neighbors, random_state : int
        As for `negentropy`.

    Returns
    -------
    float
        0 for draws from the prior, up to the noise of the estimate.

    Examples
    --------
    >>> shifted = np.random.default_rng(0).normal(size=(5000, 2)) + [1.0, 0.0]
    >>> round(divergence_from_standard_normal(shifted), 1)
    0.5
    """
    codes = as_vectors(codes, "codes")
    mean, covariance = codes.mean(axis=0), np.atleast_2d(np.cov(codes.T))
    moments = (np.trace(covariance) + mean @ mean - len(mean) - np.linalg.slogdet(covariance)[1]) / 2
    return negentropy(codes, n_neighbors, random_state) + float(moments)


def gap_fraction(codes: Any, reference: Any, probes: Any, n_neighbors: int = 5) -> float:
    r"""Return the fraction of probes in a gap of the codes: the nearest code is farther than the k-th nearest draw.

    With n codes, n reference draws y and m probes p, the latter two from one distribution (such as a model's sampling
    distribution), in whitened coordinates,

    .. math:: \frac{1}{m} \sum_j 1[\min_i \|p_j - z_i\| > r_k(p_j)], \quad
              r_k(p) \text{ the distance from p to the k-th nearest reference draw.}

    The draws set the scale, so there is no length to choose in any number of dimensions. Where the density of codes is
    rho times that of the draws, a probe is in a gap with probability (1 + rho)^-k: for k = 5, 3% where they are equal,
    62% where codes are ten times rarer, 100% where there are none.

    Parameters
    ----------
    codes : array-like of shape (n, d)
        Latent vectors of rows of data.
    reference, probes : array-like of shape (n', d) and (m, d)
        Independent draws of one distribution. Equal numbers of codes and reference draws are used: the fewer of both.
    n_neighbors : int, default=5
        The number k.

    Returns
    -------
    float
        In [0, 1]; 2^-k if the codes come from the distribution of the draws.

    Raises
    ------
    DataError
        If there are no more codes or draws than neighbours, or widths differ.

    Examples
    --------
    >>> draw = np.random.default_rng(0).normal
    >>> round(gap_fraction(draw(size=(2000, 2)), draw(size=(2000, 2)), draw(size=(2000, 2))), 2)
    0.03
    >>> round(gap_fraction(draw(size=(2000, 2)) + 9, draw(size=(2000, 2)), draw(size=(2000, 2))), 2)
    1.0
    """
    return float(in_gaps(codes, reference, probes, n_neighbors).mean())


def in_gaps(codes: Any, reference: Any, probes: Any, n_neighbors: int = 5) -> Bool[np.ndarray, " m"]:
    """Return which probes lie in a gap of the codes, by the rule of `gap_fraction`.

    Parameters
    ----------
    codes, reference, probes : array-like of shape (n, d), (n', d) and (m, d)
        As for `gap_fraction`.
    n_neighbors : int, default=5
        The number k.

    Returns
    -------
    ndarray of bool of shape (m,)
        Whether each probe lies in a gap.

    Examples
    --------
    >>> draw = np.random.default_rng(0).normal
    >>> in_gaps(draw(size=(500, 2)), draw(size=(500, 2)) * 3, [[0.0, 0.0], [6.0, 6.0]])
    array([False,  True])
    """
    from sklearn.neighbors import NearestNeighbors

    codes, reference, probes = (as_vectors(a, "codes and draws") for a in (codes, reference, probes))
    if not codes.shape[1] == reference.shape[1] == probes.shape[1]:
        widths = ", ".join(str(a.shape[1]) for a in (codes, reference, probes))
        raise DataError(f"codes, reference and probes must have equal widths, got {widths}")
    n = min(len(codes), len(reference))
    _check_count(n, n_neighbors)
    white = Whitening.of(codes)
    to_code, to_draw = (
        NearestNeighbors(n_neighbors=k).fit(white(a[sample_rows(len(a), n)])).kneighbors(white(probes))[0][:, -1]
        for a, k in ((codes, 1), (reference, n_neighbors))
    )
    return np.asarray(to_code > to_draw)


def active_components(means: Any, threshold: float = 0.01) -> Bool[np.ndarray, " d"]:
    r"""Return which components are active: their posterior means vary over the rows.

    .. math:: Var_x(E_{q(z|x)}[z_i]) > 0.01

    Parameters
    ----------
    means : array-like of shape (n, d)
        Posterior means, for a prior of variance 1.
    threshold : float, default=0.01
        Variance above which a component is active.

    Returns
    -------
    ndarray of bool of shape (d,)
        Whether each component is active.

    References
    ----------
    Burda et al., Importance weighted autoencoders, 2016.

    Examples
    --------
    >>> active_components(np.random.default_rng(0).normal(size=(100, 2)) * [1.0, 0.01])
    array([ True, False])
    """
    return np.asarray(as_vectors(means, "means").var(axis=0) > threshold)


@dataclass(frozen=True)
class Lines:
    """Smoothness of decoding along straight lines between codes.

    Parameters
    ----------
    length_ratio : float
        Length of the decoded curves over that of the chords between their ends, both summed over all lines: 1 for an
        affine decoder, more for a longer detour.
    largest_step : float
        Largest step of a decoded curve over its mean step, mean over lines: 1 for an affine decoder, the number of
        steps for a single jump.
    midpoints : ndarray of shape (m, ...)
        Decoded midpoints of the lines.
    """

    length_ratio: float
    largest_step: float
    midpoints: np.ndarray


def lines(decode: Decode, starts: Any, ends: Any, n_steps: int = 32) -> Lines:
    r"""Decode along straight lines between pairs of codes, and measure how smoothly the rows change.

    With x_t the decoded row at z_0 + t (z_1 - z_0) / T, t = 0 ... T, and the steps s_t = \|x_t - x_{t-1}\|,

    .. math:: \frac{\sum \sum_t s_t}{\sum \|x_T - x_0\|}, \quad \frac1m \sum \frac{\max_t s_t}{\frac1T \sum_t s_t}

    Parameters
    ----------
    decode : callable
        Codes to rows.
    starts, ends : array-like of shape (m, d)
        The ends of the lines.
    n_steps : int, default=32
        The number T, even so that one step ends at the midpoint.

    Returns
    -------
    Lines
        The two measures, and the decoded midpoints.

    Raises
    ------
    DataError
        If `n_steps` is odd, or the decoder returns the same row everywhere.

    Examples
    --------
    >>> curves = lines(lambda z: z @ [[1.0, 0.0, 2.0], [0.0, 3.0, 1.0]], [[0.0, 0.0]], [[1.0, 2.0]])
    >>> round(curves.length_ratio, 9), round(curves.largest_step, 9), curves.midpoints
    (1.0, 1.0, array([[0.5, 3. , 2. ]]))
    """
    starts, ends = as_vectors(starts, "starts"), as_vectors(ends, "ends")
    if n_steps < 2 or n_steps % 2:
        raise DataError(f"n_steps must be an even number of 2 or more, got {n_steps}")
    t = np.linspace(0, 1, n_steps + 1)[:, None, None]
    codes = (1 - t) * starts + t * ends  # (T + 1, m, d)
    decoded = np.asarray(decode(codes.reshape(-1, starts.shape[1])))
    decoded = decoded.reshape(n_steps + 1, len(starts), *decoded.shape[1:])
    rows = decoded.reshape(n_steps + 1, len(starts), -1).astype(np.float64)
    if not np.isfinite(rows).all():
        raise DataError("decoded rows hold NaN or infinity: there is no path to measure")
    steps = np.linalg.norm(np.diff(rows, axis=0), axis=-1)  # (T, m)
    chords = np.linalg.norm(rows[-1] - rows[0], axis=-1)
    moving = steps.max(axis=0) > 0
    if not moving.any() or not chords.sum() > 0:
        raise DataError("the decoder returns the same row at both ends of every line: there is no path to measure")
    largest = (steps.max(axis=0)[moving] / steps.mean(axis=0)[moving]).mean()
    return Lines(float(steps.sum() / chords.sum()), float(largest), decoded[n_steps // 2])


def sensitivity(decode: Decode, codes: Any, noise: float = 0.1, random_state: int = 0) -> float:
    r"""Return how strongly decoded rows change with small moves of the codes, relative to an affine decoder.

    .. math:: \frac{E \|d(z + \delta) - d(z)\|^2}{\epsilon^2 tr Cov(d(z))}, \quad \delta \sim N(0, \epsilon^2 S)

    Parameters
    ----------
    decode : callable
        Codes to rows.
    codes : array-like of shape (n, d)
        Latent vectors.
    noise : float, default=0.1
        The size epsilon of the moves, in units of the codes' standard deviation.
    random_state : int, default=0
        Seed of the moves.

    Returns
    -------
    float
        1 for any affine decoder; more for one that changes much within small parts of the space.

    Raises
    ------
    DataError
        If the decoder returns the same row for all codes.

    Examples
    --------
    >>> codes = np.random.default_rng(0).normal(size=(2000, 2))
    >>> abs(sensitivity(lambda z: z @ [[1.0, 2.0], [0.0, 3.0]], codes) - 1) < 0.1
    True
    """
    codes = as_vectors(codes, "codes")
    moves = Whitening.of(codes).colour(np.random.default_rng(random_state).normal(size=codes.shape))
    at_codes, moved = (as_vectors(decode(z), "decoded rows") for z in (codes, codes + noise * moves))
    variance = at_codes.var(axis=0).sum()
    if not variance > 0:
        raise DataError("the decoder returns the same row for all codes: there is no change to compare with")
    return float(np.square(moved - at_codes).sum(axis=1).mean() / (noise**2 * variance))


def _neighbor_distances(rows: np.ndarray, n_neighbors: int) -> np.ndarray:
    from sklearn.neighbors import NearestNeighbors

    distances: np.ndarray = NearestNeighbors(n_neighbors=n_neighbors).fit(rows).kneighbors()[0][:, -1]
    return distances


def _check_count(n: int, n_neighbors: int) -> None:
    if not 1 <= n_neighbors < n:
        raise DataError(f"{n_neighbors} neighbours need more distinct codes than that, got {n}: pass more rows")
