"""``latentmap report``: the report of a run."""

from __future__ import annotations

import csv
from typing import Any

from latentmap.cli.compare import run_comparison
from latentmap.cli.conditions import one_condition
from latentmap.cli.options import Embed, GivenOrMost, Json, Run, RunData, RunId, RunLabels, SkipBad
from latentmap.cli.outputs import check_output
from latentmap.cli.terminal import UsageError, emit, say


def report(
    run: Run,
    data: RunData = None,
    /,
    *,
    labels: RunLabels = None,
    color: tuple[str, ...] = (),
    cluster: bool = False,
    row_id: RunId = None,
    given: GivenOrMost = None,
    embed: Embed = (),
    skip_bad: SkipBad = False,
    compare: bool = False,
    as_json: Json = False,
) -> None:
    """Write the report of a run, report.html and its figures, into its folder.

    Parameters
    ----------
    color
        Columns of the data to colour further maps by, separated by commas, whether the model was fitted to them or not;
        may be repeated.
    cluster
        Add a map coloured by its clusters, found by HDBSCAN.
    compare
        Add a comparison with other methods, each fitted to the data; see the command compare.
    """
    import numpy as np

    from latentmap.cli.runs import Origin, load_run, open_rows, shown_rows
    from latentmap.data.folders import atomic_folder
    from latentmap.data.locks import locked
    from latentmap.estimators.run_files import read_config
    from latentmap.estimators.run_folder import REPORT
    from latentmap.evaluation.clusters import clusters
    from latentmap.explorer.export_page import is_built
    from latentmap.report import ReportRows, write_report

    read_config(run)  # before the lock, so that no folder is made
    check_output(run / REPORT[0], [".html"])
    with locked(run):
        estimator = load_run(run, given, embed)
        wanted = [name for text in color for name in next(csv.reader([text], skipinitialspace=True), [])]
        rows = open_rows(run, estimator, data, labels, row_id, wanted, skip_bad=skip_bad)
        if estimator.condition_ is not None and not estimator.has_labels_ and given is None:
            raise UsageError("a model with covariates is shown for some: add --given with numbers separated by commas")
        source, (X, y, indices) = rows.source, shown_rows(rows)
        kinds = ReportRows.of(estimator, X if rows.in_memory else source).take(indices)
        chosen = one_condition(estimator, np.arange(len(X)), y)[1]
        kinds = kinds.take(chosen)
        colors = {name: source.beside[name][indices][chosen] for name in wanted}
        estimator, X, y, condition = one_condition(estimator, X, y)
        if cluster:
            found = clusters(estimator.transform(X))
            colors["clusters by HDBSCAN"] = np.where(
                found < 0, "in none", np.char.add("cluster ", (found + 1).astype(str))
            )
        comparison = run_comparison(source) if compare else None
        origin = Origin.read(run)
        names = None if origin is None else origin.columns
        title: dict[str, Any] = {"name": source.name + condition, "feature_names": names}
        with atomic_folder(run, REPORT, REPORT[0]) as folder:
            write_report(
                estimator, X, y, folder, comparison, **title, rows=kinds, colors=colors, interactive=is_built()
            )
    page = run / REPORT[0]
    say(f"wrote {page}")
    if as_json:
        emit({"report": str(page), "figures": sorted(str(figure) for figure in (run / "figures").glob("*.png"))})
