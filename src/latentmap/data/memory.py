"""Memory: how much is free for this process, and one clear error where it is not enough."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from latentmap.exceptions import NotEnoughMemoryError
from latentmap.messages import one_line

SIGNS = (
    *("not enough memory", "out of memory", "failed to allocate", "std::bad_alloc", "cannot allocate memory"),
    *("can't allocate memory", "can't start new thread", "failed to map segment", "pthread_create failed"),
)
"""Words of the errors by which libraries say that memory is exhausted: torch, threads, and what loads libraries."""
ADDRESSES, PRIVATE = 2_500_000_000, 1_700_000_000
"""Bytes of addresses, and of private memory, below which the libraries do not load, or wait for memory for ever."""
UNKNOWN = 4 * 10**9
"""Bytes that are taken to be free where the system does not say."""


def free_memory() -> int:
    """Return the bytes of memory that are free for this process.

    The machine has so many available; control groups, and the limit of the address space (``ulimit -v``), may allow
    less.
    """
    return max(0, min(_available(), *_left_in_groups(), _left_in_address_space()))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory is exhausted, of the host or of a GPU.

    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"))
    True
    >>> is_out_of_memory(RuntimeError("shapes do not agree")), is_out_of_memory(MemoryError())
    (False, True)
    """
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    if isinstance(error, RuntimeError | OSError | ImportError) and any(sign in text for sign in SIGNS):
        return True
    cause = error.__cause__ or error.__context__
    return isinstance(error, ImportError | SystemError) and cause is not None and is_out_of_memory(cause)


def out_of_memory(error: BaseException) -> str:
    """Return one line that says that memory is exhausted, and what is known of it.

    >>> out_of_memory(MemoryError())
    'not enough memory: ... are free; free more, or raise the limit'
    """
    reason = one_line(error)[-160:]
    free = f"{bytes_in_words(free_memory())} are free; free more, or raise the limit"
    return f"not enough memory{f' ({reason})' if reason else ''}: {free}"


@contextlib.contextmanager
def memory_in_words(task: str, advice: str) -> Iterator[None]:
    """Turn any error of exhausted memory into a `NotEnoughMemoryError` that says in what, and what to do.

    >>> with memory_in_words("the fit", "take smaller batches"):
    ...     raise MemoryError("9 GB asked for")
    Traceback (most recent call last):
    latentmap.exceptions.NotEnoughMemoryError: the fit ran out of memory (9 GB asked for): take smaller batches
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, NotEnoughMemoryError) or not is_out_of_memory(error):
            raise
        reason = one_line(error)[-120:]
        raise NotEnoughMemoryError(f"{task} ran out of memory{f' ({reason})' if reason else ''}: {advice}") from error


def require_addresses() -> None:
    """Raise a `NotEnoughMemoryError` if a limit of this process is below what the libraries need to load.

    >>> require_addresses()
    """
    try:
        import resource
    except ImportError:  # there is no such limit
        return
    for option, kind, least, what in (
        ("v", resource.RLIMIT_AS, ADDRESSES, "address space"),
        ("d", resource.RLIMIT_DATA, PRIVATE, "private memory"),
    ):
        limit = resource.getrlimit(kind)[0]
        if limit != resource.RLIM_INFINITY and limit < least:
            raise NotEnoughMemoryError(
                f"the libraries need {bytes_in_words(least)} of {what} to load, and ulimit -{option} allows "
                f"{bytes_in_words(limit)}: raise it to {-(-least // 1024)} or more"
            )


def bytes_in_words(n_bytes: float) -> str:
    """Return an amount of memory in words, with two digits.

    >>> bytes_in_words(115_008), bytes_in_words(6_272_000_000), bytes_in_words(4.2e13)
    ('0.12 MB', '6.3 GB', '42,000 GB')
    """
    value, unit = (n_bytes / 1e9, "GB") if n_bytes >= 1e9 else (n_bytes / 1e6, "MB")
    return f"{float(f'{value:.2g}'):,g} {unit}"


def _available() -> int:
    """Return the bytes that the machine has available."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2 if hasattr(os, "sysconf") else UNKNOWN


def _left_in_groups(root: Path = Path("/sys/fs/cgroup")) -> Iterator[int]:
    """Yield what each control group of this process leaves, from its own up to the root, of version 2 and of 1."""
    for base, limit, usage, cache in (
        (root, "memory.max", "memory.current", ("inactive_file", "active_file", "slab_reclaimable")),
        (
            *(root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
            ("total_inactive_file", "total_active_file"),
        ),
    ):
        for folder in _groups(base, "" if base == root else "memory"):
            try:
                most, used = int((folder / limit).read_text("ascii")), int((folder / usage).read_text("ascii"))
                rows = (line.split() for line in (folder / "memory.stat").read_text("ascii").splitlines())
                yield most - used + sum(int(value) for name, value in rows if name in cache)
            except (OSError, ValueError):  # no limit, or none that this process may read
                continue


def _groups(base: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the control group of this process and of those above it, as far as they are mounted."""
    path = Path("/")
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text("utf-8", "replace").splitlines():
            _, controllers, name = line.split(":", 2)
            if controller in controllers.split(","):
                path = Path(name)
    for group in (path, *path.parents):
        yield base / group.relative_to("/")


def _left_in_address_space() -> int:
    """Return how much the address space of this process may still grow."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit == resource.RLIM_INFINITY:
            return 2**63
        with open("/proc/self/statm", encoding="ascii") as sizes:
            return limit - int(sizes.read().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        return 2**63
