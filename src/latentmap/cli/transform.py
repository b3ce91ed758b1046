"""``latentmap transform`` and ``latentmap inverse``: rows to latent codes, and back."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentmap.cli.options import (
    ArrayFile,
    ArrayOutput,
    Embed,
    Given,
    GivenOrLabels,
    Json,
    PartRows,
    Run,
    RunData,
    RunId,
    RunLabels,
    SkipBad,
)
from latentmap.cli.outputs import ARRAYS, check_output, say_written, write_blocks
from latentmap.cli.parts import Output, say_parts, telling_worker, write_parts
from latentmap.cli.terminal import UsageError, note
from latentmap.messages import counted

if TYPE_CHECKING:
    from latentmap.cli.runs import RunRows


@telling_worker()
def transform(
    run: Run,
    data: RunData = None,
    /,
    *,
    output: ArrayOutput,
    details: bool = False,
    cluster: bool = False,
    labels: RunLabels = None,
    row_id: RunId = None,
    given: GivenOrLabels = None,
    embed: Embed = (),
    skip_bad: SkipBad = False,
    part_rows: PartRows = None,
    as_json: Json = False,
) -> None:
    """Encode rows: write the latent code of each, the posterior mean of q(z|x) or the row's place on a map.

    Parameters
    ----------
    details
        Write with each code its trust, uncertainty, density, magnification and evidence, and whether the row is unusual
        among those of the fit, which are read again.
    cluster
        Write with each code the number of its cluster by HDBSCAN, 1 for the largest, 0 for rows in none.
    """
    if cluster and details:
        raise UsageError("--cluster and --details write files of their own: give one of them")
    target = Output.read(output, part_rows=part_rows)
    if target.worker is not None and (cluster or details):
        raise UsageError("--cluster and --details need all rows at once: give a file, such as -o z.parquet")
    from latentmap.cli.runs import load_run, open_rows

    estimator = load_run(run, given, embed)
    rows = open_rows(run, estimator, data, labels, row_id, by_block=target.worker is not None, skip_bad=skip_bad)
    names = estimator.get_feature_names_out()
    if target.worker is not None:
        settings = {"command": "transform", "given": given, "embed": list(embed)}
        parts, told = write_parts(target, run, rows, names, estimator.transform, settings)
        size = [len(rows.source), len(names)]
        if told:
            content = f"{counted(size[0], 'code')} of {counted(size[1], 'component')}"
            say_parts(parts, content, {"shape": size} if as_json else None)
        return
    if details:
        if estimator.condition_ is not None:
            raise UsageError("--details are of models without condition; leave it out")
        reference = None if data is None else open_rows(run, estimator).all()
        _write_details(estimator, rows, reference, target.path, as_json)
        return
    codes: Iterable[Any] = (estimator.transform(*pair) for pair in rows.with_labels())
    if cluster:
        from latentmap.data.names import free_name

        names, codes = [*names, free_name("cluster", names)], [_clustered(list(codes))]
    shape, dtype = write_blocks(target.path, codes, names, key=rows.key)
    content = f"{counted(shape[0], 'code')} of {counted(shape[1] - cluster, 'component')}"
    say_written(target.path, shape, dtype, content, as_json=as_json, key=rows.key)


def inverse(
    run: Run,
    codes: str | Path,
    /,
    *,
    output: ArrayFile,
    row_id: RunId = None,
    given: Given = None,
    as_json: Json = False,
) -> None:
    """Decode latent codes: write the mean of p(x|z) of each, in the units and shape of the data.

    Parameters
    ----------
    codes
        A file with a latent code in each row, in any format that transform writes. Its components are found by name,
        and other columns but the id are left out; without the names of the run, all columns are components.
    """
    check_output(output, ARRAYS)
    from latentmap.cli.runs import Origin, column_names, load_decoder
    from latentmap.data.writing import Key
    from latentmap.estimators.rows import open_codes

    estimator, origin = load_decoder(run, given), Origin.read(run)
    name = row_id or (None if origin is None else origin.id)
    source = open_codes(codes, estimator.get_feature_names_out(), name, optional=row_id is None)
    key = Key(name, source.beside[name]) if name is not None and name in source.beside else None
    rows = estimator.inverse_transform(source)
    shape, dtype = write_blocks(output, [rows], column_names(run, estimator), estimator.table_, key=key)
    say_written(output, shape, dtype, counted(len(rows), "row"), as_json=as_json, key=key)


def _clustered(codes: list[Any]) -> Any:
    """Return codes with their clusters as a further column, and note how many clusters there are."""
    import numpy as np

    from latentmap.evaluation.clusters import clusters

    Z = np.concatenate(codes)
    found = clusters(Z)
    none = int((found < 0).sum())
    note(f"{counted(int(found.max()) + 1, 'cluster')}; {counted(none, 'row')} of {len(Z):,} in none")
    return np.c_[Z, found + 1.0]


def _write_details(estimator: Any, rows: RunRows, reference: Any, output: Path, as_json: bool) -> None:
    """Write codes with their details, and note how many rows are unlike those of the fit."""
    from latentmap.evaluation.details import map_details

    name, X = rows.source.name, rows.all()
    details = map_details(estimator, X, reference)
    names = [*estimator.get_feature_names_out(), *details.COLUMNS]
    shape, dtype = write_blocks(output, [details.columns()], names, key=rows.key)
    if count := int(details.unusual.sum()):
        expected = f"about {details.false_alarm_rate * len(X):.0f} of {len(X):,} would be if they were alike"
        note(f"{counted(count, 'row')} of {name} {'is' if count == 1 else 'are'} unlike those of the fit ({expected})")
    content = f"{counted(shape[0], 'code')} with {len(details.COLUMNS)} details each"
    say_written(output, shape, dtype, content, as_json=as_json, key=rows.key)
