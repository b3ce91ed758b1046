"""Where chance enters: sources of standard normal noise for the draws of a posterior."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

Noise = Callable[[Sequence[int], Tensor], Tensor]
"""(shape (K, B, ...), a tensor to be alike) -> standard normal draws of that shape, dtype and device."""

_MIX = (
    -0x40A7B892E31B1A47,
    -0x6B2FB644ECCEEE15,
)  # splitmix64 (Steele et al. 2014), signed


APART = 1 << 20
"""Calls that lie between two streams of noise for the same rows."""


def fresh(shape: Sequence[int], like: Tensor) -> Tensor:
    """Draw from torch's generator: for training.

    >>> fresh((3, 5, 2), torch.zeros(1)).shape
    torch.Size([3, 5, 2])
    """
    return torch.randn(shape, dtype=like.dtype, device=like.device)


class RowNoise:
    """Noise that is a function of a row's values and a seed: for scores.

    A row gets the same draws in whatever company and order it comes, and different rows get independent ones, so
    scores are repeatable, do not depend on batching, and their errors still average out.

    >>> x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> both = RowNoise(x, seed=0)((1, 2, 4), x)
    >>> bool((RowNoise(x[1:], seed=0)((1, 1, 4), x) == both[:, 1:]).all())
    True
    """

    def __init__(self, x: Float[Tensor, "B P"], seed: int) -> None:
        bits = x.float().contiguous().view(torch.int32).long()  # (B, P)
        position = torch.arange(1, x.shape[1] + 1, device=x.device)
        self.keys = _scramble((bits * _scramble(position + 0x1000003 * seed)).sum(1))  # (B,)
        self.calls = 0

    def __call__(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Standard normal draws (K, B, ...), by inversion of the normal distribution function."""
        k, b, *rest = shape
        counter = torch.arange(k * torch.Size(rest).numel(), device=like.device).view(k, 1, *rest)
        self.calls += 1
        keys = self.keys.view(1, b, *(1 for _ in rest))
        bits = _scramble(keys + _scramble(counter + (self.calls << 40)))
        uniform = ((bits >> 11 & (1 << 53) - 1).double() + 0.5) * 2.0**-53
        normal: Tensor = torch.special.ndtri(uniform)
        return normal.to(like.dtype)


def apart(noise: Noise) -> Noise:
    """Give noise that is independent of this one, and leaves what this one gives as it is.

    >>> x = torch.ones(1, 2)
    >>> noise = RowNoise(x, seed=0)
    >>> other, own = apart(noise)((1, 1, 2), x), noise((1, 1, 2), x)
    >>> bool((own == RowNoise(x, seed=0)((1, 1, 2), x)).all()), bool((own == other).any())
    (True, False)
    """
    if not isinstance(noise, RowNoise):
        return noise  # a generator that goes on
    other = copy.copy(noise)
    other.calls = noise.calls + APART
    return other


def _scramble(x: Tensor) -> Tensor:
    """Splitmix64's finaliser on 64-bit integers: equal inputs agree, all others look independent."""
    for shift, multiplier in zip((30, 27), _MIX, strict=True):
        x = (x ^ (x >> shift & (1 << 64 - shift) - 1)) * multiplier
    return x ^ (x >> 31 & (1 << 33) - 1)
