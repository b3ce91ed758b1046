"""``latentmap info``: descriptions of a run, or of data and the choices of a fit to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from latentmap.cli.describe import (
    LARGEST_READ,
    column_in_words,
    describe_schema,
    labels_in_words,
    numbers_alone,
    shape_in_words,
    size_in_words,
    values_in_words,
)
from latentmap.cli.options import ColumnsFile, Embed, Id, Json, Labels, SkipBad, read_place
from latentmap.cli.outputs import check_output
from latentmap.cli.settings import open_data
from latentmap.cli.terminal import UsageError, emit, say, say_pairs
from latentmap.exceptions import DataError, LatentmapError
from latentmap.messages import counted

if TYPE_CHECKING:
    from latentmap.data.schema import Schema
    from latentmap.data.sources import Source
    from latentmap.estimators.columns import Columns
    from latentmap.estimators.memory import Needs

MOST_NAMES = 12


def info(
    what: str | Path,
    /,
    *,
    labels: Labels = None,
    row_id: Id = None,
    columns: ColumnsFile = None,
    embed: Embed = (),
    columns_template: Annotated[Path | None, Parameter(allow_leading_hyphen=True, converter=read_place)] = None,
    memory: str | None = None,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Describe a run, or data and the choices that fit would make for them.

    Parameters
    ----------
    what
        Folder of a run; or data, by a name or file as for fit.
    columns_template
        A .toml file to write, with what is inferred of each column of a table, to edit and give to fit with --columns;
        - writes it to standard output.
    memory
        Memory for the rows, as for fit.
    """
    from latentmap.data.datasets import DATASETS
    from latentmap.data.sources import holds_rows
    from latentmap.estimators.run_folder import CONFIG, MODEL, is_run

    folder = Path(what)
    without_rows = folder.is_dir() and what not in DATASETS and not holds_rows(folder)
    if without_rows and not any((folder / name).exists() for name in MODEL):
        raise DataError(f"{what} is a folder without a run ({CONFIG}) and without data (images or .parquet files)")
    if is_run(folder) or without_rows:
        if columns_template is not None:
            raise UsageError(f"{what} is a run: --columns-template describes the columns of data")
        _info_run(folder, as_json)
        return
    source, requested = open_data(what, labels, columns, skip_bad=skip_bad, row_id=row_id, embed=embed, memory=memory)
    if columns_template is not None:
        _write_template(source, requested, columns_template, row_id)
    if str(columns_template) != "-":
        _info_data(source, requested, memory, as_json)


def _write_template(source: Source, requested: Columns | None, path: Path, row_id: str | None) -> None:
    """Write what is inferred of the columns of a table."""
    from latentmap.data.files import atomic_path
    from latentmap.data.selection import Selection
    from latentmap.data.sources import open_source
    from latentmap.data.template import template
    from latentmap.estimators.columns import Columns

    if str(path) != "-":
        check_output(path, (".toml",))
    if (table := source.table) is None:  # numbers alone
        selection = Selection(left_out=() if row_id is None else (row_id,))
        spec = (requested or Columns()).requested
        table = open_source(source.name, source.label_name, spec, selection=selection).table
        say("numbers alone are fitted as an array; with the specification, each column has a likelihood of its own")
    assert table is not None
    text = template(table, Path(source.name).name) + "\n"
    if str(path) == "-":
        print(text, end="")
        return
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    say(f"wrote the specification of {counted(len(table.order), 'column')} to {path}")


def _info_run(run: Path, as_json: bool) -> None:
    from latentmap.data.schema import Schema

    facts = _of_run(run)
    say(f"{run}: {facts['class']} with {counted(facts['n_components'], 'component')}, latentmap {facts['version']}")
    place = "" if facts["place"] is None else f"{facts['place']}: "
    data = {"data": place + describe_schema(Schema.from_json(facts["data"])), "sha256": facts["fingerprint"]}
    say_pairs(data | {"fitted": f"{counted(facts['epochs'], 'epoch')} in {facts['seconds']:.1f} s"})
    say("parameters")
    say_pairs({key: _part(value) for key, value in facts["parameters"].items() if value is not None})
    say("choices")
    say_pairs({key.replace("_", " "): text for key, text in facts["choices"].items()})
    if (evaluation := facts["evaluation"]) is not None:
        units = "in the data's own units" if evaluation["units"] == "data" else "in the units of the model"
        say(f"evaluation of {evaluation['rows']}, nats a row {units}")
        numbers = {"ELBO": evaluation["elbo"], "loss": evaluation["loss"], **evaluation["parts"]}
        say_pairs({key.replace("_", " "): f"{value:.5g}" for key, value in numbers.items() if value is not None})
    say("findings")
    for finding in facts["findings"]:
        say(f"  {'!' if finding['warning'] else '-'} {finding['message']}")
    if as_json:
        emit(facts)


