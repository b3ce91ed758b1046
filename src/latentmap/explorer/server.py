"""The explorations of one page as a web application: what is asked over HTTP, and the answers as JSON or bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from latentmap.exceptions import DataError, LatentmapError
from latentmap.explorer.answers import as_json
from latentmap.explorer.exploration import Exploration
from latentmap.messages import error_line

NOT_BUILT = "<!doctype html><title>latentmap explore</title><p>The page is not built: run make page.</p>"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".png": "image/png",
}
"""Types of the files of the page; no others are served."""


class BadRequestError(DataError):
    """A request that cannot be answered; says what was expected."""


def application(explorations: Sequence[Exploration]) -> Starlette:
    """Return the application for one exploration, or two that are compared."""
    return Starlette(
        routes=[*_Api(explorations).routes(), *_page()],
        exception_handlers={LatentmapError: _refused, HTTPException: _http, Exception: _failed},  # type: ignore[dict-item]
    )


class _Api:
    """Answers to requests."""

    def __init__(self, explorations: Sequence[Exploration]) -> None:
        self.explorations = explorations

    def routes(self) -> list[Route]:
        """Return the routes."""
        get = {"meta": self.meta, "points": self.points, "field": self.field, "ids": self.ids, "row": self.row}
        post = {"decode": self.decode}
        return [
            *(Route(f"/api/{name}", _threaded(answer), methods=["GET"]) for name, answer in get.items()),
            *(Route(f"/api/{name}", _threaded(answer), methods=["POST"]) for name, answer in post.items()),
        ]

    def meta(self, request: Request, body: bytes) -> Response:
        """Return what there is to know before any answer."""
        return _json(self._run(request).meta())

    def points(self, request: Request, body: bytes) -> Response:
        """Return the posterior means of all rows."""
        return _binary(self._with_rows(request).points)

    def field(self, request: Request, body: bytes) -> Response:
        """Return the values of a field."""
        exploration = self._with_rows(request)
        key = request.query_params.get("key", "")
        if key not in exploration.fields:
            raise BadRequestError("key: expected the key of a field")
        return _binary(exploration.fields[key].values)

    def ids(self, request: Request, body: bytes) -> Response:
        """Return the ids of all rows."""
        rows = self._with_rows(request).rows
        if rows is None or rows.id_texts is None:
            raise BadRequestError("the rows have no ids")
        return _json(rows.id_texts)

    def row(self, request: Request, body: bytes) -> Response:
        """Return a row, and what the model makes of it."""
        exploration = self._with_rows(request)
        assert exploration.rows is not None
        return _json(exploration.row(_whole(request, "i", 0, len(exploration.rows) - 1)))

    def decode(self, request: Request, body: bytes) -> Response:
        """Return decoded codes."""
        return _json(self._run(request).decode(_object(body).get("z")))

    def _run(self, request: Request) -> Exploration:
        return self.explorations[_whole(request, "run", 0, len(self.explorations) - 1, 0)]

    def _with_rows(self, request: Request) -> Exploration:
        exploration = self._run(request)
        if exploration.rows is None:
            raise BadRequestError("there are no rows, only the model")
        return exploration


def _threaded(answer: Callable[[Request, bytes], Response]) -> Callable[[Request], Any]:
    """Return an endpoint that reads the body, and answers in a thread."""

    async def endpoint(request: Request) -> Response:
        body = await request.body()
        return await run_in_threadpool(answer, request, body)

    return endpoint


def _page() -> list[Route]:
    """Return the routes of the files of the page, which are read once."""
    folder, found = files("latentmap.explorer").joinpath("page"), {}
    for name, place in (("", folder), ("assets/", folder.joinpath("assets"))):
        for file in place.iterdir() if place.is_dir() else ():
            ending = "." + file.name.rpartition(".")[2]
            if file.is_file() and ending in TYPES:
                found[name + file.name] = (file.read_bytes(), TYPES[ending])
    found[""] = found.get("index.html", (NOT_BUILT.encode(), TYPES[".html"]))

    def route(path: str, content: bytes, kind: str) -> Route:
        return Route(f"/{path}", lambda request: Response(content, media_type=kind), methods=["GET"])

    return [route(path, *file) for path, file in found.items()]


def _json(value: Any) -> Response:
    return Response(json.dumps(as_json(value), allow_nan=False, separators=(",", ":")), media_type="application/json")


def _binary(values: np.ndarray) -> Response:
    array = np.ascontiguousarray(values)
    content = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return Response(content, media_type="application/octet-stream")


def _whole(request: Request, name: str, low: int, high: int, default: int | None = None) -> int:
    """Return a whole number of the query within bounds."""
    text = request.query_params.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > 9 or not low <= int(text) <= high:
        raise BadRequestError(f"{name}: expected a whole number from {low} to {high}")
    return int(text)


def _object(body: bytes) -> dict[str, Any]:
    """Return a JSON object."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"expected a JSON object: {error_line(error)}") from error
    if not isinstance(value, dict):
        raise BadRequestError("expected a JSON object")
    return value


async def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": error_line(error)}, 400)


async def _http(request: Request, error: HTTPException) -> Response:
    return Response(status_code=error.status_code)


async def _failed(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": error_line(error)}, 500)
