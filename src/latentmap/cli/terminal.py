"""What the command says: text on standard error, JSON on standard output."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

TEXT_WIDTH = 24
"""Characters that a column of text keeps, however narrow the terminal."""


class UsageError(Exception):
    """The command was called in a way that cannot work: exit code 2."""


def say(text: str = "") -> None:
    """Print a line for a person."""
    print(text, file=sys.stderr)


def note(message: Warning | str) -> None:
    """Print what a person should know."""
    say(f"note: {one_line(message)}")


def emit(value: Mapping[str, Any]) -> None:
    """Print one JSON object for a program."""
    print(json.dumps(value, indent=2, allow_nan=False))


def one_line(message: object) -> str:
    r"""Put a message on one line, whatever it was made of.

    >>> one_line("expected 4 columns,\n    got 3")
    'expected 4 columns, got 3'
    """
    return " ".join(str(message).split())


def say_pairs(pairs: Mapping[str, Any]) -> None:
    """Print names and values, the values below each other."""
    width = max((len(name) for name in pairs), default=0)
    for name, value in pairs.items():
        say(f"  {name:<{width}}  {value}".rstrip())


def say_table(rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    """Print rows of text as a table, the first of them as its head; numbers to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    head, *body = rows
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for i, name in enumerate(head):
        cells = [row[i] for row in body]
        numeric = all(cell[:1].isdigit() or cell[:1] in ("-", "") or cell == "cannot" for cell in cells)
        width = min(TEXT_WIDTH, max((len(cell) for cell in cells), default=0))
        table.add_column(name, justify="right" if numeric else "left", min_width=width)
    for row in body:
        table.add_row(*row)
    Console(stderr=True, highlight=False, width=None if on_terminal() else 160).print(table)


def on_terminal() -> bool:
    """Whether a person watches standard error."""
    return sys.stderr.isatty()


def show_warnings_as_lines() -> None:
    """Show warnings as plain lines, all those of a fit; to be called inside `warnings.catch_warnings`."""
    from latentmap.exceptions import DiagnosisWarning

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        note(message)

    warnings.filterwarnings("always", category=DiagnosisWarning)
    warnings.showwarning = show


def counted(n: int, noun: str) -> str:
    """Write a number with its noun.

    >>> counted(1, "row"), counted(1797, "row"), counted(2, "class")
    ('1 row', '1,797 rows', '2 classes')
    """
    plural = noun if n == 1 else noun + ("es" if noun.endswith("s") else "s")
    return f"{n:,} {plural}"
