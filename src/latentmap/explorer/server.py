"""The explorations of one page as a web application: what is asked over HTTP, and the answers as JSON or bytes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.resources import files
from typing import Any

import numpy as np
from anyio import CapacityLimiter, to_thread
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from latentmap.exceptions import DataError, LatentmapError
from latentmap.explorer.answers import as_json, little_endian
from latentmap.explorer.exploration import Exploration
from latentmap.explorer.incoming import json_object
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
SAVED = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
THREADS = 6, 3
"""Threads of quick and of slow answers."""
MOST_SEARCHED, MOST_ERROR = 200, 300
"""Characters of a search and of an error, at the most."""
LOG = logging.getLogger(__name__)

Answer = Callable[[Request, bytes], Response]


def application(explorations: Sequence[Exploration]) -> Starlette:
    """Return the application for one exploration, or two that are compared."""
    application = Starlette(
        routes=[*_Api(explorations).routes(), *_page()],
        exception_handlers={HTTPException: _http},
    )
    application.router.redirect_slashes = False  # it would lose the token
    return application


class _Api:
    """Answers to requests, each a function of the request and its body."""

    def __init__(self, explorations: Sequence[Exploration]) -> None:
        self.explorations = explorations

    def routes(self) -> list[Route]:
        """Return the routes: quick answers and slow ones wait for threads of their own."""
        quick, slow = (CapacityLimiter(most) for most in THREADS)
        groups: list[tuple[str, CapacityLimiter, list[Answer]]] = [
            ("GET", quick, [self.meta, self.points, self.ids, self.row]),
            ("POST", quick, [self.decode, self.samples, self.encode]),
            ("GET", slow, [self.field, self.density, self.search, self.nearest]),
            ("POST", slow, [self.path, self.selection, self.save]),
        ]
        return [
            Route(f"/api/{answer.__name__}", _threaded(answer, limiter), methods=[method])
            for method, limiter, answers in groups
            for answer in answers
        ]

    def meta(self, request: Request, body: bytes) -> Response:
        """Return what there is to know before any other answer, and which runs there are."""
        runs = {"runs": [{"name": one.name} for one in self.explorations], "linked": self._linked}
        return _json(self._run(request).meta() | runs)

    @cached_property
    def _linked(self) -> bool:
        """Whether there are two runs, of the same rows."""
        rows = [one.rows for one in self.explorations]
        return len(rows) == 2 and rows[0] is not None and rows[1] is not None and rows[0].are_those_of(rows[1])

    def points(self, request: Request, body: bytes) -> Response:
        """Return the posterior means of all rows."""
        return _binary(self._run(request).points)

    def field(self, request: Request, body: bytes) -> Response:
        """Return the values of a field."""
        return _binary(self._run(request).field(request.query_params.get("key", "")))

    def ids(self, request: Request, body: bytes) -> Response:
        """Return the ids of all rows."""
        rows = self._run(request).rows
        if rows is None or rows.id_texts is None:
            raise DataError("the rows have no ids")
        return Response(json.dumps(rows.id_texts), media_type="application/json")

    def row(self, request: Request, body: bytes) -> Response:
        """Return a row, and what the model makes of it."""
        return _json(self._run(request).row(_whole(request, "i")))

    def density(self, request: Request, body: bytes) -> Response:
        """Return the density of two components."""
        return _json(self._run(request).density(_whole(request, "x"), _whole(request, "y")))

    def search(self, request: Request, body: bytes) -> Response:
        """Return rows in which a text is found."""
        return _json({"rows": self._run(request).search(request.query_params.get("q", "")[:MOST_SEARCHED])})

    def nearest(self, request: Request, body: bytes) -> Response:
        """Return the rows that are nearest to one in the data space."""
        return _json({"rows": self._run(request).nearest(_whole(request, "i"), _whole(request, "k", 8))})

    def decode(self, request: Request, body: bytes) -> Response:
        """Return decoded codes."""
        return _json(self._run(request).decode(json_object(body).get("z", ())))

    def path(self, request: Request, body: bytes) -> Response:
        """Return a path between two rows or codes."""
        given = json_object(body)
        start, stop = given.get("from", ()), given.get("to", ())
        if not all(isinstance(end, list) or _is_whole(end) for end in (start, stop)):
            raise DataError("from and to: expected the number of a row, or a code")
        if (along := given.get("along", "straight")) not in ("straight", "density"):
            raise DataError("along: expected straight or density")
        n = _whole_in(given, "n", 9)
        return _json(self._run(request).path(start, stop, n, along))

    def samples(self, request: Request, body: bytes) -> Response:
        """Return samples of the model."""
        given = json_object(body)
        return _json(self._run(request).samples(_whole_in(given, "n", 16), _whole_in(given, "seed", 0)))

    def encode(self, request: Request, body: bytes) -> Response:
        """Return where a row from outside lies."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not kind.startswith(("image/", "text/", "application/json")):
            raise DataError("expected a picture (image/...), or a row of text (text/...)")
        return _json(self._run(request).encode(body, kind))

    def selection(self, request: Request, body: bytes) -> Response:
        """Return what tells rows from all others."""
        return _json(self._run(request).selection(_indices(body)))

    def save(self, request: Request, body: bytes) -> Response:
        """Return a file of rows."""
        kind, what = (request.query_params.get(name, "") for name in ("format", "as"))
        content = self._run(request).save(_indices(body), kind, what)
        named = {"content-disposition": f'attachment; filename="selection.{kind}"'}
        return Response(content, media_type=SAVED[kind], headers=named)

    def _run(self, request: Request) -> Exploration:
        run = _whole(request, "run", 0)
        if run >= len(self.explorations):
            raise DataError(f"run: expected a whole number from 0 to {len(self.explorations) - 1}")
        return self.explorations[run]


def _threaded(answer: Answer, limiter: CapacityLimiter) -> Callable[[Request], Any]:
    """Return an endpoint that reads the body, and answers in a thread."""

    async def endpoint(request: Request) -> Response:
        try:
            body = await request.body()
            return await to_thread.run_sync(answer, request, body, limiter=limiter)
        except LatentmapError as error:
            return JSONResponse({"error": error_line(error, MOST_ERROR)}, 400)
        except ClientDisconnect:
            return Response(status_code=400)
        except HTTPException:
            raise
        except Exception as error:  # a fault of this program: the page goes on, and the terminal says it
            LOG.error("%s failed: %s: %s", request.url.path, type(error).__name__, error_line(error, MOST_ERROR))
            return JSONResponse({"error": "this cannot be answered; the terminal says why"}, 500)

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
    return Response(little_endian(values).tobytes(), media_type="application/octet-stream")


def _whole(request: Request, name: str, default: int | None = None) -> int:
    """Return a whole number of the query, 0 or more."""
    text = request.query_params.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise DataError(f"{name}: expected a whole number")
    return int(text)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _whole_in(given: dict[str, Any], name: str, default: int) -> int:
    """Return a whole number of a JSON object."""
    value = given.get(name, default)
    if not _is_whole(value):
        raise DataError(f"{name}: expected a whole number")
    return int(value)


def _indices(body: bytes) -> NDArray[np.uint32]:
    """Return indices of rows: whole numbers of four bytes, little endian."""
    if len(body) % 4:
        raise DataError("expected row numbers of four bytes each")
    return np.frombuffer(body, dtype="<u4")


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Response(status_code=error.status_code)
