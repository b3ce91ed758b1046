"""Repulsion of the codes of a map from all others, pair by pair or by a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from scipy.fft import next_fast_len
from torch import Tensor

from latentmap.objectives.neighbors import kernel_blocks

PAIRWISE = 2048
"""Codes up to which the forces of all pairs are summed."""
SPACING, MARGIN = 0.5, 4
"""Distance of the nodes of a grid, in the units of the kernel, and nodes beyond the last code."""
MOST_NODES, WIDER = 2**22, 1.2
"""Nodes of a padded grid at the most, and how its nodes move apart where codes that are far apart would need more."""


class Repulsion:
    r"""Sums of the kernel by which t-SNE repels codes y with masses m.

    .. math:: K_{ij} = \frac1{1 + \|y_i - y_j\|^2}, \qquad
              Z = \sum_{ij} m_i m_j K_{ij} - \sum_i m_i, \qquad F_i = \sum_j m_j K_{ij}^2 (y_i - y_j),

    where a mass is the number of rows that share a code, so that Z is over all pairs of rows. Up to 2,048 codes, and in
    three dimensions or more, all pairs are summed. More are spread to the nodes of a grid by cubic
    B-splines, convolved with the kernel by FFT, and interpolated by the splines and their derivatives (smooth particle
    mesh Ewald, Essmann et al. 1995; FIt-SNE, Linderman et al. 2019, interpolates by polynomials).

    Parameters
    ----------
    pairwise : int, default=2048
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
        return self._pairs(y, masses) if y.shape[1] > 2 or len(y) <= self.pairwise else self._grid(y, masses)

    def _pairs(self, y: Tensor, masses: Tensor) -> tuple[Tensor, Tensor]:
        y = y - y.mean(0)
        weighted = torch.cat([masses[:, None], masses[:, None] * y], 1)
        sums, squares = [], []
        for kernel in kernel_blocks(y, 0, len(y)):
            sums.append(kernel @ masses)
            squares.append(kernel.square_() @ weighted)
        near = torch.cat(squares)
        total = masses @ torch.cat(sums) + (masses * (masses - 1)).sum()  # kernels of a code and itself are left out
        return total, near[:, :1] * y - near[:, 1:]

    def _grid(self, y: Tensor, masses: Tensor) -> tuple[Tensor, Tensor]:
        d = y.shape[1]
        low = y.amin(0)
        span, most = float((y.amax(0) - low).max()), int(MOST_NODES ** (1 / d))
        while 2 * (math.ceil(span / self.spacing) + MARGIN) > most:
            self.spacing *= WIDER
        spacing = self.spacing
        size = next_fast_len(2 * (math.ceil(span / spacing) + MARGIN), real=True)
        cell, at = torch.floor((y - low) / spacing), (y - low) / spacing
        values, slopes = _splines(at - cell)  # (N, D, 4)
        steps = cell.long()[:, :, None] + torch.arange(4, device=y.device)
        nodes = steps[:, 0]
        for axis in range(1, d):
            nodes = (size * nodes[:, :, None] + steps[:, axis, None]).flatten(1)  # (N, 4^D)
        weights = _products(values.unbind(1))
        spread = torch.zeros(size**d, device=y.device).index_add_(
            0, nodes.flatten(), (masses[:, None] * weights).flatten()
        )
        transformed = torch.fft.rfftn(spread.view([size] * d)) * self._transformed_kernel(size, spacing, d, y.device)
        potential = torch.fft.irfftn(transformed, s=[size] * d).flatten()[nodes]
        total = masses @ (potential * weights).sum(1) - masses.sum()
        slope = [
            (potential * _products([(slopes if a == b else values)[:, b] for b in range(d)])).sum(1) for a in range(d)
        ]
        return total, torch.stack(slope, 1) / (-2 * spacing)  # as the slope of K is -2 K^2 (y_i - y_j)

    def _transformed_kernel(self, size: int, spacing: float, d: int, device: torch.device) -> Tensor:
        """Return the Fourier transform of the kernel on a grid, over that of the splines of both ends of a pair."""
        key = size, spacing, d, device
        if self._kernel is None or self._kernel[0] != key:
            offsets = torch.fft.fftfreq(size, 1 / size, device=device) * spacing
            squares = sum(torch.meshgrid(*[offsets.square()] * d, indexing="ij"), start=torch.zeros((), device=device))
            kernel = torch.fft.rfftn(1 / (1 + squares)).real
            for axis in range(d):
                shape = [-1 if axis == other else 1 for other in range(d)]
                angle = 2 * math.pi * torch.arange(kernel.shape[axis], device=device) / size
                kernel = kernel / ((2 + angle.cos()) / 3).square().view(shape)
            self._kernel = key, kernel
        return self._kernel[1]


def _splines(at: Float[Tensor, "N D"]) -> tuple[Float[Tensor, "N D 4"], Float[Tensor, "N D 4"]]:
    """Return the four cubic B-splines that are not zero at a fraction of a cell, and their derivatives."""
    rest = 1 - at
    values = [rest**3, 3 * at**3 - 6 * at**2 + 4, 3 * rest**3 - 6 * rest**2 + 4, at**3]
    slopes = [-(rest**2), 3 * at**2 - 4 * at, 4 * rest - 3 * rest**2, at**2]
    return torch.stack(values, -1) / 6, torch.stack(slopes, -1) / 2


def _products(parts: Sequence[Float[Tensor, "N 4"]]) -> Float[Tensor, "N K"]:
    """Return all products of a value of each part, those of the last varying fastest."""
    products = parts[0]
    for part in parts[1:]:
        products = (products[:, :, None] * part[:, None]).flatten(1)
    return products
