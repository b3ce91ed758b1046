"""Device, precision, compilation and threads: everything that depends on the machine."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, ParamSpec, TypeVar

import torch
from threadpoolctl import ThreadpoolController

P = ParamSpec("P")
R = TypeVar("R")

Precision = Literal["auto", "float32", "bfloat16"]


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device of this name; "auto" is CUDA, then Apple's MPS, then the CPU.

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
"""Operations of a training step below which casting to bfloat16 costs a CPU more than it gains."""


def resolve_precision(precision: Precision, device: torch.device, operations: float = math.inf) -> torch.dtype:
    """Return the dtype of matrix products; "auto" is bfloat16 where the processor has it natively and steps are large.

    Parameters
    ----------
    precision
        The dtype, or "auto".
    device
        Device of the products.
    operations
        Operations of a training step, see `operations`.

    Examples
    --------
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
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):  # of torch >= 2.11
        return False
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def compiled(of_this_fit: Callable[P, R]) -> Callable[P, R]:
    """Compile a function for one fit, during which the objects that it refers to stay as they are at the first call.

    Guards on these objects are dropped, since checking them at each step takes longer than much of a small step's
    arithmetic. Graphs are cached with a code object, so the function gets a new one, which it does not share with those
    of other fits. Noise is that of the uncompiled function.
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
"""Operations of a training step below which one thread is faster than several."""


def operations(model: torch.nn.Module, batch_size: int) -> float:
    """Return the operations of a training step, about 6 per parameter and row.

    >>> operations(torch.nn.Linear(10, 10, bias=False), batch_size=32)
    19200.0
    """
    return 6.0 * sum(p.numel() for p in model.parameters()) * batch_size


@contextlib.contextmanager
def threads_for(operations: float) -> Iterator[None]:
    """Run small steps in one thread.

    OpenMP has a number of threads for each calling thread, so other Python threads keep theirs.

    >>> before = torch.get_num_threads()
    >>> with threads_for(1e6):
    ...     torch.get_num_threads()
    1
    >>> torch.get_num_threads() == before
    True
    """
    if operations >= SMALL_STEP or torch.get_num_threads() == 1:  # the call also initialises torch in this thread
        yield
        return
    with _openmp().limit(limits=1):
        yield


@functools.cache
def _openmp() -> ThreadpoolController:
    """Return the controller of the OpenMP libraries of this process."""
    return ThreadpoolController().select(user_api="openmp")
