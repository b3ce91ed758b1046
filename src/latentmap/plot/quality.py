"""Measures of the quality of a map, drawn on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from latentmap.estimators.columns import numbers
from latentmap.evaluation.codes import latent_vectors
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
"""Points along each axis at which the density of the codes is computed."""


@styled
def map_quality(estimator: Any, X: Any, *, ax: Axes | None = None) -> Display:
    """Draw the trust, uncertainty, density and magnification of a map, a panel each.

    Parameters
    ----------
    estimator : VAE or Autoencoder
        A fitted model with two components.
    X : array-like
        The rows that it was fitted to.
    ax : Axes, optional
        Axes to draw the panels in; by default a new figure.

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
    details = map_details(estimator, X) if few else map_details(estimator, take(X, spread(X.shape[0], MOST_ROWS)), X)
    values = np.column_stack([details.trust, details.uncertainty, details.density, details.magnification])
    log_magnification = np.log10(np.maximum(details.magnification, 1e-12))
    wide, high = np.ptp(details.codes, axis=0)
    shape = float(np.clip(high / max(wide, 1e-12), 0.6, 1.6))
    figure, axes = panels(ax, 4, (7.6, 2 * (3.0 * shape + 0.4)), 2)
    for panel, title, unit, colours in zip(
        axes,
        ("Trust", "Uncertainty", "Density, and holes", "Magnification"),
        ("1: neighbours as in the data", "latent units", "nats", "log₁₀ of decoded area"),
        (details.trust, details.uncertainty, details.density, log_magnification),
        strict=True,
    ):
        labels = read_labels(np.asarray(colours, dtype=float) + 1e-9, len(values))
        draw_points(panel, details.codes, None if labels is None else replace(labels, title=unit), scale=0.5)
        panel.set_title(title)
        panel.set(xticks=[], yticks=[])
        panel.set_aspect("equal")
        panel.spines[:].set(visible=True, color=FAINT)
    _shade_holes(axes[2], estimator, X, details)
    caption = (
        "Trust: whether neighbours on the map are neighbours in the data; dark regions are unreliable. Uncertainty: "
        "the spread of the posterior of a row around its point. Density: how many rows lie there; grey is where fewer "
        "lie than around all but 1% of the rows, so that decoded rows there are extrapolated. Magnification: how fast "
        "decoded rows change; distances in light regions mean more than in dark ones."
    )
    return Display(figure, axes, values, caption)


def _shade_holes(ax: Axes, estimator: Any, X: Any, details: Details) -> None:
    """Shade where the density of codes is lower than around all but a hundredth of the rows."""
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    x, y = np.linspace(left, right, GRID), np.linspace(low, high, GRID)
    draws = latent_vectors(estimator, X)
    density = log_density(draws, np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)).reshape(GRID, GRID)
    least = float(np.quantile(details.density, 0.01))
    ax.contourf(x, y, density, levels=[min(density.min(), least) - 1, least], colors=["#e9edf1"], zorder=0)
    ax.contour(x, y, density, levels=[least], colors=[MUTED], linewidths=0.5, zorder=0.5)
