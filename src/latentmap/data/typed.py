"""Types of values that come from a file, checked against the annotations of the dataclass that they become."""

from __future__ import annotations

import functools
import types
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from latentmap.exceptions import ModelError

T = TypeVar("T")


def require_types(value: T) -> T:
    """Return a dataclass; raise a `ModelError` if a field is not what its annotation says.

    >>> from latentmap.data.schema import Schema
    >>> require_types(Schema("3", (2,), "float64", None, 0.0, 1.0, False))
    Traceback (most recent call last):
    latentmap.exceptions.ModelError: n_rows of a Schema must be int, got '3'
    """
    kind: Any = type(value)
    for field in fields(kind):
        found, hint = getattr(value, field.name), _hints(kind).get(field.name, Any)
        if not matches(found, hint):
            shown = f"{found!r}"
            shown = shown if len(shown) <= 60 else f"{shown[:60]}..."
            wanted = field.type if isinstance(field.type, str) else field.type.__name__
            raise ModelError(f"{field.name} of a {type(value).__name__} must be {wanted}, got {shown}")
    return value


def matches(value: Any, hint: Any) -> bool:
    """Return whether a value is of a type, and its items are of theirs; a whole number is a float too, a bool neither.

    >>> matches((1, 2), tuple[int, ...]), matches(True, float), matches("a", Literal["b"] | None)
    (True, False, False)
    """
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(matches(value, one) for one in inner)
    if origin is Literal:
        return isinstance(value, str) and value in inner
    if origin is tuple:
        if inner[-1] is ...:
            return isinstance(value, tuple) and all(matches(item, inner[0]) for item in value)
        return isinstance(value, tuple) and len(value) == len(inner) and all(map(matches, value, inner))
    if origin is not None and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(
            matches(key, inner[0]) and matches(item, inner[1]) for key, item in value.items()
        )
    if origin is not None and issubclass(origin, Sequence):
        return (
            isinstance(value, Sequence)
            and not isinstance(value, str)
            and all(matches(item, inner[0]) for item in value)
        )
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    return isinstance(value, origin or hint or type(None))


@functools.cache
def _hints(kind: Hashable) -> dict[str, Any]:
    """Return the annotations of a class; none where they name what only a type checker imports."""
    try:
        return get_type_hints(kind)
    except NameError:
        return {}
