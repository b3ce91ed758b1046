"""Decoded rows of several models side by side: random points and grids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentmap.estimators.columns import numbers
from latentmap.evaluation.codes import latent_vectors
from latentmap.evaluation.rows import sample_rows, take
from latentmap.evaluation.samplers import SAMPLERS, box
from latentmap.exceptions import DataError
from latentmap.messages import suggest
from latentmap.plot.rows import RowStyle, dense
from latentmap.plot.style import BLUE, Display, draws, panels, plain


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
    models, X = models_of(estimators, X)
    style = RowStyle.of(next(iter(models.values())), X, image_shape, feature_names)
    panels = []
    for estimator in models.values():
        codes = SAMPLERS[sampler].draw(latent_vectors(estimator, X, random_state), n, random_state)
        panels.append(decoded(estimator, codes, style))
    real = dense(take(X, np.resize(sample_rows(X.shape[0], n, random_state), n))).reshape(-1, *style.shape)
    title = SAMPLERS[sampler].title
    caption = (
        f"{n} random points of each latent space, drawn from the same distribution, {title}, and decoded; beside them "
        f"{n} rows of the data. Where a latent space has gaps, points in them decode to rows unlike the data."
    )
    alt = f"{n} decoded points of {listed(models)}, drawn from {title}, and {n} real rows, panel by panel."
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
    models, X = models_of(estimators, X, of_two="decoded_grids")
    style = RowStyle.of(next(iter(models.values())), X, image_shape, feature_names)
    grids = []
    for estimator in models.values():
        low, high = box(latent_vectors(estimator, X, random_state))
        axes = np.linspace(low, high, n).T
        plane = np.stack(np.meshgrid(axes[0], axes[1][::-1]), axis=-1).reshape(-1, 2)
        grids.append(decoded(estimator, plane, style))
    caption = (
        "An even grid over the box that holds the central 99% of the codes on each axis, decoded, the same rule for "
        "each model. A smooth latent space changes evenly from one row to the next, and each looks like the data."
    )
    alt = f"Grids of {n} by {n} decoded points of {listed(models)}, side by side."
    return RowPanelsDisplay(np.stack(grids), caption, alt, tuple(models), style, n).plot(ax=ax)


def models_of(estimators: Mapping[str, Any], X: Any, of_two: str = "") -> tuple[dict[str, Any], Any]:
    """Return the models and the rows as numbers; raise if all models must have two components and one has not."""
    if not estimators:
        raise DataError("this figure compares models: pass one or more, as a dict from title to fitted estimator")
    given = [numbers(estimator, X) for estimator in estimators.values()]
    models = dict(zip(estimators, (estimator for estimator, _ in given), strict=True))
    for title, estimator in models.items():
        if of_two and (size := len(estimator.active_components_)) != 2:
            raise DataError(f"{of_two} draws models with 2 components, but {title} has {size}")
    return models, given[0][1]


def decoded(estimator: Any, codes: np.ndarray, style: RowStyle) -> np.ndarray:
    """Return the rows that codes decode to, (n, *event), in the shape in which they are drawn."""
    return dense(estimator.inverse_transform(codes.astype(np.float32))).reshape(-1, *style.shape)


def listed(titles: Mapping[str, Any]) -> str:
    """Return titles in words.

    >>> listed({"PCA": 1, "VAE": 2})
    'PCA and VAE'
    """
    *others, last = titles
    return f"{', '.join(others)} and {last}" if others else last
