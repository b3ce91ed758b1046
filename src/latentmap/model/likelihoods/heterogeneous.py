"""Likelihood of tables with columns of several kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution

from latentmap.data.schema import Schema
from latentmap.exceptions import PartError
from latentmap.model.distributions import average, exponential_mean, log_prob_inside
from latentmap.model.likelihoods.base import Likelihood
from latentmap.model.likelihoods.circular import VonMises
from latentmap.model.likelihoods.levels import Categorical, CategoricalLevels
from latentmap.model.part import Learned, Sizes

BLANK = -1.0
"""Level of a missing category."""


@dataclass(frozen=True)
class Heterogeneous(Likelihood):
    r"""Product of one likelihood for each column of a table, as in HI-VAE (Nazabal et al. 2020).

    .. math:: \log p(x|z) = \sum_j \log p_j(x_j | z)

    of densities and masses; a value outside its column's support has -inf. `VAE` chooses it for data frames and files
    with columns of text, categories or dates. The encoder reads standardised numbers, counts on a logarithmic scale,
    cosine and sine of angles, and one-hot categories, all zeros where one is missing. A column's point estimate is its
    mean, or its likeliest category.

    Parameters
    ----------
    columns : tuple of Likelihood
        The likelihood of each column.

    Examples
    --------
    >>> part = Heterogeneous((Categorical(levels=3), Categorical(levels=2)))
    >>> p = part.distribution(part.build(Sizes((2,), 1)), torch.zeros(1, 5, 1))
    >>> p.log_prob(torch.zeros(1, 2)).exp()
    tensor([[0.3333, 0.5000]])
    """

    columns: tuple[Likelihood, ...] = ()

    def __post_init__(self) -> None:
        if not self.columns or not all(isinstance(part, Likelihood) for part in self.columns):
            raise PartError(f"columns must be one likelihood for each column of a table, got {self.columns!r}")
        for part in self.columns:
            if isinstance(part, Heterogeneous) or not part.has_density:
                raise PartError(f"{part} cannot be the likelihood of one column; use likelihoods.Gaussian('feature')")
            if getattr(part, "library", False):
                raise PartError(f"{part} conditions on the total of a row, and a column has none; use library=False")

    @property
    def groups(self) -> list[tuple[Likelihood, list[int]]]:
        """Distinct likelihoods, each with its columns."""
        return [(part, [j for j, p in enumerate(self.columns) if p == part]) for part in dict.fromkeys(self.columns)]

    def encoder_sizes(self, sizes: Sizes) -> Sizes:
        """Return sizes with a feature for each category and one for any other column."""
        return replace(sizes, event=(sum(self._widths()),))

    def decoder_sizes(self, sizes: Sizes) -> tuple[Sizes, int]:
        """Return sizes with a feature for each number that a column takes from the decoder."""
        return replace(sizes, event=(sum(part.heads for part in self.columns),)), 1

    def check(self, sizes: Sizes) -> None:
        """Raise a `PartError` for rows with another number of columns."""
        if sizes.event != (len(self.columns),):
            raise PartError(f"likelihood Heterogeneous is one of {len(self.columns)} columns, got rows {sizes.event}")

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return the state of each group, and the mean and spread of the encoder's inputs."""
        groups = [part.build(replace(sizes, event=(len(at),))) for part, at in self.groups]
        width = len(self._is_number())
        return {"groups": nn.ModuleList(groups), "mean": torch.zeros(width), "spread": torch.ones(width)}

    def distribution(self, own: Learned, raw: Float[Tensor, "*S O H"]) -> HeterogeneousDistribution:
        """Return the product of the groups' distributions."""
        groups = self._with_states(own)
        pieces = raw[..., 0].split([len(at) * part.heads for part, at, _ in groups], -1)
        return HeterogeneousDistribution(
            [
                (at, part.of_columns(state, piece.unflatten(-1, (len(at), part.heads))))
                for (part, at, state), piece in zip(groups, pieces, strict=True)
            ]
        )

    def is_discrete(self, features: int) -> Tensor:
        """Return whether the values of each column have a mass."""
        return torch.tensor([part.discrete for part in self.columns])

    def encoder_inputs(self, own: Learned, x: Float[Tensor, "B P"]) -> Float[Tensor, "B E"]:
        """Return standardised numbers and one-hot categories."""
        inputs: Tensor = (self._raw_inputs(own, x) - own.mean) / own.spread
        return inputs.to(x.dtype)

    def blank(self, mean: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        """Return the fill values of missing cells: means, or no category."""
        unordered = torch.tensor([isinstance(part, Categorical) for part in self.columns], device=mean.device)
        return torch.where(unordered, BLANK, mean)

    def start(self, own: Learned, x: Float[Tensor, "B P"]) -> None:
        """Initialise each group from its columns, and the mean and spread of the encoder's inputs."""
        for part, at, state in self._with_states(own):
            part.start(state, x[:, at])
        inputs = self._raw_inputs(own, x)
        numbers = torch.tensor(self._is_number(), device=x.device)
        spread = inputs.std(0, correction=0)
        own.mean.copy_(torch.where(numbers, inputs.mean(0), 0.0))
        own.spread.copy_(torch.where(numbers & (spread > 0), spread, 1.0))

    def condition_on(self, own: Learned, x: Float[Tensor, "B P"], px: Distribution) -> HeterogeneousDistribution:
        """Return the product of the groups' distributions given their columns."""
        assert isinstance(px, HeterogeneousDistribution)
        groups = zip(self._with_states(own), px.groups, strict=True)
        return HeterogeneousDistribution(
            [(at, part.condition_on(state, x[:, at], p)) for (part, at, state), (_, p) in groups]
        )

    def update(self, own: Learned, x: Float[Tensor, "B P"], px: Distribution) -> None:
        """Update each group with its columns."""
        assert isinstance(px, HeterogeneousDistribution)
        for (part, at, state), (_, p) in zip(self._with_states(own), px.groups, strict=True):
            part.update(state, x[:, at], p)

    def check_data(self, schema: Schema, low: float, high: float) -> None:
        """Accept all data: each column is checked where its likelihood is chosen."""

    def _with_states(self, own: Learned) -> list[tuple[Likelihood, list[int], Learned]]:
        """Return the groups, each with its state."""
        return [(part, at, state) for (part, at), state in zip(self.groups, own.groups, strict=True)]

    def _is_number(self) -> list[bool]:
        """Return whether each of the encoder's inputs is a number, not the component of a category."""
        return [
            not isinstance(p, Categorical) for p, n in zip(self.columns, self._widths(), strict=True) for _ in range(n)
        ]

    def _widths(self) -> list[int]:
        """Return the encoder's inputs of each column."""
        return [p.levels if isinstance(p, Categorical) else 1 + isinstance(p, VonMises) for p in self.columns]

    def _raw_inputs(self, own: Learned, x: Tensor) -> Tensor:
        """Return the encoder's inputs before they are standardised, (B, E)."""
        inputs: list[Tensor] = [x[:, :0]] * len(self.columns)
        for part, at, state in self._with_states(own):
            values = x[:, at]
            if isinstance(part, Categorical):
                levels = torch.arange(part.levels, device=x.device)
                values = (values * (part.levels - 1)).round()[..., None] == levels  # (B, n, L)
            elif isinstance(part, VonMises):
                values = torch.stack([values.cos(), values.sin()], -1)
            else:
                values = part.encoder_inputs(state, values)[..., None]
            for place, j in enumerate(at):
                inputs[j] = values[:, place].to(x.dtype)
        return torch.cat(inputs, 1)


class HeterogeneousDistribution(Distribution):
    """Product of distributions of columns, one value each; ``groups`` pairs columns with their distribution."""

    arg_constraints: dict[str, Any] = {}

    def __init__(self, groups: Sequence[tuple[list[int], Distribution]]) -> None:
        self.groups = groups
        order = [j for at, _ in groups for j in at]
        self.places = [order.index(j) for j in range(len(order))]
        super().__init__(torch.Size((*groups[0][1].batch_shape[:-1], len(order))), validate_args=False)

    @property
    def mean(self) -> Float[Tensor, "*S P"]:
        """Mean of every column, or its likeliest category."""
        return self._together([_likeliest(p) if isinstance(p, CategoricalLevels) else p.mean for _, p in self.groups])

    @property
    def variance(self) -> Float[Tensor, "*S P"]:
        """Variance of every column around its mean; of categories, the probability of all but the likeliest."""
        return self._together([_doubt(p) if isinstance(p, CategoricalLevels) else p.variance for _, p in self.groups])

    def log_prob(self, value: Float[Tensor, "*K P"]) -> Float[Tensor, "*L P"]:
        """Log-density or log-mass of each column."""
        return self._together([p.log_prob(value[..., at]) for at, p in self.groups])

    def log_prob_inside(self, value: Float[Tensor, "*K P"]) -> Float[Tensor, "*L P"]:
        """Log-density or log-mass of values inside the support."""
        return self._together([log_prob_inside(p, value[..., at]) for at, p in self.groups])

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw every column."""
        return self._together([p.sample(torch.Size(sample_shape)) for _, p in self.groups])

    def average(self, weight: Float[Tensor, "K B"]) -> Float[Tensor, "B P"]:
        """Average means over draws by their weights; of categories, take the likeliest on average."""
        averages = []
        for _, p in self.groups:
            if isinstance(p, CategoricalLevels):
                mass = torch.einsum("kb,kbpl->bpl", weight, p.log_masses.exp())
                averages.append(p.likeliest(mass).to(weight.dtype) / p.top)
            else:
                averages.append(average(p, weight))
        return self._together(averages)

    def exponential_mean(self, rate: Float[Tensor, " P"]) -> Float[Tensor, "*S P"]:
        """Return the `exponential_mean` of every column."""
        return self._together([exponential_mean(p, rate[at]) for at, p in self.groups])

    def _together(self, pieces: list[Tensor]) -> Tensor:
        return torch.cat(pieces, -1)[..., self.places]


def _likeliest(p: CategoricalLevels) -> Tensor:
    return p.likeliest().to(p.log_masses.dtype) / p.top


def _doubt(p: CategoricalLevels) -> Tensor:
    return 1 - p.chance
