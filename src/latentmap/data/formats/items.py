"""Data sets that return one row at a time: PyTorch's map-style ones, and those of Hugging Face."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.formats.arrays import ArraySource
from latentmap.data.formats.base import LabelSpec, Request, Source, name_of, plain_labels
from latentmap.data.formats.members import LABELS, ROWS
from latentmap.data.values import is_tensor
from latentmap.exceptions import DataError

IMAGES = (*ROWS, "image", "img", "pixel_values")
TARGETS = (*LABELS, "label", "fine_label")
CHANNELS = (1, 3)


def items_source(request: Request) -> Source | None:
    """Return a source of a map-style data set, whose items are read by their number."""
    data = request.data
    sized = hasattr(data, "__len__") and hasattr(data, "__getitem__")
    if not sized or isinstance(data, str | Mapping) or hasattr(data, "__array__"):
        return None
    request.require_no_columns()
    rows, labels, label_name = read_items(data, request.labels, request.name)
    return ArraySource(rows, name=request.name, labels=labels, label_name=label_name)


def is_hugging_face(data: Any) -> bool:
    """Return whether data are a data set of Hugging Face's."""
    return all(hasattr(data, name) for name in ("features", "column_names", "with_format"))


def arrow_table(data: Any, labels: LabelSpec) -> Any | None:
    """Return a Hugging Face data set as a table of pyarrow, or None if a column holds images or arrays."""
    kinds = {name: type(feature).__name__ for name, feature in data.features.items() if name != labels}
    if not all(kind in ("Value", "ClassLabel") for kind in kinds.values()):
        return None
    table = data.with_format("arrow")[:]
    for i, (name, feature) in enumerate(data.features.items()):
        if type(feature).__name__ == "ClassLabel":
            classes = [None if c is None or c < 0 else feature.int2str(c) for c in table[name].to_pylist()]
            table = table.set_column(i, name, [classes])
    return table


def read_items(data: Any, labels: LabelSpec, name: str) -> tuple[NDArray[Any], LabelSpec, str | None]:
    """Return the rows, labels and label name of all items, each an array, tensor or image, with or without a label.

    Images of torch, (channels, height, width), become (height, width[, channels]).
    """
    if not len(data):
        raise DataError(f"{name} has no rows: at least one is needed")
    row_of, label_of, label_name = _getters(data[0], labels, name)
    first = _values(row_of(data[0]), name, 0)
    rows = np.empty((len(data), *first.shape), first.dtype)
    classes = []
    for i in range(len(data)):
        item = data[i]
        row = _values(row_of(item), name, i)
        if row.shape != first.shape:
            raise DataError(f"item {i} of {name} has shape {row.shape}, the first {first.shape}; make them of one size")
        if row.dtype != rows.dtype:
            rows = rows.astype(np.result_type(rows.dtype, row.dtype), copy=False)
        rows[i] = row
        if label_of is not None:
            classes.append(_scalar(label_of(item)))
    if label_of is not None:
        labels = plain_labels(_named(data, label_name, np.array(classes)))
    return _channels_last(rows, row_of(data[0])), labels, label_name


def _getters(
    item: Any, labels: LabelSpec, name: str
) -> tuple[Callable[[Any], Any], Callable[[Any], Any] | None, str | None]:
    """Return functions that get the row and, if there is one, the label of an item; and the label's name."""
    if isinstance(item, Mapping):
        key = name_of(labels, item, f"items of {name} have no entry")
        row = next((known for known in IMAGES if known in item), None)
        if row is None:
            raise DataError(f"items of {name} have the entries {', '.join(item)}: call the row 'image' or 'X'")
        if labels is None:
            key = next((known for known in TARGETS if known in item), None)
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
    values: NDArray[Any] = _plain(row)
    if values.dtype.kind not in "biuf" or not values.ndim:
        raise DataError(f"item {i} of {name} is {type(row).__name__}: expected an array, a tensor or an image")
    return values


def _named(data: Any, label_name: str | None, values: NDArray[Any]) -> NDArray[Any]:
    """Return the names of classes instead of their numbers, where the data set has them."""
    features = getattr(data, "features", None)
    feature = features.get(label_name) if isinstance(features, dict) else None
    names = getattr(feature, "names", None) or getattr(data, "classes", None)
    if values.dtype.kind not in "iu" or not isinstance(names, list | tuple) or not len(names) > values.max(initial=-1):
        return values
    return np.array([str(names[value]) for value in values])


def _channels_last(rows: NDArray[Any], first: Any) -> NDArray[Any]:
    """Return images in torch's layout with the channels last."""
    if is_tensor(first) and rows.ndim == 4 and rows.shape[1] in CHANNELS and rows.shape[3] not in CHANNELS:
        rows = np.moveaxis(rows, 1, -1)
        return np.ascontiguousarray(rows[..., 0] if rows.shape[-1] == 1 else rows)
    return rows
