"""Blocks of text of pyarrow as numbers and dates, all cells at once, where they are written as the first ones are."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.checks import EXACT
from latentmap.data.columns import DAY
from latentmap.data.formats.frames import pyarrow_module
from latentmap.data.text import MARKS, MISSING
from latentmap.data.text_formats import TextFormat

NULLS = sorted(
    {"NaN", "NaT"} | {form for word in MISSING for form in (word, word.upper(), word.title(), word.capitalize())}
)
"""Missing cells as they are usually spelled."""

ISO, STAMPS = "%Y-%m-%d", ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S")
FIRST_DAY = -719_162
"""The days from 1970 to the first of January of year 1."""


class _Bytes:
    """The text of an array: the bytes of all cells, and where those begin and end that are not empty."""

    def __init__(self, array: Any) -> None:
        _, offsets, data = array.buffers()
        self.array = array
        raw = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1].astype(np.intp)
        self.data = np.frombuffer(data or b"", np.uint8)[raw[0] : raw[-1]]
        self.offsets = raw - raw[0]
        self.starts, self.ends = self.offsets[:-1], self.offsets[1:]
        self.there = self.ends > self.starts
        if not self.there.all():
            self.starts, self.ends = self.starts[self.there], self.ends[self.there]

    def at(self, places: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the bytes at places; the nearest ones for those beyond the text."""
        found: NDArray[np.uint8] = self.data.take(places, mode="clip") if len(places) else self.data[:0]
        return found


def without(array: Any, missing: Collection[str]) -> Any:
    """Return text in which marks of missing cells are null."""
    compute, lib, text = pyarrow_module("compute"), pyarrow_module("lib"), _Bytes(array)
    words = np.flatnonzero(text.there)
    if not missing:  # no mark ends with a digit
        words = words[~_digits(text.at(text.ends - 1))]
        if not len(words) and text.there.all():
            return array
    marks = lib.array([*NULLS, *MARKS, *missing], lib.string())
    found = compute.is_in(array.take(lib.array(words)), value_set=marks).to_numpy(zero_copy_only=False)
    there, lengths = text.there.copy(), np.diff(text.offsets)
    there[words[found]] = False
    return _strings(text.data[np.repeat(there, lengths)], np.where(there, lengths, 0), there)


def truth_of(array: Any, form: TextFormat) -> NDArray[np.float64] | None:
    """Return the words for false and true as 0 and 1; None if a cell is another word."""
    found, places = array.dictionary_encode(), {word: float(i) for i, word in enumerate(form.words)}
    values = np.array([places.get(word, np.nan) for word in found.dictionary.to_pylist()], dtype=np.float64)
    if np.isnan(values).any():
        return None
    codes = found.indices.fill_null(len(values)).to_numpy()
    of_cells: NDArray[np.float64] = np.append(values, np.nan)[codes]
    return of_cells


def whole_numbers(array: Any) -> Any:
    """Return text as integers; None if some cell is none, has more digits than a float, or is a code such as 02139."""
    lib = pyarrow_module("lib")
    text = _Bytes(array)
    if _has_codes(text) or (text.at(text.starts + 1) == ord("x")).any():
        return None
    try:
        whole = array.cast(lib.int64())
    except lib.ArrowInvalid:
        return None
    least, most = (pyarrow_module("compute").min_max(whole)[end].as_py() or 0 for end in ("min", "max"))
    return whole if max(-least, most) <= EXACT else None


def _strings(data: NDArray[np.uint8], lengths: NDArray[Any], there: NDArray[np.bool_]) -> Any:
    """Return cells of text from their bytes and lengths; those that are not there are null."""
    lib = pyarrow_module("lib")
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    valid = None if there.all() else lib.py_buffer(np.packbits(there, bitorder="little"))
    buffers = [valid, lib.py_buffer(offsets), lib.py_buffer(data)]
    return lib.Array.from_buffers(lib.string(), len(there), buffers)


def numbers_of(array: Any, form: TextFormat | None) -> NDArray[np.float64] | None:
    """Return text as numbers of a form, by default plain ones; None if a cell is something else."""
    text = _Bytes(array)
    if form is not None:
        array = _undecorated(text, form)
    elif _has_codes(text):
        return None
    return None if array is None else _cast(array, "float64")


