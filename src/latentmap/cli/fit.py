"""``latentmap fit``: from data to a run folder."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

import latentmap
from latentmap.cli.anchors import check_anchor, note_drift, open_anchored, own_id
from latentmap.cli.conditions import conditions, one_condition, targets
from latentmap.cli.describe import describe_source, size_in_words
from latentmap.cli.options import ColumnsFile, Components, Data, Embed, Folder, Id, Json, Purpose, Seed, SkipBad, Whole
from latentmap.cli.request import Request, absolute, kept_request
from latentmap.cli.settings import AUTOMATIC, check_device, open_data, read_recipe, read_seconds
from latentmap.cli.signals import Stopped, Stopping
from latentmap.cli.terminal import UsageError, emit, note, on_terminal, reader_may_leave, say, say_pairs
from latentmap.cli.workers import claimed_by_first, launched, workers_joined
from latentmap.estimators.run_folder import CHECKPOINTS, UNFINISHED, is_unfinished, shell_command
from latentmap.exceptions import DataError, DiagnosisWarning, ModelError, ResumeWarning
from latentmap.messages import counted

if TYPE_CHECKING:
    from latentmap.cli.runs import Origin
    from latentmap.data.sources import Source
    from latentmap.model.processes import Processes
    from latentmap.report import ReportRows
    from latentmap.report.facts import Fact
    from latentmap.training.checkpoint import Checkpoints


def fit(
    data: Data,
    /,
    *,
    output: Folder,
    model: Literal["vae", "autoencoder"] = "vae",
    for_: Annotated[Purpose | None, Parameter(name="--for")] = None,
    n_components: Components | None = None,
    recipe: str | None = None,
    settings: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    max_epochs: Annotated[Whole | None, Parameter(alias="--epochs")] = None,
    budget: str | None = None,
    device: str | None = None,
    memory: str | None = None,
    labels: str | None = None,
    anchor: Path | None = None,
    row_id: Id = None,
    columns: ColumnsFile = None,
    embed: Embed = (),
    skip_bad: SkipBad = False,
    seed: Seed = 0,
    no_report: bool = False,
    overwrite: bool = False,
    checkpoint_every: str | None = None,
    workers: Whole | None = None,
    as_json: Json = False,
) -> None:
    """Fit a model to data, and save it in a run folder with its card and a report.

    Ctrl-C, SIGTERM and a terminal that is closed end the fit after the current step; latentmap resume continues it,
    and so it does after a crash. The best weights so far are saved, unless the folder holds a finished run.

    Parameters
    ----------
    output
        Folder for the run: new or empty, or one to --overwrite.
    model
        A variational autoencoder, or a plain one.
    for_
        What the model is for. map: 2 components that keep neighbours, as by default. impute, sample, score: as many
        components as explain held-out rows best, 2 to 16, found by short fits; see docs/choices.md.
    recipe
        Name of a published model, such as beta_tc; see latentmap recipes. --set sets its settings too.
    settings
        Any parameter of the model, as key=value; may be repeated. Values are numbers, words, true, false, none, or
        parts such as likelihood=Bernoulli, encoder=MLP(hidden=(400,)) or objective=ELBO(beta=4).
    max_epochs
        The most passes over the data; by default as many as the number of rows needs.
    budget
        Time that the fit may take, such as 90s, 2min or 1.5h; a number alone is seconds. It ends earlier where it
        needs less.
    device
        Device to fit on, such as cpu, cuda, cuda:1 or mps; by default a GPU if there is one.
    memory
        Memory for the rows, such as 600MB; by default a quarter of the free memory. A larger file is read block by
        block.
    labels
        Column (of a .csv) or member (of a .npz) with one label a row; it colours the report, and is learned from
        only with --set condition=labels, condition=covariates or supervised=0.5 (of classes or numbers).
    anchor
        Folder of an earlier run whose map to keep: rows like its own stay, and new ones find their places. Columns and
        networks are those of the run; the drift of the data is printed. It may be the folder to --overwrite.
    no_report
        Leave out report.html and its figures.
    overwrite
        Replace an existing run.
    checkpoint_every
        Time between two checkpoints, such as 30s or 10min, which is the most work that a crash costs; by default a
        minute. One is written at the end of an epoch too, if it takes less than 0.5% of the time.
    workers
        Processes on this machine that share each batch; where one is lost, all go on from the last checkpoint. On
        several machines, start the command with torchrun; see docs/distribution.md.
    """
    seconds = None if budget is None else read_seconds(budget)
    every = None if checkpoint_every is None else read_seconds(checkpoint_every, "--checkpoint-every")
    if device is not None:
        check_device(device)
    if recipe is not None and model != "vae":
        raise UsageError(f"--recipe {recipe} chooses the model: leave out --model {model}")
    if for_ not in (None, "map") and (recipe is not None or model != "vae"):
        raise UsageError(f"--for {for_} chooses the model: leave out --recipe and --model")
    if launched(workers, data):
        return
    request = Request(
        absolute(data),
        model,
        for_,
        n_components,
        recipe,
        settings,
        max_epochs,
        seconds,
        device,
        memory,
        labels,
        row_id,
        None if columns is None else str(columns if str(columns) == AUTOMATIC else columns.absolute()),
        embed,
        skip_bad,
        seed,
        no_report,
        every,
        anchor=None if anchor is None else absolute(anchor),
    )
    check_anchor(request)
    with (
        workers_joined(data) as processes,
        claimed_by_first(request, output, processes, overwrite=overwrite) as resume,
    ):
        run_fit(request.of(output), output, processes, resume=resume, as_json=as_json)


def run_fit(
    request: Request,
    output: Path,
    processes: Processes,
    *,
    resume: bool = False,
    finish: bool = False,
    as_json: bool = False,
) -> None:
    """Fit as requested, from the first step or from the last checkpoint, and save the run.

    Raises
    ------
    Stopped
        If a signal ended the fit.
    """
    from latentmap.training.checkpoint import Checkpoints

    checkpoints = Checkpoints(output / CHECKPOINTS, request.every, beside={UNFINISHED.name: request.to_bytes()})
    try:
        with Stopping(checkpoints) as stopping:
            _run(request, output, processes, checkpoints, stopping, resume=resume, finish=finish, as_json=as_json)
    except Stopped as stopped:
        if is_unfinished(output):
            again = ", with the same rows on standard input" if request.data == "-" else ""
            stopped.add(f"continue{again} with: {shell_command('resume', output)}")
        if as_json:
            with reader_may_leave():
                emit({"run": str(output), "stopped": stopped.name, "resumable": is_unfinished(output)})
        raise


def _run(
    request: Request,
    output: Path,
    processes: Processes,
    checkpoints: Checkpoints,
    stopping: Stopping,
    *,
    resume: bool,
    finish: bool,
    as_json: bool,
) -> None:
    from latentmap.cli.runs import Origin, RunRows, save_run, shown_rows
    from latentmap.data.streaming import fits, read_memory
    from latentmap.estimators.columns import numbers
    from latentmap.estimators.memory import shared_memory
    from latentmap.report import ReportRows
    from latentmap.report.facts import headline_facts

    estimator, data, memory = _estimator(request), request.data, shared_memory(request.memory, processes)
    columns = None if request.columns is None else Path(request.columns)
    anchor, rows_like_it = (None, None) if request.anchor is None else open_anchored(request, estimator)
    if rows_like_it is not None:
        source = rows_like_it.source
    else:
        source, requested = open_data(
            data,
            request.labels,
            columns,
            skip_bad=request.skip_bad,
            row_id=request.row_id,
            embed=request.embed,
            memory=memory,
        )
        if requested is not None:
            estimator.set_params(columns=requested)
    row_id = own_id(request, rows_like_it)
    if row_id is not None:
        _check_id(source, row_id)
    in_memory = fits(source, read_memory(memory))
    _check(source, in_memory)
    if in_memory or source.is_sparse:
        say(describe_source(source))
    else:
        say(f"{source.name}: {counted(len(source), 'row')}, read in blocks within {size_in_words(read_memory(memory))}")
    opened = RunRows(source, estimator, in_memory)
    X: Any = opened.all() if in_memory and source.table is None else source
    y: Any = _targets(estimator, source)
    origin = Origin.of(data, source, skip_bad=request.skip_bad, row_id=row_id)
    if finish and not checkpoints and not processes.rank:
        message = f"no checkpoint of the fit in {output} was written, so there are no weights to end with"
        raise ModelError(f"{message}: resume it without --finish")
    if resume and not checkpoints and not processes.rank:
        note("no checkpoint was written before the fit ended, so it begins anew")
    with kept_request(request, output, resume=resume) if not processes.rank else contextlib.nullcontext():
        if finish:
            checkpoints.stop()
        _fit(estimator, X, y, checkpoints, resume=resume)
        if number := stopping.agreed(processes):
            result = "" if processes.rank else _save_unfinished(estimator, origin, output, request, checkpoints)
            processes.from_first(b"")  # a launcher ends the others as soon as one has ended
            raise Stopped(number, result)
        if processes.rank:  # the first process saves the run
            return
        found = {} if anchor is None else {"drift": note_drift(anchor, estimator, X)}
        estimator, _ = numbers(estimator)
        X, y, indices = shown_rows(replace(opened, estimator=estimator))
        rows = ReportRows.of_fit(estimator, source).take(indices)
        given = None if estimator.condition is None else conditions(y)
        facts = headline_facts(estimator, X, given, rows=rows, feature_names=origin.columns)
        _say_fit(estimator, facts)
        draw = None if request.no_report else partial(_report, estimator, X, y, rows, source)
        report = save_run(estimator, origin, output, draw, check=checkpoints.require_place)
    if as_json:
        described = {"name": source.name, "labels": source.label_name, "id": request.row_id, "remark": source.remark}
        paths = {"run": str(output), "report": None if report is None else str(report)}
        data_facts = described | source.schema.to_json()
        emit(paths | {"model": type(estimator).__name__, "data": data_facts} | _results(estimator, facts) | found)


def _estimator(request: Request) -> Any:
    """Return the estimator of a request, but for its columns."""
    kind = latentmap.VAE if request.model == "vae" else latentmap.Autoencoder
    given: dict[str, Any] = {} if request.purpose is None else latentmap.purpose(request.purpose)
    given |= {} if request.n_components is None else {"n_components": request.n_components}
    given |= {"time_budget": request.seconds, "random_state": request.seed, "memory": request.memory}
    given |= {"max_epochs": request.max_epochs, "device": request.device or "auto", "verbose": int(on_terminal())}
    return kind(**given | read_recipe(request.recipe, kind, request.settings))


def _save_unfinished(estimator: Any, origin: Origin, output: Path, request: Request, checkpoints: Checkpoints) -> str:
    """Save the best weights of a fit that a signal ended, unless in the place of a finished run; say what is left."""
    from latentmap.cli.runs import save_run
    from latentmap.data.folders import fixed

    if request.replaces:
        return f"the run that {output} held before is kept"
    if fixed(output):  # a run there could not be replaced by that of the fit that is resumed
        return ""
    save_run(estimator, origin, output, unfinished=True, check=checkpoints.require_place)
    return "the best weights so far are saved"


def _check(source: Source, in_memory: bool) -> None:
    """Raise if no model can be fitted to rows; those that are read in blocks are checked as they are read."""
    from latentmap.data.sources import require_finite, require_values

    if in_memory:
        require_finite(source, missing=True)
        require_values(source)
    if len(source) < 2:
        raise DataError(f"{source.name} has 1 row: expected two or more to fit; give more rows")


def _check_id(source: Source, row_id: str) -> None:
    """Print a note if an id does not tell all rows apart."""
    ids = source.beside[row_id].tolist()
    if repeated := len(ids) - len(set(ids)):
        note(f"{source.name}: {row_id!r} repeats in {counted(repeated, 'row')}, so it does not tell all rows apart")


def _targets(estimator: Any, source: Source) -> Any:
    """Return the labels that a model is conditioned on or learns to predict, or None."""
    conditional = estimator.condition is not None
    if not (conditional or estimator.supervised):
        return None
    if source.labels is None:
        setting = "condition" if conditional else "supervised"
        raise UsageError(f"{setting} needs labels: name their column with --labels")
    return conditions(source.labels) if conditional else targets(source.labels)


def _fit(estimator: Any, X: Any, y: Any, checkpoints: Checkpoints, *, resume: bool) -> None:
    """Fit, and print the warnings that are not findings, which `_say_fit` prints."""
    caught: list[Warning | str] = []

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        note(message) if isinstance(message, ResumeWarning) else caught.append(message)

    with warnings.catch_warnings():
        warnings.simplefilter("always", DiagnosisWarning)
        warnings.showwarning = show
        estimator.fit(X, y, checkpoint=checkpoints, resume=resume)
    findings = {str(finding) for finding in estimator.findings_}
    for message in caught:
        if str(message) not in findings:
            note(message)


def _say_fit(estimator: Any, facts: list[Fact]) -> None:
    """Print the choices, the facts and the findings, with a mark where they require action."""
    say(f"{type(estimator).__name__} with {counted(len(estimator.active_components_), 'component')}")
    say_pairs({name.replace("_", " "): text for name, text in estimator.choices_.items()})
    say(f"fitted in {estimator.fit_seconds_:.1f} s, {counted(estimator.n_iter_, 'epoch')}")
    say_pairs({fact.label: f"{fact.value} ({fact.note})" for fact in facts if fact.label not in ("Data", "Fit")})
    for finding in estimator.findings_:
        say(f"  {'!' if finding.warning else '-'} {finding}")


def _results(estimator: Any, facts: list[Fact]) -> dict[str, Any]:
    """Return the results of a fit as JSON values."""
    return {
        "choices": estimator.choices_,
        "facts": {fact.label: {"value": fact.value, "note": fact.note} for fact in facts},
        "findings": [finding.to_json() for finding in estimator.findings_],
        "evaluation": None if (evaluation := estimator.evaluation_) is None else evaluation.to_json(),
        "last": estimator.history_[-1] if estimator.history_ else None,
        "epochs": estimator.n_iter_,
        "seconds": estimator.fit_seconds_,
        "interrupted": estimator.interrupted_,
    }


def _report(estimator: Any, X: Any, y: Any, rows: ReportRows, source: Source, folder: Path) -> bool:
    """Write the report to a folder; return False for a model that has none."""
    import numpy as np

    from latentmap.explorer.export_page import is_built
    from latentmap.report import write_report

    if estimator.condition_ is not None and not estimator.has_labels_:
        say("no report: pictures of a model with covariates are for given ones; latentmap report RUN --given 1.5,2")
        return False
    rows = rows.take(one_condition(estimator, np.arange(len(X)), y)[1])
    estimator, X, y, given = one_condition(estimator, X, y)
    title: dict[str, Any] = {"name": source.name + given, "feature_names": source.names}
    write_report(estimator, X, y, folder, **title, rows=rows, interactive=is_built())
    return True
