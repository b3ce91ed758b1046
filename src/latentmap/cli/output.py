"""Where results go: JSON on standard output, words on standard error, arrays and pictures to files."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latentmap.data.files import atomic_path, write_text
from latentmap.exceptions import DataError

PICTURES = (".png", ".pdf", ".svg")
ARRAYS = (".npy", ".csv")


class UsageError(Exception):
    """The command was given something that no data could make right: exit code 2."""


def note(text: str) -> None:
    """Write one line to standard error."""
    print(text, file=sys.stderr)


def emit(value: Any) -> None:
    """Write JSON to standard output."""
    print(json.dumps(value, indent=2))


def table(rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Write a table to standard error; the first row is the head."""
    from rich.console import Console
    from rich.table import Table

    drawn = Table(*rows[0], title=title or None, title_justify="left")
    for row in rows[1:]:
        drawn.add_row(*row)
    Console(stderr=True).print(drawn)


def check_target(path: Path, endings: Sequence[str]) -> None:
    """Refuse an output that could not be written, before the work: an unknown ending, a folder without permission."""
    if path.suffix.lower() not in endings:
        raise UsageError(f"expected a file that ends in {' or '.join(endings)}, got {path}")
    check_folder(path.parent)
    if path.is_dir():
        raise DataError(f"cannot write {path}: it is a folder")


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made or written."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        reason = "no permission to write there" if existing.is_dir() else f"{existing} is not a folder"
        raise DataError(f"cannot write to {folder}: {reason}; choose another with -o")


def write_array(path: Path, values: Any, columns: Sequence[str]) -> None:
    """Write rows as ``.npy``, or as ``.csv`` with these columns."""
    import numpy as np

    if path.suffix.lower() == ".npy":
        with atomic_path(path) as temporary:
            np.save(temporary, values)
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(np.asarray(values).reshape(len(values), -1).tolist())
    write_text(path, text.getvalue())


def write_picture(path: Path, display: Any) -> None:
    """Write a figure."""
    with atomic_path(path) as temporary:
        display.figure_.savefig(temporary, dpi=150, bbox_inches="tight")