def _digits(data: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which bytes are digits."""
    found: NDArray[np.bool_] = data - np.uint8(ord("0")) < 10  # bytes before 0 wrap around
    return found


def _cast(array: Any, type_: str) -> Any:
    """Return text as an array of numpy of a type of pyarrow; None if a cell is not such."""
    lib = pyarrow_module("lib")
    try:
        return array.cast(type_).to_numpy(zero_copy_only=False)
    except lib.ArrowInvalid:
        return None


def _has_codes(text: _Bytes) -> bool:
    """Return whether a number begins with a zero and another digit, or with a plus."""
    starts, first = text.starts, text.at(text.starts)
    if (first == ord("+")).any():
        return True
    if (minus := first == ord("-")).any():
        starts = starts + minus
        first = text.at(starts)
    zeros = np.flatnonzero(first == ord("0"))
    second = starts[zeros] + 1
    digits = _digits(text.at(second))
    return bool(digits.any() and (digits & (second < text.ends[zeros])).any())


def dates_of(array: Any, form: TextFormat) -> NDArray[np.float64] | None:
    """Return dates of a pattern as days since 1970; None if a cell is something else."""
    compute, lib, text = pyarrow_module("compute"), pyarrow_module("lib"), _Bytes(array)
    pattern, length = form.pattern, text.ends - text.starts
    if pattern == ISO:
        days = _cast(array, "date32") if (length == 10).all() else None
        return None if days is None else _days(days.astype("datetime64[D]"), 1)
    if pattern in STAMPS:
        same = (length == 19).all() and (text.at(text.starts + 10) == ord(pattern[8])).all()
        stamps = _cast(array, "timestamp[s]") if same else None
        return None if stamps is None else _days(stamps, 86_400)
    if any(code in pattern for code in ("%f", "%y", "%I", "+00", "Z", "UTC", "GMT")):
        return None
    try:
        stamps = compute.strptime(array, format=pattern, unit="us")
    except lib.ArrowInvalid:
        return None
    same = compute.equal(compute.strftime(stamps.cast(lib.timestamp("s")), format=pattern), array)
    if not compute.all(same, min_count=0).as_py():  # it takes February 30 for March 1, and year 24 for 0024
        return None
    return _days(stamps.to_numpy(zero_copy_only=False), DAY)


def _days(stamps: NDArray[Any], a_day: int) -> NDArray[np.float64] | None:
    """Return dates and times, of which a day has so many units, as days since 1970; None for those before year 1."""
    there, days = ~np.isnat(stamps), stamps.astype(np.int64) / a_day
    if (days[there] < FIRST_DAY).any():
        return None
    return days if there.all() else np.where(there, days, np.nan)


def _undecorated(text: _Bytes, form: TextFormat) -> Any:
    """Return numbers without prefix, suffix and separators; None if those are not in their place in every cell.

    Every cell has as many decimals as the first ones if those are ``fixed``, and else no more.
    """
    data = text.data
    marks, point, comma = form.prefix + form.suffix, ord(form.decimal), form.thousands
    if form.accounting or not (marks.isascii() and form.decimal.isascii()) or set(marks) & set("0123456789-.,"):
        return None
    minus = text.at(text.starts) == ord("-")
    before, last = text.starts + minus, text.ends - len(form.suffix)
    first = before + len(form.prefix)
    for mark, at in ((form.prefix, before), (form.suffix, last)):
        if not all((text.at(at + i) == ord(letter)).all() for i, letter in enumerate(mark)):
            return None
    if (first >= last).any():
        return None
    points = np.flatnonzero(data == point)
    ends = _whole_ends(points, first, last, form)
    if ends is None:
        return None
    digits, zeros = ends - first, text.at(first) == ord("0")
    commas = (digits - 1) // 4 if comma else np.zeros_like(digits)
    if (zeros & (digits > 1)).any() or (commas < 0).any():
        return None
    for k in range(1, int(commas.max(initial=0)) + 1):
        if not (text.at(ends - 4 * k) == ord(comma))[commas >= k].all():
            return None
    keep = _digits(data)
    if np.count_nonzero(keep) != (last - first).sum() - commas.sum() - len(points):
        return None
    keep |= (data == point) | (data == ord("-"))
    cleaned, lengths = data[keep], np.diff(text.offsets)
    lengths[text.there] -= commas + len(marks)
    if len(cleaned) != lengths.sum():  # a sign that is not the first byte of a cell
        return None
    if form.decimal == ",":
        cleaned[cleaned == point] = ord(".")
    return _strings(cleaned, lengths, text.there)


def _whole_ends(
    points: NDArray[np.intp], first: NDArray[Any], last: NDArray[Any], form: TextFormat
) -> NDArray[Any] | None:
    """Return where the whole part of each number ends; None if the places are not those of a form."""
    if len(points) != len(first) or not ((points >= first) & (points < last)).all():
        cells = np.searchsorted(last, points, side="right")
        if len(np.unique(cells)) < len(cells) or (form.fixed and len(cells)):
            return None
        ends = last.copy()
        ends[cells] = points
    else:
        ends = points
    places = np.maximum(last - ends - 1, 0)
    ok = (places == form.places).all() if form.fixed else places.max(initial=0) <= form.places
    return ends if ok else None
