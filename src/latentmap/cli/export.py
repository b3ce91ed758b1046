"""``latentmap export``: the map of a run as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from latentmap.cli.options import Embed, GivenOrMost, Json, Run, RunData, RunId, RunLabels, SkipBad, Whole, read_output
from latentmap.cli.outputs import check_output
from latentmap.cli.terminal import UsageError, emit, say


def export(
    run: Run,
    data: RunData = None,
    /,
    *,
    html: Annotated[Path, Parameter(converter=read_output)],
    rows: Whole = 60_000,
    labels: RunLabels = None,
    row_id: RunId = None,
    given: GivenOrMost = None,
    embed: Embed = (),
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Write the map of a run as one file that any browser opens, with the decoder in it.

    Parameters
    ----------
    html
        The file, at most 5 MB. It loads nothing from a network.
    rows
        Rows in the file, at the most; of more they are evenly spaced.
    """
    check_output(html, [".html"])
    if rows < 1:
        raise UsageError(f"--rows must be at least 1, got {rows}")
    from latentmap.cli.explore import exploration
    from latentmap.explorer.export_page import asset, write_map

    asset("map.js")  # before the work
    size = write_map(exploration(run, data, labels, row_id, given, embed, skip_bad=skip_bad), html, rows=rows)
    say(f"wrote {html}, {size / 1e6:.1f} MB")
    if as_json:
        emit({"output": str(html), "bytes": size})
