"""Labels as colours: a colour and a name for each class, a colour bar for numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentmap.exceptions import DataError
from latentmap.plot.style import FAINT, MUTED, TEN, TWENTY

MOST_CLASSES = 20


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of ``n`` rows, ready to be drawn.

    Attributes
    ----------
    title : str
        Name of the labels, or an empty string.
    names : tuple of str
        The class names, in order; empty when the labels are numbers.
    codes : ndarray of shape (n,)
        Class of each row; -1 where a row has no label.
    values : ndarray of shape (n,) or None
        Numbers when the labels are continuous.
    n_other : int
        Number of small classes in the last one, "other".
    """

    title: str
    names: tuple[str, ...]
    codes: np.ndarray
    values: np.ndarray | None = None
    n_other: int = 0

    @property
    def colours(self) -> tuple[str, ...]:
        """One colour for each class."""
        palette = list(TEN if len(self.names) <= len(TEN) else TWENTY)[: len(self.names)]
        return (*palette[:-1], MUTED) if self.n_other else tuple(palette)

    def row_colours(self) -> np.ndarray:
        """Return the colour of each row of a categorical label; rows without a label are faint."""
        return np.asarray(np.array([*self.colours, FAINT])[self.codes])


def read_labels(y: Any, n_rows: int) -> Labels | None:
    """Return labels as classes or numbers.

    Text, booleans, categories and up to 20 different whole numbers are classes; anything else is a number. Of more than
    20 classes the 19 largest keep a colour and the rest is "other".

    Raises
    ------
    DataError
        If ``y`` is not one label a row.

    Examples
    --------
    >>> read_labels(["cat", "dog", "cat"], 3).names
    ('cat', 'dog')
    >>> read_labels([0.1, 0.7, 0.4], 3).values
    array([0.1, 0.7, 0.4])
    """
    if y is None:
        return None
    title = str(getattr(y, "name", None) or "")
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (n_rows,):
        raise DataError(f"y must hold one label for each of the {n_rows} rows, but its shape is {labels.shape}")
    if labels.dtype.kind not in "fiu":
        return _classes(title, [_name(label) for label in labels])
    known = labels[np.isfinite(labels)]
    if (known == np.round(known)).all() and len(np.unique(known)) <= MOST_CLASSES:
        return _classes(title, [f"{label:.0f}" if np.isfinite(label) else None for label in labels])
    return Labels(title, (), np.zeros(n_rows, int), labels.astype(float))


def _name(label: Any) -> str | None:
    """Return the class name, or ``None`` where the label is missing (None, NaN, NaT, pandas' NA)."""
    if label is None or type(label).__name__ in {"NAType", "NaTType"} or label != label:
        return None
    return label.decode(errors="replace") if isinstance(label, bytes) else str(label)


def _classes(title: str, labels: list[str | None]) -> Labels:
    counts = Counter(label for label in labels if label is not None)
    n_kept = MOST_CLASSES if len(counts) <= MOST_CLASSES else MOST_CLASSES - 1
    kept = [name for name, _ in counts.most_common(n_kept)]
    try:
        kept.sort(key=float)
    except ValueError:
        kept.sort()
    place = {name: i for i, name in enumerate(kept)}
    codes = np.array([-1 if label is None else place.get(label, len(kept)) for label in labels], dtype=int)
    n_other = len(counts) - len(kept)
    names = [*kept, f"other ({n_other} classes)"] if n_other else kept
    return Labels(title, tuple(names), codes, None, n_other)
