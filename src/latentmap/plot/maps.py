"""The latent space as a plane: the map of the codes, a decoded grid, and maps of several methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from scipy.linalg import qr

from latentmap.data.columns import Column, Table
from latentmap.estimators.columns import numbers
from latentmap.exceptions import DataError
from latentmap.plot.labels import Labels, read_labels
from latentmap.plot.latent import codes_of, describe_prior, has_standard_prior, quantiles
from latentmap.plot.points import draw_points
from latentmap.plot.rows import RowStyle
from latentmap.plot.style import FAINT, MUTED, Display, number, one_axes, panels, plain, styled

MOST_PLANES = 24


@styled
def map(estimator: Any, X: Any, y: Any = None, *, ax: Axes | None = None) -> Display:
    """Draw the latent codes of the rows of ``X`` on a plane, coloured by label.

    Two components are drawn as they are; of more, the first two principal axes of the codes; one is drawn along x.
    Circles mark one and two standard deviations of a standard normal prior, or the sphere or the rim of the ball that
    codes lie on or in.

    Parameters
    ----------
    estimator : VAE or Autoencoder
        A fitted model.
    X : array-like
        Rows, as passed to ``fit``.
    y : array-like of shape (n,), optional
        One label a row: classes (text, booleans, up to 20 whole numbers) or numbers. Missing labels are grey.
    ax : Axes, optional
        Axes to draw on; by default a new figure.

    Returns
    -------
    Display
        ``data_`` holds the points as drawn, (n, 2).

    Raises
    ------
    DataError
        If ``y`` is not one label a row.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from latentmap import VAE, plot
    >>> X = load_iris().data
    >>> plot.map(VAE(2, random_state=0).fit(X), X).data_.shape
    (150, 2)
    """
    codes = codes_of(estimator, X)
    labels = read_labels(y, len(codes))
    points, x_label, y_label = _plane(codes, labels)
    one = codes.shape[1] == 1
    figure, ax = one_axes(ax, (7.2, 4.2 if one else 6.4))
    note = draw_points(ax, points, labels)
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    radii = {"flat": (1, 2) if has_standard_prior(estimator) else ()}.get(estimator.manifold_, (1,))
    if one:
        ax.set_yticks([])
    else:
        ax.set_aspect("equal")
    if codes.shape[1] == 2 and radii:
        for radius in radii:
            ax.add_patch(Circle((0, 0), radius, fill=False, edgecolor="#8794a1", linewidth=0.7, linestyle=(0, (4, 3))))
        note += {
            "sphere": " Codes lie on the circle.",
            "ball": " The circle is the rim of the ball, infinitely far from its middle.",
        }.get(estimator.manifold_, " The circles are one and two standard deviations of the prior.")
    return Display(figure, ax, points, _map_caption(codes.shape[1], labels) + note)


@styled
def decoded_grid(
    estimator: Any,
    X: Any = None,
    *,
    n: int = 16,
    image_shape: tuple[int, ...] | None = None,
    feature_names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Display:
    r"""Decode a grid over the plane of a model with two components.

    .. math:: x_{ij} = d(q_1(u_i), q_2(u_j)), \quad u \text{ evenly spaced in } (0, 1)

    with :math:`q` the quantiles of the codes of ``X`` or, without ``X``, of the model's prior. Images are drawn as one
    picture, vectors as a plane for each feature.

    Parameters
    ----------
    estimator : VAE or Autoencoder
        A fitted model with two components.
    X : array-like, optional
        Rows, as passed to ``fit``; they set the range of values, too.
    n : int, default=16
        Points along each axis.
    image_shape, feature_names, ax : optional
        As for `reconstructions`.

    Returns
    -------
    Display
        ``data_`` holds the decoded rows, (n, n, ...), the second component rising along the first axis.

    Raises
    ------
    DataError
        If the model has another number of components.
    """
    size = len(estimator.active_components_)
    if size != 2:
        raise DataError(f"decoded_grid draws models with 2 components, but this one has {size}: use plot.traversals")
    estimator, X = numbers(estimator, X)
    levels = np.linspace(0.02, 0.98, n)
    if X is None:
        axes, by = quantiles(estimator, levels), describe_prior(estimator)
    else:
        axes, by = np.quantile(codes_of(estimator, X), levels, axis=0).T, "the codes"
    grid = np.stack(np.meshgrid(*axes), axis=-1).astype(np.float32)
    decoded = np.asarray(estimator.inverse_transform(grid.reshape(-1, 2)), dtype=float)
    style = RowStyle.of(estimator, X, image_shape, feature_names)
    rows = decoded.reshape(n, n, *style.shape)
    caption = "The decoded row of each point on the map"
    drawn: Any
    if style.kind == "picture":
        figure, drawn = _picture_plane(ax, style, rows, axes)
    else:
        figure, drawn, left_out = _feature_planes(ax, style, rows, estimator.table_)
        caption += f", one plane a feature, its high values light{left_out}"
    caption += f". The points are even quantiles of {by}, so that each represents about as many rows."
    return Display(figure, drawn, rows, caption)


@styled
def comparison(comparison: Any, *, ax: Axes | None = None) -> Display:
    """Draw the maps of several methods side by side, the same rows in the same colours.

    Parameters
    ----------
    comparison : latentmap.evaluation.compare.Comparison
        The comparison.
    ax : Axes, optional
        Axes to draw the panels in; by default a new figure.

    Returns
    -------
    Display
        ``ax_`` holds one panel a method, ``data_`` their points, (methods, n, 2).
    """
    maps = {name: _plane(np.asarray(codes, dtype=float), None)[0] for name, codes in comparison.maps.items()}
    labels = read_labels(comparison.labels, len(next(iter(maps.values()))))
    columns = len(maps) if len(maps) <= 3 else -(-len(maps) // -(-len(maps) // 3))
    rows = -(-len(maps) // columns)
    figure, axes = panels(ax, len(maps), (2.75 * columns, 2.95 * rows), columns)
    for panel, (name, points) in zip(axes, maps.items(), strict=True):
        draw_points(panel, points, labels, square=True, scale=0.35)
        panel.set_title(plain(name))
        panel.set(xticks=[], yticks=[])
        panel.set_aspect("equal")
        panel.spines[:].set(visible=True, color=FAINT)
    caption = (
        f"The same {len(points):,} rows mapped by {len(maps)} methods. Compare which rows lie together and which "
        "apart; the axes of different maps have no common scale."
    )
    return Display(figure, axes, np.stack(list(maps.values())), caption)


def _plane(codes: np.ndarray, labels: Labels | None) -> tuple[np.ndarray, str, str]:
    """Return points (n, 2) and the names of their axes."""
    size = codes.shape[1]
    if size == 2:
        return codes, "$z_1$", "$z_2$"
    if size == 1:
        if labels is None:
            return (
                np.column_stack([codes, np.random.default_rng(0).uniform(-1, 1, len(codes))]),
                "$z$",
                "spread at random",
            )
        if labels.values is not None:
            return np.column_stack([codes, labels.values]), "$z$", plain(labels.title or "label")
        jitter = np.random.default_rng(0).uniform(-0.35, 0.35, len(codes))
        return np.column_stack([codes, labels.codes + jitter]), "$z$", plain(labels.title)
    centred = codes - codes.mean(0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2] * np.sign(axes[:2].sum(1, keepdims=True) + 1e-12)  # a sign that does not depend on the solver
    variance = singular**2 / max(float((singular**2).sum()), 1e-300)
    first, second = (
        f"principal axis {i + 1} of {size} components ({variance[i]:.0%} of the codes' variance)" for i in range(2)
    )
    return centred @ axes.T, first, second


def _map_caption(size: int, labels: Labels | None) -> str:
    what = {1: "along the one component", 2: "on the map"}.get(size, f"on the two main axes of the {size} components")
    if labels is None:
        return f"Every point is a row of the data, placed by the encoder {what}: rows that lie together are alike."
    by = labels.title or "label"
    kind = "their colour is the value" if labels.values is not None else "names stand at the middle of their class"
    return f"Every point is a row of the data, placed by the encoder {what} and coloured by {by}; {kind}."


def _picture_plane(ax: Axes | None, style: RowStyle, rows: np.ndarray, axes: np.ndarray) -> tuple[Figure, Axes]:
    n = len(rows)
    figure, ax = one_axes(ax, (6.6, min(6.4 * style.shape[0] / style.shape[1], 9.0)))
    mosaic, (height, width) = style.mosaic(rows[::-1])
    style.show(ax, mosaic)
    ticks = np.linspace(0, n - 1, min(5, n)).round().astype(int)
    ax.set_xticks(ticks * width + width / 2, [number(axes[0][i], 2) for i in ticks])
    ax.set_yticks((n - 1 - ticks) * height + height / 2, [number(axes[1][i], 2) for i in ticks])
    ax.set_xlabel("$z_1$")
    ax.set_ylabel("$z_2$")
    ax.spines[:].set_visible(False)
    return figure, ax


Planes = tuple[Figure, np.ndarray, str]


def _extent(plane: np.ndarray, column: Column | None, width: int) -> str:
    """Return the range of a feature over the map, or its categories from dark to light."""
    if column is None or column.type == "Boolean":
        return f"{number(plane.min())} to {number(plane.max())}"
    ends = np.array([plane.min(), plane.max()])
    if column.kind == "date":
        first, last = (str(date)[:10] for date in column.decode(ends))
        return f"{first} to {last}"
    if column.categories:
        return plain(", ".join(str(name) for name in column.decode(np.unique(np.rint(plane)))), width)
    return f"{number(ends[0])} to {number(ends[1])}"


def _feature_planes(ax: Axes | None, style: RowStyle, rows: np.ndarray, table: Table | None) -> Planes:
    """Draw each feature's decoded value over the map, its range above; return what is left out."""
    n = rows.shape[-1]
    scaled = ((rows - rows.mean((0, 1))) / (style.high - style.low)).reshape(-1, n)
    # Pivoting picks the feature that varies most, then always the one that those before explain least.
    pivots = qr(scaled, mode="r", pivoting=True)[1]
    kept = np.sort(pivots[: n if n <= MOST_PLANES else MOST_PLANES // 2])
    columns = min(len(kept), 4 if len(kept) <= 12 else 5 if len(kept) <= 15 else 6)
    height = 1.25 * -(-len(kept) // columns) * 7.4 / columns
    figure, axes = panels(ax, len(kept), (7.4, height), columns)
    for panel, j in zip(axes, kept, strict=True):
        plane = rows[..., j]
        panel.imshow(plane, origin="lower", cmap="viridis", interpolation="bilinear")
        panel.set(xticks=[], yticks=[])
        panel.set_title(plain(style.names[j], 92 // columns), fontsize=8.5, pad=14)
        extent = _extent(plane, None if table is None else table.columns[j], 132 // columns)
        panel.text(0, 1.03, extent, transform=panel.transAxes, color=MUTED, fontsize=7.5)
        panel.spines[:].set_visible(False)
    corner = axes[(len(kept) - 1) // columns * columns]
    corner.set_xlabel("$z_1$ →", loc="left", labelpad=2)
    corner.set_ylabel("$z_2$ →", loc="bottom", labelpad=2)
    return figure, axes, f" ({len(kept)} of {n} features, the most informative together)" if n > len(kept) else ""
