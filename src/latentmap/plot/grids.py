"""Decoded codes over the plane of a model with two components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.linalg import qr

from latentmap.estimators.columns import numbers
from latentmap.exceptions import DataError
from latentmap.plot.latent import codes_of, describe_prior, occupied, quantiles
from latentmap.plot.rows import RowStyle, extent_of
from latentmap.plot.style import Display, current_theme, draws, number, one_axes, page_width, panels, plain

MOST_PLANES = 24
FADED = 0.22
"""Opacity of decoded points where no rows lie."""


@dataclass(eq=False)
class DecodedGridDisplay(Display):
    """A grid of decoded codes, as `decoded_grid` computes it.

    Parameters
    ----------
    data_ : ndarray of shape (n, n, ...)
        The decoded rows, the second component rising along the first axis.
    caption : str
        What the grid shows and how to read it.
    alt : str
        What is seen on it.
    values : ndarray of shape (2, n)
        Values of the components along the axes.
    occupied : ndarray of shape (n, n), optional
        Whether rows of the data lie there; others are faded.
    style : RowStyle
        How rows are drawn.
    """

    data_: np.ndarray
    caption: str
    alt: str
    values: np.ndarray
    occupied: np.ndarray | None
    style: RowStyle

    def _draw(self, ax: Any, **kwargs: Any) -> tuple[Figure, Any]:
        return (self._pictures if self.style.kind == "picture" else self._planes)(ax, **kwargs)

    @property
    def _opacity(self) -> np.ndarray:
        known = np.ones(self.data_.shape[:2], bool) if self.occupied is None else self.occupied
        return np.where(known, 1.0, FADED)

    def _pictures(self, ax: Any, **kwargs: Any) -> tuple[Figure, Axes]:
        n, style = len(self.data_), self.style
        figure, ax = one_axes(ax, (6.6, min(6.4 * style.shape[0] / style.shape[1], 9.0)))
        mosaic, (height, width) = style.mosaic(self.data_[::-1])
        opacity = self._opacity[::-1].repeat(height, 0).repeat(width, 1)[: mosaic.shape[0], : mosaic.shape[1]]
        style.show(ax, mosaic, opacity, **kwargs)
        ticks = np.linspace(0, n - 1, min(5, n)).round().astype(int)
        ax.set_xticks(ticks * width + width / 2, [number(self.values[0][i], 2) for i in ticks])
        ax.set_yticks((n - 1 - ticks) * height + height / 2, [number(self.values[1][i], 2) for i in ticks])
        ax.set_xlabel("$z_1$")
        ax.set_ylabel("$z_2$")
        ax.spines[:].set_visible(False)
        return figure, ax

    def _planes(self, ax: Any, **kwargs: Any) -> tuple[Figure, np.ndarray]:
        """Draw each feature's decoded value over the map, its range above."""
        kept = planes(self.data_, self.style)
        columns = min(len(kept), 4 if len(kept) <= 12 else 5 if len(kept) <= 15 else 6)
        height = 1.25 * -(-len(kept) // columns) * 7.4 / columns
        figure, axes = panels(ax, len(kept), (7.4, height), columns)
        columns = columns if ax is not None else axes[0].get_subplotspec().get_gridspec().ncols
        room = page_width() / 7.4 / columns
        for panel, j in zip(axes, kept, strict=True):
            plane = self.data_[..., j]
            settings = {"cmap": "viridis", "interpolation": "bilinear"} | kwargs
            panel.imshow(plane, origin="lower", alpha=self._opacity, **settings)
            panel.set(xticks=[], yticks=[])
            panel.set_title(plain(self.style.names[j], int(92 * room)), fontsize=8.5, pad=14)
            extent = plain(extent_of(plane, self.style.column(j)), int(132 * room))
            panel.text(0, 1.03, extent, transform=panel.transAxes, color=current_theme().muted, fontsize=7.5)
            panel.spines[:].set_visible(False)
        corner = axes[(len(axes) - 1) // columns * columns]
        corner.set_xlabel("$z_1$ →", loc="left", labelpad=2)
        corner.set_ylabel("$z_2$ →", loc="bottom", labelpad=2)
        return figure, axes


@draws(DecodedGridDisplay)
def decoded_grid(
    estimator: Any,
    X: Any = None,
    *,
    n: int = 16,
    image_shape: tuple[int, ...] | None = None,
    feature_names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> DecodedGridDisplay:
    r"""Decode a grid over the plane of a model with two components.

    .. math:: x_{ij} = d(q_1(u_i), q_2(u_j)), \quad u \text{ evenly spaced in } (0, 1)

    with :math:`q` the quantiles of the codes of ``X`` or, without ``X``, of the model's prior. Images are drawn as one
    picture, vectors as a plane for each feature. Points are faded where no rows lie: where the density of the codes is
    lower than around 99% of the rows.

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
    DecodedGridDisplay
        ``data_`` holds the decoded rows, (n, n, ...), the second component rising along the first axis; ``occupied``
        whether rows lie there, (n, n), None without ``X``.

    Raises
    ------
    DataError
        If the model has another number of components.

    See Also
    --------
    map_quality : Draw the same density on the map.
    """
    size = len(estimator.active_components_)
    if size != 2:
        raise DataError(f"decoded_grid draws models with 2 components, but this one has {size}: use plot.traversals")
    estimator, X = numbers(estimator, X)
    levels = np.linspace(0.02, 0.98, n)
    if X is None:
        values, by, what = quantiles(estimator, levels), describe_prior(estimator), "of it"
    else:
        values, by, what = np.quantile(codes_of(estimator, X), levels, axis=0).T, "the codes", "rows"
    codes = np.stack(np.meshgrid(*values), axis=-1).astype(np.float32)
    decoded = np.asarray(estimator.inverse_transform(codes.reshape(-1, 2)), dtype=float)
    style = RowStyle.of(estimator, X, image_shape, feature_names)
    rows = decoded.reshape(n, n, *style.shape)
    caption = "The decoded row of each point on the map"
    if style.kind != "picture":
        kept, of = len(planes(rows, style)), style.shape[0]
        left_out = f" ({kept} of {of} features, the most informative together)" if of > kept else ""
        caption += f", one plane a feature, its high values light{left_out}"
    caption += (
        f". The points are even quantiles of {by}, so that each line and each column stands for as "
        f"{'much' if X is None else 'many'} {what}."
    )
    lie = None if X is None else occupied(estimator, X, codes.reshape(-1, 2)).reshape(n, n)
    if lie is not None and not lie.all():
        caption += (
            f" Faded are the {_share(lie)} of the points where no rows lie, the density of the codes being lower "
            "than around 99% of the rows: what is decoded there is extrapolated."
        )
    return DecodedGridDisplay(rows, caption, _alt(rows, style, lie), values, lie, style).plot(ax=ax)


def planes(rows: np.ndarray, style: RowStyle) -> np.ndarray:
    """Return the features that are drawn: all, or those that are most informative together."""
    n = rows.shape[-1]
    scaled = ((rows - rows.mean((0, 1))) / (style.high - style.low)).reshape(-1, n)
    # Pivoting picks the feature that varies most, then always the one that those before explain least.
    pivots = qr(scaled, mode="r", pivoting=True)[1]
    return np.sort(pivots[: n if n <= MOST_PLANES else MOST_PLANES // 2])


def _share(lie: np.ndarray) -> str:
    """Return the share of the points that are faded."""
    faded = float(np.mean(~lie))
    return "less than 1%" if faded < 0.005 else f"{faded:.0%}"


def _alt(rows: np.ndarray, style: RowStyle, lie: np.ndarray | None) -> str:
    n = len(rows)
    faded = "" if lie is None or lie.all() else f", {_share(lie)} of them faded"
    if style.kind == "picture":
        seen = rows.reshape(n, n, -1)
        steps = [np.abs(np.diff(seen, axis=axis)).mean() for axis in (1, 0)]
        ratio = max(steps) / max(min(steps), 1e-12)
        course = "which change as much from left to right as upwards"
        if ratio > 1.2:
            more, less = ("from left to right", "upwards") if steps[0] > steps[1] else ("upwards", "from left to right")
            course = f"which change {number(ratio, 2)} times as much with a step {more} as with one {less}"
        return f"A grid of {n} by {n} decoded images{faded}, {course}."
    spans = np.ptp(rows, axis=(0, 1)) / (style.high - style.low)
    most, least = int(spans.argmax()), int(spans.argmin())
    ends = extent_of(rows[..., most], style.column(most))
    text = f"Planes of {len(planes(rows, style))} features at {n} by {n} points{faded}"
    if len(spans) == 1:
        return f"{text}: {style.names[0]} runs from {ends}."
    return f"{text}; {style.names[most]} varies most over the map ({ends}), {style.names[least]} least."
