"""The claims about VAEs and autoencoders over several fits: a compact and smooth latent space, realistic random rows.

    "Variational autoencoders produce a latent space Z that is more compact and smooth than that learned by traditional
    autoencoders. This lets us randomly sample points z ~ Z and produce corresponding reconstructions x = d(z) that form
    realistic digits, unlike traditional autoencoders."

Both models are fitted several times, in pairs on the same rows with the same seed. A claim has a verdict on a measure
only where the difference exceeds the spread between fits; see `latentmap.evaluation.intervals.paired_difference`.

Random points are drawn from N(0, I), the only distribution that both models have without a further fit; the other
distributions of `latentmap.evaluation.samplers` stand beside it. The confidence of a classifier is reported but not
counted: a classifier can be confident of rows far from its training data (Hein et al., Why ReLU networks yield
high-confidence predictions far away from the training data, 2019).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from latentmap.evaluation.intervals import Difference, Scale, paired_difference

__all__ = ["GENERATED", "MEASURES", "Claim", "Measure", "Measured", "judge", "verdicts"]

Verdict = Literal["holds", "even", "fails", "cannot"]
Part = Literal["compact", "smooth", "realistic", "repaired"]


@dataclass(frozen=True)
class Measured:
    """Measures of one fitted model.

    Parameters
    ----------
    values : dict
        Name of a measure to its value.
    reasons : dict
        Name of a measure that does not apply to the reason.
    """

    values: dict[str, float]
    reasons: dict[str, str]


@dataclass(frozen=True)
class Measure:
    """One measure of a latent space, and what a claim expects of it.

    Parameters
    ----------
    name : str
        Key of the VAE's value.
    claim : {"compact", "smooth", "realistic", "repaired"}
        Part of the claim that it tests; "repaired" compares with an autoencoder that is given a distribution of codes.
    text : str
        Description, with the unit.
    expected : {"lower", "higher", "real"}
        Whether the VAE's value is expected to be lower or higher than the autoencoder's, or nearer to that of real
        rows: blurred rows exceed these.
    scale : {"difference", "ratio"}, default="difference"
        Whether values are compared by their differences or by their ratios.
    other : str, optional
        Key of the autoencoder's value; that of the VAE's if None.
    """

    name: str
    claim: Part
    text: str
    expected: Literal["lower", "higher", "real"]
    scale: Scale = "difference"
    other: str | None = None


GENERATED = (
    Measure("coverage", "realistic", "fraction of real rows with a decoded point among their neighbours", "higher"),
    Measure("density", "realistic", "density of real rows around decoded points", "real"),
    Measure("frechet", "realistic", "Frechet distance of decoded points to real rows", "lower", "ratio"),
    Measure("nearest", "realistic", "distance of decoded points to the nearest real row", "real"),
    Measure("balance", "realistic", "fraction of decoded points to move to another class for balance", "lower"),
)
"""Measures of generated rows, whatever distribution their codes are drawn from."""


def _generated(claim: Part, of: str, where: str, other: str | None = None) -> Iterable[Measure]:
    for measure in GENERATED:
        names = f"{measure.name}_{of}", f"{measure.name}_{other}" if other else None
        yield Measure(names[0], claim, f"{measure.text}, {where}", measure.expected, measure.scale, names[1])


MEASURES = (
    Measure("divergence", "compact", "nats by which latent vectors differ from N(0, I)", "lower", "ratio"),
    Measure("negentropy", "compact", "nats by which latent vectors differ from any Gaussian", "lower", "ratio"),
    Measure("tail_ratio", "compact", "radius that holds 99% of latent vectors, over that of half", "lower", "ratio"),
    Measure("gaps_normal", "compact", "gap fraction, points from N(0, I)", "lower"),
    Measure("gaps_uniform", "compact", "gap fraction, points uniform in the box", "lower"),
    Measure("length_ratio", "smooth", "length of decoded lines between rows, over their chords", "lower", "ratio"),
    Measure("largest_step", "smooth", "largest step on a decoded line, over its mean step", "lower", "ratio"),
    Measure("sensitivity", "smooth", "change of decoded rows when codes move a little; 1 if affine", "lower", "ratio"),
    Measure("density_middle", "smooth", "density of real rows around decoded midpoints", "real"),
    Measure("frechet_middle", "smooth", "Frechet distance of decoded midpoints to real rows", "lower", "ratio"),
    Measure("nearest_middle", "smooth", "distance of decoded midpoints to the nearest real row", "real"),
    *_generated("realistic", "normal", "from N(0, I)"),
    *_generated("repaired", "normal", "the autoencoder's from a Gaussian fitted to its codes", "gaussian"),
)
"""All measures, in the order of the claim."""


@dataclass(frozen=True)
class Claim:
    """Values of one measure over several fits of both models.

    Parameters
    ----------
    measure : Measure
        The measure.
    n_components : int
        Components of the latent spaces.
    autoencoder, vae : tuple of float
        One value a fit, in pairs of the same rows and seed; empty where the measure does not apply.
    real : tuple of float, default=()
        Values of training rows in place of generated ones, one for each split; empty where no rows are generated.
    reason : str, default=""
        Why there is no verdict, where there is none.

    Examples
    --------
    >>> claim = Claim(MEASURES[0], 2, autoencoder=(2.1, 2.6, 1.9), vae=(0.2, 0.3, 0.2))
    >>> claim.verdict, str(claim.difference)
    ('holds', '×0.105 [0.0827, 0.133]')
    """

    measure: Measure
    n_components: int
    autoencoder: tuple[float, ...]
    vae: tuple[float, ...]
    real: tuple[float, ...] = ()
    reason: str = ""

    @property
    def difference(self) -> Difference | None:
        """The VAE's values against the autoencoder's, or the distances of both from those of real rows.

        None where they cannot be compared.
        """
        if self.reason:
            return None
        vae, autoencoder = (self._compared(values) for values in (self.vae, self.autoencoder))
        return paired_difference(vae, autoencoder, self.measure.scale)

    @property
    def verdict(self) -> Verdict:
        """Whether the claim holds, is even within the spread between fits, fails, or cannot be tested."""
        difference = self.difference
        if difference is None:
            return "cannot"
        if not difference.exceeds:
            return "even"
        return "holds" if difference.lower == (self.measure.expected != "higher") else "fails"

    def _compared(self, values: tuple[float, ...]) -> tuple[float, ...]:
        if self.measure.expected != "real":
            return values
        return tuple(abs(value - real) for value, real in zip(values, self.real, strict=True))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        difference = self.difference
        return asdict(self.measure) | {
            "n_components": self.n_components,
            "autoencoder": list(self.autoencoder),
            "vae": list(self.vae),
            "real": list(self.real),
            "difference": None if difference is None else asdict(difference),
            "verdict": self.verdict,
            "reason": self.reason,
        }


def judge(
    n_components: int, autoencoders: Sequence[Measured], vaes: Sequence[Measured], real: Sequence[Measured]
) -> tuple[Claim, ...]:
    """Return the claims on the measures of several fits of both models.

    Parameters
    ----------
    n_components : int
        Components of the latent spaces.
    autoencoders, vaes : sequence of Measured
        Measures of the fits, in pairs.
    real : sequence of Measured
        Measures of real rows in place of generated ones, for the rows of each pair.

    Returns
    -------
    tuple of Claim
        One for each of `MEASURES`.
    """
    return tuple(_claim(measure, n_components, autoencoders, vaes, real) for measure in MEASURES)


def _claim(
    measure: Measure, d: int, autoencoders: Sequence[Measured], vaes: Sequence[Measured], real: Sequence[Measured]
) -> Claim:
    other = measure.other or measure.name
    sides = ("autoencoder", other, autoencoders), ("VAE", measure.name, vaes)
    reason = next((f"{who}: {m.reasons[name]}" for who, name, of in sides for m in of if name in m.reasons), "")
    floor = _values(real, measure.name.partition("_")[0])
    if reason:
        return Claim(measure, d, (), (), floor, reason)
    first, second = _values(autoencoders, other), _values(vaes, measure.name)
    if measure.expected == "real" and len(floor) < len(first):
        reason = "real rows have no value to compare with"
    if len(first) < 2:
        reason = "one fit of each model has no spread: fit several, seeds of 2 or more"
    return Claim(measure, d, first, second, floor, reason)


def _values(of: Sequence[Measured], name: str) -> tuple[float, ...]:
    return tuple(m.values[name] for m in of if name in m.values)


def verdicts(claims: Iterable[Claim]) -> dict[str, dict[int, dict[Verdict, int]]]:
    """Count the verdicts on the measures of each part of the claim.

    Parameters
    ----------
    claims : iterable of Claim
        As `judge` returns them.

    Returns
    -------
    dict
        Part to a dict from the number of components to a dict from verdict to count.

    Examples
    --------
    >>> wide, narrow = (2.1, 2.6, 1.9), (0.2, 0.3, 0.2)
    >>> verdicts([Claim(MEASURES[0], 2, wide, narrow), Claim(MEASURES[1], 2, wide, wide)])
    {'compact': {2: {'holds': 1, 'even': 1}}}
    """
    counts: dict[str, dict[int, Counter[Verdict]]] = {}
    for claim in claims:
        counts.setdefault(claim.measure.claim, {}).setdefault(claim.n_components, Counter())[claim.verdict] += 1
    return {part: {d: dict(counter) for d, counter in of.items()} for part, of in counts.items()}
