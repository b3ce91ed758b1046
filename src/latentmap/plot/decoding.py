"""Decoded codes: reconstructions, samples, traversals of components, paths between rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from latentmap.estimators.columns import numbers
from latentmap.evaluation.rows import take
from latentmap.plot.displays import (
    Groups,
    InterpolationsDisplay,
    ReconstructionsDisplay,
    SamplesDisplay,
    TraversalsDisplay,
)
from latentmap.plot.islands import counted
from latentmap.plot.latent import along, describe_prior, has_standard_prior, information_per_component, quantiles
from latentmap.plot.rows import RowStyle, dense, spread
from latentmap.plot.style import BLUE, MUTED, ORANGE, draws, number


@draws(ReconstructionsDisplay)
def reconstructions(
    estimator: Any,
    X: Any,
    *,
    n: int | None = None,
    image_shape: tuple[int, ...] | None = None,
    feature_names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> ReconstructionsDisplay:
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
    ReconstructionsDisplay
        ``data_`` holds originals and reconstructions, (2, n, ...).
    """
    estimator, X = numbers(estimator, X)
    style = RowStyle.of(estimator, X, image_shape, feature_names)
    chosen = spread(X.shape[0], n or {"picture": 12, "profile": 6, "strip": 8}[style.kind])
    rows = take(X, chosen)
    both = np.stack([_shaped(rows, style), _shaped(estimator.reconstruct(rows), style)])
    names = ("original", "reconstruction")
    error = np.square(both[0] - both[1]).reshape(len(chosen), -1).mean(1)
    worst = f"row {chosen[error.argmax()]:,} is reconstructed worst"
    if style.kind == "picture":
        caption = "Originals above, their reconstructions below. "
        caption += f"The mean squared error of these {len(chosen)} rows is {number(np.mean(error))}."
        alt = f"{counted(len(chosen), 'image')} of {style.unit}, and their reconstructions; {worst}, "
        alt += f"with a squared error of {number(error.max())} against {number(np.median(error))} in the median."
        options: dict[str, Any] = {"row_labels": [f"{i:,}" for i in chosen], "across": "row of the data"}
        return ReconstructionsDisplay(both, caption, alt, Groups(style, both, names, **options)).plot(ax=ax)
    caption = "Rows of the data and their reconstructions" + _reading(style, ", the original above")
    off = np.abs(both[0] - both[1]) / (style.high - style.low)
    caption += f" On average a feature is off by {np.mean(off):.0%} of its range."
    feature = int(off.mean(0).argmax())
    alt = f"{counted(len(chosen), 'row')} of {counted(style.shape[0], 'feature')} and their reconstructions; "
    alt += f"{style.names[feature]} is off most, by {off.mean(0)[feature]:.0%} of its range on average."
    labels = [f"row {i}" for i in chosen]
    groups = both.swapaxes(0, 1)
    return ReconstructionsDisplay(both, caption, alt, Groups(style, groups, labels, names, [MUTED, ORANGE])).plot(ax=ax)


