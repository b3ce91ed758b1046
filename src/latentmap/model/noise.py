"""Sources of random numbers, and a context in which torch's functions draw from a generator."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_MIX = -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15  # splitmix64 (Steele et al. 2014), signed
APART = 1 << 20
"""Calls between two streams of noise for the same rows."""


class Noise(Protocol):
    """Source of random numbers; a call returns standard normal ones."""

    def __call__(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw from N(0, 1), in the dtype and on the device of ``like``."""

    def uniform(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw uniformly from 0 to 1."""


def generator_for(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a new generator with this seed.

    >>> torch.rand(1, generator=generator_for(7)) == torch.rand(1, generator=generator_for(7))
    tensor([True])
    """
    return torch.Generator(device=device).manual_seed(seed)


class Generated:
    """Noise from a generator; None is torch's process-wide one, which no estimator uses.

    >>> Generated(generator_for(0))((3, 5, 2), torch.zeros(1)).shape
    torch.Size([3, 5, 2])
    """

    def __init__(self, generator: torch.Generator | None) -> None:
        self.generator = generator

    def __call__(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw from N(0, 1)."""
        return torch.randn(shape, generator=self.generator, dtype=like.dtype, device=like.device)

    def uniform(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw uniformly from 0 to 1."""
        return torch.rand(shape, generator=self.generator, dtype=like.dtype, device=like.device)


fresh = Generated(None)
"""The default of a model that is used by itself, as torch's own modules have it."""


class Recorded:
    """Noise that records its calls, so that they can be drawn beforehand next time.

    >>> recorded = Recorded(Generated(generator_for(0)))
    >>> _ = recorded((2,), torch.zeros(1)), recorded.uniform((3,), torch.zeros(1))
    >>> [tuple(draw.shape) for draw in recorded.again(Generated(generator_for(0)))]
    [(2,), (3,)]
    """

    def __init__(self, source: Noise) -> None:
        self.source = source
        self.requests: list[tuple[Callable[[Noise], Callable[..., Tensor]], torch.Size, Tensor]] = []

    def __call__(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw from N(0, 1)."""
        self.requests.append((lambda noise: noise, torch.Size(shape), like.new_empty(())))
        return self.source(shape, like)

    def uniform(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw uniformly from 0 to 1."""
        self.requests.append((lambda noise: noise.uniform, torch.Size(shape), like.new_empty(())))
        return self.source.uniform(shape, like)

    def again(self, source: Noise) -> list[Tensor]:
        """Draw all calls in the same order from another source."""
        return [function(source)(shape, like) for function, shape, like in self.requests]


class Replayed:
    """Noise drawn beforehand, for compiled functions, which take tensors but no generator."""

    def __init__(self, draws: Sequence[Tensor]) -> None:
        self.draws = draws
        self.taken = 0

    def __call__(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Return the next draw."""
        self.taken += 1
        return self.draws[self.taken - 1]

    uniform = __call__


class RowNoise:
    """Noise that is a function of a row's values and a seed, for scores.

    A row has the same draws in any batch and order, and different rows have independent ones, so scores are repeatable,
    do not depend on batching, and their errors still average out.

    >>> x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> both = RowNoise(x, seed=0)((1, 2, 4), x)
    >>> bool((RowNoise(x[1:], seed=0)((1, 1, 4), x) == both[:, 1:]).all())
    True
    """

    def __init__(self, x: Float[Tensor, "B P"], seed: int) -> None:
        equal = torch.where(x.isnan(), torch.nan, x.float() + 0.0)  # all missing cells are alike, and -0.0 is 0.0
        bits = equal.contiguous().view(torch.int32).long()  # (B, P)
        position = torch.arange(1, x.shape[1] + 1, device=x.device)
        self.keys = _scramble((bits * _scramble(position + 0x1000003 * seed)).sum(1))  # (B,)
        self.calls = 0

    def __call__(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Return standard normal draws (K, B, ...), by inversion of the normal distribution function."""
        normal: Tensor = torch.special.ndtri(self._uniform(shape))
        return normal.to(like.dtype)

    def uniform(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Return draws (K, B, ...) from 0 to 1."""
        return self._uniform(shape).to(like.dtype)

    def _uniform(self, shape: Sequence[int]) -> Tensor:
        k, b, *rest = shape
        counter = torch.arange(k * torch.Size(rest).numel(), device=self.keys.device).view(k, 1, *rest)
        self.calls += 1
        keys = self.keys.view(1, b, *(1 for _ in rest))
        bits = _scramble(keys + _scramble(counter + (self.calls << 40)))
        return ((bits >> 11 & (1 << 53) - 1).double() + 0.5) * 2.0**-53


def apart(noise: Noise) -> Noise:
    """Return noise that is independent of this one, and does not advance it.

    >>> x = torch.ones(1, 2)
    >>> noise = RowNoise(x, seed=0)
    >>> other, own = apart(noise)((1, 1, 2), x), noise((1, 1, 2), x)
    >>> bool((own == RowNoise(x, seed=0)((1, 1, 2), x)).all()), bool((own == other).any())
    (True, False)
    """
    if not isinstance(noise, RowNoise):
        return noise  # a generator advances by itself
    other = copy.copy(noise)
    other.calls = noise.calls + APART
    return other


def _scramble(x: Tensor) -> Tensor:
    """Splitmix64's finaliser on 64-bit integers: equal inputs agree, all others look independent."""
    for shift, multiplier in zip((30, 27), _MIX, strict=True):
        x = (x ^ (x >> shift & (1 << 64 - shift) - 1)) * multiplier
    return x ^ (x >> 31 & (1 << 33) - 1)


_GENERATOR_AWARE = frozenset(
    [
        *(getattr(torch, name) for name in ("rand", "randn", "randint", "randperm", "normal", "bernoulli", "poisson")),
        *(getattr(torch, name) for name in ("multinomial", "binomial", "_standard_gamma", "_sample_dirichlet")),
        *(getattr(Tensor, name) for name in ("uniform_", "normal_", "bernoulli_", "exponential_", "random_")),
        *(getattr(Tensor, name) for name in ("cauchy_", "geometric_", "log_normal_", "bernoulli", "multinomial")),
        *(getattr(nn.init, name) for name in ("uniform_", "normal_", "trunc_normal_", "orthogonal_", "sparse_")),
        *(getattr(nn.init, f"{name}_{law}_") for name in ("xavier", "kaiming") for law in ("uniform", "normal")),
    ]
)
"""Functions of torch that take a generator, though the code that calls them may pass none."""
_LIKE: dict[Any, Callable[..., Tensor]] = {torch.rand_like: torch.rand, torch.randn_like: torch.randn}
_DROPOUT = {F.dropout: None, F.dropout1d: 1, F.dropout2d: 2, F.dropout3d: 3}
"""Dropout, with the number of trailing axes that are dropped together."""


class drawing_from(TorchFunctionMode):
    """A context in which torch's random functions draw from a generator, in this thread alone.

    It is for code that takes no generator: the constructors of `torch.nn`, the samplers of `torch.distributions`,
    modules of a user's own. The process-wide generator is neither read nor advanced, so threads are independent.

    >>> before = torch.get_rng_state()
    >>> with drawing_from(generator_for(0)):
    ...     a = nn.Linear(3, 3).weight
    >>> with drawing_from(generator_for(0)):
    ...     b = nn.Linear(3, 3).weight
    >>> bool((a == b).all()), bool((torch.get_rng_state() == before).all())
    (True, True)
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Pass the generator to functions that would draw from the process-wide one."""
        kwargs = kwargs or {}
        if func in _GENERATOR_AWARE and kwargs.get("generator") is None:
            return func(*args, **{**kwargs, "generator": self.generator})
        if func in _LIKE:
            return self._like(_LIKE[func], *args, **kwargs)
        if func in _DROPOUT:
            return self._dropout(_DROPOUT[func], *args, **kwargs)
        return func(*args, **kwargs)

    def _like(self, function: Callable[..., Tensor], like: Tensor, **kwargs: Any) -> Tensor:
        kwargs.pop("memory_format", None)
        given = {"dtype": like.dtype, "device": like.device} | {k: v for k, v in kwargs.items() if v is not None}
        return function(like.shape, **given, generator=self.generator)

    def _dropout(
        self, axes: int | None, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        if not training or p == 0:
            return input
        shape = input.shape if axes is None else (*input.shape[:-axes], *(1 for _ in range(axes)))
        kept = torch.rand(shape, generator=self.generator, dtype=input.dtype, device=input.device) >= p
        scale = kept.to(input.dtype) / max(1 - p, 1e-12)
        return input.mul_(scale) if inplace else input * scale
