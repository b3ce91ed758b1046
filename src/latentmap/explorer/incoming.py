"""Rows that come from outside: pictures as files, rows of tables as text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from latentmap.data.columns import Table
from latentmap.data.formats.images import MOST_PIXELS, deep_values, is_deep, on_white
from latentmap.data.schema import Schema
from latentmap.data.text import cells_of_text, text_settings
from latentmap.exceptions import DataError
from latentmap.explorer.items import Items, Pictures
from latentmap.messages import error_line
from latentmap.plot.rows import RowStyle

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
"""Formats of pictures, by Pillow's names."""
MOST_CHARACTERS = 1_000_000
"""Characters of a row of text, at the most."""
DELIMITERS = (",", "\t", ";", "|")


@dataclass(frozen=True, eq=False)
class Incoming:
    """A row as numbers (1, *event), and how it was changed to fit."""

    row: NDArray[Any]
    note: str = ""


def read_incoming(estimator: Any, items: Items, body: bytes, kind: str, event: tuple[int, ...]) -> Incoming:
    """Return a row that came as the bytes of a picture, or as a line of text or a JSON object.

    Parameters
    ----------
    estimator : VAE or Autoencoder
        Fitted estimator that takes numbers.
    items : Items
        What rows are shown as.
    body : bytes
        What came.
    kind : str
        Its type, such as ``image/png`` or ``text/plain``.
    event : tuple of int
        Shape of a row.

    Raises
    ------
    DataError
        If it is no such row; says what was expected.
    """
    if kind.startswith("image/"):
        if not isinstance(items, Pictures):
            raise DataError("the rows of this model are no pictures: paste a row of text")
        return _of_picture(items, body, event, estimator.data_schema_)
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError("expected a row of text in UTF-8") from error
    if len(text) > MOST_CHARACTERS or not text.strip():
        raise DataError("expected one row of text")
    table = estimator.table_
    if table is not None:
        return _of_table(estimator, table, text)
    return _of_numbers(estimator, text, event)


def _of_picture(items: Pictures, body: bytes, event: tuple[int, ...], schema: Schema) -> Incoming:
    """Return a picture in the size, colours and range of the rows of the fit."""
    style, notes = items.style, []
    height, width = style.shape[:2]
    try:
        with Image.open(io.BytesIO(body), formats=FORMATS) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise DataError(f"the picture has more than {MOST_PIXELS:,} pixels: give a smaller one")
            image = ImageOps.exif_transpose(opened)
            image = on_white(_as_bytes(image, style, schema) if is_deep(image) else image)
            image = image.convert("L" if len(style.shape) == 2 else "RGB")
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"the file is no picture that can be read: expected {', '.join(FORMATS)}") from error
    except Exception as error:  # whatever is wrong with a file
        raise DataError(f"the file is no picture that can be read ({error_line(error, 80)})") from error
    if image.size != (width, height):
        notes.append(f"resized from {image.width} x {image.height}")
        image = ImageOps.pad(image, (width, height), Image.Resampling.LANCZOS, color=_border(image))
    shares = np.asarray(image, dtype=np.float64) / 255
    if style.paper and np.median(_edge(shares)) > 0.5:
        notes.append("inverted, as it has a light background")
        shares = 1 - shares
    if len(style.shape) == 3 and style.shape[-1] == 4:
        shares = np.dstack([shares, np.ones(shares.shape[:2])])
    low, high = float(style.low), float(style.high)
    values = low + shares * (high - low)
    return Incoming((np.rint(values) if schema.integral else values).reshape(1, *event), "; ".join(notes))


def _as_bytes(image: Image.Image, style: RowStyle, schema: Schema) -> Image.Image:
    """Return a deep picture as bytes: by the range of rows in its units, else by that of 16 bits or its own."""
    values, floats = deep_values(image, image.size), image.mode == "F"
    in_units = not schema.integral if floats else (schema.highest or 0.0) > 255
    if in_units:
        low, high = float(style.low), float(style.high)
    else:
        low, high = (float(np.nanmin(values)), float(np.nanmax(values))) if floats else (0.0, 65535.0)
    shares = np.nan_to_num((values - low) / max(high - low, 1e-12))
    return Image.fromarray(np.uint8(255 * np.clip(shares, 0, 1)))


