"""Columns that name rows rather than describe them: ids, names, free text, constants."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from latentmap.data.checks import EXACT
from latentmap.data.columns import Cells

MANY = 20
"""Up to so many cells, or different texts, text is taken for categories, even if all differ."""
LONG_TEXT = 5.0
"""The mean number of words, above which different texts are sentences."""
DIGITS = 9
"""The fewest digits of whole numbers, all different and equally long, that are keys whatever the column is called."""

FEW = 10
"""The most different keys beyond 2^53 that are taken for categories, each of as many rows or more on average."""

ID = re.compile(
    r"(?<![a-z])(id|ids|identifier|uid|uuid|guid|idx|index|key|pk|phone|telephone|tel|mobile|fax|ssn|isbn|issn|ean|upc|gtin|"
    r"barcode|serial|iban|imei|email|url|rowid|unnamed|pid|cid|oid|sid|gid|eid|tid|sku|asin|vin|mrn|npi|lei|isin|cusip|"
    r"doi|orcid|pmid|passport|"
    r"(?:account|case|customer|employee|invoice|member|order|patient|policy|reference|student|subject|ticket|transaction)"
    r" (?:no|nr|num|number))(?![a-z])"
)
"""What ids are called; docs/tables.md lists the words."""
TIME = re.compile(r"(year|month|week|day|date|time|hour|minute|second|epoch|stamp|age|rank|position|step|period)")
MEASURE = re.compile(
    r"(?<![a-z])(age|price|cost|costs|income|salary|wage|wages|amount|revenue|sales|fare|fee|weight|mass|height|length|"
    r"width|depth|distance|area|volume|temperature|temp|pressure|score|percent|pct|perc|percentage|"
    r"rate|ratio|rating|limit|expend|expenditure|expenses|msrp|glucose|cholesterol|mpg|balance|budget)(?![a-z])"
)
CODE = re.compile(
    r"(?<![a-z])([a-z]*code|zip|postal|cluster|group|label|category|type|region|origin|race|stratum|strata|"
    r"subject|subj|participant|respondent|patient|institution|inst)(?![a-z])"
)


def plain_name(name: str) -> str:
    """Return the name of a column in lower case, its words apart.

    >>> plain_name("PassengerId"), plain_name("user_ID"), plain_name("SibSp")
    ('passenger id', 'user id', 'sib sp')
    """
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return re.sub(r"[\W_]+", " ", apart).strip().lower()


def is_id_name(name: str) -> bool:
    """Return whether a column is called as ids are: ``id``, ``userId``, ``index``, ``key``, ``phone`` and the like.

    >>> [is_id_name(name) for name in ("id", "PassengerId", "user_id", "PID", "order_no", "width", "paid")]
    [True, True, True, True, True, False, False]
    """
    return bool(ID.search(plain_name(name)))


def is_code_name(name: str) -> bool:
    """Return whether whole numbers under this name label groups: ``zip``, ``group``, ``region_code`` and the like."""
    return bool(CODE.search(plain_name(name)))


def is_measure_name(name: str) -> bool:
    """Return whether whole numbers under this name are measured, not counted: ``age``, ``price``, ``year``, ..."""
    plain = plain_name(name)
    return bool(MEASURE.search(plain) or TIME.search(plain))


def why_left_out(cells: Cells) -> str | None:
    """Return why a column describes no row, or None if it does.

    >>> why_left_out(Cells("userId", np.array([7.0, 9.0, 4.0]), "Int64"))
    'an id, as its name and 3 different whole numbers say'
    """
    if cells.unread:
        return cells.unread
    if not cells.n_present:
        return "it holds nothing"
    if cells.numeric:
        return None if cells.type.startswith(("Date", "Duration", "Time", "Boolean", "Float32")) else _of_numbers(cells)
    return None if cells.categories else _of_text(cells)


def has_ids(columns: Iterable[Cells]) -> bool:
    """Return whether a column of whole numbers without gaps is an id, so that not all columns are features.

    >>> has_ids([Cells("x", np.array([0.5, 1.5])), Cells("id", np.array([7.0, 9.0]), "Int64")])
    True
    """
    whole = (c for c in columns if c.type.startswith(("Int", "UInt")) and c.numeric and c.n_present == len(c.values))
    return any(map(_of_numbers, whole))


def _of_numbers(cells: Cells) -> str | None:
    """Return why a column of numbers holds ids, or None if it does not."""
    summary = cells.measured
    if summary.infinite or not summary.integral or not summary.count:
        return None
    n, low, high = summary.count, summary.lowest, summary.highest
    named, present = is_id_name(cells.name), cells.present
    unbroken = high - low == n - 1 and bool((abs(np.diff(present)) == 1).all())  # in another order they are ranks
    long = high <= EXACT and low >= 10 ** (DIGITS - 1) and len(str(int(low))) == len(str(int(high)))
    if not (named or unbroken or long):
        return None
    different = len(np.unique(present))
    if named and (different == n > 1 or different > max(MANY, n // 10)):
        return f"an id, as its name and {different:,} different whole numbers say"
    if different < n or n <= MANY or TIME.search(plain_name(cells.name)) or not _is_whole_type(cells):
        return None
    if unbroken:
        return f"an id: {n:,} whole numbers in unbroken order"
    return f"an id: {n:,} different whole numbers of {len(str(int(low)))} digits" if long else None


def _is_beyond(value: object) -> bool:
    """Return whether a value is a whole number beyond 2^53, or writes one."""
    if isinstance(value, str):
        return len(value) > 15 and value.isdigit() and int(value[:400]) > EXACT
    return isinstance(value, int) and abs(value) > EXACT


def _is_whole_type(cells: Cells) -> bool:
    """Return whether numbers are integers by their type, which those of pandas with missing cells cannot have."""
    return cells.type.startswith(("Int", "UInt")) or cells.n_present < len(cells.values)


def _of_text(cells: Cells) -> str | None:
    """Return why a column of text or of objects names rows, or None if it does not."""
    counts = cells.counts()
    different, n = len(counts), cells.n_present
    if any(map(_is_beyond, counts)):
        few = different <= max(n > 1, min(FEW, n // FEW))
        return None if few else "an id: whole numbers beyond 2^53"
    if different <= MANY:
        return None
    if is_id_name(cells.name) and different > n / 10:
        return f"an id, as its name and {different:,} different texts in {n:,} cells say"
    own = sum(count == 1 for count in counts.values())
    words = np.mean([len(text.split()) for text in counts if isinstance(text, str)] or [0])
    if words > LONG_TEXT and 4 * different > n:
        return f"free text: {different:,} different texts in {n:,} cells, of {words:.0f} words on average"
    if 2 * own > n:
        return f"{different:,} different texts in {n:,} cells, rather names than categories"
    return None
