"""Collective operations over a process group of torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from latentmap.distribution.shared import SharedMean
from latentmap.exceptions import LostProcessError
from latentmap.model.noise import Generated, Noise, generator_for
from latentmap.model.processes import Processes, alone

Result = TypeVar("Result")
KEPT = 8
"""Sets of values whose memory is kept: those of the players of a fit, and of its running statistics."""


class ProcessGroup(Processes):
    """The processes of the default process group of torch; a copy is one process.

    The gradients of a player are averaged by one operation a step, on one tensor that holds them all: they come from
    `torch.autograd.grad`, which does not reach the hooks of `torch.nn.parallel.DistributedDataParallel`. Few processes
    of one machine share memory for those on the CPU, see `latentmap.distribution.shared`.
    """

    def __init__(self) -> None:
        self.rank, self.world_size = dist.get_rank(), dist.get_world_size()
        self.local_world_size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        self._flat: dict[tuple[torch.dtype, int], Tensor | SharedMean] = {}
        self._asked: _Asked | None = None

    def __reduce__(self) -> Any:
        return _alone, ()

    def share(self, x: Tensor, dim: int = 0) -> Tensor:
        """Return every W-th row, from the one of this rank on."""
        own = x.movedim(dim, 0)[self.rank :: self.world_size]
        return own.movedim(0, dim).contiguous()

    def gather(self, x: Tensor, dim: int = 0) -> Tensor:
        """Return the rows of all processes in turn."""
        self.collectives += 1
        rows: Tensor = _Gather.apply(x.movedim(dim, 0), self)  # type: ignore[no-untyped-call]
        return rows.transpose(0, 1).flatten(0, 1).movedim(0, dim)

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean over the processes."""
        self.collectives += 1
        mean: Tensor = _Mean.apply(x, self)  # type: ignore[no-untyped-call]
        return mean

    def stack(self, x: Tensor) -> Tensor:
        """Return the values of all processes by rank."""
        self.collectives += 1
        return self._stacked(x.detach())

    def noise(self, generator: torch.Generator | None) -> Noise:
        """Return noise that is drawn for the whole batch, of which each process takes its rows."""
        return _Share(generator, self)

    def own_generator(self, generator: torch.Generator) -> torch.Generator:
        """Return a new generator, whose seed is drawn and differs by rank."""
        seed = torch.randint(2**62, (), generator=generator, device=generator.device)
        return generator_for(int(seed) + self.rank, generator.device)

    def copy_first(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by those of the first process."""
        for tensor in tensors:
            _reached(partial(dist.broadcast, tensor.detach(), 0))

    def average_gradients(self, gradients: Sequence[Tensor]) -> None:
        """Average gradients by one operation for each type; they then share memory, until the next ones come."""
        for some, pieces in self._averaged(gradients):
            for gradient, piece in zip(some, pieces, strict=True):
                gradient.set_(piece)  # type: ignore[call-overload]

    def average_buffers(self, buffers: Sequence[Tensor]) -> None:
        """Average running statistics."""
        for some, pieces in self._averaged(buffers):
            torch._foreach_copy_(some, pieces)

    def _averaged(self, tensors: Sequence[Tensor]) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
        """Yield the tensors of each type with their means over the processes."""
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            some = [tensor for tensor in tensors if tensor.dtype == dtype]
            sizes = [tensor.numel() for tensor in some]
            yield some, [piece.view_as(to) for piece, to in zip(self._mean(some).split(sizes), some, strict=True)]

    def _mean(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the mean over the processes of tensors of one type, flat; it lasts until that of the same ones."""
        size, first = sum(tensor.numel() for tensor in tensors), tensors[0]
        key = first.dtype, size
        flat = self._flat.pop(key, None)
        if flat is None:  # kept, as new memory is slow to be had
            shared = SharedMean.opened(self, size, first.dtype) if first.device.type == "cpu" else None
            flat = first.new_empty(size) if shared is None else shared
        self._flat[key] = flat
        if len(self._flat) > KEPT:
            del self._flat[next(iter(self._flat))]  # the one that was used least recently
        if isinstance(flat, SharedMean):
            return flat(tensors, self._wait)
        torch.cat([tensor.flatten() for tensor in tensors], out=flat)
        _reached(partial(dist.all_reduce, flat))
        return flat.div_(self.world_size)

    def _wait(self) -> None:
        """Wait for all processes, which answer meanwhile what was asked last."""
        asked, self._asked = self._asked or _Asked([0.0]), None
        asked.exchange()

    def average(self, total: Tensor, count: float) -> Tensor:
        """Return the mean of the values of all processes."""
        both = self.sum(torch.cat([total.flatten(), total.new_tensor([count])]))
        return both[:-1].view_as(total) / both[-1]

    def sum(self, x: Tensor) -> Tensor:
        """Return the sum over the processes."""
        self.collectives += 1
        return self._summed(x)

    def maximum(self, values: Sequence[float]) -> list[float]:
        """Return the largest of each of these numbers."""
        return _Asked(values).largest()

    def maximum_soon(self, values: Sequence[float]) -> Callable[[], list[float]]:
        """Return a function that waits for `maximum`, which is found as soon as the processes wait for each other."""
        self._asked = asked = _Asked(values)
        return asked.largest

    def from_first(self, content: bytes | None) -> bytes | None:
        """Return what the first process passes."""
        size = torch.tensor([-1 if content is None or self.rank else len(content)])
        _reached(lambda: dist.broadcast(size, 0))
        if int(size) <= 0:
            return None if int(size) < 0 else b""
        own = content is not None and not self.rank
        data = _as_tensor(content or b"") if own else torch.empty(int(size), dtype=torch.uint8)
        _reached(lambda: dist.broadcast(data, 0))
        return data.numpy().tobytes()

    def from_all(self, content: bytes) -> list[bytes]:
        """Return what each process passes, by rank."""
        sizes = self._stacked(torch.tensor([len(content)]))[:, 0].tolist()
        padded = torch.zeros(max(1, *sizes), dtype=torch.uint8)
        padded[: len(content)] = _as_tensor(content)
        return [row[:size].numpy().tobytes() for row, size in zip(self._stacked(padded), sizes, strict=True)]

    def _stacked(self, x: Tensor) -> Tensor:
        """Return the tensors of all processes by rank."""
        found = x.new_empty(self.world_size, *x.shape)
        _reached(lambda: dist.all_gather(list(found), x.contiguous()))
        return found

    def _summed(self, x: Tensor) -> Tensor:
        total = x.detach().clone(memory_format=torch.contiguous_format)
        _reached(lambda: dist.all_reduce(total))
        return total


class _Asked:
    """Numbers of which the largest ones over all processes are asked for, and take their place."""

    def __init__(self, values: Sequence[float]) -> None:
        self.values, self.answered = torch.tensor(values, dtype=torch.float64), False

    def exchange(self) -> None:
        """Answer by an exchange with the others; a second one changes nothing."""
        _reached(partial(dist.all_reduce, self.values, dist.ReduceOp.MAX))
        self.answered = True

    def largest(self) -> list[float]:
        """Return the answer, for which this waits where there was no exchange yet."""
        if not self.answered:
            self.exchange()
        found: list[float] = self.values.tolist()
        return found


class _Share(Generated):
    """Noise for the rows of this process: dimension 1 is that of rows, and values without it are the same in all."""

    def __init__(self, generator: torch.Generator | None, group: ProcessGroup) -> None:
        super().__init__(generator)
        self.group = group

    @property
    def generator(self) -> torch.Generator | None:
        """Return a generator for distributions that draw by themselves."""
        return None if self._generator is None else self.group.own_generator(self._generator)

    @generator.setter
    def generator(self, generator: torch.Generator | None) -> None:
        self._generator = generator

    def __call__(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw from N(0, 1)."""
        return self._drawn(Generated(self._generator), shape, like)

    def uniform(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw uniformly from 0 to 1."""
        return self._drawn(Generated(self._generator).uniform, shape, like)

    def _drawn(self, draw: Callable[[Sequence[int], Tensor], Tensor], shape: Sequence[int], like: Tensor) -> Tensor:
        if len(shape) < 2:
            return draw(shape, like)
        k, rows, *rest = shape
        return self.group.share(draw((k, rows * self.group.world_size, *rest), like), 1)


class _Gather(torch.autograd.Function):
    """Tensors of all processes (W, *S); each gets the sum of the gradients that the processes have for its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        return group._stacked(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.group._summed(gradient)[ctx.group.rank], None


class _Mean(torch.autograd.Function):
    """Mean over the processes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        return group._summed(x) / group.world_size

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.group._summed(gradient) / ctx.group.world_size, None


def _reached(operation: Callable[[], Result]) -> Result:
    """Return what an operation with the other processes returns; raise where one of them is gone."""
    try:
        return operation()
    except RuntimeError as error:
        raise LostProcessError(
            "another process of the fit was lost, and this one ends: start all of them again, or resume the fit, to "
            "continue from the last checkpoint"
        ) from error


def _as_tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)


def _alone() -> Processes:
    return alone
