"""``latentmap impute``: missing cells from the observed ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from latentmap.cli.options import ArrayFile, Embed, GivenOrLabels, Json, Run, RunData, RunId, RunLabels, Seed, Whole
from latentmap.cli.outputs import ARRAYS, check_output, say_written, write_blocks
from latentmap.cli.terminal import UsageError, note, say
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
    embed: Embed = (),
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

    estimator = load_run(run, given, embed)
    rows = open_rows(run, estimator, data, labels, row_id, every=True)
    table, cells, unfilled = estimator.table_, 0, 0
    names, texts = column_names(run, estimator), {} if table is None else table.components
    kept = [i for i, name in enumerate(names) if name not in texts]

    def filled() -> Iterator[Any]:
        nonlocal cells, unfilled
        for i, (block, y) in enumerate(rows.with_labels(whole=draws is not None)):
            missing = np.isnan(block) if block.dtype.kind == "f" else np.zeros(block.shape, bool)
            cells += int(missing[:, kept].sum())
            unfilled += int(missing.sum())
            made = estimator.impute(block, draws, n_samples=samples, y=y, random_state=seed + i)
            yield made if table is None else np.where(missing, table.within(made), block)

    came = rows.source.cells if rows.in_memory else ()
    if not rows.in_memory and rows.source.names is not None:
        note(f"{rows.source.name} does not fit in memory: only the columns of the model are written")
    shape, dtype = write_blocks(output, filled(), names, rows.source.table, came, rows.key)
    if unfilled > cells:
        note(f"missing text stays missing in {', '.join(map(repr, dict.fromkeys(texts.values())))}")
    say(f"filled {counted(cells, 'cell')} of {rows.source.name}")
    each = "" if draws is None else f", {counted(draws, 'draw')} of each"
    say_written(output, shape, dtype, counted(len(rows.source), "row") + each, as_json=as_json, key=rows.key)
