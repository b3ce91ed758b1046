"""Writing the report."""

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
from latentmap.evaluation.methods import METHODS
from latentmap.plot.style import Display
from latentmap.report.facts import capitalised, claim_tables, headline_facts, settings

MOST_BYTES = 450_000
"""Size of one figure, at the most: ten of them, inlined, stay below 5 MB or so."""

LEAST_ROWS = 40
"""Fewer rows than these have no neighbourhoods to speak of."""


@dataclass(frozen=True)
class Section:
    """A figure of the report: its name, heading, picture as base64, width on the page in pixels, and caption."""

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
    """Write ``report.html`` and ``figures/*.png`` of a fitted model; return the path of the report.

    The page needs nothing else: its pictures are inside, and it asks nothing of a network. Each file is written whole
    or not at all.

    Parameters
    ----------
    estimator
        A fitted `latentmap.VAE` or `latentmap.Autoencoder`.
    X
        Rows to show, as given to ``fit``.
    y
        One label a row, or nothing; see `latentmap.plot.map`.
    folder
        Where to write; made if it does not exist.
    comparison
        A `latentmap.evaluation.compare.Comparison` to show, or nothing.
    name
        What the data is called.
    image_shape
        (h, w) or (h, w, c) of rows that are flattened images.
    feature_names
        Names of the features of a vector; by default those that the model saw.

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
    folder, X = Path(folder), _whole(estimator, X)
    look: dict[str, Any] = {"image_shape": image_shape, "feature_names": feature_names}
    figures: list[tuple[str, str, Callable[[], Display]]] = [
        ("map", "The map", lambda: plot.map(estimator, X, y)),
        _decoded(estimator, X, look),
        *_quality(estimator, X),
        ("reconstructions", "What the model keeps of a row", lambda: plot.reconstructions(estimator, X, **look)),
        ("samples", "Rows that the model invents", lambda: plot.samples(estimator, X=X, **look)),
        ("interpolations", "The way from one row to another", lambda: plot.interpolations(estimator, X, **look)),
        ("learning_curves", "How the fit went", lambda: plot.learning_curves(estimator)),
        ("rates", "What each component carries", lambda: plot.rates(estimator)),
    ]
    sections = [_section(folder, key, heading, draw()) for key, heading, draw in figures]
    compared = [] if comparison is None else [_section(folder, *figure) for figure in _compared(comparison, X, look)]
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
        choices=estimator.choices_,
        settings=settings(estimator),
        has_rate=estimator.has_rate_,
    )
    target = folder / "report.html"
    write_text(target, page)
    return target


def _whole(estimator: Any, X: Any) -> Any:
    """Return rows with missing cells as the model fills them, since pictures and measures need whole ones."""
    return estimator.impute(X) if estimator.takes_missing_ else X


def _decoded(estimator: Any, X: Any, look: dict[str, Any]) -> tuple[str, str, Callable[[], Display]]:
    """Return the figure that shows what codes mean: a grid over a plane, otherwise one line a component."""
    if len(estimator.active_components_) == 2:
        return "decoded_grid", "What each place decodes to", lambda: plot.decoded_grid(estimator, X, **look)
    return "traversals", "What each component changes", lambda: plot.traversals(estimator, X, **look)


def _quality(estimator: Any, X: Any) -> list[tuple[str, str, Callable[[], Display]]]:
    """Return the figure of what is known of places on a plane; none for other models."""
    if len(estimator.active_components_) != 2 or len(X) <= LEAST_ROWS or estimator.condition_ is not None:
        return []
    return [("map_quality", "What to believe of the map", lambda: plot.map_quality(estimator, X))]


def _compared(comparison: Any, X: Any, look: dict[str, Any]) -> list[tuple[str, str, Display]]:
    """Return the figures of a comparison: the maps, and what its models decode random points to."""
    figures = [("comparison", "Beside other methods", plot.comparison(comparison))]
    if comparison.estimators:
        models = {METHODS[name].title: estimator for name, estimator in comparison.estimators.items()}
        figures.append(("random_points", "Points drawn at random", plot.random_points(models, X, **look)))
    return figures


def _finding(finding: Any) -> dict[str, Any]:
    advice = capitalised(finding.advice) if finding.advice else ""
    return {"warning": bool(finding.warning), "message": capitalised(finding.message), "advice": advice}


def _section(folder: Path, name: str, heading: str, display: Display) -> Section:
    """Write the figure's file and return it as a section, at the highest resolution that its size allows."""
    for dpi in (150, 110, 80, 60):
        data = display.png(dpi)
        if len(data) <= MOST_BYTES:
            break
    write_bytes(folder / "figures" / f"{name}.png", data)
    inches = int.from_bytes(data[16:20]) / dpi  # the width stands in the header of a PNG file
    return Section(name, heading, base64.b64encode(data).decode(), round(108 * inches), display.caption)


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(files("latentmap.report").joinpath("template.html").read_text(encoding="utf-8"))
