"""What there is to see: ``latentmap info`` and ``latentmap report``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from latentmap.cli.outputs import check_output
from latentmap.cli.runs import Origin, is_run, rows_for
from latentmap.cli.terminal import emit, say, say_pairs
from latentmap.cli.words import describe_schema, labels_in_words, shape_in_words, values_in_words

if TYPE_CHECKING:
    from latentmap.data.sources import Source

Json = Annotated[bool, Parameter(name="--json")]

MOST_NAMES = 12


def info(what: str, /, *, labels: str | None = None, as_json: Json = False) -> None:
    """Say what a run or data hold, and what fit would choose for the data.

    Parameters
    ----------
    what
        Folder of a run; or data, by a name or file as for fit.
    labels
        Column or member of the data with the labels.
    as_json
        Print one JSON object on standard output.
    """
    if is_run(Path(what)):
        _info_run(Path(what), as_json)
    else:
        from latentmap.data.sources import open_source

        _info_data(open_source(what, labels), as_json)


def report(
    run: Path, data: str | None = None, /, *, labels: str | None = None, compare: bool = False, as_json: Json = False
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
    compare
        Add the comparison with other methods, each fitted to the data; see the command compare.
    as_json
        Print one JSON object on standard output.
    """
    check_output(run / "report.html", [".html"])
    from latentmap import load
    from latentmap.report import write_report

    estimator = load(run)
    source, X = rows_for(run, estimator, data, labels)
    found = None
    if compare:
        from latentmap.cli.comparing import compared

        found = compared(source)
    origin = Origin.read(run)
    names = None if origin is None else origin.columns
    page = write_report(estimator, X, source.labels, run, found, name=source.name, feature_names=names)
    say(f"wrote {page}")
    if as_json:
        emit({"report": str(page), "figures": sorted(str(figure) for figure in (run / "figures").glob("*.png"))})


def _info_run(run: Path, as_json: bool) -> None:
    from latentmap.data.schema import Schema
    from latentmap.estimators.persistence import read_config

    config = read_config(run)
    fitted, origin = config["fitted"], Origin.read(run)
    history = [json.loads(line) for line in (run / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    last = history[-1] if history else {}
    metrics = {key: value for key, value in last.items() if key not in ("epoch", "step", "progress", "seconds")}
    schema = Schema.from_json(fitted["data_schema_"])
    data = f"{'' if origin is None else f'{origin.data}: '}{describe_schema(schema)}"
    given = {key: value for key, value in config["params"].items() if value is not None}
    say(f"{run}: {config['class']} with {fitted['latent']} components, by latentmap {config['version']}")
    say_pairs({"data": data, "fitted": f"{fitted['n_iter_']} epochs in {fitted['fit_seconds_']:.1f} s"})
    say("parameters")
    say_pairs({key: _part(value) for key, value in given.items()})
    say("choices")
    say_pairs({key.replace("_", " "): text for key, text in fitted["choices_"].items()})
    say("last evaluation")
    say_pairs({key.replace("_", " "): f"{value:.5g}" for key, value in metrics.items() if value is not None})
    say("findings")
    for finding in fitted["findings_"]:
        say(f"  {'!' if finding['warning'] else '-'} {finding['message']}")
    if as_json:
        emit(
            {
                "run": str(run),
                "class": config["class"],
                "version": config["version"],
                "n_components": fitted["latent"],
                "data": {"name": None if origin is None else origin.data} | fitted["data_schema_"],
                "fingerprint": fitted["data_fingerprint_"],
                "parameters": config["params"],
                "parts": fitted["parts"],
                "choices": fitted["choices_"],
                "last": last,
                "findings": fitted["findings_"],
                "epochs": fitted["n_iter_"],
                "seconds": fitted["fit_seconds_"],
            }
        )


def _info_data(source: Source, as_json: bool) -> None:
    from latentmap.exceptions import LatentmapError

    schema, labels = source.schema, labels_in_words(source)
    size = len(source) * source.read(slice(0, 1)).nbytes
    try:
        choices, refused = _choices(source), None
    except LatentmapError as error:
        choices, refused = None, str(error)
    names = schema.names or ()
    more = "" if len(names) <= MOST_NAMES else f", and {len(names) - MOST_NAMES} more"
    say(source.name)
    say_pairs(
        {
            "rows": f"{len(source):,}",
            "row": f"{shape_in_words(schema)}" + (f" ({', '.join(names[:MOST_NAMES])}{more})" if names else ""),
            "values": values_in_words(schema),
            "missing": f"{schema.missing:,} NaN, {schema.infinite:,} infinite",
            "memory": f"{size / 1e6:,.1f} MB",
            "labels": labels or "none",
        }
    )
    say("fit would choose" if choices is not None else f"fit would refuse it: {refused}")
    say_pairs({key.replace("_", " "): text for key, text in (choices or {}).items()})
    if as_json:
        data = {"name": source.name, "bytes": size, "labels": source.label_name, "label_summary": labels}
        emit(data | schema.to_json() | {"fingerprint": source.fingerprint, "choices": choices, "refused": refused})


def _choices(source: Source) -> dict[str, Any]:
    """Give what a fit of two components would choose."""
    from latentmap.data.sources import require_finite
    from latentmap.estimators import choices
    from latentmap.model.part import Sizes

    require_finite(source)
    schema, rows = source.schema, len(source)
    likelihood = choices.choose_likelihood(schema.binary)
    batch = choices.choose_batch_size(rows)
    return {
        "scaling": choices.choose_units(source, likelihood, "auto").kind,
        "likelihood": str(likelihood),
        "network": str(choices.choose_network(Sizes(schema.event_shape, 2))),
        "neighbors": choices.choose_neighbors(rows, 2),
        "batch_size": batch,
        "max_epochs": choices.choose_epochs(rows, batch),
        "learning_rate": float(f"{choices.choose_learning_rate(batch):.3g}"),
    }


def _part(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    settings = ", ".join(f"{key}={_part(item)}" for key, item in value.items() if key not in ("part", "module"))
    return f"{str(value.get('part', value.get('module'))).rpartition('.')[2]}({settings})"