def _edge(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values along the border of a picture."""
    return np.concatenate([shares[0], shares[-1], shares[:, 0], shares[:, -1]])


def _border(image: Image.Image) -> Any:
    """Return the colour that is in the middle of those along the border."""
    values = np.asarray(image)
    return tuple(np.median(_edge(values), axis=0).astype(int).tolist()) if values.ndim == 3 else int(
        np.median(_edge(values))
    )  # fmt: skip


def _of_table(estimator: Any, table: Table, text: str) -> Incoming:
    """Return a row of a table of mixed columns; cells that are left out are missing, where the model takes such."""
    order = [name for name in table.order or table.inputs if name in table.inputs]
    cells = _named_cells(text, order, [*table.order])
    absent = [name for name in order if name not in cells]
    if absent and not estimator.takes_missing_:
        raise DataError(f"the row has no {absent[0]!r}: give a value for each of {', '.join(order[:10])}")
    derived = [one.column.name for one in table.derived if one.column.name in cells]
    columns = [cells_of_text(name, [cells.get(name)], text_settings(name, table)) for name in [*order, *derived]]
    row = table.encode(columns, "the row")
    if np.isnan(row).any() and not estimator.takes_missing_:
        name = table.names[int(np.flatnonzero(np.isnan(row[0]))[0])]
        raise DataError(f"the row has no value of {name!r} that can be read, and the model takes none that is missing")
    return Incoming(row)


def _of_numbers(estimator: Any, text: str, event: tuple[int, ...]) -> Incoming:
    """Return a row of numbers."""
    n = int(np.prod(event))
    names = estimator.data_schema_.names or getattr(estimator, "feature_names_in_", None)
    order = [f"x{i}" for i in range(n)] if names is None or len(names) != n else [str(name) for name in names]
    cells = _named_cells(text, order, [])
    row = np.array([_number(name, cells.get(name)) for name in order])
    if np.isnan(row).any() and not estimator.takes_missing_:
        raise DataError(f"the row has no {order[int(np.isnan(row).argmax())]!r}, and the model takes no missing cells")
    return Incoming(row.reshape(1, *event))


def _number(name: str, text: str | None) -> float:
    """Return a number; a blank one is missing."""
    if text is None or not text.strip():
        return float("nan")
    try:
        value = float(text)
    except ValueError as error:
        raise DataError(f"{name}: expected a number, got {text[:40]!r}") from error
    if np.isinf(value):
        raise DataError(f"{name}: expected a finite number, got {text[:40]!r}")
    return value


def _named_cells(text: str, order: Sequence[str], every: Sequence[str]) -> dict[str, str | None]:
    r"""Return the cells of a row by name, from a JSON object, or from a line with or without a header above it.

    >>> _named_cells("height;kind\n1.5;oak", ["height", "kind"], [])
    {'height': '1.5', 'kind': 'oak'}
    >>> _named_cells('{"kind": "oak"}', ["height", "kind"], [])
    {'kind': 'oak'}
    """
    listed = ", ".join(order[:8]) + (", ..." if len(order) > 8 else "")
    if text.lstrip().startswith("{"):
        cells = _of_object(text)
        if not set(cells) & {*order, *every}:
            raise DataError(f"the object has none of the columns: expected {listed}")
        return cells
    lines = [line for line in text.splitlines() if line.strip()]
    for delimiter in DELIMITERS:
        try:
            rows = list(csv.reader(lines[:3], delimiter=delimiter, skipinitialspace=True))
        except csv.Error as error:
            raise DataError(f"expected one row of text: {error_line(error)}") from error
        if len(rows) == 2 and len(rows[0]) == len(rows[1]) and set(rows[0]) & set(order):
            return dict(zip(rows[0], rows[1], strict=True))
        if len(rows) == 1:
            for names in (order, every):
                if len(rows[0]) == len(names):
                    return dict(zip(names, rows[0], strict=True))
    raise DataError(f"expected {len(order)} values separated by commas ({listed}), or a header above them, or JSON")


def json_object(text: str | bytes) -> dict[str, Any]:
    """Return a JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"expected a JSON object: {error_line(error)}") from error
    if not isinstance(value, dict):
        raise DataError("expected a JSON object")
    return value


def _of_object(text: str) -> dict[str, str | None]:
    value = json_object(text)
    wrong = [name for name, one in value.items() if not isinstance(one, str | int | float | bool | None)]
    if wrong:
        raise DataError(f"{wrong[0][:40]!r}: expected text, a number, true, false or null")
    return {name: None if one is None or one != one else str(one) for name, one in value.items()}
