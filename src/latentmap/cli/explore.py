"""``latentmap explore``: a local page on a run."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from latentmap.cli.options import GIVEN, Embed, Json, Run, RunData, RunId, RunLabels, Whole
from latentmap.cli.terminal import emit, say


def explore(
    run: Run,
    data: RunData = None,
    /,
    *,
    labels: RunLabels = None,
    row_id: RunId = None,
    given: Annotated[str | None, Parameter(help=f"{GIVEN}; by default the most frequent label.")] = None,
    embed: Embed = (),
    port: Whole | None = None,
    host: str = "127.0.0.1",
    no_browser: bool = False,
    as_json: Json = False,
) -> None:
    """Explore a run on a local page: its map, decoded wherever the pointer is. Ctrl-C ends.

    Parameters
    ----------
    port
        Port of the page; by default 8765, or the next one that is free.
    host
        Address that the page is served at. Any other than this machine's own shows it to others.
    no_browser
        Print the address and open no browser.
    """
    from latentmap.cli.runs import load_run, open_rows
    from latentmap.explorer import Exploration, ExploredRows
    from latentmap.explorer.serving import bound, serve

    estimator = load_run(run, given, embed)
    opened = open_rows(run, estimator, data, labels, row_id)
    rows = ExploredRows.of_source(estimator, opened.source, opened.order, key=opened.key)
    exploration = Exploration(estimator, rows, name=run.name)
    listening = bound(host, port)

    def ready(url: str) -> None:
        say(f"exploring {run} at {url}, Ctrl-C ends")
        if as_json:
            emit({"url": url})

    serve([exploration], listening, ready)
