"""Repulsion of the codes of a map from all others, pair by pair or by a grid, and its potential at any place."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from scipy.fft import next_fast_len
from torch import Tensor

PAIRWISE = 512
"""Codes up to which the forces of all pairs are summed."""
SPACING, MARGIN = 0.5, 4
"""Distance of the nodes of a grid, in the units of the kernel, and nodes beyond the last code."""
INTERVALS = 50
"""Intervals from the first to the last of codes that repel each other, at the least: they begin close together."""
MOST_NODES, WIDER = 2**22, 1.2
"""Nodes of a padded grid at the most, and how its nodes move apart where codes that are far apart would need more."""
LONG = 100.0
"""Distance of codes from their mean from which on products of pairs take double precision."""
FAR_CODES = 256
"""Codes beyond a fine grid up to which they are summed with all others."""
CACHED, GPU_VALUES = 2**19, 2**26
"""Kernels that are computed at a time, at the most: on a CPU as many as its cache holds, else as memory does."""
SOME = 1000
"""Rows of a map by which it is measured."""
SCALES = 2.0 ** torch.arange(0, 8, 0.5)
"""Scales of the kernel among which the one that fits the codes is chosen, per standard deviation of the codes."""


class Repulsion:
    r"""Sums of the kernel by which t-SNE repels codes y with masses m.

    .. math:: K_{ij} = \frac1{1 + \|y_i - y_j\|^2}, \qquad
              Z = \sum_{ij} m_i m_j K_{ij} - \sum_i m_i, \qquad F_i = \sum_j m_j K_{ij}^2 (y_i - y_j),

    where a mass is the number of rows that share a code, so that Z is over all pairs of rows. Up to 512 codes, and in
    three dimensions or more, all pairs are summed. More are spread to the nodes of a grid by cubic
    B-splines, convolved with the kernel by FFT, and interpolated by the splines and their derivatives (smooth particle
    mesh Ewald, Essmann et al. 1995; FIt-SNE, Linderman et al. 2019, interpolates by polynomials). Codes too far away
    for a fine grid, of which there may be as many, are summed with all others.

    Parameters
    ----------
    pairwise : int, default=512
        Codes up to which all pairs are summed.
    spacing : float, default=0.5
        Distance of the nodes of the grid.

    Examples
    --------
    >>> y, masses = torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.ones(2)
    >>> total, force = Repulsion()(y, masses)
    >>> total.item(), force.tolist()
    (1.0, [[-0.25, 0.0], [0.25, 0.0]])
    """

    def __init__(self, pairwise: int = PAIRWISE, spacing: float = SPACING) -> None:
        self.pairwise = pairwise
        self.spacing = spacing
        self._kernel: tuple[tuple[object, ...], Tensor] | None = None

    def __call__(
        self, y: Float[Tensor, "N D"], masses: Float[Tensor, " N"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "N D"]]:
        """Return Z and F."""
        if y.shape[1] > 2 or len(y) <= self.pairwise:
            return self._pairs(y, masses)
        far = _far(y, self.spacing)
        if not 0 < int(far.sum()) <= FAR_CODES:
            return self._by_grid(y, masses)
        alone, some = far.nonzero()[:, 0], (~far).nonzero()[:, 0]
        total, near = self._by_grid(y[some], masses[some])
        apart = y[alone, None] - y  # (F, N, D)
        kernel = 1 / (1 + apart.square().sum(2))
        pulls = kernel.square()[:, :, None] * apart
        force = torch.zeros_like(y).index_copy_(0, some, near)
        force -= (masses[alone, None, None] * pulls).sum(0)
        force[alone] = (masses[:, None] * pulls).sum(1)
        own = masses[alone] @ kernel
        both = 2 * (own @ masses) - own[alone] @ masses[alone] - masses[alone].sum()
        return total + both, force

    def _pairs(self, y: Tensor, masses: Tensor) -> tuple[Tensor, Tensor]:
        given, y = y, y - y.mean(0)
        if bool(y.abs().max() > LONG):
            y, masses = y.double(), masses.double()
        weighted = torch.cat([masses[:, None], masses[:, None] * y], 1)
        sums, squares = [], []
        for kernel in kernel_blocks(y, 0, len(y)):
            sums.append(kernel @ masses)
            squares.append(kernel.square_() @ weighted)
        near = torch.cat(squares)
        total = masses @ torch.cat(sums) + (masses * (masses - 1)).sum()  # kernels of a code and itself are left out
        return total.to(given), (near[:, :1] * y - near[:, 1:]).to(given)

    def _by_grid(self, y: Tensor, masses: Tensor) -> tuple[Tensor, Tensor]:
        span = float((y.amax(0) - y.amin(0)).max())
        grid = Grid.over(y, min(self.spacing, span / INTERVALS) if span > 0 else self.spacing)
        key = grid.size, grid.spacing, y.shape[1], y.device
        if self._kernel is None or self._kernel[0] != key:
            self._kernel = key, grid.kernel(y)
        stencil = grid.stencil(y)
        potential, slope = stencil.interpolated(grid.convolved(stencil, masses, self._kernel[1]))
        return masses @ potential - masses.sum(), slope / -2  # as the slope of K is -2 K^2 (y_i - y_j)


class Potential:
    r"""The sum of the kernel of t-SNE over some codes, and its gradient, at any place among them, by a grid.

    .. math:: \Phi(z) = \sum_j \frac1{1 + \|z - y_j\|^2}

    Places beyond the grid, which ends two units beyond the last code, have the values of its edge; where there are
    codes too far away for a fine grid, they have the sum over all codes.

    Parameters
    ----------
    y : Tensor of shape (N, D)
        Codes, of one to three dimensions.

    Examples
    --------
    >>> potential, slope = Potential(torch.zeros(3, 2, dtype=torch.float64))(torch.tensor([[1.0, 0.0]]).double())
    >>> potential.round(decimals=1).tolist(), slope.round(decimals=1).abs().tolist()
    ([1.5], [[1.5, 0.0]])
    """

    def __init__(self, y: Float[Tensor, "N D"]) -> None:
        far = _far(y, SPACING)
        far &= int(far.sum()) <= FAR_CODES
        self.alone, self.all, y = y[far], y, y[~far]
        self.low, self.high = y.amin(0) - SPACING * MARGIN, y.amax(0) + SPACING * MARGIN
        self.grid = Grid.over(y, SPACING)
        self.nodes = self.grid.convolved(self.grid.stencil(y), torch.ones_like(y[:, 0]), self.grid.kernel(y))

    def __call__(self, z: Float[Tensor, "B D"]) -> tuple[Float[Tensor, " B"], Float[Tensor, "B D"]]:
        """Return the potential and its gradient."""
        potential, slope = self.grid.stencil(z).interpolated(self.nodes)
        if len(self.alone):
            more, steeper = _summed(z, self.alone)
            potential, slope = potential + more, slope + steeper
            beyond = ((z < self.low) | (z > self.high)).any(1)
            for some in beyond.nonzero()[:, 0].split(SOME):
                potential[some], slope[some] = _summed(z[some], self.all)
        return potential, slope


@dataclass(frozen=True, eq=False)
class Stencil:
    """The nodes (K, B) by which places are interpolated, with the weights (D, 4, B) of the four along each axis."""

    nodes: Int[Tensor, "K B"]
    values: Float[Tensor, "D 4 B"]
    slopes: Float[Tensor, "D 4 B"]

    def interpolated(self, grid: Float[Tensor, " G"]) -> tuple[Float[Tensor, " B"], Float[Tensor, "B D"]]:
        """Return the values of a grid at the places, and their gradients."""
        around, slopes = grid.index_select(0, self.nodes.flatten()), list[Tensor]()
        for values, steep in zip(self.values.flip(0), self.slopes.flip(0), strict=True):
            around = around.view(-1, *values.shape)  # the last axis varies fastest
            slopes = [(slope.view(around.shape) * values).sum(1) for slope in slopes]
            slopes.insert(0, (around * steep).sum(1))
            around = (around * values).sum(1)
        return around[0], torch.cat(slopes).T

    def weights(self) -> Float[Tensor, "K B"]:
        """Return the weight of each node."""
        weights: Tensor = self.values[0]
        for values in self.values[1:]:
            weights = (weights[:, None] * values).flatten(0, 1)
        return weights


@dataclass(frozen=True, eq=False)
class Grid:
    """Nodes of equal spacing around some codes, half of them padding along each axis."""

    low: Float[Tensor, " D"]
    spacing: float
    size: int

    @classmethod
    def over(cls, y: Float[Tensor, "N D"], spacing: float) -> Grid:
        """Return a grid around codes, of wider spacing where it would have too many nodes."""
        low, d = y.amin(0), y.shape[1]
        span, most = float((y.amax(0) - low).max()), int(MOST_NODES ** (1 / d))
        while (nodes := 2 * (math.ceil(span / spacing) + 3 * MARGIN)) > most:  # two margins, and the last stencil
            spacing *= WIDER
        return cls(low - MARGIN * spacing, spacing, next_fast_len(nodes, real=True))

    def stencil(self, y: Float[Tensor, "B D"]) -> Stencil:
        """Return how places are interpolated; those beyond the grid by its edge."""
        at = ((y - self.low) / self.spacing).clamp(0.0, self.size / 2 - MARGIN).T
        cell = torch.floor(at)
        values, slopes = _splines(at - cell)
        first = torch.zeros(len(y), dtype=torch.int64, device=y.device)
        around = torch.zeros(1, dtype=torch.int64, device=y.device)
        for along in cell.long():
            first = self.size * first + along
            around = (self.size * around[:, None] + torch.arange(4, device=y.device)).flatten()
        return Stencil(first + around[:, None], values, slopes / self.spacing)

    def kernel(self, like: Float[Tensor, "B D"]) -> Tensor:
        """Return the Fourier transform of the kernel, over that of the splines of both ends of a pair."""
        d, size = like.shape[1], self.size
        offsets = torch.fft.fftfreq(size, 1 / size, device=like.device, dtype=like.dtype) * self.spacing
        squares = sum(torch.meshgrid(*[offsets.square()] * d, indexing="ij"), start=like.new_zeros(()))
        kernel: Tensor = torch.fft.rfftn(1 / (1 + squares)).real
        for axis in range(d):
            shape = [-1 if axis == other else 1 for other in range(d)]
            angle = 2 * math.pi * torch.arange(kernel.shape[axis], device=like.device) / size
            kernel = kernel / ((2 + angle.cos()) / 3).square().view(shape)
        return kernel

    def convolved(self, stencil: Stencil, masses: Float[Tensor, " N"], kernel: Tensor) -> Float[Tensor, " G"]:
        """Return the potential of masses at the nodes, by the transform of the kernel."""
        shape = [self.size] * len(stencil.values)
        spread = masses.new_zeros(math.prod(shape)).index_add_(
            0, stencil.nodes.flatten(), (masses * stencil.weights()).flatten()
        )
        nodes: Tensor = torch.fft.irfftn(torch.fft.rfftn(spread.view(shape)) * kernel, s=shape)
        return nodes.flatten()


def kernel_blocks(a: Float[Tensor, "M D"], first: int, count: int) -> Iterator[Float[Tensor, "b M"]]:
    """Yield the kernels of so many rows, some at a time, to all rows; zero for a row and itself."""
    squares, ones = a.square().sum(1, keepdim=True), torch.ones_like(a[:, :1])
    left, right = torch.cat([-2 * a, squares + 1, ones], 1), torch.cat([a, ones, squares], 1).T.contiguous()
    rows = max(1, (CACHED if a.device.type == "cpu" else GPU_VALUES) // len(a))
    for start in range(first, first + count, rows):
        kernel = left[start : min(start + rows, first + count)] @ right  # 1 + |a_i - a_j|^2
        kernel.diagonal(start).fill_(torch.inf)
        yield kernel.clamp_(min=1.0).reciprocal_()


def some_rows(codes: Float[Tensor, "N D"]) -> Int[Tensor, " S"]:
    """Return the indices of some rows, drawn, as every so many may be alike."""
    return torch.randperm(len(codes), generator=torch.Generator().manual_seed(0))[:SOME].to(codes.device)


def fitting_scale(neighbors: Float[Tensor, " M"], others: Float[Tensor, " K"], exaggeration: float = 1.0) -> float:
    r"""Return the scale s of the kernel at which the loss of a map is least, of codes of standard deviation 1.

    .. math:: \rho \, \overline{\log(1 + s^2 d_{ij}^2)} + \log \overline{\frac1{1 + s^2 d_{ij}^2}}

    Parameters
    ----------
    neighbors, others : Tensor
        Squared distances of codes to those of their neighbours, over which the first mean is, and between any.
    exaggeration : float, default=1.0
        Weight rho of the attraction.

    Examples
    --------
    >>> fitting_scale(torch.tensor([0.01]), torch.tensor([1.0, 4.0, 9.0]), exaggeration=1.5)
    16.0
    """
    attraction = [exaggeration * (s**2 * neighbors).log1p().mean() for s in SCALES]
    repulsion = [(1 / (1 + s**2 * others)).mean().log() for s in SCALES]
    losses = [float(sum(terms)) for terms in zip(attraction, repulsion, strict=True)]
    return float(SCALES[losses.index(min(losses))])


def _far(y: Float[Tensor, "N D"], spacing: float) -> Bool[Tensor, " N"]:
    """Return which codes a grid of this spacing around the median does not reach."""
    reach = spacing * (int(MOST_NODES ** (1 / y.shape[1])) / 2 - 3 * MARGIN) / 2
    return ((y - y.median(0).values).abs() > 0.9 * reach).any(1)


def _summed(z: Float[Tensor, "B D"], y: Float[Tensor, "N D"]) -> tuple[Float[Tensor, " B"], Float[Tensor, "B D"]]:
    """Return the sum of the kernel over codes, and its gradient, at some places."""
    apart = z[:, None] - y
    kernel = 1 / (1 + apart.square().sum(2))
    return kernel.sum(1), -2 * (kernel.square()[:, :, None] * apart).sum(1)


def _splines(at: Float[Tensor, "D B"]) -> tuple[Float[Tensor, "D 4 B"], Float[Tensor, "D 4 B"]]:
    """Return the four cubic B-splines that are not zero at a fraction of a cell, and their derivatives."""
    rest = 1 - at
    squares, others = at.square(), rest.square()
    values = [others * rest, (3 * at - 6) * squares + 4, (3 * rest - 6) * others + 4, squares * at]
    slopes = [-others, (3 * at - 4) * at, (4 - 3 * rest) * rest, squares]
    return torch.stack(values, 1) / 6, torch.stack(slopes, 1) / 2
