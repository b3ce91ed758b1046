"""What a run is used for: ``latentmap transform``, ``inverse``, ``sample``, ``score`` and ``impute``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from latentmap.cli.conditions import load_for
from latentmap.cli.outputs import ARRAYS, PICTURES, check_output, write_array
from latentmap.cli.runs import BLOCK_VALUES, Origin, rows_for
from latentmap.cli.terminal import UsageError, counted, emit, note, say

if TYPE_CHECKING:
    from latentmap.data.columns import Table

Output = Annotated[Path, Parameter(alias="-o")]
Json = Annotated[bool, Parameter(name="--json")]
Given = str | None


def transform(
    run: Path,
    data: str | None = None,
    /,
    *,
    output: Output,
    details: bool = False,
    labels: str | None = None,
    given: Given = None,
    as_json: Json = False,
) -> None:
    """Encode rows: write the code of each, the mean of q(z|x).

    Parameters
    ----------
    run
        Folder of a run.
    data
        Rows like those of the fit: a name or file as for fit; without, those of the fit.
    output
        A .npy, .npz, .csv, .tsv or .parquet file.
    details
        Write what is known of each code beside it: trust, uncertainty, density, magnification, evidence, and whether
        the row is unusual among those of the fit, which are read again.
    labels
        Column or member to leave out of the rows; by default the one that the fit left out.
    given
        For a conditional model, what all rows are conditioned on: a label, or numbers separated by commas; without,
        each row's own label.
    as_json
        Print one JSON object on standard output.
    """
    check_output(output, ARRAYS)
    estimator = load_for(run, given)
    rows = rows_for(run, estimator, data, labels)
    if details:
        if estimator.condition_ is not None:
            raise UsageError("--details are of models without condition; leave it out")
        reference = None if data is None else rows_for(run, estimator, None, None).all()
        _write_details(estimator, rows.source.name, rows.all(), reference, output, as_json)
        return
    shape, dtype = _write_blocks(
        output, (estimator.transform(*pair) for pair in rows.with_labels()), estimator.get_feature_names_out()
    )
    _done(output, shape, dtype, as_json, f"{counted(shape[0], 'code')} of {counted(shape[1], 'component')}")


def inverse(run: Path, codes: str, /, *, output: Output, given: Given = None, as_json: Json = False) -> None:
    """Decode codes: write the row that each stands for, the mean of p(x|z), in the units and shape of the data.

    Parameters
    ----------
    run
        Folder of a run.
    codes
        A .npy, .npz, .csv, .tsv or .parquet file with a code a row, as transform writes.
    output
        A .npy, .npz, .csv, .tsv or .parquet file; tables are flat.
    given
        What all rows are conditioned on, for a conditional model: a label, or numbers separated by commas.
    as_json
        Print one JSON object on standard output.
    """
    check_output(output, ARRAYS)
    from latentmap.data.sources import open_source, require_finite

    estimator = _settled(run, given)
    source = open_source(codes)
    require_finite(source)
    rows = estimator.inverse_transform(source.read(slice(None)))
    write_array(output, rows, _columns(run, estimator), estimator.table_)
    _done(output, rows.shape, rows.dtype, as_json, counted(len(rows), "row"))


def sample(
    run: Path,
    /,
    *,
    output: Output,
    n_samples: Annotated[int, Parameter(alias="-n")] = 64,
    seed: int = 0,
    noise: bool = False,
    given: Given = None,
    as_json: Json = False,
) -> None:
    """Draw new rows from a model, as numbers or as a picture.

    Parameters
    ----------
    run
        Folder of a run.
    output
        A .npy, .npz, .csv, .tsv or .parquet file; or a .png, .svg or .pdf picture.
    n_samples
        How many.
    seed
        Seed of the draws; give another for others.
    noise
        Draw from p(x|z), as data are, instead of taking its mean; not for pictures.
    given
        What all rows are conditioned on, for a conditional model: a label, or numbers separated by commas.
    as_json
        Print one JSON object on standard output.
    """
    check_output(output, (*ARRAYS, *PICTURES))
    estimator = _settled(run, given)
    if n_samples < 1:
        raise UsageError(f"--n-samples must be at least 1, got {n_samples}")
    if output.suffix.lower() in PICTURES:
        if noise:
            raise UsageError("--noise is not for pictures, which show means; write numbers, to .npy for example")
        from latentmap import plot

        columns = None if len(estimator.event_shape_) > 1 else _columns(run, estimator)
        display = plot.samples(estimator, n_samples, random_state=seed, feature_names=columns)
        display.save(output)
        shape, dtype = display.data_.shape, display.data_.dtype
    else:
        most = max(1, BLOCK_VALUES // estimator.n_features_in_)
        sizes = [min(most, n_samples - start) for start in range(0, n_samples, most)]
        drawn = (estimator.sample(n, random_state=seed + i, noise=noise) for i, n in enumerate(sizes))
        shape, dtype = _write_blocks(output, drawn, _columns(run, estimator), estimator.table_)
    _done(output, shape, dtype, as_json, counted(n_samples, "sample"))


def score(
    run: Path,
    data: str | None = None,
    /,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    samples: int = 1,
    labels: str | None = None,
    given: Given = None,
    as_json: Json = False,
) -> None:
    """Score rows: a lower bound on the log-density of each, nats, in the units of the data.

    A row with a value that the model excludes, such as 50 in a column of 0 and 1, scores -inf.

    Parameters
    ----------
    run
        Folder of a run whose model has a density.
    data
        Rows like those of the fit: a name or file as for fit; without, those of the fit.
    output
        A .npy, .npz, .csv, .tsv or .parquet file for the score of each row; without, only the mean is said.
    samples
        Codes drawn a row: 1 gives the ELBO; k the importance-weighted bound, tighter, which takes k times as long.
    labels
        Column or member to leave out of the rows; by default the one that the fit left out.
    given
        For a conditional model, what all rows are conditioned on: a label, or numbers separated by commas; without,
        each row's own label.
    as_json
        Print one JSON object on standard output; null stands for -inf.
    """
    import numpy as np

    if output is not None:
        check_output(output, ARRAYS)
    if samples < 1:
        raise UsageError(f"--samples must be at least 1, got {samples}")
    estimator = load_for(run, given)
    rows = rows_for(run, estimator, data, labels)
    scores = np.concatenate([estimator.score_samples(block, samples, y=y) for block, y in rows.with_labels()])
    bound = "elbo" if samples == 1 else f"iwae_{samples}"
    if output is not None:
        write_array(output, scores, [bound])
        say(f"wrote {counted(len(scores), 'score')} to {output}")
    lowest, inside = int(np.argmin(scores)), scores[scores > -np.inf]
    outside = len(scores) - len(inside)
    if outside:
        least = f"the others {inside.mean():.2f}" if len(inside) else "as all are"
        note(f"{counted(outside, 'row')} of {len(scores):,} hold values that the model excludes, -inf; {least}")
    mean = float(scores.mean())
    error = float(scores.std(ddof=1) / np.sqrt(len(scores))) if len(scores) > 1 and not outside else None
    spread = "" if error is None else f" +- {error:.2f}"
    name = bound.upper().replace("_", "-")
    say(f"{rows.source.name}: {name} {mean:.2f}{spread} nats a row; lowest {scores[lowest]:.2f}, row {lowest + 1}")
    if as_json:  # which knows no infinity
        found = {"bound": bound, "mean": None if outside else mean, "standard_error": error, "rows": len(scores)}
        found |= {"lowest": None if outside else float(scores[lowest]), "lowest_row": lowest + 1}
        emit(found | {"rows_outside": outside, "output": None if output is None else str(output)})


def impute(
    run: Path,
    data: str | None = None,
    /,
    *,
    output: Output,
    draws: int | None = None,
    samples: int = 100,
    seed: int = 0,
    labels: str | None = None,
    given: Given = None,
    as_json: Json = False,
) -> None:
    """Fill missing cells from those that are there, with their mean under the model, or with draws.

    Parameters
    ----------
    run
        Folder of a run that was fitted to rows with missing cells.
    data
        Rows like those of the fit: a name or file as for fit; without, those of the fit.
    output
        A .npy, .npz, .csv, .tsv or .parquet file; draws need .npy or .npz.
    draws
        Write so many draws of all rows, one after the other, for multiple imputation; without, the conditional mean.
    samples
        Codes drawn a row: the more, the nearer to the conditional mean.
    seed
        Seed of the codes and draws.
    labels
        Column or member to leave out of the rows; by default the one that the fit left out.
    given
        For a conditional model, what all rows are conditioned on: a label, or numbers separated by commas; without,
        each row's own label.
    as_json
        Print one JSON object on standard output.
    """
    import numpy as np

    check_output(output, ARRAYS if draws is None else (".npy", ".npz"))
    for name, value in (("--draws", draws), ("--samples", samples)):
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}")
    estimator = load_for(run, given)
    rows = rows_for(run, estimator, data, labels)
    cells = 0

    def filled() -> Iterator[Any]:
        nonlocal cells
        for i, (block, y) in enumerate(rows.with_labels(whole=draws is not None)):
            cells += int(np.isnan(block).sum()) if block.dtype.kind == "f" else 0
            yield estimator.impute(block, draws, n_samples=samples, y=y, random_state=seed + i)

    shape, dtype = _write_blocks(output, filled(), _columns(run, estimator), estimator.table_)
    say(f"filled {counted(cells, 'cell')} of {rows.source.name}")
    each = "" if draws is None else f", {counted(draws, 'draw')} of each"
    _done(output, shape, dtype, as_json, counted(len(rows.source), "row") + each)


def _write_details(estimator: Any, name: str, X: Any, reference: Any, output: Path, as_json: bool) -> None:
    """Write codes with what is known of each, and warn of rows that are unlike those of the fit."""
    from latentmap.evaluation.details import map_details

    found = map_details(estimator, X, reference)
    rows = found.columns()
    write_array(output, rows, [*estimator.get_feature_names_out(), *found.COLUMNS])
    if count := int(found.unusual.sum()):
        expected = f"about {found.false_alarm_rate * len(X):.0f} of {len(X):,} would be if they were alike"
        note(f"{counted(count, 'row')} of {name} {'is' if count == 1 else 'are'} unlike those of the fit ({expected})")
    _done(
        output, rows.shape, rows.dtype, as_json, f"{counted(len(rows), 'code')} with {len(found.COLUMNS)} details each"
    )


def _settled(run: Path, given: str | None) -> Any:
    """Load a model that is to decode; a conditional one has to be told for what."""
    estimator = load_for(run, given)
    if estimator.needs_y_:
        what = "one of its labels" if estimator.has_labels_ else "its covariates"
        raise UsageError(f"{run} is conditioned on {estimator.condition}: give {what} with --given")
    return estimator


def _columns(run: Path, estimator: Any) -> list[str]:
    """Give the names of the features: those of the data, else numbered."""
    origin = Origin.read(run)
    if origin is not None and origin.columns is not None:
        return origin.columns
    names = getattr(estimator, "feature_names_in_", None)
    return [f"x{i}" for i in range(estimator.n_features_in_)] if names is None else list(names)


def _write_blocks(
    output: Path, blocks: Iterator[Any], columns: Sequence[str], table: Table | None = None
) -> tuple[tuple[int, ...], Any]:
    """Write blocks of rows as they come; gives shape and type of them all."""
    from latentmap.data.writing import writing

    rows = 0
    with writing(output, columns, table) as writer:
        for block in blocks:
            writer.write(block)
            rows += len(block)
    return (rows, *block.shape[1:]), block.dtype


def _done(output: Path, shape: Sequence[int], dtype: Any, as_json: bool, what: str) -> None:
    say(f"wrote {what} to {output}")
    if as_json:
        emit({"output": str(output), "shape": list(shape), "dtype": dtype.name})
