"""What is known of places on a map, drawn on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from latentmap.estimators.columns import numbers
from latentmap.evaluation.claims import latent_vectors
from latentmap.evaluation.details import Details, log_density, map_details
from latentmap.evaluation.rows import take
from latentmap.exceptions import DataError
from latentmap.plot.labels import read_labels
from latentmap.plot.points import draw_points
from latentmap.plot.rows import spread
from latentmap.plot.style import FAINT, MUTED, Display, panels, styled

MOST_ROWS = 5000
"""Rows that are measured and drawn, at the most."""

GRID = 120
"""Places along each axis where the density of the codes is taken."""


@styled
def map_quality(estimator: Any, X: Any, *, ax: Axes | None = None) -> Display:
    """Draw on the map which places to believe, how sure the model is, where rows lie and how it is stretched.

    Parameters
    ----------
    estimator
        A fitted model with two components.
    X
        The rows that it was fitted to.
    ax
        Axes to draw the panels in; a new figure without.

    Returns
    -------
    Display
        ``data_`` holds trust, uncertainty, density and magnification of the rows drawn, (n, 4).

    Raises
    ------
    DataError
        If the model has another number of components.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from latentmap import VAE, plot
    >>> X = load_iris().data
    >>> plot.map_quality(VAE(2, random_state=0).fit(X), X).data_.shape
    (150, 4)
    """
    estimator, X = numbers(estimator, X)
    if (size := len(estimator.active_components_)) != 2:
        raise DataError(f"map_quality draws models with 2 components, but this one has {size}")
    few = X.shape[0] <= MOST_ROWS
    found = map_details(estimator, X) if few else map_details(estimator, take(X, spread(X.shape[0], MOST_ROWS)), X)
    values = np.column_stack([found.trust, found.uncertainty, found.density, found.magnification])
    stretched = np.log10(np.maximum(found.magnification, 1e-12))
    wide, high = np.ptp(found.codes, axis=0)
    shape = float(np.clip(high / max(wide, 1e-12), 0.6, 1.6))
    figure, axes = panels(ax, 4, (7.6, 2 * (3.0 * shape + 0.4)), 2)
    for panel, title, unit, colours in zip(
        axes,
        ("Trust", "Uncertainty", "Density, and holes", "Magnification"),
        ("1: neighbours as in the data", "latent units", "nats", "log₁₀ of decoded area"),
        (found.trust, found.uncertainty, found.density, stretched),
        strict=True,
    ):
        labels = read_labels(np.asarray(colours, dtype=float) + 1e-9, len(values))
        draw_points(panel, found.codes, None if labels is None else replace(labels, title=unit), scale=0.5)
        panel.set_title(title)
        panel.set(xticks=[], yticks=[])
        panel.set_aspect("equal")
        panel.spines[:].set(visible=True, color=FAINT)
    _shade_holes(axes[2], estimator, X, found)
    caption = (
        "Trust: whether neighbours on the map are neighbours in the data; dark places are not to be believed. "
        "Uncertainty: how far around its place the model holds a row for possible. Density: how many rows lie there; "
        "grey is where fewer lie than around all but 1% of the rows, so that what is decoded there is invented. "
        "Magnification: how fast decoded rows change; distances on light places stand for more than on dark ones."
    )
    return Display(figure, axes, values, caption)


def _shade_holes(ax: Axes, estimator: Any, X: Any, found: Details) -> None:
    """Shade where the codes are rarer than around all but a hundredth of the rows."""
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    x, y = np.linspace(left, right, GRID), np.linspace(low, high, GRID)
    draws = latent_vectors(estimator, X)
    density = log_density(draws, np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)).reshape(GRID, GRID)
    least = float(np.quantile(found.density, 0.01))
    ax.contourf(x, y, density, levels=[min(density.min(), least) - 1, least], colors=["#e9edf1"], zorder=0)
    ax.contour(x, y, density, levels=[least], colors=[MUTED], linewidths=0.5, zorder=0.5)
