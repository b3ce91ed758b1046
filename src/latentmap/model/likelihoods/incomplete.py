"""Likelihood of rows with missing cells."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from latentmap.exceptions import PartError
from latentmap.model.distributions import average, exponential_mean, log_prob_inside
from latentmap.model.likelihoods.base import Likelihood
from latentmap.model.likelihoods.real import Gaussian
from latentmap.model.noise import Noise
from latentmap.model.part import Learned, Sizes, forwarded


@dataclass(frozen=True)
class Incomplete(Likelihood):
    r"""Likelihood of rows with missing cells (NaN), which drop out of the sum over features.

    .. math:: \log p(x_{\mathrm{obs}}|z) = \sum_{j\ \mathrm{observed}} \log p(x_j|z)

    Features are independent given the code, so leaving a factor out integrates over its cell, and the bound is one on
    :math:`\log p(x_{\mathrm{obs}})`: that of the data wherever what is missing does not depend on its own value
    (Mattei and Frellsen 2019). The encoder reads the column's mean in place of a missing cell, and the mask. `VAE`
    chooses this likelihood for rows with missing cells and for tables of mixed columns; pass it to let a model that is
    fitted to complete rows read incomplete ones later.

    Parameters
    ----------
    likelihood : Likelihood, default=Gaussian()
        Likelihood of each cell; its features have to be independent given the code.
    masked : float, default=0.5
        Copies with randomly hidden cells that training adds, as a fraction of the rows of a batch, so that q(z|x) is
        accurate for any missing cells (Ivanov et al. 2019). Each hides a uniformly drawn fraction of its cells, and is
        scored on the rest. With 0 there are none, and the encoder does not read the mask, as before version 0.2; an
        encoder of your own never does.

    Examples
    --------
    >>> part = Incomplete(Gaussian(scale=1.0))
    >>> p = part.distribution(part.build(Sizes((2,), 1)), torch.zeros(1, 2, 1))
    >>> p.log_prob(torch.tensor([[0.0, torch.nan]]))
    tensor([-0.9189])
    """

    _earlier: ClassVar[Mapping[str, Any]] = {"masked": 0.0}

    likelihood: Likelihood = field(default_factory=Gaussian)
    masked: float = 0.5

    def __post_init__(self) -> None:
        if isinstance(self.likelihood, Incomplete) or not isinstance(self.likelihood, Likelihood):
            raise PartError(f"likelihood must be one such as likelihoods.Gaussian(), got {self.likelihood!r}")
        if not self.likelihood.has_density:
            raise PartError(
                f"missing cells cannot be left out of {self.likelihood}, which has no density by features; "
                "use likelihoods.Gaussian(), or fill them before fitting"
            )
        if getattr(self.likelihood, "library", False):
            raise PartError("rows with missing counts have no total: leave library=False, or fill them before fitting")
        if not 0 <= self.masked <= 1:
            raise PartError(f"masked must be a fraction of the rows of a batch, from 0 to 1, got {self.masked!r}")

    discrete = forwarded("likelihood")
    support = forwarded("likelihood")
    heads = forwarded("likelihood")
    check = forwarded("likelihood")
    scaling = forwarded("likelihood")
    encoder_sizes = forwarded("likelihood")
    decoder_sizes = forwarded("likelihood")
    is_discrete = forwarded("likelihood")
    blank = forwarded("likelihood")
    check_data = forwarded("likelihood")

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return the state of the wrapped likelihood, and the encoder's fill values."""
        return self.likelihood.init(sizes) | {"fill": torch.zeros(sizes.features)}

    def distribution(self, own: Learned, raw: Float[Tensor, "*S P H"]) -> ObservedCells:
        """Return p(x|z) of the observed cells."""
        return ObservedCells(self.likelihood.distribution(own, raw))

    def complete(self, own: Learned, x: Float[Tensor, "B P"]) -> Float[Tensor, "B P"]:
        """Fill missing cells with the means of the columns."""
        return torch.where(x.isnan(), own.fill, x)

    def encoder_inputs(self, own: Learned, x: Float[Tensor, "B P"]) -> Float[Tensor, "B E"]:
        """Return the wrapped likelihood's inputs of completed rows."""
        return self.likelihood.encoder_inputs(own, self.complete(own, x))

    def sizes_with_mask(self, sizes: Sizes) -> Sizes:
        """Add a feature for each cell of a row, or as many channels as an image has."""
        inputs: Sizes = self.encoder_sizes(sizes)
        if not self.masked:
            return inputs
        if len(inputs.event) == 1:
            return replace(inputs, event=(inputs.features + sizes.features,))
        return replace(inputs, event=(*inputs.event[:2], 2 * math.prod(inputs.event[2:])))

    def append_mask(self, inputs: Float[Tensor, "B E"], x: Float[Tensor, "B P"]) -> Float[Tensor, "B M"]:
        """Append 1 for each missing cell, 0 for each observed one."""
        if not self.masked:
            return inputs
        missing = x.isnan().to(inputs.dtype)
        if missing.shape != inputs.shape:
            return torch.cat([inputs, missing], 1)
        return torch.stack([inputs, missing], 2).flatten(1)  # a channel after each of an image's

    def copies(self, x: Float[Tensor, "B P"], noise: Noise) -> Float[Tensor, "N P"] | None:
        """Return copies of the first rows, each with a uniformly drawn fraction of its cells hidden."""
        if not self.masked:
            return None
        copies = x[: math.ceil(self.masked * len(x))]
        fraction, cell = (noise.uniform((1, *shape), copies)[0] for shape in ((len(copies), 1), copies.shape))
        return copies.masked_fill(cell < fraction, torch.nan)

    def start(self, own: Learned, x: Float[Tensor, "B P"]) -> None:
        """Initialise the fill values, and the wrapped likelihood from completed rows."""
        own.fill.copy_(self.blank(x.nanmean(0).nan_to_num()))
        self.likelihood.start(own, self.complete(own, x))

    def condition_on(self, own: Learned, x: Float[Tensor, "B P"], px: Distribution) -> ObservedCells:
        """Return the wrapped likelihood's p(x|z) given the rows, of the observed cells."""
        return ObservedCells(self.likelihood.condition_on(own, x, _cells(px)))

    def update(self, own: Learned, x: Float[Tensor, "B P"], px: Distribution) -> None:
        """Update the wrapped likelihood with the observed cells."""
        self.likelihood.update(own, x, _cells(px))


