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
    "compact": "the VAE's latent space is {} compact {} the autoencoder's",
    "smooth": "the VAE's latent space is {} smooth {} the autoencoder's",
    "realistic": "random points of the VAE decode to rows {} realistic {} the autoencoder's",
    "repaired": "random points of the VAE decode to rows {} realistic {} those of an autoencoder with a Gaussian "
    "fitted to its codes",
}
WORDS: dict[Outcome, tuple[str, str]] = {
    "holds": ("more", "than"),
    "partly holds": ("in part more", "than"),
    "even": ("as", "as"),
    "partly fails": ("in part less", "than"),
    "fails": ("less", "than"),
    "mixed": ("by some measures more, by others less", "than"),
    "cannot": ("more", "than"),
}
HEADLINES: dict[str, str] = {
    "gaps_normal": "points from N(0, I) in gaps of the codes",
    "sensitivity": "change of decoded rows when codes move a little",
    "coverage_normal": "real rows covered",
    "frechet_normal": "Frechet distance",
}
"""The measure that stands for a part, and its name in a sentence."""


def outcome(claims: Sequence[Claim]) -> Outcome:
    """Return the verdict on several measures: "partly" where more of them are even, "mixed" where they go both ways.

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
    if holds and fails:
        return "mixed"
    if holds:
        return "holds" if holds >= even else "partly holds"
    if fails:
        return "fails" if fails >= even else "partly fails"
    return "even" if even else "cannot"


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
    change of decoded rows when codes move a little 4.2 ± 0.2 against 10.0 ± 1.0.
    """
    groups: dict[tuple[Part, int], list[Claim]] = {}
    for claim in claims:
        groups.setdefault((claim.measure.claim, claim.n_components), []).append(claim)
    return [_sentence(part, d, group) for (part, d), group in groups.items()]


def _sentence(part: Part, d: int, claims: Sequence[Claim]) -> str:
    found = outcome(claims)
    statement = SENTENCES[part].format(*WORDS[found])
    given = f"With {counted(d, 'component')}, "
    if found == "cannot":
        return f"{given}it cannot be said whether {statement}: {claims[0].reason}."
    first = next((claim for claim in claims if claim.measure.name in HEADLINES and claim.difference), None)
    numbers = "" if first is None else f": {HEADLINES[first.measure.name]} {_numbers(first)}"
    return f"{given}{statement} ({_tally(claims)}){numbers}."


def _tally(claims: Sequence[Claim]) -> str:
    counts = Counter(claim.verdict for claim in claims)
    measures = counted(len(claims) - counts.pop("cannot", 0), "measure")
    fits = next(len(claim.vae) for claim in claims if claim.difference)
    found = [f"{counts[verdict]} {verdict}" for verdict in ("holds", "even", "fails") if counts[verdict]]
    return f"{', '.join(found)} of {measures}, {counted(fits, 'fit')} each"


def _numbers(claim: Claim) -> str:
    real = f"; {with_spread(claim.real)} among real rows" if claim.real else ""
    return f"{with_spread(claim.vae)} against {with_spread(claim.autoencoder)}{real}"
