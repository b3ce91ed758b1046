"""Device, precision, compilation and seeds: everything that depends on the machine."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, ParamSpec, TypeVar

import torch
from threadpoolctl import ThreadpoolController

P = ParamSpec("P")
R = TypeVar("R")

Precision = Literal["auto", "float32", "bfloat16"]


def resolve_device(device: str | torch.device) -> torch.device:
    """Give the device of this name; "auto" is CUDA, then Apple's MPS, then the CPU.

    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if device != "auto":
        try:
            return torch.empty(0, device=torch.device(device)).device
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"device must be 'auto' or one torch can use here, got {device!r}: {reason}") from error
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


SMALL_PRODUCTS = 2e8
"""Operations of a training step below which a CPU spends more on casting to bfloat16 than it gains."""


def resolve_precision(precision: Precision, device: torch.device, operations: float = math.inf) -> torch.dtype:
    """Choose the type of matrix products; "auto" is bfloat16 where the processor has it natively and steps are large.

    ``operations`` are those of a training step.

    >>> resolve_precision("float32", torch.device("cpu"))
    torch.float32
    >>> resolve_precision("auto", torch.device("cpu"), operations=1e6)
    torch.float32
    """
    if precision not in ("auto", "float32", "bfloat16"):
        raise ValueError(f"precision must be 'auto', 'float32' or 'bfloat16', got {precision!r}")
    if precision == "auto":
        small = device.type == "cpu" and operations < SMALL_PRODUCTS
        precision = "bfloat16" if _native_bfloat16(device) and not small else "float32"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def _native_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):  # torch >= 2.11 tells
        return False
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Compute matrix products in this type; weights, sums and densities stay in single precision."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)


def compiled(of_this_fit: Callable[P, R]) -> Callable[P, R]:
    """Compile a function for one fit, through which all that hangs from it stays as it is at the first call.

    So that is not checked again at every step, which takes longer than much of a small step's arithmetic; and as graphs
    are kept with code, the function gets code of its own, where those of other fits are not met. Noise is that of the
    uncompiled function.
    """

    def step(*arguments: P.args, **keywords: P.kwargs) -> R:
        return of_this_fit(*arguments, **keywords)

    step.__code__ = step.__code__.replace()
    options: dict[str, Any] = {"fallback_random": True, "guard_filter_fn": _may_change}
    own: Callable[P, R] = torch.compile(step, dynamic=False, options=options)
    return own


def _may_change(guards: Sequence[Any]) -> list[bool]:
    return [not (guard.is_global or "of_this_fit" in guard.name) for guard in guards]


SMALL_STEP = 5e8
"""Operations of a training step below which one thread is faster than several, which would mostly wait."""


def operations(model: torch.nn.Module, batch_size: int) -> float:
    """Count the operations of a training step, about 6 for each parameter and row.

    >>> operations(torch.nn.Linear(10, 10, bias=False), batch_size=32)
    19200.0
    """
    return 6.0 * sum(p.numel() for p in model.parameters()) * batch_size


@contextlib.contextmanager
def threads_for(operations: float) -> Iterator[None]:
    """Run small steps in one thread; the number of threads of other Python threads stays as it is.

    OpenMP keeps a number of threads for each thread that calls it, so no lock and no process-wide setting is needed.

    >>> before = torch.get_num_threads()
    >>> with threads_for(1e6):
    ...     torch.get_num_threads()
    1
    >>> torch.get_num_threads() == before
    True
    """
    if operations >= SMALL_STEP or torch.get_num_threads() == 1:  # which also lets torch set up this thread
        yield
        return
    with _openmp().limit(limits=1):
        yield


@functools.cache
def _openmp() -> ThreadpoolController:
    """Find the OpenMP libraries of this process."""
    return ThreadpoolController().select(user_api="openmp")
