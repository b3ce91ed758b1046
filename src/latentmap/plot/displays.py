"""Figures of rows: decoded, drawn from the model, or on a path through the latent space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentmap.plot.rows import RowStyle
from latentmap.plot.style import MUTED, Display, current_theme, one_axes, page_width

MOST_ACROSS = 8
"""Pictures side by side in a narrow figure, at the most."""


@dataclass(frozen=True, eq=False)
class Groups:
    """Rows in groups: lines of pictures, bands of profiles or blocks of strips.

    Attributes
    ----------
    style : RowStyle
        How rows are drawn.
    groups : ndarray of shape (groups, rows, ...)
        The rows, NaN where blank.
    group_labels, row_labels : sequence of str
        Names of groups, and of the rows in each.
    colours : array-like of str, optional
        Colours of profiles.
    across, down : str
        What is across and down the figure.
    path : bool
        Whether the rows of a group are steps of a path, of which a narrow figure shows every second.
    """

    style: RowStyle
    groups: np.ndarray
    group_labels: Sequence[str] = ()
    row_labels: Sequence[str] = ()
    colours: Any = None
    across: str = ""
    down: str = ""
    path: bool = False

    def draw(self, ax: Axes | None, **kwargs: Any) -> tuple[Figure, Axes]:
        """Draw the rows on ``ax`` or a new figure; return the figure and its axes."""
        groups, group_labels, row_labels = self.groups, self.group_labels, self.row_labels
        if ax is None and page_width() < 5 and self.style.kind == "picture" and groups.shape[1] > MOST_ACROSS:
            groups, group_labels, row_labels = self._narrow()
        figure, ax = one_axes(ax, self.style.size(*groups.shape[:2]))
        colours = self.colours
        if colours is not None:
            colours = np.where(np.asarray(colours) == MUTED, current_theme().muted, colours)
        across = "" if self.row_labels and not row_labels else self.across
        self.style.draw(ax, groups, group_labels, row_labels, colours, across, self.down, **kwargs)
        return figure, ax

    def _narrow(self) -> tuple[np.ndarray, Sequence[str], Sequence[str]]:
        """Return every second step of a path; of other pictures the right half below the left one."""
        if self.path:
            return self.groups[:, ::2], self.group_labels, self.row_labels[::2]
        half = -(-self.groups.shape[1] // 2)
        left, right = self.groups[:, :half], self.groups[:, half:]
        wide = np.full_like(left, np.nan)
        wide[:, : right.shape[1]] = right
        return np.concatenate([left, wide]), [*self.group_labels] * 2, ()


class RowsDisplay(Display):
    """Figures of rows."""

    rows: Groups

    def _draw(self, ax: Any, **kwargs: Any) -> tuple[Figure, Axes]:
        return self.rows.draw(ax, **kwargs)


@dataclass(eq=False)
class ReconstructionsDisplay(RowsDisplay):
    """Rows and their reconstructions, as `reconstructions` computes them.

    Parameters
    ----------
    data_ : ndarray of shape (2, n, ...)
        Originals and reconstructions.
    caption : str
        What the figure shows and how to read it.
    alt : str
        What is seen on it.
    rows : Groups
        The rows as drawn.
    """

    data_: np.ndarray
    caption: str
    alt: str
    rows: Groups


@dataclass(eq=False)
class SamplesDisplay(RowsDisplay):
    """New rows drawn from the model, as `samples` computes them.

    Parameters
    ----------
    data_ : ndarray of shape (n, ...)
        The samples.
    caption : str
        What the figure shows and how to read it.
    alt : str
        What is seen on it.
    rows : Groups
        The rows as drawn.
    """

    data_: np.ndarray
    caption: str
    alt: str
    rows: Groups


@dataclass(eq=False)
class TraversalsDisplay(RowsDisplay):
    """Decoded codes along one component at a time, as `traversals` computes them.

    Parameters
    ----------
    data_ : ndarray of shape (components, steps, ...)
        The decoded rows.
    caption : str
        What the figure shows and how to read it.
    alt : str
        What is seen on it.
    rows : Groups
        The rows as drawn.
    """

    data_: np.ndarray
    caption: str
    alt: str
    rows: Groups


@dataclass(eq=False)
class InterpolationsDisplay(RowsDisplay):
    """Decoded paths between rows, as `interpolations` computes them.

    Parameters
    ----------
    data_ : ndarray of shape (pairs, steps, ...)
        The decoded paths.
    caption : str
        What the figure shows and how to read it.
    alt : str
        What is seen on it.
    rows : Groups
        The rows as drawn.
    """

    data_: np.ndarray
    caption: str
    alt: str
    rows: Groups
