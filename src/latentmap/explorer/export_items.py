"""Items of an exported page: how decoded values are shown, and the rows themselves, as small as they have to be."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.columns import Column
from latentmap.explorer.export_arrays import pack, pack_range
from latentmap.explorer.items import SPANS, Items, Lines, Numbers, Pictures, Records, level_names
from latentmap.messages import counted
from latentmap.plot.rows import spread

LEAST_SIDE = 8
"""Pixels of the shorter side of a reduced picture, at the least."""
REDUCTIONS = (
    (1, 8),
    (1, 4),
    (1, 3),
    (2, 4),
    (2, 3),
    (2, 2),
    (3, 3),
    (3, 2),
    (4, 3),
    (4, 2),
    (6, 2),
    (8, 2),
    (12, 2),
    (16, 2),
)
"""Pixels of a side that become one, and bits of a pixel: the best first."""
TRIED = 1500
"""Rows whose size stands for that of all."""


def describe_items(items: Items) -> dict[str, Any]:
    """Return how a page turns decoded values into items, as the server does."""
    if isinstance(items, Pictures):
        return {"kind": "picture", "low": float(items.style.low), "high": float(items.style.high)}
    if isinstance(items, Records):
        places = {name: i for i, name in enumerate(items.table.names)}
        derived = {one.column.name: one for one in items.table.derived}
        columns = []
        for column in items.table.generated:
            one = derived.get(column.name)
            source = (
                None if one is None else {"place": places[one.source or items.table.names[0]], "values": one.values}
            )
            constant = one is not None and one.source is None
            columns.append(_column(column) | {"place": places.get(column.name), "from": source, "constant": constant})
        return {"kind": "table", "columns": columns, "within": [_bounds(column) for column in items.table.columns]}
    if isinstance(items, Numbers):
        columns = [
            {"key": f"column:{one.name}", "low": one.low, "high": one.high, "levels": None}
            | {"place": i, "text": {"as": "number"}}
            for i, one in enumerate(items.columns)
        ]
        return {"kind": "table", "columns": columns, "within": None}
    return {"kind": "line"}


def pack_rows(items: Items, values: NDArray[Any], room: int) -> tuple[dict[str, Any] | None, list[str]]:
    """Return rows for hovering, in as much detail as there is room for, and what to say of it.

    Parameters
    ----------
    items : Items
        What rows are shown as. Those of a table are the values of its columns, which the page has.
    values : ndarray of shape (n, ...)
        Rows.
    room : int
        Characters that the rows may take.
    """
    if isinstance(items, Pictures):
        return _pictures(items, values, room)
    if not isinstance(items, Lines) or not len(values):
        return None, []
    rows = np.asarray(values, np.float64).reshape(len(values), -1)
    kept = np.arange(len(rows))
    packed = pack_range(rows, 256)
    if (size := len(packed["data"])) > room:
        kept = spread(len(rows), int(len(rows) * room / size))
        packed = pack_range(rows[kept], 256) if len(kept) else packed
    if not len(kept):
        return None, ["rows of the data are left out, for want of room: reconstructions are shown alone"]
    found = {"rows": None if len(kept) == len(rows) else pack(kept.astype(np.uint32)), "values": packed}
    return found, _left_out(len(kept), len(rows))


def _column(column: Column) -> dict[str, Any]:
    """Return how a page writes a column of a table."""
    levels = level_names(column)
    return {
        "key": f"column:{column.name}",
        "low": column.lowest,
        "high": column.highest,
        "levels": levels,
        "whole": column.kind in ("count", "binary") or column.type.startswith(("Int", "UInt")),
        "text": None if levels is not None else _text(column),
    }


def _text(column: Column) -> dict[str, Any]:
    if column.format is not None:
        return {"as": "form", "days": column.kind == "date" and column.integral} | dataclasses.asdict(column.format)
    if column.kind == "date":
        whole = column.integral or column.type == "Date"
        return {"as": "date", "days": whole, "length": 10 if whole else 16}
    if column.type.startswith(SPANS):
        return {"as": "span" if column.type.startswith("Duration") else "time"}
    return {"as": "number"} if column.decimals is None else {"as": "decimals", "places": column.decimals}


def _bounds(column: Column) -> dict[str, Any]:
    """Return what generated values of a column are kept within."""
    low, high = column.bounds
    return {"decimals": column.decimals, "low": low, "high": high, "period": column.period}


def _pictures(items: Pictures, values: NDArray[Any], room: int) -> tuple[dict[str, Any] | None, list[str]]:
    """Return pictures in the best form that fits, of fewer rows where none does."""
    height, width = items.style.shape[:2]
    forms = [one for one in REDUCTIONS if one[0] == 1 or min(height, width) // one[0] >= LEAST_SIDE]
    tried = values[spread(len(values), TRIED)]
    sizes = {
        form: len(pack(_reduced(items, tried, *form))["data"]) * len(values) / max(1, len(tried)) for form in forms
    }
    form = next((one for one in forms if sizes[one] < 0.97 * room), forms[-1])
    kept = spread(len(values), min(len(values), int(len(values) * 0.97 * room / max(1.0, sizes[form]))))
    if not len(kept) or room <= 0:
        return None, ["pictures of the rows are left out, for want of room: reconstructions are shown alone"]
    pixels = _reduced(items, values[kept], *form)
    found = {"rows": None if len(kept) == len(values) else pack(kept.astype(np.uint32)), "bits": form[1]}
    notes = _left_out(len(kept), len(values))
    if form != (1, 8):
        notes.append(
            f"pictures of the rows are kept in {pixels.shape[2]} by {pixels.shape[1]} pixels of {2 ** form[1]} shades; "
            "decoded pictures are whole"
        )
    return found | {"pixels": pack(pixels)}, notes


def _left_out(kept: int, n: int) -> list[str]:
    return [] if kept == n else [f"{counted(kept, 'row')} of {n:,} can be seen beside their reconstruction"]


def _reduced(items: Pictures, values: NDArray[Any], factor: int, bits: int) -> NDArray[np.uint8]:
    """Return pictures (n, h, w, c) with so many pixels of a side averaged, in so many bits."""
    parts = []
    for start in range(0, len(values), 4096):
        found = items.pixels(values[start : start + 4096])
        pixels = found.reshape(*found.shape[:3], -1)
        height, width = (side // factor for side in pixels.shape[1:3])
        pixels = pixels[:, : height * factor, : width * factor]
        blocks = pixels.reshape(len(pixels), height, factor, width, factor, -1)
        means = blocks.mean((2, 4)) if factor > 1 else pixels
        parts.append(np.rint(means * ((2**bits - 1) / 255)).astype(np.uint8))
    return np.concatenate(parts) if parts else np.zeros((0, 1, 1, 1), np.uint8)
