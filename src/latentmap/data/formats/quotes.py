"""Where quotes stand in lines of delimited text, and what they do there."""

from __future__ import annotations

import collections
import contextlib
import csv
import re
from collections.abc import Sequence


def split(lines: Sequence[str], delimiter: str, *, spaced: bool = False) -> list[list[str]]:
    """Return the cells of lines at a delimiter, up to one that it does not separate into cells of a usual length."""
    rows: list[list[str]] = []
    with contextlib.suppress(csv.Error):
        rows.extend(csv.reader(lines, delimiter=delimiter, skipinitialspace=spaced))
    return rows


def is_spaced(lines: Sequence[str], delimiter: str) -> bool:
    """Return whether quotes stand after blanks, and the rows are as even or more where these blanks are skipped."""
    if not any(re.search(rf'(?:^|{re.escape(delimiter)}) +"', line) for line in lines):
        return False
    even = []
    for spaced in (False, True):
        widths = collections.Counter(len(cells) for cells in split(lines, delimiter, spaced=spaced) if cells)
        even.append(max(widths.values(), default=0))
    return even[1] >= even[0]


def is_strict(lines: Sequence[str], delimiter: str, *, spaced: bool = False, escape: str = "") -> bool:
    r"""Return whether quotes surround whole cells at a delimiter; the last row of a sample may be cut.

    >>> is_strict(['"a, b"\t"c"'], ","), is_strict(['"a, b"\t"c"'], "\t")
    (False, True)
    """
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=spaced, escapechar=escape or None)
    try:
        collections.deque(reader, maxlen=0)
    except csv.Error as error:
        return "end of data" in str(error)
    return True


def escape_of(lines: Sequence[str], delimiter: str, *, spaced: bool) -> str:
    """Return a backslash if quotes within quotes have one before, and are not doubled; else nothing."""
    if not any('\\"' in line for line in lines):
        return ""
    return next((escape for escape in ("", "\\") if is_strict(lines, delimiter, spaced=spaced, escape=escape)), "")
