"""Long columns of text of pyarrow as numbers and dates, all cells at once, where they are as the first ones are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.checks import EXACT
from latentmap.data.columns import DAY, Cells
from latentmap.data.formats.frames import pyarrow_module
from latentmap.data.text import Texts, TextSettings
from latentmap.data.text_formats import TextFormat

LONG = 20_000
"""The fewest cells of a column that is read this way."""
DIGITS = np.isin(np.arange(256), np.frombuffer(b"0123456789", np.uint8))


def texts_of(column: Any) -> Texts:
    """Return a column of text of pyarrow, dictionary-encoded or not, as its different texts."""
    if not pyarrow_module("types").is_dictionary(column.type):
        column = column.dictionary_encode()
    array = column.unify_dictionaries().combine_chunks()
    array = array.chunk(0) if hasattr(array, "chunk") else array
    codes = array.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return Texts(array.dictionary.to_pylist(), codes.astype(np.intp))


def fast_cells(name: str, column: Any, settings: TextSettings, sample: Cells) -> Cells | None:
    """Return a long column of text as numbers or dates in the form of its first cells; None if others differ."""
    types, form = pyarrow_module("types"), sample.format
    if len(column) < LONG or types.is_dictionary(column.type) or sample.note or settings.format:
        return None
    array = pyarrow_module("lib").concat_arrays(column.chunks)
    if form is None and sample.type == "Int64" and (whole := whole_numbers(array)) is not None:
        return Cells(name, whole.cast("float64").to_numpy(zero_copy_only=False), "Int64")
    if form is None:
        return None
    values = _numbers(array, form) if form.kind == "number" else _dates(array, form) if form.kind == "date" else None
    if values is None:
        return None
    type_ = sample.type
    if form.kind == "number":
        finite = values[~np.isnan(values)]
        type_ = "Int64" if not form.places and bool((np.trunc(finite) == finite).all()) else "Float64"
    return Cells(name, values, type_, format=form)


def whole_numbers(array: Any) -> Any:
    """Return text as integers; None if some cell is none, has more digits than a float, or is a code such as 02139."""
    lib = pyarrow_module("lib")
    offsets = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(array.buffers()[2] or b"", np.uint8)
    starts = offsets[:-1][np.diff(offsets) > 0]
    if len(starts):
        starts = starts + np.isin(data[starts], (ord("-"), ord("+")))
        second = data[np.minimum(starts + 1, len(data) - 1)]
        ends = offsets[1:][np.diff(offsets) > 0]
        if ((data[starts] == ord("0")) & (starts + 1 < ends)).any() or (second == ord("x")).any():
            return None
    try:
        whole = array.cast(lib.int64())
    except lib.ArrowInvalid:
        return None
    least, most = (pyarrow_module("compute").min_max(whole)[end].as_py() or 0 for end in ("min", "max"))
    return whole if max(-least, most) <= EXACT else None


def _dates(array: Any, form: TextFormat) -> NDArray[np.float64] | None:
    """Return dates of a pattern as days since 1970."""
    compute, lib = pyarrow_module("compute"), pyarrow_module("lib")
    if any(code in form.pattern for code in ("%f", "%y", "%I", "+00", "Z", "UTC", "GMT")):
        return None
    try:
        stamps = compute.strptime(array, format=form.pattern, unit="us")
    except lib.ArrowInvalid:
        return None
    same = compute.equal(compute.strftime(stamps.cast(lib.timestamp("s")), format=form.pattern), array)
    if not compute.all(same, min_count=0).as_py():  # it takes February 30 for March 1, and year 24 for 0024
        return None
    stamps = stamps.to_numpy(zero_copy_only=False)
    return np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64) / DAY)


def _numbers(array: Any, form: TextFormat) -> NDArray[np.float64] | None:
    """Return numbers with a prefix, a suffix and separators, each in its place in every cell."""
    lib = pyarrow_module("lib")
    if form.accounting or not (form.decimal + form.thousands).isascii():
        return None
    offsets = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(array.buffers()[2], np.uint8)[: offsets[-1]]
    there = np.diff(offsets) > 0
    starts, ends = offsets[:-1][there], offsets[1:][there]
    keep = np.ones(len(data) + 1, dtype=bool)
    minus = data[starts] == ord("-")
    for mark, at in ((form.prefix, starts + minus), (form.suffix, ends - len(form.suffix.encode()))):
        for i, byte in enumerate(mark.encode()):
            if not (data[np.minimum(at + i, len(data) - 1)] == byte).all():
                return None
            keep[at + i] = False
    first, last = starts + len(form.prefix.encode()), ends - len(form.suffix.encode())
    if (first >= last).any() or not _drop_thousands(data, keep, form.thousands, first + minus, last):
        return None
    if form.decimal == ",":
        if not form.thousands and (data == ord(".")).any():
            return None
        data = np.where(data == ord(","), np.uint8(ord(".")), data) if form.thousands != "," else data
    moved = np.concatenate([[0], np.cumsum(keep[:-1])])[offsets].astype(np.int32)
    cleaned = np.ascontiguousarray(data[keep[:-1]])
    buffers = [array.buffers()[0] if array.offset == 0 else None, lib.py_buffer(moved), lib.py_buffer(cleaned)]
    if array.null_count and array.offset:
        return None
    text = lib.Array.from_buffers(lib.string(), len(array), buffers)
    try:
        values: NDArray[np.float64] = text.cast(lib.float64()).to_numpy(zero_copy_only=False)
    except lib.ArrowInvalid:
        return None
    return values


def _drop_thousands(
    data: NDArray[np.uint8], keep: NDArray[np.bool_], mark: str, first: NDArray[Any], last: NDArray[Any]
) -> bool:
    """Drop separators of thousands; return whether three digits follow each, and one to three stand before.

    ``first`` and ``last`` are where the digits of each cell begin and end.
    """
    if not mark:
        return True
    at = np.flatnonzero(data == ord(mark))
    cell = np.searchsorted(first, at, side="right") - 1
    if not len(at) or (cell < 0).any():
        return not len(at)
    digits = DIGITS[np.concatenate([np.zeros(4, np.uint8), data, np.zeros(5, np.uint8)])]

    def is_digit(step: int) -> NDArray[np.bool_]:
        place = at + step
        found: NDArray[np.bool_] = digits[place + 4] & (place >= first[cell]) & (place < last[cell])
        return found

    three_after = is_digit(1) & is_digit(2) & is_digit(3) & ~is_digit(4)
    four_before = is_digit(-1) & is_digit(-2) & is_digit(-3) & is_digit(-4)
    if not (three_after & is_digit(-1) & ~four_before).all():
        return False
    keep[at] = False
    return True
