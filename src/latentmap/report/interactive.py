"""The map of a report, to explore where a browser runs the script of the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from latentmap.data.formats.base import plain_labels
from latentmap.explorer import Exploration, ExploredRows
from latentmap.explorer.export_data import fewer_rows
from latentmap.explorer.export_page import map_page
from latentmap.plot.rows import dense

MOST_ROWS = 5000
"""Rows of the map in a report, at the most."""
MOST_BYTES = 1_600_000
"""Size of the map in a report with its script, at the most."""


def interactive_map(estimator: Any, X: Any, y: Any, name: str, image_shape: tuple[int, ...] | None = None) -> str:
    """Return the map of rows X as a page of its own, which a frame of the report shows.

    Parameters
    ----------
    estimator : VAE or Autoencoder
        Fitted estimator that takes numbers.
    X : array-like of shape (n, ...)
        Rows as numbers; NaN where a cell is missing.
    y : array-like of shape (n,) or None
        Labels.
    name : str
        Name of the data.
    image_shape : tuple of int, optional
        Shape of rows that are flattened images.
    """
    name = Path(name).name  # no folder of its author
    values = X if isinstance(X, np.ndarray) and X.dtype.kind in "iufb" else dense(X)
    labels = None if y is None else plain_labels(np.asarray(y))
    rows = ExploredRows(
        values.reshape(len(values), *estimator.event_shape_),
        len(values),
        np.arange(len(values)),
        name,
        labels,
        None if labels is None else str(getattr(y, "name", None) or "label"),
    )
    exploration = Exploration(estimator, rows, name=name, image_shape=image_shape)
    return map_page(fewer_rows(exploration, MOST_ROWS), MOST_BYTES, quick=True)
