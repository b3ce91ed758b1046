"""``latentmap impute``: missing cells from the observed ones."""

from __future__ import annotations

from typing import Any

from latentmap.cli.options import (
    ArrayOutput,
    Embed,
    GivenOrLabels,
    Json,
    PartRows,
    Run,
    RunData,
    RunId,
    RunLabels,
    Seed,
    Whole,
)
from latentmap.cli.outputs import ARRAYS, say_written, write_blocks
from latentmap.cli.parts import Output, say_parts, telling_worker, write_parts
from latentmap.cli.terminal import UsageError, note, say
from latentmap.messages import counted


@telling_worker()
def impute(
    run: Run,
    data: RunData = None,
    /,
    *,
    output: ArrayOutput,
    draws: Whole | None = None,
    samples: Whole = 100,
    seed: Seed = 0,
    labels: RunLabels = None,
    row_id: RunId = None,
    given: GivenOrLabels = None,
    embed: Embed = (),
    part_rows: PartRows = None,
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
    target = Output.read(output, ARRAYS if draws is None else (".npy", ".npz"), part_rows)
    if target.worker is not None and draws is not None:
        raise UsageError("--draws are written to one file: give a .npy or .npz file")
    for name, value in (("--draws", draws), ("--samples", samples)):
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}")
    import numpy as np

    from latentmap.cli.runs import column_names, load_run, open_rows

    estimator = load_run(run, given, embed)
    rows = open_rows(run, estimator, data, labels, row_id, every=True, by_block=target.worker is not None)
    table, cells, unfilled = estimator.table_, 0, 0
    names, texts = column_names(run, estimator), {} if table is None else table.components
    kept = [i for i, name in enumerate(names) if name not in texts]

    def filled(block: Any, y: Any) -> Any:
        nonlocal cells, unfilled
        missing = np.isnan(block) if block.dtype.kind == "f" else np.zeros(block.shape, bool)
        cells += int(missing.reshape(len(missing), -1)[:, kept].sum())
        unfilled += int(missing.sum())
        made = estimator.impute(block, draws, n_samples=samples, y=y, random_state=seed)
        return made if table is None else np.where(missing, table.within(made), block)

    if target.worker is not None:
        settings = {"command": "impute", "samples": samples, "seed": seed, "given": given, "embed": list(embed)}
        parts, told = write_parts(target, run, rows, names, filled, settings, rows.source.table)
        if told:
            size = [len(rows.source), *rows.source.first.shape[1:]]
            say_parts(parts, counted(size[0], "row"), {"shape": size} if as_json else None)
        return
    came = rows.source.cells if rows.in_memory else ()
    if not rows.in_memory and rows.source.names is not None:
        note(f"{rows.source.name} does not fit in memory: only the columns of the model are written")
    made = (filled(*pair) for pair in rows.with_labels(whole=draws is not None))
    shape, dtype = write_blocks(target.path, made, names, rows.source.table, came, rows.key)
    if unfilled > cells:
        note(f"missing text stays missing in {', '.join(map(repr, dict.fromkeys(texts.values())))}")
    say(f"filled {counted(cells, 'cell')} of {rows.source.name}")
    each = "" if draws is None else f", {counted(draws, 'draw')} of each"
    say_written(target.path, shape, dtype, counted(len(rows.source), "row") + each, as_json=as_json, key=rows.key)
