"""Measures of the claims about VAEs and autoencoders: a compact and smooth latent space, realistic random rows.

    "Variational autoencoders produce a latent space Z that is more compact and smooth than that learned by traditional
    autoencoders. This lets us randomly sample points z ~ Z and produce corresponding reconstructions x = d(z) that form
    realistic digits, unlike traditional autoencoders."

A latent vector of a row is what the model decodes in training: e(x) of an autoencoder, a draw from q(z|x) of a VAE.
Random points are drawn in two ways. *Uniformly*, in the box that holds the central 99% of the latent vectors on each
axis: one rule for both models, and what a decoded grid shows. *From the sampler* of the model: N(0, I) for a VAE, for
an autoencoder a Gaussian fitted to its codes afterwards, which a traditional autoencoder does not have.

Decoded rows are measured without clipping to the range of the data. A classifier can be confident of rows far from its
training data (Hein et al., Why ReLU networks yield high-confidence predictions far away from the training data, 2019),
so its confidence is reported only together with measures that compare with real rows.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch

from latentmap.evaluation import generation, latent
from latentmap.evaluation.methods import Units
from latentmap.evaluation.rows import or_none, sample_rows
from latentmap.model.noise import Generated, generator_for

__all__ = ["MEASURES", "Claim", "Measure", "measure_claims", "verdicts"]

Verdict = Literal["holds", "even", "fails", "cannot"]

EVEN = 0.02
"""Relative difference up to which values are called even: another seed changes them by as much."""


@dataclass(frozen=True)
class Measure:
    """One measure of a latent space, and what a claim expects of it.

    Parameters
    ----------
    name : str
        Key of the measure.
    claim : {"compact", "smooth", "realistic"}
        Part of the claim that it tests.
    text : str
        Description, with the unit.
    expected : {"lower", "higher"}
        Whether the VAE's value is expected to be lower or higher than the autoencoder's.
    """

    name: str
    claim: Literal["compact", "smooth", "realistic"]
    text: str
    expected: Literal["lower", "higher"]


MEASURES = (
    Measure("spread", "compact", "spread of the codes, latent units", "lower"),
    Measure("tail_ratio", "compact", "radius that holds 99% of the codes, over that of half of them", "lower"),
    Measure("negentropy", "compact", "nats by which the codes differ from a Gaussian", "lower"),
    Measure("gaps_sampler", "compact", "gap fraction, points from the model's sampler", "lower"),
    Measure("gaps_uniform", "compact", "gap fraction, uniform points", "lower"),
    Measure("length_ratio", "smooth", "length of decoded lines, over their chords", "lower"),
    Measure("largest_step", "smooth", "largest step on a decoded line, over its mean step", "lower"),
    Measure("sensitivity", "smooth", "change of decoded rows when codes move a little; 1 if affine", "lower"),
    Measure("precision_middle", "smooth", "fraction of decoded midpoints among real rows", "higher"),
    Measure("frechet_middle", "smooth", "Frechet distance of decoded midpoints to real rows", "lower"),
    Measure("confidence_middle", "smooth", "classifier's confidence in decoded midpoints", "higher"),
    Measure("precision_uniform", "realistic", "fraction of decoded uniform points among real rows", "higher"),
    Measure("frechet_uniform", "realistic", "Frechet distance of decoded uniform points to real rows", "lower"),
    Measure("confidence_uniform", "realistic", "classifier's confidence in decoded uniform points", "higher"),
    Measure("sure_uniform", "realistic", "fraction of decoded uniform points with confidence over 0.9", "higher"),
    Measure("precision_sampler", "realistic", "fraction of decoded samples among real rows", "higher"),
    Measure("frechet_sampler", "realistic", "Frechet distance of decoded samples to real rows", "lower"),
    Measure("confidence_sampler", "realistic", "classifier's confidence in decoded samples", "higher"),
    Measure("sure_sampler", "realistic", "fraction of decoded samples with confidence over 0.9", "higher"),
)
"""All measures, in the order of the claim."""


@dataclass(frozen=True)
class Claim:
    """Values of one measure for both models.

    Parameters
    ----------
    measure : Measure
        The measure.
    autoencoder, vae : float or None
        Its values; None where it does not apply (no labels, a collapsed latent space).
    real : float, optional
        Value for training rows in place of generated ones; None where no rows are generated.
    """

    measure: Measure
    autoencoder: float | None
    vae: float | None
    real: float | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether the claim holds, is even (within 2%), fails, or cannot be tested."""
        if self.autoencoder is None or self.vae is None:
            return "cannot"
        if abs(self.vae - self.autoencoder) <= EVEN * max(abs(self.vae), abs(self.autoencoder)):
            return "even"
        return "holds" if (self.vae < self.autoencoder) == (self.measure.expected == "lower") else "fails"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        values = {"autoencoder": self.autoencoder, "vae": self.vae, "real": self.real}
        return asdict(self.measure) | values | {"verdict": self.verdict}


