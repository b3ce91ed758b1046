r"""How a latent space lies and how it decodes: spread, gaps and smoothness, in numbers that compare between models.

A network absorbs any affine map of its codes into its first layer, so the unit, the axes and the origin of a latent
space say nothing. Every measure here is therefore the same for codes z and for any invertible affine map of them, but
those in latent units (`spread`, `active_components` and the divergence from the prior). What needs a scale is taken on
whitened codes, w = S^{-1/2} (z - m) with m and S the mean and covariance of the codes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from latentmap.evaluation.rows import as_vectors, sample_rows
from latentmap.exceptions import DataError

Codes = Float[np.ndarray, "n d"]
Decode = Callable[[Codes], Any]
"""Codes (n, d) to rows (n, ...), in units in which distances shall count."""


def spread(codes: Any) -> float:
    r"""Root mean square distance of the codes from their mean, per component, in latent units.

    .. math:: \sqrt{tr(S) / d}

    Not free of scale: 1 for draws from N(0, I), to which a VAE's rate pulls its codes; anything for an autoencoder.

    Examples
    --------
    >>> spread([[-3.0, 0.0], [3.0, 0.0], [0.0, -3.0], [0.0, 3.0]])
    2.121...
    """
    return float(np.sqrt(as_vectors(codes, "codes").var(axis=0).mean()))


def tail_ratio(codes: Any, share: float = 0.99) -> float:
    r"""Radius that holds nearly all codes over the radius that holds half of them: how far the tails reach.

    .. math:: Q_{0.99}(\|w\|) / Q_{0.5}(\|w\|)

    Parameters
    ----------
    codes : array of shape (n, d)
    share : float
        The share to hold; less than one, so that a single code does not decide.

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
    return float(np.quantile(radii, share) / np.median(radii))