class ObservedCells(Distribution):
    """Independent features (P,), whose log-density leaves out NaN; moments and draws are those of every cell."""

    arg_constraints: dict[str, Any] = {}

    def __init__(self, base: Distribution) -> None:
        if base.event_shape:
            raise PartError(f"missing cells cannot be left out of a {type(base).__name__} over all features at once")
        self.base = base
        super().__init__(base.batch_shape[:-1], base.batch_shape[-1:], validate_args=False)

    mean = forwarded("base")
    variance = forwarded("base")
    sample = forwarded("base")

    def average(self, weight: Float[Tensor, "K B"]) -> Float[Tensor, "B P"]:
        """Average over draws by their weights."""
        return average(self.base, weight)

    def exponential_mean(self, rate: Float[Tensor, " P"]) -> Float[Tensor, "*S P"]:
        """Return the `exponential_mean` of every cell."""
        return exponential_mean(self.base, rate)

    def log_prob(self, value: Float[Tensor, "*K P"]) -> Float[Tensor, "*L"]:
        """Sum over the observed cells; -inf where one of them lies outside its support."""
        return self._present(self.base.log_prob, value)

    def log_prob_inside(self, value: Float[Tensor, "*K P"]) -> Float[Tensor, "*L"]:
        """Sum over the observed cells, all of them inside the support."""
        return self._present(functools.partial(log_prob_inside, self.base), value)

    def _present(self, log_prob: Callable[[Tensor], Tensor], value: Tensor) -> Tensor:
        missing = value.isnan()
        return log_prob(value.masked_fill(missing, 0.0)).masked_fill(missing, 0.0).sum(-1)


def _cells(px: Distribution) -> Distribution:
    """Return the distributions of all cells, observed or not."""
    assert isinstance(px, ObservedCells)
    return px.base
