"""Likelihoods of values from 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, distributions
from torch.nn.functional import softplus

from latentmap.data.schema import Schema
from latentmap.exceptions import PartError
from latentmap.model.distributions import LOGIT_BOUND, Within, soft_bound
from latentmap.model.likelihoods.base import Likelihood
from latentmap.model.part import Learned

ROUNDING = 1e-6
"""Tolerance beyond 0 and 1 for rounding in the change of units in single precision."""
EXACT = 40.0
"""Logits above which log(1 + e^l) is l in double precision too."""


@dataclass(frozen=True)
class Bernoulli(Likelihood):
    r"""Bernoulli likelihood of bits, with logits from the decoder.

    .. math:: \log p(x|z) = x \log \pi(z) + (1 - x) \log(1 - \pi(z))

    For values in between it is the cross-entropy that the literature reports for MNIST, not a density
    (`ContinuousBernoulli` is one). Outside [0, 1] it is -inf; in a column of a table, everywhere but at 0 and 1.

    >>> p = Bernoulli().distribution(Learned(), torch.zeros(3, 1))
    >>> p.log_prob(torch.ones(3)).exp()
    tensor([0.5000, 0.5000, 0.5000])
    """

    discrete: ClassVar[bool] = True
    support: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def distribution(self, own: Learned, raw: Float[Tensor, "*S P H"]) -> distributions.Distribution:
        """Return the cross-entropy with these logits."""
        return Greys(logits=raw.squeeze(-1), validate_args=False)

    def of_columns(self, own: Learned, raw: Float[Tensor, "*S P H"]) -> distributions.Distribution:
        """Return the Bernoulli distribution of 0 and 1."""
        return Bits(logits=raw.squeeze(-1), validate_args=False)

    def check_column(self, schema: Schema, low: float, high: float) -> None:
        """Raise a `PartError` for values between 0 and 1 too."""
        self.check_data(schema, low, high)
        if not schema.integral:
            raise PartError(
                f"likelihood Bernoulli takes 0 and 1 in a table, got values in between ({schema.lowest:g} to "
                f"{schema.highest:g}); use likelihoods.ContinuousBernoulli()"
            )


class Bits(Within, distributions.Bernoulli):
    """Bernoulli of 0 and 1."""

    def inside(self, value: Tensor) -> Tensor:
        """Return whether values are 0 or 1."""
        return (value == 0) | (value == 1)


class Greys(Within, distributions.Bernoulli):
    """Cross-entropy of values from 0 to 1, in few passes over a row."""

    def inside(self, value: Tensor) -> Tensor:
        """Return whether values lie from 0 to 1."""
        return _unit(value, value)

    def holds(self, rows: Float[Tensor, "*K P"]) -> Bool[Tensor, "*K"]:
        """Return whether rows lie in the support."""
        return _unit(rows.amin(-1), rows.amax(-1))

    def log_prob_of_rows(self, value: Float[Tensor, "*K P"]) -> Float[Tensor, "*L"]:
        r"""Sum :math:`x l - \log(1 + e^l)` with logits l over features, for rows inside the support."""
        costs = torch.addcmul(softplus(self.logits, threshold=EXACT), value, self.logits, value=-1)
        return -costs.sum(-1)


@dataclass(frozen=True)
class ContinuousBernoulli(Likelihood):
    r"""Continuous Bernoulli likelihood on [0, 1] (Loaiza-Ganem and Cunningham 2019); its mean is not its parameter.

    .. math:: p(x|z) = C(\lambda)\, \lambda^x (1 - \lambda)^{1 - x}, \qquad
              C(\lambda) = \frac{2 \tanh^{-1}(1 - 2\lambda)}{1 - 2\lambda}

    with logits of lambda from the decoder, bounded softly by 15.

    >>> p = ContinuousBernoulli().distribution(Learned(), torch.tensor([[2.0]]))
    >>> round(p.mean.item(), 3), round(torch.sigmoid(torch.tensor(2.0)).item(), 3)
    (0.656, 0.881)
    """

    support: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def distribution(self, own: Learned, raw: Float[Tensor, "*S P H"]) -> distributions.Distribution:
        """Return the continuous Bernoulli with these logits, where its normaliser is exact in single precision."""
        return UnitDensity(logits=soft_bound(raw.squeeze(-1), LOGIT_BOUND), validate_args=False)


class UnitDensity(Within, distributions.ContinuousBernoulli):
    """Continuous Bernoulli on [0, 1]."""

    def inside(self, value: Tensor) -> Tensor:
        """Return whether values lie from 0 to 1."""
        return _unit(value, value)


def _unit(low: Tensor, high: Tensor) -> Tensor:
    return (low >= -ROUNDING) & (high <= 1 + ROUNDING)
