"""``latentmap impute``: missing cells from the observed ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from latentmap.cli.options import ArrayFile, GivenOrLabels, Json, Run, RunData, RunId, RunLabels, Seed, Whole
from latentmap.cli.outputs import ARRAYS, check_output, say_written, write_blocks
from latentmap.cli.terminal import UsageError, say
from latentmap.messages import counted


def impute(
    run: Run,
    data: RunData = None,
    /,
    *,
    output: ArrayFile,
    draws: Whole | None = None,
    samples: Whole = 100,
    seed: Seed = 0,
    labels: RunLabels = None,
    row_id: RunId = None,
    given: GivenOrLabels = None,
    as_json: Json = False,
) -> None:
    """Fill missing cells with their mean given the observed cells under the model, or with draws.

    The model must have been fitted to rows with missing cells.

    Parameters
    ----------
    draws
        Number of draws of all rows to write to a .npy or .npz file, for multiple imputation; by default the conditional
        mean is written.
    samples
        Latent codes drawn for each row: the more, the closer to the conditional mean.
    """
    check_output(output, ARRAYS if draws is None else (".npy", ".npz"))
    for name, value in (("--draws", draws), ("--samples", samples)):
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}")
    import numpy as np

    from latentmap.cli.runs import column_names, load_run, open_rows

    estimator = load_run(run, given)
    rows = open_rows(run, estimator, data, labels, row_id, every=True)
    cells = 0

    def filled() -> Iterator[Any]:
        nonlocal cells
        for i, (block, y) in enumerate(rows.with_labels(whole=draws is not None)):
            cells += int(np.isnan(block).sum()) if block.dtype.kind == "f" else 0
            made = estimator.impute(block, draws, n_samples=samples, y=y, random_state=seed + i)
            table = estimator.table_
            yield made if table is None else np.where(np.isnan(block), table.within(made), block)

    came = rows.source.cells if rows.in_memory else ()
    shape, dtype = write_blocks(output, filled(), column_names(run, estimator), estimator.table_, came, rows.key)
    say(f"filled {counted(cells, 'cell')} of {rows.source.name}")
    each = "" if draws is None else f", {counted(draws, 'draw')} of each"
    say_written(output, shape, dtype, counted(len(rows.source), "row") + each, as_json=as_json, key=rows.key)
