"""The report as an HTML file."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from latentmap import __version__, plot
from latentmap.data.files import write_text
from latentmap.data.remote import local_path
from latentmap.data.sampling import split_rows
from latentmap.estimators.columns import numbers
from latentmap.evaluation.rows import take
from latentmap.evaluation.samplers import SAMPLERS
from latentmap.messages import counted
from latentmap.plot.labels import read_values
from latentmap.plot.rows import dense
from latentmap.plot.style import Display
from latentmap.report.compared import claim_tables, comparison_figures
from latentmap.report.facts import MOST_LISTED, capitalised, headline_facts, settings
from latentmap.report.figures import section
from latentmap.report.interactive import interactive_map
from latentmap.report.rows import KINDS, ReportRows, measured_rows

Figure = tuple[str, str, str, Callable[[], Display]]
"""Name, heading, the rows that it is of in words, and the function that draws it."""

MIN_ROWS = 40
"""The map's quality is shown for more rows than these."""
MIN_SHOWN = 12
"""Pictures of rows are of held-out or new rows where there are so many, and of all rows otherwise."""


def write_report(
    estimator: Any,
    X: Any,
    y: Any = None,
    folder: str | os.PathLike[str] = ".",
    comparison: Any = None,
    *,
    name: str = "data",
    image_shape: tuple[int, ...] | None = None,
    feature_names: Sequence[str] | None = None,
    rows: ReportRows | None = None,
    colors: Mapping[str, Any] | None = None,
    interactive: bool = False,
) -> Path:
    """Write ``report.html`` and ``figures/*.png`` of a fitted model.

    The page is self-contained: it embeds its figures and loads nothing from a network. Files are written atomically.
    Figures and numbers say which rows they are of: those that the model was trained on, those that its fit held out, or
    new ones. Headline figures and pictures of rows are of new rows where X has some, else of those held out.

    Parameters
    ----------
    estimator : VAE or Autoencoder
        Fitted estimator.
    X : array-like of shape (n, ...)
        Rows to show, as for ``fit``.
    y : array-like of shape (n,), optional
        Labels; see `latentmap.plot.map`.
    folder : path-like, default="."
        Where to write; created if it does not exist.
    comparison : Comparison, optional
        Result of `latentmap.evaluation.compare.compare` to show.
    name : str, default="data"
        Name of the data.
    image_shape : tuple of int, optional
        Shape (h, w) or (h, w, c) of rows that are flattened images.
    feature_names : sequence of str, optional
        Names of the features of a vector; those of the fit if None.
    rows : ReportRows, optional
        Which rows of X are those of the fit. By default found by the fingerprint of the fit, where X is all of its rows
        or the rows that were given to `comparison`; other rows count as new.
    colors : mapping of str to array-like of shape (n,), optional
        Values by name, such as columns that were not fitted: one more map for each, coloured by them.
    interactive : bool, default=False
        Whether the map can be explored where the browser runs scripts, as `latentmap report` has it; the figure stays
        for print and for others. It adds less than 1.6 MB.

    Returns
    -------
    Path
        Path of the report.

    Raises
    ------
    DataError
        If ``y`` is not one label a row, or the folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_iris
    >>> from latentmap import VAE
    >>> X = load_iris().data
    >>> vae = VAE(2, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_report(vae, X, folder=folder).name
    'report.html'
    """
    estimator, X = numbers(estimator, X)
    X = X if hasattr(X, "shape") else np.asarray(X)
    folder, rows = local_path(folder), (_rows(estimator, X, comparison) if rows is None else rows).check(X.shape[0])
    options: dict[str, Any] = {"image_shape": image_shape, "feature_names": feature_names}
    facts = headline_facts(estimator, X, rows=rows, **options)
    explorer = interactive_map(estimator, X, y, name, image_shape) if interactive else None
    X, imputed = _complete(estimator, X)
    figures = _figures(estimator, X, y, rows, imputed, options)
    figures[1:1] = _coloured(estimator, X, colors or {}, f"{rows}{imputed}")
    sections = [section(folder, key, heading, draw(), of) for key, heading, of, draw in figures]
    drawn = () if comparison is None else comparison_figures(comparison, X, y, **options)
    compared = [section(folder, *figure, str(rows)) for figure in drawn]
    page = _template().render(
        name=name,
        model=type(estimator).__name__,
        version=__version__,
        facts=facts,
        rows=rows,
        kinds=[kind for kind in KINDS if kind in rows.kinds],
        findings=[_finding(finding) for finding in estimator.findings_],
        sections=sections,
        compared=compared,
        comparison=comparison,
        table=[] if comparison is None else comparison.table(),
        claims=[] if comparison is None else claim_tables(comparison),
        generated=[] if comparison is None else comparison.generated_table(),
        samplers=list(SAMPLERS.values()),
        reported=_title(estimator),
        choices=estimator.choices_,
        settings=settings(estimator),
        has_rate=estimator.has_rate_,
        explorer=explorer,
    )
    target = folder / "report.html"
    write_text(target, page)
    return target


def _rows(estimator: Any, X: Any, comparison: Any) -> ReportRows:
    """Return which rows are those of the fit: all, those that a comparison fitted its models to, or none."""
    if comparison is None or not any(estimator.state_ is one.state_ for one in comparison.estimators.values()):
        return ReportRows.of(estimator, X)
    n, of = X.shape[0], comparison.settings
    fitted = split_rows(n, of["new_rows"] / n, of["random_state"])[0] if of["new_rows"] < n else None
    rows = ReportRows.of(estimator, X, fitted)
    return rows if "training" in rows.kinds else ReportRows.of(estimator, X)


