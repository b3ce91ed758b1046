"""What is known of a column of text before it is read."""

from __future__ import annotations

from dataclasses import dataclass, replace

from latentmap.data.checks import EXACT
from latentmap.data.columns import Column, ColumnSpec, Table
from latentmap.data.text_formats import TextFormat

TEXTS = ("String", "Categorical", "Enum")


@dataclass(frozen=True)
class TextSettings:
    """What is known of a column of text before it is read.

    Attributes
    ----------
    kind
        The kind that was asked for; "drop" and "categorical" are never read as dates.
    format
        The format that a fit has learned, or a pattern of dates as in ``datetime.strptime``.
    text
        Whether the fit has learned text, so that nothing else may be read; None if that is open.
    missing
        Further marks of missing cells, in lower case.
    comma
        Whether a comma among digits rather separates decimals than thousands, where it could be either.
    """

    kind: str = ""
    format: TextFormat | str | None = None
    text: bool | None = None
    missing: frozenset[str] = frozenset()
    comma: bool = False

    @property
    def learned(self) -> TextFormat | None:
        """The format that a fit has learned."""
        return self.format if isinstance(self.format, TextFormat) else None


OPEN = TextSettings()
"""Nothing is known."""


def text_settings(name: str, spec: ColumnSpec, *, comma: bool = False) -> TextSettings:
    """Return what a fit, or its settings, say of a column of text."""
    if spec is None:
        return TextSettings(comma=comma)
    missing = frozenset(mark.strip().lower() for mark in spec.missing)
    if isinstance(spec, Table):
        learned = spec.kinds.get(name)
        if learned is None:  # as it is, since imputing gives all columns back
            return TextSettings(text=True, missing=missing)
        return replace(_of_column(learned), missing=missing, comma=comma)
    given = spec.settings.get(name, {})
    kind = given.get("kind", "date" if given.get("format") else "")
    named = "embedding" in given or any(isinstance(category, str) for category in given.get("categories", ()))
    return TextSettings(kind, given.get("format"), named or None, missing, comma)


def _of_column(column: Column) -> TextSettings:
    """Return how a fit has read a column."""
    if column.type in TEXTS or any(isinstance(one, int) and abs(one) > EXACT for one in column.categories):
        return TextSettings(text=True)
    kind = "date" if column.type.startswith("Date") else "boolean" if column.type == "Boolean" else "real"
    return TextSettings(kind, column.format, False)