def verdicts(claims: Sequence[Claim]) -> dict[str, dict[Verdict, int]]:
    """Count the verdicts on the measures of each claim.

    Parameters
    ----------
    claims : sequence of Claim
        As `measure_claims` returns them.

    Returns
    -------
    dict
        Claim to a dict from verdict to count.

    Examples
    --------
    >>> spread, step = MEASURES[0], MEASURES[6]
    >>> verdicts([Claim(spread, 2.0, 1.0), Claim(spread, 1.0, 1.01), Claim(step, 1.0, None)])
    {'compact': {'holds': 1, 'even': 1}, 'smooth': {'cannot': 1}}
    """
    counts: dict[str, Counter[Verdict]] = {}
    for claim in claims:
        counts.setdefault(claim.measure.claim, Counter())[claim.verdict] += 1
    return {claim: dict(counter) for claim, counter in counts.items()}


def measure_claims(
    autoencoder: Any,
    vae: Any,
    X: np.ndarray,
    X_new: np.ndarray,
    space: generation.FeatureSpace,
    units: Units,
    *,
    n_draws: int = 3000,
    random_state: int = 0,
) -> tuple[Claim, ...]:
    """Measure a fitted autoencoder and a fitted VAE on the same rows, pairs of rows, seeds and feature space.

    Parameters
    ----------
    autoencoder, vae : estimator
        Fitted estimators.
    X : ndarray of shape (n, ...)
        Training rows, whose codes make the latent space.
    X_new : ndarray of shape (m, ...)
        Held-out rows: the ends of the lines, and the reference for generated rows.
    space : FeatureSpace
        Where generated and real rows are compared; made in `units`.
    units : Units
        Units of decoded rows.
    n_draws : int, default=3000
        Number of points per draw, and maximum number of new rows.
    random_state : int, default=0
        Seed of pairs and draws.

    Returns
    -------
    tuple of Claim
        One for each of `MEASURES`.
    """
    of_autoencoder, of_vae = (
        _measure_latent_space(estimator, X, X_new, space, units, n_draws, random_state)
        for estimator in (autoencoder, vae)
    )
    real = space.features(units(_sample(X_new, n_draws, random_state)))
    baseline = realism("", lambda: units(_sample(X, n_draws, random_state)), real, space)
    by_kind = {name: or_none(measure) for name, measure in baseline.items()}  # "precision_", "frechet_", ...
    return tuple(
        Claim(m, of_autoencoder[m.name], of_vae[m.name], real=by_kind.get(f"{m.name.split('_')[0]}_")) for m in MEASURES
    )


