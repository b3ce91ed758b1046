"""Pictures of the claims, models side by side: gaps of latent spaces, decoded grids, lines and random points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from latentmap.estimators.columns import numbers
from latentmap.evaluation.codes import latent_vectors
from latentmap.evaluation.latent import in_gaps
from latentmap.evaluation.rows import sample_rows, take
from latentmap.evaluation.samplers import SAMPLERS, box
from latentmap.exceptions import DataError
from latentmap.messages import suggest
from latentmap.plot.labels import Labels, read_labels
from latentmap.plot.rows import RowStyle, dense, spread
from latentmap.plot.style import BLUE, Display, current_theme, draws, one_axes, page_width, panels, plain

MOST_CODES = 3000
"""Codes that are drawn and searched for gaps, at the most."""
CANDIDATES = 60
"""Rows from which the ends of lines are chosen."""
CELLS = 80
"""Cells along each axis in which gaps are shown."""


@dataclass(eq=False)
class RowPanelsDisplay(Display):
    """Rows of several models, a panel each; see `random_points` and `decoded_grids`.

    Parameters
    ----------
    data_ : ndarray of shape (panels, n, ...)
        Rows of each panel.
    caption, alt : str
        How to read the figure, and what is seen on it.
    titles : tuple of str
        Titles of the panels.
    style : RowStyle
        How rows are drawn.
    columns : int
        Pictures in a line.
    """

    data_: np.ndarray
    caption: str
    alt: str
    titles: tuple[str, ...]
    style: RowStyle = field(repr=False)
    columns: int

    def _draw(self, ax: Axes | None, **kwargs: Any) -> tuple[Figure, np.ndarray]:
        style, n = self.style, self.data_.shape[1]
        picture = style.kind == "picture"
        wide = 7.4 / len(self.titles)
        lines = -(-n // self.columns)
        high = wide * lines * style.shape[0] / (self.columns * style.shape[1]) if picture else 3.2
        figure, axes = panels(ax, len(self.titles), (7.4, min(high, 9.0) + 0.3))
        for panel, title, rows in zip(axes, self.titles, self.data_, strict=True):
            tiles = style.tiles(rows, self.columns) if picture else rows[None]
            style.draw(panel, tiles, colours=None if picture else [BLUE] * n)
            panel.set_title(plain(title, 40))
            if not picture:
                panel.tick_params(axis="x", labelrotation=90)
        return figure, axes


@draws(RowPanelsDisplay)
def random_points(
    estimators: Mapping[str, Any],
    X: Any,
    *,
    n: int = 64,
    sampler: str = "normal",
    random_state: int = 0,
    image_shape: tuple[int, ...] | None = None,
    feature_names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> RowPanelsDisplay:
    r"""Draw random points of several models, decoded, beside real rows.

    .. math:: z_j \sim N(0, I), \quad x = d(z)

    the prior of a VAE, and the one distribution that an autoencoder can be sampled from without a further fit; or from
    another distribution of `latentmap.evaluation.samplers`, the same rule for all models.

    Parameters
    ----------
    estimators : dict of str to VAE or Autoencoder
        Fitted models by title.
    X : array-like
        Rows, as passed to ``fit``.
    n : int, default=64
        Number of points of each model.
    sampler : {"normal", "uniform", "gaussian", "mixture"}, default="normal"
        What points are drawn from: N(0, I), uniformly in the box of the codes, a Gaussian or a mixture of Gaussians
        fitted to the codes.
    random_state : int, default=0
        Seed of the points.
    image_shape : tuple of int, optional
        Shape (h, w) or (h, w, c) of rows that are flattened images.
    feature_names : sequence of str, optional
        Names of the features of a vector; by default those in the fit.
    ax : Axes, optional
        Axes to draw the panels in; by default a new figure.

    Returns
    -------
    RowPanelsDisplay
        ``ax_`` holds one panel a model and one of real rows, ``data_`` the rows, (models + 1, n, ...).

    Raises
    ------
    DataError
        If no distribution has this name.
    """
    if sampler not in SAMPLERS:
        raise DataError(f"no distribution is called {sampler!r}: {suggest(sampler, SAMPLERS)}")
    models, X = _models(estimators, X)
    style = RowStyle.of(next(iter(models.values())), X, image_shape, feature_names)
    panels = []
    for estimator in models.values():
        codes = SAMPLERS[sampler].draw(latent_vectors(estimator, X, random_state), n, random_state)
        panels.append(_decoded(estimator, codes, style))
    real = dense(take(X, np.resize(sample_rows(X.shape[0], n, random_state), n))).reshape(-1, *style.shape)
    title = SAMPLERS[sampler].title
    caption = (
        f"{n} random points of each latent space, drawn from the same distribution, {title}, and decoded; beside them "
        f"{n} rows of the data. Where a latent space has gaps, points in them decode to rows unlike the data."
    )
    alt = f"{n} decoded points of {_listed(models)}, drawn from {title}, and {n} real rows, panel by panel."
    return RowPanelsDisplay(
        np.stack([*panels, real]), caption, alt, (*models, "real rows"), style, round(np.sqrt(n))
    ).plot(ax=ax)


@draws(RowPanelsDisplay, "from_grid")
def decoded_grids(
    estimators: Mapping[str, Any],
    X: Any,
    *,
    n: int = 12,
    random_state: int = 0,
    image_shape: tuple[int, ...] | None = None,
    feature_names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> RowPanelsDisplay:
    """Decode an even grid over the box of the codes of several models with two components, side by side.

    Parameters
    ----------
    estimators : dict of str to VAE or Autoencoder
        Fitted models with two components, by title.
    X : array-like
        Rows, as passed to ``fit``: the box holds the central 99% of their codes on each axis.
    n : int, default=12
        Points along each axis.
    random_state : int, default=0
        Seed of draws from q(z|x).
    image_shape, feature_names, ax : optional
        As for `random_points`.

    Returns
    -------
    RowPanelsDisplay
        ``data_`` holds the decoded rows, (models, n * n, ...), from the top left.

    Raises
    ------
    DataError
        If a model has another number of components.
    """
    models, X = _models(estimators, X, of_two="decoded_grids")
    style = RowStyle.of(next(iter(models.values())), X, image_shape, feature_names)
    grids = []
    for estimator in models.values():
        low, high = box(latent_vectors(estimator, X, random_state))
        axes = np.linspace(low, high, n).T
        plane = np.stack(np.meshgrid(axes[0], axes[1][::-1]), axis=-1).reshape(-1, 2)
        grids.append(_decoded(estimator, plane, style))
    caption = (
        "An even grid over the box that holds the central 99% of the codes on each axis, decoded, the same rule for "
        "each model. A smooth latent space changes evenly from one row to the next, and each looks like the data."
    )
    alt = f"Grids of {n} by {n} decoded points of {_listed(models)}, side by side."
    return RowPanelsDisplay(np.stack(grids), caption, alt, tuple(models), style, n).plot(ax=ax)


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
    models, X = _models(estimators, X, of_two="latent_gaps")
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
    alt = f"Latent spaces of {_listed(models)}; part of the box in gaps: {fractions}."
    return GapsDisplay(np.stack(codes), caption, alt, tuple(models), np.array(boxes), np.stack(gaps), labels).plot(
        ax=ax
    )


@dataclass(eq=False)
class LinesDisplay(Display):
    """Decoded lines between rows, of several models; see `lines`.

    Parameters
    ----------
    data_ : ndarray of shape (pairs, models, steps, ...)
        Decoded rows.
    caption, alt : str
        How to read the figure, and what is seen on it.
    titles : tuple of str
        Titles of the models.
    ends : ndarray of shape (pairs, 2, ...)
        The rows at the ends.
    style : RowStyle
        How rows are drawn.
    """

    data_: np.ndarray
    caption: str
    alt: str
    titles: tuple[str, ...]
    ends: np.ndarray = field(repr=False)
    style: RowStyle = field(repr=False)

    def _draw(self, ax: Axes | None, **kwargs: Any) -> tuple[Figure, Axes]:
        pairs, models, steps = self.data_.shape[:3]
        paths = self.data_.reshape(pairs * models, steps, *self.style.shape)
        names = [plain(title, 14) for _ in range(pairs) for title in self.titles]
        marks = [f"{t:.0%}" for t in np.linspace(0, 1, steps)]
        if self.style.kind == "picture":
            first, last = (np.repeat(self.ends[:, end, None], models, axis=0) for end in (0, 1))
            blank = np.full_like(first, np.nan)
            paths = np.concatenate([first, blank, paths, blank, last], axis=1)
            marks = [
                "row",
                "",
                *("" if page_width() < 7 and 0 < i < steps - 1 else m for i, m in enumerate(marks)),
                "",
                "row",
            ]
        figure, ax = one_axes(ax, self.style.size(*paths.shape[:2]))
        self.style.draw(ax, paths, names, marks)
        return figure, ax


@draws(LinesDisplay)
def lines(
    estimators: Mapping[str, Any],
    X: Any,
    *,
    n: int = 3,
    n_steps: int | None = None,
    image_shape: tuple[int, ...] | None = None,
    feature_names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> LinesDisplay:
    r"""Decode straight lines between the codes of the same rows by several models, one below the other.

    .. math:: x_t = d((1 - t) e(a) + t e(b))

    Parameters
    ----------
    estimators : dict of str to VAE or Autoencoder
        Fitted models by title.
    X : array-like
        Rows, as passed to ``fit``: of 60 of them evenly spaced, each of the first n makes a pair with the row that is
        farthest from it.
    n : int, default=3
        Number of pairs.
    n_steps : int, optional
        Points along a line, ends included; by default 11 images, otherwise 5.
    image_shape, feature_names, ax : optional
        As for `random_points`.

    Returns
    -------
    LinesDisplay
        ``data_`` holds the decoded rows, (pairs, models, steps, ...).
    """
    models, X = _models(estimators, X)
    style = RowStyle.of(next(iter(models.values())), X, image_shape, feature_names)
    n_steps = n_steps or (11 if style.kind == "picture" else 5)
    chosen = _unlike(X, n, style)
    first, last = (take(X, chosen[end]) for end in (0, 1))
    t = np.linspace(0, 1, n_steps)[:, None, None]
    paths = []
    for estimator in models.values():
        starts, stops = (np.asarray(estimator.transform(rows), dtype=float) for rows in (first, last))
        codes = ((1 - t) * starts + t * stops).swapaxes(0, 1)  # (pairs, steps, d)
        paths.append(_decoded(estimator, codes.reshape(n * n_steps, -1), style).reshape(n, n_steps, *style.shape))
    ends = np.stack([dense(rows).reshape(-1, *style.shape) for rows in (first, last)], axis=1)
    caption = (
        "Straight lines between the codes of two rows in equal steps, decoded by each model. In a smooth latent space "
        "rows change evenly, and each step looks like the data."
    )
    alt = f"{n} pairs of rows, and between them {n_steps} decoded steps each of {_listed(models)}."
    return LinesDisplay(np.stack(paths, axis=1), caption, alt, tuple(models), ends, style).plot(ax=ax)


def _models(estimators: Mapping[str, Any], X: Any, of_two: str = "") -> tuple[dict[str, Any], Any]:
    """Return the models and the rows as numbers; raise if all models must have two components and one has not."""
    if not estimators:
        raise DataError("this figure compares models: pass one or more, as a dict from title to fitted estimator")
    given = [numbers(estimator, X) for estimator in estimators.values()]
    models = dict(zip(estimators, (estimator for estimator, _ in given), strict=True))
    for title, estimator in models.items():
        if of_two and (size := len(estimator.active_components_)) != 2:
            raise DataError(f"{of_two} draws models with 2 components, but {title} has {size}")
    return models, given[0][1]


def _unlike(X: Any, n: int, style: RowStyle) -> np.ndarray:
    """Return the places of n pairs of rows that are unlike each other, (2, n); no row is in two while there are others."""
    candidates = spread(X.shape[0], max(CANDIDATES, n))
    rows = (dense(take(X, candidates)).reshape(len(candidates), *style.shape) - style.low) / (style.high - style.low)
    rows = rows.reshape(len(rows), -1)
    firsts = np.resize(np.arange(len(rows)), n)
    free = np.ones(len(rows), dtype=bool)
    free[firsts] = False
    lasts = []
    for i in firsts:
        distances = np.square(rows - rows[i]).sum(axis=1)
        lasts.append(int(np.where(free, distances, -1.0).argmax()) if free.any() else int(distances.argmax()))
        free[np.square(rows - rows[lasts[-1]]).sum(axis=1) <= distances[lasts[-1]] / 2] = False  # nor others like it
    return np.stack([candidates[firsts], candidates[lasts]])


def _decoded(estimator: Any, codes: np.ndarray, style: RowStyle) -> np.ndarray:
    return dense(estimator.inverse_transform(codes.astype(np.float32))).reshape(-1, *style.shape)


def _listed(titles: Mapping[str, Any]) -> str:
    *others, last = titles
    return f"{', '.join(others)} and {last}" if others else last
