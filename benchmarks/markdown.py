"""Markdown of the tables of the documentation."""

from __future__ import annotations

from collections.abc import Iterable


def ranged(value: dict[str, float], digits: int) -> str:
    """Return the median, and the range if there are several runs."""
    digits = 0 if value["median"] > 1000 else digits
    middle = f"{value['median']:,.{digits}f}"
    return middle if value["runs"] == 1 else f"{middle} ({value['low']:,.{digits}f} to {value['high']:,.{digits}f})"


def grid(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
