"""Drawing of rows of any data: images as a mosaic, named features as profiles, long vectors as strips of a heat map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.transforms import ScaledTranslation

from latentmap.data.columns import Column
from latentmap.evaluation.rows import take
from latentmap.exceptions import DataError
from latentmap.plot.style import PATH, current_theme, number, page_width, plain, root

MOST_NAMED = 40
MANY = 15  # rows in one band of profiles, from which on they are drawn as thin lines
TILE = 96  # pixels of one image at most
Kind = Literal["picture", "profile", "strip"]


@dataclass(frozen=True, eq=False)
class RowStyle:
    """Style in which rows of the data are drawn, the same in every figure of a model.

    Attributes
    ----------
    kind : {"picture", "profile", "strip"}
        Pictures for images, profiles for up to 40 features, strips beyond.
    shape : tuple of int
        Shape of one row as drawn: (h, w), (h, w, c) or (features,).
    low, high : ndarray
        Range of values: one number for images, one for each feature otherwise.
    paper : bool
        Whether grey images are mostly empty and so drawn as black on white.
    names : tuple of str
        Feature names; empty for images.
    columns : tuple of Column, optional
        Columns of the table that rows are of.
    """

    kind: Kind
    shape: tuple[int, ...]
    low: np.ndarray
    high: np.ndarray
    paper: bool
    names: tuple[str, ...]
    columns: tuple[Column, ...] | None = None

    @classmethod
    def of(
        cls,
        estimator: Any,
        X: Any = None,
        image_shape: tuple[int, ...] | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> RowStyle:
        """Return the style for the shape of a row; ranges are those of ``X``, without it of samples of the model.

        Raises
        ------
        DataError
            If ``image_shape`` or ``feature_names`` do not fit the rows.
        """
        event = tuple(estimator.event_shape_)
        shape = tuple(image_shape or event)
        if np.prod(shape) != np.prod(event):
            raise DataError(f"image_shape {shape} has {np.prod(shape)} values, but a row of this model has {event}")
        rows = estimator.sample(256, random_state=0) if X is None else take(X, spread(X.shape[0], 2000))
        values = dense(rows).reshape(-1, *shape)
        if len(shape) == 2 or (len(shape) == 3 and shape[-1] in (1, 3, 4)):
            shape = shape[:2] if shape[-1] == 1 and len(shape) == 3 else shape
            low, high = _image_range(values)
            empty = float(np.mean(values < low + 0.1 * (high - low))) if len(shape) == 2 else 0.0
            return cls("picture", shape, np.asarray(low), np.asarray(high), empty > 0.4, ())
        n = int(np.prod(shape))
        names = _names(estimator, n, feature_names)
        low, high = np.nanpercentile(values.reshape(-1, n), [1, 99], axis=0)
        high = np.where(high > low, high, low + 1)
        return cls("profile" if n <= MOST_NAMED else "strip", (n,), low, high, False, names, _columns(estimator, n))

    def column(self, i: int) -> Column | None:
        """Return the column of the table that feature ``i`` is."""
        return None if self.columns is None else self.columns[i]

    @property
    def unit(self) -> str:
        """What the values of a picture mean, for a caption."""
        text = f"{self.shape[0]} by {self.shape[1]} pixels"
        if len(self.shape) == 3:
            return text
        ends = ("blank", "ink") if self.paper else ("black", "white")
        return f"{text} from {number(float(self.low))}, {ends[0]}, to {number(float(self.high))}, {ends[1]}"

    def size(self, n_groups: int, n_rows: int, width: float | None = None) -> tuple[float, float]:
        """Return a figure size in inches that suits ``draw``."""
        width = width or page_width()
        if self.kind == "picture":
            tile = min((width - 0.8) / n_rows, 1.1)
            return tile * n_rows + 0.8, tile * n_groups * self.shape[0] / self.shape[1] + 0.5
        if self.kind == "profile":
            return width, min((0.85 if n_rows <= MANY else 1.4) * n_groups + 1.2, 11.0)
        return width, min(0.16 * n_groups * n_rows + 0.12 * n_groups + 1.0, 11.0)

    def draw(
        self,
        ax: Axes,
        groups: np.ndarray,
        group_labels: Sequence[str] = (),
        row_labels: Sequence[str] = (),
        colours: Any = None,
        across: str = "",
        down: str = "",
    ) -> None:
        """Draw rows (groups, rows, *event): a line of pictures, a band of profiles or a block of strips a group.

        What is ``across`` and ``down`` names the axes of pictures; across vectors are their features, and the rows of
        a band have a legend of that title.
        """
        groups = np.asarray(groups, dtype=float).reshape(*groups.shape[:2], *self.shape)
        draw = {"picture": self._pictures, "profile": self._profiles, "strip": self._strips}[self.kind]
        draw(ax, groups, group_labels, row_labels, colours, across)
        ax.tick_params(length=0)
        ax.set_ylabel(down)
        if self.kind == "picture":
            ax.set_xlabel(across)
            ax.xaxis.set_label_position("top" if row_labels else "bottom")
        for spine in ax.spines.values():
            spine.set_visible(False)

    def _pictures(
        self, ax: Axes, groups: np.ndarray, group_labels: Sequence[str], row_labels: Sequence[str], *_: Any
    ) -> None:
        mosaic, (height, width) = self.mosaic(groups)
        self.show(ax, mosaic)
        ax.set_yticks(np.arange(len(group_labels)) * height + height / 2, group_labels)
        ax.set_xticks(np.arange(len(row_labels)) * width + width / 2, row_labels)
        ax.xaxis.tick_top()

    def tiles(self, rows: np.ndarray, columns: int) -> np.ndarray:
        """Arrange rows (n, *event) as (lines, columns, *event), blank after the last."""
        tiles = np.full((-(-len(rows) // columns) * columns, *self.shape), np.nan)
        tiles[: len(rows)] = rows
        return tiles.reshape(-1, columns, *self.shape)

    def mosaic(self, groups: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        """Return images (rows, columns, h, w[, c]) as one, values 0 to 1, NaN between, and the size of a tile."""
        scaled = np.clip((groups - self.low) / max(float(self.high - self.low), 1e-12), 0, 1)
        scaled = _resized(scaled.astype(np.float32))
        gap = max(2, round(0.07 * max(scaled.shape[2:4])))
        pad = [(0, 0), (0, 0), (0, gap), (0, gap), *[(0, 0)] * (scaled.ndim - 4)]
        tiles = np.pad(scaled, pad, constant_values=np.nan)
        n_down, n_across, height, width = tiles.shape[:4]
        mosaic = np.moveaxis(tiles, 2, 1).reshape(n_down * height, n_across * width, *tiles.shape[4:])
        return mosaic[: -gap or None, : -gap or None], (height, width)

    def show(self, ax: Axes, mosaic: np.ndarray, opacity: Any = 1.0, **kwargs: Any) -> None:
        """Show a mosaic on axes, grey or in colour, blank where it is NaN."""
        opaque = np.where(np.isnan(mosaic if mosaic.ndim == 2 else mosaic[..., 0]), 0.0, opacity)
        if mosaic.ndim == 3:
            mosaic = np.nan_to_num(mosaic, nan=1.0)
            alpha = mosaic[..., 3] if mosaic.shape[-1] == 4 else 1.0
            ax.imshow(np.dstack([mosaic[..., :3], opaque * alpha]), interpolation="antialiased", **kwargs)
            return
        theme = current_theme()
        ink = LinearSegmentedColormap.from_list("ink", [theme.paper, "black" if theme.paper == "white" else theme.ink])
        settings = {
            "cmap": ink if self.paper else "gray",
            "vmin": 0,
            "vmax": 1,
            "interpolation": "antialiased",
        } | kwargs
        ax.imshow(np.nan_to_num(mosaic), alpha=opaque, **settings)

    def _profiles(
        self,
        ax: Axes,
        groups: np.ndarray,
        group_labels: Sequence[str],
        row_labels: Sequence[str],
        colours: Any,
        across: str,
    ) -> None:
        n_groups, n_rows, n = groups.shape
        scaled = (groups - self.low) / (self.high - self.low)
        height = np.clip(scaled, -0.15, 1.15) * 0.8 + 0.1  # each group has a band of height one, the first on top
        level = height + (n_groups - 1 - np.arange(n_groups))[:, None, None]
        path = [to_hex(PATH(t)) for t in np.linspace(0, 1, n_rows)]
        colours = np.broadcast_to(np.asarray(path if colours is None else colours), (n_groups, n_rows))
        faint = current_theme().faint
        ax.vlines(np.arange(n), -0.02, n_groups, color=faint, linewidth=0.6, zorder=0)
        if n_groups > 1:
            ax.hlines(np.arange(1, n_groups), -0.4, n - 0.6, color=faint, linewidth=0.6, zorder=0)
        many = n_rows > MANY
        weight = {"linewidths": 0.7, "alpha": 0.5} if many else {"linewidths": 1.5, "alpha": 0.95}
        for row in range(n_rows):
            x = np.broadcast_to(np.arange(n), (n_groups, n))
            lines = LineCollection(list(np.stack([x, level[:, row]], axis=-1)), colors=list(colours[:, row]), **weight)
            if row_labels:
                lines.set_label(row_labels[row])
            ax.add_collection(lines)
            if n <= 20 and not many:
                ax.scatter(x, level[:, row], s=9, color=np.repeat(colours[:, row], n), linewidths=0, zorder=3)
        ax.set_xlim(-0.5, n - 0.5)
        ax.set_ylim(-0.05, n_groups + 0.05)
        ax.set_yticks(np.arange(n_groups)[::-1][: len(group_labels)] + 0.5, group_labels)
        above = self._name_features(ax)
        if row_labels:
            lifted = ax.transAxes + ScaledTranslation(0, above / 72, root(ax).dpi_scale_trans)
            place: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "bbox_transform": lifted}
            ax.legend(ncols=len(row_labels), columnspacing=1.0, borderaxespad=0.1, title=across or None, **place)

    def _name_features(self, ax: Axes) -> float:
        """Write the features' names below and the ends of their ranges; return the height of the upper ends, points."""
        n, room = len(self.names), 72 * (page_width() - 1.2) / len(self.names)  # points across a feature
        theme = current_theme()
        ends = [extent_of(np.array([self.low[i], self.high[i]]), self.column(i), ends=True) for i in range(n)]
        widest = 4.2 * max(len(end) for pair in ends for end in pair)
        upright = widest > 0.95 * room
        tall = min(widest, 42) + 2 if upright else 9
        style: dict[str, Any] = {"fontsize": 6.5, "color": theme.muted, "ha": "center", "textcoords": "offset points"}
        style |= {"rotation": 90 if upright else 0, "annotation_clip": False}
        for i, (low, high) in enumerate(ends):
            ax.annotate(plain(low, 10), (i, ax.get_ylim()[0]), (0, -1), va="top", **style)
            ax.annotate(plain(high, 10), (i, ax.get_ylim()[1]), (0, 1), va="bottom", **style)
        slanted = max(len(name) for name in self.names) * 5.2 > room
        ax.set_xticks(np.arange(n), [plain(name, 24) for name in self.names])
        ax.tick_params(axis="x", pad=tall + 3)
        for label in ax.get_xticklabels():
            label.set(rotation=40 if slanted else 0, ha="right" if slanted else "center", color=theme.ink)
            label.set_rotation_mode("anchor")
        return tall + 2

    def _strips(
        self, ax: Axes, groups: np.ndarray, group_labels: Sequence[str], row_labels: Sequence[str], *_: Any
    ) -> None:
        scaled = np.clip((groups - self.low) / (self.high - self.low), 0, 1)
        n_groups, n_rows, n = scaled.shape
        padded = np.full((n_groups, n_rows + 1, n), np.nan)
        padded[:, :-1] = scaled
        drawn = ax.imshow(padded.reshape(-1, n)[:-1], vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        ax.set_yticks(np.arange(len(group_labels)) * (n_rows + 1) + (n_rows - 1) / 2, group_labels)
        ticks = np.unique(np.linspace(0, n - 1, 5).round().astype(int))
        ax.set_xticks(ticks, [plain(self.names[i], 16) for i in ticks])
        ax.set_xlabel(f"{n} features")
        bar = root(ax).colorbar(drawn, ax=ax, shrink=0.7, aspect=28, pad=0.02, ticks=[0, 1])
        bar.ax.set_yticklabels(["low", "high"])
        bar.set_label("value in the feature's range")
        bar.outline.set_visible(False)


def extent_of(values: np.ndarray, column: Column | None, *, ends: bool = False) -> Any:
    """Return the range of a feature as text, its categories in order if it has any; or the two ``ends`` of it.

    >>> extent_of(np.array([0.5, 12.0]), None)
    '0.5 to 12'
    """
    span = np.array([np.nanmin(values), np.nanmax(values)])
    low, high = (number(value) for value in span)
    if column is not None and column.type != "Boolean":
        if column.kind == "date":
            low, high = (str(date)[:10] for date in column.decode(span))
        elif column.categories:
            names = [str(name) for name in column.decode(np.unique(np.rint(values)))]
            if not ends:
                return ", ".join(names)
            low, high = names[0], names[-1]
    return (low, high) if ends else f"{low} to {high}"


def dense(rows: Any) -> np.ndarray:
    """Return sparse or dense rows as an array of floats."""
    return np.asarray(rows.toarray() if hasattr(rows, "toarray") else rows, dtype=float)


def spread(n: int, most: int) -> np.ndarray:
    """Return up to ``most`` row indices, evenly spaced over ``n`` rows."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))


def _columns(estimator: Any, n: int) -> tuple[Column, ...] | None:
    """Return the columns of the table that a model was fitted to."""
    table = getattr(estimator, "table_", None)
    return tuple(table.columns) if table is not None and len(table.columns) == n else None


def _names(estimator: Any, n: int, feature_names: Sequence[str] | None) -> tuple[str, ...]:
    names = feature_names if feature_names is not None else getattr(estimator, "feature_names_in_", None)
    if names is None:
        return tuple(f"x{i}" for i in range(n))
    if len(names) != n:
        raise DataError(f"feature_names has {len(names)} names, but a row has {n} features")
    return tuple(str(name) for name in names)


def _image_range(values: np.ndarray) -> tuple[float, float]:
    """Return the values of black and white: 0 and 1 if the data lies about there, otherwise nearly its range."""
    low, high = (float(v) for v in np.nanpercentile(values, [0.5, 99.5]))
    if -0.3 <= low and high <= 1.3 and high - low > 0.2:
        return 0.0, 1.0
    return (0.0 if 0 <= low < 0.2 * high else low), max(high, low + 1e-12)


def _resized(images: np.ndarray) -> np.ndarray:
    """Repeat the pixels of small images, average those of large ones, so that tiles are drawn sharply."""
    height, width = images.shape[2:4]
    if max(height, width) > 2 * TILE:
        factor = max(height, width) // TILE
        cut = images[:, :, : height // factor * factor or height, : width // factor * factor or width]
        down, across = min(factor, height), min(factor, width)
        blocks = cut.reshape(
            *images.shape[:2], cut.shape[2] // down, down, cut.shape[3] // across, across, *images.shape[4:]
        )
        return np.asarray(blocks.mean((3, 5)))
    factor = max(1, TILE // 2 // max(height, width))
    return np.asarray(images.repeat(factor, axis=2).repeat(factor, axis=3))
