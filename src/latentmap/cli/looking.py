"""What there is to see: ``latentmap info`` and ``latentmap report``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from latentmap.cli.conditions import load_for, one_condition
from latentmap.cli.outputs import check_output
from latentmap.cli.runs import Origin, is_run, rows_for, shown_rows
from latentmap.cli.settings import read_columns
from latentmap.cli.terminal import UsageError, counted, emit, say, say_pairs
from latentmap.cli.words import (
    column_in_words,
    describe_schema,
    labels_in_words,
    shape_in_words,
    size_in_words,
    values_in_words,
)

if TYPE_CHECKING:
    from latentmap.data.sources import Source
    from latentmap.model.likelihoods import Likelihood

Json = Annotated[bool, Parameter(name="--json")]

GLANCE = 2**28
"""Bytes of rows that are all looked at; of more, some are."""
MOST_NAMES = 12


def info(
    what: str,
    /,
    *,
    labels: str | None = None,
    columns: Path | None = None,
    skip_bad: bool = False,
    as_json: Json = False,
) -> None:
    """Say what a run or data hold, and what fit would choose for the data.

    Parameters
    ----------
    what
        Folder of a run; or data, by a name or file as for fit.
    labels
        Column or member of the data with the labels.
    columns
        A .toml file that says what columns of a table are, as for fit.
    skip_bad
        Leave out the images of a folder that cannot be read, count and list them.
    as_json
        Print one JSON object on standard output.
    """
    from latentmap.data.datasets import DATASETS
    from latentmap.data.sources import holds_rows, open_source

    folder = Path(what)
    if is_run(folder) or (folder.is_dir() and what not in DATASETS and not holds_rows(folder)):
        _info_run(folder, as_json)
    else:
        _info_data(open_source(what, labels, read_columns(columns), skip_bad=skip_bad), columns, as_json)


def report(
    run: Path,
    data: str | None = None,
    /,
    *,
    labels: str | None = None,
    given: str | None = None,
    compare: bool = False,
    as_json: Json = False,
) -> None:
    """Write the report of a run, report.html and its figures, into its folder.

    Parameters
    ----------
    run
        Folder of a run.
    data
        Rows to show, by a name or file as for fit; without, those of the fit.
    labels
        Column or member with the labels; by default that of the fit.
    given
        For a conditional model, what it is shown for: a label, by default the commonest; or numbers separated by
        commas.
    compare
        Add the comparison with other methods, each fitted to the data; see the command compare.
    as_json
        Print one JSON object on standard output.
    """
    check_output(run / "report.html", [".html"])
    from latentmap.report import write_report

    estimator = load_for(run, given)
    rows = rows_for(run, estimator, data, labels)
    if estimator.condition_ is not None and not estimator.has_labels_ and given is None:
        raise UsageError("a model with covariates is shown for some: add --given with numbers separated by commas")
    source, (estimator, X, y, of) = rows.source, one_condition(estimator, *shown_rows(rows))
    found = None
    if compare:
        from latentmap.cli.comparing import compared

        found = compared(source)
    origin = Origin.read(run)
    names = None if origin is None else origin.columns
    page = write_report(estimator, X, y, run, found, name=source.name + of, feature_names=names)
    say(f"wrote {page}")
    if as_json:
        emit({"report": str(page), "figures": sorted(str(figure) for figure in (run / "figures").glob("*.png"))})


def _info_run(run: Path, as_json: bool) -> None:
    from latentmap.data.schema import Schema

    found = _of_run(run)
    say(f"{run}: {found['class']} with {counted(found['n_components'], 'component')}, latentmap {found['version']}")
    place = "" if found["place"] is None else f"{found['place']}: "
    data = {"data": place + describe_schema(Schema.from_json(found["data"])), "sha256": found["fingerprint"]}
    say_pairs(data | {"fitted": f"{counted(found['epochs'], 'epoch')} in {found['seconds']:.1f} s"})
    say("parameters")
    say_pairs({key: _part(value) for key, value in found["parameters"].items() if value is not None})
    say("choices")
    say_pairs({key.replace("_", " "): text for key, text in found["choices"].items()})
    if (kept := found["evaluation"]) is not None:
        units = "in the data's own units" if kept["units"] == "data" else "in the units that the model sees"
        say(f"evaluation of {kept['rows']}, nats a row {units}")
        numbers = {"ELBO": kept["elbo"], "loss": kept["loss"], **kept["parts"]}
        say_pairs({key.replace("_", " "): f"{value:.5g}" for key, value in numbers.items() if value is not None})
    say("findings")
    for finding in found["findings"]:
        say(f"  {'!' if finding['warning'] else '-'} {finding['message']}")
    if as_json:
        emit(found)


def _of_run(run: Path) -> dict[str, Any]:
    """Collect what the files of a run say, without making its model."""
    from latentmap.estimators.history import evaluation
    from latentmap.estimators.persistence import read_config
    from latentmap.exceptions import ModelError

    config, origin = read_config(run), Origin.read(run)
    try:
        fitted = config["fitted"]
        lines = (run / "history.jsonl").read_text(encoding="utf-8").splitlines()
        history, units = [json.loads(line) for line in lines], fitted.get("history_units", "model")
        kept = evaluation(history, bound=fitted.get("history_bounds", False), units=units)
        return {
            "run": str(run),
            "class": config["class"],
            "version": config["version"],
            "n_components": fitted["latent"],
            "place": None if origin is None else origin.data,
            "data": fitted["data_schema_"],
            "fingerprint": fitted["data_fingerprint_"],
            "parameters": config["params"],
            "parts": fitted["parts"],
            "choices": fitted["choices_"],
            "evaluation": None if kept is None else kept.to_json(),
            "last": dict(history[-1]) if history else {},
            "findings": fitted["findings_"],
            "epochs": fitted["n_iter_"],
            "seconds": fitted["fit_seconds_"],
        }
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelError(f"{run} is damaged ({type(error).__name__}: {error}); fit and save the model again") from error


def _info_data(source: Source, columns: Path | None, as_json: bool) -> None:
    from latentmap.data.formats.arrays import ArraySource
    from latentmap.data.formats.sparse import SparseSource
    from latentmap.data.streaming import fits, read_memory, sampled
    from latentmap.exceptions import LatentmapError

    labels = labels_in_words(source)
    size = source.bytes if isinstance(source, SparseSource) else len(source) * source.first.nbytes
    if size > GLANCE:
        numbers, rows = sampled(source, pieces=2)
        some: Source = ArraySource(rows, name=source.name, names=source.names)
        about = f", in {len(numbers):,} rows from all over"
    else:
        some, about = source, ""
    some.tallies = source.tallies
    schema, memory = some.schema, read_memory(None)
    kept = source.is_sparse or fits(source, memory)
    try:
        choices, refused = _choices(some, len(source), columns, kept), None
    except LatentmapError as error:
        choices, refused = {}, str(error)
    names = schema.names or ()
    more = "" if len(names) <= MOST_NAMES else f", and {len(names) - MOST_NAMES} more"
    say(source.name)
    say_pairs(
        {
            "rows": f"{len(source):,}",
            "row": shape_in_words(schema.event_shape) + (f" ({', '.join(names[:MOST_NAMES])}{more})" if names else ""),
            "values": values_in_words(schema) + about if source.table is None else "see columns",
            "missing": f"{schema.missing:,} NaN, {schema.infinite:,} infinite" + about,
            "memory": f"{size_in_words(size)}; a fit would "
            + ("keep all of it" if kept else f"read it in blocks within {size_in_words(memory)}")
            + (" as a sparse matrix" if source.is_sparse else ""),
            "labels": labels or "none",
        }
        | ({"note": source.remark} if source.remark else {})
    )
    if source.table is not None:
        say("columns")
        say_pairs({column.name: column_in_words(column) for column in source.table.columns})
    say("fit would choose" if refused is None else f"fit would refuse: {refused}")
    say_pairs({key.replace("_", " "): text for key, text in choices.items()})
    if as_json:
        data = {
            "name": source.name,
            "bytes": size,
            "labels": source.label_name,
            "label_summary": labels,
            "remark": source.remark,
            "table": None if source.table is None else source.table.to_json(),
        }
        found = schema.to_json() | {"n_rows": len(source), "fingerprint": None if about else source.fingerprint}
        emit(data | found | {"choices": choices, "refused": refused})


def _choices(source: Source, rows: int, columns: Path | None, in_memory: bool) -> dict[str, Any]:
    """Give what a fit of two components would choose."""
    from latentmap.data.sampling import count_held_out
    from latentmap.data.sources import require_finite
    from latentmap.data.streaming import MOST_HELD_OUT
    from latentmap.estimators import choices
    from latentmap.estimators.columns import Columns
    from latentmap.estimators.vae import VAE
    from latentmap.model.part import Sizes

    require_finite(source, missing=True)
    schema = source.schema
    likelihood: Likelihood
    if source.table is None:
        counts = source.tallies and schema.kind == "count"
        likelihood = choices.choose_likelihood(schema.binary, missing=schema.missing > 0, counts=counts)
        scaling, described = choices.choose_units(source, likelihood, "auto").kind, str(likelihood)
    else:
        given = Columns.read(columns).likelihoods if columns else {}
        likelihood, units = choices.choose_columns(source.table, given)
        scaling, described = units.kind, "one a column"
    trained = rows - count_held_out(rows, VAE().validation_fraction, None if in_memory else MOST_HELD_OUT)
    neighbors = choices.choose_neighbors(trained, 2) if in_memory else 0
    inputs = likelihood.encoder_sizes(Sizes(schema.event_shape, 2))
    encoder, decoder = choices.choose_networks(inputs, neighbors=neighbors > 0)
    batch = choices.choose_batch_size(trained, neighbors=neighbors > 0)
    return {
        "scaling": scaling,
        "likelihood": described,
        "encoder": str(encoder),
        "decoder": str(decoder),
        "neighbors": neighbors,
        "batch_size": batch,
        "max_epochs": choices.choose_epochs(trained, batch, neighbors=neighbors > 0),
        "learning_rate": float(f"{choices.choose_learning_rate(batch):.3g}"),
    }


def _part(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    settings = ", ".join(f"{key}={_part(item)}" for key, item in value.items() if key not in ("part", "module"))
    return f"{str(value.get('part', value.get('module'))).rpartition('.')[2]}({settings})"
