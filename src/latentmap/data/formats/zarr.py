"""Zarr stores: one array, several of which one holds the rows, or cells and genes as anndata writes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from latentmap.data.files import read_json
from latentmap.data.formats.annotated import group_source, undamaged
from latentmap.data.formats.base import LabelSpec, Source, plain_labels
from latentmap.data.formats.chunked import stored
from latentmap.data.formats.npz import LABELS, ROWS
from latentmap.exceptions import DataError, MissingExtraError
from latentmap.messages import suggest

METADATA = (".zarray", ".zmetadata", "zarr.json")


def zarr_source(path: Path, labels: LabelSpec = None, member: str | None = None) -> Source:
    """Read a ``.zarr`` folder: its array, or of a group the one that ``member`` names or that holds the rows.

    Rows and labels of a group are found by name, as those of a ``.npz`` file. Arrays of more than 256 MB stay on the
    disk.

    Raises
    ------
    DataError
        If it is damaged, no array can be chosen, or one is stored as pickled objects, which are never loaded.
    MissingExtraError
        If zarr is not installed.
    """
    try:
        import zarr
    except ImportError as error:
        raise MissingExtraError("zarr", "zarr") from error
    with undamaged(path, ".zarr"):
        _refuse_pickles(path)
        root = zarr.open(str(path), mode="r")
        if isinstance(root, zarr.Array):
            if member is not None or isinstance(labels, str):
                raise DataError(f"{path} is a single array: it has no member {member or labels!r}")
            return stored(root, str(path), names=None, labels=labels, label_name=None)
        if root.attrs.get("encoding-type") == "anndata":
            return group_source(root, path, labels, member)
        return _of_group(dict(root.arrays()), path, labels, member)


def _of_group(arrays: dict[str, Any], path: Path, labels: LabelSpec, member: str | None) -> Source:
    for asked in (member, labels):
        if isinstance(asked, str) and asked not in arrays:
            raise DataError(f"{path} has no array {asked!r}: {suggest(asked, list(arrays))}")
    wide = [name for name, array in arrays.items() if array.ndim > 1 and name != labels]
    chosen = member or next((name for name in ROWS if name in wide), wide[0] if len(wide) == 1 else None)
    if chosen is None:
        found = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "no arrays"
        raise DataError(f"{path}: which array holds the rows? Name it, as in {path}::NAME; found {found}")
    rows, label_name = arrays[chosen], labels if isinstance(labels, str) else None
    if labels is None:
        fitting = (name for name in LABELS if name in arrays and arrays[name].shape == rows.shape[:1])
        label_name = next(fitting, None)
    if label_name is not None:
        labels = plain_labels(np.asarray(arrays[label_name][...]))
    return stored(rows, str(path), names=None, labels=labels, label_name=label_name)


def _refuse_pickles(path: Path) -> None:
    """Look for codecs that would run what a file says."""
    for file in (found for name in METADATA for found in path.rglob(name)):
        for word in _words(read_json(file)):
            if word == "pickle" or word.endswith(".pickle"):
                raise DataError(f"{file.parent} holds pickled Python objects, which are never loaded; save numbers")


def _words(value: Any) -> Iterator[str]:
    """Every name of a codec in metadata, old or new."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("id", "name") and isinstance(item, str):
                yield item
            yield from _words(item)
    elif isinstance(value, list):
        for item in value:
            yield from _words(item)
