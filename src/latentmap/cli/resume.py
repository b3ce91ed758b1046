"""``latentmap resume``: continue a fit that was interrupted."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from latentmap.cli.fit import run_fit
from latentmap.cli.options import Embed, Json, Run, Whole
from latentmap.cli.outputs import check_resumed
from latentmap.cli.request import Request
from latentmap.cli.terminal import UsageError
from latentmap.cli.workers import launched, workers_joined
from latentmap.data.locks import locked

if TYPE_CHECKING:
    from latentmap.model.processes import Processes


def resume(
    run: Run,
    /,
    *,
    finish: bool = False,
    embed: Embed = (),
    workers: Whole | None = None,
    as_json: Json = False,
) -> None:
    """Continue a fit that was interrupted or killed, from its last checkpoint.

    On a CPU the result is, bit for bit, that of a fit without interruption. The data and the versions of latentmap,
    torch and numpy must be as they were.

    Parameters
    ----------
    finish
        End the fit at once, with the best weights so far.
    workers
        Processes on this machine that share each batch, any number, whatever it was before.
    """
    if launched(workers, run):
        return
    with workers_joined(run) as processes:
        _resume(run, processes, finish=finish, embed=embed, as_json=as_json)


def _resume(run: Path, processes: Processes, *, finish: bool, embed: Sequence[str], as_json: bool) -> None:
    content = processes.from_first(None if processes.rank else Request.read(run).to_bytes())
    request = Request.from_bytes(content or b"")
    if missing := sorted({_column(text) for text in request.embed} - {_column(text) for text in embed}):
        was = " ".join(f"--embed {text}" for text in request.embed)
        raise UsageError(f"{run} embeds {missing[0]!r}, and a run imports nothing: give {was} again")
    with contextlib.ExitStack() as stack:
        if not processes.rank:
            check_resumed(run)
            stack.enter_context(locked(run))
            Request.read(run)  # raises where another process has ended the fit meanwhile
        run_fit(replace(request, embed=tuple(embed)), run, processes, resume=True, finish=finish, as_json=as_json)


def _column(text: str) -> str:
    return text.rpartition("=")[0]
