"""``compare``, ``report`` and ``info``: what is worth knowing of data, methods and runs."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from latentmap.cli.fitting import Json, open_data
from latentmap.cli.output import UsageError, check_folder, emit, note, table, write_picture

if TYPE_CHECKING:
    from latentmap.data.formats.base import Source


def compare(
    data: str,
    *,
    against: str = "pca,tsne,autoencoder,vae,neighbor_vae",
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    labels: str | None = None,
    seed: int = 0,
    json: Json = False,
) -> None:
    """Fit several methods to the same rows, score them on held-out rows, and measure what is claimed of a VAE.

    Parameters
    ----------
    data
        A file or the name of a data set.
    against
        Methods, separated by commas: pca, tsne, opentsne, umap, autoencoder, vae, neighbor_vae.
    output
        A folder for comparison.json and the pictures.
    labels
        Column (.csv) or member (.npz) with the labels.
    seed
        Seed of every method.
    json
        Print the comparison as JSON.
    """
    from latentmap import plot
    from latentmap.data.files import write_json
    from latentmap.evaluation.compare import compare as run

    if output is not None:
        check_folder(output)
    source = open_data(data, labels)
    methods = tuple(name.strip() for name in against.split(",") if name.strip())
    comparison = run(source, methods=methods, random_state=seed, on_progress=note)
    table(comparison.table(), f"{data}, {comparison.settings.get('training_rows', len(source))} rows")
    if claims := comparison.claims_table():
        table(claims, "What is claimed of a VAE")
    if output is not None:
        write_json(output / "comparison.json", comparison.to_json())
        write_picture(output / "maps.png", plot.comparison(comparison))
        for name, estimator in comparison.estimators.items():
            write_picture(output / f"{name}-samples.png", plot.samples(estimator, random_state=seed))
        note(f"comparison: {output}")
    if json:
        emit(comparison.to_json())


def report(run: Path, data: str | None = None, *, labels: str | None = None, json: Json = False) -> None:
    """Write the report of a run again.

    Parameters
    ----------
    run
        A run folder.
    data
        The data to show; by default those that the run was fitted to.
    labels
        Column (.csv) or member (.npz) with the labels.
    json
        Print where the report is as JSON.
    """
    import latentmap
    from latentmap.report import write_report

    model = latentmap.load(run)
    source = open_data(data, labels) if data is not None else open_data(**_fitted_to(run))
    path = write_report(model, source.read(slice(None)), source.labels, run, name=source.name)
    note(f"report: {path}")
    if json:
        emit({"report": str(path)})


def info(what: str, *, labels: str | None = None, json: Json = False) -> None:
    """Say what data hold and what would be chosen for them, or what a run is.

    Parameters
    ----------
    what
        A file, the name of a data set, or a run folder.
    labels
        Column (.csv) or member (.npz) with the labels.
    json
        Print it as JSON.
    """
    facts = _of_run(Path(what)) if (Path(what) / "config.json").is_file() else _of_data(what, labels)
    for name, value in facts.items():
        note(f"{name}: {value}")
    if json:
        emit(facts)


def _fitted_to(run: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json_module.loads((run / "data.json").read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{run} does not name its data: latentmap report {run} DATA") from error
    return found


def _of_run(run: Path) -> dict[str, Any]:
    from latentmap.estimators.persistence import read_config

    config = read_config(run)
    fitted, schema = config["fitted"], config["fitted"]["data_schema_"]
    return {
        "class": config["class"],
        "version": config["version"],
        "components": fitted["latent"],
        "data": f"{schema['n_rows']} rows of shape {tuple(schema['event_shape'])}, {schema['kind']}",
        "seconds": fitted["fit_seconds_"],
        "epochs": fitted["n_iter_"],
        "choices": fitted["choices_"],
        "findings": [finding["message"] for finding in fitted["findings_"]],
    }


def _of_data(data: str, labels: str | None) -> dict[str, Any]:
    from latentmap.data.sources import open_source

    source = open_source(data, labels=labels)
    schema = source.schema
    facts: dict[str, Any] = {
        "data": source.name,
        "rows": len(source),
        "row shape": list(schema.event_shape),
        "type": schema.dtype,
        "kind": schema.kind,
        "range": [schema.lowest, schema.highest],
        "missing": schema.missing,
        "infinite": schema.infinite,
        "labels": None if source.labels is None else source.label_name or True,
    }
    return facts if schema.missing or schema.infinite else facts | _choices(source)


def _choices(source: Source) -> dict[str, str]:
    from latentmap.data.scaling import choose_scaling
    from latentmap.estimators import choices
    from latentmap.model.part import Sizes

    batch = choices.choose_batch_size(len(source))
    return {
        "scaling": choose_scaling(source).kind,
        "likelihood": str(choices.choose_likelihood(source.schema.binary)),
        "network": str(choices.choose_network(Sizes(source.schema.event_shape, 2))),
        "batch size": str(batch),
        "epochs": str(choices.choose_epochs(len(source), batch)),
    }


COMMANDS = (compare, report, info)
