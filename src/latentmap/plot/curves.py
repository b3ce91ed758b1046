"""The course of a fit and the information in each component."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentmap.estimators.history import BOUND
from latentmap.plot.islands import counted
from latentmap.plot.latent import information_per_component
from latentmap.plot.style import BLUE, ORANGE, Display, current_theme, draws, number, one_axes, page_width, panels
from latentmap.training.metrics import HELD_OUT, parts_of

FEW = 3
"""Numbers that are written instead of drawn as bars, at the most."""


@dataclass(eq=False)
class LearningCurvesDisplay(Display):
    """The course of a fit, as `learning_curves` reads it.

    Parameters
    ----------
    data_ : ndarray of shape (evaluations, 7)
        Epoch, -ELBO, distortion, rate and those three held out, NaN if not known.
    caption : str
        What the curves show and how to read them.
    alt : str
        What is seen on them.
    unit : str
        Unit of the curves.
    """

    data_: np.ndarray
    caption: str
    alt: str
    unit: str

    @property
    def parts(self) -> list[tuple[str, int]]:
        """Names of the panels and their columns in ``data_``."""
        if np.nan_to_num(self.data_[:, 3]).any():
            return [("−ELBO", 1), ("distortion", 2), ("rate", 3)]
        return [("distortion", 2)]

    def _draw(self, ax: Any, **kwargs: Any) -> tuple[Figure, Any]:
        table, parts, theme = self.data_, self.parts, current_theme()
        figure, axes = panels(ax, len(parts), (2.7 * len(parts) if len(parts) > 1 else 4.6, 2.7))
        style = {"marker": "o" if len(table) == 1 else None, "markersize": 4} | kwargs
        for panel, (name, column) in zip(axes, parts, strict=True):
            curves = [("training", theme.muted, table[:, column]), ("held out", ORANGE, table[:, column + 3])]
            curves = [curve for curve in curves if np.isfinite(curve[2]).any()]
            for label, colour, values in curves:
                panel.plot(table[:, 0], values, **{"color": colour, "label": label} | style)
            panel.set_title(f"{name}, {self.unit}")
            panel.set_xlabel("epoch")
            panel.grid(axis="y", linewidth=0.6)
            _focus(panel, np.concatenate([values for _, _, values in curves]))
        axes[0].legend(loc="upper right")
        return figure, axes if len(parts) > 1 else axes[0]


@draws(LearningCurvesDisplay)
def learning_curves(estimator: Any, *, ax: Axes | None = None) -> LearningCurvesDisplay:
    r"""Draw the course of a fit: the cost and its two parts, on training and held-out rows.

    .. math:: -\mathrm{ELBO} = D + R, \quad D = -\mathbb{E}_q \log p(x|z), \quad R = KL(q(z|x) \| p(z))

    in nats a row and the data's own units, :math:`D` the distortion and :math:`R` the rate. A model without a rate has
    one panel.

    Parameters
    ----------
    estimator : VAE or Autoencoder
        A fitted model.
    ax : Axes, optional
        Axes to draw the panels in; by default a new figure.

    Returns
    -------
    LearningCurvesDisplay
        ``data_`` holds epoch, -ELBO, distortion, rate and those three held out, (evaluations, 7); NaN if not known.
    """
    table = np.array([_entry(entry) for entry in estimator.history_]).reshape(-1, 7)
    own = estimator.history_units_ == "data"
    display = LearningCurvesDisplay(table, "", _curves_alt(table), "nats a row" + ("" if own else ", scaled"))
    caption = "The course of the fit. " + ("−ELBO is distortion plus rate. " if len(display.parts) > 1 else "")
    more = dict.fromkeys(name for row in estimator.history_ for name in parts_of(row) if name not in BOUND)
    if more:
        caption += f"The loss adds {' and '.join(name.replace('_', ' ') for name in more)}. "
    if not own:
        caption += "Nats are in the model's units, not the data's: an earlier version fitted it. "
    if np.isfinite(table[:, 4]).any():
        caption += "Held-out rows take no part in training: a gap that grows between the two curves is overfitting."
    else:
        caption += "No rows were held out."
    display.caption = caption
    return display.plot(ax=ax)


@dataclass(eq=False)
class RatesDisplay(Display):
    """The information in each component, as `rates` reads it.

    Parameters
    ----------
    data_ : ndarray of shape (d,)
        The amounts.
    caption : str
        What the figure shows and how to read it.
    alt : str
        What is seen on it.
    unit : {"nats", "variance"}
        Unit of the amounts.
    active : ndarray of shape (d,)
        Whether the component is active.
    """

    data_: np.ndarray
    caption: str
    alt: str
    unit: str
    active: np.ndarray

    def _draw(self, ax: Any, **kwargs: Any) -> tuple[Figure, Axes]:
        unit = "rate, nats a row" if self.unit == "nats" else "variance of the codes"
        order = np.argsort(-self.data_, kind="stable")
        return (self._written if len(order) <= FEW else self._bars)(ax, order, unit, **kwargs)

    def _written(self, ax: Any, order: np.ndarray, unit: str) -> tuple[Figure, Axes]:
        n, theme = len(order), current_theme()
        figure, ax = one_axes(ax, (1.7 * n, 1.0))
        ax.set(xlim=(0, n), ylim=(0, 1))
        ax.set_axis_off()
        for place, i in enumerate(order):
            colour = BLUE if self.active[i] else theme.muted
            ax.text(place + 0.04, 0.58, number(self.data_[i], 3), fontsize=20, color=colour, va="center")
            ax.text(place + 0.04, 0.12, f"$z_{{{i + 1}}}$, {unit}", color=theme.muted, va="center")
        return figure, ax

    def _bars(self, ax: Any, order: np.ndarray, unit: str, **kwargs: Any) -> tuple[Figure, Axes]:
        n, theme = len(order), current_theme()
        figure, ax = one_axes(ax, (float(np.clip(0.34 * n + 1.6, 3.6, page_width())), 2.7))
        colours = np.where(self.active[order], BLUE, theme.line)
        bars = ax.bar(np.arange(n), self.data_[order], **{"width": 0.72, "color": colours} | kwargs)
        if n <= 24 * page_width() / 7.4:
            ax.set_xticks(np.arange(n), [f"$z_{{{i + 1}}}$" for i in order])
            texts = [number(self.data_[i], 2) for i in order]
            ax.bar_label(bars, labels=texts, fontsize=7.5, color=theme.muted, padding=2)
            ax.tick_params(axis="x", length=0)
        else:
            ax.set_xlabel("components, most active first")
        ax.set_ylabel(unit)
        margin = max(0.7, 3.2 - n / 2)  # few bars stay slim
        ax.set_xlim(-margin, n - 1 + margin)
        ax.grid(axis="y", linewidth=0.6)
        return figure, ax


@draws(RatesDisplay)
def rates(estimator: Any, *, ax: Axes | None = None) -> RatesDisplay:
    r"""Draw the information in each component: :math:`KL(q(z_j|x) \| p(z_j))` in nats, or the variance of its codes.

    Up to three numbers are written, more are drawn as bars.

    Parameters
    ----------
    estimator : VAE or Autoencoder
        A fitted model.
    ax : Axes, optional
        Axes to draw on; by default a new figure.

    Returns
    -------
    RatesDisplay
        ``data_`` holds the amounts, (d,), in the order of the components.
    """
    amounts, unit = information_per_component(estimator)
    active = np.asarray(estimator.active_components_, dtype=bool)
    n = len(amounts)
    what = "its nats about a row" if unit == "nats" else "the variance of its codes"
    caption = f"The information in each component: {what}. {int(active.sum())} of {n} are active"
    caption += "." if active.all() else "; grey ones hold next to none and could be left out."
    most, least = int(amounts.argmax()), int(amounts.argmin())
    alt = f"{counted(n, 'component')}: z{most + 1} holds most, {number(amounts[most])}"
    alt += f", z{least + 1} least, {number(amounts[least])}" if n > 1 else ""
    alt += f" {'nats' if unit == 'nats' else 'of variance'}; {int(active.sum())} of {n} are active."
    return RatesDisplay(amounts, caption, alt, unit, active).plot(ax=ax)


def _curves_alt(table: np.ndarray) -> str:
    """Return where the cost starts and ends."""
    name, column = ("−ELBO", 1) if np.nan_to_num(table[:, 3]).any() else ("distortion", 2)
    text = f"Curves over {counted(int(table[-1, 0]), 'epoch')}: the {name} goes"
    for rows, where in ((table[:, column], "in training"), (table[:, column + 3], "on held-out rows")):
        known = rows[np.isfinite(rows)]
        if len(known):
            text += f" from {number(known[0])} to {number(known[-1])} {where},"
    return text.rstrip(",") + "."


def _entry(entry: Mapping[str, Any]) -> list[float]:
    """Return epoch, then -ELBO, distortion and rate in training and held out; the loss may hold further terms."""
    values = [float(entry["epoch"])]
    for prefix in ("", HELD_OUT):
        distortion, rate, *more = (entry.get(prefix + name, 0.0) for name in BOUND)
        distortion, rate = (float("nan") if value is None else float(value) for value in (distortion, rate))
        values += [distortion + rate + sum(value or 0.0 for value in more), distortion, rate]
    return values


def _focus(ax: Axes, values: np.ndarray) -> None:
    """Limit the y-axis to the later course where the first evaluations lie far above it."""
    values = values[np.isfinite(values)]
    low, typical, high = np.percentile(values, [0, 85, 100])
    top = typical + 0.6 * (typical - low)
    if top > low and high > low + 2.5 * (top - low):
        ax.set_ylim(low - 0.06 * (top - low), top)
