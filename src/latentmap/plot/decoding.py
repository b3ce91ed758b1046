"""Decoded codes: reconstructions, samples, traversals of components, paths between rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentmap.estimators.columns import numbers
from latentmap.evaluation.rows import take
from latentmap.plot.latent import along, describe_prior, has_standard_prior, information_per_component, quantiles
from latentmap.plot.rows import RowStyle, dense, spread
from latentmap.plot.style import BLUE, MUTED, ORANGE, Display, number, one_axes, styled


@styled
def reconstructions(
    estimator: Any,
    X: Any,
    *,
    n: int | None = None,
    image_shape: tuple[int, ...] | None = None,
    feature_names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Display:
    r"""Draw rows and their reconstructions, :math:`\hat{x} = d(e(x))`.

    Parameters
    ----------
    estimator : VAE or Autoencoder
        A fitted model.
    X : array-like
        Rows, as passed to ``fit``; ``n`` of them are drawn, evenly spaced.
    n : int, optional
        Number of rows; by default 12 images, 6 profiles or 8 strips.
    image_shape : tuple of int, optional
        Shape (h, w) or (h, w, c) of rows that are flattened images.
    feature_names : sequence of str, optional
        Names of the features of a vector; by default those in the fit.
    ax : Axes, optional
        Axes to draw on; by default a new figure.

    Returns
    -------
    Display
        ``data_`` holds originals and reconstructions, (2, n, ...).
    """
    estimator, X = numbers(estimator, X)
    style = RowStyle.of(estimator, X, image_shape, feature_names)
    chosen = spread(X.shape[0], n or {"picture": 12, "profile": 6, "strip": 8}[style.kind])
    rows = take(X, chosen)
    both = np.stack([_shaped(rows, style), _shaped(estimator.reconstruct(rows), style)])
    if style.kind == "picture":
        figure, ax = _draw(ax, style, both, ["original", "reconstruction"])
        caption = "Originals above, their reconstructions below. "
        caption += f"The mean squared error of these {len(chosen)} rows is {number(np.mean((both[0] - both[1]) ** 2))}."
    else:
        names = ["original", "reconstruction"]
        figure, ax = _draw(ax, style, both.swapaxes(0, 1), [f"row {i}" for i in chosen], names, [MUTED, ORANGE])
        caption = "Rows of the data and their reconstructions" + _reading(style, ", the original above")
        off = np.mean(np.abs(both[0] - both[1]) / (style.high - style.low))
        caption += f" On average a feature is off by {off:.0%} of its range."
    return Display(figure, ax, both, caption)


@styled
def samples(
    estimator: Any,
    n: int | None = None,
    *,
    X: Any = None,
    random_state: int = 0,
    image_shape: tuple[int, ...] | None = None,
    feature_names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Display:
    r"""Draw new rows from the model, :math:`z \sim p(z), x = d(z)`.

    Parameters
    ----------
    estimator : VAE or Autoencoder
        A fitted model.
    n : int, optional
        Number of samples; by default 60, or 24 strips.
    X : array-like, optional
        Rows, as passed to ``fit``: they set the range of values, and profiles are drawn next to theirs.
    random_state : int, default=0
        Seed of the draws.
    image_shape, feature_names, ax : optional
        As for `reconstructions`.

    Returns
    -------
    Display
        ``data_`` holds the samples, (n, ...).
    """
    estimator, X = numbers(estimator, X)
    style = RowStyle.of(estimator, X, image_shape, feature_names)
    n = n or (24 if style.kind == "strip" else 60)
    drawn = _shaped(estimator.sample(n, random_state=random_state), style)
    source = describe_prior(estimator)
    caption = f"{n} samples of the model: codes drawn at random from {source}, then decoded."
    if style.kind == "picture":
        figure, ax = _draw(ax, style, style.tiles(drawn, min(n, round(np.sqrt(1.7 * n)))))
        caption += " The more they look like the data, the better the model."
    elif style.kind == "profile" and X is not None:
        data = _shaped(take(X, np.resize(spread(X.shape[0], n), n)), style)
        figure, ax = _draw(ax, style, np.stack([data, drawn]), ["data", "samples"], colours=[[MUTED] * n, [BLUE] * n])
        caption += " The two bands should look alike; heights are scaled to each feature's range."
    else:
        figure, ax = _draw(ax, style, drawn[None], colours=[BLUE] * n)
        caption += _reading(style).removeprefix(".")
    return Display(figure, ax, drawn, caption)


@styled
def traversals(
    estimator: Any,
    X: Any = None,
    *,
    n_components: int = 10,
    n_steps: int | None = None,
    image_shape: tuple[int, ...] | None = None,
    feature_names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Display:
    """Decode codes along one component at a time, the others held at their median: one line a component.

    Components are ordered by their nats of rate where these are known, otherwise by the variance of the codes. Steps go
    from the 2 % to the 98 % quantile of the model's prior, that of the last `fit_prior` if there was one. On the sphere
    they follow the great circle that ends at the component's axis.

    Parameters
    ----------
    estimator : VAE or Autoencoder
        A fitted model.
    X : array-like, optional
        Rows; they set the range of values.
    n_components : int, default=10
        Number of components at most.
    n_steps : int, optional
        Steps along each; by default 11 images, otherwise 5.
    image_shape, feature_names, ax : optional
        As for `reconstructions`.

    Returns
    -------
    Display
        ``data_`` holds the decoded rows, (components, steps, ...).
    """
    estimator, X = numbers(estimator, X)
    style = RowStyle.of(estimator, X, image_shape, feature_names)
    levels = np.linspace(0.02, 0.98, n_steps or (11 if style.kind == "picture" else 5))
    values = quantiles(estimator, levels)
    amounts, unit = information_per_component(estimator)
    chosen = np.argsort(-amounts, kind="stable")[:n_components]
    middle = quantiles(estimator, np.array([0.5]))[:, 0]
    codes = np.stack([along(estimator, middle, component, values[component]) for component in chosen])
    decoded = estimator.inverse_transform(codes.reshape(-1, len(middle)).astype(np.float32))
    rows = _shaped(decoded, style).reshape(*codes.shape[:2], *style.shape)
    names = [f"$z_{{{i + 1}}}$   {number(amounts[i])}{' nats' if unit == 'nats' else ''}" for i in chosen]
    standard = has_standard_prior(estimator)
    steps = [number(round(v, 1)) for v in values[0]] if standard else [f"{level:.0%}" for level in levels]
    figure, ax = _draw(ax, style, rows, names, steps)
    by = describe_prior(estimator)
    stay = "keep their proportions" if estimator.manifold_ == "sphere" else "stay in the middle"
    caption = f"One component at a time moves from the low to the high end of {by}, the others {stay}"
    caption += _reading(style, ", from low above to high below")
    return Display(
        figure, ax, rows, f"{caption} Each line is named with its component's {'rate' if unit == 'nats' else unit}."
    )


@styled
def interpolations(
    estimator: Any,
    X: Any,
    *,
    n: int = 6,
    n_steps: int | None = None,
    image_shape: tuple[int, ...] | None = None,
    feature_names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Display:
    r"""Decode straight paths between the codes of two rows, :math:`x_t = d((1 - t) e(a) + t e(b))`.

    Parameters
    ----------
    estimator : VAE or Autoencoder
        A fitted model.
    X : array-like
        Rows, as passed to ``fit``; pairs lie half of the rows apart.
    n : int, default=6
        Number of pairs.
    n_steps : int, optional
        Points along a path, ends included; by default 11 images, otherwise 5.
    image_shape, feature_names, ax : optional
        As for `reconstructions`.

    Returns
    -------
    Display
        ``data_`` holds the decoded paths, (pairs, steps, ...).
    """
    estimator, X = numbers(estimator, X)
    style = RowStyle.of(estimator, X, image_shape, feature_names)
    n_steps = n_steps or (11 if style.kind == "picture" else 5)
    ends = np.resize(spread(X.shape[0], 2 * n), 2 * n).reshape(2, n)
    paths = np.stack([
        _shaped(estimator.interpolate(take(X, ends[0, i : i + 1]), take(X, ends[1, i : i + 1]), n_steps), style)
        for i in range(n)
    ])  # fmt: skip
    fractions = [f"{t:.0%}" for t in np.linspace(0, 1, n_steps)]
    caption = "The path between two rows of the data in equal steps through the latent space, decoded"
    if style.kind != "picture":
        names = [f"row {a} to {b}" for a, b in ends.T]
        figure, ax = _draw(ax, style, paths, names, fractions)
        return Display(figure, ax, paths, caption + _reading(style, ", from one row above to the other below"))
    first, last = (_shaped(take(X, end), style)[:, None] for end in ends)
    blank = np.full_like(first, np.nan)
    tiles = np.concatenate([first, blank, paths, blank, last], axis=1)
    figure, ax = _draw(ax, style, tiles, (), ["original", "", *fractions, "", "original"])
    caption += "; the originals stand at both ends. In a smooth latent space each step looks like data."
    return Display(figure, ax, paths, caption)


def _shaped(rows: Any, style: RowStyle) -> np.ndarray:
    return dense(rows).reshape(-1, *style.shape)


def _draw(
    ax: Axes | None,
    style: RowStyle,
    groups: np.ndarray,
    group_labels: Sequence[str] = (),
    row_labels: Sequence[str] = (),
    colours: Any = None,
) -> tuple[Figure, Axes]:
    figure, ax = one_axes(ax, style.size(*groups.shape[:2]))
    style.draw(ax, groups, group_labels, row_labels, colours)
    return figure, ax


def _reading(style: RowStyle, order: str = "") -> str:
    """Return the end of a caption's first sentence, and how to read the drawing."""
    if style.kind == "strip":
        return (
            f"{order}. A line of a strip is a row, its colours run from each feature's low (dark) to its high (light)."
        )
    return "." if style.kind == "picture" else ". Heights are scaled to each feature's range."
