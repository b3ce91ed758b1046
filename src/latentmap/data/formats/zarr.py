"""Zarr stores: one array, a group of arrays of which one holds the rows, or a group that anndata wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from latentmap.data.formats.annotated import group_source, undamaged
from latentmap.data.formats.base import LabelSpec, Source
from latentmap.data.formats.chunked import stored
from latentmap.data.formats.members import choose_members
from latentmap.data.reading import MOST_BYTES, read_file, require_plain
from latentmap.data.remote import is_local
from latentmap.exceptions import DataError, MissingExtraError

METADATA = (".zarray", ".zmetadata", "zarr.json")


def zarr_source(path: Path, labels: LabelSpec = None, member: str | None = None) -> Source:
    """Return a source of a ``.zarr`` folder: of its array, or that of a group which ``member`` names or holds the rows.

    Rows and labels of a group are found by name, as those of a ``.npz`` file. Arrays of more than 256 MB stay on the
    disk; pickled objects are never loaded.
    """
    try:
        import zarr
    except ImportError as error:
        raise MissingExtraError("zarr", "zarr") from error
    with undamaged(path, ".zarr"):
        for file in path.rglob("*"):
            if is_local(file) and not file.is_dir():  # a named pipe among the chunks would be waited for
                require_plain(file)
            if file.name in METADATA:
                _require_no_pickles(file)
        root = zarr.open(str(path), mode="r")
        if isinstance(root, zarr.Array):
            if member is not None or isinstance(labels, str):
                raise DataError(f"{path} is a single array: it has no member {member or labels!r}")
            return stored(root, name=str(path), labels=labels)
        if root.attrs.get("encoding-type") == "anndata":
            return group_source(root, path, labels, member)
        return _of_group(dict(root.arrays()), path, labels, member)


def _of_group(arrays: dict[str, Any], path: Path, labels: LabelSpec, member: str | None) -> Source:
    name = str(path)
    rows, key = choose_members(arrays, lambda known: arrays[known].shape, name, labels, member, kind="array")
    values = labels if key is None else np.asarray(arrays[key][...])
    return stored(arrays[rows], name=name, labels=values, label_name=key)


def _require_no_pickles(file: Path) -> None:
    """Raise if a codec of these metadata unpickles, which would run code from the file."""
    if is_local(file):
        content = read_file(file, MOST_BYTES)
    else:
        with file.open("rb") as stream:
            content = stream.read(MOST_BYTES)
    for word in _words(json.loads(content)):
        if word == "pickle" or word.endswith(".pickle"):
            raise DataError(f"{file.parent} holds pickled Python objects, which are never loaded; save numbers")


def _words(value: Any) -> Iterator[str]:
    """Yield the names of all codecs in metadata, of the old format or the new."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("id", "name") and isinstance(item, str):
                yield item
            yield from _words(item)
    elif isinstance(value, list):
        for item in value:
            yield from _words(item)
