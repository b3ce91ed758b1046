"""Points on a plane, coloured by label, as all maps draw them."""

from __future__ import annotations

from typing import Any

import matplotlib.patheffects as effects
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from latentmap.plot.labels import Labels
from latentmap.plot.style import BLUE, MUTED, plain, root

MOST_POINTS = 200_000


def draw_points(
    ax: Axes, points: np.ndarray, labels: Labels | None, *, square: bool = False, scale: float = 1.0
) -> str:
    """Scatter ``points`` (n, 2) on ``ax``, labelled; return a note on points that are not drawn.

    Points are smaller and more translucent the more there are, rasterised, and in random order, so that no class covers
    the others. Outliers far outside do not shrink the map: the frame leaves them out. A ``square`` panel, one of
    several, has no colour bar of its own.
    """
    rng = np.random.default_rng(0)
    order = rng.permutation(len(points))[:MOST_POINTS]
    shown = points[order]
    size = scale * float(np.clip(16000 / max(len(shown), 1), 1.5, 28.0))
    alpha = float(np.clip(30 / np.sqrt(max(len(shown), 1)), 0.12, 0.85))
    style: dict[str, Any] = {"s": size, "alpha": alpha, "linewidths": 0, "rasterized": True}
    if labels is None:
        ax.scatter(shown[:, 0], shown[:, 1], c=BLUE, **style)
    elif labels.values is not None:
        values = labels.values[order]
        low, high = np.nanpercentile(values, [1, 99]) if np.isfinite(values).any() else (0.0, 1.0)
        drawn = ax.scatter(shown[:, 0], shown[:, 1], c=values, vmin=low, vmax=high, cmap="viridis", **style)
        if not square:
            bar = root(ax).colorbar(drawn, ax=ax, shrink=0.7, aspect=28, pad=0.02)
            bar.outline.set_visible(False)
            if bar.solids is not None:
                bar.solids.set_alpha(1)
            bar.set_label(plain(labels.title))
    else:
        ax.scatter(shown[:, 0], shown[:, 1], c=labels.row_colours()[order], **style)
    note = _frame(ax, points, 1.0 if square else 0.6)
    if labels is not None and labels.values is None:
        _name_classes(ax, points, labels, 9.0 if square else 12.0)
    if len(points) > MOST_POINTS:
        note += f" {MOST_POINTS:,} of {len(points):,} rows are drawn, chosen at random."
    return note


def _frame(ax: Axes, points: np.ndarray, least: float) -> str:
    """Fit the frame to the points, no side below ``least`` of the other; return a note on outliers outside."""
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
    ax.set_xlim(middle[0] - side[0] / 2, middle[0] + side[0] / 2)
    ax.set_ylim(middle[1] - side[1] / 2, middle[1] + side[1] / 2)
    if outside == 0:
        return ""
    return (
        " 1 stray point lies outside the frame."
        if outside == 1
        else f" {outside:,} stray points lie outside the frame."
    )


def _name_classes(ax: Axes, points: np.ndarray, labels: Labels, font: float) -> None:
    """Write each class's name at its median; where two would overlap, push them apart."""
    present = [i for i in range(len(labels.names) - bool(labels.n_other)) if (labels.codes == i).any()]
    if not present:
        return
    if labels.n_other:
        _legend(ax, labels)
        return
    places = np.array([np.median(points[labels.codes == i], axis=0) for i in present])
    names = [plain(labels.names[i], 18) for i in present]
    for i, name, (x, y) in zip(present, names, _apart(ax, places, names, font), strict=True):
        dark = tuple(0.62 * c for c in to_rgb(labels.colours[i]))
        text = ax.text(x, y, name, color=dark, fontsize=font, fontweight="bold", ha="center", va="center", zorder=5)
        text.set_path_effects([effects.withStroke(linewidth=3.2, foreground="white", alpha=0.9)])


def _legend(ax: Axes, labels: Labels) -> None:
    """List the classes next to the map, where there are too many to name on it."""
    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=5, color=colour, label=plain(name, 22))
        for name, colour in zip(labels.names, labels.colours, strict=True)
    ]
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), title=plain(labels.title) or None,
              labelcolor=MUTED, handletextpad=0.2)  # fmt: skip


def _apart(ax: Axes, places: np.ndarray, names: list[str], font: float) -> np.ndarray:
    """Move labels, as boxes in inches, until none overlaps another."""
    figure = root(ax)
    inches = np.array(ax.get_window_extent().size) / figure.dpi
    unit = inches / np.array([np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())])
    at = places * unit
    size = font * np.array([(0.0098 * len(name) + 0.006, 0.0185) for name in names])
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
