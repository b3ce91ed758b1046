"""The latent space as a plane or in three dimensions: the map of the codes, and maps of several methods."""

from __future__ import annotations

import io
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from latentmap.estimators.columns import numbers
from latentmap.evaluation.rows import take
from latentmap.exceptions import DataError
from latentmap.plot.islands import Islands, counted, describe_islands, listed
from latentmap.plot.labels import Labels, read_column, read_labels, read_values
from latentmap.plot.latent import codes_of, has_standard_prior
from latentmap.plot.points import Frame, draw_points
from latentmap.plot.rows import RowStyle, dense
from latentmap.plot.style import Display, current_theme, draws, number, one_axes, page_width, panels, plain
from latentmap.plot.thumbnails import Thumbnails, apart, side_of

MOST_IMAGES = 200
"""Images on a map, at the most."""
TURN = 45
"""Pictures of one turn of a map in three dimensions."""
MOST_DPI = 80
"""Their resolution at the most: a turn fills a megabyte or two."""


@dataclass(eq=False)
class MapDisplay(Display):
    """The map of a model, as `map` computes it.

    Parameters
    ----------
    data_ : ndarray of shape (n, 2) or (n, 3)
        The points as drawn.
    caption : str
        What the map shows and how to read it.
    alt : str
        What is seen on it.
    axes : tuple of str
        Names of the axes.
    labels : Labels, optional
        What points are coloured by.
    circles : tuple of float, default=()
        Radii of circles around the origin.
    scaled : bool, default=True
        Whether the axes have one scale.
    thumbnails : Thumbnails, optional
        Rows that are drawn as images.
    """

    data_: np.ndarray
    caption: str
    alt: str
    axes: tuple[str, ...]
    labels: Labels | None = None
    circles: tuple[float, ...] = ()
    scaled: bool = True
    thumbnails: Thumbnails | None = None

    def _draw(self, ax: Any, **kwargs: Any) -> tuple[Figure, Any]:
        solid = self.data_.shape[1] == 3
        if solid and ax is not None and ax.name != "3d":
            raise DataError("this map has three axes: pass ax of a subplot with projection='3d', or none")
        size = (7.2, 6.4 if self.scaled else 4.2)
        figure, ax = one_axes(ax, size, projection="3d") if solid else one_axes(ax, size)
        pictures = self.thumbnails
        draw_points(
            ax, self.data_, self.labels, names=pictures is None, scale=1.0 if pictures is None else 0.4, **kwargs
        )
        for axis, name in zip("xyz", self.axes, strict=False):
            ax.set(**{f"{axis}label": name if page_width() > 5 else textwrap.fill(name, 34)})
        if self.scaled:
            ax.set_aspect("equal")
        else:
            ax.set_yticks([])
        if solid:
            _lighten(ax)
        for radius in self.circles:
            ax.add_patch(Circle((0, 0), radius, fill=False, edgecolor="#8794a1", linewidth=0.7, linestyle=(0, (4, 3))))
        if pictures is not None:
            pictures.draw(ax, self.data_, self.labels)
        return figure, ax

    def _write(self, target: Path | io.BytesIO, kind: str, dpi: int) -> None:
        if kind != "gif" or isinstance(target, io.BytesIO):
            super()._write(target, kind, dpi)
        elif self.data_.shape[1] != 3:
            raise DataError(
                "a gif is written of a map that turns, in three dimensions: this one has two, save it as png"
            )
        else:
            self._turn(target, min(dpi, MOST_DPI))

    def _turn(self, target: Path, dpi: int) -> None:
        """Write one turn of a map in three dimensions."""
        from matplotlib.animation import FuncAnimation, PillowWriter

        self.figure_.draw_without_rendering()
        self.figure_.set_layout_engine("none")  # which would move the axes in each picture
        start = self.ax_.azim

        def turn(i: int) -> list[Any]:
            self.ax_.view_init(elev=self.ax_.elev, azim=start + 360 * i / TURN)
            return []

        animation = FuncAnimation(self.figure_, turn, TURN, init_func=list)
        animation.save(target, writer=PillowWriter(fps=15), dpi=dpi)
        turn(0)


