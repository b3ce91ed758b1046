"""What an exported page knows: points, fields, density, decoder and rows of an exploration, as JSON."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.evaluation.codes import sample_codes
from latentmap.explorer.answers import as_json
from latentmap.explorer.decoding import decoded
from latentmap.explorer.exploration import NEIGHBORS, Exploration
from latentmap.explorer.export_arrays import pack, pack_range
from latentmap.explorer.export_decoder import export_decoder
from latentmap.explorer.export_items import describe_items, pack_rows
from latentmap.explorer.export_likelihood import Inexpressible
from latentmap.explorer.fields import NO_CODE
from latentmap.explorer.items import Lines, Pictures, Records
from latentmap.plot.rows import spread

GRID = 24
"""Places along each side at which items are decoded for a page that cannot decode."""
MOST_DECODER = 0.45
"""Share of the room of a page that a decoder may take."""
MOST_NEIGHBOURS = 0.08
"""Share of it that the nearest rows of each row may take."""
MOST_COLUMN = 0.1
"""Share of it that a column with all its digits may take."""
PRIOR_DRAWS = 256
MOST_PAIRED = 5
"""Components of which all pairs have a density."""
MOST_FEATURES = 12
"""Features of rows without columns by which points are coloured."""
SINGLE = 1e-6
"""Share of the range of a column by which its numbers may differ in single precision."""
SLOW_ROWS = 20_000
"""Fields that take long are exported of no more rows than these."""


@dataclass
class Room:
    """Characters that are left in a page, and what had to be left out."""

    left: int
    notes: list[str] = field(default_factory=list)

    def takes(self, value: Any, share: float = 1.0) -> bool:
        """Return whether a value fits in a share of the room, and take its place if it does."""
        size = len(json.dumps(value, ensure_ascii=False).encode())
        if size > share * self.left:
            return False
        self.left -= size
        return True


def page_data(exploration: Exploration, room: int, *, quick: bool = False) -> dict[str, Any]:
    """Return what a page knows, in so many characters.

    Parameters
    ----------
    exploration : Exploration
        The model and its rows.
    room : int
        Characters of the JSON, about.
    quick : bool, default=False
        Whether to leave out what takes long: evidence, trust, and the nearest rows of each row.

    Returns
    -------
    dict
        Plain JSON. What does not fit is left out in this order: pictures of the rows in full detail, those of some
        rows, nearest rows, columns, the decoder.
    """
    left = Room(room)
    meta, has_rows = as_json(exploration.meta()), exploration.rows is not None
    data: dict[str, Any] = {"items": describe_items(exploration.items)}
    data["points"] = pack_range(exploration.points if has_rows else np.zeros((0, meta["components"])))
    data["density"] = dict(_densities(exploration)) if meta["can"]["density"] else {}
    left.takes(data)
    drawn = sample_codes(exploration.estimator, PRIOR_DRAWS, 0)
    data |= _decoding(exploration, drawn if exploration.rows is None else exploration.points, left)
    data["fields"] = dict(_fields(exploration, left, quick=quick))
    data["ids"] = exploration.rows.id_texts if has_rows and exploration.rows else None
    if not left.takes(data["ids"], 0.5):
        left.notes.append("the ids of the rows are left out, for want of room; search takes their numbers")
        data["ids"] = None
    data["numbers"] = _numbers(exploration)
    left.takes(data["numbers"])
    data["neighbours"] = None if quick else _neighbours(exploration, left)
    data["samples"] = pack(drawn.astype(np.float32))
    left.takes(data["samples"])
    data["originals"] = None
    if exploration.rows is not None:
        data["originals"], said = pack_rows(exploration.items, exploration.rows.values, left.left)
        left.notes += said
    return {"meta": _meta(exploration, meta, data, left.notes), **as_json(data)}


def fewer_rows(exploration: Exploration, n: int) -> Exploration:
    """Return an exploration of at most n of its rows, evenly spaced, which says so."""
    rows = exploration.rows
    if rows is None or len(rows) <= n:
        return exploration
    fewer = copy.copy(exploration)
    kept = {name: vars(exploration)[name] for name in ("estimator", "name", "items", "turns")}  # and nothing computed
    said = f"{n:,} of {rows.total:,} rows are in this file, evenly spaced"
    vars(fewer).clear()
    vars(fewer).update(kept, rows=rows.take(spread(len(rows), n)), notes=[*exploration.notes, said])
    return fewer


def _meta(exploration: Exploration, meta: dict[str, Any], data: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Return what there is to know before any answer, with what a page without Python can do."""
    can = meta["can"]
    return meta | {
        "data": None if meta.get("data") is None else Path(str(meta["data"])).name,  # no folder of its author
        "fields": [
            as_json(one.described() | {"slow": False})
            for key, one in exploration.fields.items()
            if key in data["fields"]
        ],
        "ids": data["ids"] is not None,
        "notes": [*meta["notes"], *notes],
        "can": can
        | {
            "score": "evidence" in data["fields"],
            "impute": False,
            "encode": False,
            "save": ["csv"] if can["rows"] else [],
        },
    }


def _decoding(exploration: Exploration, codes: NDArray[Any], room: Room) -> dict[str, Any]:
    """Return the decoder; or where a page cannot compute it, items decoded on a grid, and say so."""
    estimator = exploration.estimator
    low, high = _extent(exploration)
    try:
        found = export_decoder(estimator.model_, estimator.scaling_, codes, low, high, estimator._given(None, 1))
    except Inexpressible as error:
        why = f"this page cannot compute {error}"
    else:
        if room.takes(found.plan, MOST_DECODER):
            return {"decoder": found.plan, "grid": None}
        why = "the decoder is too large for this page"
    room.notes.append(f"{why}: the nearest of {GRID} by {GRID} places that were decoded before is shown")
    grid = _decoded_grid(exploration, codes)
    room.takes(grid)
    return {"decoder": None, "grid": grid}


