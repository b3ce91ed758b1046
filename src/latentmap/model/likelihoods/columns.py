"""Tables of mixed columns: one likelihood a column."""

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
from latentmap.model.distributions import exponential_mean, independent, log_prob_inside
from latentmap.model.likelihoods.base import Likelihood
from latentmap.model.likelihoods.levels import Categorical, CategoricalLevels
from latentmap.model.part import Learned, Sizes

BLANK = -1.0
"""Level of a category that is missing: none of them."""


@dataclass(frozen=True)
class Columns(Likelihood):
    r"""One likelihood for each column of a table, independent given the code (Nazabal et al. 2020).

    .. math:: \log p(x|z) = \sum_j \log p_j(x_j | z)

    with densities and masses side by side; a value that its column excludes gives -inf. `VAE` takes it by itself for
    data frames and files with columns of text, categories or dates. The encoder sees numbers standardised, counts on a
    logarithmic scale, and categories as one component each, which its first layer embeds; a missing category is a row
    of zeros.

    What stands for a column where one value is asked for is its mean, or its likeliest category.

    >>> part = Columns((Categorical(levels=3), Categorical(levels=2)))
    >>> p = part.distribution(part.build(Sizes((2,), 1)), torch.zeros(1, 5, 1))
    >>> p.log_prob(torch.zeros(1, 2)).exp()
    tensor([[0.3333, 0.5000]])
    """

    columns: tuple[Likelihood, ...] = ()

    def __post_init__(self) -> None:
        if not self.columns or not all(isinstance(part, Likelihood) for part in self.columns):
            raise PartError(f"columns must be one likelihood for each column of a table, got {self.columns!r}")
        for part in self.columns:
            if isinstance(part, Columns) or not part.has_density:
                raise PartError(f"{part} cannot be the likelihood of one column; use likelihoods.Gaussian('feature')")
            if getattr(part, "library", False):
                raise PartError(
                    f"{part} takes the total of a row as given, and a column has none but itself; use library=False"
                )

    @property
    def heads(self) -> int:
        """One, of as many features as the columns ask for together (`told`)."""
        return 1

    @property
    def groups(self) -> list[tuple[Likelihood, list[int]]]:
        """Columns that share a likelihood."""
        return [(part, [j for j, p in enumerate(self.columns) if p == part]) for part in dict.fromkeys(self.columns)]

    def seen(self, sizes: Sizes) -> Sizes:
        """Rows as the encoder sees them: a component for each category."""
        return replace(sizes, event=(sum(len(levels) for levels in self._seen()),))

    def told(self, sizes: Sizes) -> tuple[Sizes, int]:
        """All numbers that the columns ask for."""
        return replace(sizes, event=(sum(part.heads for part in self.columns),)), 1

    def check(self, sizes: Sizes) -> None:
        """Refuse rows with another number of columns."""
        if sizes.event != (len(self.columns),):
            raise PartError(f"likelihood Columns is one of {len(self.columns)} columns, got rows {sizes.event}")

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """What the columns learn, by group; and the mean and spread of what the encoder sees."""
        groups = [part.build(replace(sizes, event=(len(at),))) for part, at in self.groups]
        width = self.seen(sizes).features
        return {"groups": nn.ModuleList(groups), "mean": torch.zeros(width), "spread": torch.ones(width)}

    def distribution(self, own: Learned, raw: Float[Tensor, "*S O H"]) -> ColumnsDistribution:
        """Each group's, side by side."""
        groups, start = [], 0
        for (part, at), learned in zip(self.groups, own.groups, strict=True):
            width = len(at) * part.heads
            piece = raw[..., start : start + width, 0].unflatten(-1, (len(at), part.heads))
            groups.append((at, part.of_columns(learned, piece)))
            start += width
        return ColumnsDistribution(groups)

    def is_discrete(self, features: int) -> Tensor:
        """Of each column."""
        return torch.tensor([part.discrete for part in self.columns])

    def for_encoder(self, own: Learned, x: Float[Tensor, "B P"]) -> Float[Tensor, "B E"]:
        """Standardise numbers and spread categories."""
        view: Tensor = (self._view(own, x) - own.mean) / own.spread
        return view.to(x.dtype)

    def blank(self, mean: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        """Give what stands for missing cells: the mean, or no category."""
        unordered = torch.tensor([isinstance(part, Categorical) for part in self.columns], device=mean.device)
        return torch.where(unordered, BLANK, mean)

    def start(self, own: Learned, x: Float[Tensor, "B P"]) -> None:
        """Let each group look at its columns, and measure what the encoder sees."""
        for (part, at), learned in zip(self.groups, own.groups, strict=True):
            part.start(learned, x[:, at])
        view = self._view(own, x)
        numbers = torch.tensor([levels == [None] for levels in self._seen() for _ in levels], device=x.device)
        spread = view.std(0, correction=0)
        own.mean.copy_(torch.where(numbers, view.mean(0), 0.0))
        own.spread.copy_(torch.where(numbers & (spread > 0), spread, 1.0))

    def observe(self, own: Learned, x: Float[Tensor, "B P"], px: Distribution) -> Distribution:
        """As each group does, of its columns."""
        base = px.base_dist  # type: ignore[attr-defined]
        observed = []
        for (part, _), learned, (at, group) in zip(self.groups, own.groups, base.groups, strict=True):
            given = independent(group)
            found = part.observe(learned, x[:, at], given)
            observed.append((at, group if found is given else found.base_dist))  # type: ignore[attr-defined]
        return independent(ColumnsDistribution(observed))

    def check_data(self, schema: Schema, low: float, high: float) -> None:
        """Each column is checked by itself, where its likelihood is chosen."""

    def _seen(self) -> list[list[int | None]]:
        """Levels that the encoder sees of each column, or [None] for its value."""
        return [list(range(p.levels)) if isinstance(p, Categorical) else [None] for p in self.columns]

    def _view(self, own: Learned, x: Tensor) -> Tensor:
        """Rows (B, E): a component for each category, counts as their likelihood sees them."""
        views: list[Tensor] = [x[:, :0]] * len(self.columns)
        for (part, at), learned in zip(self.groups, own.groups, strict=True):
            seen = x[:, at]
            if isinstance(part, Categorical):
                levels = torch.arange(part.levels, device=x.device)
                seen = (seen * (part.levels - 1)).round()[..., None] == levels  # (B, n, L)
            else:
                seen = part.for_encoder(learned, seen)[..., None]
            for place, j in enumerate(at):
                views[j] = seen[:, place].to(x.dtype)
        return torch.cat(views, 1)


class ColumnsDistribution(Distribution):
    """Distributions of columns of several kinds, one value each: ``groups`` are columns with their distribution."""

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
        """Variance of every column, around its mean; of categories the share that is not the likeliest."""
        return self._together([_doubt(p) if isinstance(p, CategoricalLevels) else p.variance for _, p in self.groups])

    def log_prob(self, value: Float[Tensor, "*K P"]) -> Float[Tensor, "*L P"]:
        """Log-density or log-mass of each column."""
        return self._together([p.log_prob(value[..., at]) for at, p in self.groups])

    def log_prob_inside(self, value: Float[Tensor, "*K P"]) -> Float[Tensor, "*L P"]:
        """The same of values inside the support."""
        return self._together([log_prob_inside(p, value[..., at]) for at, p in self.groups])

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw every column."""
        return self._together([p.sample(torch.Size(sample_shape)) for _, p in self.groups])

    def average(self, weight: Float[Tensor, "K B"]) -> Float[Tensor, "B P"]:
        """Mean of every column over draws by their weights, or the category that is likeliest over them."""
        found = []
        for _, p in self.groups:
            if isinstance(p, CategoricalLevels):
                mass = torch.einsum("kb,kbpl->bpl", weight, p.log_masses.exp())
                found.append(mass.argmax(-1).to(weight.dtype) / p.top)
            else:
                found.append(torch.einsum("kb,kbp->bp", weight, p.mean))
        return self._together(found)

    def exponential_mean(self, rate: Float[Tensor, " P"]) -> Float[Tensor, "*S P"]:
        """Of every column."""
        return self._together([exponential_mean(p, rate[at]) for at, p in self.groups])

    def _together(self, pieces: list[Tensor]) -> Tensor:
        return torch.cat(pieces, -1)[..., self.places]


def _likeliest(p: CategoricalLevels) -> Tensor:
    level: Tensor = p.log_masses.argmax(-1).to(p.log_masses.dtype)
    return level / p.top


def _doubt(p: CategoricalLevels) -> Tensor:
    doubt: Tensor = 1 - p.log_masses.exp().amax(-1)
    return doubt