def _figures(estimator: Any, X: Any, y: Any, rows: ReportRows, imputed: str, options: dict[str, Any]) -> list[Figure]:
    """Return the figures of a model; those of single rows are of the measured rows, if these are not too few."""
    everywhere, few = str(rows), len(rows.measured) < MIN_SHOWN
    shown, of = X, everywhere
    if not few:
        shown, of = take(X, rows.measured), measured_rows(rows.measured_kind, len(rows.measured))
    is_picture = options["image_shape"] is not None or len(estimator.event_shape_) > 1
    of += ("" if is_picture else ", numbered among these from 0") + imputed
    return [
        ("map", "The map", everywhere + imputed, lambda: plot.map(estimator, X, y)),
        _decoded(estimator, X, everywhere, options),
        *_quality(estimator, X, everywhere + imputed),
        _reconstructions(estimator, shown, of, options),
        _samples(estimator, X, everywhere, options),
        *_interpolations(estimator, shown, of, options),
        ("learning_curves", "Learning curves", rows.fit, lambda: plot.learning_curves(estimator)),
        *_rates(estimator, rows),
    ]


def _coloured(estimator: Any, X: Any, colors: Mapping[str, Any], of: str) -> list[Figure]:
    """Return a map for each of the colours."""
    figures: list[Figure] = []
    for i, (name, values) in enumerate(colors.items(), 1):
        key = f"map_{i}_{re.sub('[^a-z0-9]+', '_', name.lower()).strip('_')[:40]}".rstrip("_")
        labels = read_values(values, X.shape[0], name)
        figures.append((key, f"The map, by {name}", of, functools.partial(plot.map, estimator, X, color=labels)))
    return figures


def _complete(estimator: Any, X: Any) -> tuple[Any, str]:
    """Return rows with missing cells imputed, since figures need complete rows, and what to say of it."""
    if not estimator.takes_missing_:
        return X, ""
    missing = bool(np.isnan(dense(X)).any())
    return estimator.impute(X), "; missing cells are imputed by the model" if missing else ""


def _decoded(estimator: Any, X: Any, of: str, options: dict[str, Any]) -> Figure:
    """Return the figure of decoded codes: a grid for two components, otherwise one line per component."""
    ranges, of = _ranges(X, of)
    if len(estimator.active_components_) == 2:
        words = f"none, but decoded codes, from the range of {of}"
        return "decoded_grid", "Decoded grid", words, lambda: plot.decoded_grid(estimator, ranges, **options)
    words = f"none, but decoded codes; scaled to the range of {of}"
    return "traversals", "Traversals of each component", words, lambda: plot.traversals(estimator, ranges, **options)


def _ranges(X: Any, of: str) -> tuple[Any, str]:
    """Return the rows that set ranges, and what they are; a few have none worth the name, so that the model's do."""
    return (None, "samples of the model") if X.shape[0] < MIN_SHOWN else (X, of)


def _reconstructions(estimator: Any, X: Any, of: str, options: dict[str, Any]) -> Figure:
    draw = functools.partial(plot.reconstructions, estimator, X, **options)
    return "reconstructions", "Reconstructions", f"some of {of}", draw


def _samples(estimator: Any, X: Any, of: str, options: dict[str, Any]) -> Figure:
    ranges, of = _ranges(X, of)
    words = f"none, but draws from the model; scaled to the range of {of}"
    return "samples", "Generated rows", words, lambda: plot.samples(estimator, X=ranges, **options)


def _interpolations(estimator: Any, X: Any, of: str, options: dict[str, Any]) -> list[Figure]:
    """Return the figure of paths between rows, if there are two."""
    if X.shape[0] < 2:
        return []
    words = f"the ends are some of {of}"
    draw = functools.partial(plot.interpolations, estimator, X, **options)
    return [("interpolations", "Interpolations between rows", words, draw)]


def _quality(estimator: Any, X: Any, of: str) -> list[Figure]:
    """Return the figure of the map's quality, for models with two components."""
    if len(estimator.active_components_) != 2 or X.shape[0] <= MIN_ROWS or estimator.condition_ is not None:
        return []
    return [("map_quality", "Quality of the map", of, lambda: plot.map_quality(estimator, X))]


def _rates(estimator: Any, rows: ReportRows) -> list[Figure]:
    """Return the figure of the information in each component; that of few is among the facts."""
    if len(estimator.active_components_) <= MOST_LISTED:
        return []
    return [("rates", "Rate of each component", rows.fit, lambda: plot.rates(estimator))]


def _title(estimator: Any) -> str:
    """Return the name of a model as in the tables of a comparison, with the number of its components."""
    neighbors = estimator.choices_.get("neighbors", "None")[:1].isdigit()
    kind = "autoencoder" if not estimator.has_rate_ else "neighbour VAE" if neighbors else "VAE"
    return f"{kind} with {counted(len(estimator.active_components_), 'component')}"


def _finding(finding: Any) -> dict[str, Any]:
    advice = capitalised(finding.advice) if finding.advice else ""
    return {"warning": bool(finding.warning), "message": capitalised(finding.message), "advice": advice}


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(files("latentmap.report").joinpath("template.html").read_text(encoding="utf-8"))
