"""Several arrays in one file: one holds the rows, another may hold the labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from latentmap.data.formats.arrays import ArraySource
from latentmap.data.formats.base import LabelSpec, reading
from latentmap.exceptions import DataError
from latentmap.messages import suggest

ROWS = ("X", "x", "data", "images", "x_train", "X_train")
LABELS = ("y", "labels", "target", "y_train")


class NpzSource(ArraySource):
    """A ``.npz`` file: the member called X, x, data, images or x_train, else the only one of two or more axes.

    ``member`` names another. Labels come from the member that ``labels`` names, else from y, labels, target or y_train
    where it has one value a row.

    Raises
    ------
    DataError
        If no member can be chosen, or the file is damaged or holds pickled objects, which are never loaded.
    """

    def __init__(self, path: Path, labels: LabelSpec = None, member: str | None = None) -> None:
        with reading(path, ".npz"):
            try:
                with path.open("rb") as stream:
                    array, values, label_name = _choose(np.load(stream, allow_pickle=False), path, labels, member)
            except ValueError as error:
                if "allow_pickle" not in str(error):
                    raise
                raise DataError(f"{path}: cannot be read ({error}); pickled objects are never loaded") from error
        super().__init__(array, name=str(path), labels=values, label_name=label_name)


def _choose(
    archive: NDArray[Any] | NpzFile, path: Path, labels: LabelSpec, member: str | None
) -> tuple[NDArray[Any], LabelSpec, str | None]:
    if not isinstance(archive, NpzFile):
        raise DataError(f"{path}: a single array, not an archive of arrays; rename it to .npy")
    for asked in (member, labels):
        if isinstance(asked, str) and asked not in archive.files:
            raise DataError(f"{path} has no member {asked!r}: {suggest(asked, archive.files)}")
    name = member or next((known for known in ROWS if known in archive.files and known != labels), None)
    if name is None:
        shapes = {member: np.shape(archive[member]) for member in archive.files if member != labels}
        wide = [member for member, shape in shapes.items() if len(shape) > 1]
        if len(wide) != 1:
            found = ", ".join(f"{member} {shape}" for member, shape in shapes.items()) or "no arrays"
            raise DataError(f"{path}: which array holds the rows? Call it X, with two or more axes; found {found}")
        name = wide[0]
    array = np.asarray(archive[name])
    if labels is not None:
        return (array, archive[labels], labels) if isinstance(labels, str) else (array, labels, None)
    for known in LABELS:
        if known in archive.files and (values := archive[known]).shape == array.shape[:1]:
            return array, values, known
    return array, None, None