def negentropy(codes: Any, n_neighbors: int = 5, random_state: int = 0) -> float:
    r"""Divergence of the codes from the Gaussian of their own mean and covariance, in nats.

    .. math:: KL(q \| N(m, S)) = H(N(m, S)) - H(q) \approx \frac{d}{n} \sum_i \log r_k(g_i) - \log r_k(w_i)

    with r_k the distance to the k-th neighbour among the codes, or among as many draws g from N(0, I). Its exponential
    says how many times less volume the codes fill than their Gaussian does.

    Parameters
    ----------
    codes : array of shape (n, d)
        More codes than neighbours; equal codes count once.
    n_neighbors, random_state : int
        k, and the seed of the draws.

    Returns
    -------
    float
        0 for a Gaussian in any number of dimensions, up to the noise of the estimate, and positive otherwise.

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
    r"""Divergence of the aggregate posterior from the prior N(0, I), in nats, from one vector drawn for each row.

    .. math:: KL(q \| N(0, I)) = KL(q \| N(m, S)) + \tfrac12 (tr S + m^T m - d - \log\det S)

    the first term by `negentropy`, whose parameters and errors these are; the second from mean and covariance, exactly.

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
    r"""Share of probed places that lie in a gap: around them, draws come k times before the first code does.

    With n codes, n reference draws y and m probes p, the latter two from one distribution (a model's own sampling
    distribution, say), in whitened coordinates,

    .. math:: \frac{1}{m} \sum_j 1[\min_i \|p_j - z_i\| > r_k(p_j)], \quad
              r_k(p) \text{ the distance from p to the k-th nearest reference draw.}

    The distribution itself sets what is near, so there is no length to choose, in 2 dimensions or in 20. Where the
    density of codes is rho times that of the draws, a probe is in a gap with probability (1 + rho)^-k: for k = 5, 3%
    where they are equal, 62% where codes are ten times rarer, 100% where there are none.

    Parameters
    ----------
    codes : array of shape (n, d)
        Latent vectors of rows of data.
    reference, probes : arrays of shape (n', d) and (m, d)
        Independent draws of one distribution. Equal numbers of codes and reference draws are used: the fewer of both.
    n_neighbors : int
        k.

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
    from sklearn.neighbors import NearestNeighbors

    codes, reference, probes = (as_vectors(a, "codes and draws") for a in (codes, reference, probes))
    if not codes.shape[1] == reference.shape[1] == probes.shape[1]:
        widths = ", ".join(str(a.shape[1]) for a in (codes, reference, probes))
        raise DataError(f"codes, reference and probes must have equal widths, got {widths}")
    n = min(len(codes), len(reference))
    _check_count(n, n_neighbors)
    white = Whitening.of(codes)
    near_code, near_draw = (
        NearestNeighbors(n_neighbors=k).fit(white(a[sample_rows(len(a), n)])).kneighbors(white(probes))[0][:, -1]
        for a, k in ((codes, 1), (reference, n_neighbors))
    )
    return float((near_code > near_draw).mean())


def active_components(means: Any, threshold: float = 0.01) -> Bool[np.ndarray, " d"]:
    r"""Which components carry information: those whose posterior mean varies over the rows.

    .. math:: Var_x(E_{q(z|x)}[z_i]) > 0.01

    Parameters
    ----------
    means : array of shape (n, d)
        Posterior means, in units of a prior of variance 1.
    threshold : float
        In the same units, squared.

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
    """What decoding along straight lines between codes shows.

    Attributes
    ----------
    length_ratio : float
        Length of the decoded curves over that of the straight chords between their ends, both summed over all lines: 1
        where the decoder is affine, more the further it strays on the way.
    largest_step : float
        Largest step of a decoded curve over its mean step, mean over lines: 1 where the decoder is affine, as many as
        there are steps where it jumps once.
    midpoints : array of shape (m, ...)
        The rows that the middles of the lines decode to.
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
    starts, ends : arrays of shape (m, d)
        The ends of the lines.
    n_steps : int
        T, even, so that there is a step at the middle.

    Raises
    ------
    DataError
        If `n_steps` is odd, or the decoder gives the same row everywhere: then there is no path to measure.

    Examples
    --------
    >>> found = lines(lambda z: z @ [[1.0, 0.0, 2.0], [0.0, 3.0, 1.0]], [[0.0, 0.0]], [[1.0, 2.0]])
    >>> round(found.length_ratio, 9), round(found.largest_step, 9), found.midpoints
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
    steps = np.linalg.norm(np.diff(rows, axis=0), axis=-1)  # (T, m)
    chords = np.linalg.norm(rows[-1] - rows[0], axis=-1)
    moving = steps.max(axis=0) > 0
    if not moving.any() or not chords.sum() > 0:
        raise DataError("the decoder gives the same row at both ends of every line: there is no path to measure")
    largest = (steps.max(axis=0)[moving] / steps.mean(axis=0)[moving]).mean()
    return Lines(float(steps.sum() / chords.sum()), float(largest), decoded[n_steps // 2])


def sensitivity(decode: Decode, codes: Any, noise: float = 0.1, random_state: int = 0) -> float:
    r"""How strongly decoded rows change when codes move a little, relative to an affine decoder.

    .. math:: \frac{E \|d(z + \delta) - d(z)\|^2}{\epsilon^2 tr Cov(d(z))}, \quad \delta \sim N(0, \epsilon^2 S)

    An affine decoder has 1 whatever its weights; one that packs much change into small parts of the space has more.

    Parameters
    ----------
    decode : callable
        Codes to rows.
    codes : array of shape (n, d)
        Where to start from.
    noise : float
        Epsilon, the size of the moves in units of the codes' own standard deviation.
    random_state : int
        Seed of the moves.

    Raises
    ------
    DataError
        If the decoder gives the same row for all codes.

    Examples
    --------
    >>> codes = np.random.default_rng(0).normal(size=(2000, 2))
    >>> abs(sensitivity(lambda z: z @ [[1.0, 2.0], [0.0, 3.0]], codes) - 1) < 0.1
    True
    """
    codes = as_vectors(codes, "codes")
    moves = Whitening.of(codes).colour(np.random.default_rng(random_state).normal(size=codes.shape))
    still, moved = (as_vectors(decode(z), "decoded rows") for z in (codes, codes + noise * moves))
    variance = still.var(axis=0).sum()
    if not variance > 0:
        raise DataError("the decoder gives the same row for all codes: there is no change to compare with")
    return float(np.square(moved - still).sum(axis=1).mean() / (noise**2 * variance))


@dataclass(frozen=True, eq=False)
class Whitening:
    """The affine map that gives codes zero mean and unit covariance; axes without variance are left as they are."""

    mean: Float[np.ndarray, " d"]
    axes: Float[np.ndarray, "d d"]
    scale: Float[np.ndarray, " d"]

    @classmethod
    def of(cls, codes: Codes) -> Whitening:
        """Take mean and principal axes of codes.

        Raises
        ------
        DataError
            If all codes are equal.
        """
        values, axes = np.linalg.eigh(np.atleast_2d(np.cov(codes.T, bias=True)))
        if not values[-1] > 0:
            raise DataError("all codes are equal: a latent space that has collapsed to a point has no shape")
        return cls(codes.mean(axis=0), axes, np.sqrt(np.where(values > 1e-12 * values[-1], values, 1)))

    def __call__(self, z: Codes) -> Codes:
        """Whiten codes."""
        return np.asarray((z - self.mean) @ self.axes / self.scale)

    def colour(self, w: Codes) -> Codes:
        """Give vectors of unit covariance the covariance of the codes, without their mean."""
        return np.asarray((w * self.scale) @ self.axes.T)


def _neighbor_distances(rows: np.ndarray, n_neighbors: int) -> np.ndarray:
    from sklearn.neighbors import NearestNeighbors

    distances: np.ndarray = NearestNeighbors(n_neighbors=n_neighbors).fit(rows).kneighbors()[0][:, -1]
    return distances


def _check_count(n: int, n_neighbors: int) -> None:
    if not 1 <= n_neighbors < n:
        raise DataError(f"{n_neighbors} neighbours need more distinct codes than that, got {n}: give more rows")
