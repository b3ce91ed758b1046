"""``latentmap resume``: continue a fit that was interrupted."""

from __future__ import annotations

from dataclasses import replace

from latentmap.cli.fit import run_fit
from latentmap.cli.options import Embed, Json, Run
from latentmap.cli.outputs import check_resumed
from latentmap.cli.request import Request
from latentmap.cli.terminal import UsageError
from latentmap.data.locks import locked


def resume(run: Run, /, *, finish: bool = False, embed: Embed = (), as_json: Json = False) -> None:
    """Continue a fit that was interrupted or killed, from its last checkpoint.

    On a CPU the result is, bit for bit, that of a fit without interruption. The data and the versions of latentmap,
    torch and numpy must be as they were.

    Parameters
    ----------
    finish
        End the fit at once, with the best weights so far.
    """
    request = Request.read(run)
    if missing := sorted({_column(text) for text in request.embed} - {_column(text) for text in embed}):
        was = " ".join(f"--embed {text}" for text in request.embed)
        raise UsageError(f"{run} embeds {missing[0]!r}, and a run imports nothing: give {was} again")
    check_resumed(run)
    with locked(run):
        Request.read(run)  # raises where another process has ended the fit meanwhile
        run_fit(replace(request, embed=embed), run, resume=True, finish=finish, as_json=as_json)


def _column(text: str) -> str:
    return text.rpartition("=")[0]
