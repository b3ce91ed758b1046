"""The diagnosis of a fit, in words: each finding, its value, and what to do."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from latentmap import exceptions
from latentmap.data.schema import Schema
from latentmap.data.typed import made
from latentmap.estimators.history import best_row, evaluation
from latentmap.messages import nats
from latentmap.model.likelihoods import Bernoulli, Heterogeneous, Incomplete, Likelihood
from latentmap.objectives.neighbors import TERMS
from latentmap.training.metrics import HELD_OUT, LOSS, REFITTED, RESTORED, Row

ACTIVE = 0.01
"""Variance of a component's mean over the rows, above which it is active (Burda et al. 2016)."""

FEW_DRAWS, FEW_ROWS = 10, 0.1
"""Effective draws, and the fraction of rows with fewer from which on what rests on them is not to be trusted."""


@dataclass(frozen=True)
class Finding:
    """One thing that a fit says about itself."""

    kind: str
    message: str
    value: float
    advice: str = ""
    warning: str | None = None
    """Name of the warning in `latentmap.exceptions` that the fit gives, or None for a mere fact."""

    def __str__(self) -> str:
        return f"{self.message}; {self.advice}" if self.advice else self.message

    def to_json(self) -> dict[str, Any]:
        """Describe as plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the finding that `to_json` described; JSON has null in place of NaN."""
        return made(cls, {name: math.nan if (name, item) == ("value", None) else item for name, item in value.items()})


class Codes(NamedTuple):
    """How many vectors or levels of quantised codes rows use."""

    used: int
    total: int
    indices: int
    """Number of indices of a code."""


@dataclass(frozen=True)
class Facts:
    """What a diagnosis looks at."""

    history: Sequence[Row]
    active: NDArray[np.bool_]
    rate: float | None
    """Mean nats that a code costs; None for a model without density."""
    likelihood: Likelihood
    schema: Schema
    constant_features: int
    skipped: int
    shift: float = 0.0
    """Nats by which held-out rows gain more than training rows from the change to the data's units."""
    rows: int = 0
    """Number of rows over which constant features were counted."""
    steps: int = 0
    codes: Codes | None = None
    """The use of quantised codes; None for others."""
    continued: bool = False
    """Whether the model was fitted before, so that the losses do not show all of their fall."""

    @property
    def all_equal(self) -> bool:
        """Whether no feature varies."""
        return self.constant_features == self.schema.n_features


def diagnose(facts: Facts) -> tuple[Finding, ...]:
    """Return all findings; that all rows are equal comes first, and explains all others but the failed steps."""
    makers = [_components, _error, _codes, _collapse, _underfit, _overfit, _likelihood, _constant, _failed]
    if facts.all_equal:
        makers = [_equal, _components, _error, _failed]
    return tuple(finding for maker in makers if (finding := maker(facts)) is not None)


def warn(findings: Sequence[Finding]) -> None:
    """Warn of the findings that need action, with the warning of their type."""
    for finding in findings:
        if finding.warning:
            warnings.warn(str(finding), getattr(exceptions, finding.warning), stacklevel=3)  # the caller of fit


def warn_of_few(draws: NDArray[np.floating[Any]], k: int) -> None:
    """Warn where rows with missing cells rest on few of their k weighted draws, as `effective_draws` counts them."""
    least = min(FEW_DRAWS, k / FEW_DRAWS)
    few = draws < least
    if len(draws) and few.mean() > FEW_ROWS:
        message = (
            f"{few.sum():,} of {len(draws):,} rows with missing cells rest on fewer than {least:g} of their {k} draws "
            f"(effective sample size, median of these rows {np.median(draws[few]):.1f}), so what is computed for them "
            f"is uncertain; raise n_samples, to {10 * k} say"
        )
        warnings.warn(message, exceptions.FewDrawsWarning, stacklevel=3)


def _equal(facts: Facts) -> Finding:
    every = "all rows are" if facts.rows in (0, facts.schema.n_rows) else f"all of {facts.rows:,} rows looked at are"
    return Finding(
        "equal",
        f"{every} equal: there is nothing to learn",
        float(facts.constant_features),
        "check which columns were read, and how",
        "ConstantFeatureWarning",
    )


def _components(facts: Facts) -> Finding:
    active, total = int(facts.active.sum()), len(facts.active)
    rate = "" if facts.rate is None else f"; all together carry {nats(facts.rate)} a row"
    return Finding("components", f"{active} of {total} components are active{rate}", float(active))


def distortion(history: Sequence[Row]) -> Finding | None:
    """Return the finding on the distortion of rows."""
    kept = evaluation(history, bound=False)
    if kept is None:
        return None
    value = kept.parts["distortion"]
    return Finding("distortion", f"{kept.rows} cost {nats(value)} each to describe, given their codes", value)


def _error(facts: Facts) -> Finding | None:
    return distortion(facts.history)


def _codes(facts: Facts) -> Finding | None:
    if facts.codes is None:
        return None
    used, total, indices = facts.codes
    collapsed = used == indices
    return Finding(
        "codes",
        f"{used:,} of {total:,} codes are used" + (": all rows have the same one" if collapsed else ""),
        float(used),
        "try a lower learning_rate, or a longer fit" if collapsed else "",
        "PosteriorCollapseWarning" if collapsed else None,
    )


