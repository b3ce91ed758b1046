"""Values in memory as plain arrays of numbers: NaN where one is missing, and nothing rounded.

An array, a tensor, a list and a column of objects with the same values are read alike.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.checks import BEYOND, EXACT, place, require_exact, require_numeric
from latentmap.exceptions import CellError, DataError
from latentmap.messages import one_line

PLAIN = frozenset({int, float, bool, str, type(None)})
"""Types of values in lists that numpy converts correctly."""


def plain_array(data: Any, name: str = "X") -> NDArray[Any]:
    """Return an array, a tensor or nested lists of any shape as an array of numbers in the machine's byte order.

    Masked cells, None, ``pandas.NA`` and NaT among numbers are NaN. Single and double precision, integers and bytes
    keep their type where nothing is missing.

    Raises
    ------
    DataError
        If it is none of these, or holds text, dates, complex numbers, fields, lists of different lengths, or integers
        beyond 2^53, which double precision would round.

    Examples
    --------
    >>> plain_array(np.ma.array([[1, -9999]], mask=[[False, True]]))
    array([[ 1., nan]])
    >>> plain_array([[1.5, None]])
    array([[1.5, nan]])
    """
    if isinstance(data, np.ma.MaskedArray):
        return _unmasked(data, name)
    if is_tensor(data):
        return _of_tensor(data, name)
    listed = isinstance(data, list | tuple)
    if not listed and not hasattr(data, "__array__"):
        expected = "expected an array, a tensor, a data frame, a path or the name of a data set"
        one = f"; give one of its entries, or pandas.DataFrame({name})" if isinstance(data, Mapping) else ""
        raise DataError(f"{name} is {_article(type(data).__name__)}: {expected}{one}")
    try:
        array = np.asarray(_unwrapped(data, name) if listed else data)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{name}: rows must all have the same length ({one_line(error)})") from error
    except Exception as error:
        raise DataError(f"{name} cannot be read as an array: {one_line(error)[:150]}") from error
    if array.dtype.kind == "O":
        return _of_objects(array, name)
    if array.dtype.names:
        raise DataError(f"{name} has fields ({', '.join(array.dtype.names[:5])}): give it as pandas.DataFrame({name})")
    if array.dtype.kind in "mM":
        raise DataError(
            f"{name} has dtype {array.dtype.name}: expected numbers; a data frame, as pandas.DataFrame({name}), has "
            "its dates read as such"
        )
    if array.dtype.kind not in "biuf":
        require_numeric(array.dtype, name)
    if array.dtype.kind in "iu" and array.itemsize == 8:
        require_exact(array, name)
    if listed and array.dtype.kind == "f" and (np.abs(array) >= EXACT).any():  # integers among fractions
        return _of_objects(np.asarray(data, dtype=object), name)
    return native(array)


def flat(block: NDArray[Any]) -> NDArray[Any]:
    """Return rows as vectors, of a type that models take: bytes, and single or double precision.

    >>> flat(np.zeros((3, 2, 2), np.uint8)).shape, flat(np.zeros((3, 2), np.float16)).dtype
    ((3, 4), dtype('float64'))
    """
    if block.dtype not in (np.uint8, np.float32, np.float64):
        block = block.astype(np.float64)
    return block.reshape(len(block), int(np.prod(block.shape[1:])))


def native(block: NDArray[Any]) -> NDArray[Any]:
    """Return values in the machine's byte order, at most in double precision."""
    wide = block.dtype.kind == "f" and block.itemsize > 8
    with np.errstate(over="ignore"):  # values that are too large become infinite, which is an error later
        return np.asarray(block, dtype=np.dtype(np.float64) if wide else block.dtype.newbyteorder("="))


def is_tensor(data: Any) -> bool:
    """Return whether data are a tensor of torch, without importing it."""
    return hasattr(data, "detach") and hasattr(data, "dtype")


def is_missing(value: Any) -> bool:
    """Return whether a value is missing: None, NaN, NaT, pandas' NA or masked.

    >>> [is_missing(value) for value in (None, float("nan"), np.datetime64("NaT"), 0, "")]
    [True, True, True, False, False]
    """
    if value is None or type(value).__name__ in ("NAType", "NaTType", "MaskedConstant"):
        return True
    different = value != value
    return bool(different) if isinstance(different, bool | np.bool_) else False


