"""``latentmap resume``: continue a fit that was interrupted."""

from __future__ import annotations

from latentmap.cli.fit import run_fit
from latentmap.cli.options import Json, Run
from latentmap.cli.request import Request


def resume(run: Run, /, *, finish: bool = False, as_json: Json = False) -> None:
    """Continue a fit that was interrupted or killed, from its last checkpoint.

    On a CPU the result is, bit for bit, that of a fit without interruption. The data and the versions of latentmap,
    torch and numpy must be as they were.

    Parameters
    ----------
    finish
        End the fit at once, with the best weights so far.
    """
    run_fit(Request.read(run), run, resume=True, finish=finish, as_json=as_json)
