"""Values that come from a file of JSON, as the types that annotations name; others are refused with their place."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

from latentmap.exceptions import ModelError
from latentmap.messages import any_of

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}
"""Types in words."""
SHOWN = 60
"""Characters of a value that an error shows."""


def made(kind: type[T], values: Any, at: str = "") -> T:
    """Return a dataclass from the values of its fields as JSON holds them; ``at`` is their place in the file.

    Raises
    ------
    ModelError
        If they are no object, a field lacks or is unknown, or a value is not what its annotation says.

    Examples
    --------
    >>> from latentmap.data.schema import Schema
    >>> made(Schema, {"n_rows": "3"}, "schema")
    Traceback (most recent call last):
    latentmap.exceptions.ModelError: schema.n_rows must be a whole number, got '3'
    """
    if not isinstance(values, Mapping):
        raise _refused(values, "an object", at or f"a {kind.__name__}")
    known = {field.name: field for field in fields(kind)}
    if unknown := [name for name in values if name not in known]:
        raise ModelError(f"{at or f'a {kind.__name__}'} has no {unknown[0]!r:.40}")
    hints = _hints(kind)
    read = {name: typed(value, hints.get(name, Any), f"{at}.{name}".lstrip(".")) for name, value in values.items()}
    for name, field in known.items():
        if name not in read and field.default is MISSING and field.default_factory is MISSING:
            raise ModelError(f"{at or f'a {kind.__name__}'} lacks {name}")
    return kind(**read)


def typed(value: Any, hint: Any, at: str) -> Any:
    """Return a value of JSON as what a type says: lists as tuples, objects as dataclasses, whole numbers as floats too.

    An object is a dataclass by its own ``from_json``, if it has one; a typed dictionary may have further keys.

    Raises
    ------
    ModelError
        If it is of another type.

    Examples
    --------
    >>> typed([1, [2, 3]], tuple[int, tuple[int, ...]], "x"), typed(None, Literal["b"] | None, "x")
    ((1, (2, 3)), None)
    >>> typed([1, True], Sequence[int], "steps")
    Traceback (most recent call last):
    latentmap.exceptions.ModelError: steps[1] must be a whole number, got True
    """
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _of_union(value, inner, hint, at)
    if origin is Literal:
        return value if isinstance(value, str) and value in inner else _refuse(value, hint, at)
    if is_typeddict(hint):
        return _of_dictionary(value, hint, at)
    if origin is tuple or (isinstance(origin, type) and issubclass(origin, Sequence)):
        return _of_list(value, hint, origin, inner, at)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            _refuse(value, hint, at)
        return {key: typed(item, inner[1], f"{at}.{key:.40}") for key, item in value.items()}
    if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, Mapping):
        read = getattr(hint, "from_json", None)
        return made(hint, value, at) if read is None else _read(read, value, at)
    if hint in (int, float):
        number = isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
        return value if number and (hint is int or abs(value) <= sys.float_info.max) else _refuse(value, hint, at)
    return value if isinstance(value, origin or hint or type(None)) else _refuse(value, hint, at)


def _of_union(value: Any, options: Collection[Any], hint: Any, at: str) -> Any:
    """Return a value as the first of several types that it is of."""
    some = [one for one in options if one is not type(None)]
    if value is None and len(some) < len(options):
        return None
    if len(some) == 1:
        return typed(value, some[0], at)
    for one in some:
        try:
            return typed(value, one, at)
        except ModelError:
            if is_dataclass(one) and isinstance(value, Mapping):
                raise
    return _refuse(value, hint, at)


def _of_list(value: Any, hint: Any, origin: Any, inner: Sequence[Any], at: str) -> Any:
    if not isinstance(value, list | tuple):
        return _refuse(value, hint, at)
    many = origin is not tuple or inner[-1] is ...
    if not many and len(value) != len(inner):
        raise ModelError(f"{at} must be a list of {len(inner)}, got {len(value)}")
    kinds = [inner[0]] * len(value) if many else inner
    items = [typed(item, kind, f"{at}[{i}]") for i, (item, kind) in enumerate(zip(value, kinds, strict=True))]
    return tuple(items) if origin is tuple or isinstance(value, tuple) else items


def _of_dictionary(value: Any, hint: Any, at: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        _refuse(value, hint, at)
    if lacking := [name for name in sorted(hint.__required_keys__) if name not in value]:
        raise ModelError(f"{at or 'it'} lacks {lacking[0]}")
    hints = get_type_hints(hint)
    return {name: typed(item, hints.get(name, Any), f"{at}.{name:.40}".lstrip(".")) for name, item in value.items()}


def _read(read: Any, value: Any, at: str) -> Any:
    try:
        return read(value)
    except ModelError as error:
        raise ModelError(f"{at}: {error}") from error


def _refuse(value: Any, hint: Any, at: str) -> Any:
    raise _refused(value, _in_words(hint), at)


def _refused(value: Any, wanted: str, at: str) -> ModelError:
    shown = f"{value!r}"
    return ModelError(f"{at} must be {wanted}, got {shown if len(shown) <= SHOWN else f'{shown[:SHOWN]}...'}")


def _in_words(hint: Any) -> str:
    """Return what a type takes, as JSON has it.

    >>> _in_words(float | Literal["shared", "feature"] | None), _in_words(tuple[int, ...])
    ("a number, 'shared', 'feature' or null", 'a list')
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any_of(list(dict.fromkeys(word for one in inner for word in _options(one))))
    if origin is Literal:
        return any_of(_options(hint))
    if origin is tuple or (isinstance(origin, type) and issubclass(origin, Sequence)):
        return "a list"
    return WORDS.get(hint, "an object")


def _options(hint: Any) -> list[str]:
    return list(map(repr, get_args(hint))) if get_origin(hint) is Literal else [_in_words(hint)]


@functools.cache
def _hints(kind: Hashable) -> dict[str, Any]:
    """Return the annotations of a class; none where they name what only a type checker imports."""
    try:
        return get_type_hints(kind)
    except NameError:
        return {}
