"""Fits on several processes: started by torchrun, or by ``--workers`` with torchrun's own launcher."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from latentmap.cli.outputs import check_resumed, claimed_run
from latentmap.cli.request import Request
from latentmap.cli.terminal import UsageError
from latentmap.data.locks import locked
from latentmap.estimators.run_folder import is_unfinished

if TYPE_CHECKING:
    from latentmap.model.processes import Processes

RESTARTS = 3
"""Times that processes are started again from the last checkpoint, where one was lost."""
arguments: ContextVar[Sequence[str]] = ContextVar("latentmap_arguments", default=())
"""Arguments of the command that runs."""


def is_worker() -> bool:
    """Return whether a launcher has started this process as one of several.

    >>> is_worker()
    False
    """
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


APART = ("transform", "score", "impute")
"""Commands whose processes do not join: each writes its own parts."""


def command_of(given: Sequence[str]) -> str:
    """Return the name of the command that some arguments call, "" for none.

    >>> command_of(["--version"]), command_of(["fit", "x.npy"])
    ('', 'fit')
    """
    return next((word for word in given if not word.startswith("-")), "")


@contextlib.contextmanager
def one_voice(given: Sequence[str]) -> Iterator[None]:
    """Let the first of several processes alone print, but for commands whose processes have each their own parts."""
    if not is_worker() or os.environ["RANK"] == "0" or command_of(given) in APART:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


@contextlib.contextmanager
def workers_joined(data: str | Path) -> Iterator[Processes]:
    """Join the other processes of a launcher, if there is one."""
    if not is_worker():
        from latentmap.model.processes import alone

        yield alone
        return
    if str(data) == "-":
        raise UsageError("several processes cannot share standard input: give a file that all of them can read")
    from latentmap.distribution import joined

    with joined(once=True) as processes:
        yield processes


@contextlib.contextmanager
def claimed_by_first(request: Request, output: Path, processes: Processes, *, overwrite: bool) -> Iterator[bool]:
    """Let the first process claim a folder for a run, and yield whether the fit is one that goes on after a restart."""
    if processes.rank:
        yield processes.from_first(None) == b"resume"
        return
    if goes_on := processes.world_size > 1 and _was_begun(request, output):
        check_resumed(output)
    with locked(output) if goes_on else claimed_run(output, overwrite=overwrite):
        processes.from_first(b"resume" if goes_on else b"new")
        yield goes_on


def _was_begun(request: Request, output: Path) -> bool:
    """Return whether torchrun has started the processes again, and the folder holds the fit that was requested."""
    from latentmap.distribution.join import restarts

    if not (restarts() and is_unfinished(output)):
        return False
    return replace(Request.read(output), replaces=False) == replace(request, replaces=False)


def launched(workers: int | None, data: str | Path) -> bool:
    """Start so many processes of this command and wait for their end, unless this process is one of them.

    Raises
    ------
    SystemExit
        If they fail, with their exit code.
    """
    if workers is None or is_worker():
        return False
    if workers < 1:
        raise UsageError(f"--workers is a number of processes, 1 or more, got {workers}")
    if workers == 1:
        return False
    if str(data) == "-":
        raise UsageError("several processes cannot share standard input: give a file that all of them can read")
    if code := _launch(workers):
        raise SystemExit(code)
    return True


def _launch(workers: int) -> int:
    """Start processes by torchrun's launcher, and return their exit code."""
    import logging

    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // workers)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the processes speak for themselves
    options = ["--standalone", f"--nproc-per-node={workers}", f"--max-restarts={RESTARTS}", "--module", "latentmap"]
    try:
        run.run(run.parse_args([*options, *arguments.get()]))
    except ChildFailedError as error:
        codes = [failure.exitcode for failure in error.failures.values()]  # negative where a signal killed a process
        return 2 if 2 in codes else max(1, *codes)
    except SignalException as error:
        return 128 + int(error.sigval)
    return 0
