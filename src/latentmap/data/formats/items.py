"""Data sets that give one row at a time: PyTorch's map-style ones, and those of Hugging Face."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.formats.arrays import ArraySource
from latentmap.data.formats.base import LabelSpec, Request, Source, plain_labels
from latentmap.data.formats.npz import LABELS, ROWS
from latentmap.exceptions import DataError
from latentmap.messages import suggest

IMAGES = (*ROWS, "image", "img", "pixel_values")
TARGETS = (*LABELS, "label", "fine_label")
CHANNELS = (1, 3)


def items_source(request: Request) -> Source | None:
    """Make a source of a map-style data set: rows by number, of a known length."""
    data = request.data
    sized = hasattr(data, "__len__") and hasattr(data, "__getitem__")
    if not sized or isinstance(data, str | Mapping) or hasattr(data, "__array__"):
        return None
    request.require_no_columns()
    rows, labels, label_name = read_items(data, request.labels, request.name)
    return ArraySource(rows, name=request.name, labels=labels, label_name=label_name)


def is_hugging_face(data: Any) -> bool:
    """Whether data are a data set of Hugging Face's."""
    return all(hasattr(data, name) for name in ("features", "column_names", "with_format"))


def arrow_table(data: Any, labels: LabelSpec) -> Any | None:
    """Give a Hugging Face data set of plain columns as a table, or None where some hold images or arrays."""
    kinds = {name: type(feature).__name__ for name, feature in data.features.items() if name != labels}
    if not all(kind in ("Value", "ClassLabel") for kind in kinds.values()):
        return None
    table = data.with_format("arrow")[:]
    for i, (name, feature) in enumerate(data.features.items()):
        if type(feature).__name__ == "ClassLabel":
            known = [None if code is None or code < 0 else feature.int2str(code) for code in table[name].to_pylist()]
            table = table.set_column(i, name, [known])
    return table


def read_items(data: Any, labels: LabelSpec, name: str) -> tuple[NDArray[Any], LabelSpec, str | None]:
    """Read every item: an array, tensor or image; with its label, as a pair or by name.

    Images of torch, (channels, height, width), become (height, width[, channels]).

    Raises
    ------
    DataError
        If there is none, or one is no array or of another shape than the first; says which.
    """
    if not len(data):
        raise DataError(f"{name} has no rows: at least one is needed")
    take, label, label_name = _taker(data[0], labels, name)
    first = _values(take(data[0]), name, 0)
    rows = np.empty((len(data), *first.shape), first.dtype)
    found = []
    for i in range(len(data)):
        item = data[i]
        row = _values(take(item), name, i)
        if row.shape != first.shape:
            raise DataError(f"item {i} of {name} has shape {row.shape}, the first {first.shape}; make them of one size")
        if row.dtype != rows.dtype:
            rows = rows.astype(np.result_type(rows.dtype, row.dtype), copy=False)
        rows[i] = row
        if label is not None:
            found.append(_scalar(label(item)))
    given = plain_labels(_named(data, label_name, np.array(found))) if label is not None else labels
    return _channels_last(rows, take(data[0])), given, label_name


def _taker(
    item: Any, labels: LabelSpec, name: str
) -> tuple[Callable[[Any], Any], Callable[[Any], Any] | None, str | None]:
    """Say how to take the row, and if there is one the label, from an item."""
    if isinstance(item, Mapping):
        if isinstance(labels, str) and labels not in item:
            raise DataError(f"items of {name} have no entry {labels!r}: {suggest(labels, list(item))}")
        row = next((key for key in IMAGES if key in item), None)
        if row is None:
            raise DataError(f"items of {name} have the entries {', '.join(item)}: call the row 'image' or 'X'")
        key = labels if isinstance(labels, str) else next((k for k in TARGETS if k in item and labels is None), None)
        return (lambda item: item[row]), (None if key is None else lambda item: item[key]), key
    if isinstance(labels, str):
        raise DataError(f"items of {name} have no names, so none is called {labels!r}: give labels as an array")
    if isinstance(item, tuple | list) and len(item) and np.ndim(_plain(item[0])) > 0:
        second = len(item) > 1 and labels is None and _is_label(item[1])
        return (lambda item: item[0]), (lambda item: item[1]) if second else None, "label" if second else None
    return (lambda item: item), None, None


def _plain(value: Any) -> Any:
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _is_label(value: Any) -> bool:
    return isinstance(value, str) or np.ndim(_plain(value)) == 0


def _scalar(value: Any) -> Any:
    return value if isinstance(value, str) else _plain(value).item()


def _values(row: Any, name: str, i: int) -> NDArray[Any]:
    found: NDArray[Any] = _plain(row)
    if found.dtype.kind not in "biuf" or not found.ndim:
        raise DataError(f"item {i} of {name} is {type(row).__name__}: expected an array, a tensor or an image")
    return found


def _named(data: Any, label_name: str | None, values: NDArray[Any]) -> NDArray[Any]:
    """Give names for codes of classes, where the data set knows them."""
    features = getattr(data, "features", None)
    feature = features.get(label_name) if isinstance(features, dict) else None
    names = getattr(feature, "names", None) or getattr(data, "classes", None)
    if values.dtype.kind not in "iu" or not isinstance(names, list | tuple) or not len(names) > values.max(initial=-1):
        return values
    return np.array([str(names[code]) for code in values])


def _channels_last(rows: NDArray[Any], first: Any) -> NDArray[Any]:
    """Bring images of torch's layout to ours."""
    if hasattr(first, "detach") and rows.ndim == 4 and rows.shape[1] in CHANNELS and rows.shape[3] not in CHANNELS:
        rows = np.moveaxis(rows, 1, -1)
        return np.ascontiguousarray(rows[..., 0] if rows.shape[-1] == 1 else rows)
    return rows
