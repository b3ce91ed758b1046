"""What is claimed of a VAE against an autoencoder, measured: a compact and smooth latent space, realistic random rows.

    "Variational autoencoders produce a latent space Z that is more compact and smooth than that learned by traditional
    autoencoders. This lets us randomly sample points z ~ Z and produce corresponding reconstructions x = d(z) that form
    realistic digits, unlike traditional autoencoders."

A latent vector of a row is what the model decodes in training: e(x) of an autoencoder, a draw from q(z|x) of a VAE.
Random points are drawn in two ways. *Uniformly*, in the box that holds the central 99% of the latent vectors on each
axis: one rule for both models, and what a decoded grid shows. *From the sampler* that the model brings: N(0, I) for a
VAE, for an autoencoder a Gaussian fitted to its codes afterwards, which a traditional autoencoder does not have.

Decoded rows are measured as the model gives them, values outside the range of the data included. A classifier can be
sure of rows far from all that it has seen (Hein et al., Why ReLU networks yield high-confidence predictions far away
from the training data, 2019), so its confidence stands beside measures that compare with real rows, never alone.
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

Verdict = Literal["holds", "even", "fails", "cannot"]

EVEN = 0.02
"""Values within 2% of one another are called even: seeds alone move them by that much."""


@dataclass(frozen=True)
class Measure:
    """One number on a latent space, and what a claim expects of it.

    Attributes
    ----------
    name : str
        Key of the number.
    claim : str
        The part of the claim that it speaks for: compact, smooth or realistic.
    text : str
        What it is, with its unit.
    expected : str
        Which the VAE's number is expected to be: "lower" or "higher" than the autoencoder's.
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
    Measure("precision_middle", "smooth", "share of decoded midpoints among real rows", "higher"),
    Measure("frechet_middle", "smooth", "Frechet distance of decoded midpoints to real rows", "lower"),
    Measure("confidence_middle", "smooth", "classifier's confidence in decoded midpoints", "higher"),
    Measure("precision_uniform", "realistic", "share of decoded uniform points among real rows", "higher"),
    Measure("frechet_uniform", "realistic", "Frechet distance of decoded uniform points to real rows", "lower"),
    Measure("confidence_uniform", "realistic", "classifier's confidence in decoded uniform points", "higher"),
    Measure("sure_uniform", "realistic", "share of decoded uniform points with confidence over 0.9", "higher"),
    Measure("precision_sampler", "realistic", "share of decoded samples among real rows", "higher"),
    Measure("frechet_sampler", "realistic", "Frechet distance of decoded samples to real rows", "lower"),
    Measure("confidence_sampler", "realistic", "classifier's confidence in decoded samples", "higher"),
    Measure("sure_sampler", "realistic", "share of decoded samples with confidence over 0.9", "higher"),
)
"""All measures, in the order of the claim."""


@dataclass(frozen=True)
class Claim:
    """One measure of both models.

    Attributes
    ----------
    measure : Measure
        What is measured, and which number is expected to be the lower.
    autoencoder, vae : float or None
        The numbers; None where the measure does not apply (no labels, a collapsed latent space).
    real : float or None
        What training rows score in the place of generated ones; None where no rows are generated.
    """

    measure: Measure
    autoencoder: float | None
    vae: float | None
    real: float | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether the numbers stand as claimed: holds, even (within 2%), fails, or cannot be said."""
        if self.autoencoder is None or self.vae is None:
            return "cannot"
        if abs(self.vae - self.autoencoder) <= EVEN * max(abs(self.vae), abs(self.autoencoder)):
            return "even"
        return "holds" if (self.vae < self.autoencoder) == (self.measure.expected == "lower") else "fails"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        numbers = {"autoencoder": self.autoencoder, "vae": self.vae, "real": self.real}
        return asdict(self.measure) | numbers | {"verdict": self.verdict}


def verdicts(claims: Sequence[Claim]) -> dict[str, dict[Verdict, int]]:
    """Count the verdicts on the measures of each claim.

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
    """Measure a fitted autoencoder and a fitted VAE alike: the same rows, pairs of rows, seeds and feature space.

    Parameters
    ----------
    autoencoder, vae : estimator
        Fitted.
    X : array of shape (n, ...)
        Rows whose codes make the latent space: the training rows.
    X_new : array of shape (m, ...)
        Rows that neither model has seen: the ends of the lines, and what generated rows are held against.
    space : FeatureSpace
        Where generated and real rows are compared; made in `units`.
    units : Units
        Units of decoded rows.
    n_draws : int
        Points drawn each time; the most new rows that are used, too.
    random_state : int
        Seed of pairs and draws.
    """
    of_autoencoder, of_vae = (
        measure_latent_space(estimator, X, X_new, space, units, n_draws=n_draws, random_state=random_state)
        for estimator in (autoencoder, vae)
    )
    real = space.features(units(_some(X_new, n_draws, random_state)))
    floor = realism("", lambda: units(_some(X, n_draws, random_state)), real, space)
    by_kind = {name: or_none(measure) for name, measure in floor.items()}  # "precision_", "frechet_", ...
    return tuple(
        Claim(m, of_autoencoder[m.name], of_vae[m.name], real=by_kind.get(f"{m.name.split('_')[0]}_")) for m in MEASURES
    )


def measure_latent_space(
    estimator: Any,
    X: np.ndarray,
    X_new: np.ndarray,
    space: generation.FeatureSpace,
    units: Units,
    *,
    n_draws: int = 3000,
    random_state: int = 0,
) -> dict[str, float | None]:
    """Take all of `MEASURES` on one fitted estimator; the parameters are those of `measure_claims`.

    Returns
    -------
    dict
        Name of the measure to its value; None where it does not apply.
    """
    rng = np.random.default_rng(random_state)
    new = _some(X_new, n_draws, random_state)
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
    """Measures of generated rows against the features of real ones, by name; the rows are made once, when needed."""
    rows = functools.cache(make)
    features = functools.cache(lambda: space.features(rows()))
    return {
        f"precision_{of}": lambda: generation.overlap(real, features()).precision,
        f"frechet_{of}": lambda: generation.frechet_distance(real, features()),
        f"confidence_{of}": lambda: generation.confidence(space, rows()).mean,
        f"sure_{of}": lambda: generation.confidence(space, rows()).share_sure,
    }


def latent_vectors(estimator: Any, X: np.ndarray, random_state: int = 0) -> np.ndarray:
    r"""Latent vectors of rows as the model decodes them in training: one draw from q(z|x) for each, (n, d).

    .. math:: z = \mu(x) + \sigma(x) \epsilon, \quad \epsilon \sim N(0, I)

    An autoencoder's sigma is 0, so its latent vectors are its codes. On a curved space it is the point nearest to that.
    """
    mean, deviation = (np.asarray(a, dtype=np.float64) for a in estimator.posterior(X))
    z = mean + deviation * np.random.default_rng(random_state).normal(size=mean.shape)
    return np.asarray(estimator.model_.parts.posterior.onto(torch.from_numpy(z)))


def sample_codes(estimator: Any, n: int, random_state: int) -> np.ndarray:
    """Draw codes from the distribution that `sample` of a fitted estimator decodes, (n, d)."""
    noise = Generated(generator_for(random_state, estimator.device_))
    drawn = estimator._draw_codes(n, estimator._given(None, n), noise)
    with torch.no_grad():
        return np.asarray(estimator.model_.codes(drawn).cpu(), dtype=np.float64)


def _some(X: np.ndarray, max_rows: int, random_state: int) -> np.ndarray:
    return np.asarray(X[sample_rows(len(X), max_rows, random_state)])
