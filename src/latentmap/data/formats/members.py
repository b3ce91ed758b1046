"""Files of several arrays: which of them holds the rows, and which the labels."""

from __future__ import annotations

from collections.abc import Callable, Collection

from latentmap.data.checks import require_known
from latentmap.data.formats.base import LabelSpec
from latentmap.exceptions import DataError

ROWS = ("X", "x", "data", "images", "x_train", "X_train")
LABELS = ("y", "labels", "target", "y_train")


def choose_members(
    members: Collection[str],
    shape: Callable[[str], tuple[int, ...]],
    name: str,
    labels: LabelSpec = None,
    member: str | None = None,
    *,
    kind: str = "member",
) -> tuple[str, str | None]:
    """Return the names of the array of rows and of that of labels, or None if no array holds labels.

    Rows are the array called ``member``, else one of `ROWS` with two or more axes, else the only one of two or more
    axes. Labels are the array called ``labels``, else one of `LABELS` with one value a row, unless labels are given.
    """
    for word in (member, labels):
        if isinstance(word, str):
            require_known(word, members, f"{name} has no {kind}")
    others = [key for key in members if key != labels]
    rows = member or next((key for key in ROWS if key in others and len(shape(key)) > 1), None)
    if rows is None:
        wide = [key for key in others if len(shape(key)) > 1]
        if len(wide) != 1:
            listed = ", ".join(f"{key} {shape(key)}" for key in others) or "no arrays"
            message = f"Call it X, with two or more axes; found {listed}; or name one, as in {name}::NAME"
            raise DataError(f"{name}: which array holds the rows? {message}")
        rows = wide[0]
    if labels is not None:
        return rows, labels if isinstance(labels, str) else None
    fitting = (key for key in LABELS if key in members and shape(key) == shape(rows)[:1])
    return rows, next(fitting, None)
