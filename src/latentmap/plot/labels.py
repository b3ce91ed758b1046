"""Labels as colours: a colour and a name for each class, a colour bar for numbers."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np

from latentmap.data.formats.annotated import is_annotated
from latentmap.data.frames import as_frame, columns_of
from latentmap.data.heading import text_of
from latentmap.data.selection import Selection
from latentmap.data.sources import open_source
from latentmap.exceptions import DataError
from latentmap.messages import suggest
from latentmap.plot.style import GREY, INDIGO, TEN, TWENTY, current_theme

FEW = 10
"""Different whole numbers that are classes however few rows there are."""
MOST_CLASSES = 20
"""Classes that have a colour of their own, and different whole numbers in labels that are classes."""
MOST_LEVELS = 5
"""Different whole numbers in a column of the data that are classes."""


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
        Numbers when the labels are continuous; dates as matplotlib's days.
    n_other : int
        Number of small classes in the last one, "other".
    dates : bool
        Whether the values are dates.
    """

    title: str
    names: tuple[str, ...]
    codes: np.ndarray
    values: np.ndarray | None = None
    n_other: int = 0
    dates: bool = False

    @property
    def colours(self) -> tuple[str, ...]:
        """One colour for each class."""
        palette = list(TEN if len(self.names) <= len(TEN) else TWENTY)[: len(self.names)]
        if self.n_other:  # which is grey
            palette = [INDIGO if colour == GREY else colour for colour in palette[:-1]] + [current_theme().muted]
        return tuple(palette)

    def row_colours(self) -> np.ndarray:
        """Return the colour of each row of a categorical label; rows without a label are faint."""
        return np.asarray(np.array([*self.colours, current_theme().faint])[self.codes])


def read_labels(y: Any, n_rows: int, most_numbers: int = MOST_CLASSES) -> Labels | None:
    """Return labels as classes, numbers or dates.

    Text, booleans, categories and up to ``most_numbers`` different whole numbers are classes, of more than ten if each
    has three rows on average; anything else is a number or a date. Of more than 20 classes the 19 largest keep a colour
    and the rest is "other".

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
    if (days := _days(labels)) is not None:
        return Labels(title, (), np.zeros(n_rows, int), days, dates=True)
    if labels.dtype.kind not in "fiu":
        return _classes(title, [_name(label) for label in labels])
    known = labels[np.isfinite(labels)]
    n = len(np.unique(known))
    if (known == np.round(known)).all() and n <= most_numbers and (n <= FEW or n <= len(known) / 3):
        return _classes(title, [f"{label:.0f}" if np.isfinite(label) else None for label in labels])
    return Labels(title, (), np.zeros(n_rows, int), labels.astype(float))


def read_column(X: Any, column: str | int, feature_names: Any = None) -> Labels:
    """Return a column of the data, by its name or place, as labels; one of a file or an ``AnnData`` by its name.

    Raises
    ------
    DataError
        If there is no such column.

    Examples
    --------
    >>> read_column(np.array([[0.1, 3.0], [0.2, 4.0]]), 1).names
    ('3', '4')
    """
    name = text_of(column)
    if isinstance(X, str | os.PathLike) or is_annotated(X):
        beside = open_source(X, selection=Selection(beside=(name,))).beside[name]
        return read_values(beside, len(beside), name)
    if (frame := as_frame(X)) is not None:
        columns = columns_of(frame)
        names = list(columns)
    else:
        rows = X if hasattr(X, "toarray") else np.asarray(X)
        rows = rows if rows.ndim == 2 else rows.reshape(len(rows), -1)
        default = [f"x{i}" for i in range(rows.shape[1])]
        names = default if feature_names is None or len(feature_names) != len(default) else [*map(str, feature_names)]
    if isinstance(column, int) and name not in names and -len(names) <= column < len(names):
        name = names[column]
    if name not in names:
        known = f"X has {len(names)} columns" if isinstance(column, int) else suggest(name, names[:1000])
        raise DataError(f"color must be a column of X, got {column!r}: {known}")
    values = columns[name].to_numpy() if frame is not None else _dense(rows[:, [names.index(name)]])[:, 0]
    return read_values(values, len(values), name)


def read_values(values: Any, n_rows: int, title: str | None = None) -> Labels:
    """Return one value a row as labels, as those of a column of the data.

    >>> read_values([3, None, 4.5], 3, "age").values
    array([3. , nan, 4.5])
    """
    if isinstance(values, Labels):
        return values
    title = str(getattr(values, "name", None) or "") if title is None else title
    cells = np.asarray(values, dtype=object if isinstance(values, list | tuple) else None)
    labels = read_labels(_settled(cells) if cells.dtype == object else cells, n_rows, MOST_LEVELS)
    assert labels is not None
    return replace(labels, title=title)


def _dense(rows: Any) -> np.ndarray:
    return np.asarray(rows.toarray() if hasattr(rows, "toarray") else rows)


def _settled(values: np.ndarray) -> np.ndarray:
    """Return an array of objects as numbers where it holds numbers and missing cells only."""
    if any(isinstance(value, str | bytes | bool | date) for value in values):
        return values
    try:
        return np.array([np.nan if _name(value) is None else value for value in values], dtype=float)
    except (TypeError, ValueError):
        return values


def _days(labels: np.ndarray) -> np.ndarray | None:
    """Return dates as matplotlib's days, NaN where missing; ``None`` if the labels are no dates."""
    import matplotlib.dates

    if labels.dtype == object:
        known = [label for label in labels if _name(label) is not None]
        if not known or not all(isinstance(label, date) for label in known):
            return None
        stamps = [
            "NaT" if _name(label) is None else str(label.replace(tzinfo=None) if hasattr(label, "tzinfo") else label)
            for label in labels
        ]
        labels = np.array(stamps, dtype="datetime64[us]")
    if labels.dtype.kind != "M":
        return None
    date2num: Any = matplotlib.dates.date2num
    days = np.array(date2num(labels.astype("datetime64[us]")), dtype=np.float64)
    return np.where(np.isnat(labels), np.nan, days)


def _name(label: Any) -> str | None:
    """Return the class name, or ``None`` where the label is missing (None, NaN, NaT, pandas' NA, blank)."""
    if label is None or type(label).__name__ in {"NAType", "NaTType"} or label != label:
        return None
    if isinstance(label, str) and not label.strip():
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
