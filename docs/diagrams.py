"""Draw the two diagrams that explain an autoencoder and a variational autoencoder.

    python docs/diagrams.py

writes docs/images/autoencoder.png and docs/images/variational-autoencoder.png. The digits at both ends and the numbers
in the middle are outputs of models that are fitted here to scikit-learn's digits.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle

from latentmap import VAE, Autoencoder, load_dataset
from latentmap.plot.style import BLUE, FAINT, INK, MUTED, ORANGE, Display, styled

IMAGES = Path(__file__).parent / "images"
DIGIT = 6  # the row of the data that goes through both models
PALE_BLUE, PALE_ORANGE = "#dde8f5", "#fbe6d3"


@styled
def autoencoder(x: np.ndarray, code: np.ndarray, decoded: np.ndarray) -> Display:
    """Draw x, the encoder, the code z = e(x), the decoder, and d(z)."""
    ax = canvas(11.6)
    picture(ax, x, 0.2, "$x$")
    arrow(ax, 2.35, 2.75)
    network(ax, 2.85, 4.75, "encoder", "$e$", BLUE, PALE_BLUE)
    arrow(ax, 4.85, 5.2)
    vector(ax, 5.8, 0, code, INK, "#f3f5f7")
    ax.text(5.8, -1.42, "$z = e(x)$", ha="center", va="center", fontsize=13)
    arrow(ax, 6.4, 6.75)
    network(ax, 8.75, 6.85, "decoder", "$d$", ORANGE, PALE_ORANGE)
    arrow(ax, 8.85, 9.25)
    picture(ax, decoded, 9.4, r"$\hat{x} = d(z)$")
    spaces(ax, (1.2, "data $X$"), (5.8, "latent space $Z$"), (10.4, "data $X$"))
    return Display(ax.get_figure(root=True), ax, decoded, "An autoencoder.")


@styled
def variational_autoencoder(
    x: np.ndarray, mean: np.ndarray, deviation: np.ndarray, draws: np.ndarray, decoded: np.ndarray
) -> Display:
    """Draw x, the encoder with its two heads, draws from the Gaussian that they describe, the decoder, and d(z)."""
    ax = canvas(15.3)
    picture(ax, x, 0.2, "$x$")
    arrow(ax, 2.35, 2.75)
    network(ax, 2.85, 4.75, "encoder", "$e$", BLUE, PALE_BLUE)
    for y, values, label in ((0.78, mean, r"mean $\mu(x)$"), (-0.78, deviation, r"deviation $\sigma(x)$")):
        arrow(ax, 4.85, 5.3, 0.35 * np.sign(y), y)
        vector(ax, 5.95, y, values, BLUE, PALE_BLUE)
        arrow(ax, 6.6, 7.1, y, 0.35 * np.sign(y))
        ax.text(5.95, y + 0.88 * np.sign(y), label, ha="center", va="center", fontsize=10.5, color=INK)
    gaussian(ax, 8.55, mean, deviation, draws)
    ax.text(8.55, -1.66, r"$z \sim N(\mu(x), \sigma(x))$", ha="center", va="center", fontsize=13)
    arrow(ax, 10.05, 10.4)
    network(ax, 12.4, 10.5, "decoder", "$d$", ORANGE, PALE_ORANGE)
    arrow(ax, 12.5, 12.9)
    picture(ax, decoded, 13.05, r"$\hat{x} = d(z)$")
    spaces(ax, (1.2, "data $X$"), (8.55, "latent space $Z$"), (14.05, "data $X$"))
    return Display(ax.get_figure(root=True), ax, decoded, "A variational autoencoder.")


def canvas(width: float) -> Axes:
    """Return an empty page, ``width`` units wide and 4.6 high, its origin at the left of the middle line."""
    ax = Figure(figsize=(0.72 * width, 0.72 * 4.6)).add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(-2.15, 2.45), aspect="equal")
    ax.set_axis_off()
    return ax


def picture(ax: Axes, image: np.ndarray, x: float, label: str) -> None:
    """Show an image two units wide, its left edge at ``x``."""
    ax.imshow(image, cmap="gray_r", vmin=0, vmax=1, extent=(x, x + 2, -1, 1), interpolation="nearest", aspect="equal")
    ax.add_patch(Rectangle((x, -1), 2, 2, fill=False, edgecolor="#b6c0ca", linewidth=0.8))
    ax.text(x + 1, -1.42, label, ha="center", va="center", fontsize=13)


def network(ax: Axes, wide: float, narrow: float, name: str, symbol: str, edge: str, fill: str) -> None:
    """Draw a network as a shape that narrows from ``wide`` to ``narrow``."""
    corners = [(wide, 1.25), (narrow, 0.6), (narrow, -0.6), (wide, -1.25)]
    ax.add_patch(Polygon(corners, closed=True, facecolor=fill, edgecolor=edge, linewidth=1.2, joinstyle="round"))
    middle = (wide + narrow) / 2
    ax.text(middle, 0.18, name, ha="center", va="center", fontsize=11, color=INK)
    ax.text(middle, -0.24, symbol, ha="center", va="center", fontsize=14, color=edge)


def vector(ax: Axes, x: float, y: float, values: np.ndarray, edge: str, fill: str) -> None:
    """Draw the components of a code as a column of numbers around ``y``."""
    height = 0.46
    low = y - height * len(values) / 2
    box = FancyBboxPatch((x - 0.46, low), 0.92, height * len(values), boxstyle="round,pad=0.06,rounding_size=0.14")
    box.set(facecolor=fill, edgecolor=edge, linewidth=1.0)
    ax.add_patch(box)
    for i, value in enumerate(values):
        at = low + height * (len(values) - i - 0.5)
        ax.text(x, at, f"{value:.2f}".replace("-", "−"), ha="center", va="center_baseline", fontsize=10.5)


def gaussian(ax: Axes, x: float, mean: np.ndarray, deviation: np.ndarray, draws: np.ndarray) -> None:
    """Draw a window of the latent space around the mean: one and two deviations, some draws, the decoded one marked."""
    side = 1.3
    scale = side / (2.6 * deviation.max())
    ax.add_patch(
        Rectangle((x - side, -side), 2 * side, 2 * side, facecolor="white", edgecolor="#b6c0ca", linewidth=0.8)
    )
    for radius, strength in ((2, 0.35), (1, 0.6)):
        size = 2 * radius * scale * deviation
        ax.add_patch(
            Ellipse((x, 0), size[0], size[1], facecolor=PALE_BLUE, edgecolor=BLUE, linewidth=0.8, alpha=strength)
        )
    ax.plot([x], [0], marker="+", color=BLUE, markersize=8, markeredgewidth=1.4)
    ax.text(x - 0.1, 0.14, r"$\mu$", ha="right", va="bottom", fontsize=11, color=BLUE)
    places = (draws - mean) * scale
    places = places[(np.abs(places) < 0.95 * side).all(1)]
    ax.scatter(x + places[1:, 0], places[1:, 1], s=7, color=MUTED, linewidths=0, alpha=0.7)
    ax.scatter(x + places[:1, 0], places[:1, 1], s=34, color=ORANGE, linewidths=0, zorder=4)
    ax.text(x + places[0, 0] + 0.12, places[0, 1] + 0.1, "$z$", color=ORANGE, fontsize=13, va="bottom", zorder=4)


def arrow(ax: Axes, start: float, end: float, low: float = 0.0, high: float = 0.0) -> None:
    """Draw an arrow from (start, low) to (end, high)."""
    style = {"arrowstyle": "-|>", "mutation_scale": 11, "color": MUTED, "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0}
    ax.add_patch(FancyArrowPatch((start, low), (end, high), **style))


def spaces(ax: Axes, *names: tuple[float, str]) -> None:
    """Name the spaces above what lies in them."""
    ax.plot([0.2, ax.get_xlim()[1] - 0.2], [1.85, 1.85], color=FAINT, linewidth=0.8)
    for x, name in names:
        ax.text(x, 2.12, name, ha="center", va="center", fontsize=10.5, color=MUTED)


def main() -> None:
    """Fit both models, send one digit through each, write both pictures."""
    X = load_dataset("digits")[0] / np.float32(16)
    row = X[DIGIT : DIGIT + 1]
    plain = Autoencoder(n_components=2, random_state=0).fit(X)
    autoencoder(row[0], plain.transform(row)[0], plain.reconstruct(row)[0]).save(IMAGES / "autoencoder.png", dpi=160)

    vae = VAE(n_components=2, neighbors=None, random_state=0).fit(X)
    (mean,), (deviation,) = vae.posterior(row)
    draws = mean + deviation * np.random.default_rng(37).normal(size=(40, 2))
    decoded = vae.inverse_transform(draws[:1].astype(np.float32))[0]
    display = variational_autoencoder(row[0], mean, deviation, draws, decoded)
    display.save(IMAGES / "variational-autoencoder.png", dpi=160)


if __name__ == "__main__":
    main()