@draws(SamplesDisplay)
def samples(
    estimator: Any,
    n: int | None = None,
    *,
    X: Any = None,
    random_state: int = 0,
    image_shape: tuple[int, ...] | None = None,
    feature_names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> SamplesDisplay:
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
    SamplesDisplay
        ``data_`` holds the samples, (n, ...).
    """
    estimator, X = numbers(estimator, X)
    style = RowStyle.of(estimator, X, image_shape, feature_names)
    n = n or (24 if style.kind == "strip" else 60)
    drawn = _shaped(estimator.sample(n, random_state=random_state), style)
    source = describe_prior(estimator)
    caption = f"{n} samples of the model: codes drawn at random from {source}, then decoded."
    alt = f"{counted(n, 'sample')} of {style.unit}" if style.kind == "picture" else f"{n} samples of vectors"
    alt += _beside(drawn, X, style)
    if style.kind == "picture":
        caption += " The more they look like the data, the better the model."
        groups = style.tiles(drawn, min(n, round(np.sqrt(1.7 * n))))
        across = f"each picture is a sample of {style.unit}"
        return SamplesDisplay(drawn, caption, alt, Groups(style, groups, across=across)).plot(ax=ax)
    if style.kind == "profile" and X is not None:
        groups = np.stack([_shaped(take(X, np.resize(spread(X.shape[0], n), n)), style), drawn])
        caption += " The two bands should look alike; heights are scaled to each feature's range."
        colours = [[MUTED] * n, [BLUE] * n]
        return SamplesDisplay(drawn, caption, alt, Groups(style, groups, ["data", "samples"], colours=colours)).plot(
            ax=ax
        )
    caption += _reading(style).removeprefix(".")
    return SamplesDisplay(drawn, caption, alt, Groups(style, drawn[None], colours=[BLUE] * n, down="samples")).plot(
        ax=ax
    )


@draws(TraversalsDisplay)
def traversals(
    estimator: Any,
    X: Any = None,
    *,
    n_components: int = 10,
    n_steps: int | None = None,
    image_shape: tuple[int, ...] | None = None,
    feature_names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> TraversalsDisplay:
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
    TraversalsDisplay
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
    by = describe_prior(estimator)
    stay = "keep their proportions" if estimator.manifold_ == "sphere" else "stay in the middle"
    caption = f"One component at a time moves from the low to the high end of {by}, the others {stay}"
    caption += _reading(style, ", from low above to high below")
    caption += f" Each line is named with its component's {'rate' if unit == 'nats' else unit}."
    moved = [float(np.abs(np.diff(line, axis=0) / (style.high - style.low)).sum(0).mean()) for line in rows]
    most = int(np.argmax(moved))
    alt = f"{counted(len(chosen), 'line')} of {counted(len(levels), 'decoded row')}"
    alt += f"; along component {chosen[most] + 1} they change most, by {moved[most]:.0%} of their range on average"
    alt += (
        f", along component {chosen[int(np.argmin(moved))] + 1} least, by {min(moved):.0%}." if len(moved) > 1 else "."
    )
    across = "value of the component, standard deviations" if standard else f"quantile of the component in {by}"
    across = across if len(across) < 60 else "quantile of the component"
    down = "component, and its " + ("rate" if unit == "nats" else unit)
    return TraversalsDisplay(
        rows, caption, alt, Groups(style, rows, names, steps, across=across, down=down, path=True)
    ).plot(ax=ax)


@draws(InterpolationsDisplay)
def interpolations(
    estimator: Any,
    X: Any,
    *,
    n: int = 6,
    n_steps: int | None = None,
    image_shape: tuple[int, ...] | None = None,
    feature_names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> InterpolationsDisplay:
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
    InterpolationsDisplay
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
    names = [f"row {a} to {b}" for a, b in ends.T]
    steps = np.sqrt(np.square(np.diff(paths, axis=1)).reshape(n, n_steps - 1, -1).sum(2))
    alt = f"{counted(n, 'path')} of {counted(n_steps, 'decoded row')} each; the longest step is "
    alt += f"{number(float(steps.max() / max(steps.mean(), 1e-12)), 2)} times the mean step."
    if style.kind != "picture":
        caption += _reading(style, ", from one row above to the other below")
        return InterpolationsDisplay(
            paths, caption, alt, Groups(style, paths, names, fractions, across="share of the path", path=True)
        ).plot(ax=ax)
    first, last = (_shaped(take(X, end), style)[:, None] for end in ends)
    blank = np.full_like(first, np.nan)
    tiles = np.concatenate([first, blank, paths, blank, last], axis=1)
    caption += "; the originals stand at both ends. In a smooth latent space each step looks like data."
    labels = ["from", "", *fractions, "", "to"]
    options: dict[str, Any] = {"across": "share of the path, between the rows themselves", "down": "pair of rows"}
    names = [f"{a} – {b}" for a, b in ends.T]
    return InterpolationsDisplay(paths, caption, alt, Groups(style, tiles, names, labels, path=True, **options)).plot(
        ax=ax
    )


def _shaped(rows: Any, style: RowStyle) -> np.ndarray:
    return dense(rows).reshape(-1, *style.shape)


def _beside(drawn: np.ndarray, X: Any, style: RowStyle) -> str:
    """Return how samples compare with the data: their mean and their spread."""
    if X is None:
        return "."
    data = _shaped(take(X, spread(X.shape[0], 2000)), style)
    if style.kind == "picture":
        numbers_of = [number(float(rows.mean()), 2) for rows in (drawn, data)]
        return "; their mean value is {}, that of the data {}.".format(*numbers_of)
    ratio = drawn.std(0) / np.maximum(data.std(0), 1e-12)
    least, most = int(ratio.argmin()), int(ratio.argmax())
    return (
        f"; their spread is {number(ratio[least], 2)} ({style.names[least]}) to {number(ratio[most], 2)} "
        f"({style.names[most]}) times that of the data."
    )


def _reading(style: RowStyle, order: str = "") -> str:
    """Return the end of a caption's first sentence, and how to read the drawing."""
    if style.kind == "strip":
        return (
            f"{order}. A line of a strip is a row, its colours run from each feature's low (dark) to its high (light)."
        )
    return (
        "."
        if style.kind == "picture"
        else ". Heights are scaled to each feature's range, whose ends are written below and above."
    )
