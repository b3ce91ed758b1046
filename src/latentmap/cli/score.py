"""``latentmap score``: lower bounds on the log-densities of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    SkipBad,
    Whole,
)
from latentmap.cli.outputs import write_blocks
from latentmap.cli.parts import Output, say_parts, telling_worker, write_parts
from latentmap.cli.terminal import UsageError, emit, note, say
from latentmap.messages import counted

if TYPE_CHECKING:
    from latentmap.cli.runs import RunRows


@telling_worker()
def score(
    run: Run,
    data: RunData = None,
    /,
    *,
    output: ArrayOutput | None = None,
    samples: Whole = 1,
    labels: RunLabels = None,
    row_id: RunId = None,
    given: GivenOrLabels = None,
    embed: Embed = (),
    skip_bad: SkipBad = False,
    part_rows: PartRows = None,
    as_json: Json = False,
) -> None:
    """Score rows: a lower bound on the log-density of each, in nats, in the units of the data.

    The mean is printed; --output is for the score of each row. The model must have a density. A row with a value that
    the model excludes, such as 50 in a column of 0 and 1, scores -inf, which is null in JSON.

    Parameters
    ----------
    samples
        Latent codes drawn for each row: 1 for the ELBO, k for the importance-weighted bound, which is tighter and takes
        k times as long.
    """
    target = Output.read(output, part_rows=part_rows)
    if samples < 1:
        raise UsageError(f"--samples must be at least 1, got {samples}")
    import numpy as np

    from latentmap.cli.runs import load_run, open_rows

    estimator = load_run(run, given, embed)
    rows = open_rows(run, estimator, data, labels, row_id, by_block=target.worker is not None, skip_bad=skip_bad)
    bound = "elbo" if samples == 1 else f"iwae_{samples}"

    def scored(block: Any, y: Any) -> Any:
        return estimator.score_samples(block, samples, y=y)

    if target.worker is not None:
        settings = {"command": "score", "given": given, "embed": list(embed)}
        parts, told = write_parts(target, run, rows, [bound], scored, settings)
        if not told:
            return
        scores = parts.column(bound)
        say_parts(parts, counted(len(scores), "score"))
    else:
        scores = np.concatenate([scored(*pair) for pair in rows.with_labels()])
        if output is not None:
            write_blocks(target.path, [scores], [bound], key=rows.key)
            say(f"wrote {counted(len(scores), 'score')} to {target.path}")
    summary = _say_scores(rows, bound, scores)
    if as_json:
        emit({"bound": bound} | summary | {"output": None if output is None else str(target.path)})


def _say_scores(rows: RunRows, bound: str, scores: Any) -> dict[str, Any]:
    """Print and return mean, standard error and minimum of the scores, as JSON values, which are finite."""
    inside, lowest = scores[scores > -float("inf")], int(scores.argmin())
    number = rows.number(lowest)
    outside = len(scores) - len(inside)
    if outside:
        others = f"the others {inside.mean():.2f}" if len(inside) else "as all are"
        note(f"{counted(outside, 'row')} of {len(scores):,} hold values that the model excludes, -inf; {others}")
    mean = float(scores.mean())
    error = float(scores.std(ddof=1) / len(scores) ** 0.5) if len(scores) > 1 and not outside else None
    spread = "" if error is None else f" +- {error:.2f}"
    bound = bound.upper().replace("_", "-")
    which = (
        f"row {number}" if rows.key is None or rows.key.name == "row" else f"{rows.key.name} {rows.key.values[lowest]}"
    )
    say(f"{rows.source.name}: {bound} {mean:.2f}{spread} nats a row; lowest {scores[lowest]:.2f}, {which}")
    summary = {"mean": None if outside else mean, "standard_error": error, "rows": len(scores)}
    summary |= {"lowest": None if outside else float(scores[lowest]), "lowest_row": number}
    return summary | {"rows_outside": outside}
