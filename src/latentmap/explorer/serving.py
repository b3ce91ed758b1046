"""The local server of the page: its address, its port, its start and its end."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from latentmap.exceptions import DataError, MissingExtraError

if TYPE_CHECKING:
    from latentmap.explorer.exploration import Exploration

PORT = 8765
TRIED = 100
"""Ports that are tried, one after the other."""
GRACE = 2
"""Seconds that answers may take to end after an interrupt."""
DISPLAYS = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
"""Variables of the environment, one of which is there where a browser can be."""


def bound(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens on a port, the first one that is free from `PORT` on if it is None.

    Raises
    ------
    DataError
        If the port is in use, or the host is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for tried in range(PORT, PORT + TRIED) if port is None else (port,):
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, tried))
            listening.listen(128)
            return listening
        except OSError as error:
            listening.close()
            if port is not None or tried == PORT + TRIED - 1:
                raise DataError(f"port {tried} of {host} cannot be taken ({error.strerror}): give another") from error
    raise AssertionError


def require_server() -> None:
    """Raise if Starlette or uvicorn are not installed."""
    for name in ("starlette", "uvicorn"):
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError(name, "explore")


def open_page(url: str, failed: Callable[[], None]) -> threading.Thread:
    """Open a page in the user's browser, in a thread; ``failed`` is called where that cannot be."""

    def work() -> None:
        graphical = sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in DISPLAYS)
        if not (graphical and webbrowser.open(url)):
            failed()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def serve(
    explorations: Sequence[Exploration], host: str, listening: socket.socket, ready: Callable[[str], None]
) -> None:
    """Serve explorations at a host until an interrupt, and free the port; ``ready`` is called with the address."""
    import uvicorn

    from latentmap.explorer.guard import Guard
    from latentmap.explorer.server import application

    token = secrets.token_urlsafe(24)
    address, port = listening.getsockname()[:2]
    names = {f"[{name}]" if ":" in name else name for name in (host, address, "localhost")}
    app = Guard(application(explorations), token, {f"{name}:{port}" for name in names})
    quiet: dict[str, Any] = {"log_config": None, "access_log": False, "server_header": False, "date_header": False}
    config = uvicorn.Config(app, ws="none", lifespan="off", timeout_graceful_shutdown=GRACE, **quiet)
    ready(f"http://{f'[{host}]' if ':' in host else host}:{port}/{token}/")
    try:
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])
    finally:
        listening.close()
