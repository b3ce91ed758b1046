"""The local server of the page: its address, its port, its start and its end."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import secrets
import socket
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
IN_TERMINAL = ("www-browser", "links", "elinks", "lynx", "w3m")
"""Browsers that would take the terminal, and cannot show the page."""


def bound(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens on a port, the first one that is free from `PORT` on if it is None.

    Raises
    ------
    DataError
        If the port is in use, or the host is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for tried in range(PORT, PORT + TRIED) if port is None else (port,):
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # else asyncio sets no TCP_NODELAY
        if os.name == "posix":  # elsewhere it would let two servers take one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, tried))
            listening.listen(128)
            return listening
        except OSError as error:
            listening.close()
            if error.errno == errno.EADDRINUSE:
                continue
            raise DataError(f"port {tried} of {host} cannot be taken ({error.strerror}): give another") from error
    if port is not None:
        raise DataError(f"port {port} of {host} is in use: give another --port, or none to take the next that is free")
    raise DataError(f"the ports from {PORT} to {PORT + TRIED - 1} of {host} are all in use: give another --port")


def require_server() -> None:
    """Raise if Starlette or uvicorn are not installed."""
    for name in ("starlette", "uvicorn"):
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError(name, "explore")


def open_page(url: str, failed: Callable[[], None]) -> threading.Thread:
    """Open a page in the user's browser, in a thread; ``failed`` is called where that cannot be."""

    def work() -> None:
        try:
            browser = webbrowser.get()
            text = os.path.basename(getattr(browser, "name", "")) in IN_TERMINAL
            opened = not text and browser.open(url)
        except (webbrowser.Error, OSError):
            opened = False
        if not opened:
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

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            for one in explorations:
                one.turns.stop()
            await super().shutdown(sockets)

    token = secrets.token_urlsafe(24)
    address, port = listening.getsockname()[:2]
    everywhere = address in ("0.0.0.0", "::")
    shown = "127.0.0.1" if everywhere else host
    names = {f"[{name}]" if ":" in name else name for name in (shown, address, "localhost")}
    hosts = {f"{name}:{port}" for name in names}
    app = Guard(application(explorations), token, hosts, port if everywhere else None)
    quiet: dict[str, Any] = {"log_config": None, "log_level": "critical", "access_log": False}
    quiet |= {"server_header": False, "date_header": False}
    config = uvicorn.Config(app, ws="none", lifespan="off", timeout_graceful_shutdown=GRACE, **quiet)
    for one in explorations:
        threading.Thread(target=one.warm, daemon=True).start()
    ready(f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/{token}/")
    try:
        with contextlib.suppress(KeyboardInterrupt):
            Server(config).run(sockets=[listening])
    finally:
        listening.close()