def _measure_latent_space(
    estimator: Any,
    X: np.ndarray,
    X_new: np.ndarray,
    space: generation.FeatureSpace,
    units: Units,
    n_draws: int,
    random_state: int,
) -> dict[str, float | None]:
    """Return the value of each of `MEASURES` for one fitted estimator; None where it does not apply."""
    rng = np.random.default_rng(random_state)
    new = _sample(X_new, n_draws, random_state)
    real = space.features(units(new))
    codes = latent_vectors(estimator, X, random_state)
    ends = np.asarray(estimator.transform(new), dtype=np.float64)
    starts, stops = (ends[rng.integers(0, len(ends), n_draws)] for _ in range(2))
    low, high = np.quantile(codes, [0.005, 0.995], axis=0)

    def decode(z: np.ndarray) -> np.ndarray:
        return units(estimator.inverse_transform(z))

    def uniform(count: int) -> np.ndarray:
        return np.asarray(low + (high - low) * rng.random((count, codes.shape[1])))

    def sampler(count: int) -> np.ndarray:
        return sample_codes(estimator, count, int(rng.integers(2**31)))

    line = functools.cache(lambda: latent.lines(decode, starts[:500], stops[:500]))
    measures = {
        "spread": lambda: latent.spread(codes),
        "tail_ratio": lambda: latent.tail_ratio(codes),
        "negentropy": lambda: latent.negentropy(codes, random_state=random_state + 1),
        "gaps_sampler": lambda: latent.gap_fraction(codes, sampler(len(codes)), sampler(n_draws)),
        "gaps_uniform": lambda: latent.gap_fraction(codes, uniform(len(codes)), uniform(n_draws)),
        "length_ratio": lambda: line().length_ratio,
        "largest_step": lambda: line().largest_step,
        "sensitivity": lambda: latent.sensitivity(decode, ends, random_state=random_state),
        **realism("middle", lambda: decode((starts + stops) / 2), real, space),
        **realism("uniform", lambda: decode(uniform(n_draws)), real, space),
        **realism("sampler", lambda: decode(sampler(n_draws)), real, space),
    }
    return {measure.name: or_none(measures[measure.name]) for measure in MEASURES}


def realism(
    of: str, make: Callable[[], np.ndarray], real: np.ndarray, space: generation.FeatureSpace
) -> dict[str, Callable[[], float]]:
    """Return measures of generated rows against features of real ones, by name; rows are generated once, on demand."""
    rows = functools.cache(make)
    features = functools.cache(lambda: space.features(rows()))
    return {
        f"precision_{of}": lambda: generation.overlap(real, features()).precision,
        f"frechet_{of}": lambda: generation.frechet_distance(real, features()),
        f"confidence_{of}": lambda: generation.confidence(space, rows()).mean,
        f"sure_{of}": lambda: generation.confidence(space, rows()).fraction_sure,
    }


def latent_vectors(estimator: Any, X: np.ndarray, random_state: int = 0) -> np.ndarray:
    r"""Draw one latent vector from q(z|x) for each row, (n, d).

    .. math:: z = \mu(x) + \sigma(x) \epsilon, \quad \epsilon \sim N(0, I)

    An autoencoder's sigma is 0, so its latent vectors are its codes. On a curved space, z is projected onto the space.
    """
    mean, deviation = (np.asarray(a, dtype=np.float64) for a in estimator.posterior(X))
    z = mean + deviation * np.random.default_rng(random_state).normal(size=mean.shape)
    return np.asarray(estimator.model_.parts.posterior.onto(torch.from_numpy(z)))


def sample_codes(estimator: Any, n: int, random_state: int) -> np.ndarray:
    """Draw codes from the distribution that `sample` of a fitted estimator decodes."""
    noise = Generated(generator_for(random_state, estimator.device_))
    draws = estimator._draw_codes(n, estimator._given(None, n), noise)
    with torch.no_grad():
        return np.asarray(estimator.model_.codes(draws).cpu(), dtype=np.float64)


def _sample(X: np.ndarray, max_rows: int, random_state: int) -> np.ndarray:
    return np.asarray(X[sample_rows(len(X), max_rows, random_state)])