@draws(MapDisplay)
def map(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    color: Any = None,
    thumbnails: int | bool = False,
    image_shape: tuple[int, ...] | None = None,
    ax: Axes | None = None,
) -> MapDisplay:
    """Draw the latent codes of the rows of ``X``, coloured by label or by a column of the data.

    Two components are drawn as they are, three in three dimensions; of more, the first two principal axes of the codes;
    one is drawn along x. Circles mark one and two standard deviations of a standard normal prior, or the sphere or the
    rim of the ball that codes lie on or in. Each class is named at its islands, the regions where it lies denser than
    if it were spread evenly over the map.

    Parameters
    ----------
    estimator : VAE or Autoencoder
        A fitted model.
    X : array-like
        Rows, as passed to ``fit``.
    y : array-like of shape (n,), optional
        One label a row: classes (text, booleans, up to 20 whole numbers), numbers or dates. Missing labels are grey.
    color : str, int or array-like of shape (n,), optional
        Name or index of the column of ``X`` to colour by, instead of ``y``, or one value a row: numbers, categories or
        dates. The column need not be one of the fit.
    thumbnails : int or bool, default=False
        Number of rows, at most, to draw as images, none on another; True draws as many as fit, up to 200.
    image_shape : tuple of int, optional
        Shape (h, w) or (h, w, c) of rows that are flattened images, for ``thumbnails``.
    ax : Axes, optional
        Axes to draw on, of ``projection="3d"`` for three dimensions; by default a new figure.

    Returns
    -------
    MapDisplay
        ``data_`` holds the points as drawn, (n, 2) or (n, 3). Saved as a gif, at 80 dots per inch at the
        most, a map in three dimensions turns.

    Raises
    ------
    DataError
        If ``y`` is not one label a row, ``color`` is neither a column of ``X`` nor one value a row, or rows are no
        images for ``thumbnails``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from latentmap import VAE, plot
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> vae = VAE(2, random_state=0).fit(X)
    >>> plot.map(vae, X, y).data_.shape
    (150, 2)
    >>> plot.map(vae, X, color="petal length (cm)").alt
    'A map of 150 points, coloured by petal length (cm) from 1 to 6.9...'
    """
    if y is not None and color is not None:
        raise DataError("map colours by y or by color, a column of X or one value a row: pass one of them")
    codes = codes_of(estimator, X)
    names = getattr(estimator, "feature_names_in_", None)
    if color is None or isinstance(color, str | int):
        labels = read_labels(y, len(codes)) if color is None else read_column(X, color, names)
    else:
        labels = read_values(color, len(codes))
    size = codes.shape[1]
    solid = size == 3 and (ax is None or getattr(ax, "name", "") == "3d")
    points, axes = (codes, ("$z_1$", "$z_2$", "$z_3$")) if solid else _plane(codes, labels)
    radii: tuple[float, ...] = (1,)
    if estimator.manifold_ == "flat":
        radii = (1, 2) if has_standard_prior(estimator) else ()
    note = Frame.of(points).note
    if size == 2 and radii:
        note += {
            "sphere": " Codes lie on the circle.",
            "ball": " The circle is the rim of the ball, infinitely far from its middle.",
        }.get(estimator.manifold_, " The circles are one and two standard deviations of the prior.")
    images = _thumbnails(estimator, X, points, thumbnails, image_shape) if thumbnails else None
    return MapDisplay(
        points,
        _map_caption(size, solid, labels, images is not None) + note,
        _map_alt(points[:, :1] if size == 1 else points, labels),
        axes,
        labels,
        radii if size == 2 else (),
        size > 1,
        images,
    ).plot(ax=ax)


