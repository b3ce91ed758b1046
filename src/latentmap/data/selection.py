"""Which columns of a table become rows, which are read beside them, and which are ignored."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from latentmap.data.checks import require_known
from latentmap.data.values import is_missing
from latentmap.exceptions import DataError
from latentmap.messages import counted

if TYPE_CHECKING:
    import narwhals as nw

    from latentmap.data.columns import Table

INDEX = "index"
"""The name of a column of row names that has none."""


@dataclass(frozen=True)
class Selection:
    """The columns of a table to read, by name.

    Attributes
    ----------
    beside
        Columns whose values are kept in `Source.beside`; they become rows too unless they are left out.
    left_out
        Columns that do not become rows, such as an id.
    wanted
        The columns of a fit; all others are ignored. None takes all columns.
    known
        Columns that were in the data of the fit and did not become numbers: they are ignored without a note.
    optional
        Columns of ``beside`` that the data may lack.
    whole
        Whether all other columns of new data are read too, in their order, since imputing gives them back.

    Examples
    --------
    >>> Selection(left_out=("id",)).kept(["id", "height", "kind"], "kind", "trees.csv")
    ['height']
    >>> new = Selection(wanted=("height", "age"))
    >>> new.kept(["age", "height", "owner"], None, "new.csv"), new.ignored(["age", "height", "owner"])
    (['height', 'age'], ('owner',))
    """

    beside: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    wanted: tuple[str, ...] | None = None
    known: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    whole: bool = False

    def of_table(self, table: Table) -> Self:
        """Return the columns to read for a fit to a table."""
        known = (*self.known, *table.dropped, *table.order, *(column.name for column in table.generated))
        return replace(self, wanted=tuple(table.inputs), known=known, whole=True)

    def kept(self, names: Sequence[str], label: str | None, name: str) -> list[str]:
        """Return the columns that become rows, of those of the data; those of a fit in its order.

        Raises
        ------
        DataError
            If a column of the fit, or one to be kept beside the rows, is missing.
        """
        for column in (*self.beside, *self.left_out):
            if column not in self.optional:
                require_known(column, names, f"{name} has no column")
        if self.wanted is not None:
            require_columns(self.wanted, names, name)
        if self.wanted is None or self.whole:
            return [column for column in names if column != label and column not in self.left_out]
        return list(self.wanted)

    def found(self, names: Sequence[str]) -> list[str]:
        """Return the columns to keep beside the rows, of those of the data."""
        return [column for column in dict.fromkeys(self.beside) if column in names]

    def ignored(self, names: Sequence[str], label: str | None = None) -> tuple[str, ...]:
        """Return the columns of the data that a fit did not have."""
        if self.wanted is None:
            return ()
        expected = {*self.wanted, *self.known, *self.beside, *self.left_out, label}
        return tuple(column for column in names if column not in expected)


ALL_COLUMNS = Selection()


def require_columns(wanted: Sequence[str], names: Collection[str], name: str) -> None:
    """Raise if data lack columns of a fit.

    >>> require_columns(["age", "height"], ["height"], "new.csv")
    Traceback (most recent call last):
    latentmap.exceptions.DataError: new.csv lacks column 'age', which the data of the fit had
    """
    given = set(names)
    lacking = [repr(column) for column in wanted if column not in given]
    if lacking:
        more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
        columns = "column" if len(lacking) == 1 else "columns"
        raise DataError(f"{name} lacks {columns} {', '.join(lacking[:5])}{more}, which the data of the fit had")


def ignored_in_words(ignored: Sequence[str], name: str) -> str:
    """Return a note about columns that are ignored.

    >>> ignored_in_words(["owner"], "new.csv")
    "new.csv has 1 column that the data of the fit did not have, which is ignored: 'owner'"
    """
    more = f" and {len(ignored) - 5:,} more" if len(ignored) > 5 else ""
    which = f"which {'is' if len(ignored) == 1 else 'are'} ignored"
    columns = f"{counted(len(ignored), 'column')} that the data of the fit did not have, {which}"
    return f"{name} has {columns}: {', '.join(map(repr, ignored[:5]))}{more}"


def values_of(series: nw.Series[Any]) -> NDArray[Any]:
    """Return a column of a frame as an array: numbers and dates as they are, anything else as objects.

    >>> import narwhals as nw, pandas as pd
    >>> values_of(nw.from_native(pd.Series([7, None], dtype="Int64"), series_only=True)).tolist()
    [7, None]
    """
    whole = series.dtype.is_integer() and series.null_count()
    if (series.dtype.is_numeric() or series.dtype.is_temporal()) and not whole and not series.dtype.is_decimal():
        with contextlib.suppress(Exception):  # some temporal types have no equal in numpy
            values = np.asarray(series.to_numpy())
            if values.dtype.kind in "biufM":
                return values
    values = np.empty(len(series), dtype=object)
    values[:] = [None if is_missing(value) else value for value in series.to_list()]
    return values


def text_values(cells: Sequence[str | None]) -> NDArray[Any]:
    """Return cells of text as integers where all are written as such, else as they are.

    >>> text_values(["7", "12"]).dtype.kind, text_values(["007", "012"]).tolist()
    ('i', ['007', '012'])
    """
    with contextlib.suppress(ValueError, OverflowError):
        numbers = np.array([int(cell or "") for cell in cells], dtype=np.int64)
        if all(str(number) == cell for number, cell in zip(numbers.tolist(), cells, strict=True)):
            return numbers
    values = np.empty(len(cells), dtype=object)
    values[:] = list(cells)
    return values
