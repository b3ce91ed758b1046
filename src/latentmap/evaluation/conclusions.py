"""Sentences on the claims, built from the verdicts and the numbers of a comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from latentmap.evaluation.claims import Claim, Part
from latentmap.evaluation.intervals import with_spread
from latentmap.messages import counted

__all__ = ["conclude", "outcome"]

Outcome = Literal["holds", "partly holds", "even", "partly fails", "fails", "mixed", "cannot"]

SENTENCES: dict[Part, str] = {
    "compact": "the VAE's latent space is {} compact than the autoencoder's",
    "smooth": "the VAE's latent space is {} smooth than the autoencoder's",
    "realistic": "random points of the VAE decode to rows {} realistic than the autoencoder's",
    "repaired": "random points of the VAE decode to rows {} realistic than those of an autoencoder with a Gaussian "
    "fitted to its codes",
}
EVEN: dict[Part, str] = {
    "compact": "VAE and autoencoder differ no more than their fits do in how compact the latent space is",
    "smooth": "VAE and autoencoder differ no more than their fits do in how smooth the latent space is",
    "realistic": "VAE and autoencoder differ no more than their fits do in how realistic decoded random points are",
    "repaired": "the VAE and an autoencoder with a Gaussian fitted to its codes differ no more than their fits do in "
    "how realistic decoded random points are",
}
WORDS: dict[Outcome, str] = {
    "holds": "more",
    "partly holds": "in part more",
    "partly fails": "in part less",
    "fails": "less",
    "mixed": "by some measures more, by others less",
    "cannot": "more",
}
PARTLY = 2
"""Verdicts that make a part: of five measures of equal models one has a verdict by chance in a quarter of cases."""
HEADLINES = ("gaps_normal", "sensitivity", "coverage_normal", "frechet_normal")
"""The measures that stand for a part where they have its verdict."""


def outcome(claims: Sequence[Claim]) -> Outcome:
    """Return the verdict on several measures: "partly" where more of them are even, "mixed" where they go both ways.

    Two measures more one way than the other make a verdict: a single one of five may be chance.

    Parameters
    ----------
    claims : sequence of Claim
        Claims on measures of one part.

    Returns
    -------
    {"holds", "partly holds", "even", "partly fails", "fails", "mixed", "cannot"}
        The verdict.
    """
    counts = Counter(claim.verdict for claim in claims)
    holds, even, fails = (counts[verdict] for verdict in ("holds", "even", "fails"))
    if not holds + even + fails:
        return "cannot"
    if holds >= PARTLY and fails >= PARTLY:
        return "mixed"
    if abs(holds - fails) < min(PARTLY, len(claims)):
        return "even"
    if holds > fails:
        return "partly holds" if fails or even > holds else "holds"
    return "partly fails" if holds or even > fails else "fails"


def conclude(claims: Sequence[Claim]) -> list[str]:
    r"""Return one sentence for each part of the claim and number of components, with the tally of its measures.

    Parameters
    ----------
    claims : sequence of Claim
        As `latentmap.evaluation.claims.judge` returns them.

    Returns
    -------
    list of str
        Sentences.

    Examples
    --------
    >>> from latentmap.evaluation.claims import MEASURES
    >>> sensitivity = next(measure for measure in MEASURES if measure.name == "sensitivity")
    >>> for sentence in conclude([Claim(sensitivity, 2, autoencoder=(9.0, 11.0, 10.0), vae=(4.0, 4.4, 4.2))]):
    ...     print(sentence.replace(": ", ":\n"))
    With 2 components, the VAE's latent space is more smooth than the autoencoder's (1 holds of 1 measure, 3 fits each):
    change of decoded rows when codes move a little; 1 if affine, 4.2 ± 0.2 against 10.0 ± 1.0.
    """
    groups: dict[tuple[Part, int], list[Claim]] = {}
    for claim in claims:
        groups.setdefault((claim.measure.claim, claim.n_components), []).append(claim)
    return [_sentence(part, d, group) for (part, d), group in groups.items()]


def _sentence(part: Part, d: int, claims: Sequence[Claim]) -> str:
    found = outcome(claims)
    given = f"With {counted(d, 'component')}, "
    if found == "cannot":
        return f"{given}it cannot be said whether {SENTENCES[part].format(WORDS[found])}: {claims[0].reason}."
    statement = EVEN[part] if found == "even" else SENTENCES[part].format(WORDS[found])
    numbers = "; ".join(_numbers(claim) for claim in _headlines(claims, found))
    return f"{given}{statement} ({_tally(claims)}): {numbers}."


def _headlines(claims: Sequence[Claim], found: Outcome) -> list[Claim]:
    """Return the measures that the sentence is about: one of each verdict that it speaks of."""
    verdicts = ("holds", "fails") if found == "mixed" else (found.removeprefix("partly "),)
    tested = sorted((claim for claim in claims if claim.difference), key=lambda c: c.measure.name not in HEADLINES)
    by_verdict = {verdict: [claim for claim in tested if claim.verdict == verdict] for verdict in verdicts}
    return [of[0] for of in by_verdict.values() if of] or tested[:1]


def _tally(claims: Sequence[Claim]) -> str:
    counts = Counter(claim.verdict for claim in claims)
    measures = counted(len(claims) - counts.pop("cannot", 0), "measure")
    fits = next(len(claim.vae) for claim in claims if claim.difference)
    found = [f"{counts[verdict]} {verdict}" for verdict in ("holds", "even", "fails") if counts[verdict]]
    return f"{', '.join(found)} of {measures}, {counted(fits, 'fit')} each"


def _numbers(claim: Claim) -> str:
    real = f", {with_spread(claim.real)} of real rows" if claim.real else ""
    return f"{claim.measure.text}, {with_spread(claim.vae)} against {with_spread(claim.autoencoder)}{real}"
