"""Sparse rows in training: batches of which only what is stored is multiplied."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class SparseLinear(nn.Linear):
    """Linear layer that takes sparse rows (COO, on a CPU), too.

    >>> layer, x = SparseLinear(3, 2), torch.tensor([[0.0, 2.0, 0.0]])
    >>> torch.allclose(layer(x.to_sparse()), layer(x))
    True
    """

    def forward(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B F"]:
        """Return x W^T + b."""
        if not x.is_sparse:
            return super().forward(x)
        product: Tensor = _Product.apply(x, self.weight)  # type: ignore[no-untyped-call]
        return product + self.bias


def sparse_rows(rows: Any) -> Float[Tensor, "B P"]:
    """Return a matrix of scipy in CSR format, without duplicates, as a sparse tensor."""
    numbers = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    places = torch.from_numpy(np.stack([numbers, rows.indices.astype(np.int64)]))
    values = torch.from_numpy(rows.data)
    return torch.sparse_coo_tensor(places, values, rows.shape, is_coalesced=True, check_invariants=False)


def with_values(x: Tensor, values: Tensor) -> Tensor:
    """Return sparse rows with other values in the same places."""
    return torch.sparse_coo_tensor(x.indices(), values, x.shape, is_coalesced=True, check_invariants=False)


def dense_rows(x: Float[Tensor, "M P"], n: int | None = None) -> Float[Tensor, "B P"]:
    """Return the first n rows, all by default, dense."""
    if not x.is_sparse:
        return x[:n]
    return (x if n is None else torch.narrow_copy(x, 0, 0, n)).to_dense()


def rows_from(x: Float[Tensor, "M P"], first: int) -> Float[Tensor, "N P"]:
    """Return the rows from the first on, sparse where they are."""
    return torch.narrow_copy(x, 0, first, len(x) - first) if x.is_sparse else x[first:]


class _Product(torch.autograd.Function):
    """Products of sparse rows with a weight, x W^T, by scipy: torch's own take many times as long."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.x = x
        return torch.from_numpy(_scipy(x) @ weight.T.contiguous().numpy())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        products = _scipy(ctx.x).T @ gradient.float().numpy()  # (P, F)
        return None, torch.from_numpy(products).T.contiguous()


def _scipy(x: Tensor) -> sparse.csr_array:
    return sparse.csr_array((x.values().numpy(), tuple(x.indices().numpy())), shape=tuple(x.shape))
