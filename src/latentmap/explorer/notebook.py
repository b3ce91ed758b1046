"""The map of a fitted model as a widget of a notebook."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np

from latentmap.exceptions import MissingExtraError
from latentmap.explorer.export_page import asset

MOST_BODY = 20_000_000
"""Bytes of a request, at the most."""
THREADS = 4


def explore(
    estimator: Any,
    X: Any = None,
    y: Any = None,
    *,
    ids: Any = None,
    name: str = "model",
    image_shape: tuple[int, ...] | None = None,
) -> Any:
    """Show the map of a fitted model in a notebook, to explore: hover, decode, select, compare.

    Needs the extra ``notebook``. What is selected with the lasso comes back as ``selection``, indices of the rows that
    are shown; it is a trait, so that ``widget.observe(function, "selection")`` calls a function on each change.

    Parameters
    ----------
    estimator : VAE or Autoencoder
        Fitted model.
    X : array-like, data frame or path, default=None
        Rows, as for ``fit``; without them the latent space alone is shown.
    y : array-like of shape (n,), default=None
        Labels, by which points are coloured.
    ids : array-like of shape (n,), default=None
        What tells the rows apart.
    name : str, default="model"
        Title.
    image_shape : tuple of int, default=None
        Shape (h, w) or (h, w, c) of rows that are flattened images.

    Returns
    -------
    AnyWidget
        The widget, which a notebook shows.

    Raises
    ------
    MissingExtraError
        Without anywidget; the message holds the pip command.
    DataError
        If X is not rows like those of the fit, or there is not one label or id for each.

    Examples
    --------
    In a notebook::

        widget = latentmap.explore(vae, X, y)
        widget                          # select some rows, then
        X[widget.selection]
    """
    widget = _widget_class()
    from latentmap.explorer.exploration import Exploration
    from latentmap.explorer.rows import ExploredRows

    rows = None if X is None else ExploredRows.of(estimator, X, y, ids)
    return widget(Exploration(estimator, rows, name=name, image_shape=image_shape))


@cache
def _widget_class() -> Callable[..., Any]:
    """Return the class of the widget, whose base is in an extra."""
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise MissingExtraError("anywidget", "notebook") from error
    from latentmap.explorer.server import application

    class Map(anywidget.AnyWidget):
        """A map that asks as the served page does, by messages instead of HTTP."""

        _esm = asset("widget.js")
        _css = asset("widget.css")
        selection = traitlets.Instance(np.ndarray).tag(sync=True, to_json=_to_bytes, from_json=_from_bytes)

        def __init__(self, exploration: Any, **kwargs: Any) -> None:
            super().__init__(selection=np.zeros(0, np.intp), **kwargs)
            self.exploration = exploration
            self._application = application([exploration])
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="latentmap")
            self.on_msg(lambda _, content, buffers: self._pool.submit(self._answer, content, buffers))

        def close(self) -> None:
            """Remove the widget, and leave off what it computes."""
            self._pool.shutdown(wait=False, cancel_futures=True)
            super().close()

        def _answer(self, request: Any, buffers: Sequence[Any]) -> None:
            """Answer one request."""
            body = bytes(buffers[0]) if buffers else b""
            status, kind, content = asyncio.run(_called(self._application, request, body))
            self.send({"id": request.get("id"), "status": status, "type": kind}, [content])

    return Map


def _to_bytes(rows: Any, widget: Any) -> memoryview:
    return memoryview(np.asarray(rows, np.uint32).tobytes())


def _from_bytes(value: Any, widget: Any) -> Any:
    """Return indices from the bytes of the page."""
    return np.frombuffer(value, "<u4").astype(np.intp)


async def _called(application: Any, request: Mapping[str, Any], body: bytes) -> tuple[int, str, bytes]:
    """Return status, type and content of the answer of an application to one request."""
    if len(body) > MOST_BODY:
        return 413, "", b""
    path, kind = f"/api/{request.get('name')}", str(request.get("type", ""))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": str(request.get("method", "GET")),
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": str(request.get("query", "")).encode(),
        "root_path": "",
        "headers": [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())],
        "server": ("notebook", 80),
    }
    answer: dict[str, Any] = {"status": 500, "headers": []}
    content = b""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Mapping[str, Any]) -> None:
        nonlocal content
        if message["type"] == "http.response.start":
            answer.update(message)
        else:
            content += message.get("body", b"")

    try:
        await application(scope, receive, send)
    except Exception:  # the application has answered with 500 before it raises
        return 500, "application/json", content
    types = dict(answer["headers"])
    return answer["status"], types.get(b"content-type", b"").decode(), content