def _of_run(run: Path) -> dict[str, Any]:
    """Return the facts in the files of a run that `latentmap.load` takes."""
    from latentmap.cli.runs import Origin
    from latentmap.estimators.history import evaluation
    from latentmap.estimators.persistence import describe_run

    (config, history), origin = describe_run(run), Origin.read(run)
    fitted = config["fitted"]
    bound, units = fitted.get("history_bounds", False), fitted.get("history_units", "model")
    evaluated = evaluation(history, bound=bound, units=units)
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
        "evaluation": None if evaluated is None else evaluated.to_json(),
        "last": dict(history[-1]) if history else {},
        "findings": fitted["findings_"],
        "epochs": fitted["n_iter_"],
        "seconds": fitted["fit_seconds_"],
    }


def _info_data(source: Source, requested: Columns | None, memory: str | None, as_json: bool) -> None:
    from latentmap.data.streaming import fits, read_memory

    sample, note = _sample(source)
    in_memory = source.is_sparse or fits(source, read_memory(memory))
    choices, needs, refused = _preview(sample, source, requested, memory)
    say(source.name)
    keeps = "keep all of it" if in_memory else f"read it in blocks within {size_in_words(read_memory(memory))}"
    say_pairs(_facts(source, sample.schema, note, keeps, needs))
    if source.table is not None:
        say("columns")
        say_pairs({column.name: column_in_words(column) for column in source.table.columns})
    say("fit would choose" if refused is None else f"fit would refuse: {refused}")
    say_pairs({key.replace("_", " "): text for key, text in choices.items()})
    if as_json:
        data = {
            "name": source.name,
            "bytes": _size(source),
            "labels": source.label_name,
            "label_summary": labels_in_words(source),
            "remark": source.remark,
            "table": None if source.table is None else source.table.to_json(),
        }
        schema = sample.schema.to_json() | {"n_rows": len(source), "fingerprint": None if note else source.fingerprint}
        emit(data | schema | {"choices": choices, "needs": _bytes(needs), "refused": refused})


def _size(source: Source) -> int:
    """Return the bytes of the rows."""
    from latentmap.data.formats.sparse import SparseSource

    return source.bytes if isinstance(source, SparseSource) else len(source) * source.first.nbytes


def _sample(source: Source) -> tuple[Source, str]:
    """Return a source of all rows, or of some if there are very many, and a note that says so."""
    from latentmap.data.formats.arrays import ArraySource
    from latentmap.data.streaming import sampled

    if _size(source) <= LARGEST_READ:
        return source, ""
    numbers, rows = sampled(source, pieces=2)
    sample = ArraySource(rows, name=source.name, names=source.names)
    sample.tallies = source.tallies
    return sample, f", in {len(numbers):,} rows from all over"


def _facts(source: Source, schema: Schema, note: str, keeps: str, needs: Needs | None) -> dict[str, str]:
    """Return the facts about data by name."""
    names = schema.names or ()
    more = "" if len(names) <= MOST_NAMES else f", and {len(names) - MOST_NAMES} more"
    sparse = " as a sparse matrix" if source.is_sparse else ""
    facts = {
        "rows": f"{len(source):,}",
        "row": shape_in_words(schema.event_shape) + (f" ({', '.join(names[:MOST_NAMES])}{more})" if names else ""),
        "values": values_in_words(schema) + note if source.table is None else "see columns",
        "missing": f"{schema.missing:,} NaN, {schema.infinite:,} infinite" + note,
        "memory": f"{size_in_words(_size(source))}; a fit would {keeps}{sparse}"
        + ("" if needs is None else f", and needs about {needs}"),
        "labels": labels_in_words(source) or "none",
    }
    note = "; ".join(filter(None, [source.remark, numbers_alone(source)]))
    return facts | ({"note": note} if note else {})


def _preview(
    sample: Source, source: Source, requested: Columns | None, memory: str | None
) -> tuple[dict[str, Any], Needs | None, str | None]:
    """Return the choices of a fit of two components, the memory it needs, and why it would be refused, by a sample."""
    from latentmap.estimators.memory import require_memory
    from latentmap.estimators.plan import preview
    from latentmap.estimators.vae import VAE
    from latentmap.training.device import resolve_device

    vae = VAE(2, columns=requested, memory=memory)
    try:
        model, training, needs = preview(vae, sample, source)
    except LatentmapError as error:
        return {}, None, str(error)
    refused = None
    try:
        require_memory(needs, resolve_device(vae.device))
    except LatentmapError as error:
        refused = str(error)
    choices = {
        "scaling": model.scaling.kind,
        "likelihood": str(model.likelihood) if source.table is None else "one a column",
        "encoder": str(model.encoder),
        "decoder": str(model.decoder),
        "neighbors": training.neighbors,
        "batch_size": training.batch_size,
        "max_epochs": training.max_epochs,
        "learning_rate": float(f"{training.learning_rate:.3g}"),
    }
    return choices, needs, refused


def _bytes(needs: Needs | None) -> dict[str, float] | None:
    """Return the memory that a fit needs, in bytes."""
    return None if needs is None else {name: round(value) for name, value in vars(needs).items()}


def _part(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    settings = ", ".join(f"{key}={_part(item)}" for key, item in value.items() if key not in ("part", "module"))
    return f"{str(value.get('part', value.get('module'))).rpartition('.')[2]}({settings})"
