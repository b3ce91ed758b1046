"""Measures of one fitted model: of its latent space, of lines through it, and of decoded random points."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from latentmap.evaluation import latent
from latentmap.evaluation.claims import GENERATED, Measured
from latentmap.evaluation.codes import latent_vectors
from latentmap.evaluation.methods import Units
from latentmap.evaluation.realism import RealRows
from latentmap.evaluation.rows import sample_rows
from latentmap.evaluation.samplers import SAMPLERS
from latentmap.exceptions import DataError

__all__ = ["measure_model", "measure_real"]

N_LINES = 500
"""Lines between pairs of rows."""

KINDS = (*(measure.name for measure in GENERATED), "confidence")
"""Measures of generated rows."""

Measurements = dict[str, Callable[[], float]]


def measure_model(
    estimator: Any,
    X: np.ndarray,
    X_new: np.ndarray,
    real: RealRows,
    units: Units,
    *,
    n_draws: int = 3000,
    random_state: int = 0,
) -> Measured:
    """Measure the latent space of a fitted model, lines between held-out rows, and decoded random points.

    A latent vector of a row is what the model decodes in training: e(x) of an autoencoder, a draw from q(z|x) of a VAE.

    Parameters
    ----------
    estimator : VAE or Autoencoder
        Fitted estimator.
    X : ndarray of shape (n, ...)
        Training rows, whose codes make the latent space.
    X_new : ndarray of shape (m, ...)
        Held-out rows, the ends of the lines.
    real : RealRows
        Real rows, made of held-out rows in `units`, that decoded rows are compared with, without clipping.
    units : Units
        Units of decoded rows.
    n_draws : int, default=3000
        Maximum number of points of each distribution; no more than training rows are drawn.
    random_state : int, default=0
        Seed of pairs and draws; the same for two models makes a pair.

    Returns
    -------
    Measured
        A value or a reason for each of the measures of `latentmap.evaluation.claims`, and for each of those of
        generated rows with each of the distributions of `latentmap.evaluation.samplers`.
    """
    codes = latent_vectors(estimator, X, random_state)
    n = min(n_draws, len(codes))
    kept = codes[sample_rows(len(codes), n, random_state)]

    def decode(z: np.ndarray) -> np.ndarray:
        return units(estimator.inverse_transform(z))

    measurements: Measurements = {
        "divergence": lambda: latent.divergence_from_standard_normal(kept, random_state=random_state + 1),
        "negentropy": lambda: latent.negentropy(kept, random_state=random_state + 1),
        "tail_ratio": lambda: latent.tail_ratio(codes),
    }
    measurements |= _of_lines(decode, estimator, X_new, real, n, random_state)
    for name, sampler in SAMPLERS.items():
        draw = functools.cache(functools.partial(sampler.draw, codes))
        measurements |= _of_points(name, draw, kept, decode, real, random_state)
    found = _take(measurements)
    return found if np.any(estimator.active_components_) else _without_latent_space(found)


def measure_real(
    X: np.ndarray, real: RealRows, units: Units, *, n_draws: int = 3000, random_state: int = 0
) -> Measured:
    """Measure training rows in the place of generated ones: the best that a generator can reach.

    Parameters
    ----------
    X : ndarray of shape (n, ...)
        Training rows.
    real : RealRows
        Real rows, made of held-out rows in `units`.
    units : Units
        Units in which rows are compared.
    n_draws : int, default=3000
        Maximum number of training rows.
    random_state : int, default=0
        Seed of their sample.

    Returns
    -------
    Measured
        A value for each measure of generated rows.
    """
    return _take(real.compare(units(X[sample_rows(len(X), n_draws, random_state)])))


def _of_lines(
    decode: latent.Decode, estimator: Any, X_new: np.ndarray, real: RealRows, n: int, random_state: int
) -> Measurements:
    rng = np.random.default_rng(random_state)
    ends = np.asarray(estimator.transform(X_new), dtype=np.float64)
    starts, stops = (ends[rng.integers(0, len(ends), n)] for _ in range(2))
    line = functools.cache(lambda: latent.lines(decode, starts[:N_LINES], stops[:N_LINES]))
    middle = functools.cache(lambda: real.compare(decode((starts + stops) / 2)))
    return {
        "length_ratio": lambda: line().length_ratio,
        "largest_step": lambda: line().largest_step,
        "sensitivity": lambda: latent.sensitivity(decode, ends, random_state=random_state),
        **{f"{name}_middle": _named(middle, name) for name in ("density", "frechet", "nearest")},
    }


def _of_points(
    name: str,
    draw: Callable[[int, int], np.ndarray],
    codes: np.ndarray,
    decode: latent.Decode,
    real: RealRows,
    random_state: int,
) -> Measurements:
    n, seed = len(codes), random_state + 1
    decoded = functools.cache(lambda: real.compare(decode(draw(n, seed))))
    return {
        f"gaps_{name}": lambda: latent.gap_fraction(codes, draw(n, seed + 1), draw(n, seed)),
        **{f"{kind}_{name}": _named(decoded, kind) for kind in KINDS},
    }


def _named(measures: Callable[[], Measurements], name: str) -> Callable[[], float]:
    return lambda: measures()[name]()


def _without_latent_space(found: Measured) -> Measured:
    """Take the measures of the latent space out of those of a model that has collapsed: its codes hold no rows."""
    generated = {f"{kind}_{sampler}" for kind in KINDS for sampler in SAMPLERS}
    values = {name: value for name, value in found.values.items() if name in generated}
    every = found.values.keys() | found.reasons.keys()
    lost = dict.fromkeys(every - generated, "none of its components is active: it has collapsed")
    return Measured(values, found.reasons | lost)


def _take(measurements: Measurements) -> Measured:
    """Take each measure, or the reason for which it does not apply."""
    values, reasons = {}, {}
    for name, measure in measurements.items():
        try:
            values[name] = measure()
        except DataError as error:
            reasons[name] = str(error)
    return Measured(values, reasons)
