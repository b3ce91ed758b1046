"""``latentmap fit``: from data to a run folder, with its model, card and report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from latentmap.cli.output import UsageError, check_folder, emit, note
from latentmap.cli.settings import read_seconds, read_settings
from latentmap.exceptions import DataError

if TYPE_CHECKING:
    from latentmap.data.formats.base import Source

Output = Annotated[Path, Parameter(name=["--output", "-o"])]
Json = Annotated[bool, Parameter(name="--json", negative=())]
Flag = Annotated[bool, Parameter(negative=())]


def fit(
    data: str,
    *,
    output: Output,
    model: Literal["vae", "autoencoder"] = "vae",
    n_components: int = 2,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None,
    budget: str | None = None,
    labels: str | None = None,
    seed: int = 0,
    no_report: Flag = False,
    overwrite: Flag = False,
    json: Json = False,
) -> None:
    """Fit a model to data and write a run folder: model, history, card and report.

    Parameters
    ----------
    data
        A file (.npy, .npz, .csv, .tsv, IDX) or the name of a data set (digits, mnist, fashion-mnist).
    output
        The run folder to write.
    model
        What to fit.
    n_components
        Number of latent components; 2 draws a map.
    set_
        Any parameter of the estimator, as key=value; may be repeated: --set max_epochs=5 --set likelihood=Bernoulli.
    budget
        Time within which the fit ends: 90, 90s, 5m, 1h.
    labels
        Column (.csv) or member (.npz) with the labels, for colours and scores; never used by the fit.
    seed
        Seed of the fit.
    no_report
        Leave the report out.
    overwrite
        Replace a run that is there.
    json
        Print what was found as JSON.
    """
    import latentmap
    from latentmap.data.files import write_json

    check_run(output, overwrite)
    kind = latentmap.VAE if model == "vae" else latentmap.Autoencoder
    settings: dict[str, Any] = {"n_components": n_components, "random_state": seed}
    settings |= read_settings(set_ or (), kind)
    if budget is not None:
        settings["time_budget"] = read_seconds(budget)
    source = open_data(data, labels)
    estimator = kind(**settings)
    if sys.stderr.isatty():
        estimator.set_params(verbose=1)
    estimator.fit(source.read(slice(None)))
    estimator.set_params(verbose=0)
    for name, choice in estimator.choices_.items():
        note(f"{name}: {choice}")
    for finding in estimator.findings_:
        if finding.warning is None:
            note(str(finding))
    estimator.save(output)
    write_json(output / "data.json", {"data": data, "labels": labels})
    report = None if no_report else _report(estimator, source, output)
    note(f"run: {output}" + (f"  report: {report}" if report else ""))
    if json:
        emit(
            {
                "run": str(output),
                "report": report and str(report),
                "seconds": estimator.fit_seconds_,
                "epochs": estimator.n_iter_,
                "interrupted": estimator.interrupted_,
                "choices": estimator.choices_,
                "findings": [finding.to_json() for finding in estimator.findings_],
                "history": estimator.history_[-1:],
            }
        )


def open_data(data: str, labels: str | None = None) -> Source:
    """Open a file or a data set, and refuse missing values."""
    from latentmap.data.sources import open_source, require_finite

    source = open_source(data, labels=labels)
    require_finite(source)
    return source


def check_run(folder: Path, overwrite: bool) -> None:
    """Refuse a run folder that cannot be written, or that holds something already."""
    check_folder(folder)
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DataError(f"cannot write a run to {folder}: it is a file; choose a folder with -o")
    held = {path.name for path in folder.iterdir()}
    if held and "config.json" not in held:
        raise DataError(f"{folder} holds files that are no run of latentmap; choose another folder with -o")
    if held and not overwrite:
        raise UsageError(f"{folder} holds a run already; choose another folder with -o, or replace it with --overwrite")


def _report(estimator: Any, source: Source, folder: Path) -> Path:
    from latentmap.report import write_report

    return write_report(estimator, source.read(slice(None)), source.labels, folder, name=source.name)


COMMANDS = (fit,)