def _collapse(facts: Facts) -> Finding | None:
    active = int(facts.active.sum())
    if facts.rate is None or active == len(facts.active):
        return None
    most, more = active == 0, "more pieces" if facts.continued else "a longer fit"
    return Finding(
        "collapse",
        "no component carries information: the posterior has collapsed to the prior"
        if most
        else f"{len(facts.active) - active} of {len(facts.active)} components carry no information",
        float(active),
        f"try objective=ELBO(warmup=0.3) or ELBO(free_bits=0.1), or {more}"
        if most
        else f"n_components={active} would do, or keep them with objective=ELBO(free_bits=0.1)",
        "PosteriorCollapseWarning" if most else None,
    )


def _underfit(facts: Facts) -> Finding | None:
    trained = [row for row in facts.history if not row.get(REFITTED)]  # that of a refitted decoder falls by itself
    losses = [row["val_loss"] if row["val_loss"] is not None else row["loss"] for row in trained]
    curve = np.array(losses, dtype=float)
    if facts.continued or len(curve) < 8 or not np.isfinite(curve).all():
        return None
    late, total = curve[-len(curve) // 4] - curve[-1], curve.max() - curve[-1]  # it may have risen first
    if total <= 0 or late < 0.2 * total:
        return None
    fraction = late / total
    return Finding(
        "underfit",
        f"the loss was still falling: {fraction:.0%} of its whole fall came in the last quarter of the fit",
        fraction,
        "raise max_epochs or time_budget",
        "UnderfitWarning",
    )


def _overfit(facts: Facts) -> Finding | None:
    best = best_row(facts.history)
    first = facts.history[0] if facts.history else None
    if (
        facts.continued
        or best is None
        or first is None
        or best["val_loss"] is None
        or best["loss"] is None
        or first["val_loss"] is None
    ):
        return None
    # rows with other cells have other units, which is no fault of the fit
    cost = _cost(best, HELD_OUT)
    gap, fall = cost - _cost(best) + facts.shift, _cost(first, HELD_OUT) - cost
    if not (np.isfinite(gap) and np.isfinite(fall)) or fall <= 0 or gap < 0.5 * fall:
        return None
    return Finding(
        "overfit",
        f"held-out rows cost {nats(gap)} more than training rows, {gap / fall:.0%} of what training gained",
        gap,
        "use fewer components, a smaller network, or more rows",
        "OverfitWarning",
    )


def _cost(row: Row, prefix: str = "") -> float:
    """Return the loss of rows without what compares those of a batch, which is no cost of single ones."""
    return (row[prefix + LOSS] or 0.0) - math.fsum(row.get(prefix + name) or 0.0 for name in TERMS)


def _likelihood(facts: Facts) -> Finding | None:
    if isinstance(facts.likelihood, Bernoulli) and not facts.schema.binary:
        advice = "use likelihoods.ContinuousBernoulli() or likelihoods.Gaussian() for a density"
        message = "likelihood Bernoulli describes bits and the data hold values in between: scores are cross-entropies"
        return Finding("likelihood", message, float(facts.schema.highest or 0), advice, "LikelihoodMismatchWarning")
    part = facts.likelihood.likelihood if isinstance(facts.likelihood, Incomplete) else facts.likelihood
    if isinstance(part, Heterogeneous):
        return None  # each column has its own, as suits it
    if facts.schema.binary and not facts.likelihood.discrete and facts.likelihood.has_density:
        name = type(facts.likelihood).__name__
        message = f"the data are all 0 or 1 and the likelihood {name} is a density on real values"
        return Finding("likelihood", message, 1.0, "use likelihoods.Bernoulli()", "LikelihoodMismatchWarning")
    return None


def _constant(facts: Facts) -> Finding | None:
    if not facts.constant_features:
        return None
    total = facts.schema.n_features
    message = f"{facts.constant_features} of {total} features never vary and say nothing about a row"
    worth_saying = len(facts.schema.event_shape) == 1 and facts.constant_features > 0.1 * total  # not an image's margin
    return Finding(
        "constant",
        message,
        float(facts.constant_features),
        "drop them" if worth_saying else "",
        "ConstantFeatureWarning" if worth_saying else None,
    )


def _failed(facts: Facts) -> Finding | None:
    restored = sum(bool(row.get(RESTORED)) for row in facts.history)
    reasons = []
    if facts.skipped:
        reasons.append(f"{facts.skipped:,} of {facts.steps:,} steps were skipped because their gradient was not finite")
    if restored:
        reasons.append(
            f"at {restored} of {len(facts.history)} evaluations the loss was not finite or had exploded, and the last "
            "good weights were restored with a lower learning rate"
        )
    if not reasons:
        return None
    return Finding(
        "skipped",
        "; ".join(reasons),
        float(facts.skipped or restored),
        "lower learning_rate, or check networks and parts of your own",
        "NumericsWarning",
    )
