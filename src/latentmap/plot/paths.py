"""Lines between the codes of rows, as several models decode them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentmap.evaluation.rows import take
from latentmap.plot.rows import RowStyle, dense, spread
from latentmap.plot.several import decoded, listed, models_of
from latentmap.plot.style import Display, draws, one_axes, page_width, plain

CANDIDATES = 60
"""Rows from which the ends of lines are chosen."""


@dataclass(eq=False)
class LinesDisplay(Display):
    """Decoded lines between rows, of several models; see `lines`.

    Parameters
    ----------
    data_ : ndarray of shape (pairs, models, steps, ...)
        Decoded rows.
    caption, alt : str
        How to read the figure, and what is seen on it.
    titles : tuple of str
        Titles of the models.
    ends : ndarray of shape (pairs, 2, ...)
        The rows at the ends.
    style : RowStyle
        How rows are drawn.
    """

    data_: np.ndarray
    caption: str
    alt: str
    titles: tuple[str, ...]
    ends: np.ndarray = field(repr=False)
    style: RowStyle = field(repr=False)

    def _draw(self, ax: Axes | None, **kwargs: Any) -> tuple[Figure, Axes]:
        pairs, models, steps = self.data_.shape[:3]
        paths = self.data_.reshape(pairs * models, steps, *self.style.shape)
        names = [plain(title, 14) for _ in range(pairs) for title in self.titles]
        marks = [f"{t:.0%}" for t in np.linspace(0, 1, steps)]
        if self.style.kind == "picture":
            first, last = (np.repeat(self.ends[:, end, None], models, axis=0) for end in (0, 1))
            blank = np.full_like(first, np.nan)
            paths = np.concatenate([first, blank, paths, blank, last], axis=1)
            marks = [
                "row",
                "",
                *("" if page_width() < 7 and 0 < i < steps - 1 else m for i, m in enumerate(marks)),
                "",
                "row",
            ]
        figure, ax = one_axes(ax, self.style.size(*paths.shape[:2]))
        self.style.draw(ax, paths, names, marks)
        return figure, ax


@draws(LinesDisplay)
def lines(
    estimators: Mapping[str, Any],
    X: Any,
    *,
    n: int = 3,
    n_steps: int | None = None,
    image_shape: tuple[int, ...] | None = None,
    feature_names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> LinesDisplay:
    r"""Decode straight lines between the codes of the same rows by several models, one below the other.

    .. math:: x_t = d((1 - t) e(a) + t e(b))

    Parameters
    ----------
    estimators : dict of str to VAE or Autoencoder
        Fitted models by title.
    X : array-like
        Rows, as passed to ``fit``: of 60 of them evenly spaced, each of the first n makes a pair with the row that is
        farthest from it.
    n : int, default=3
        Number of pairs.
    n_steps : int, optional
        Points along a line, ends included; by default 11 images, otherwise 5.
    image_shape, feature_names, ax : optional
        As for `random_points`.

    Returns
    -------
    LinesDisplay
        ``data_`` holds the decoded rows, (pairs, models, steps, ...).
    """
    models, X = models_of(estimators, X)
    style = RowStyle.of(next(iter(models.values())), X, image_shape, feature_names)
    n_steps = n_steps or (11 if style.kind == "picture" else 5)
    chosen = _unlike(X, n, style)
    first, last = (take(X, chosen[end]) for end in (0, 1))
    t = np.linspace(0, 1, n_steps)[:, None, None]
    paths = []
    for estimator in models.values():
        starts, stops = (np.asarray(estimator.transform(rows), dtype=float) for rows in (first, last))
        codes = ((1 - t) * starts + t * stops).swapaxes(0, 1)  # (pairs, steps, d)
        paths.append(decoded(estimator, codes.reshape(n * n_steps, -1), style).reshape(n, n_steps, *style.shape))
    ends = np.stack([dense(rows).reshape(-1, *style.shape) for rows in (first, last)], axis=1)
    caption = (
        "Straight lines between the codes of two rows in equal steps, decoded by each model. In a smooth latent space "
        "rows change evenly, and each step looks like the data."
    )
    alt = f"{n} pairs of rows, and between them {n_steps} decoded steps each of {listed(models)}."
    return LinesDisplay(np.stack(paths, axis=1), caption, alt, tuple(models), ends, style).plot(ax=ax)


def _unlike(X: Any, n: int, style: RowStyle) -> np.ndarray:
    """Return the places of n pairs of rows that are unlike each other, (2, n); no row is in two."""
    candidates = spread(X.shape[0], max(CANDIDATES, n))
    rows = (dense(take(X, candidates)).reshape(len(candidates), *style.shape) - style.low) / (style.high - style.low)
    rows = rows.reshape(len(rows), -1)
    firsts = np.resize(np.arange(len(rows)), n)
    free = np.ones(len(rows), dtype=bool)
    free[firsts] = False
    lasts = []
    for i in firsts:
        distances = np.square(rows - rows[i]).sum(axis=1)
        lasts.append(int(np.where(free, distances, -1.0).argmax()) if free.any() else int(distances.argmax()))
        free[np.square(rows - rows[lasts[-1]]).sum(axis=1) <= distances[lasts[-1]] / 2] = False  # nor others like it
    return np.stack([candidates[firsts], candidates[lasts]])
