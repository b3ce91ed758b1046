"""The report as an HTML file."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from latentmap import __version__, plot
from latentmap.data.files import write_bytes, write_text
from latentmap.estimators.columns import numbers
from latentmap.evaluation.samplers import SAMPLERS
from latentmap.messages import counted
from latentmap.plot.style import Display
from latentmap.report.compared import claim_tables, comparison_figures
from latentmap.report.facts import capitalised, headline_facts, settings

MAX_BYTES = 450_000
"""Maximum size of one figure: ten of them, inlined, stay below about 5 MB."""

MIN_ROWS = 40
"""The map's quality is shown for more rows than these."""


@dataclass(frozen=True)
class Section:
    """A figure of the report: its name, heading, image as base64, width on the page in pixels, and caption."""

    name: str
    heading: str
    picture: str
    width: int
    caption: str


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
) -> Path:
    """Write ``report.html`` and ``figures/*.png`` of a fitted model.

    The page is self-contained: it embeds its figures and loads nothing from a network. Files are written atomically.

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
    folder, X = Path(folder), _complete(estimator, X)
    options: dict[str, Any] = {"image_shape": image_shape, "feature_names": feature_names}
    figures: list[tuple[str, str, Callable[[], Display]]] = [
        ("map", "The map", lambda: plot.map(estimator, X, y)),
        _decoded(estimator, X, options),
        *_quality(estimator, X),
        ("reconstructions", "Reconstructions", lambda: plot.reconstructions(estimator, X, **options)),
        ("samples", "Generated rows", lambda: plot.samples(estimator, X=X, **options)),
        ("interpolations", "Interpolations between rows", lambda: plot.interpolations(estimator, X, **options)),
        ("learning_curves", "Learning curves", lambda: plot.learning_curves(estimator)),
        ("rates", "Rate of each component", lambda: plot.rates(estimator)),
    ]
    sections = [_section(folder, key, heading, draw()) for key, heading, draw in figures]
    drawn = () if comparison is None else comparison_figures(comparison, X, y, **options)
    compared = [_section(folder, *figure) for figure in drawn]
    page = _template().render(
        name=name,
        model=type(estimator).__name__,
        version=__version__,
        facts=headline_facts(estimator, X),
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
    )
    target = folder / "report.html"
    write_text(target, page)
    return target


def _complete(estimator: Any, X: Any) -> Any:
    """Return rows with missing cells imputed, since figures and measures need complete rows."""
    return estimator.impute(X) if estimator.takes_missing_ else X


def _decoded(estimator: Any, X: Any, options: dict[str, Any]) -> tuple[str, str, Callable[[], Display]]:
    """Return the figure of decoded codes: a grid for two components, otherwise one line per component."""
    if len(estimator.active_components_) == 2:
        return "decoded_grid", "Decoded grid", lambda: plot.decoded_grid(estimator, X, **options)
    return "traversals", "Traversals of each component", lambda: plot.traversals(estimator, X, **options)


def _quality(estimator: Any, X: Any) -> list[tuple[str, str, Callable[[], Display]]]:
    """Return the figure of the map's quality, for models with two components."""
    if len(estimator.active_components_) != 2 or len(X) <= MIN_ROWS or estimator.condition_ is not None:
        return []
    return [("map_quality", "Quality of the map", lambda: plot.map_quality(estimator, X))]


def _title(estimator: Any) -> str:
    """Return the name of a model as in the tables of a comparison, with the number of its components."""
    neighbors = estimator.choices_.get("neighbors", "None")[:1].isdigit()
    kind = "autoencoder" if not estimator.has_rate_ else "neighbour VAE" if neighbors else "VAE"
    return f"{kind} with {counted(len(estimator.active_components_), 'component')}"


def _finding(finding: Any) -> dict[str, Any]:
    advice = capitalised(finding.advice) if finding.advice else ""
    return {"warning": bool(finding.warning), "message": capitalised(finding.message), "advice": advice}


def _section(folder: Path, name: str, heading: str, display: Display) -> Section:
    """Write the figure's file and return it as a section, at the highest resolution that its size allows."""
    for dpi in (150, 110, 80, 60):
        data = display.png(dpi)
        if len(data) <= MAX_BYTES:
            break
    write_bytes(folder / "figures" / f"{name}.png", data)
    inches = int.from_bytes(data[16:20]) / dpi  # a PNG file holds its width in these bytes
    return Section(name, heading, base64.b64encode(data).decode(), round(108 * inches), display.caption)


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(files("latentmap.report").joinpath("template.html").read_text(encoding="utf-8"))
