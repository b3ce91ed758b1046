"""Output of the command: text on standard error, JSON on standard output."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from latentmap.exceptions import DiagnosisWarning, FewDrawsWarning
from latentmap.messages import one_line

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Characters that change what a terminal shows."""
SAMPLED = ("compare", "impute", "score")
"""Commands that say how many draws they take."""
TEXT_WIDTH = 24
"""The least width of a column of text, however narrow the terminal."""


class UsageError(Exception):
    """The command was called with invalid arguments."""

    exit_code = 2


def say(text: str = "") -> None:
    """Print text with control characters escaped, as names of columns may hold; a closed terminal is no error."""
    shown = CONTROL.sub(lambda found: repr(found[0])[1:-1], text)
    with contextlib.suppress(OSError):
        print(shown, file=sys.stderr)


def note(message: Warning | str) -> None:
    """Print a note, such as a warning; of several workers the first one prints it for all."""
    if os.environ.get("RANK", "0") in ("", "0"):
        say(f"note: {one_line(message)}")


def emit(value: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    print(json.dumps(value, indent=2, allow_nan=False))


@contextlib.contextmanager
def reader_may_leave() -> Iterator[None]:
    """Let the reader of standard output close it, without an error."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say_pairs(pairs: Mapping[str, Any]) -> None:
    """Print names and values, with the values aligned."""
    width = max((len(name) for name in pairs), default=0)
    for name, value in pairs.items():
        say(f"  {name:<{width}}  {value}".rstrip())


def say_table(rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    """Print rows of text as a table, the first as its header; numbers are aligned to the right."""
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
    """Return whether standard error is a terminal."""
    return sys.stderr.isatty()


def show_warnings_as_lines(command: str = "score") -> None:
    """Show the warnings of a command as plain lines, and all of those of a fit.

    It is to be called inside `warnings.catch_warnings`.
    """
    warnings.filterwarnings("always", category=DiagnosisWarning)
    warnings.filterwarnings("ignore", "X does not have valid feature names")  # commands take columns by name themselves
    warnings.showwarning = lambda message, *_, **__: note(_as_option(message, command))


def _as_option(message: Warning | str, command: str) -> Warning | str:
    """Return a warning that advises a parameter of a method with the option in its place, or who has this option."""
    if not isinstance(message, FewDrawsWarning):
        return message
    advice = "raise --samples" if command in SAMPLED else "latentmap score has --samples: raise it"
    return str(message).replace("raise n_samples", advice)
