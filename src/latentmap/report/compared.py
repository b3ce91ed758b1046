"""Figures of a comparison: the maps of all methods, and one picture for each part of the claim about VAEs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from latentmap import plot
from latentmap.evaluation.claims import Part
from latentmap.evaluation.comparison import Comparison
from latentmap.evaluation.conclusions import conclude
from latentmap.evaluation.methods import METHODS
from latentmap.evaluation.study import AUTOENCODER, VAE
from latentmap.plot.style import Display

__all__ = ["ClaimTable", "claim_tables", "comparison_figures"]

Figure = tuple[str, str, Display]
"""Name, heading and figure."""

CLAIMS: dict[Part, str] = {
    "compact": "Is the latent space more compact?",
    "smooth": "Is it smoother?",
    "realistic": "Do points drawn at random decode to realistic rows?",
    "repaired": "And beside an autoencoder that is given a Gaussian of its codes?",
}


@dataclass(frozen=True)
class ClaimTable:
    """The measures of one part of the claim: its question, the answer in sentences, and a table.

    Parameters
    ----------
    question : str
        Heading.
    answers : list of str
        One sentence for each number of components.
    rows : list of list of str
        The columns' names, and one row a measure.
    """

    question: str
    answers: list[str]
    rows: list[list[str]]


def claim_tables(comparison: Comparison) -> list[ClaimTable]:
    """Return the claims of a comparison, a table for each part.

    Parameters
    ----------
    comparison : Comparison
        Result of `latentmap.evaluation.compare.compare`.

    Returns
    -------
    list of ClaimTable
        Empty where no claims were measured.
    """
    tables = []
    for part, question in CLAIMS.items():
        claims = [claim for claim in comparison.claims if claim.measure.claim == part]
        head, *rows = replace(comparison, claims=tuple(claims)).claims_table() or [[]]
        if claims:
            tables.append(ClaimTable(question, conclude(claims), [head[1:], *(row[1:] for row in rows)]))
    return tables


def comparison_figures(
    comparison: Comparison, X: Any, y: Any = None, **options: Any
) -> Iterator[tuple[str, str, Display]]:
    """Draw a comparison: the maps, and for the claims the gaps, decoded grids, lines and random points of both models.

    Parameters
    ----------
    comparison : Comparison
        Result of `latentmap.evaluation.compare.compare`.
    X : array-like of shape (n, ...)
        Rows to draw, as for ``fit``.
    y : array-like of shape (n,), optional
        Their labels.
    **options : dict
        ``image_shape`` and ``feature_names``, see `latentmap.plot.random_points`.

    Yields
    ------
    name, heading : str
        Of the figure.
    display : Display
        The figure.
    """
    yield "comparison", "Comparison with other methods", plot.comparison(comparison)
    if not comparison.sampled:
        return
    few, many = min(comparison.sampled), max(comparison.sampled)
    if few == 2:
        models = _pair(comparison, few)
        yield "latent_gaps", "Latent spaces and their gaps", plot.latent_gaps(models, X, y)
        yield "decoded_grids", "Decoded grids", plot.decoded_grids(models, X, **options)
    yield "lines", f"Lines between rows, {few} components", plot.lines(_pair(comparison, few), X, **options)
    points = plot.random_points(_pair(comparison, many), X, **options)
    yield "random_points", f"Points drawn at random, {many} components", points


def _pair(comparison: Comparison, n_components: int) -> dict[str, Any]:
    models = comparison.sampled[n_components]
    return {METHODS[name].title: models[name] for name in (AUTOENCODER, VAE)}
