"""Search of rows by number, id, label, and the text of their columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from latentmap.explorer.fields import NO_CODE, Field
from latentmap.explorer.rows import ExploredRows

MOST_FOUND = 50
"""Rows that are found, at the most."""


@dataclass(frozen=True)
class Found:
    """A row that was found, and what was found in it."""

    i: int
    text: str


class Search:
    """Search of rows.

    Parameters
    ----------
    rows : ExploredRows
        The rows.
    fields : iterable of Field
        Fields whose categories are searched.
    """

    def __init__(self, rows: ExploredRows, fields: Iterable[Field]) -> None:
        self.rows = rows
        self.fields = [field for field in fields if field.kind == "category"]
        keys = {field.key for field in self.fields}
        self.texts = {
            name: cells.values
            for name, cells in (rows.columns or {}).items()
            if cells.values.dtype == object and f"column:{name}" not in keys and name != rows.label_name
        }

    def __call__(self, text: str) -> list[Found]:
        """Return the rows in which a text is found, in any case and form of Unicode, those of exact ids first."""
        wanted = folded(text).strip()
        found: dict[int, str] = {}
        for i, shown in self._found(wanted) if wanted else ():
            found.setdefault(i, shown)
            if len(found) == MOST_FOUND:
                break
        return [Found(i, shown) for i, shown in found.items()]

    @cached_property
    def _ids(self) -> list[str]:
        """The ids, folded."""
        return [folded(one) for one in self.rows.id_texts or ()]

    def _found(self, wanted: str) -> Iterator[tuple[int, str]]:
        ids = self.rows.id_texts
        if ids is not None:
            yield from ((i, ids[i]) for i, one in enumerate(self._ids) if one.strip() == wanted)
        if wanted.isascii() and wanted.isdecimal() and len(wanted) < 16:
            for i in np.flatnonzero(self.rows.numbers == int(wanted)).tolist():
                yield i, f"row {int(wanted)}"
        if ids is not None:
            yield from ((i, ids[i]) for i, one in enumerate(self._ids) if wanted in one)
        for field in self.fields:
            for code, level in enumerate(field.levels or ()):
                if wanted in folded(level):
                    yield from ((i, f"{field.name}: {level}") for i in _places(field.values, code))
        for name, values in self.texts.items():
            for i, value in enumerate(values.tolist()):
                if isinstance(value, str) and wanted in folded(value):
                    yield i, f"{name}: {value[:200]}"


def folded(text: str) -> str:
    r"""Return text without differences of case, and of how Unicode writes the same letters.

    >>> folded("Straße") == folded("STRASSE"), folded("Cafe\u0301") == folded("CAF\u00c9")
    (True, True)
    """
    return (
        text.lower()
        if text.isascii()
        else unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    )


def _places(codes: NDArray[np.uint16], code: int) -> list[int]:
    """Return the first rows of a category."""
    return [] if code == NO_CODE else np.flatnonzero(codes == code)[:MOST_FOUND].tolist()
