"""Points on a map, coloured by label, as all maps draw them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import matplotlib.patheffects as effects
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from latentmap.plot.islands import Islands
from latentmap.plot.labels import Labels
from latentmap.plot.style import BLUE, current_theme, page_width, plain, root

MOST_POINTS = 200_000


@dataclass(frozen=True, eq=False)
class Frame:
    """Limits of a map: outliers far outside do not shrink it, they are left out.

    Attributes
    ----------
    low, high : ndarray of shape (d,)
        The limits.
    outside : int
        Number of points that are left out.
    n : int
        Number of points.
    """

    low: np.ndarray
    high: np.ndarray
    outside: int
    n: int

    @classmethod
    def of(cls, points: np.ndarray, least: float = 0.6) -> Frame:
        """Return the frame of points (n, d), no side below ``least`` of the longest."""
        low, high = points.min(0), points.max(0)
        inner_low, inner_high = np.percentile(points, [0.5, 99.5], axis=0)
        margin = 0.5 * (inner_high - inner_low)
        if ((high - low) > 3 * (inner_high - inner_low)).any() and len(points) > 50:
            low, high = np.maximum(low, inner_low - margin), np.minimum(high, inner_high + margin)
        outside = int(((points < low) | (points > high)).any(1).sum())
        extent = float((high - low).max())
        if extent < 1e-6 * float(np.abs(points).max()) or extent == 0:  # a single point
            extent = 1.0
        side = np.maximum(high - low, least * extent) * 1.08
        middle = (high + low) / 2
        return cls(middle - side / 2, middle + side / 2, outside, len(points))

    @property
    def note(self) -> str:
        """What a caption says of points that are not drawn."""
        many = self.outside > 1
        note = f" {self.outside:,} stray point{'s lie' if many else ' lies'} outside the frame." if self.outside else ""
        if self.n > MOST_POINTS:
            note += f" {MOST_POINTS:,} of {self.n:,} rows are drawn, chosen at random."
        return note

    def apply(self, ax: Any) -> None:
        """Set the limits of axes."""
        for name, low, high in zip("xyz", self.low, self.high, strict=False):
            ax.set(**{f"{name}lim": (low, high)})


def draw_points(
    ax: Axes,
    points: np.ndarray,
    labels: Labels | None,
    *,
    square: bool = False,
    scale: float = 1.0,
    limits: tuple[float, float] | None = None,
    names: bool = True,
    islands: Islands | None = None,
    **kwargs: Any,
) -> Colorbar | None:
    """Scatter ``points`` (n, 2) or (n, 3) on ``ax``, labelled; return the colour bar of labels that are numbers.

    Points are smaller and more translucent the more there are, rasterised, and in random order, so that no class covers
    the others. A ``square`` panel, one of several, has no colour bar of its own.
    """
    order = np.random.default_rng(0).permutation(len(points))[:MOST_POINTS]
    shown = points[order]
    size = scale * float(np.clip(16000 / max(len(shown), 1), 1.5, 28.0)) * min(1.0, page_width() / 6)
    alpha = float(np.clip(30 / np.sqrt(max(len(shown), 1)), 0.12, 0.85))
    style: dict[str, Any] = {"s": size, "alpha": alpha, "linewidths": 0, "rasterized": True}
    frame = Frame.of(points, 1.0 if square else 0.6)
    bar = None
    if labels is None:
        ax.scatter(*shown.T, **style | {"c": BLUE} | kwargs)
    elif labels.values is not None:
        low, high = limits or _range(labels.values)
        colours = {"c": labels.values[order], "vmin": low, "vmax": high, "cmap": mpl.rcParams["image.cmap"]}
        drawn = ax.scatter(*shown.T, **style | colours | kwargs)
        bar = None if square else _colour_bar(ax, drawn, labels)
    else:
        ax.scatter(*shown.T, **style | {"c": labels.row_colours()[order]} | kwargs)
    frame.apply(ax)
    if labels is not None and labels.values is None:
        if labels.n_other or not names:
            _legend(ax, labels)
        else:
            islands = islands or Islands(points, labels.codes, frame.low, frame.high)
            _name_islands(ax, islands, labels, 9.0 if square else 12.0)
    return bar


def _range(values: np.ndarray) -> tuple[float, float]:
    """Return the range of colours, nearly that of the values."""
    low, high = np.nanpercentile(values, [1, 99]) if np.isfinite(values).any() else (0.0, 1.0)
    return float(low), float(high)


def _colour_bar(ax: Axes, drawn: Any, labels: Labels) -> Colorbar:
    bar = root(ax).colorbar(drawn, ax=ax, shrink=0.7, aspect=28, pad=0.02)
    bar.outline.set_visible(False)
    if bar.solids is not None:
        bar.solids.set_alpha(1)
    if labels.dates:
        dates: Any = importlib.import_module("matplotlib.dates")  # without types
        bar.locator = dates.AutoDateLocator()
        bar.formatter = dates.ConciseDateFormatter(bar.locator)
    bar.set_label(plain(labels.title, 40))
    return bar


def class_colour(colour: str) -> tuple[float, ...]:
    """Return a class's colour for letters: darker, or lighter on a dark page."""
    dark = current_theme().paper != "white"
    return tuple(c + 0.45 * (1 - c) if dark else 0.62 * c for c in to_rgb(colour))


