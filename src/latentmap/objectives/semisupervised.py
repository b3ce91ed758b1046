"""The objective of a conditional model whose classes are known for some rows alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from latentmap.exceptions import PartError
from latentmap.model.part import Learned, positive
from latentmap.model.trace import Model, Trace
from latentmap.objectives.base import DISTORTION, MODEL, RATE, Objective, Scales, require_density


@dataclass(frozen=True)
class SemiSupervised(Objective):
    r"""Evidence lower bound over rows and classes, where classes that are missing are summed over (Kingma et al. 2014).

    With the cost of a row as class c, :math:`-\mathcal{L}(x, c) = \text{distortion} + \text{rate} + \log C`,

    .. math:: \text{cost}(x, c) = -\mathcal{L}(x, c) - w \log q(c|x), \qquad
              \text{cost}(x) = \sum_c q(c|x) \left[ -\mathcal{L}(x, c) + \log q(c|x) \right],

    the latter for rows without class, an upper bound on -log p(x). A step takes as long as C of a conditional model.

    Parameters
    ----------
    weight : float, default=10.0
        Nats w for each row with a class, which train q(c|x) on the labels: too few, and the model may find other groups
        than theirs.

    Examples
    --------
    >>> SemiSupervised(weight=-1.0)
    Traceback (most recent call last):
    latentmap.exceptions.PartError: weight must be a finite number > 0, got -1.0
    """

    weight: float = 10.0

    def __post_init__(self) -> None:
        positive("weight", self.weight)

    @property
    def needs_batch(self) -> bool:
        """True, as the classifier's cost is a mean over the rows of a batch that have a class."""
        return True

    @property
    def standardises(self) -> Scales | None:
        """Return "each", as the rates of all classes count by their probability."""
        return "each"

    def encodings(self, model: Model, x: Float[Tensor, "B P"]) -> Iterator[tuple[Distribution, Float[Tensor, " B"]]]:
        """Yield q(z|x, c) of each class, with the probability that a row is of it."""
        known = model.condition
        assert known is not None
        weights = _weights(known, model.classify(x))
        for one, weight in zip(torch.eye(known.shape[1]).to(known), weights.T, strict=True):
            yield model.given(one.expand_as(known)).encode(x), weight

    def check_model(self, model: Model, trace: Trace) -> None:
        """Raise a `PartError` for models without rate, or without classes to infer."""
        require_density("objectives.SemiSupervised", trace)
        if model.condition is None:
            raise PartError("objectives.SemiSupervised needs classes; use VAE(condition='labels')")
        model.classify(trace.x)

    def losses(self, own: Learned, model: Model, trace: Trace, progress: Float[Tensor, ""]) -> Mapping[str, Tensor]:
        """Compute the mean cost over the batch."""
        known = model.condition
        assert known is not None
        rows, classes = known.shape
        each = torch.eye(classes, dtype=known.dtype, device=known.device).repeat_interleave(rows, 0)  # (C B, C)
        traced = model.given(each).trace(trace.x.repeat(classes, 1), trace.levels[0].z.shape[0], trace.noise)
        cost = (traced.distortion + traced.rate).unflatten(0, (classes, rows)).T + math.log(classes)  # (B, C)
        log_q = model.classify(trace.x)
        labelled = known.sum(1)  # (B,) 1 or 0
        inferred = (log_q.exp() * (cost + log_q)).sum(1)
        count = own.processes.sum(labelled.sum()).clamp(min=1.0) / own.processes.world_size
        classification = self.weight * (-(known * log_q).sum() / count)
        loss = ((known * cost).sum(1) + (1 - labelled) * inferred).mean() + classification
        weights = _weights(known, log_q)
        means = [((weights.T.flatten() * term).sum() / rows) for term in (traced.distortion, traced.rate)]
        class_rate = (log_q.exp() * (log_q + math.log(classes))).sum(1)  # KL(q(c|x) || 1/C)
        return {
            MODEL: loss,
            DISTORTION: means[0],
            RATE: means[1],
            "class_rate": ((1 - labelled) * class_rate).mean(),
            "class_prior": labelled.mean() * math.log(classes),
            "classification": classification,
        }


def _weights(known: Float[Tensor, "B C"], log_q: Float[Tensor, "B C"]) -> Float[Tensor, "B C"]:
    """Return the probability of each class: 1 for one that is known, q(c|x) of a row without."""
    return known + (1 - known.sum(1, keepdim=True)) * log_q.exp()
