"""Small models that are explored, and requests to their page without a server."""

import asyncio
import json
from typing import NamedTuple

import numpy as np

from conftest import fit
from latentmap import VAE, Columns, likelihoods
from latentmap.cli import main
from latentmap.explorer import Exploration, ExploredRows
from latentmap.explorer.guard import Guard
from latentmap.explorer.server import application

TOKEN, HOST = "t" * 32, "127.0.0.1:8765"


def pictures(images, labels):
    """A map of pictures of digits, with their labels."""
    vae = fit(VAE(2, max_epochs=3, random_state=0), images)
    return Exploration(vae, ExploredRows.of(vae, images, labels), name="digits")


def trees(n=120):
    """A table of trees, some cells of which are missing: text for a file, and the rows."""
    rng = np.random.default_rng(0)
    kinds = np.array(["elm", "oak", "ash"])[np.arange(n) % 3]
    heights = np.round(10 + 5 * (np.arange(n) % 3) + rng.normal(size=n), 1)
    lines = ["name,kind,height,planted,alive,price"]
    for i in range(n):
        height = "" if i == 4 else heights[i]
        lines.append(f"tree {i},{kinds[i]},{height},2001-0{1 + i % 9}-11,{i % 2 == 0},${1000 + 7 * i}.00")
    return "\n".join(lines) + "\n"


def table(folder):
    """A model of the table of trees, fitted to its file."""
    path = folder / "trees.csv"
    path.write_text(trees())
    vae = fit(VAE(2, max_epochs=3, neighbors=None, columns=Columns({"name": "drop"}), random_state=0), path)
    return vae, path


def numbers(n=200, d=5, **settings):
    """A model of rows of numbers without names, with some missing, explored."""
    X = np.random.default_rng(0).normal(size=(n, d)) @ np.diag(np.arange(1, d + 1))
    X[3, 1] = np.nan
    settings = {
        "likelihood": likelihoods.Incomplete(),
        "max_epochs": 3,
        "random_state": 0,
        "neighbors": None,
    } | settings
    vae = fit(VAE(2, **settings), X)
    return Exploration(vae, ExploredRows.of(vae, X, X[:, 0] > 0, [f"id-{i}" for i in range(n)]), name="numbers")


def pixels(row):
    """The pixels that a row of digits is shown with."""
    return np.rint(255 * np.clip(row / 16, 0, 1)).astype(np.uint8)


def run_of_trees(folder):
    """A run of the command on the table of trees, in its file."""
    (folder / "trees.csv").write_text(trees())
    options = ("--id", "name", "--labels", "kind", "--set", "max_epochs=2", "--no-report")
    assert main(["fit", str(folder / "trees.csv"), "-o", str(folder / "run"), *options]) == 0
    return folder / "run"


class Reply(NamedTuple):
    """What a request gave."""

    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class Page:
    """The application of a page, asked without a server."""

    def __init__(self, *explorations, **settings):
        self.app = Guard(application(explorations), TOKEN, {HOST, "localhost:8765"}, **settings)

    def get(self, name, query="", **more):
        """Ask for an answer of the API."""
        return self.ask("GET", f"/{TOKEN}/api/{name}", query, **more)

    def post(self, name, body, query="", **more):
        """Ask with a body: bytes, or what becomes JSON."""
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", f"/{TOKEN}/api/{name}", query, body=body, **more)

    def ask(self, *args, **settings):
        """Send one request."""
        return asyncio.run(self.send(*args, **settings))

    async def send(self, method, path, query="", *, headers=None, body=b"", length=True, kind=None):
        """Send one request, and return the reply."""
        query = query if isinstance(query, bytes) else query.encode()
        given = [(b"host", HOST.encode())] if headers is None else headers
        given = given + ([(b"content-length", str(len(body)).encode())] if body and length else [])
        given = given + ([(b"content-type", kind.encode())] if kind else [])
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": query, "root_path": "", "headers": given,
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8765),
        }  # fmt: skip
        pieces = [body[i : i + 2**20] for i in range(0, max(1, len(body)), 2**20)]
        sent = []

        async def receive():
            piece = pieces.pop(0) if pieces else b""
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

        async def send(message):
            sent.append(message)

        await self.app(scope, receive, send)
        start, *rest = sent
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return Reply(start["status"], headers, b"".join(one.get("body", b"") for one in rest))
