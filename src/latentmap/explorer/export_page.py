"""An exploration as one HTML file, which needs neither a server nor a network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from importlib.resources import files
from typing import Any

from latentmap import plot
from latentmap.data.files import write_text
from latentmap.exceptions import ModelError
from latentmap.explorer.exploration import Exploration
from latentmap.explorer.export_data import fewer_rows, page_data
from latentmap.plot.style import in_few_colours

MOST_BYTES = 5_000_000
"""Size of a file, at the most."""
MOST_ROWS = 60_000
"""Rows of a file, unless more or fewer are asked for."""
TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<div id="latentmap"></div>
{plain}
<script type="application/json" id="latentmap-data">{data}</script>
<script>{script}</script>
</body>
</html>
"""
PLAIN = (
    "#latentmap{display:none}body{margin:2rem auto;max-width:50rem;padding:0 1rem;font:16px/1.5 system-ui,sans-serif}"
    "img{max-width:100%;height:auto}"
)
"""Style without JavaScript."""
DPI = 110
WITHOUT_SCRIPT = """<noscript>
<style>{style}</style>
<h1>{title}</h1>
<img src="data:image/png;base64,{picture}" alt="{alt}" width="{width}">
<p>{caption}</p>
</noscript>"""


def write_map(
    exploration: Exploration, path: str | os.PathLike[str], *, rows: int = MOST_ROWS, most: int = MOST_BYTES
) -> int:
    """Write an exploration as one HTML file that is complete in itself; it is written whole or not at all.

    Parameters
    ----------
    exploration : Exploration
        The model and its rows.
    path : path-like
        The file.
    rows : int, default=60_000
        Rows in the file, at the most; of more they are evenly spaced.
    most : int, default=5_000_000
        Size of the file in bytes. Pictures of rows are made smaller, and what does not fit is left out, and said.

    Returns
    -------
    int
        Size of the file in bytes.

    Raises
    ------
    ModelError
        If the page was not built, or the rows do not fit.
    """
    text = map_page(fewer_rows(exploration, rows), most)
    if (size := len(text.encode())) > most:
        limit = f"{most / 1e6:.1f} MB are the most that a file may"
        raise ModelError(f"the map takes {size / 1e6:.1f} MB, and {limit}: give fewer --rows")
    write_text(path, text)
    return size


def map_page(exploration: Exploration, most: int = MOST_BYTES, *, quick: bool = False) -> str:
    """Return an exploration as the text of an HTML file of so many bytes, where its points alone fit.

    Parameters
    ----------
    exploration : Exploration
        The model and its rows.
    most : int, default=5_000_000
        Size in bytes.
    quick : bool, default=False
        Whether to leave out what takes long, and the picture for readers without JavaScript: for a page within another.

    Returns
    -------
    str
        The page.
    """
    script, style = asset("map.js"), asset("map.css")
    plain = "" if quick else picture_of(exploration)
    room = most - len(script.encode()) - len(style.encode()) - len(plain.encode()) - 4096
    return TEMPLATE.format(
        policy=policy(script, style, PLAIN),
        title=html.escape(f"{exploration.name}: a latent map"),
        style=style,
        plain=plain,
        data=as_script(page_data(exploration, max(0, room), quick=quick)),
        script=script,
    )


def asset(name: str) -> str:
    """Return a file of the built page, as it may stand in a script or style element."""
    found = files("latentmap.explorer").joinpath("page", name)
    if not found.is_file():
        raise ModelError(
            f"the page of the explorer is not built ({name} is missing): run make page, or install a wheel"
        )
    text = found.read_text(encoding="utf-8").strip()
    return re.sub(r"<(?=/(script|style)|!--)", r"\\x3c" if name.endswith(".js") else r"\\3c ", text, flags=re.I)


def is_built() -> bool:
    """Return whether the page was built."""
    return files("latentmap.explorer").joinpath("page", "map.js").is_file()


def as_script(data: Any) -> str:
    r"""Return JSON as the content of a script element.

    >>> as_script({"label": "</script>"})
    '{"label":"\\u003c/script>"}'
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def policy(script: str, *styles: str) -> str:
    """Return a Content-Security-Policy that allows this script, these styles and pictures in the file, and no more."""
    allowed = f"script-src {_hash(script)}", f"style-src {' '.join(map(_hash, styles))}"
    return "; ".join(("default-src 'none'", *allowed, "img-src data: blob:", "base-uri 'none'", "form-action 'none'"))


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def picture_of(exploration: Exploration) -> str:
    """Return what readers without JavaScript see: a picture of the map; of decoded codes for a model without rows."""
    estimator, rows = exploration.estimator, exploration.rows
    if rows is None:
        draw = plot.decoded_grid if exploration.n_components == 2 else plot.traversals
        display: Any = draw(estimator)
    else:
        display = plot.map(estimator, rows.values, rows.labels)
    png = display.png(DPI)
    return WITHOUT_SCRIPT.format(
        style=PLAIN,
        title=html.escape(exploration.name),
        picture=base64.b64encode(min(png, in_few_colours(png, 128), key=len)).decode(),
        alt=html.escape(display.alt or display.caption),
        caption=html.escape(display.caption),
        width=int.from_bytes(png[16:20]),  # where a PNG file holds it
    )
