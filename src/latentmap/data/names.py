"""Names of columns, compared as people and libraries write them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Container, Hashable, Sequence
from typing import TYPE_CHECKING

from latentmap.data.columns import Requested, Table

if TYPE_CHECKING:
    from latentmap.data.formats.base import Request

UNNAMED = re.compile(r"(?:Unnamed: \d+(?:_level_\d+)?)?")
"""What a column without a name is called: nothing, or as pandas calls it."""


def as_known(names: Sequence[str], known: Collection[str]) -> list[str]:
    """Return the names of columns of data, as those are spelled that a fit or a user knows.

    A name that is not known stands for a known one that the data lack, if the two differ in nothing but surrounding
    blanks, a mark of comments before them (``#`` or ``%``), or both are no names; and if no other name does.

    >>> as_known(["# of rooms", " price", "Unnamed: 0"], ["of rooms", "price", ""])
    ['of rooms', 'price', '']
    """
    own, wanted = set(names), set(known)
    lacking = [name for name in wanted if name not in own]
    if not lacking or own <= wanted:
        return list(names)
    there = Counter(_key(name) for name in names if name not in wanted)
    asked = Counter(map(_key, lacking))
    spelled = {key: name for name in lacking if asked[key := _key(name)] == 1 == there[key]}
    return [name if name in wanted else spelled.get(_key(name), name) for name in names]


def known_names(request: Request) -> set[str]:
    """Return the names of columns that a request knows: of its fit, settings, labels and id."""
    selection, columns = request.selection, request.columns
    known = {*(selection.wanted or ()), *selection.known, *selection.beside, *selection.left_out}
    if isinstance(columns, Table):
        known |= {*columns.names, *columns.order, *columns.kinds}
    elif isinstance(columns, Requested):
        known |= set(columns.settings)
    return known | ({request.labels} if isinstance(request.labels, str) else set())


def _key(name: str) -> str:
    """Return what two spellings of a name share."""
    return "" if UNNAMED.fullmatch(name) else re.sub(r"^[#%]+\s*(?=\S)", "", name.strip())


def free_name(name: str, known: Container[str]) -> str:
    """Return a name that no column has: with underscores after it, if need be.

    >>> free_name("row", ["row", "height"])
    'row_'
    """
    while name in known:
        name += "_"
    return name


def twice(names: Sequence[Hashable]) -> Hashable | None:
    """Return the first name that is there twice; None if all differ.

    >>> twice(["a", "b", "b", "a"]), twice("ab")
    ('a', None)
    """
    return next((name for name, count in Counter(names).items() if count > 1), None)