def _extent(exploration: Exploration) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the range of the data, of pictures one for all pixels."""
    items = exploration.items
    if isinstance(items, Records):
        columns = items.table.columns
        return np.array([one.lowest for one in columns]), np.array([one.highest for one in columns])
    return items.style.low, items.style.high


def _decoded_grid(exploration: Exploration, points: NDArray[Any]) -> dict[str, Any]:
    """Return items decoded on a grid over the two components that are drawn, the others at their median."""
    x, y = exploration.dims[0], exploration.dims[-1]
    low, high = points.min(0), points.max(0)
    across, down = (np.linspace(low[i], high[i], GRID) for i in (x, y))
    codes = np.tile(np.median(points, axis=0), (GRID * GRID, 1)).astype(np.float32)
    codes[:, x], codes[:, y] = np.tile(across, GRID), np.repeat(down, GRID)
    rows = decoded(exploration.estimator, codes)[0]
    rows = rows.reshape(len(rows), -1)
    packed = pack_range(rows, 256) if isinstance(exploration.items, Pictures) else pack(rows.astype(np.float32))
    ends = {"low": [float(low[x]), float(low[y])], "high": [float(high[x]), float(high[y])]}
    return {"x": x, "y": y, "size": GRID, "values": packed, **ends}


def _fields(exploration: Exploration, room: Room, *, quick: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the values of fields that fit: labels, columns, then what the model says of a row."""
    left_out: list[str] = []
    columns = 0
    for key, one in sorted(exploration.fields.items(), key=lambda pair: pair[1].slow):
        columns += one.group == "column"
        if isinstance(exploration.items, Lines) and one.group == "column" and columns > MOST_FEATURES:
            left_out.append(one.name)
            continue
        if one.slow and quick:
            continue
        if one.slow and exploration.rows is not None and len(exploration.rows) > SLOW_ROWS:
            left_out.append(one.name)
            continue
        packed = _packed_field(exploration, key, room)
        if room.takes(packed, 0.5):
            yield key, packed
        else:
            left_out.append(one.name)
    if left_out:
        named = ", ".join(left_out[:5]) + (f" and {len(left_out) - 5} more" if len(left_out) > 5 else "")
        room.notes.append(f"left out of this page, for want of room or time: {named}")


def _packed_field(exploration: Exploration, key: str, room: Room) -> dict[str, Any]:
    """Return the values of a field: categories as bytes where they are few, numbers exact where there is room."""
    one = exploration.fields[key]
    if one.kind == "category":
        few = len(one.levels or ()) < 255
        return pack(np.where(one.values == NO_CODE, 255, one.values).astype(np.uint8) if few else one.values)
    items, values = exploration.items, np.asarray(one.values, np.float64)
    names = [f"column:{name}" for name in items.table.names] if isinstance(items, Records) else []
    if key not in names or not isinstance(items, Records) or exploration.rows is None:
        return pack_range(values)
    place = names.index(key)
    column = items.table.columns[place]
    values = np.asarray(exploration.rows.values, np.float64).reshape(len(values), -1)[:, place]
    decimals = 0 if column.integral else column.decimals
    extent = np.nanmax(values, initial=-np.inf) - np.nanmin(values, initial=np.inf)
    if decimals is not None and extent < 65534 / 10**decimals:
        return pack_range(values, decimals=decimals)
    single = values.astype(np.float32)
    near = np.nanmax(np.abs(single - values), initial=0.0) <= SINGLE * extent
    exact = pack(single if near and column.kind != "date" else values)
    return exact if len(exact["data"]) < MOST_COLUMN * room.left else pack_range(values, decimals=decimals)


def _densities(exploration: Exploration) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the log-density over each pair of components; of many over pairs of those that are drawn."""
    n = exploration.n_components
    for x, y in combinations(range(n) if n <= MOST_PAIRED else exploration.dims, 2):
        found = exploration.density(x, y)
        packed = {"values": pack_range(found.values.reshape(-1), 256), "hole": pack(np.packbits(found.hole))}
        yield f"{x},{y}", {"low": found.low, "high": found.high, "size": found.size, "levels": found.levels} | packed


def _numbers(exploration: Exploration) -> dict[str, Any] | None:
    """Return the number of each row in the data, where some were left out."""
    rows = exploration.rows
    if rows is None or (rows.numbers == np.arange(len(rows))).all():
        return None
    return pack(rows.numbers.astype(np.uint32))


def _neighbours(exploration: Exploration, room: Room) -> dict[str, Any] | None:
    """Return the nearest rows of each row in data space, where there is room."""
    if exploration.rows is None or len(exploration.rows) <= NEIGHBORS:
        return None
    n = len(exploration.rows)
    if n * NEIGHBORS * (2 if n <= 65536 else 4) * 4 / 3 > MOST_NEIGHBOURS * room.left:
        room.notes.append("the nearest rows of each row are left out, for want of room")
        return None
    found = np.array([exploration.nearest(i, NEIGHBORS) for i in range(n)])
    packed = pack(found.astype(np.uint16 if n <= 65536 else np.uint32))
    return packed if room.takes(packed) else None
