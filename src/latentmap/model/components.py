"""Principal components of rows, for the search of neighbors and the initial codes of maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Components = int | Literal["auto"] | None
"""Number of principal components in which neighbours are searched; "auto" chooses it, None takes all columns."""
COLUMNS = 200
"""Columns up to which all are searched, and the most principal components that are chosen beyond."""
FEWEST, VARIANCE = 50, 0.8
"""Principal components that are chosen at the least, and the fraction of the variance that they have to hold."""
EXACT_COLUMNS = 256
"""Columns up to which principal axes are those of the covariance, and computed by iteration beyond."""


def projection(rows: Float[Tensor, "N P"], components: Components = "auto") -> Callable[[Tensor], Tensor]:
    """Return the map from rows to the space in which neighbours are searched: all columns, or principal components.

    ``auto`` takes all columns where no more than `COLUMNS` vary; of more, the fewest principal components, from
    `FEWEST` to `COLUMNS`, that hold four fifths of the variance. Axes at right angles leave distances as they are.

    >>> rows = torch.randn(20, 300, generator=torch.Generator().manual_seed(0))
    >>> projection(rows, None)(rows).shape, projection(rows, 3)(rows).shape
    (torch.Size([20, 300]), torch.Size([20, 3]))
    """
    columns, auto = int((rows != rows[:1]).any(0).sum()), components == "auto"  # those that vary
    numbers = [FEWEST, COLUMNS] if components == "auto" else [columns if components is None else components]
    if auto and columns <= COLUMNS:
        return lambda x: x
    for n in numbers:
        if n >= columns:
            return lambda x: x
        centre, axes = principal_axes(rows, n)
        held = ((rows - centre) @ axes).square().sum(0).cumsum(0)
        short = held < VARIANCE * (rows - centre).square().sum()
        if not short.all():
            break
    if auto:
        axes = axes[:, : max(FEWEST, 1 + int(short.sum()))]
    return lambda x: (x - centre.to(x.dtype)) @ axes.to(x.dtype)


def signed_axes(x: Float[Tensor, "N P"], n: int) -> tuple[Float[Tensor, " P"], Float[Tensor, "P C"]]:
    """Return the mean of rows and their n leading principal axes, fewer where there are no more columns.

    The sign of each makes the largest of its loadings positive, so that maps of refits begin alike.
    """
    centre, axes = principal_axes(x, n)
    axes = axes[:, :n]
    return centre, axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()


def principal_axes(x: Float[Tensor, "N P"], n: int) -> tuple[Float[Tensor, " P"], Float[Tensor, "P C"]]:
    """Return the mean of rows and their n leading principal axes, or all axes where there are no more.

    Of few columns those of the covariance; of many by subspace iteration (Halko, Martinsson and Tropp 2011), which
    does not slow down with the square of the columns, from a start that is always the same.
    """
    centre = x.mean(0)
    columns = x.shape[1]
    if columns <= n:
        return centre, torch.eye(columns, dtype=x.dtype, device=x.device)
    rest = x - centre
    rest = (rest / rest.abs().max().clamp_min(torch.finfo(x.dtype).tiny)).float()  # squares neither overflow nor vanish
    if columns <= EXACT_COLUMNS:
        axes = torch.linalg.eigh((rest.T @ rest).double()).eigenvectors.flip(1)
    else:
        start = np.random.default_rng(0).normal(size=(columns, min(n + 10, *x.shape)))
        axes = torch.from_numpy(start).to(rest)
        for _ in range(5):
            axes = torch.linalg.qr(rest.T @ (rest @ axes)).Q
        axes = axes @ torch.linalg.svd(rest @ axes, full_matrices=False).Vh.T
    return centre, axes[:, :n].to(x.dtype)