@dataclass(eq=False)
class ComparisonDisplay(Display):
    """The maps of several methods, as `comparison` computes them.

    Parameters
    ----------
    data_ : ndarray of shape (methods, n, 2)
        Their points.
    caption : str
        What the maps show and how to read them.
    alt : str
        What is seen on them.
    methods : tuple of str
        Names of the methods.
    labels : Labels, optional
        What points are coloured by.
    """

    data_: np.ndarray
    caption: str
    alt: str
    methods: tuple[str, ...]
    labels: Labels | None = None

    def _draw(self, ax: Any, **kwargs: Any) -> tuple[Figure, Any]:
        n = len(self.methods)
        columns = n if n <= 3 else -(-n // -(-n // 3))
        rows = -(-n // columns)
        figure, axes = panels(ax, n, (2.75 * columns, 2.95 * rows), columns, narrow=2)
        for panel, name, points in zip(axes, self.methods, self.data_, strict=True):
            draw_points(panel, points, self.labels, square=True, scale=0.35, **kwargs)
            panel.set_title(plain(name))
            panel.set(xticks=[], yticks=[])
            panel.set_aspect("equal")
            panel.spines[:].set(visible=True, color=current_theme().faint)
        return figure, axes


@draws(ComparisonDisplay, "from_comparison")
def comparison(comparison: Any, *, ax: Axes | None = None) -> ComparisonDisplay:
    """Draw the maps of several methods side by side, the same rows in the same colours.

    Parameters
    ----------
    comparison : latentmap.evaluation.compare.Comparison
        The comparison.
    ax : Axes, optional
        Axes to draw the panels in; by default a new figure.

    Returns
    -------
    ComparisonDisplay
        ``ax_`` holds one panel a method, ``data_`` their points, (methods, n, 2).
    """
    maps = {name: _plane(np.asarray(codes, dtype=float), None)[0] for name, codes in comparison.maps.items()}
    points = np.stack(list(maps.values()))
    labels = read_labels(comparison.labels, points.shape[1])
    caption = (
        f"The same {points.shape[1]:,} rows mapped by {len(maps)} methods. Compare which rows lie together and which "
        "apart; the axes of different maps have no common scale."
    )
    return ComparisonDisplay(points, caption, _comparison_alt(maps, labels), tuple(maps), labels).plot(ax=ax)


def _plane(codes: np.ndarray, labels: Labels | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return points (n, 2) and the names of their axes."""
    size = codes.shape[1]
    if size == 2:
        return codes, ("$z_1$", "$z_2$")
    if size == 1:
        heights, name = np.random.default_rng(0).uniform(-1, 1, len(codes)), "spread at random"
        if labels is not None and labels.values is not None:
            heights, name = labels.values, plain(labels.title or "label")
        elif labels is not None:
            heights, name = labels.codes + 0.35 * heights, plain(labels.title)
        return np.column_stack([codes, heights]), ("$z$", name)
    centred = codes - codes.mean(0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2] * np.sign(axes[:2].sum(1, keepdims=True) + 1e-12)  # a sign that does not depend on the solver
    variance = singular**2 / max(float((singular**2).sum()), 1e-300)
    names = (
        f"principal axis {i + 1} of {size} components ({variance[i]:.0%} of the codes' variance)" for i in range(2)
    )
    return centred @ axes.T, tuple(names)


def _lighten(ax: Any) -> None:
    """Draw the walls of axes in three dimensions as lightly as a page."""
    colours = current_theme()
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.pane.set(facecolor=colours.paper, edgecolor=colours.faint)
        axis._axinfo["grid"].update(color=colours.faint, linewidth=0.5)
        axis.line.set_color(colours.line)


def _thumbnails(
    estimator: Any, X: Any, points: np.ndarray, most: int | bool, image_shape: tuple[int, ...] | None
) -> Thumbnails:
    """Choose the rows to draw as images."""
    estimator, X = numbers(estimator, X)
    style = RowStyle.of(estimator, X, image_shape)
    if style.kind != "picture":
        raise DataError("thumbnails draw rows that are images: pass image_shape=(h, w) where they are flattened images")
    if points.shape[1] != 2:
        raise DataError("thumbnails are drawn on a plane: pass ax of two dimensions for a model with 3 components")
    most = MOST_IMAGES if most is True else int(most)
    frame = Frame.of(points)
    inside = np.flatnonzero(((points >= frame.low) & (points <= frame.high)).all(1))
    chosen = inside[apart(points[inside], side_of(frame.high - frame.low), most)]
    return Thumbnails(chosen, dense(take(X, chosen)).reshape(-1, *style.shape), style, most)


def _map_caption(size: int, solid: bool, labels: Labels | None, images: bool) -> str:
    what = {1: "along the one component", 2: "on the map"}.get(size, f"on the two main axes of the {size} components")
    what = "in the space of its three components" if solid else what
    text = f"Every point is a row of the data, placed by the encoder {what}"
    if labels is None:
        text += ": rows that lie together are alike."
    else:
        kind = "names stand at each island of their class"
        if labels.values is not None or images:
            kind = f"their colour is the {'class' if labels.values is None else 'value'}"
        text += f" and coloured by {labels.title or 'label'}; {kind}."
    return text + (" Some rows are drawn as images, chosen so that none lies on another." if images else "")


def _map_alt(points: np.ndarray, labels: Labels | None) -> str:
    frame = Frame.of(points)
    what = f"A map of {counted(len(points), 'point')}{' in three dimensions' if points.shape[1] == 3 else ''}"
    if labels is not None and labels.values is not None:
        return what + _trend(points, labels) + "."
    if labels is None:
        labels = Labels("", ("all",), np.zeros(len(points), int))
        n = len(Islands(points, labels.codes, frame.low, frame.high).places)
        return f"{what} in {'one cloud' if n == 1 else f'{n} large islands'}."
    islands = Islands(points, labels.codes, frame.low, frame.high)
    return f"{what}: {describe_islands(islands, labels.names)}." if len(islands.classes) else f"{what} without labels."


def _trend(points: np.ndarray, labels: Labels) -> str:
    """Return the range of labels that are numbers, and the axis along which they rise or fall."""
    from scipy.stats import rankdata

    values = labels.values
    assert values is not None
    known = np.isfinite(values)
    if not known.any():
        return ""
    ends = [number(v) for v in (values[known].min(), values[known].max())]
    if labels.dates:
        ends = [str(np.datetime64(int(v), "D")) for v in (values[known].min(), values[known].max())]
    text = f", coloured by {labels.title or 'label'} from {ends[0]} to {ends[1]}"
    ranks = [rankdata(column) for column in (values[known], *points[known].T)]
    if min(np.ptp(rank) for rank in ranks) == 0:
        return text
    along = np.corrcoef(ranks)[0, 1:]
    best = int(np.abs(along).argmax())
    course = "rises" if along[best] > 0 else "falls"
    if abs(along[best]) < 0.4:
        return f"{text}, without a trend along an axis"
    axis = ("horizontal", "vertical", "third")[best]
    return f"{text}, which {course} along the {axis} axis (rank correlation {number(along[best], 2)})"


def _comparison_alt(maps: dict[str, np.ndarray], labels: Labels | None) -> str:
    text = f"{counted(len(maps), 'map')} side by side: {listed(list(maps))}"
    if labels is None or labels.values is not None or (labels.codes >= 0).sum() == 0:
        return text + "."
    counts = []
    for name, points in maps.items():
        frame = Frame.of(points, 1.0)
        overlaps = Islands(points, labels.codes, frame.low, frame.high).overlaps
        counts.append(f"{int((np.tril(overlaps, -1) > 0.2).sum())} in {name}")
    k = len(overlaps)
    return f"{text}; of {counted(k * (k - 1) // 2, 'pair')} of classes overlap by more than a fifth: {listed(counts)}."
