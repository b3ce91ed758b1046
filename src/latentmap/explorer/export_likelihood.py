"""Means of likelihoods as data: how a page turns a decoder's output into values in the units of the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from latentmap.exceptions import ModelError
from latentmap.explorer.export_arrays import pack
from latentmap.model.distributions import LEVELS_LOG_SCALE_BOUND, LOG_MEAN_BOUND, LOGIT_BOUND
from latentmap.model.likelihoods import (
    MSSSIM,
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
    Heterogeneous,
    Incomplete,
    Laplace,
    Likelihood,
    LogisticMixture,
    NegativeBinomial,
    Poisson,
    StudentT,
    VonMises,
    ZeroInflated,
)
from latentmap.model.likelihoods.levels import REACH, SHARPEST, START
from latentmap.model.part import Learned


class Inexpressible(ModelError):
    """A part of a model that a page cannot compute; the message names it."""


Head = dict[str, Any]
"""Mean of some columns: its kind, its settings, the columns ``at`` (None for all), and its numbers for each."""


def describe_likelihood(part: Likelihood, own: Learned) -> list[Head]:
    """Return the mean of each group of columns, in the order of the decoder's output.

    Raises
    ------
    Inexpressible
        For a likelihood of the user's own.
    """
    if type(part) is Incomplete:
        return describe_likelihood(part.likelihood, own)
    if type(part) is not Heterogeneous:
        return [_head(part, own) | {"at": None, "heads": part.heads}]
    groups = zip(part.groups, own.groups, strict=True)
    return [_head(one, state, column=True) | {"at": list(at), "heads": one.heads} for (one, at), state in groups]


def _head(part: Likelihood, own: Learned, *, column: bool = False) -> Head:
    """Return the mean of one likelihood; of categories in a column of a table, the likeliest."""
    describe = _HEADS.get(type(part))
    if describe is None:
        raise Inexpressible(f"the likelihood {type(part).__name__}")
    head = describe(part, own)
    if column and type(part) is Categorical:
        return head | {"kind": "category", "pooled": part.pooled}
    return head | {"kind": "bit"} if column and type(part) is Bernoulli else head


def _location(part: Likelihood, own: Learned) -> Head:
    return {"kind": "location"}


def _sigmoid(part: Likelihood, own: Learned) -> Head:
    return {"kind": "sigmoid"}


def _continuous(part: Likelihood, own: Learned) -> Head:
    return {"kind": "continuous", "bound": LOGIT_BOUND}


def _levels(part: Any, own: Learned) -> Head:
    return {"kind": "levels", "levels": part.levels}


def _logistics(part: Any, own: Learned) -> Head:
    return {
        "kind": "logistics",
        "components": part.heads // 3 if type(part) is LogisticMixture else 1,
        "weighted": type(part) is LogisticMixture,
        "top": part.levels - 1,
        "start": START,
        "bound": LEVELS_LOG_SCALE_BOUND,
        "sharpest": SHARPEST,
        "reach": REACH,
    }


def _direction(part: Likelihood, own: Learned) -> Head:
    return {"kind": "direction"}


def _counts(part: Any, own: Learned) -> Head:
    library: Tensor | None = own.log_library if part.library else None
    return {
        "kind": "counts",
        "bound": LOG_MEAN_BOUND,
        "log_mean": pack(own.log_mean.cpu().numpy()),
        "log_library": None if library is None else float(library),
        "inflated": type(part) is ZeroInflated,
    }


_HEADS: dict[type[Likelihood], Callable[[Any, Learned], Head]] = {
    Gaussian: _location,
    Laplace: _location,
    StudentT: _location,
    Bernoulli: _sigmoid,
    MSSSIM: _sigmoid,
    ContinuousBernoulli: _continuous,
    Categorical: _levels,
    DiscretizedLogistic: _logistics,
    LogisticMixture: _logistics,
    VonMises: _direction,
    Poisson: _counts,
    NegativeBinomial: _counts,
    ZeroInflated: _counts,
}
