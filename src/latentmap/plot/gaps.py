"""Latent spaces of several models, and where they are empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from latentmap.evaluation.codes import latent_vectors
from latentmap.evaluation.latent import in_gaps
from latentmap.evaluation.rows import sample_rows, take
from latentmap.evaluation.samplers import SAMPLERS, box
from latentmap.plot.labels import Labels, read_labels
from latentmap.plot.several import listed, models_of
from latentmap.plot.style import BLUE, Display, current_theme, draws, panels, plain

MOST_CODES = 3000
"""Codes that are drawn and searched for gaps, at the most."""
CELLS = 80
"""Cells along each axis in which gaps are shown."""


@dataclass(eq=False)
class GapsDisplay(Display):
    """Latent spaces with their gaps; see `latent_gaps`.

    Parameters
    ----------
    data_ : ndarray of shape (models, n, 2)
        Latent vectors.
    caption, alt : str
        How to read the figure, and what is seen on it.
    titles : tuple of str
        Titles of the models.
    boxes : ndarray of shape (models, 2, 2)
        Low and high ends of the box of each model's codes.
    gaps : ndarray of bool of shape (models, cells, cells)
        Which cells of the box are gaps, the second component along the first axis.
    labels : Labels or None
        Labels of the rows.
    """

    data_: np.ndarray
    caption: str
    alt: str
    titles: tuple[str, ...]
    boxes: np.ndarray
    gaps: np.ndarray = field(repr=False)
    labels: Labels | None = None

    def _draw(self, ax: Axes | None, **kwargs: Any) -> tuple[Figure, np.ndarray]:
        theme = current_theme()
        figure, axes = panels(ax, len(self.titles), (7.4, 7.4 / len(self.titles) + 0.4))
        colours = BLUE if self.labels is None else self.labels.row_colours()
        for panel, title, codes, (low, high), gaps in zip(
            axes, self.titles, self.data_, self.boxes, self.gaps, strict=True
        ):
            x, y = np.linspace(low, high, CELLS).T
            panel.contourf(x, y, gaps.astype(float), levels=[0.5, 1.5], colors=[theme.shade], zorder=0)
            panel.scatter(codes[:, 0], codes[:, 1], s=4, c=colours, alpha=0.6, linewidths=0, rasterized=True)
            for radius in (1, 2):
                panel.add_patch(
                    Circle((0, 0), radius, fill=False, edgecolor=theme.ink, linewidth=0.8, linestyle=(0, (4, 3)))
                )
            margin = 0.04 * (high - low)
            panel.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
            panel.set_title(f"{plain(title)}: {gaps.mean():.0%} in gaps")
            panel.set_xlabel("$z_1$")
            panel.set_ylabel("$z_2$")
            panel.set_box_aspect(1)
        return figure, axes


@draws(GapsDisplay)
def latent_gaps(
    estimators: Mapping[str, Any], X: Any, y: Any = None, *, random_state: int = 0, ax: Axes | None = None
) -> GapsDisplay:
    """Draw the latent spaces of several models with two components, and shade their gaps.

    A point lies in a gap if the nearest code is farther away than the fifth nearest of as many points drawn uniformly
    in the box of the codes; see `latentmap.evaluation.latent.gap_fraction`.

    Parameters
    ----------
    estimators : dict of str to VAE or Autoencoder
        Fitted models with two components, by title.
    X : array-like
        Rows, as passed to ``fit``; at most 3,000 are drawn.
    y : array-like of shape (n,), optional
        One label a row, for the colours.
    random_state : int, default=0
        Seed of the sample of rows, of draws from q(z|x) and of the uniform points.
    ax : Axes, optional
        Axes to draw the panels in; by default a new figure.

    Returns
    -------
    GapsDisplay
        ``data_`` holds the latent vectors, (models, n, 2).

    Raises
    ------
    DataError
        If a model has another number of components.
    """
    models, X = models_of(estimators, X, of_two="latent_gaps")
    kept = sample_rows(X.shape[0], MOST_CODES, random_state)
    labels = read_labels(None if y is None else take(np.asarray(y), kept), len(kept))
    codes, boxes, gaps = [], [], []
    for estimator in models.values():
        vectors = latent_vectors(estimator, take(X, kept), random_state)
        low, high = box(vectors)
        cells = np.stack(np.meshgrid(*np.linspace(low, high, CELLS).T), axis=-1).reshape(-1, 2)
        uniform = SAMPLERS["uniform"].draw(vectors, len(vectors), random_state)
        codes.append(vectors)
        boxes.append((low, high))
        gaps.append(in_gaps(vectors, uniform, cells).reshape(CELLS, CELLS))
    caption = (
        "Latent vectors of rows in the box that holds the central 99% of them on each axis; shaded where it is empty "
        "beside as many points spread evenly. The circles are one and two standard deviations of N(0, I), which random "
        "points are drawn from."
    )
    fractions = ", ".join(f"{title} {of.mean():.0%}" for title, of in zip(models, gaps, strict=True))
    alt = f"Latent spaces of {listed(models)}; part of the box in gaps: {fractions}."
    return GapsDisplay(np.stack(codes), caption, alt, tuple(models), np.array(boxes), np.stack(gaps), labels).plot(
        ax=ax
    )
