"""``latentmap report``: the report of a run."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from latentmap.cli.compare import run_comparison
from latentmap.cli.conditions import one_condition
from latentmap.cli.options import GIVEN, Json, Run, RunData, RunLabels
from latentmap.cli.outputs import check_output
from latentmap.cli.terminal import UsageError, emit, say


def report(
    run: Run,
    data: RunData = None,
    /,
    *,
    labels: RunLabels = None,
    given: Annotated[str | None, Parameter(help=f"{GIVEN}; by default the most frequent label.")] = None,
    compare: bool = False,
    as_json: Json = False,
) -> None:
    """Write the report of a run, report.html and its figures, into its folder.

    Parameters
    ----------
    compare
        Add a comparison with other methods, each fitted to the data; see the command compare.
    """
    check_output(run / "report.html", [".html"])
    import numpy as np

    from latentmap.cli.runs import Origin, load_run, open_rows, shown_rows
    from latentmap.report import ReportRows, write_report

    estimator = load_run(run, given)
    rows = open_rows(run, estimator, data, labels)
    if estimator.condition_ is not None and not estimator.has_labels_ and given is None:
        raise UsageError("a model with covariates is shown for some: add --given with numbers separated by commas")
    source, (X, y, indices) = rows.source, shown_rows(rows)
    kinds = ReportRows.of(estimator, X if rows.in_memory else source).take(indices)
    kinds = kinds.take(one_condition(estimator, np.arange(len(X)), y)[1])
    estimator, X, y, condition = one_condition(estimator, X, y)
    comparison = run_comparison(source) if compare else None
    origin = Origin.read(run)
    names = None if origin is None else origin.columns
    page = write_report(estimator, X, y, run, comparison, name=source.name + condition, feature_names=names, rows=kinds)
    say(f"wrote {page}")
    if as_json:
        emit({"report": str(page), "figures": sorted(str(figure) for figure in (run / "figures").glob("*.png"))})
