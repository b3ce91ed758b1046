"""Joining the processes that torchrun, or another launcher, has started."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from latentmap.distribution.group import ProcessGroup
from latentmap.exceptions import LostProcessError
from latentmap.messages import error_line
from latentmap.model.processes import Processes, alone, joining

TIMEOUT = timedelta(minutes=5)
"""Time after which a process that does not answer counts as lost."""
MEETING = timedelta(minutes=2)
"""Time in which all processes have to come."""
LAST_WORD = 5.0
"""Seconds that a process which failed waits, so that the first one can say why."""
_joins = itertools.count()
FAILURE, TOLD, ENDED = "latentmap-failure", "latentmap-told", "latentmap-ended"
"""Keys of the store: why a process failed, whether the first one knows, and the exit code of a fit that has ended."""


def is_launched() -> bool:
    """Return whether a launcher has started this process as one of several.

    >>> is_launched()
    False
    """
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def restarts() -> int:
    """Return how many times torchrun has started the processes again.

    >>> restarts()
    0
    """
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


@contextlib.contextmanager
def joined(*, once: bool = False) -> Iterator[Processes]:
    """Join the other processes of torchrun in the fits of the block; without a launcher, this process is alone.

    Tensors are exchanged by NCCL where they are on GPUs, of which each process takes that of its local rank, and by
    gloo elsewhere. A process that fails says so to the others, which then end too.

    Parameters
    ----------
    once : bool, default=False
        Whether the block is all that the processes do: where torchrun starts them again after its end, or after an
        error that is not that of a lost process, they end at once.

    Yields
    ------
    Processes
        The processes, of which this one has ``rank``.

    Raises
    ------
    LostProcessError
        If the processes do not find each other, or one of them is lost or fails in the block.
    """
    if not is_launched():
        yield alone
        return
    importlib.import_module("torch._dynamo")  # which keeps a group that is there before, with its threads
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    try:
        store = _store()
        if once and restarts() and store.check([ENDED]):
            raise SystemExit(int(store.get(ENDED)))
        # the store still holds the addresses of the processes before a restart, and in an earlier block
        own = dist.PrefixStore(f"latentmap-{restarts()}-{next(_joins)}", store)  # type: ignore[attr-defined]
        rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=own, rank=rank, world_size=world_size, timeout=TIMEOUT)
    except (RuntimeError, ValueError, OSError) as error:
        place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise LostProcessError(
            f"the processes of the fit do not meet at {place} ({error_line(error)}): see that all of them run, and "
            "that no other program uses the port"
        ) from error
    with _failing_together(ProcessGroup(), store, own), joining(ProcessGroup()) as processes:
        yield processes


@contextlib.contextmanager
def _failing_together(processes: Processes, store: Any, own: Any) -> Iterator[None]:
    """Tell the others why this process fails, or raise what another one tells."""
    first = processes.rank == 0
    failed = True
    try:
        yield
        failed = False
        if first:
            store.set(ENDED, "0")
    except LostProcessError as error:
        reason = ""
        with contextlib.suppress(RuntimeError):
            if own.check([FAILURE]):
                reason = own.get(FAILURE).decode()
                store.set(ENDED, "1")
        if reason:
            raise LostProcessError(reason) from error
        raise
    except BaseException as error:  # a signal that ends a process, too
        with contextlib.suppress(RuntimeError):
            if first:
                code = error.code if isinstance(error, SystemExit) else getattr(error, "exit_code", 1)
                store.set(ENDED, str(code))
            else:
                own.set(FAILURE, f"process {processes.rank} of {processes.world_size}: {error_line(error, 1000)}")
        raise
    finally:
        dist.destroy_process_group()
        with contextlib.suppress(RuntimeError):
            if first:
                own.set(TOLD, "")
            elif failed:  # a launcher ends the others as soon as one has
                own.wait([TOLD], timedelta(seconds=LAST_WORD))
                time.sleep(1.0)


def _store() -> Any:
    """Return the store of torchrun, or one that the first process holds."""
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    held = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" and os.environ["RANK"] == "0"
    return dist.TCPStore(  # type: ignore[attr-defined]
        address, port, int(os.environ["WORLD_SIZE"]), is_master=held, timeout=MEETING, wait_for_workers=False
    )
