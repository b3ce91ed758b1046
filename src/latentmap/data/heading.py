"""Names of the columns of a frame of pandas that are not all text: numbers, dates, tuples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from numbers import Integral, Real
from typing import Any, Self

import numpy as np


@dataclass(frozen=True)
class Heading:
    """Names of columns as plain values, and the names of their levels, as pandas has them.

    Attributes
    ----------
    names
        The plain value of each name, by its text.
    levels
        The name of each level of the names; several for a `pandas.MultiIndex`.

    Examples
    --------
    >>> import pandas as pd
    >>> from latentmap.data.typed import made
    >>> heading = Heading.of(pd.date_range("2024-01-31", periods=2))
    >>> heading.names["2024-01-31 00:00:00"]
    {'time': '2024-01-31T00:00:00', 'zone': None}
    >>> made(Heading, heading.to_json()).index(["2024-01-31 00:00:00"])
    DatetimeIndex(['2024-01-31'], dtype='datetime64[ns]', freq=None)
    """

    names: Mapping[str, Any]
    levels: tuple[Any, ...] = (None,)

    @classmethod
    def of(cls, columns: Any) -> Self | None:
        """Return the heading of the columns of a frame of pandas; None where their names alone say the same."""
        if all(isinstance(name, str) for name in columns) and columns.names == [None]:
            return None
        return cls({text_of(name): _plain(name) for name in columns}, tuple(map(_plain, columns.names)))

    def index(self, names: Iterable[str]) -> Any:
        """Return names of columns as an index of pandas."""
        import pandas as pd

        values = [_value(pd, self.names.get(name, name)) for name in names]
        levels = [_value(pd, level) for level in self.levels]
        if len(levels) > 1 and all(isinstance(value, tuple) for value in values):
            return pd.MultiIndex.from_tuples(values, names=levels)
        return pd.Index(values, name=levels[0], tupleize_cols=False)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def text_of(name: Any) -> str:
    """Return the name of a column as text, the same for numbers of numpy and of Python.

    >>> text_of(("a", np.int64(1))), text_of(0)
    ("('a', 1)", '0')
    """
    if isinstance(name, tuple):
        return str(tuple(part.item() if isinstance(part, np.generic) else part for part in name))
    return str(name)


def _plain(name: Any) -> Any:
    """Return a name as JSON has it; text for those of other types."""
    match name:
        case None | bool() | str():
            return name
        case Integral():
            return int(name)
        case Real() if name == name and abs(name) != float("inf"):
            return float(name)
        case tuple():
            return {"tuple": [_plain(part) for part in name]}
        case datetime():
            zone = None if name.tzinfo is None else str(name.tzinfo)
            return {"time": name.replace(tzinfo=None).isoformat() if zone is None else name.isoformat(), "zone": zone}
        case date():
            return {"date": name.isoformat()}
    match type(name).__name__:
        case "Period":
            return {"period": str(name), "freq": name.freqstr}
        case "Timedelta":
            return {"span": name.isoformat()}
        case "Interval":
            return {"interval": [_plain(name.left), _plain(name.right)], "closed": name.closed}
    return str(name)


def _value(pd: Any, plain: Any) -> Any:
    """Return the name that `_plain` made plain."""
    match plain:
        case {"tuple": parts}:
            return tuple(_value(pd, part) for part in parts)
        case {"time": text, "zone": zone}:
            return pd.Timestamp(text) if zone is None else pd.Timestamp(text).tz_convert(zone)
        case {"date": text}:
            return date.fromisoformat(text)
        case {"period": text, "freq": freq}:
            return pd.Period(text, freq=freq)
        case {"span": text}:
            return pd.Timedelta(text)
        case {"interval": [left, right], "closed": closed}:
            return pd.Interval(_value(pd, left), _value(pd, right), closed=closed)
    return plain
