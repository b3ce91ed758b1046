"""The columns of a table: how rows of cells become rows of numbers, and numbers cells again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from latentmap.data.cells import DAY as DAY
from latentmap.data.cells import Cells as Cells
from latentmap.data.cells import date_type as date_type
from latentmap.data.cells import days_since_epoch as days_since_epoch
from latentmap.data.cells import object_array as object_array
from latentmap.data.column import Column as Column
from latentmap.data.column import ColumnKind as ColumnKind
from latentmap.data.column import ColumnScaling as ColumnScaling
from latentmap.data.column import Unseen
from latentmap.data.derived import Derived
from latentmap.data.embeddings import Embedding
from latentmap.data.heading import Heading
from latentmap.data.selection import require_columns
from latentmap.data.typed import made
from latentmap.data.values import beside

SETTINGS = ("kind", "scaling", "categories", "likelihood", "lowest", "highest", "period", "other", "format")
"""The settings of a column."""
EMBEDDED = ("embedding", "components")  # of text


@dataclass(frozen=True)
class Table:
    """The columns of a table in their order, as a fit has learned them.

    Attributes
    ----------
    columns
        The columns that become numbers.
    unseen
        What becomes of new categories: an error, or the cell is taken as missing.
    backend
        The library of the data frame that was learned from: pandas, polars or pyarrow; None for a file.
    dropped
        The columns that are not part of the model, and why.
    missing
        Further marks of missing cells in text.
    derived
        Those of them that come back, since they follow from another column or never vary.
    order
        The names of all columns as they came; empty for runs that do not say so.
    embeddings
        Columns of text that became some of ``columns``, the components of their embeddings.
    heading
        The names of the columns of pandas' frame, where they are more than text.

    Examples
    --------
    >>> trees = [Cells("height", np.array([1.5, 2.0])), Cells("species", np.array(["oak", "elm"], dtype=object))]
    >>> table = Table((Column("height", "real"), Column("species", "categorical", categories=("elm", "oak"))))
    >>> table.encode(trees)
    array([[1.5, 1. ],
           [2. , 0. ]])
    >>> table.decode(np.array([[1.7, 0.0]]))["species"].tolist()
    ['elm']
    """

    columns: tuple[Column, ...]
    unseen: Unseen = "error"
    backend: str | None = None
    dropped: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    derived: tuple[Derived, ...] = ()
    order: tuple[str, ...] = ()
    embeddings: tuple[Embedding, ...] = ()
    heading: Heading | None = None

    @property
    def names(self) -> list[str]:
        """The names of the columns that become numbers."""
        return [column.name for column in self.columns]

    @property
    def inputs(self) -> list[str]:
        """The names of the columns of the data that become numbers."""
        return list(dict.fromkeys(self.components.get(name, name) for name in self.names))

    @property
    def components(self) -> dict[str, str]:
        """The column of text that each component of an embedding stands for."""
        return {component: one.name for one in self.embeddings for component in one.components}

    @property
    def generated(self) -> list[Column]:
        """The columns of generated rows: those of the model and those that follow from them, as they came.

        Those of text that is embedded are not: no text is known that has a given vector.
        """
        components = self.components
        columns = [c for c in self.columns if c.name not in components]
        columns += [one.column for one in self.derived]
        order = {name: i for i, name in enumerate(self.order)}
        return sorted(columns, key=lambda column: order.get(column.name, 0)) if order else columns

    @property
    def kinds(self) -> dict[str, Column]:
        """The columns of generated rows by name."""
        return {column.name: column for column in self.generated}

    @property
    def mixed(self) -> bool:
        """Whether some column is anything but plain numbers."""
        return bool(self.embeddings) or any(c.categories or c.kind in ("date", "cyclic") for c in self.columns)

    @property
    def remark(self) -> str | None:
        """What was left out, or None."""
        notes = [f"column {name!r} left out: {why}" for name, why in self.dropped.items()]
        grouped = [f"column {c.name!r}: rare categories are grouped as {c.other!r}" for c in self.columns if c.other]
        return "; ".join([*notes, *grouped, *(one.remark for one in self.embeddings)]) or None

    def encode(
        self, cells: Sequence[Cells], name: str = "X", start: int = 0, room: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Return columns, which are looked up by name, as rows of numbers (n, P); errors count rows from ``start``.

        ``room`` is where they are to lie in memory (see `beside`).

        A cell that is missing is read off a column that follows from it, where that settles it. Columns that the table
        does not have are ignored.
        """
        given = {column.name: column for column in cells}
        for embedding in self.embeddings:
            if embedding.name in given:
                given |= {column.name: column for column in embedding.cells(given[embedding.name], name)}
        require_columns(self.names, given, name)
        rows = {c.name: c.encode(given[c.name], self.unseen, name, start) for c in self.columns}
        for one in self.derived:
            if one.source is not None and one.column.name in given and np.isnan(rows[one.source]).any():
                own, level_of = one.column.encode(given[one.column.name], "missing", name, start), one.inverse
                known = np.array([level_of.get(value, np.nan) for value in own.tolist()])
                rows[one.source] = np.where(np.isnan(rows[one.source]), known, rows[one.source])
        return beside(list(rows.values()), room)

    def within(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return generated rows of numbers, shape (..., P), inside of what each column can hold."""
        return np.stack([c.within(rows[..., i]) for i, c in enumerate(self.columns)], -1).astype(rows.dtype, copy=False)

    def decode(
        self, rows: NDArray[Any], *, generated: bool = False, written: Collection[str] = ()
    ) -> dict[str, NDArray[Any]]:
        """Return rows of numbers, shape (n, P), as cells by column; ``generated`` ones stay within what it can hold.

        Columns that are ``written`` become text in the form that theirs had.
        """
        numbers = {c.name: np.asarray(rows[:, i], np.float64) for i, c in enumerate(self.columns)}
        numbers = {c.name: c.within(numbers[c.name]) for c in self.columns} if generated else numbers
        for one in self.derived:
            numbers[one.column.name] = one(numbers[one.source or self.names[0]])
        return {
            c.name: c.write(numbers[c.name]) if c.name in written else c.decode(numbers[c.name]) for c in self.generated
        }

    def stays(self, cells: Cells) -> NDArray[np.bool_]:
        """Return which cells of a column that came stay as they are: those that are there, or are not generated."""
        if (column := self.kinds.get(cells.name)) is None:
            return np.ones(len(cells.values), dtype=bool)
        if any(one.column is column for one in self.derived):  # new values of a constant, for instance
            return ~cells.missing
        return ~np.isnan(column.encode(cells, "missing", cells.name))

    @property
    def texts(self) -> list[str]:
        """The columns that came as text, and were read as numbers, dates, durations or truth values."""
        return [column.name for column in self.generated if column.format is not None]

    @property
    def words(self) -> list[str]:
        """Those of them with words for truth values that no type writes, such as yes and no."""
        read = [c for c in self.generated if c.format is not None and c.format.kind == "boolean"]
        return [c.name for c in read if c.format and {word.lower() for word in c.format.words} != {"false", "true"}]

    def completed(
        self, rows: NDArray[Any], given: Sequence[Cells], written: Collection[str] = ()
    ) -> dict[str, NDArray[Any]]:
        """Return all columns that came: cells that were there as they were, others from rows of numbers (n, P).

        The numbers are those that `within` has kept inside of what columns can hold. Columns that are ``written``
        become text, as in `decode`; those that were left out always do, if they were text.

        >>> table = Table((Column("height", "real"),))
        >>> came = [Cells("tree", np.array(["a", "b"], dtype=object)), Cells("height", np.array([2.0, np.nan]))]
        >>> {name: cells.tolist() for name, cells in table.completed(np.array([[2.0], [1.0]]), came).items()}
        {'tree': ['a', 'b'], 'height': [2.0, 1.0]}
        """
        made, kinds, result = self.decode(rows, written=written), self.kinds, {}
        for cells in given:
            if (column := kinds.get(cells.name)) is None:
                result[cells.name] = cells.as_they_were()
                continue
            there, numbers = self.stays(cells), np.nan_to_num(column.encode(cells, "missing", cells.name))
            if column.categories and (column.format is None or cells.name not in written):
                own = object_array(cells.plain())
            elif cells.name in written:
                own = column.write(numbers)
            else:
                own = column.decode(numbers)
            is_text = cells.name in written or all(isinstance(one, str) for one in column.categories or [0])
            if is_text and (text := cells.text()) is not None:
                own = text
            elif (digits := cells.digits()) is not None:
                own = digits
            result[cells.name] = np.where(there, own, made[cells.name])
        return result | {name: cells for name, cells in made.items() if name not in result}

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "columns": [_column_json(column) for column in self.columns],
            "unseen": self.unseen,
            "backend": self.backend,
            "dropped": dict(self.dropped),
            "missing": list(self.missing),
            "derived": [
                {"column": _column_json(d.column), "source": d.source, "values": list(d.values)} for d in self.derived
            ],
            "order": list(self.order),
            "embeddings": [one.to_json() for one in self.embeddings],
            "heading": None if self.heading is None else self.heading.to_json(),
        }

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Return the table that `to_json` wrote; runs of earlier versions have neither derived columns nor order."""
        return made(cls, value)


def _column_json(column: Column) -> dict[str, Any]:
    return asdict(column) | {"categories": list(column.categories), "bounds": list(column.bounds)}


@dataclass(frozen=True)
class Requested:
    """Settings of columns by name, as a user specifies them, what becomes of unseen categories, and missing marks."""

    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unseen: Unseen = "error"
    missing: tuple[str, ...] = ()
    embeddings: tuple[Embedding, ...] = ()

    @property
    def embedded(self) -> list[str]:
        """The columns of text that are to be embedded."""
        return [name for name, one in self.settings.items() if "embedding" in one]

    def without(self, names: Collection[str]) -> Self:
        """Return these without settings of some columns."""
        return replace(self, settings={k: v for k, v in self.settings.items() if k not in names})


ColumnSpec = Table | Requested | None
"""The columns that a fit has learned, or what is requested of them."""


def dropped_in(spec: ColumnSpec) -> set[str]:
    """Return the names of the columns that settings drop, which need not be read at all."""
    if isinstance(spec, Table):
        return set(spec.dropped) - set(spec.kinds)
    return {name for name, one in (spec.settings if spec else {}).items() if one.get("kind") == "drop"}
