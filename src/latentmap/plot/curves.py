"""The course of a fit and the information in each component."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from latentmap.estimators.history import BOUND
from latentmap.plot.latent import information_per_component
from latentmap.plot.style import BLUE, FAINT, MUTED, ORANGE, Display, number, one_axes, panels, styled
from latentmap.training.metrics import HELD_OUT, parts_of


@styled
def learning_curves(estimator: Any, *, ax: Axes | None = None) -> Display:
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
    Display
        ``data_`` holds epoch, -ELBO, distortion, rate and those three held out, (evaluations, 7); NaN if not known.
    """
    table = np.array([_entry(entry) for entry in estimator.history_]).reshape(-1, 7)
    parts = [("−ELBO", 1), ("distortion", 2), ("rate", 3)] if np.nan_to_num(table[:, 3]).any() else [("distortion", 2)]
    figure, axes = panels(ax, len(parts), (2.7 * len(parts) if len(parts) > 1 else 4.6, 2.7))
    own = estimator.history_units_ == "data"
    for panel, (name, column) in zip(axes, parts, strict=True):
        curves = [("training", MUTED, table[:, column]), ("held out", ORANGE, table[:, column + 3])]
        curves = [curve for curve in curves if np.isfinite(curve[2]).any()]
        for label, colour, values in curves:
            panel.plot(
                table[:, 0], values, color=colour, label=label, marker="o" if len(table) == 1 else None, markersize=4
            )
        panel.set_title(f"{name}, nats a row" + ("" if own else ", scaled"))
        panel.set_xlabel("epoch")
        panel.grid(axis="y", color=FAINT, linewidth=0.6)
        _focus(panel, np.concatenate([values for _, _, values in curves]))
    axes[0].legend(loc="upper right", labelcolor=MUTED)
    caption = "The course of the fit. " + ("−ELBO is distortion plus rate. " if len(parts) > 1 else "")
    more = dict.fromkeys(name for row in estimator.history_ for name in parts_of(row) if name not in BOUND)
    if more:
        caption += f"The loss adds {' and '.join(name.replace('_', ' ') for name in more)}. "
    if not own:
        caption += "Nats are in the model's units, not the data's: an earlier version fitted it. "
    if np.isfinite(table[:, 4]).any():
        caption += "Held-out rows take no part in training: a gap that grows between the two curves is overfitting."
    else:
        caption += "No rows were held out."
    return Display(figure, axes if len(parts) > 1 else axes[0], table, caption)


@styled
def rates(estimator: Any, *, ax: Axes | None = None) -> Display:
    r"""Draw the information in each component: :math:`KL(q(z_j|x) \| p(z_j))` in nats, or the variance of its codes.

    Parameters
    ----------
    estimator : VAE or Autoencoder
        A fitted model.
    ax : Axes, optional
        Axes to draw on; by default a new figure.

    Returns
    -------
    Display
        ``data_`` holds the amounts, (d,), in the order of the components.
    """
    amounts, unit = information_per_component(estimator)
    active = np.asarray(estimator.active_components_, dtype=bool)
    order = np.argsort(-amounts, kind="stable")
    n = len(amounts)
    figure, ax = one_axes(ax, (float(np.clip(0.34 * n + 1.6, 3.6, 7.4)), 2.7))
    bars = ax.bar(np.arange(n), amounts[order], width=0.72, color=np.where(active[order], BLUE, "#c3cbd3"))
    if n <= 24:
        ax.set_xticks(np.arange(n), [f"$z_{{{i + 1}}}$" for i in order])
        ax.bar_label(bars, labels=[number(amounts[i], 2) for i in order], fontsize=7.5, color=MUTED, padding=2)
        ax.tick_params(axis="x", length=0)
    else:
        ax.set_xlabel("components, most active first")
    ax.set_ylabel("rate, nats a row" if unit == "nats" else "variance of the codes")
    margin = max(0.7, 3.2 - n / 2)  # few bars stay slim
    ax.set_xlim(-margin, n - 1 + margin)
    ax.grid(axis="y", color=FAINT, linewidth=0.6)
    what = "its nats about a row" if unit == "nats" else "the variance of its codes"
    caption = f"The information in each component: {what}. {int(active.sum())} of {n} are active"
    caption += "." if active.all() else "; grey ones hold next to none and could be left out."
    return Display(figure, ax, amounts, caption)


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
