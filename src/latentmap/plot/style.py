"""Style of all figures: colours and fonts, and the object that each figure is returned in."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from latentmap.data.files import atomic_path

INK = "#1f2933"
MUTED = "#66727f"
FAINT = "#d9dee4"
BLUE = "#2f6db3"
ORANGE = "#d9660c"

# Ten colours that stay apart for colour-blind readers and on white; twenty add a lighter partner to each.
TEN = (
    "#2f6db3", "#e8850c", "#2a9d5c", "#c8322f", "#8259b4",
    "#8c5a3c", "#e07bb5", "#6b7785", "#b5a51f", "#17a3b8",
)  # fmt: skip
TWENTY = TEN + (
    "#a3c4e8", "#f7c48a", "#9bd6b4", "#eea29f", "#c7b3e0",
    "#cdb09f", "#f3c6df", "#bcc4cc", "#dfd68a", "#93d6e0",
)  # fmt: skip

# From one end of a path through the latent space to the other.
PATH = LinearSegmentedColormap.from_list("path", [BLUE, "#a9b4bf", ORANGE])

STYLE: Any = {
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "text.color": INK,
    "axes.facecolor": "white",
    "axes.edgecolor": "#aab4be",
    "axes.linewidth": 0.7,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9.0,
    "axes.titlesize": 10.5,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "axes.grid": False,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": "#aab4be",
    "ytick.color": "#aab4be",
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "mathtext.fontset": "dejavusans",
    "image.cmap": "viridis",
}

styled = mpl.rc_context(STYLE)  # a decorator: the style holds inside one function and nowhere else


@dataclass(frozen=True, eq=False)
class Display:
    """A figure, its data, and how to read it.

    Parameters
    ----------
    figure_ : Figure
        The matplotlib figure; no global state of matplotlib refers to it.
    ax_ : Axes or ndarray of Axes
        Its axes, an array where the figure has several panels.
    data_ : ndarray
        The array that is drawn: codes, pictures, curves or rates.
    caption : str
        What the figure shows and how to read it.
    """

    figure_: Figure
    ax_: Any
    data_: np.ndarray
    caption: str

    def png(self, dpi: int = 150) -> bytes:
        """Return the figure as the bytes of a PNG file.

        Parameters
        ----------
        dpi : int, default=150
            Resolution.

        Returns
        -------
        bytes
            Content of the file.
        """
        buffer = io.BytesIO()
        self._write(buffer, "png", dpi)
        return buffer.getvalue()

    def save(self, path: str | Path, dpi: int = 150) -> Path:
        """Write the figure to a file, completely or not at all.

        Parameters
        ----------
        path : str or Path
            Path; its suffix selects png, svg or pdf.
        dpi : int, default=150
            Resolution.

        Returns
        -------
        Path
            The path.
        """
        path = Path(path)
        with atomic_path(path) as temporary:
            self._write(temporary, path.suffix.lstrip(".") or "png", dpi)
        return path

    def _write(self, target: Path | io.BytesIO, kind: str, dpi: int) -> None:
        with mpl.rc_context(STYLE):
            self.figure_.savefig(target, format=kind, dpi=dpi, bbox_inches="tight", pad_inches=0.08)

    def _repr_png_(self) -> bytes:
        return self.png()


def one_axes(ax: Axes | None, size: tuple[float, float]) -> tuple[Figure, Axes]:
    """Return ``ax`` with its figure, or new axes on a new figure of ``size`` inches."""
    if ax is None:
        figure = Figure(figsize=size, layout="constrained")
        return figure, figure.add_subplot()
    return root(ax), ax


def panels(ax: Axes | None, n: int, size: tuple[float, float], columns: int | None = None) -> tuple[Figure, np.ndarray]:
    """Return a figure and ``n`` axes in rows of ``columns``: new ones, or panels inside the given ``ax``."""
    columns = columns or n
    rows = -(-n // columns)
    if ax is None:
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(wspace=0.05, hspace=0.05))
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for spare in axes[n:]:
            spare.remove()
        return figure, axes[:n]
    ax.set_axis_off()
    width, height = 1 / columns, 1 / rows
    corners = [(i % columns * width, 1 - (i // columns + 1) * height) for i in range(n)]
    return root(ax), np.array([ax.inset_axes((x, y, 0.82 * width, 0.78 * height)) for x, y in corners])


def root(ax: Axes) -> Figure:
    """Return the figure that holds ``ax``, also when ``ax`` lies in a subfigure."""
    figure = ax.get_figure(root=True)
    if figure is None:
        raise ValueError("ax belongs to no figure: it was removed")
    return figure


def plain(text: object, width: int = 28) -> str:
    """Return ``text`` for matplotlib to show literally: dollars escaped, long names cut."""
    shown = " ".join(str(text).split())
    if len(shown) > width:
        shown = shown[: width - 1].rstrip() + "…"
    return shown.replace("$", r"\$")


def number(value: float, digits: int = 3) -> str:
    """Return a number as text: few digits, a typographic minus, no exponent below a million.

    >>> number(-1387.2), number(0.24612), number(0.0)
    ('−1,387', '0.246', '0')
    """
    text = f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.{digits}g}"
    return text.replace("-", "−")