def _name_islands(ax: Any, islands: Islands, labels: Labels, font: float) -> None:
    """Write each class's name at its islands; where two would overlap, push them apart."""
    if not islands.places:
        return
    places = np.array([place for _, place, _ in islands.places])
    names = [plain(labels.names[code], 18) for code, _, _ in islands.places]
    if places.shape[1] == 2:
        unit = _inches(ax)
        for i, (_, place, reach) in enumerate(islands.places):
            box = _boxes(names[i : i + 1], font)[0] / unit
            if 2 * reach < box[1]:  # the name would hide its island
                places[i] = _beside(islands.points, place, reach + 0.6 * box)
        places = _apart(ax, places, names, font)
    halo = [effects.withStroke(linewidth=3.2, foreground=current_theme().paper, alpha=0.9)]
    for (code, *_), name, place in zip(islands.places, names, places, strict=True):
        style: dict[str, Any] = {"fontsize": font, "fontweight": "bold", "ha": "center", "va": "center"}
        style |= {"color": class_colour(labels.colours[code]), "path_effects": halo, "zorder": 5}
        ax.text(*place, name, **style)


def _legend(ax: Axes, labels: Labels) -> None:
    """List the classes next to the map, where they are not named on it."""
    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=5, color=colour, label=plain(name, 22))
        for name, colour in zip(labels.names, labels.colours, strict=True)
    ]
    narrow = page_width() < 5
    place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
    if narrow:
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "ncols": _columns(labels), "columnspacing": 0.8}
    ax.legend(handles=handles, title=plain(labels.title) or None, handletextpad=0.2, **place)


def _columns(labels: Labels) -> int:
    """Return how many columns of a legend a narrow page has room for, of which few lines leave room for the map."""
    longest = max(len(plain(name, 22)) for name in labels.names)
    return max(3 if longest <= 10 else 2 if longest <= 18 else 1, min(3, -(-len(labels.names) // 4)))


def _boxes(names: list[str], font: float) -> np.ndarray:
    """Return the width and height of names in inches."""
    return font * np.array([(0.0098 * len(name) + 0.006, 0.0185) for name in names])


def _beside(points: np.ndarray, place: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return the place above, below, left or right of a place around which the fewest points lie."""
    places = place + step * np.array([(0, 1), (0, -1), (1, 0), (-1, 0)])
    crowd = [int((np.abs(points - other) < 0.6 * step).all(1).sum()) for other in places]
    return np.asarray(places[int(np.argmin(crowd))])


def _inches(ax: Axes) -> np.ndarray:
    """Return the length of a unit of each axis on the page."""
    inches = np.array(ax.get_window_extent().size) / root(ax).dpi
    return np.asarray(inches / np.array([np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())]))


def _apart(ax: Axes, places: np.ndarray, names: list[str], font: float) -> np.ndarray:
    """Move labels, as boxes in inches, until none overlaps another."""
    unit = _inches(ax)
    at = places * unit
    size = _boxes(names, font)
    for _ in range(200):
        gap = at[:, None] - at[None, :]
        overlap = (size[:, None] + size[None, :]) / 2 - np.abs(gap)
        touching = (overlap > 0).all(-1) & ~np.eye(len(at), dtype=bool)
        if not touching.any():
            break
        along = overlap.argmin(-1)
        for i, j in zip(*np.nonzero(np.triu(touching)), strict=True):
            axis = along[i, j]
            step = 0.55 * overlap[i, j, axis] * (1 if gap[i, j, axis] >= 0 else -1)
            at[i, axis] += step / 2
            at[j, axis] -= step / 2
    return np.asarray(at / unit)
