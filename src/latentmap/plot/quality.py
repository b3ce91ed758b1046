"""Measures of the quality of a map, drawn on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentmap.estimators.columns import numbers
from latentmap.evaluation.codes import latent_vectors
from latentmap.evaluation.details import log_density, map_details
from latentmap.evaluation.rows import take
from latentmap.exceptions import DataError
from latentmap.plot.labels import Labels
from latentmap.plot.latent import TYPICAL
from latentmap.plot.points import Frame, draw_points
from latentmap.plot.rows import spread
from latentmap.plot.style import Display, current_theme, draws, number, panels

MOST_ROWS = 5000
"""Rows that are measured and drawn, at the most."""
GRID = 120
"""Points along each axis at which the density of the codes is computed."""
TRUST = (0.5, 1.0)
"""Range of colours for trust: of neighbours that are random rows, and of those that are the same as in the data."""
RELIABLE = 0.8
"""Trust from which on a point's neighbours can be relied on."""


@dataclass(eq=False)
class MapQualityDisplay(Display):
    """The quality of a map, as `map_quality` computes it.

    Parameters
    ----------
    data_ : ndarray of shape (n, 4)
        Trust, uncertainty, density and magnification of the rows drawn.
    caption : str
        What the panels show and how to read them.
    alt : str
        What is seen on them.
    codes : ndarray of shape (n, 2)
        The map.
    axes : tuple of ndarray
        Values of both components at which the density is known.
    density : ndarray of shape (m, m)
        Density of the codes there, nats.
    least : float
        Density below which the map has a hole.
    """

    data_: np.ndarray
    caption: str
    alt: str
    codes: np.ndarray
    axes: tuple[np.ndarray, np.ndarray]
    density: np.ndarray
    least: float

    def _draw(self, ax: Any, **kwargs: Any) -> tuple[Figure, Any]:
        wide, high = np.ptp(self.codes, axis=0)
        shape = float(np.clip(high / max(wide, 1e-12), 0.6, 1.6))
        figure, axes = panels(ax, 4, (7.6, 2 * (3.0 * shape + 0.4)), 2)
        trust, uncertainty, density, magnification = self.data_.T
        drawn = (
            ("Trust", "neighbours kept (0.5: chance)", trust, TRUST),
            ("Uncertainty", "standard deviation, latent units", uncertainty, None),
            ("Density, and holes", "log density of the codes, nats", density, None),
            ("Magnification", "log₁₀ of area, decoded by latent", np.log10(np.maximum(magnification, 1e-12)), None),
        )
        for panel, (title, unit, values, limits) in zip(axes, drawn, strict=True):
            labels = Labels(unit, (), np.zeros(len(values), int), values)
            bar = draw_points(panel, self.codes, labels, scale=0.5, limits=limits, **kwargs)
            if limits == TRUST and bar is not None:
                bar.ax.plot([-0.35, 1.35], [RELIABLE] * 2, color=current_theme().ink, linewidth=1.4, clip_on=False)
                bar.set_ticks([0.5, 0.6, 0.7, RELIABLE, 0.9, 1.0])
            panel.set_title(title)
            panel.set(xticks=[], yticks=[])
            panel.set_aspect("equal")
            panel.spines[:].set(visible=True, color=current_theme().faint)
        self._shade_holes(axes[2])
        return figure, axes

    def _shade_holes(self, ax: Axes) -> None:
        """Shade where the density of codes is lower than around all but a hundredth of the rows."""
        theme, least = current_theme(), self.least
        levels = [min(self.density.min(), least) - 1, least]
        ax.contourf(*self.axes, self.density, levels=levels, colors=[theme.shade], zorder=0)
        ax.contour(*self.axes, self.density, levels=[least], colors=[theme.muted], linewidths=0.5, zorder=0.5)


@draws(MapQualityDisplay)
def map_quality(estimator: Any, X: Any, *, ax: Axes | None = None) -> MapQualityDisplay:
    """Draw the trust, uncertainty, density and magnification of a map, a panel each.

    The colours of trust have one scale on every map, from 0.5 to 1, with a mark at 0.8.

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
    MapQualityDisplay
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
    frame = Frame.of(details.codes)
    x, y = np.linspace(frame.low, frame.high, GRID).T
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    density = log_density(latent_vectors(estimator, X), points).reshape(GRID, GRID)
    caption = (
        "Trust: whether neighbours on the map are neighbours in the data, on a scale from chance, 0.5, to 1, with a "
        "mark at 0.8; darker regions are unreliable. Uncertainty: the spread of the posterior of a row around its "
        "point. Density: how many rows lie there; grey is where fewer lie than around all but 1% of the rows, so that "
        "decoded rows there are extrapolated. Magnification: how fast decoded rows change; distances in light regions "
        "mean more than in dark ones."
    )
    least = float(np.quantile(details.density, TYPICAL))
    return MapQualityDisplay(values, caption, _alt(values), details.codes, (x, y), density, least).plot(ax=ax)


def _alt(values: np.ndarray) -> str:
    low, high = np.nanpercentile(values, [1, 99], axis=0)
    ends = [f"{number(a, 2)} to {number(b, 2)}" for a, b in zip(low, high, strict=True)]
    return (
        f"Four maps of {len(values):,} points: trust is below {RELIABLE} for {np.mean(values[:, 0] < RELIABLE):.0%} of "
        f"them (median {number(float(np.median(values[:, 0])), 2)}), uncertainty runs from {ends[1]} latent units, "
        f"log density from {ends[2]} nats, magnification from {ends[3]}."
    )
