"""Style of all figures: colours and fonts, and the object that each figure is returned in."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from latentmap.data.files import atomic_path
from latentmap.data.remote import local_path
from latentmap.exceptions import DataError

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

GREY, INDIGO = TEN[7], "#3b3f8f"

# From one end of a path through the latent space to the other.
PATH = LinearSegmentedColormap.from_list("path", [BLUE, "#a9b4bf", ORANGE])

WIDTHS = {"wide": 7.4, "narrow": 3.7}
"""Width of a figure in inches: of a page, and of a phone, where letters of the same size fill twice as much of it."""

Size = Literal["wide", "narrow"]
ThemeName = Literal["light", "dark"]


@dataclass(frozen=True)
class Theme:
    """Colours of everything but the data."""

    ink: str
    muted: str
    faint: str
    line: str
    shade: str
    paper: str


THEMES = {
    "light": Theme(INK, MUTED, FAINT, line="#aab4be", shade="#e9edf1", paper="white"),
    "dark": Theme("#e6eaee", "#a3adb8", "#3a434d", line="#67727d", shade="#272e36", paper="#14181d"),
}

STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.linewidth": 0.7,
    "axes.labelsize": 9.0,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "axes.grid": False,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
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


def style(theme: ThemeName = "light", width: Size = "wide") -> Any:
    """Return matplotlib's settings for a theme and a width of figures.

    >>> style("dark")["text.color"], style(width="narrow")["figure.figsize"]
    ('#e6eaee', (3.7, 3.7))
    """
    for name, given, known in (("theme", theme, THEMES), ("width", width, WIDTHS)):
        if given not in known:
            raise DataError(f"{name} must be {' or '.join(map(repr, known))}, got {given!r}")
    colours, inches = THEMES[theme], WIDTHS[width]
    by_colour = {
        colours.paper: ("figure.facecolor", "savefig.facecolor", "axes.facecolor"),
        colours.ink: ("text.color", "axes.titlecolor"),
        colours.muted: ("axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor", "legend.labelcolor"),
        colours.line: ("axes.edgecolor", "xtick.color", "ytick.color"),
        colours.faint: ("grid.color",),
    }
    settings = {key: colour for colour, keys in by_colour.items() for key in keys}
    return STYLE | settings | {"figure.figsize": (inches, inches)}


def current_theme() -> Theme:
    """Return the theme that figures are being drawn in."""
    return THEMES["dark" if mpl.rcParams["figure.facecolor"] == THEMES["dark"].paper else "light"]


def page_width() -> float:
    """Return the width in inches of the figures that are being drawn."""
    narrow = mpl.rcParams["figure.figsize"][0] == WIDTHS["narrow"]
    return WIDTHS["narrow" if narrow else "wide"]


styled = mpl.rc_context(style())  # a decorator: the style holds inside one function and nowhere else


class Display:
    """A figure with its data, how to read it and what is seen on it.

    Functions such as `map` compute a subclass and draw it; `plot` draws it again, on other axes or in another theme,
    without computing again. This class itself holds a figure that was drawn once.

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
    alt : str, default=""
        What is seen on it, for those who do not see it.
    """

    figure_: Figure
    ax_: Any
    data_: np.ndarray
    caption: str
    alt: str
    from_estimator: ClassVar[Callable[..., Any]]
    _options: Mapping[str, Any] = {}
    _variant: tuple[ThemeName, Size] | None = None

    def __init__(self, figure_: Figure, ax_: Any, data_: np.ndarray, caption: str, alt: str = "") -> None:
        self.figure_, self.ax_, self.data_, self.caption, self.alt = figure_, ax_, data_, caption, alt

    def plot(self, *, ax: Axes | None = None, theme: ThemeName = "light", width: Size = "wide", **kwargs: Any) -> Self:
        """Draw the figure, again if it is drawn.

        Parameters
        ----------
        ax : Axes, optional
            Axes to draw on; by default a new figure.
        theme : {"light", "dark"}, default="light"
            Colours of text, lines and background.
        width : {"wide", "narrow"}, default="wide"
            Width of a new figure, 7.4 or 3.7 inches; a narrow one has larger letters and fewer columns, for a phone.
        **kwargs : dict
            Settings of matplotlib, where the figure's class has any: of ``scatter`` for maps.

        Returns
        -------
        Display
            This object, with a new ``figure_`` and ``ax_``.
        """
        with mpl.rc_context(style(theme, width)):
            self.figure_, self.ax_ = self._draw(ax, **kwargs)
        self._options, self._variant = kwargs, (theme, width) if ax is None else None
        return self

    def _draw(self, ax: Axes | None, **kwargs: Any) -> tuple[Figure, Any]:
        """Draw on ``ax`` or a new figure; return the figure and its axes."""
        raise DataError("this figure was drawn once and cannot be drawn again: call its function with other axes")

    def png(self, dpi: int = 150, theme: ThemeName | None = None, width: Size | None = None) -> bytes:
        """Return the figure as the bytes of a PNG file.

        Parameters
        ----------
        dpi : int, default=150
            Resolution.
        theme : {"light", "dark"}, optional
            Theme to draw it in, see `plot`; by default the figure as it is.
        width : {"wide", "narrow"}, optional
            Width to draw it in, see `plot`; by default the figure as it is.

        Returns
        -------
        bytes
            Content of the file.
        """
        display = self
        variant = (theme or "light", width or "wide")
        if (theme or width) and variant != self._variant and type(self) is not Display:
            display = copy.copy(self).plot(theme=variant[0], width=variant[1], **self._options)
        buffer = io.BytesIO()
        display._write(buffer, "png", dpi)
        return buffer.getvalue()

    def save(self, path: str | Path, dpi: int = 150) -> Path:
        """Write the figure to a file, completely or not at all.

        Parameters
        ----------
        path : str or Path
            Path; its suffix selects png, svg or pdf, or gif for a map in three dimensions that turns.
        dpi : int, default=150
            Resolution.

        Returns
        -------
        Path
            The path.
        """
        path = local_path(path)
        with atomic_path(path) as temporary:
            self._write(temporary, path.suffix.lstrip(".").lower() or "png", dpi)
        return path

    def _write(self, target: Path | io.BytesIO, kind: str, dpi: int) -> None:
        with mpl.rc_context(style()):
            self.figure_.savefig(target, format=kind, dpi=dpi, bbox_inches="tight", pad_inches=0.08, facecolor="auto")

    def _repr_png_(self) -> bytes:
        return self.png()


Function = TypeVar("Function", bound=Callable[..., Any])


def draws(display: type[Display], name: str = "from_estimator") -> Callable[[Function], Function]:
    """Make a function the constructor ``name`` of a display, too: one signature and one docstring for both."""

    def register(function: Function) -> Function:
        setattr(display, name, staticmethod(function))
        return function

    return register


def one_axes(ax: Axes | None, size: tuple[float, float], **kwargs: Any) -> tuple[Figure, Axes]:
    """Return ``ax`` with its figure, or new axes on a new figure of ``size`` inches, smaller where the page is."""
    if ax is None:
        shrink = min(1.0, page_width() / size[0])
        figure = Figure(figsize=(shrink * size[0], shrink * size[1]), layout="constrained")
        return figure, figure.add_subplot(**kwargs)
    return root(ax), ax


def panels(
    ax: Axes | None, n: int, size: tuple[float, float], columns: int | None = None, narrow: int | None = None
) -> tuple[Figure, np.ndarray]:
    """Return a figure and ``n`` axes in rows of ``columns``: new ones, or panels inside the given ``ax``.

    A narrow figure has ``narrow`` columns, by default half as many, and its panels the same proportions.
    """
    columns = columns or n
    rows = -(-n // columns)
    if ax is None:
        figure_size, columns, rows = _fewer_columns(n, size, columns, narrow)
        figure = Figure(figsize=figure_size, layout=ConstrainedLayoutEngine(wspace=0.05, hspace=0.05))
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for spare in axes[n:]:
            spare.remove()
        return figure, axes[:n]
    ax.set_axis_off()
    width, height = 1 / columns, 1 / rows
    corners = [(i % columns * width, 1 - (i // columns + 1) * height) for i in range(n)]
    return root(ax), np.array([ax.inset_axes((x, y, 0.82 * width, 0.78 * height)) for x, y in corners])


def _fewer_columns(
    n: int, size: tuple[float, float], columns: int, narrow: int | None
) -> tuple[tuple[float, float], int, int]:
    """Return the size, columns and rows of a figure as wide as the page at the most."""
    page, rows = page_width(), -(-n // columns)
    if size[0] <= page or page == WIDTHS["wide"]:
        return size, columns, rows
    fewer = min(columns, narrow or max(1, columns // 2))
    more = -(-n // fewer)
    return (page, size[1] / rows * more * (page / fewer) / (size[0] / columns)), fewer, more


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

    >>> number(-1387.2), number(0.24612), number(0.0), number(999.7), number(450.0, 2)
    ('−1,387', '0.246', '0', '1,000', '450')
    """
    whole = 10**digits - 0.5 if digits < 4 else 1000
    text = f"{value:,.0f}" if whole <= abs(value) < 1e6 else f"{value:.{digits}g}"
    return text.replace("-", "−")


def in_few_colours(png: bytes, colours: int = 256) -> bytes:
    """Return a PNG file with the colours that suit it best, about a third of its size."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").quantize(colours, dither=Image.Dither.NONE).save(buffer, "png", optimize=True)
    return buffer.getvalue()
