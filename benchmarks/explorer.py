"""How quickly the explorer answers, for the table of docs/benchmarks.md: python -m benchmarks.explorer.

A process serves a model as `latentmap explore` does, and another one asks it over loopback, one request after the other
on one connection. Of decoding, the time within the server, to decode a code, estimate its density and write JSON, is
measured as well. The models are small and fitted for a few epochs: what they have learned does not matter here.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
import warnings
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from benchmarks.common import write

ASKED, WARMED = 300, 30
MILLION = 1_000_000
MODELS = {
    "digits": "1,797 pictures of 8 x 8",
    "table": "5,000 rows of 40 mixed columns",
    "million": "1,000,000 rows of 4 numbers",
}
WHOLE = ("api/meta", "api/points", "api/field?key=label")
"""What the page asks for before it draws points in the colours of their labels."""


def exploration(name: str) -> Any:
    """Return a model and its rows to explore."""
    from latentmap import VAE, load_dataset
    from latentmap.explorer import Exploration, ExploredRows

    settings: dict[str, Any] = {"n_components": 2, "max_epochs": 3, "random_state": 0, "neighbors": None}
    if name == "digits":
        X, y = load_dataset("digits")
        fitted = X
    elif name == "table":
        from benchmarks.reading import block

        X = fitted = block()[:5000]
        y = X["c0"].to_numpy(str)
    else:
        y = np.arange(MILLION) % 10
        X = np.random.default_rng(0).normal(size=(MILLION, 4)) + y[:, None]
        fitted = X[:20_000]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vae = VAE(**settings).fit(fitted)
        return Exploration(vae, ExploredRows.of(vae, X, y, name=name), name=name)


def serve(name: str) -> None:
    """Serve a model; print the seconds within the server of each decoding, then the address."""
    from latentmap.explorer.answers import as_json
    from latentmap.explorer.serving import bound, serve

    explored = exploration(name)
    begun = time.perf_counter()
    explored.prepare()
    prepared = time.perf_counter() - begun
    within = []
    for code in codes(explored.points):
        begun = time.perf_counter()
        json.dumps(as_json(explored.decode(code)))
        within.append(time.perf_counter() - begun)

    def ready(url: str) -> None:
        print(json.dumps({"url": url, "prepared": prepared, "within": rounded(within)}), flush=True)

    serve([explored], "127.0.0.1", bound("127.0.0.1", 0), ready)


def codes(points: np.ndarray) -> np.ndarray:
    """Return codes that are decoded one after the other, as of a pointer that moves over the map."""
    low, high = points.min(0), points.max(0)
    shares = np.random.default_rng(0).random((WARMED + ASKED, 1, points.shape[1]))
    return np.asarray(low + shares * (high - low))


def rounded(seconds: list[float]) -> list[float]:
    """Return seconds of what was asked after the first answers, to the microsecond."""
    return [round(one, 6) for one in seconds[WARMED:]]


def measured(name: str) -> dict[str, Any]:
    """Return the seconds of answers of a server."""
    command = [sys.executable, "-m", "benchmarks.explorer", "serve", name]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    try:
        said = json.loads(server.stdout.readline())
        url = urlsplit(said.pop("url"))
        connection = http.client.HTTPConnection(str(url.hostname), url.port)
        whole: dict[str, Any] = {path: _whole(connection, f"{url.path}{path}") for path in WHOLE}
        connection.request("GET", f"{url.path}api/points")
        points = np.frombuffer(connection.getresponse().read(), "<f4").reshape(-1, 2)
        around = []
        for code in codes(points):
            begun = time.perf_counter()
            connection.request("POST", f"{url.path}api/decode", json.dumps({"z": code.tolist()}))
            assert connection.getresponse().read()
            around.append(time.perf_counter() - begun)
        return {"model": name, **said, "loopback": rounded(around), "whole": whole}
    finally:
        server.terminate()
        server.wait()


def _whole(connection: http.client.HTTPConnection, path: str) -> dict[str, float]:
    """Return the seconds to the first and the last byte of an answer, and its bytes."""
    begun = time.perf_counter()
    connection.request("GET", path)
    reply = connection.getresponse()
    first = reply.read(1)
    to_first = time.perf_counter() - begun
    size = len(first) + len(reply.read())
    return {"first": to_first, "last": time.perf_counter() - begun, "bytes": size}


def main() -> None:
    """Measure, and write the results."""
    raw = [measured(name) for name in MODELS]
    write("explorer", {"asked": ASKED, "raw": raw})


if __name__ == "__main__":
    serve(sys.argv[2]) if sys.argv[1:2] == ["serve"] else main()