def is_number(value: Any) -> bool:
    """Return whether a value is a real number or a truth value, of any type.

    >>> [is_number(value) for value in (1, True, np.float32(0.5), Decimal("0.1"), 1j, "1")]
    [True, True, True, True, False, False]
    """
    return isinstance(value, numbers.Real | Decimal | np.bool_)


def as_numbers(values: Sequence[Any], name: str, where: Callable[[int], str]) -> NDArray[np.float64]:
    """Return numbers of any types in double precision, NaN where one is missing; ``where`` describes an index.

    >>> as_numbers([1, True, Decimal("0.5"), None], "X", str)
    array([1. , 1. , 0.5, nan])
    """
    array = np.empty(len(values))
    for i, value in enumerate(values):
        if is_missing(value):
            array[i] = np.nan
            continue
        if not is_number(value):
            kind = _article(type(value).__name__)
            raise CellError(f"{name} holds {kind} at {where(i)}, not a number: {_not_a_number(value)}")
        if abs(value) > EXACT and not isinstance(value, float | np.floating):
            raise DataError(f"{name}: {value} at {where(i)} {BEYOND}")
        array[i] = value
    return array


def _of_objects(array: NDArray[Any], name: str) -> NDArray[np.float64]:
    def where(i: int) -> str:
        return place([int(at) for at in np.unravel_index(i, array.shape)]) if array.ndim else "index []"

    return as_numbers(array.ravel().tolist(), name, where).reshape(array.shape)


def _unmasked(data: Any, name: str) -> NDArray[Any]:
    mask = np.ma.getmaskarray(data)
    if data.dtype.kind not in "biufO" or not mask.any():
        return plain_array(np.asarray(data.data), name)
    rows = plain_array(np.asarray(data.filled(0)), name)  # masked values are not part of the data
    rows = rows.astype(rows.dtype if rows.dtype.kind == "f" else np.float64)
    rows[mask] = np.nan
    return rows


def _of_tensor(data: Any, name: str) -> NDArray[Any]:
    if "strided" not in str(getattr(data, "layout", "strided")):
        raise DataError(
            f"{name} is a tensor of layout {data.layout}: give {name}.to_dense(), or a matrix of scipy.sparse"
        )
    try:
        tensor = data.detach().cpu()
        if tensor.is_floating_point() and str(tensor.dtype) not in ("torch.float16", "torch.float32", "torch.float64"):
            tensor = tensor.float()  # numpy has no bfloat16
        array = tensor.resolve_conj().resolve_neg().numpy()
    except Exception as error:
        raise DataError(f"{name} is a tensor that numpy cannot read: {one_line(error)[:150]}") from error
    return plain_array(array, name)


def _unwrapped(item: Any, name: str) -> Any:
    """Return lists in which tensors and masked arrays have become plain arrays."""
    if isinstance(item, list | tuple):
        return item if PLAIN.issuperset(map(type, item)) else [_unwrapped(value, name) for value in item]
    if type(item).__name__ == "MaskedConstant":
        return None
    return plain_array(item, name) if is_tensor(item) or isinstance(item, np.ma.MaskedArray) else item


def _not_a_number(value: Any) -> str:
    if isinstance(value, str | bytes):
        return f"{value!r:.40}; text is for columns of a data frame"
    if isinstance(value, complex | np.complexfloating):
        return "Complex data not supported"
    try:
        float(value)
    except Exception as error:
        return one_line(error)[:150]
    return "dates and the like are for columns of a data frame"


def _article(kind: str) -> str:
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


def beside(columns: Sequence[NDArray[np.float64]], room: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Return columns as rows (n, P), which lie in memory column by column.

    ``room`` of shape (P, n) holds them in the end; each column is a row of it already, or that row is free.
    """
    if room is None or len(room) != len(columns):
        room = np.empty((len(columns), len(columns[0])))
    for column, own in zip(columns, room, strict=True):
        if column.ctypes.data != own.ctypes.data:
            own[:] = column
    return room.T
