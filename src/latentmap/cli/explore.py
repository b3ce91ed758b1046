"""``latentmap explore``: a local page on a run."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentmap.cli.conditions import one_condition
from latentmap.cli.options import Embed, GivenOrMost, Json, Run, RunData, RunId, RunLabels, SkipBad, Whole
from latentmap.cli.terminal import UsageError, emit, note, say
from latentmap.exceptions import DataError
from latentmap.messages import counted, error_line

if TYPE_CHECKING:
    from latentmap.explorer import Exploration


def explore(
    run: Run,
    data: RunData = None,
    /,
    *,
    labels: RunLabels = None,
    row_id: RunId = None,
    given: GivenOrMost = None,
    embed: Embed = (),
    skip_bad: SkipBad = False,
    against: Path | None = None,
    port: Whole | None = None,
    host: str = "127.0.0.1",
    no_browser: bool = False,
    as_json: Json = False,
) -> None:
    """Explore a run on a local page: its map, decoded wherever the pointer is. Ctrl-C ends.

    Where the data of the run are not there, its latent space is explored alone.

    Parameters
    ----------
    against
        Folder of another run to show beside it; where both are of the same rows, selections are linked.
    port
        Port of the page; by default 8765, or the next one that is free.
    host
        Address to serve the page at. Others can open the page at any but an address of this machine alone.
    no_browser
        Print the address, and open no browser.
    """
    if port is not None and not 0 <= port < 65536:
        raise UsageError(f"--port must be from 0 to 65535, got {port}")
    from latentmap.explorer.serving import bound, open_page, require_server, serve

    require_server()
    folders = [run] if against is None else [run, against]
    explorations = [exploration(folder, data, labels, row_id, given, embed, skip_bad=skip_bad) for folder in folders]
    for one in explorations:
        if one.rows is not None:
            say(f"encoding {counted(len(one.rows), 'row')} of {one.rows.title}")
        one.prepare()
    listening = bound(host, port)
    if not _is_local(host):
        note(
            f"--host {host}: whoever can reach this machine and knows the address can open the page, and the rows on it"
        )

    def ready(url: str) -> None:
        say(f"exploring {run} at {url}, Ctrl-C ends")
        if as_json:
            emit({"url": url})
            sys.stdout.flush()
        if not no_browser:
            open_page(url, lambda: note(f"no browser could be started: open {url} yourself"))

    serve(explorations, host, listening, ready)


def exploration(
    run: Path,
    data: str | Path | None,
    labels: str | None,
    row_id: str | None,
    given: str | None,
    embed: tuple[str, ...],
    *,
    skip_bad: bool = False,
) -> Exploration:
    """Return a run to explore, with its rows, or without them where the data of the run are not there."""
    import numpy as np

    from latentmap.cli.runs import Origin, load_run, open_rows
    from latentmap.explorer import Exploration, ExploredRows

    estimator = load_run(run, given, embed)
    if estimator.condition_ is not None and not estimator.has_labels_ and given is None:
        raise UsageError("a model with covariates is shown for some: add --given with numbers separated by commas")
    origin, name = Origin.read(run), run.resolve().name
    try:
        if data is None and origin is None:
            raise DataError(f"{run} does not say which data it was fitted to")
        opened = open_rows(run, estimator, data, labels, row_id, skip_bad=skip_bad)
    except (DataError, OSError) as error:
        if data is not None or labels is not None or row_id is not None:
            raise
        why = f"{error_line(error)}: the latent space is explored alone; give the data after {run} for its rows"
        note(why)
        return Exploration(_with_condition(estimator), None, name=name, notes=[why])
    rows = ExploredRows.of_source(estimator, opened.source, key=opened.key)
    for one in rows.notes:
        note(one)
    notes = [f"{rows.title} has changed since the fit"] if opened.changed else []
    estimator, chosen, _, condition = one_condition(estimator, np.arange(len(rows)), rows.labels)
    if condition and rows.labels is not None and estimator.has_labels_:
        notes.append(f"{len(chosen):,} of {len(rows):,} rows are shown, those with the label {estimator.given_}")
        rows = rows.take(chosen)
    return Exploration(estimator, rows, name=name + condition, notes=notes)


def _with_condition(estimator: Any) -> Any:
    """Return a model without rows for one condition: the first label where none is given."""
    if estimator.condition_ is None or estimator.given_ is not None:
        return estimator
    return estimator.given(estimator.classes_.tolist()[0])


def _is_local(host: str) -> bool:
    """Return whether an address is one of this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
